package httpapi_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/httpapi"
)

const profilePath = identity + "/profile"

// profile is what the app sees.
func (w *world) profile(code fiscalcode.Person) (p httpapi.InitializedProfile) {
	w.t.Helper()
	w.by(code, "GET", profilePath, nil).into(200, &p)
	return p
}

// set posts the current version with some members.
func (w *world) set(code fiscalcode.Person, members object) answered {
	w.t.Helper()
	body := object{"version": w.profile(code).Version}
	if mode := w.profile(code).Settings.Mode; mode != "LEGACY" {
		body["service_preferences_settings"] = object{"mode": mode}
	}
	for k, v := range members {
		body[k] = v
	}
	return w.by(code, "POST", profilePath, body)
}

// A mailbox keeps what is to be sent to prove addresses.
type mailbox struct {
	mu    sync.Mutex
	err   error
	mails []appio.Validation
}

func (m *mailbox) send(_ context.Context, v appio.Validation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mails = append(m.mails, v)
	return m.err
}

func TestAProfileFromTheStart(t *testing.T) {
	t.Parallel()
	mails := &mailbox{}
	now := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	w := setupApp(t, &appio.Options{Now: func() time.Time { return now }}, &httpapi.Options{
		Validate: mails.send,
		Person: func(*http.Request) httpapi.Person {
			return httpapi.Person{Name: "Maria", FamilyName: "Rossi", Email: "spid@example.it", BornOn: time.Date(1985, 8, 10, 0, 0, 0, 0, time.UTC)}
		},
	})
	want := httpapi.InitializedProfile{
		FiscalCode: string(nobody), Name: "Maria", FamilyName: "Rossi", DateOfBirth: "1985-08-10", LoginEmail: "spid@example.it",
		Settings: httpapi.PreferencesSettings{Mode: "LEGACY"},
	}
	require.Equal(t, want, w.profile(nobody), "who has set nothing")
	w.by(nobody, "POST", identity+"/email-validation-process", nil).problem(404, "Profile not found")

	// An installation is no change of what the app shows.
	w.by(nobody, "PUT", communication+"/installations/2f1f1d0c", object{"platform": "fcmv1", "pushChannel": "token"}).into(200, &httpapi.SuccessResponse{})
	want.HasProfile = true
	require.Equal(t, want, w.profile(nobody))
	w.by(nobody, "POST", identity+"/email-validation-process", nil).problem(400, "Validation error")

	// The terms open the inbox, and switch push on, whatever else is said.
	var got httpapi.InitializedProfile
	w.by(nobody, "POST", profilePath, object{"version": 0, "accepted_tos_version": 2.4, "is_inbox_enabled": false, "last_app_version": "2.14.0"}).into(200, &got)
	want.Version, want.AcceptedTerms, want.AppVersion, want.IsInboxEnabled, want.IsWebhookEnabled = 1, "2.4", "2.14.0", true, true
	require.Equal(t, want, got)
	require.Equal(t, want, w.profile(nobody))
	consents, err := w.citizen(nobody).Consents().Page(t.Context(), "", 1)
	require.NoError(t, err)
	require.Equal(t, "terms 2.4", consents.Items[0].Text, "what they were shown is on record")
	require.Equal(t, "cie", consents.Items[0].Provider)

	// Nothing is sent until there is a mode.
	r, err := w.eng.Sender(mensa).Send(t.Context(), appio.Message{To: nobody, Subject: "Iscrizione alla mensa", Markdown: strings.Repeat("La mensa riapre. ", 6)})
	require.NoError(t, err)
	require.Equal(t, appio.Rejected, r.Status)
	got = httpapi.InitializedProfile{}
	w.by(nobody, "POST", profilePath, object{"version": 1, "service_preferences_settings": object{"mode": "AUTO"}, "accepted_tos_version": 3, "is_webhook_enabled": false,
		"email": "maria@example.it", "is_email_enabled": true, "preferred_languages": []string{"it_IT", "en_GB", "pt_BR"}}).into(200, &got)
	want.Version, want.Settings.Mode, want.AcceptedTerms, want.IsWebhookEnabled, want.AppVersion = 2, "AUTO", "3", false, ""
	want.Email, want.IsEmailEnabled, want.PreferredLanguages = "maria@example.it", true, []string{"it_IT", "en_GB", "pt_BR"}
	require.Equal(t, want, got, "a second version of the terms switches nothing")
	w.message(mensa, nobody)

	// The new address gets a mail, and another one when a minute has passed.
	require.Len(t, mails.mails, 1)
	require.Equal(t, "maria@example.it", mails.mails[0].Address.Value)
	a := w.by(nobody, "POST", identity+"/email-validation-process", nil)
	a.problem(429, "Too many requests")
	require.Equal(t, "60", a.Header.Get("Retry-After"))
	now = now.Add(time.Minute)
	a = w.by(nobody, "POST", identity+"/email-validation-process", nil)
	require.Equal(t, 202, a.StatusCode)
	require.Empty(t, a.body)
	require.Len(t, mails.mails, 2)
	require.Equal(t, want, w.profile(nobody), "which is no change of what the app shows")
	require.NoError(t, w.eng.ConfirmAddress(t.Context(), mails.mails[1].Token))
	want.IsEmailValidated, want.Version = true, 3
	require.Equal(t, want, w.profile(nobody))
	w.by(nobody, "POST", identity+"/email-validation-process", nil).problem(400, "Validation error")

	// Another address starts unproved; the same one stays proved.
	w.set(nobody, object{"email": "maria@example.it"}).into(200, &got)
	require.True(t, got.IsEmailValidated)
	w.set(nobody, object{"email": "rossi@example.it"}).into(200, &got)
	require.False(t, got.IsEmailValidated)
	require.Len(t, mails.mails, 3)
}

func TestWhatAProfileTakes(t *testing.T) {
	t.Parallel()
	w := setupApp(t, nil, nil)
	for _, c := range []struct {
		body  object
		after func(p *httpapi.InitializedProfile)
	}{
		{object{"reminder_status": "ENABLED"}, func(p *httpapi.InitializedProfile) { p.ReminderStatus = "ENABLED" }},
		{object{"reminder_status": "DISABLED"}, func(p *httpapi.InitializedProfile) { p.ReminderStatus = "DISABLED" }},
		{object{}, func(p *httpapi.InitializedProfile) { p.ReminderStatus = "" }},
		{object{"push_notifications_content_type": "FULL"}, func(p *httpapi.InitializedProfile) { p.PushContent = "FULL" }},
		{object{"push_notifications_content_type": "FULL", "is_webhook_enabled": false}, func(p *httpapi.InitializedProfile) { p.IsWebhookEnabled = false }},
		{object{"push_notifications_content_type": "ANONYMOUS"}, func(p *httpapi.InitializedProfile) { p.PushContent = "ANONYMOUS" }},
		{object{"push_notifications_content_type": "FULL", "is_webhook_enabled": true}, func(p *httpapi.InitializedProfile) {
			p.PushContent, p.IsWebhookEnabled = "FULL", true
		}},
		{object{}, func(p *httpapi.InitializedProfile) { p.PushContent = "" }},
		{object{"is_email_enabled": true}, func(p *httpapi.InitializedProfile) { p.IsEmailEnabled = true }},
		{object{"is_email_enabled": false, "is_inbox_enabled": false}, func(p *httpapi.InitializedProfile) { p.IsEmailEnabled, p.IsInboxEnabled = false, false }},
		{object{"last_app_version": "2.14.0.1"}, func(p *httpapi.InitializedProfile) { p.AppVersion = "2.14.0.1" }},
		{object{"last_app_version": "0.0.10", "preferred_languages": []string{"de_DE"}}, func(p *httpapi.InitializedProfile) {
			p.AppVersion, p.PreferredLanguages = "0.0.10", []string{"de_DE"}
		}},
		{object{"preferred_languages": []string{}}, func(p *httpapi.InitializedProfile) { p.AppVersion, p.PreferredLanguages = "", nil }},
		{object{"accepted_tos_version": 1e2}, func(p *httpapi.InitializedProfile) { p.AcceptedTerms, p.IsInboxEnabled = "100", true }},
		{object{"service_preferences_settings": object{"mode": "MANUAL"}, "blocked_inbox_or_channels": object{"01MENSA": []string{"INBOX"}}},
			func(p *httpapi.InitializedProfile) { p.Settings.Mode = "MANUAL" }},
		{object{"unknown": []any{1, object{}}}, func(p *httpapi.InitializedProfile) {}},
	} {
		want := w.profile(ada)
		c.after(&want)
		want.Version++
		var got httpapi.InitializedProfile
		w.set(ada, c.body).into(200, &got)
		require.Equal(t, want, got, c.body)
		require.Equal(t, want, w.profile(ada), c.body)
	}
	p, err := w.citizen(ada).Profile(t.Context())
	require.NoError(t, err)
	require.Equal(t, appio.Generic, p.Channels[appio.Push], "of what is not said any more the least holds")

	before := w.profile(ada)
	for _, body := range []object{
		{"version": nil}, {"version": "1"}, {"version": 1.5}, {"email": "not an address"}, {"email": "Maria <maria@example.it>"}, {"email": ""},
		{"email": strings.Repeat("a", 250) + "@example.it"}, {"reminder_status": "UNSET"}, {"push_notifications_content_type": "full"},
		{"last_app_version": "2.14"}, {"last_app_version": "02.1.1"}, {"last_app_version": "1.1." + strings.Repeat("1", 100)}, {"accepted_tos_version": 0.9},
		{"accepted_tos_version": "2"}, {"accepted_tos_version": 1e300}, {"service_preferences_settings": object{}},
		{"service_preferences_settings": object{"mode": "SOME"}}, {"service_preferences_settings": nil}, {"preferred_languages": []string{"italiano"}},
		{"preferred_languages": []string{"IT_it"}}, {"preferred_languages": "it_IT"}, {"preferred_languages": []string{
			"aa_AA", "bb_BB", "cc_CC", "dd_DD", "ee_EE", "ff_FF", "gg_GG", "hh_HH", "ii_II", "jj_JJ", "kk_KK"}},
		{"is_inbox_enabled": "true"}, {"blocked_inbox_or_channels": []string{}}, {"blocked_inbox_or_channels": object{"a": "INBOX"}},
	} {
		w.set(ada, body).problem(400, "Bad parameters")
	}
	require.Equal(t, before, w.profile(ada))

	// Where nothing is sent, a list of what is blocked would be lost.
	w.by(nobody, "POST", profilePath, object{"version": 0, "blocked_inbox_or_channels": object{"01MENSA": []string{"INBOX"}}}).problem(400, "")
	w.by(nobody, "POST", profilePath, object{"version": 0, "blocked_inbox_or_channels": object{"01MENSA": []string{}}}).into(200, &httpapi.InitializedProfile{})
}

func TestAProfileHasOneVersion(t *testing.T) {
	t.Parallel()
	w := setupApp(t, nil, nil)
	stale := w.profile(ada).Version
	w.set(ada, object{"is_email_enabled": true}).into(200, &httpapi.InitializedProfile{})
	for _, v := range []int{stale, stale + 2, -1, 0} {
		a := w.set(ada, object{"version": v, "is_inbox_enabled": false})
		a.problem(409, "Conflict")
	}
	require.True(t, w.profile(ada).IsInboxEnabled)

	// Of many that write what they read, one comes through.
	var mu sync.Mutex
	codes := map[int]int{}
	var wg sync.WaitGroup
	version := w.profile(ada).Version
	for range 8 {
		wg.Go(func() {
			a := w.by(ada, "POST", profilePath, object{"version": version, "service_preferences_settings": object{"mode": "AUTO"}})
			mu.Lock()
			defer mu.Unlock()
			codes[a.StatusCode]++
		})
	}
	wg.Wait()
	require.Equal(t, map[int]int{200: 1, 409: 7}, codes)

	// A mode, once chosen, is said each time, and is not given up.
	version = w.profile(ada).Version
	w.by(ada, "POST", profilePath, object{"version": version}).problem(409, "Conflict")
	w.by(ada, "POST", profilePath, object{"version": version, "service_preferences_settings": object{"mode": "LEGACY"}}).problem(409, "Conflict")
}

func TestAnAddressThatIsTaken(t *testing.T) {
	t.Parallel()
	w, mails := setupApp(t, nil, nil), &mailbox{err: errors.New("the server does not know <secret@example.it>")}
	require.NoError(t, w.citizen(bruno).UpdateProfile(t.Context(), func(p *appio.Profile) error {
		p.Addresses = []appio.Address{{Channel: appio.Email, Value: "famiglia@example.it", ValidatedAt: time.Now()}}
		return nil
	}))
	p := w.set(ada, object{"email": "Famiglia@example.it", "is_inbox_enabled": false}).problem(412, "Precondition Failed")
	require.Equal(t, "https://ioapp.it/problems/email-already-taken", p.Type)
	require.True(t, w.profile(ada).IsInboxEnabled, "nothing was changed")

	// Two may have it while nobody has proved it; then the other one is told.
	for _, code := range []fiscalcode.Person{ada, carla} {
		var got httpapi.InitializedProfile
		w.set(code, object{"email": "casa@example.it"}).into(200, &got)
		require.False(t, got.IsEmailTaken)
	}
	require.NoError(t, w.citizen(carla).UpdateProfile(t.Context(), func(p *appio.Profile) error { p.Addresses[0].ValidatedAt = time.Now(); return nil }))
	require.True(t, w.profile(ada).IsEmailTaken)
	require.False(t, w.profile(carla).IsEmailTaken)
	w.set(ada, object{"email": "casa@example.it", "is_email_enabled": true}).into(200, &httpapi.InitializedProfile{}) // which is no new one
	require.True(t, w.profile(ada).IsEmailEnabled)

	// Without mails to send there are none to ask for; and what a mail server says is nobody's.
	w.by(ada, "POST", identity+"/email-validation-process", nil).problem(501, "")
	failing := setupApp(t, nil, &httpapi.Options{Validate: mails.send})
	var got httpapi.InitializedProfile
	failing.set(ada, object{"email": "ada@example.it"}).into(200, &got) // the address is set all the same
	require.Equal(t, "ada@example.it", got.Email)
	require.Len(t, mails.mails, 1)
	other := failing.set(bruno, object{"email": "bruno@example.it"})
	require.NotContains(t, string(other.body), "secret")
}

func TestAMailThatCannotBeSent(t *testing.T) {
	t.Parallel()
	mails := &mailbox{err: errors.New("the server does not know <secret@example.it>")}
	w := setupApp(t, nil, &httpapi.Options{Validate: mails.send})
	require.NoError(t, w.citizen(ada).UpdateProfile(t.Context(), func(p *appio.Profile) error {
		p.Addresses = []appio.Address{{Channel: appio.Email, Value: "ada@example.it"}}
		return nil
	}))
	a := w.by(ada, "POST", identity+"/email-validation-process", nil)
	a.problem(500, "Internal server error")
	require.NotContains(t, string(a.body), "secret")
}

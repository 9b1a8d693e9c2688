package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/gateway/gatewaytest"
	"github.com/appio-go/appio/httpapi"
	"github.com/appio-go/appio/pagopa"
)

func preferences(id appio.ServiceID) string {
	return identity + "/services/" + string(id) + "/preferences"
}

// choice is what may be posted.
func choice(inbox, email, webhook bool, settings any) object {
	return object{"is_inbox_enabled": inbox, "is_email_enabled": email, "is_webhook_enabled": webhook, "settings_version": settings}
}

func TestPreferences(t *testing.T) {
	t.Parallel()
	w := setupApp(t, nil, nil)
	yes, no := true, false
	get := func(code fiscalcode.Person) (p httpapi.ServicePreference) {
		t.Helper()
		w.by(code, "GET", preferences(mensa), nil).into(200, &p)
		return p
	}
	post := func(body object) (p httpapi.ServicePreference) {
		t.Helper()
		w.by(ada, "POST", preferences(mensa), body).into(200, &p)
		require.Equal(t, p, get(ada))
		return p
	}
	require.Equal(t, httpapi.ServicePreference{true, true, true, &yes, 0}, get(ada), "what follows from the mode")
	require.Equal(t, httpapi.ServicePreference{false, false, false, &no, 0}, get(bruno))

	require.Equal(t, httpapi.ServicePreference{true, false, true, &yes, 0}, post(choice(true, false, true, 0)), "what is not given stays as it is")
	c := choice(true, true, false, 0)
	c["can_access_message_read_status"] = false
	require.Equal(t, httpapi.ServicePreference{true, true, false, &no, 0}, post(c))
	require.Equal(t, httpapi.ServicePreference{true, true, false, &no, 0}, post(choice(true, true, false, 0)))
	c["is_inbox_enabled"], c["can_access_message_read_status"] = false, true
	require.Equal(t, httpapi.ServicePreference{false, true, false, &no, 0}, post(c), "who refuses a service does not tell it either")

	// What IO has no word for stays.
	require.NoError(t, w.citizen(ada).SetPreference(t.Context(), mensa, appio.Preference{
		Inbox: true, Channels: appio.Channels{appio.Push: appio.Generic, "sms": appio.Full}, Digest: true,
	}))
	post(choice(true, true, true, 0))
	p, err := w.citizen(ada).Preference(t.Context(), mensa)
	require.NoError(t, err)
	require.Equal(t, appio.Preference{
		Inbox: true, Channels: appio.Channels{appio.Email: appio.Full, appio.Push: appio.Generic, "sms": appio.Full}, Digest: true, SettingsVersion: 1,
	}, p)

	// A change of the mode starts afresh.
	w.set(ada, object{"service_preferences_settings": object{"mode": "MANUAL"}}).into(200, &httpapi.InitializedProfile{})
	require.Equal(t, httpapi.ServicePreference{false, false, false, &no, 1}, get(ada))
	for _, stale := range []int{0, 2, 1 << 20} {
		w.by(ada, "POST", preferences(mensa), choice(true, true, true, stale)).problem(409, "Conflict")
	}
	require.Equal(t, httpapi.ServicePreference{false, false, false, &no, 1}, get(ada))
	post(choice(true, true, true, 1))

	for _, body := range []object{
		{}, choice(true, true, true, -1), {"is_inbox_enabled": true, "is_email_enabled": true, "is_webhook_enabled": true},
		{"is_inbox_enabled": "true", "is_email_enabled": true, "is_webhook_enabled": true, "settings_version": 1},
		choice(true, true, true, int64(1<<31)),
	} {
		w.by(ada, "POST", preferences(mensa), body).problem(400, "Bad parameters")
	}
	for _, id := range []appio.ServiceID{"nobody", "%00", "a%2Fb", appio.ServiceID(strings.Repeat("a", 201))} {
		w.by(ada, "GET", preferences(id), nil).problem(404, "Service not found")
		w.by(ada, "POST", preferences(id), choice(true, true, true, 1)).problem(404, "Service not found")
	}
	w.by(nobody, "GET", preferences(mensa), nil).problem(409, "Conflict") // no mode was chosen
	w.by(nobody, "POST", preferences(mensa), choice(true, true, true, 0)).problem(409, "Conflict")
}

func TestPreferencesOfASpecialService(t *testing.T) {
	t.Parallel()
	w := setupApp(t, nil, nil)
	inbox := func() bool {
		var p httpapi.ServicePreference
		w.by(ada, "GET", preferences("01SEND"), nil).into(200, &p)
		return p.IsInboxEnabled
	}
	require.False(t, inbox())
	w.by(ada, "POST", preferences("01SEND"), choice(true, true, true, 0)).problem(409, "Conflict")
	w.by(ada, "POST", preferences("01SEND"), choice(false, true, true, 0)).into(200, &httpapi.ServicePreference{})

	send := func(code fiscalcode.Person, query string) bool {
		var a httpapi.SendActivation
		w.by(code, "GET", communication+"/send/activation"+query, nil).into(200, &a)
		return a.Status
	}
	require.False(t, send(ada, ""))
	for _, code := range []fiscalcode.Person{ada, nobody} { // who may switch it before anything else is set
		a := w.by(code, "POST", communication+"/send/activation?isTest=false", object{"activation_status": true})
		require.Equal(t, 204, a.StatusCode)
		require.Empty(t, a.body)
		require.True(t, send(code, "?isTest=false"))
	}
	require.True(t, inbox())
	w.by(ada, "POST", preferences("01SEND"), choice(false, true, true, 0)).problem(409, "Conflict")
	w.message("01SEND", ada)
	require.Equal(t, 204, w.by(ada, "POST", communication+"/send/activation", object{"activation_status": false}).StatusCode)
	require.False(t, send(ada, ""))
	require.True(t, send(nobody, ""))
	r, err := w.eng.Sender("01SEND").Send(t.Context(), appio.Message{To: ada, Subject: "Un avviso di SEND", Markdown: strings.Repeat("Un avviso. ", 10)})
	require.NoError(t, err)
	require.Equal(t, appio.Rejected, r.Status)

	for _, body := range []string{`{}`, `{"activation_status":"true"}`, `{"activation_status":null}`} {
		w.by(ada, "POST", communication+"/send/activation", body).problem(400, "Bad parameters")
	}
	w.by(ada, "GET", communication+"/send/activation?isTest=maybe", nil).problem(400, "")
	w.by(ada, "GET", communication+"/send/activation?isTest=true", nil).problem(404, "") // there is no service for tests

	require.NoError(t, w.citizen(ada).Erase(t.Context()))
	w.by(ada, "POST", communication+"/send/activation", object{"activation_status": true}).problem(409, "Conflict")
	require.False(t, send(ada, ""), "as it is said")
	require.Equal(t, 204, w.by(ada, "POST", communication+"/send/activation", object{"activation_status": false}).StatusCode)
}

// After the answer to a choice nothing of the service begins to be sent, and nothing is under way: the gate holds through the wire. An
// engine without it (-tags plant, APPIO_PLANT=no-gate) fails here.
func TestNothingIsSentAfterARefusal(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var begun, underWay int
	w := setupApp(t, &appio.Options{Channels: routes(func(ctx context.Context, d appio.Delivery) error {
		mu.Lock()
		begun++
		underWay++
		mu.Unlock()
		select { // long enough to be found under way, if nobody waits for it
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
		mu.Lock()
		underWay--
		mu.Unlock()
		return ctx.Err()
	})}, nil)
	require.NoError(t, w.citizen(ada).UpdateProfile(t.Context(), func(p *appio.Profile) error {
		p.Channels = appio.On(appio.Email, appio.Push)
		p.Addresses = []appio.Address{
			{Channel: appio.Email, Value: "ada@example.it", ValidatedAt: time.Now()}, {Channel: appio.Push, Value: "fcm:token"},
		}
		return nil
	}))
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.eng.Run(ctx) })
	wg.Go(func() { // what is sent all the time
		for ctx.Err() == nil {
			_, _ = w.eng.Sender(mensa).Send(ctx, appio.Message{To: ada, Subject: "Iscrizione alla mensa", Markdown: strings.Repeat("La mensa riapre. ", 6)})
		}
	})
	defer wg.Wait()
	defer stop()
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return begun
	}
	left := func() int {
		mu.Lock()
		defer mu.Unlock()
		return underWay
	}
	refusals := []func() answered{
		func() answered { return w.by(ada, "POST", preferences(mensa), choice(false, true, true, 0)) },
		func() answered { return w.by(ada, "POST", preferences(mensa), choice(true, false, false, 0)) },
		func() answered { return w.set(ada, object{"is_inbox_enabled": false}) },
		func() answered { return w.set(ada, object{"is_webhook_enabled": false, "is_email_enabled": false}) },
	}
	for round := range 8 {
		w.by(ada, "POST", preferences(mensa), choice(true, true, true, 0)).into(200, &httpapi.ServicePreference{})
		w.set(ada, object{"is_inbox_enabled": true, "is_webhook_enabled": true, "is_email_enabled": true}).into(200, &httpapi.InitializedProfile{})
		from := count()
		require.Eventually(t, func() bool { return count() > from+20 }, 10*time.Second, time.Millisecond, "it flows")
		require.Equal(t, 200, refusals[round%len(refusals)]().StatusCode)
		require.Zero(t, left(), "round %d: something is under way that nobody waited for", round)
		after := count()
		time.Sleep(30 * time.Millisecond)
		require.Equal(t, after, count(), "round %d: something began after the answer", round)
	}
}

func TestRequestsAboutData(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	w := setupApp(t, &appio.Options{Now: func() time.Time { return now }}, nil)
	at := identity + "/user-data-processing"
	for _, choice := range []string{"DOWNLOAD", "DELETE"} {
		w.by(ada, "GET", at+"/"+choice, nil).problem(404, "")
		w.by(ada, "DELETE", at+"/"+choice, nil).problem(404, "")
		w.by(ada+"/1", "POST", at, object{"choice": choice}).problem(403, "You are not allowed here") // at too low a level
		a := w.by(ada, "POST", at, object{"choice": choice})
		require.JSONEq(t, fmt.Sprintf(`{"choice":%q,"status":"PENDING","version":1,"created_at":"2026-03-02T08:00:00.000Z","updated_at":"2026-03-02T08:00:00.000Z"}`, choice),
			string(a.body))
		p := w.by(ada, "POST", at, object{"choice": choice}).problem(409, "Conflict")
		require.Equal(t, "Another request is already PENDING or WIP for this User", p.Detail)
		require.Equal(t, a.body, w.by(ada, "GET", at+"/"+choice, nil).body)
		w.by(bruno, "GET", at+"/"+choice, nil).problem(404, "")
	}
	w.by(ada, "DELETE", at+"/DOWNLOAD", nil).problem(409, "Conflict")
	a := w.by(ada, "DELETE", at+"/DELETE", nil)
	require.Equal(t, 202, a.StatusCode)
	require.Empty(t, a.body)
	w.by(ada, "DELETE", at+"/DELETE", nil).problem(409, "Conflict")
	var r httpapi.UserDataProcessing
	w.by(ada, "GET", at+"/DELETE", nil).into(200, &r)
	require.Equal(t, appio.RequestAborted, r.Status)

	served, err := w.eng.ServeDownload(t.Context(), func(context.Context, *appio.Citizen) error { return nil })
	require.NoError(t, err)
	require.True(t, served)
	w.by(ada, "GET", at+"/DOWNLOAD", nil).into(200, &r)
	require.Equal(t, appio.RequestClosed, r.Status)

	// A deletion that nobody takes back, to its end.
	w.by(ada, "POST", at, object{"choice": "DELETE"}).into(200, &r)
	require.Equal(t, 3, r.Version)
	now = now.Add(7 * 24 * time.Hour)
	_, err = w.eng.Flush(t.Context())
	require.NoError(t, err)
	w.by(ada, "GET", at+"/DELETE", nil).into(200, &r)
	require.Equal(t, appio.RequestClosed, r.Status)
	require.False(t, w.profile(ada).HasProfile)

	for _, choice := range []string{"", "download", "ALL"} {
		w.by(bruno, "POST", at, object{"choice": choice}).problem(400, "Bad parameters")
	}
	w.by(bruno, "GET", at+"/download", nil).problem(400, "")
	w.by(bruno, "DELETE", at+"/ALL", nil).problem(400, "")
	w.by(nobody, "POST", at, object{"choice": "DELETE"}).problem(404, "") // of whom nothing is kept
}

func TestInstallations(t *testing.T) {
	t.Parallel()
	w := setupApp(t, nil, nil)
	put := func(id, platform, token string) answered {
		t.Helper()
		return w.by(ada, "PUT", communication+"/installations/"+id, object{"platform": platform, "pushChannel": token})
	}
	addresses := func() (values []string) {
		p, err := w.citizen(ada).Profile(t.Context())
		require.NoError(t, err)
		for _, a := range p.Addresses {
			values = append(values, a.Channel+" "+a.Value)
		}
		return values
	}
	before := w.profile(ada)
	a := put("0a0a0a0a-0000-0000-0000-000000000001", "apns", "ABCDEF01")
	require.JSONEq(t, `{"message":"ok"}`, string(a.body))
	require.Equal(t, 200, put("2", "gcm", "first:token").StatusCode)
	require.Equal(t, []string{"push apns:abcdef01", "push fcm:first:token"}, addresses())
	require.Equal(t, 200, put("2", "fcmv1", "second:token").StatusCode, "a new token of the same app")
	require.Equal(t, 200, put("3", "fcmv1", "second:token").StatusCode, "the same device under another id")
	require.Equal(t, []string{"push apns:abcdef01", "push fcm:second:token"}, addresses())
	p, err := w.citizen(ada).Profile(t.Context())
	require.NoError(t, err)
	require.Equal(t, 200, put("3", "fcmv1", "second:token").StatusCode)
	same, err := w.citizen(ada).Profile(t.Context())
	require.NoError(t, err)
	require.Equal(t, p, same, "an app that starts changes nothing")
	require.Equal(t, before, w.profile(ada), "and no installation what the app shows")

	// It takes no address that a host has set, whatever its id, and the last twenty stay.
	require.NoError(t, w.citizen(ada).UpdateProfile(t.Context(), func(p *appio.Profile) error {
		p.Addresses = append([]appio.Address{{ID: "home", Channel: appio.Email, Value: "ada@example.it"}}, p.Addresses...)
		return nil
	}))
	for i := range 30 {
		require.Equal(t, 200, put(fmt.Sprint("more-", i), "fcmv1", fmt.Sprint("more:", i)).StatusCode)
	}
	require.Equal(t, 200, put("home", "fcmv1", "home:token").StatusCode)
	got := addresses()
	require.Len(t, got, 21)
	require.Equal(t, []string{"email ada@example.it", "push fcm:more:11"}, got[:2])
	require.Equal(t, "push fcm:home:token", got[20])

	for _, c := range [][]string{
		{"2", "wns", "token"}, {"2", "apns", "no hex"}, {"2", "apns", ""}, {"2", "fcmv1", "a b"}, {"2", "fcmv1", strings.Repeat("a", 2000)},
		{strings.Repeat("a", 65), "fcmv1", "token"}, {"%20", "fcmv1", "token"}, {"%C3%A0", "fcmv1", "token"},
	} {
		put(c[0], c[1], c[2]).problem(400, "Bad parameters")
	}
	require.Equal(t, got, addresses())
}

func TestPaymentInfo(t *testing.T) {
	t.Parallel()
	creditors := &gatewaytest.Gateway{}
	w := setupApp(t, &appio.Options{Payments: creditors, PaymentTimeout: 200 * time.Millisecond}, nil)
	id, err := pagopa.ParseRPTID(string(comune) + "302032002700000251")
	require.NoError(t, err)
	at := communication + "/payment/info/" + id.String()
	creditors.Put(appio.Debt{RPTID: id, Amount: 114_00, Payee: "Comune di Esempio", Description: strings.Repeat("è", 150), Due: time.Date(2026, 5, 31, 0, 0, 0, 0, time.UTC)})
	var p httpapi.PaymentInfo
	w.by(ada, "GET", at+"?test=false", nil).into(200, &p)
	require.Equal(t, httpapi.PaymentInfo{
		RPTID: id.String(), PayeeCode: string(comune), PayeeName: "Comune di Esempio", Description: strings.Repeat("è", 140), Amount: 114_00, DueDate: "2026-05-31",
	}, p)
	creditors.Put(appio.Debt{RPTID: id, Amount: 1})
	require.JSONEq(t, `{"rptId":"15376371009302032002700000251","paFiscalCode":"15376371009","amount":1}`, string(w.by(nobody, "GET", at, nil).body))
	bills, err := w.citizen(ada).Bills(t.Context())
	require.NoError(t, err)
	require.Empty(t, bills, "to ask is not to have")

	for _, c := range []struct {
		fault  error
		status int
		says   httpapi.PaymentFault
	}{
		{&pagopa.Fault{Category: pagopa.PaymentUnknown, Detail: "PAA_PAGAMENTO_SCONOSCIUTO"}, 404, httpapi.PaymentFault{"Not Found", "PAYMENT_UNKNOWN", "PAA_PAGAMENTO_SCONOSCIUTO"}},
		{&pagopa.Fault{Category: pagopa.PaymentDataError}, 404, httpapi.PaymentFault{"Not Found", "PAYMENT_DATA_ERROR", "PPT_SINTASSI_EXTRAXSD"}},
		{&pagopa.Fault{Category: pagopa.PaymentOngoing}, 409, httpapi.PaymentFault{"Conflict", "PAYMENT_ONGOING", "PPT_PAGAMENTO_IN_CORSO"}},
		{&pagopa.Fault{Category: pagopa.PaymentExpired}, 409, httpapi.PaymentFault{"Conflict", "PAYMENT_EXPIRED", "PAA_PAGAMENTO_SCADUTO"}},
		{&pagopa.Fault{Category: pagopa.PaymentCanceled}, 409, httpapi.PaymentFault{"Conflict", "PAYMENT_CANCELED", "PAA_PAGAMENTO_ANNULLATO"}},
		{&pagopa.Fault{Category: pagopa.PaymentDuplicated, Detail: "PAA_PAGAMENTO_DUPLICATO"}, 409,
			httpapi.PaymentFault{"Conflict", "PAYMENT_DUPLICATED", "PAA_PAGAMENTO_DUPLICATO"}},
		{&pagopa.Fault{Category: pagopa.GenericError}, 502, httpapi.PaymentFault{"Bad Gateway", "GENERIC_ERROR", "GENERIC_ERROR"}},
		{&pagopa.Fault{Category: "made up"}, 502, httpapi.PaymentFault{"Bad Gateway", "GENERIC_ERROR", "GENERIC_ERROR"}},
		{&pagopa.Fault{Category: pagopa.PaymentUnavailable}, 502, httpapi.PaymentFault{"Bad Gateway", "PAYMENT_UNAVAILABLE", "PPT_SYSTEM_ERROR"}},
		{&pagopa.Fault{Category: pagopa.DomainUnknown}, 503, httpapi.PaymentFault{"Service Unavailable", "DOMAIN_UNKNOWN", "PPT_STAZIONE_INT_PA_IRRAGGIUNGIBILE"}},
		{errors.New("the gateway cannot be reached"), 502, httpapi.PaymentFault{"Bad Gateway", "GENERIC_ERROR", "GENERIC_ERROR"}},
		{context.DeadlineExceeded, 502, httpapi.PaymentFault{"Bad Gateway", "GENERIC_ERROR", "GENERIC_ERROR"}},
	} {
		creditors.Refuse(id, c.fault)
		var f httpapi.PaymentFault
		w.by(ada, "GET", at, nil).into(c.status, &f)
		require.Equal(t, c.says, f)
	}
	for _, bad := range []string{"x", "15376371009", "1537637100A302032002700000251", "15376371009402032002700000251", "%00"} {
		var f httpapi.PaymentFault
		w.by(ada, "GET", communication+"/payment/info/"+bad, nil).into(404, &f)
		require.Equal(t, "PAYMENT_DATA_ERROR", f.Category)
	}
	w.by(ada, "GET", at+"?test=1", nil).problem(400, "")
	w.by(ada, "GET", at+"?test=true", nil).problem(501, "")
	setupApp(t, nil, nil).by(ada, "GET", at, nil).problem(501, "")
	require.NoError(t, w.eng.Close())
	w.by(ada, "GET", at, nil).problem(503, "")
}

package push_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/appiotest"
	"github.com/appio-go/appio/channel/channeltest"
	"github.com/appio-go/appio/channel/push"
	"github.com/appio-go/appio/internal/verdict"
)

const (
	deviceToken = "8f0c2a6b54d39e17aa30bb41cc52dd63ee74ff8500961122334455667788990a"
	fcmToken    = "dXyz-0123456789:APA91bH_qwertyuiop-asdfghjkl.zxcvbnm"
)

// A platform is one of the three, with its provider and an installation there.
type platform struct {
	name string
	open func(t *testing.T, now func() time.Time) (*push.Channel, *provider, string)
}

var platforms = []platform{
	{"Web", func(t *testing.T, now func() time.Time) (*push.Channel, *provider, string) {
		s := newPushService(t, now)
		return open(t, &push.Options{Web: s.options(newKey(t)), Now: now}), s.provider, s.value("/wpush/v2/gAAAAAB")
	}},
	{"APNs", func(t *testing.T, now func() time.Time) (*push.Channel, *provider, string) {
		a := newApple(t, now)
		return open(t, &push.Options{APNs: a.options(), Now: now}), a.provider, "apns:" + deviceToken
	}},
	{"FCM", func(t *testing.T, now func() time.Time) (*push.Channel, *provider, string) {
		g := newGoogle(t, now)
		return open(t, &push.Options{FCM: g.options(), Now: now}), g.provider, "fcm:" + fcmToken
	}},
}

func open(t testing.TB, o *push.Options) *push.Channel {
	c, err := push.New(o)
	require.NoError(t, err)
	return c
}

// each runs a test on every platform.
func each(t *testing.T, f func(t *testing.T, p platform)) {
	for _, p := range platforms {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			f(t, p)
		})
	}
}

var noon = time.Date(2026, 11, 22, 11, 0, 0, 0, time.UTC)

func atNoon() time.Time { return noon }

// delivery is one of a whole message, an hour before it expires.
func delivery(value string) appio.Delivery {
	return appio.Delivery{
		ID: "2QLKJHGF7DSAPOIU3YTREWQMNB", Channel: "push", Attempt: 1, Content: appio.Full, Language: "it", Withdraw: "withdraw-token",
		Address: appio.Address{ID: "a1", Channel: "push", Value: value}, Message: "01KEAF3V4N5W7Q0Z8X2C6B1M9D", Service: "mensa",
		ServiceName: "Mensa scolastica", OrganizationName: "Comune di Esempio", Subject: "Retta di ottobre", Markdown: "Gentile cittadina, ...",
		Due: time.Date(2026, 11, 30, 22, 59, 59, 0, time.UTC), ExpiresAt: noon.Add(time.Hour),
	}
}

func generic(value string) appio.Delivery {
	d := delivery(value)
	d.Content, d.Subject, d.Markdown = appio.Generic, "", ""
	return d
}

func TestContract(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p platform) {
		channeltest.Run(t, func(t *testing.T) (appio.Channel, func() []appio.DeliveryID) {
			c, provider, value := p.open(t, time.Now)
			return channeltest.Adapt(c, func(d *appio.Delivery) {
				if d.Address.Value == "maria.bianchi@example.org" {
					d.Address.Value = value
				}
			}), provider.ids
		})
	})
}

func TestFaultsOfProviders(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p platform) {
		channeltest.RunFaults(t, func(t *testing.T) (appio.Channel, *channeltest.Provider) {
			c, provider, value := p.open(t, time.Now)
			return channeltest.Adapt(c, func(d *appio.Delivery) { d.Address.Value = value }),
				&channeltest.Provider{Got: provider.ids, Asked: provider.count, Meet: provider.meet}
		})
	})
}

func TestWhatIsShown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change      func(d *appio.Delivery)
		title, body string
		reminder    appio.ReminderKind
	}{
		"a message":             {func(*appio.Delivery) {}, "Comune di Esempio", "Retta di ottobre", ""},
		"without organization":  {func(d *appio.Delivery) { d.OrganizationName = "" }, "Mensa scolastica", "Retta di ottobre", ""},
		"that there is one":     {func(d *appio.Delivery) { d.Content = appio.Generic }, "Comune di Esempio", "Hai un nuovo messaggio. Apri l’app per leggerlo.", ""},
		"in English":            {func(d *appio.Delivery) { d.Content, d.Language = appio.Generic, "en-GB" }, "Comune di Esempio", "You have a new message. Open the app to read it.", ""},
		"in another language":   {func(d *appio.Delivery) { d.Content, d.Language = appio.Generic, "sl" }, "Comune di Esempio", "Hai un nuovo messaggio. Apri l’app per leggerlo.", ""},
		"no language":           {func(d *appio.Delivery) { d.Content, d.Language = appio.Generic, "" }, "Comune di Esempio", "Hai un nuovo messaggio. Apri l’app per leggerlo.", ""},
		"a language like en":    {func(d *appio.Delivery) { d.Content, d.Language = appio.Generic, "enm" }, "Comune di Esempio", "Hai un nuovo messaggio. Apri l’app per leggerlo.", ""},
		"what was not read":     {func(d *appio.Delivery) { d.Reminder = appio.RemindUnread }, "Comune di Esempio", "Promemoria, da leggere: Retta di ottobre", "unread"},
		"a deadline":            {func(d *appio.Delivery) { d.Reminder = appio.RemindDeadline }, "Comune di Esempio", "Promemoria, scadenza 30 novembre 2026: Retta di ottobre", "deadline"},
		"a notice":              {func(d *appio.Delivery) { d.Reminder = appio.RemindUnpaid }, "Comune di Esempio", "Promemoria, da pagare: Retta di ottobre", "unpaid"},
		"a deadline in English": {func(d *appio.Delivery) { d.Reminder, d.Language = appio.RemindDeadline, "en" }, "Comune di Esempio", "Reminder, deadline 30 November 2026: Retta di ottobre", "deadline"},
		"a deadline in Italian time": {func(d *appio.Delivery) {
			d.Reminder, d.Due = appio.RemindDeadline, time.Date(2026, 11, 30, 23, 30, 0, 0, time.UTC)
		}, "Comune di Esempio", "Promemoria, scadenza 1 dicembre 2026: Retta di ottobre", "deadline"},
		"that there is a reminder, not of what": {func(d *appio.Delivery) { d.Content, d.Reminder = appio.Generic, appio.RemindUnpaid },
			"Comune di Esempio", "Promemoria: hai un messaggio. Apri l’app per leggerlo.", ""},
		"line breaks": {func(d *appio.Delivery) { d.Subject = "Avviso\r\nBcc: \x00 altri\u2028" }, "Comune di Esempio", "Avviso  Bcc:   altri ", ""},
		"markup":      {func(d *appio.Delivery) { d.Subject = `</b> "\u0000" & {{.}} %s` }, "Comune di Esempio", `</b> "\u0000" & {{.}} %s`, ""},
		"broken text": {func(d *appio.Delivery) { d.Subject = "Avviso \xff" }, "Comune di Esempio", "Avviso \uFFFD", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, p platform) {
				ch, provider, value := p.open(t, atNoon)
				d := delivery(value)
				c.change(&d)
				require.NoError(t, ch.Deliver(t.Context(), d))
				g := provider.taken()
				require.Len(t, g, 1)
				require.Equal(t, c.title, g[0].Title)
				require.Equal(t, c.body, g[0].Body)
				require.Equal(t, c.reminder, g[0].Reminder)
				require.Equal(t, d.ID, g[0].Delivery)
				require.Equal(t, d.Message, g[0].Message)
			})
		})
	}
}

// TestLanguageOfANotification: a browser reads the text aloud as the language that it is told.
func TestLanguageOfANotification(t *testing.T) {
	t.Parallel()
	s := newPushService(t, atNoon)
	ch := open(t, &push.Options{Web: s.options(newKey(t)), Now: atNoon})
	for _, c := range []struct {
		preferred, of string
		content       appio.Content
		reminder      appio.ReminderKind
		lang, begins  string
	}{
		{"en", "it", appio.Full, "", "it", "Retta"},
		{"it", "de", appio.Full, "", "de", "Retta"},
		{"en", "", appio.Full, "", "", "Retta"}, // the sender does not say
		{"en", "de", appio.Full, appio.RemindUnread, "en", "Reminder, to read: Retta"},
		{"fr", "en", appio.Full, appio.RemindUnread, "en", "Reminder, to read: Retta"},
		{"it", "en", appio.Full, appio.RemindUnread, "it", "Promemoria, da leggere: Retta"},
		{"en-GB", "it", appio.Full, appio.RemindUnread, "en", "Reminder, to read: Retta"},
		{"fr", "de", appio.Full, appio.RemindUnread, "it", "Promemoria, da leggere: Retta"},
		{"en", "", appio.Generic, "", "en", "You have"},
		{"it", "", appio.Generic, "", "it", "Hai"},
		{"fr", "", appio.Generic, "", "it", "Hai"},
	} {
		d := delivery(s.value("/1"))
		d.Language, d.TextLanguage, d.Content, d.Reminder = c.preferred, c.of, c.content, c.reminder
		require.NoError(t, ch.Deliver(t.Context(), d))
		got := s.taken()[len(s.taken())-1]
		require.Equal(t, c.lang, got.Lang, c)
		require.Truef(t, strings.HasPrefix(got.Body, c.begins), "%v: %s", c, got.Body)
	}
}

func TestTextOfTheHost(t *testing.T) {
	t.Parallel()
	s := newPushService(t, atNoon)
	c := open(t, &push.Options{Web: s.options(newKey(t)), Now: atNoon, Text: func(d appio.Delivery) (string, string) {
		if d.Language == "de" {
			return "Neue Nachricht", "In der App\nlesen."
		}
		return "Nuovo messaggio", "Leggi nell’app."
	}})
	d := generic(s.value("/1"))
	d.Language = "de"
	require.NoError(t, c.Deliver(t.Context(), d))
	require.Equal(t, "Neue Nachricht", s.taken()[0].Title)
	require.Equal(t, "In der App lesen.", s.taken()[0].Body)
	require.Equal(t, "de", s.taken()[0].Lang)
}

func TestLongTextsAreCut(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p platform) {
		ch, provider, value := p.open(t, atNoon)
		for _, piece := range []string{"a", "è", "\U0001F3DB", `"`, `\`, "学"} {
			for _, shift := range []string{"", "x", "xx", "xxx"} {
				d := delivery(value)
				d.Subject = shift + strings.Repeat(piece, 10_000)
				require.NoError(t, ch.Deliver(t.Context(), d))
				g := provider.taken()[len(provider.taken())-1]
				body, cut := strings.CutSuffix(g.Body, "…")
				require.True(t, cut)
				require.True(t, utf8.ValidString(body))
				require.True(t, strings.HasPrefix(d.Subject, body))
				require.Greater(t, len(body), 1500)
				require.Equal(t, "Comune di Esempio", g.Title)
				if p.name != "Web" { // which is always as long
					require.Greater(t, g.Size, 4096-8)
				}

				d.OrganizationName = d.Subject
				require.NoError(t, ch.Deliver(t.Context(), d))
				g = provider.taken()[len(provider.taken())-1]
				require.True(t, strings.HasSuffix(g.Title, "…"))
				require.Empty(t, g.Body)
			}
		}

		d := delivery(value)
		d.Message = appio.MessageID(strings.Repeat("0", 5000))
		marked(t, "parked", ch.Deliver(t.Context(), d))
	})
}

func TestEndOfANotification(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		expires        time.Time
		web, apns, fcm string
	}{
		{noon.Add(time.Hour), "3600", "1795348800", "3600s"},
		{noon.Add(90*time.Second + 700*time.Millisecond), "90", "1795345290", "90s"},
		{noon.Add(7 * 24 * time.Hour), "604800", "1795950000", "604800s"},
		{noon.Add(100 * 24 * time.Hour), "2419200", "1803985200", "2419200s"},
		{noon.Add(-time.Hour), "0", "1795341600", "0s"},
		{time.Time{}, "0", "0", "0s"},
	} {
		each(t, func(t *testing.T, p platform) {
			ch, provider, value := p.open(t, atNoon)
			d := delivery(value)
			d.ExpiresAt = c.expires
			require.NoError(t, ch.Deliver(t.Context(), d))
			require.Equal(t, map[string]string{"Web": c.web, "APNs": c.apns, "FCM": c.fcm}[p.name], provider.taken()[0].TTL)
		})
	}
}

func TestNotificationsOfOneMessageReplaceEachOther(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p platform) {
		ch, provider, value := p.open(t, atNoon)
		other := strings.Replace(strings.Replace(value, "8f0c", "8f0d", 1), "dXyz", "dXyy", 1)
		if p.name == "Web" {
			other = value + "/2"
		}
		first, again, reminder, next, elsewhere := delivery(value), delivery(value), delivery(value), delivery(value), delivery(other)
		again.Attempt, again.Content = 2, appio.Generic
		reminder.ID, reminder.Reminder = "3QLKJHGF7DSAPOIU3YTREWQMNB", appio.RemindUnread
		next.Message = "01KEAF3V4N5W7Q0Z8X2C6B1M9E"
		var tags []string
		for _, d := range []appio.Delivery{first, again, reminder, next, elsewhere} {
			require.NoError(t, ch.Deliver(t.Context(), d))
			g := provider.taken()[len(provider.taken())-1]
			tags = append(tags, g.Tag)
			require.Len(t, g.Tag, 32)
			if p.name == "Web" {
				require.Equal(t, g.Tag, g.Header.Get("Topic"))
			}
		}
		require.Equal(t, tags[0], tags[1])
		require.Equal(t, tags[0], tags[2])
		require.NotEqual(t, tags[0], tags[3], "another message")
		require.NotEqual(t, tags[0], tags[4], "providers are not told that two installations are of one person")
	})
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	const (
		later, parked, gone = "later", "parked", "gone"
		unregistered        = `{"error": {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND",
			"details": [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED"}]}}`
	)
	fcmError := func(status, code string) string {
		return `{"error": {"status": "` + status + `", "details": [{"@type": "type.googleapis.com/google.rpc.BadRequest"},
			{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "` + code + `"}]}}`
	}
	for _, c := range []struct {
		platform string
		status   int
		body     string
		want     string
		says     string
	}{
		{"Web", 200, "", "", ""},
		{"Web", 201, "", "", ""},
		{"Web", 202, "", "", ""},
		{"Web", 204, "", "", ""},
		{"Web", 400, "UnauthorizedRegistration", parked, "push: the push service answered 400"},
		{"Web", 401, "", later, "push: the push service answered 401"},
		{"Web", 403, "", later, "push: the push service answered 403"},
		{"Web", 404, "", gone, "push: the push service answered 404"},
		{"Web", 410, "", gone, "push: the push service answered 410"},
		{"Web", 413, "", parked, "push: the push service answered 413"},
		{"Web", 429, "", later, "push: the push service answered 429"},
		{"Web", 500, "", later, "push: the push service answered 500"},

		{"APNs", 400, `{"reason": "BadDeviceToken"}`, gone, "push: APNs answered 400 BadDeviceToken"},
		{"APNs", 400, `{"reason": "DeviceTokenNotForTopic"}`, parked, "push: APNs answered 400 DeviceTokenNotForTopic"},
		{"APNs", 400, `{"reason": "PayloadEmpty"}`, parked, "push: APNs answered 400 PayloadEmpty"},
		{"APNs", 400, `{"reason": "Unregistered"}`, parked, "push: APNs answered 400 Unregistered"},
		{"APNs", 400, `{"reason": "TopicDisallowed"}`, later, "push: APNs answered 400 TopicDisallowed"},
		{"APNs", 400, "", later, "push: APNs answered 400"},
		{"APNs", 200, "", later, "push: APNs answered 200, and not for this notification"},
		{"APNs", 403, `{"reason": "InvalidProviderToken"}`, later, "push: APNs answered 403 InvalidProviderToken"},
		{"APNs", 403, `{"reason": "BadDeviceToken"}`, later, "push: APNs answered 403 BadDeviceToken"},
		{"APNs", 404, `{"reason": "BadPath"}`, later, "push: APNs answered 404 BadPath"},
		{"APNs", 410, `{"reason": "Unregistered", "timestamp": 1795345200000}`, gone, "push: APNs answered 410 Unregistered"},
		{"APNs", 410, `{"reason": "Unregistered"}`, gone, "push: APNs answered 410 Unregistered"},
		{"APNs", 410, `{"reason": "ExpiredToken"}`, gone, "push: APNs answered 410 ExpiredToken"},
		{"APNs", 410, `<html>gone</html>`, later, "push: APNs answered 410"},
		{"APNs", 413, `{"reason": "PayloadTooLarge"}`, parked, "push: APNs answered 413 PayloadTooLarge"},
		{"APNs", 429, `{"reason": "TooManyRequests"}`, later, "push: APNs answered 429 TooManyRequests"},
		{"APNs", 500, `{"reason": "InternalServerError"}`, later, "push: APNs answered 500 InternalServerError"},
		{"APNs", 503, `{"reason": "Shutdown"}`, later, "push: APNs answered 503 Shutdown"},
		{"APNs", 400, `{"reason": "` + deviceToken + `"}`, parked, "push: APNs answered 400"},

		{"FCM", 400, fcmError("INVALID_ARGUMENT", "INVALID_ARGUMENT"), parked, "push: FCM answered 400 INVALID_ARGUMENT"},
		{"FCM", 400, fcmError("INVALID_ARGUMENT", "UNREGISTERED"), parked, "push: FCM answered 400 UNREGISTERED"},
		{"FCM", 401, fcmError("UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"), later, "push: FCM answered 401 THIRD_PARTY_AUTH_ERROR"},
		{"FCM", 403, fcmError("PERMISSION_DENIED", "SENDER_ID_MISMATCH"), parked, "push: FCM answered 403 SENDER_ID_MISMATCH"},
		{"FCM", 403, `{"error": {"status": "PERMISSION_DENIED"}}`, later, "push: FCM answered 403 PERMISSION_DENIED"},
		{"FCM", 400, "<html>", later, "push: FCM answered 400"},
		{"FCM", 200, "<html>", later, "push: FCM answered 200, and not that it has taken the notification"},
		{"FCM", 404, unregistered, gone, "push: FCM answered 404 UNREGISTERED"},
		{"FCM", 404, `{"error": {"status": "NOT_FOUND"}}`, later, "push: FCM answered 404 NOT_FOUND"},
		{"FCM", 404, `<html>not found</html>`, later, "push: FCM answered 404"},
		{"FCM", 429, fcmError("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), later, "push: FCM answered 429 QUOTA_EXCEEDED"},
		{"FCM", 500, fcmError("INTERNAL", "INTERNAL"), later, "push: FCM answered 500 INTERNAL"},
		{"FCM", 503, fcmError("UNAVAILABLE", "UNAVAILABLE"), later, "push: FCM answered 503 UNAVAILABLE"},
		{"FCM", 400, `{"error": {"status": "token ` + fcmToken + `"}}`, parked, "push: FCM answered 400"},
	} {
		t.Run(c.platform+" "+http.StatusText(c.status)+" "+c.want+" "+c.says, func(t *testing.T) {
			t.Parallel()
			for _, p := range platforms {
				if p.name != c.platform {
					continue
				}
				ch, provider, value := p.open(t, atNoon)
				provider.answers(status(c.status, c.body))
				err := ch.Deliver(t.Context(), generic(value))
				if c.want == "" {
					require.NoError(t, err)
					return
				}
				require.EqualError(t, err, c.says)
				kind, _ := mark(err)
				require.Equal(t, c.want, kind)
			}
		})
	}
}

// mark is what an error says to the engine, and the pause that it asks for.
func mark(err error) (kind string, after time.Duration) {
	var m *verdict.Error
	if !errors.As(err, &m) {
		return "later", 0
	}
	return map[verdict.Kind]string{verdict.Later: "later", verdict.Permanent: "parked", verdict.Gone: "gone"}[m.Verdict], m.After
}

// marked checks that an error is of a kind, and asks for no pause.
func marked(t *testing.T, want string, err error) {
	t.Helper()
	require.Error(t, err)
	kind, after := mark(err)
	require.Equal(t, want, kind)
	require.Zero(t, after)
}

func TestAnInstallationThatRegisteredAgainIsNotGone(t *testing.T) {
	t.Parallel()
	a := newApple(t, atNoon)
	ch := open(t, &push.Options{APNs: a.options(), Now: atNoon})
	a.answers(status(410, `{"reason": "Unregistered", "timestamp": 1795345200000}`)) // noon
	for name, c := range map[string]struct {
		proved time.Time
		want   string
	}{
		"before": {noon.Add(-time.Hour), "gone"}, "then": {noon, "gone"}, "after": {noon.Add(time.Second), "later"},
	} {
		t.Run(name, func(t *testing.T) {
			d := generic("apns:" + deviceToken)
			d.Address.ValidatedAt = c.proved
			marked(t, c.want, ch.Deliver(t.Context(), d))
		})
	}
}

func TestPauseThatIsAskedFor(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p platform) {
		usual := time.Duration(0)
		silent := map[string]time.Duration{"FCM": time.Minute}[p.name] // what Google asks for where it says nothing
		for _, c := range []struct {
			status int
			after  string
			want   time.Duration
		}{
			{503, "120", 2 * time.Minute},
			{429, "300", 5 * time.Minute},
			{500, "Sun, 22 Nov 2026 11:10:00 GMT", 10 * time.Minute},
			{503, "Sun, 22 Nov 2026 10:00:00 GMT", usual},
			{503, "2000000000", 24 * time.Hour},
			{503, "-5", usual},
			{503, "soon", usual},
			{503, "", usual},
			{429, "", silent},
			{429, "soon", silent},
			{401, "120", usual},
		} {
			ch, provider, value := p.open(t, atNoon)
			provider.answers(status(c.status, "", "Retry-After", c.after))
			kind, after := mark(ch.Deliver(t.Context(), generic(value)))
			require.Equal(t, "later", kind)
			require.Equal(t, c.want, after, "%d %s", c.status, c.after)
		}
	})
}

func TestPauseThatGooglesTokenServiceAsksFor(t *testing.T) {
	t.Parallel()
	g := newGoogle(t, atNoon)
	ch := open(t, &push.Options{FCM: g.options(), Now: atNoon})
	for code, want := range map[int]time.Duration{429: 2 * time.Minute, 503: 2 * time.Minute, 403: 0} {
		g.grants(status(code, "", "Retry-After", "120"))
		kind, after := mark(ch.Deliver(t.Context(), generic("fcm:"+fcmToken)))
		require.Equal(t, "later", kind)
		require.Equal(t, want, after, code)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p platform) {
		ch, provider, value := p.open(t, atNoon)
		for _, code := range []int{301, 302, 303, 307, 308} {
			asked := 0
			provider.answers(func(w http.ResponseWriter, r *http.Request) {
				asked++
				http.Redirect(w, r, "/elsewhere", code)
			})
			err := ch.Deliver(t.Context(), generic(value))
			require.ErrorContains(t, err, "answered 30")
			marked(t, "later", err)
			require.Equal(t, 1, asked)
		}
	})
}

func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p platform) {
		ch, provider, value := p.open(t, atNoon)
		written := 0
		done := make(chan struct{})
		provider.answers(func(w http.ResponseWriter, r *http.Request) {
			defer close(done)
			w.WriteHeader(http.StatusServiceUnavailable)
			for chunk := make([]byte, 32<<10); written < 64<<20; {
				n, err := w.Write(chunk)
				written += n
				if err != nil || r.Context().Err() != nil {
					return
				}
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		require.ErrorContains(t, ch.Deliver(ctx, generic(value)), "503")
		<-done
		require.Less(t, written, 8<<20)
	})
}

func TestSecretsAreInNoError(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p platform) {
		ch, provider, value := p.open(t, atNoon)
		in, err := push.Parse(value)
		require.NoError(t, err)
		secrets := []string{value, "withdraw-token", "gAAAAAB"}
		for _, s := range []string{in.Token, in.Auth, in.P256DH, in.Endpoint} {
			if s != "" {
				secrets = append(secrets, s)
			}
		}
		look := func(err error) {
			t.Helper()
			require.Error(t, err)
			for _, s := range secrets {
				require.NotContains(t, err.Error(), s)
			}
		}
		for _, code := range []int{302, 400, 403, 404, 410, 500} {
			provider.answers(func(w http.ResponseWriter, r *http.Request) {
				secrets = append(secrets, strings.Fields(r.Header.Get("Authorization"))[1])
				status(code, `{"reason": "`+r.URL.Path+`", "error": {"status": "`+r.URL.String()+`"}}`, "Location", r.URL.Path+"/x")(w, r)
			})
			look(ch.Deliver(t.Context(), generic(value)))
		}
		provider.answers(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		look(ch.Deliver(t.Context(), generic(value)))
		provider.server.Close()
		look(ch.Deliver(t.Context(), generic(value)))
	})
}

func TestWhatCannotBeAnInstallationIsParked(t *testing.T) {
	t.Parallel()
	s := newPushService(t, atNoon)
	ch := open(t, &push.Options{Web: s.options(newKey(t)), Now: atNoon})
	for _, value := range []string{"", "web:", "maria.bianchi@example.org", "apns:" + deviceToken, "fcm:" + fcmToken} {
		marked(t, "parked", ch.Deliver(t.Context(), generic(value)))
	}
	require.Empty(t, s.taken())
}

func TestOptions(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	web, apns, fcm := push.WebPush{Key: key, Subject: "mailto:a@example.org"}, push.Apple{Key: key, KeyID: "K", TeamID: "T", Topic: "it.example.app"},
		push.Firebase{Account: account(t, push.RSAKey(), "https://oauth2.example.org/token")}
	_, err := push.New(&push.Options{Web: &web, APNs: &apns, FCM: &fcm})
	require.NoError(t, err)

	for name, o := range map[string]*push.Options{
		"nil":              nil,
		"no provider":      {},
		"no key":           {Web: &push.WebPush{Subject: web.Subject}},
		"no subject":       {Web: &push.WebPush{Key: key}},
		"a subject's name": {Web: &push.WebPush{Key: key, Subject: "mailto:A <a@example.org>"}},
		"an http subject":  {Web: &push.WebPush{Key: key, Subject: "http://example.org"}},
		"no key of Apple":  {APNs: &push.Apple{KeyID: "K", TeamID: "T", Topic: "t"}},
		"no key id":        {APNs: &push.Apple{Key: key, TeamID: "T", Topic: "t"}},
		"a header":         {APNs: &push.Apple{Key: key, KeyID: "K", TeamID: "T", Topic: "t\r\nx: y"}},
		"http":             {APNs: &push.Apple{Key: key, KeyID: "K", TeamID: "T", Topic: "t", URL: "http://example.org"}},
		"no account":       {FCM: &push.Firebase{}},
		"a token over http": {FCM: &push.Firebase{
			Account: account(t, push.RSAKey(), "http://oauth2.example.org/token")}},
		"a user's key": {FCM: &push.Firebase{Account: []byte(strings.Replace(string(fcm.Account), "service_account", "authorized_user", 1))}},
		"a path":       {FCM: &push.Firebase{Account: []byte(strings.Replace(string(fcm.Account), `"project_id":"comune`, `"project_id":"../comune`, 1))}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := push.New(o)
			require.ErrorIs(t, err, appio.ErrInvalid)
			require.NotContains(t, err.Error(), "PRIVATE")
			var f *appio.FieldError
			require.True(t, errors.As(err, &f))
		})
	}
}

func TestSeveralInstallationsOfACitizen(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var k *appiotest.Kit
	now := func() time.Time { return k.Now() }
	s, a, g := newPushService(t, now), newApple(t, now), newGoogle(t, now)
	ch := open(t, &push.Options{Web: s.options(newKey(t)), APNs: a.options(), FCM: g.options(), Now: now})
	require.True(t, ch.Route().Interrupts)
	k = appiotest.New(t, &appio.Options{Channels: []appio.Route{ch.Route()}})
	school, mario := k.Service("mensa"), k.Person(appiotest.Mario, appio.Auto)
	require.NoError(t, mario.UpdateProfile(ctx, func(p *appio.Profile) error {
		p.Addresses = nil
		for id, value := range map[string]string{"browser": s.value("/1"), "phone": "apns:" + deviceToken, "tablet": "apns-sandbox:" + deviceToken, "old": "fcm:" + fcmToken} {
			p.Addresses = append(p.Addresses, appio.Address{ID: id, Channel: appio.Push, Value: value})
		}
		return nil
	}))
	send := func() {
		_, err := school.Send(ctx, appiotest.Message(appiotest.Mario))
		require.NoError(t, err)
		_, err = k.Flush(ctx)
		require.NoError(t, err)
	}
	g.answers(status(404, `{"error": {"details": [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED"}]}}`))
	send()
	require.Len(t, s.taken(), 1)
	require.Equal(t, "Hai un nuovo messaggio. Apri l’app per leggerlo.", s.taken()[0].Body)
	require.Len(t, a.taken(), 2)
	paths := []string{a.taken()[0].Path, a.taken()[1].Path}
	require.ElementsMatch(t, []string{"/3/device/" + deviceToken, "/sandbox/3/device/" + deviceToken}, paths)
	require.Eventually(t, func() bool { // the engine takes the one out that is gone, and lets nobody wait for that
		p, err := mario.Profile(ctx)
		require.NoError(t, err)
		return len(p.Addresses) == 3 && !slices.ContainsFunc(p.Addresses, func(a appio.Address) bool { return a.ID == "old" })
	}, 10*time.Second, time.Millisecond)

	g.answers(nil)
	send()
	require.Len(t, s.taken(), 2)
	require.Len(t, a.taken(), 4)
	require.Empty(t, g.taken())
}

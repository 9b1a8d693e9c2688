package push_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/push"
)

const (
	p256dh = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
	auth   = "BTBZMqHH6r4Tts7J_aSIgg"
)

var installations = map[string]push.Installation{
	"apns:" + deviceToken:         {Platform: push.APNs, Token: deviceToken},
	"apns-sandbox:" + deviceToken: {Platform: push.APNsSandbox, Token: deviceToken},
	"fcm:" + fcmToken:             {Platform: push.FCM, Token: fcmToken},
	"web:" + p256dh + ":" + auth + ":https://updates.push.example.org/wpush/v2/gAAAAA:x?y=%3A": {
		Platform: push.Web, P256DH: p256dh, Auth: auth, Endpoint: "https://updates.push.example.org/wpush/v2/gAAAAA:x?y=%3A"},
	"web:" + p256dh + ":" + auth + ":https://push.example.org:8443": {Platform: push.Web, P256DH: p256dh, Auth: auth, Endpoint: "https://push.example.org:8443"},
}

func TestInstallations(t *testing.T) {
	t.Parallel()
	for text, i := range installations {
		got, err := push.Parse(text)
		require.NoError(t, err)
		require.Equal(t, i, got)
		require.Equal(t, text, i.Value())
		require.NoError(t, i.Validate())
	}
}

var noInstallations = []string{
	"", ":", "x", "apns", "apns:", "APNs:" + deviceToken, " apns:" + deviceToken, "sms:+390612345678", "maria.bianchi@example.org",
	"apns:" + strings.ToUpper(deviceToken), "apns:" + deviceToken[1:], "apns:" + deviceToken + "\n", "apns:../" + deviceToken, "apns:" + deviceToken + "?x=1",
	"fcm:", "fcm:a b", "fcm:a\"b", "fcm:é", "fcm:" + strings.Repeat("a", 1997),
	"web:" + p256dh + ":" + auth,
	"web:" + p256dh + ":" + auth + ":",
	"web:" + p256dh + ":" + auth + ":http://push.example.org/x",
	"web:" + p256dh + ":" + auth + ":HTTPS://push.example.org/x\n",
	"web:" + p256dh + ":" + auth + ":https:///x",
	"web:" + p256dh + ":" + auth + ":https://:443/x",
	"web:" + p256dh + ":" + auth + ":https:push.example.org",
	"web:" + p256dh + ":" + auth + ":https://user:secret@push.example.org/x",
	"web:" + p256dh + ":" + auth + ":https://push.example.org/x#y",
	"web:" + p256dh + ":" + auth + ":https://push.example.org/x#",
	"web:" + p256dh + ":" + auth + ":https://push.example.org/ x",
	"web:" + p256dh + ":" + auth + ":https://push.example.org/è",
	"web:" + p256dh + ":" + auth + ":https://push.example.org/%zz",
	"web:" + p256dh + ":" + auth + ":https://push.example.org/" + strings.Repeat("x", 2000),
	"web:" + p256dh + ":" + auth + "A:https://push.example.org/x",
	"web:" + p256dh + ":" + auth[:20] + ":https://push.example.org/x",
	"web:" + p256dh + ":" + auth + "==:https://push.example.org/x",
	"web:" + p256dh[:43] + "\n" + p256dh[43:] + ":" + auth + ":https://push.example.org/x",
	"web:" + p256dh[:86] + "5:" + auth + ":https://push.example.org/x",                             // loose bits
	"web:" + strings.Replace(p256dh, "BCV", "BCW", 1) + ":" + auth + ":https://push.example.org/x", // not on the curve
	"web:A" + p256dh[1:] + ":" + auth + ":https://push.example.org/x",
}

func TestNoInstallations(t *testing.T) {
	t.Parallel()
	for _, text := range noInstallations {
		_, err := push.Parse(text)
		require.Error(t, err, text)
		if len(text) > 20 {
			require.NotContains(t, err.Error(), text[5:20])
		}
	}
	for _, i := range []push.Installation{
		{}, {Platform: "sms", Token: "1"}, {Platform: push.APNs, Token: deviceToken, Auth: auth}, {Platform: push.FCM, Token: fcmToken, Endpoint: "https://x.example.org"},
		{Platform: push.Web, P256DH: p256dh, Auth: auth, Endpoint: "https://push.example.org", Token: "x"},
	} {
		require.ErrorIs(t, i.Validate(), appio.ErrInvalid)
	}
}

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	i, err := push.ParseSubscription(fmt.Appendf(nil, `{"endpoint": "https://push.example.org/x", "expirationTime": null, "keys": {"p256dh": %q, "auth": %q}}`, p256dh, auth))
	require.NoError(t, err)
	require.Equal(t, push.Installation{Platform: push.Web, P256DH: p256dh, Auth: auth, Endpoint: "https://push.example.org/x"}, i)
	for _, text := range []string{
		"", "null", "{}", "[]", `{"endpoint": 1}`, `{"endpoint": "https://push.example.org/x"}`, `{"endpoint": "https://push.example.org/x", "keys": null}`,
		strings.Repeat(" ", 5000) + "{}",
	} {
		_, err := push.ParseSubscription([]byte(text))
		require.Error(t, err, text)
	}
}

func TestAnInstallationInALogHasNoToken(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, nil))
	for _, i := range installations {
		log.Info("registered", "installation", i)
		fmt.Fprintf(&b, "%s %v %+v %#v %v\n", i, i, &i, i, []push.Installation{i})
	}
	for _, secret := range []string{deviceToken, fcmToken, p256dh, auth, "example.org"} {
		require.NotContains(t, b.String(), secret)
	}
}

func TestAnAccountInALogHasNoKey(t *testing.T) {
	t.Parallel()
	o := push.Firebase{Account: []byte("top secret")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		require.Equal(t, "FCM FCM", fmt.Sprintf(verb+" "+verb, o, &o), verb)
	}
}

func FuzzParse(f *testing.F) {
	for text := range installations {
		f.Add(text)
	}
	for _, text := range noInstallations {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		i, err := push.Parse(text)
		if err != nil {
			if err := i.Validate(); err == nil {
				t.Error("what is refused is returned")
			}
			return
		}
		if i.Value() != text || len(text) > 2000 {
			t.Errorf("%q is read, and written as %q", text, i.Value())
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Errorf("%q is no text of visible ASCII", text)
		}
	})
}

func FuzzParseSubscription(f *testing.F) {
	f.Add(fmt.Appendf(nil, `{"endpoint": "https://push.example.org/x", "expirationTime": null, "keys": {"p256dh": %q, "auth": %q}}`, p256dh, auth))
	f.Add([]byte(`{"endpoint": "https://push.example.org/x", "keys": null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		i, err := push.ParseSubscription(text)
		if err != nil {
			return
		}
		if again, err := push.Parse(i.Value()); err != nil || again != i {
			t.Errorf("%q is read, and its text is not: %v", text, err)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := push.ParseKey(text)
		if err != nil {
			return
		}
		if _, err := push.ApplicationServerKey(key); err != nil {
			t.Errorf("a key is read that cannot be used: %v", err)
		}
	})
}

package push

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzAnswers reads whatever providers may say.
func FuzzAnswers(f *testing.F) {
	for _, s := range []string{
		`{"reason": "Unregistered", "timestamp": 1795345200000}`, `{"reason": "BadDeviceToken", "timestamp": -1}`, `{"reason": 1}`,
		`{"error": {"status": "NOT_FOUND", "details": [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED"}]}}`,
		`{"error": "invalid_grant"}`, `{"access_token": "x", "expires_in": 3600, "token_type": "Bearer"}`, `{"access_token": "x", "expires_in": 1e400}`,
		`{"type": "service_account", "project_id": "x", "private_key_id": "y", "client_email": "z", "token_uri": "https://example.org", "private_key": "k"}`,
		"null", "[]", "", "120", "-1", "Sun, 22 Nov 2026 11:10:00 GMT",
	} {
		f.Add([]byte(s), 400)
	}
	now := time.Date(2026, 11, 22, 11, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		reason, since := apnsReason(body)
		resp := &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {string(body)}}}
		for _, err := range []error{
			apnsVerdict(resp, reason, since, &notification{now: now}), fcmVerdict(resp, fcmReason(body), now), webVerdict(resp, now),
			answered("x", status, oauthError(body)),
		} {
			if err != nil && (len(err.Error()) > 160 || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' })) {
				t.Errorf("an error says too much: %q", err)
			}
		}
		if token, life, err := parseToken(body); err == nil && (token == "" || strings.ContainsAny(token, "\r\n ") || life <= 0 || life > 24*time.Hour) {
			t.Errorf("a token %q for %v", token, life)
		}
		if a, err := parseAccount(body); err == nil && (a.key == nil || !plain(a.project) || !strings.HasPrefix(a.tokenURL, "https://")) {
			t.Error("an account is read that is none")
		}
	})
}

// FuzzFit shortens whatever texts there are.
func FuzzFit(f *testing.F) {
	f.Add("Comune di Esempio", "Retta di ottobre", 40)
	f.Add("\u2028\"\\", strings.Repeat("\U0001F3DB", 100), 30)
	f.Add("\xff", "\x00\x1b", 10)
	f.Fuzz(func(t *testing.T, title, body string, limit int) {
		type text struct{ Title, Body string }
		n := &notification{title: line(title), body: line(body)}
		out, err := n.fit(limit, func(title, body string) []byte { return marshal(text{title, body}) })
		if err != nil {
			if limit >= len(marshal(text{})) {
				t.Errorf("nothing fits into %d bytes", limit)
			}
			return
		}
		var got text
		if err := json.Unmarshal(out, &got); err != nil || len(out) > limit || !utf8.Valid(out) {
			t.Fatalf("%q for %d bytes: %v", out, limit, err)
		}
		if cut, ok := strings.CutSuffix(got.Body, "…"); got.Body != n.body && got.Body != "" && (!ok || !strings.HasPrefix(n.body, cut)) {
			t.Errorf("%q became %q", n.body, got.Body)
		}
		if whole := marshal(text{n.title, n.body}); len(whole) <= limit && string(whole) != string(out) {
			t.Errorf("%q fits, and became %q", whole, out)
		}
	})
}

func TestTokensOfManyNamesAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	made := 0
	c := tokens{keep: time.Hour, now: func() time.Time { return now }}
	for i := range 10 * maxTokens {
		token, err := c.get(strings.Repeat("x", i), func(time.Time) (string, error) { made++; return "t", nil })
		require.NoError(t, err)
		require.Equal(t, "t", token)
		require.LessOrEqual(t, len(c.m), maxTokens)
	}
	require.Equal(t, 10*maxTokens, made)
}

func TestTokensOfPushServicesThatAreGoneAreForgotten(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := tokens{keep: time.Hour, now: func() time.Time { return now }}
	for _, name := range []string{"https://push.rossi.example", "https://push.example.org"} {
		_, err := c.get(name, func(time.Time) (string, error) { return name, nil })
		require.NoError(t, err)
		require.Contains(t, c.m, name)
		now = now.Add(59 * time.Minute)
	}
	require.Len(t, c.m, 2)
	_, err := c.get("https://push.example.com", func(time.Time) (string, error) { return "t", nil })
	require.NoError(t, err)
	require.NotContains(t, c.m, "https://push.rossi.example")
	require.Contains(t, c.m, "https://push.example.org")
}

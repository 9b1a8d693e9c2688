package webhook_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/channel/webhook"
)

// The vectors of Standard Webhooks' own libraries, and of the server that the specification took its v1a signature from.
const (
	standardID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	standardBody      = `{"test": 2432232314}`
	standardSecret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	standardSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

	svixPrivate   = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	svixPublic    = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
	svixSignature = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="

	wrongSignature = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
)

var standardTime = time.Unix(1614265330, 0)

// at is a clock that stands still.
func at(t time.Time) func() time.Time { return func() time.Time { return t } }

// headers are those of the vectors, with these signatures.
func headers(signatures string) http.Header {
	h := http.Header{}
	h.Set("webhook-id", standardID)
	h.Set("webhook-timestamp", "1614265330")
	h.Set("webhook-signature", signatures)
	return h
}

func TestStandardVectors(t *testing.T) {
	t.Parallel()
	h := http.Header{}
	require.NoError(t, webhook.Sign(h, standardID, standardTime, []byte(standardBody), key(t, standardSecret), key(t, svixPrivate)))
	require.Equal(t, headers(standardSignature+" "+svixSignature), h)
	for _, k := range []string{standardSecret, svixPrivate, svixPublic} {
		v := &webhook.Verifier{Keys: []webhook.Key{key(t, k)}, Now: at(standardTime)}
		id, err := v.Verify(h, []byte(standardBody))
		require.NoError(t, err)
		require.Equal(t, standardID, id)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	other := webhook.NewKey()
	verifier := func() *webhook.Verifier {
		return &webhook.Verifier{Keys: []webhook.Key{other, key(t, standardSecret), key(t, svixPublic)}, Now: at(standardTime)}
	}
	for name, c := range map[string]struct {
		signatures string
		body       string
		change     func(h http.Header, v *webhook.Verifier)
		err        error
	}{
		"one of several keys": {},
		"the other one":       {signatures: svixSignature},
		"among others":        {signatures: strings.Join([]string{wrongSignature, "v2,x", standardSignature, wrongSignature}, " ")},
		"after what is none":  {signatures: "v1 , v1, x,y v1a," + strings.TrimPrefix(standardSignature, "v1,") + "  " + standardSignature},
		"as late as can be":   {change: func(_ http.Header, v *webhook.Verifier) { v.Now = at(standardTime.Add(5 * time.Minute)) }},
		"as early as can be":  {change: func(_ http.Header, v *webhook.Verifier) { v.Now = at(standardTime.Add(-5 * time.Minute)) }},
		"later, where that is tolerated": {change: func(_ http.Header, v *webhook.Verifier) {
			v.Now, v.Tolerance = at(standardTime.Add(time.Hour)), time.Hour
		}},

		"late":    {err: webhook.ErrTime, change: func(_ http.Header, v *webhook.Verifier) { v.Now = at(standardTime.Add(5*time.Minute + 1)) }},
		"early":   {err: webhook.ErrTime, change: func(_ http.Header, v *webhook.Verifier) { v.Now = at(standardTime.Add(-5*time.Minute - 1)) }},
		"now":     {err: webhook.ErrTime, change: func(_ http.Header, v *webhook.Verifier) { v.Now = nil }},
		"no keys": {err: webhook.ErrSignature, change: func(_ http.Header, v *webhook.Verifier) { v.Keys = nil }},
		"empty keys": {err: webhook.ErrSignature, signatures: ", v1, v1a, ,AAAA", change: func(_ http.Header, v *webhook.Verifier) {
			v.Keys = []webhook.Key{{}, {}}
		}},
		"another key":                {err: webhook.ErrSignature, change: func(_ http.Header, v *webhook.Verifier) { v.Keys = v.Keys[:1] }},
		"a wrong signature":          {err: webhook.ErrSignature, signatures: wrongSignature},
		"half a signature":           {err: webhook.ErrSignature, signatures: standardSignature[:20]},
		"an empty one":               {err: webhook.ErrSignature, signatures: "v1,"},
		"another version":            {err: webhook.ErrSignature, signatures: "v2" + standardSignature[2:]},
		"a version of the other key": {err: webhook.ErrSignature, signatures: "v1a" + standardSignature[2:]},
		"in capitals":                {err: webhook.ErrSignature, signatures: "V1" + standardSignature[2:]},
		"another alphabet":           {err: webhook.ErrSignature, signatures: strings.NewReplacer("+", "-", "/", "_").Replace(standardSignature)},
		"without the end":            {err: webhook.ErrSignature, signatures: strings.TrimRight(standardSignature, "=")},
		"with commas":                {err: webhook.ErrSignature, signatures: wrongSignature + "," + standardSignature},
		"another body":               {err: webhook.ErrSignature, body: `{"test":2432232314}`},
		"a longer body":              {err: webhook.ErrSignature, body: standardBody + " "},
		"another id":                 {err: webhook.ErrSignature, change: func(h http.Header, _ *webhook.Verifier) { h.Set("webhook-id", "msg_x") }},
		"another time": {err: webhook.ErrSignature, change: func(h http.Header, _ *webhook.Verifier) {
			h.Set("webhook-timestamp", "1614265331")
		}},
		"a part of the id in the body": {err: webhook.ErrHeader, body: "1614265330." + standardBody, change: func(h http.Header, _ *webhook.Verifier) {
			h.Set("webhook-id", standardID+".")
		}},

		"no id":              {err: webhook.ErrHeader, change: func(h http.Header, _ *webhook.Verifier) { h.Del("webhook-id") }},
		"an empty id":        {err: webhook.ErrHeader, change: func(h http.Header, _ *webhook.Verifier) { h.Set("webhook-id", "") }},
		"a long id":          {err: webhook.ErrHeader, change: func(h http.Header, _ *webhook.Verifier) { h.Set("webhook-id", strings.Repeat("x", 129)) }},
		"two ids":            {err: webhook.ErrHeader, change: func(h http.Header, _ *webhook.Verifier) { h.Add("webhook-id", standardID) }},
		"no time":            {err: webhook.ErrHeader, change: func(h http.Header, _ *webhook.Verifier) { h.Del("webhook-timestamp") }},
		"two times":          {err: webhook.ErrHeader, change: func(h http.Header, _ *webhook.Verifier) { h.Add("webhook-timestamp", "1614265330") }},
		"no signature":       {err: webhook.ErrHeader, change: func(h http.Header, _ *webhook.Verifier) { h.Del("webhook-signature") }},
		"two headers of it":  {err: webhook.ErrHeader, change: func(h http.Header, _ *webhook.Verifier) { h.Add("webhook-signature", "v1,x") }},
		"33 signatures":      {err: webhook.ErrHeader, signatures: strings.Repeat("v1,x ", 32) + standardSignature},
		"a long header":      {err: webhook.ErrHeader, signatures: strings.Repeat("x", 4<<10) + " " + standardSignature},
		"a header of blanks": {err: webhook.ErrHeader, signatures: strings.Repeat(" ", 4<<10)},
	} {
		if c.signatures == "" {
			c.signatures = standardSignature
		}
		if c.body == "" {
			c.body = standardBody
		}
		h, v := headers(c.signatures), verifier()
		if c.change != nil {
			c.change(h, v)
		}
		id, err := v.Verify(h, []byte(c.body))
		if c.err == nil {
			require.NoError(t, err, name)
			require.Equal(t, standardID, id, name)
			continue
		}
		require.ErrorIs(t, err, c.err, name)
		require.Empty(t, id)
	}
	for _, text := range []string{
		"x", "-1", "+1614265330", " 1614265330", "1614265330 ", "01614265330", "1614265330.0", "1.614265330e9", "0x6037BEF2", "1614265330000000000000",
	} {
		h := headers(standardSignature)
		h.Set("webhook-timestamp", text)
		_, err := verifier().Verify(h, []byte(standardBody))
		require.ErrorIs(t, err, webhook.ErrHeader, text)
	}
	for _, text := range []string{"0", "9223372036854775807", "253402300800"} {
		h := headers(standardSignature)
		h.Set("webhook-timestamp", text)
		_, err := verifier().Verify(h, []byte(standardBody))
		require.ErrorIs(t, err, webhook.ErrTime, text)
	}
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	h := http.Header{}
	for _, id := range []string{"", "a.b", "a b", "a\r\nb", "à", strings.Repeat("x", 129)} {
		require.Error(t, webhook.Sign(h, id, standardTime, nil, webhook.NewKey()), id)
	}
	require.ErrorIs(t, webhook.Sign(h, "x", standardTime, nil), webhook.ErrKey)
	require.ErrorIs(t, webhook.Sign(h, "x", standardTime, nil, webhook.Key{}), webhook.ErrKey)
	require.ErrorIs(t, webhook.Sign(h, "x", standardTime, nil, webhook.NewKey(), webhook.NewKey().Public()), webhook.ErrKey)
	for n := 31; n <= 33; n++ { // what is signed can be verified
		keys := make([]webhook.Key, n)
		for i := range keys {
			keys[i] = webhook.NewKey()
		}
		signed := http.Header{}
		err := webhook.Sign(signed, "x", standardTime, nil, keys...)
		if n > 32 {
			require.ErrorIs(t, err, webhook.ErrKey)
			continue
		}
		require.NoError(t, err)
		_, err = (&webhook.Verifier{Keys: keys[n-1:], Now: at(standardTime)}).Verify(signed, nil)
		require.NoError(t, err)
	}
	require.Empty(t, h)
}

func TestHandler(t *testing.T) {
	t.Parallel()
	k := webhook.NewSecret()
	var fails error
	var got []string
	handler := (&webhook.Verifier{Keys: []webhook.Key{k}, MaxBody: 100}).Handler(func(_ context.Context, id string, body []byte) error {
		got = append(got, id+" "+string(body))
		return fails
	})
	ask := func(method, body string, change func(r *http.Request)) int {
		r := httptest.NewRequestWithContext(t.Context(), method, "/hook", strings.NewReader(body))
		require.NoError(t, webhook.Sign(r.Header, "x1", time.Now(), []byte(body), k))
		if change != nil {
			change(r)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		require.NotContains(t, w.Body.String(), "secret")
		return w.Code
	}
	require.Equal(t, 204, ask("POST", "{}", nil))
	require.Equal(t, 204, ask("POST", strings.Repeat("x", 100), nil))
	require.Len(t, got, 2)
	require.Equal(t, 405, ask("GET", "{}", nil))
	require.Equal(t, 413, ask("POST", strings.Repeat("x", 101), nil))
	require.Equal(t, 413, ask("POST", strings.Repeat("x", 101), func(r *http.Request) { r.ContentLength = -1 }))
	require.Equal(t, 401, ask("POST", "{}", func(r *http.Request) { r.Header.Set("Webhook-Id", "x2") }))
	require.Equal(t, 401, ask("POST", "{}", func(r *http.Request) { r.Header.Del("Webhook-Signature") }))
	require.Equal(t, 401, ask("POST", "{}", func(r *http.Request) { r.Body = io.NopCloser(io.MultiReader(strings.NewReader("{"), broken{})) }))
	require.Len(t, got, 2)
	fails = errors.New("a secret")
	require.Equal(t, 500, ask("POST", "{}", nil))
	require.Equal(t, []string{"x1 {}", "x1 " + strings.Repeat("x", 100), "x1 {}"}, got)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("a secret") }

// TestHandlerDoesNotReadOn lets somebody send without end.
func TestHandlerDoesNotReadOn(t *testing.T) {
	t.Parallel()
	handler := (&webhook.Verifier{Keys: []webhook.Key{webhook.NewKey()}}).Handler(nil)
	endless := &counting{}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/hook", endless)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	require.Equal(t, 413, w.Code)
	require.Equal(t, 256<<10+1, endless.read)

	r.ContentLength, endless.read = 256<<10+1, 0
	w = httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	require.Equal(t, 413, w.Code)
	require.Zero(t, endless.read, "it was said before")
}

type counting struct{ read int }

func (c *counting) Read(p []byte) (int, error) {
	c.read += len(p)
	return len(p), nil
}

// FuzzVerify is for whoever knows no key, and for who changes what was signed.
func FuzzVerify(f *testing.F) {
	f.Add(standardID, "1614265330", standardSignature, []byte(standardBody))
	f.Add(standardID, "1614265330", svixSignature+" "+wrongSignature, []byte(standardBody))
	f.Add("x", "-1", "v1a,==, v1,,", []byte("{}"))
	secret, pair := key(f, standardSecret), key(f, svixPrivate)
	v := &webhook.Verifier{Keys: []webhook.Key{secret, pair.Public(), {}}, Now: at(standardTime)}
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {timestamp}, "Webhook-Signature": {signature}}
		got, err := v.Verify(h, body)
		if err == nil {
			// It is the original, for nothing else was ever signed. What stands beside a right signature does not count.
			require.Equal(t, standardID, got)
			require.Equal(t, "1614265330", timestamp)
			require.Equal(t, standardBody, string(body))
			require.True(t, strings.Contains(signature, standardSignature) || strings.Contains(signature, svixSignature), signature)
		} else {
			require.True(t, errors.Is(err, webhook.ErrHeader) || errors.Is(err, webhook.ErrTime) || errors.Is(err, webhook.ErrSignature), err)
		}
		// What Sign makes of any body is verified, and of a body with one bit changed is not.
		require.NoError(t, webhook.Sign(h, "x", standardTime, body, secret, pair))
		_, err = v.Verify(h, body)
		require.NoError(t, err)
		if len(body) > 0 {
			changed := bytes.Clone(body)
			changed[len(changed)/2] ^= 1
			_, err = v.Verify(h, changed)
			require.ErrorIs(t, err, webhook.ErrSignature)
		}
	})
}

// TestPlantedVerifiers has verifiers with a mistake each. They take what Verify refuses, so that its cases are worth the name.
func TestPlantedVerifiers(t *testing.T) {
	t.Parallel()
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(standardSecret, "whsec_"))
	require.NoError(t, err)
	sign := func(h http.Header, body string) string {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(h.Get("webhook-id") + "." + h.Get("webhook-timestamp") + "." + body))
		return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	v := &webhook.Verifier{Keys: []webhook.Key{key(t, standardSecret)}, Now: at(standardTime.Add(time.Hour)), Tolerance: 2 * time.Hour}
	for name, c := range map[string]struct {
		mistaken func(h http.Header, body string) bool
		attack   func(h http.Header) (body string)
		err      error
	}{
		"compares as much as there is": {
			func(h http.Header, body string) bool {
				return strings.HasPrefix(sign(h, body), h.Get("webhook-signature"))
			},
			func(h http.Header) string { h.Set("webhook-signature", "v1,"); return "{}" },
			webhook.ErrSignature,
		},
		"does not look at the clock": {
			func(h http.Header, body string) bool { return sign(h, body) == h.Get("webhook-signature") },
			func(http.Header) string { v.Tolerance = time.Minute; return standardBody },
			webhook.ErrTime,
		},
		"takes any id": {
			func(h http.Header, body string) bool { return sign(h, body) == h.Get("webhook-signature") },
			func(h http.Header) string { // what was a part of the body becomes the timestamp
				h.Set("webhook-signature", sign(h, "1614265330.{}"))
				h.Set("webhook-id", standardID+".1614265330")
				return "{}"
			},
			webhook.ErrHeader,
		},
	} {
		h := headers(standardSignature)
		require.True(t, c.mistaken(h, standardBody), name)
		body := c.attack(h)
		require.True(t, c.mistaken(h, body), name)
		_, err := v.Verify(h, []byte(body))
		v.Tolerance = 2 * time.Hour
		require.ErrorIs(t, err, c.err, name)
	}
}

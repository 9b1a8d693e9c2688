// Package push holds what package push sends against what others make of the same: webpush-go as a sender of Web Push, golang-jwt as
// a reader of tokens, and OpenSSL, which makes the keys and verifies the signatures.
package push

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	webpush "github.com/SherClockHolmes/webpush-go"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/push"
	"github.com/appio-go/appio/channel/push/pushtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openssl runs OpenSSL. Without it a test says nothing, which only happens outside CI.
func openssl(t *testing.T, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.Output()
	require.NoError(t, err, "%s: %s%s", args, out, &failed)
	return out
}

// A request as a provider gets it.
type request struct {
	path   string
	header http.Header
	body   []byte
}

// record starts a provider of HTTP/2 that keeps requests and takes them.
func record(t *testing.T) (*httptest.Server, func() []request) {
	var mu sync.Mutex
	var got []request
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		got = append(got, request{r.URL.Path, r.Header, body})
		mu.Unlock()
		switch {
		case r.URL.Path == "/token":
			_, _ = io.WriteString(w, `{"access_token": "an-access-token", "token_type": "Bearer", "expires_in": 3600}`)
		case strings.HasPrefix(r.URL.Path, "/v1/"):
			_, _ = io.WriteString(w, `{"name": "projects/esempio/messages/1"}`)
		case strings.HasPrefix(r.URL.Path, "/3/"):
			w.Header().Set("apns-id", r.Header.Get("apns-id"))
		default:
			w.WriteHeader(http.StatusCreated)
		}
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	t.Cleanup(s.Client().CloseIdleConnections)
	return s, func() []request {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(got)
	}
}

func delivery(to push.Installation) appio.Delivery {
	return appio.Delivery{
		ID: "2QLKJHGF7DSAPOIU3YTREWQMNB", Channel: "push", Attempt: 1, Content: appio.Full, Message: "01KEAF3V4N5W7Q0Z8X2C6B1M9D",
		Address: appio.Address{ID: "a", Channel: "push", Value: to.Value()}, OrganizationName: "Comune di Esempio",
		Subject: "Retta di ottobre", ExpiresAt: time.Now().Add(time.Hour + 30*time.Second),
	}
}

// web is a channel to a push service of the test.
func web(t *testing.T, s *httptest.Server, key *ecdsa.PrivateKey) *push.Channel {
	at := netip.MustParseAddrPort(s.Listener.Addr().String())
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c, err := push.New(&push.Options{Web: &push.WebPush{
		Key: key, Subject: "mailto:push@example.org", TLS: &tls.Config{RootCAs: roots}, Ports: []uint16{at.Port()},
		Allow: []netip.Prefix{netip.PrefixFrom(at.Addr(), at.Addr().BitLen())},
	}})
	require.NoError(t, err)
	return c
}

// vapid takes an Authorization header apart.
func vapid(t *testing.T, header string) (token, key string) {
	t.Helper()
	header, ok := strings.CutPrefix(header, "vapid ")
	require.True(t, ok, header)
	for part := range strings.SplitSeq(header, ",") {
		switch name, value, _ := strings.Cut(strings.TrimSpace(part), "="); name {
		case "t":
			token = value
		case "k":
			key = strings.TrimRight(value, "=")
		}
	}
	return token, key
}

// One subscription and one key, which webpush-go has made: what it sends and what appio sends is read in the same way, and says the
// same of its sender.
func TestWebPushBesideWebpushGo(t *testing.T) {
	private, public, err := webpush.GenerateVAPIDKeys()
	require.NoError(t, err)
	key, err := push.ParseKey([]byte(private))
	require.NoError(t, err)
	own, err := push.ApplicationServerKey(key)
	require.NoError(t, err)
	require.Equal(t, public, own)

	s, got := record(t)
	browser := pushtest.NewBrowser()
	subscription := browser.Subscription(s.URL + "/push/5d2f")
	var theirs webpush.Subscription
	require.NoError(t, json.Unmarshal(subscription, &theirs))
	in, err := push.ParseSubscription(subscription)
	require.NoError(t, err)
	require.Equal(t, theirs.Keys.P256dh, in.P256DH)

	texts := []string{"x", "Retta di ottobre è pronta", strings.Repeat("\U0001F3DB", 900)}
	for _, text := range texts {
		resp, err := webpush.SendNotificationWithContext(t.Context(), []byte(text), &theirs, &webpush.Options{
			HTTPClient: s.Client(), Subscriber: "push@example.org", Topic: strings.Repeat("a", 32), TTL: 3600, Urgency: webpush.UrgencyHigh,
			VAPIDPublicKey: public, VAPIDPrivateKey: private,
		})
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		d := delivery(in)
		d.Subject = text
		require.NoError(t, web(t, s, key).Deliver(t.Context(), d))
	}
	all := got()
	require.Len(t, all, 2*len(texts))
	for i := range texts {
		their, our := all[2*i], all[2*i+1]
		text, err := browser.Decrypt(their.body)
		require.NoError(t, err)
		require.Equal(t, texts[i], string(text))
		text, err = browser.Decrypt(our.body)
		require.NoError(t, err)
		var n struct{ Body string }
		require.NoError(t, json.Unmarshal(text, &n))
		require.Equal(t, texts[i], n.Body)

		require.Equal(t, binarySize(their.body), binarySize(our.body), "salt, record size, key, and the whole padded")
		for _, name := range []string{"Content-Encoding", "Content-Type", "Urgency"} {
			require.Equal(t, their.header.Get(name), our.header.Get(name), name)
		}
		require.Len(t, our.header.Get("Topic"), 32)
		require.Equal(t, "3600", their.header.Get("TTL"))
		require.Contains(t, []string{"3629", "3628", "3627", "3630"}, our.header.Get("TTL"))

		theirToken, theirKey := vapid(t, their.header.Get("Authorization"))
		ourToken, ourKey := vapid(t, our.header.Get("Authorization"))
		require.Equal(t, theirKey, ourKey)
		for _, token := range []string{theirToken, ourToken} {
			var c jwt.RegisteredClaims
			parsed, err := jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return &key.PublicKey, nil },
				jwt.WithValidMethods([]string{"ES256"}), jwt.WithAudience(s.URL), jwt.WithExpirationRequired())
			require.NoError(t, err)
			require.True(t, parsed.Valid)
			require.Equal(t, "mailto:push@example.org", c.Subject)
			require.Less(t, time.Until(c.ExpiresAt.Time), 24*time.Hour)
		}
	}
}

// binarySize is what can be seen of a body: its length, and the two sizes in its header.
func binarySize(body []byte) [3]int {
	return [3]int{len(body), int(body[16])<<24 | int(body[17])<<16 | int(body[18])<<8 | int(body[19]), int(body[20])}
}

// verify has OpenSSL verify the signature of a token.
func verify(t *testing.T, public any, token string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	var raw [3][]byte
	for i, p := range parts {
		var err error
		raw[i], err = base64.RawURLEncoding.DecodeString(p)
		require.NoError(t, err)
	}
	require.NoError(t, json.Unmarshal(raw[0], &header))
	require.NoError(t, json.Unmarshal(raw[1], &claims))
	signature := raw[2]
	if _, ok := public.(*ecdsa.PublicKey); ok { // OpenSSL wants the two numbers in ASN.1
		require.Len(t, signature, 64)
		var err error
		signature, err = asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])})
		require.NoError(t, err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return path
	}
	args := []string{"dgst", "-sha256", "-verify", write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"-signature", write("signature", signature)}
	require.Equal(t, "Verified OK\n", string(openssl(t, append(args, write("text", []byte(parts[0]+"."+parts[1])))...)))

	// A court that takes everything shows nothing.
	cmd := exec.CommandContext(t.Context(), "openssl", append(args, write("other", []byte(parts[0]+"."+parts[1]+"x")))...)
	require.Error(t, cmd.Run())
	return header, claims
}

// Keys that OpenSSL makes are read, and what they sign it verifies.
func TestTokensBesideOpenSSL(t *testing.T) {
	p8 := openssl(t, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	key, err := push.ParseKey(p8)
	require.NoError(t, err)
	s, got := record(t)
	near := func(want time.Time, seconds any) {
		t.Helper()
		n, ok := seconds.(float64)
		require.True(t, ok)
		require.WithinDuration(t, want, time.Unix(int64(n), 0), time.Minute)
	}
	last := func(path string) request {
		t.Helper()
		all := got()
		i := slices.IndexFunc(all, func(r request) bool { return strings.HasPrefix(r.path, path) })
		require.GreaterOrEqual(t, i, 0)
		return all[i]
	}

	t.Run("VAPID", func(t *testing.T) {
		in, err := push.ParseSubscription(pushtest.NewBrowser().Subscription(s.URL + "/push/5d2f"))
		require.NoError(t, err)
		require.NoError(t, web(t, s, key).Deliver(t.Context(), delivery(in)))
		token, _ := vapid(t, last("/push/").header.Get("Authorization"))
		header, claims := verify(t, &key.PublicKey, token)
		require.Equal(t, map[string]any{"typ": "JWT", "alg": "ES256"}, header)
		require.Equal(t, s.URL, claims["aud"])
		near(time.Now().Add(12*time.Hour), claims["exp"])
	})

	t.Run("APNs", func(t *testing.T) {
		c, err := push.New(&push.Options{APNs: &push.Apple{
			Key: key, KeyID: "ABC123DEFG", TeamID: "DEF123GHIJ", Topic: "it.example.app", URL: s.URL, Client: s.Client(),
		}})
		require.NoError(t, err)
		require.NoError(t, c.Deliver(t.Context(), delivery(push.Installation{Platform: push.APNs, Token: "8f0c2a6b"})))
		token, ok := strings.CutPrefix(last("/3/device/8f0c2a6b").header.Get("Authorization"), "bearer ")
		require.True(t, ok)
		header, claims := verify(t, &key.PublicKey, token)
		require.Equal(t, map[string]any{"alg": "ES256", "kid": "ABC123DEFG"}, header)
		require.Equal(t, "DEF123GHIJ", claims["iss"])
		near(time.Now(), claims["iat"])
	})

	t.Run("FCM", func(t *testing.T) {
		private := openssl(t, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
		block, _ := pem.Decode(private)
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		require.NoError(t, err)
		account := fmt.Sprintf(`{"type": "service_account", "project_id": "esempio", "private_key_id": "k1", "private_key": %q,
			"client_email": "push@esempio.iam.example.org", "token_uri": %q}`, private, s.URL+"/token")
		c, err := push.New(&push.Options{FCM: &push.Firebase{Account: []byte(account), URL: s.URL, Client: s.Client()}})
		require.NoError(t, err)
		require.NoError(t, c.Deliver(t.Context(), delivery(push.Installation{Platform: push.FCM, Token: "dXyz:APA91"})))
		require.Equal(t, "Bearer an-access-token", last("/v1/projects/esempio/messages:send").header.Get("Authorization"))
		form := string(last("/token").body)
		_, assertion, ok := strings.Cut(form, "assertion=")
		require.True(t, ok)
		assertion, _, _ = strings.Cut(assertion, "&")
		header, claims := verify(t, &parsed.(*rsa.PrivateKey).PublicKey, assertion)
		require.Equal(t, map[string]any{"typ": "JWT", "alg": "RS256", "kid": "k1"}, header)
		require.Equal(t, s.URL+"/token", claims["aud"])
		require.Equal(t, "push@esempio.iam.example.org", claims["iss"])
		near(time.Now(), claims["iat"])
		near(time.Now().Add(time.Hour), claims["exp"])
	})
}

package push_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/channel/push"
	"github.com/appio-go/appio/channel/push/pushtest"
)

// A clock is moved by its test.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(noon.UnixNano())
	return c
}

func (c *clock) now() time.Time        { return time.Unix(0, c.at.Load()) }
func (c *clock) move(by time.Duration) { c.at.Add(int64(by)) }

func TestKeys(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	raw, err := key.Bytes()
	require.NoError(t, err)
	for name, text := range map[string]string{
		"of Apple": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "of VAPID": base64.RawURLEncoding.EncodeToString(raw) + "\n",
	} {
		got, err := push.ParseKey([]byte(text))
		require.NoError(t, err, name)
		require.True(t, key.Equal(got), name)
	}
	public, err := push.ApplicationServerKey(key)
	require.NoError(t, err)
	point, err := base64.RawURLEncoding.DecodeString(public)
	require.NoError(t, err)
	require.Len(t, point, 65)

	other, err := ecdsa.GenerateKey(elliptic.P384(), nil)
	require.NoError(t, err)
	der, err = x509.MarshalPKCS8PrivateKey(other)
	require.NoError(t, err)
	ofRSA, err := x509.MarshalPKCS8PrivateKey(push.RSAKey())
	require.NoError(t, err)
	for _, text := range []string{
		"", "no key", strings.Repeat("A", 43), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: ofRSA})),
	} {
		_, err := push.ParseKey([]byte(text))
		require.EqualError(t, err, "push: not a private key of P-256")
	}
	for _, k := range []*ecdsa.PrivateKey{nil, {}, other} {
		_, err := push.ApplicationServerKey(k)
		require.Error(t, err)
	}
}

// vapidOf is what a request said of its sender.
func vapidOf(t *testing.T, g got, key *ecdsa.PublicKey) (token string, c map[string]any) {
	t.Helper()
	token, k, ok := strings.Cut(strings.TrimPrefix(g.Header.Get("Authorization"), "vapid t="), ", k=")
	require.True(t, ok)
	point, err := key.Bytes()
	require.NoError(t, err)
	require.Equal(t, base64.RawURLEncoding.EncodeToString(point), k)
	_, c, err = claims(token, es256(key))
	require.NoError(t, err)
	return token, c
}

func TestVAPIDTokensAreKeptAndRenewed(t *testing.T) {
	t.Parallel()
	clock, key := newClock(), newKey(t)
	s := newPushService(t, clock.now)
	ch := open(t, &push.Options{Web: s.options(key), Now: clock.now})
	seen := map[string]bool{}
	last := func() string {
		t.Helper()
		require.NoError(t, ch.Deliver(t.Context(), generic(s.value("/1"))))
		token, _ := vapidOf(t, s.taken()[len(s.taken())-1], &key.PublicKey)
		seen[token] = true
		return token
	}
	first := last()
	require.Equal(t, first, last())
	clock.move(5*time.Hour + 59*time.Minute)
	require.Equal(t, first, last())
	clock.move(time.Minute)
	require.NotEqual(t, first, last(), "it is renewed long before it ends")
	clock.move(-48 * time.Hour)
	last() // the push service refuses one that ends in more than a day
	clock.move(400 * 24 * time.Hour)
	last()
	require.Len(t, seen, 4)
}

func TestVAPIDTokensAreForOnePushService(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	one, two := newPushService(t, atNoon), newPushService(t, atNoon)
	o := one.options(key)
	o.TLS.RootCAs.AddCert(two.server.Certificate())
	o.Ports = append(o.Ports, two.options(key).Ports...)
	ch := open(t, &push.Options{Web: o, Now: atNoon})
	for range 2 {
		for _, s := range []*pushService{one, two} {
			require.NoError(t, ch.Deliver(t.Context(), generic(s.value("/1"))))
			_, c := vapidOf(t, s.taken()[0], &key.PublicKey)
			require.Equal(t, s.server.URL, c["aud"])
			require.Equal(t, "mailto:push@example.org", c["sub"])
		}
	}
}

func TestEndpointsInTheHostsOwnNetworkAreNotAsked(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 100)
	server := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{} }))
	b := pushtest.NewBrowser()
	o := local(server, &push.WebPush{Key: newKey(t), Subject: "mailto:push@example.org"})
	o.Allow = nil
	ch := open(t, &push.Options{Web: o})
	u, err := url.Parse(server.URL)
	require.NoError(t, err)
	for _, host := range []string{"127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "0.0.0.0", "10.0.0.1", "169.254.169.254"} {
		endpoint := "https://" + host + ":" + u.Port() + "/push"
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err := ch.Deliver(ctx, generic(installation(t, b, endpoint).Value()))
		cancel()
		require.Error(t, err, host)
		require.NotContains(t, err.Error(), host)
		switch host {
		case "127.0.0.1":
			marked(t, "parked", err)
		case "localhost": // what a name leads to may be another address at the next attempt
			require.EqualError(t, err, "push: web push: not an address that may be reached")
			marked(t, "later", err)
		}
	}
	o.Allow, o.Deny = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	marked(t, "parked", open(t, &push.Options{Web: o}).Deliver(t.Context(), generic(installation(t, b, server.URL).Value())))
	require.Empty(t, asked)
}

func TestAppleGetsATokenAnHour(t *testing.T) {
	t.Parallel()
	clock := newClock()
	a := newApple(t, clock.now)
	ch := open(t, &push.Options{APNs: a.options(), Now: clock.now})
	for range 24 * 12 {
		require.NoError(t, ch.Deliver(t.Context(), generic("apns:"+deviceToken)), "APNs refuses what is older than an hour")
		clock.move(5 * time.Minute)
	}
	require.Len(t, a.tokens, 29, "one in 50 minutes")
	clock.move(-72 * time.Hour)
	require.NoError(t, ch.Deliver(t.Context(), generic("apns:"+deviceToken)), "a clock that is put back")
}

func TestATokenThatAppleCallsExpiredIsRenewedButNotTooOften(t *testing.T) {
	t.Parallel()
	clock := newClock()
	a := newApple(t, clock.now)
	ch := open(t, &push.Options{APNs: a.options(), Now: clock.now})
	seen := map[string]bool{}
	refused := func() {
		t.Helper()
		a.answers(func(w http.ResponseWriter, r *http.Request) {
			seen[r.Header.Get("Authorization")] = true
			status(403, `{"reason": "ExpiredProviderToken"}`)(w, r)
		})
		err := ch.Deliver(t.Context(), generic("apns:"+deviceToken))
		require.EqualError(t, err, "push: APNs answered 403 ExpiredProviderToken")
		marked(t, "later", err)
	}
	refused()
	refused()
	clock.move(19 * time.Minute)
	refused()
	require.Len(t, seen, 1, "more than one in 20 minutes is refused as too many")
	clock.move(time.Minute)
	refused()
	require.Len(t, seen, 1)
	refused()
	require.Len(t, seen, 2)
	a.answers(nil)
	require.NoError(t, ch.Deliver(t.Context(), generic("apns:"+deviceToken)))
}

func TestAppleIsToldTheDelivery(t *testing.T) {
	t.Parallel()
	a := newApple(t, atNoon)
	ch := open(t, &push.Options{APNs: a.options(), Now: atNoon})
	d := generic("apns:" + deviceToken)
	require.NoError(t, ch.Deliver(t.Context(), d))
	d.Attempt = 2
	require.NoError(t, ch.Deliver(t.Context(), d))
	d.ID = "another"
	require.NoError(t, ch.Deliver(t.Context(), d))
	var ids []string
	for _, g := range a.taken() {
		ids = append(ids, g.Header.Get("apns-id"))
	}
	require.Equal(t, ids[0], ids[1])
	require.NotEqual(t, ids[0], ids[2])
	require.Equal(t, byte('8'), ids[0][14], "a UUID of version 8")
}

func TestGooglesTokenIsFetchedOnceAndEarly(t *testing.T) {
	t.Parallel()
	clock := newClock()
	g := newGoogle(t, clock.now)
	ch := open(t, &push.Options{FCM: g.options(), Now: clock.now})
	var calls sync.WaitGroup
	for range 16 {
		calls.Go(func() {
			if err := ch.Deliver(t.Context(), generic("fcm:"+fcmToken)); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	require.Equal(t, 1, g.granted())
	clock.move(54 * time.Minute)
	require.NoError(t, ch.Deliver(t.Context(), generic("fcm:"+fcmToken)))
	require.Equal(t, 1, g.granted())
	clock.move(time.Minute)
	require.NoError(t, ch.Deliver(t.Context(), generic("fcm:"+fcmToken)))
	require.Equal(t, 2, g.granted())
	clock.move(100 * time.Hour)
	require.NoError(t, ch.Deliver(t.Context(), generic("fcm:"+fcmToken)))
	clock.move(-200 * time.Hour)
	require.NoError(t, ch.Deliver(t.Context(), generic("fcm:"+fcmToken)), "a clock that is put back")
	require.Equal(t, 4, g.granted())

	g.life = time.Minute
	clock.move(100 * time.Hour)
	for range 4 * 10 { // a short life is used by half
		require.NoError(t, ch.Deliver(t.Context(), generic("fcm:"+fcmToken)))
		clock.move(15 * time.Second)
	}
	require.Equal(t, 4+20, g.granted())
}

func TestGooglesTokenThatIsRefusedIsFetchedAnew(t *testing.T) {
	t.Parallel()
	g := newGoogle(t, atNoon)
	ch := open(t, &push.Options{FCM: g.options(), Now: atNoon})
	require.NoError(t, ch.Deliver(t.Context(), generic("fcm:"+fcmToken)))
	g.mu.Lock()
	clear(g.issued) // Google has taken it back
	g.mu.Unlock()
	err := ch.Deliver(t.Context(), generic("fcm:"+fcmToken))
	require.EqualError(t, err, "push: FCM answered 401 UNAUTHENTICATED")
	marked(t, "later", err)
	require.NoError(t, ch.Deliver(t.Context(), generic("fcm:"+fcmToken)))
}

func TestNoTokenFromGoogle(t *testing.T) {
	t.Parallel()
	g := newGoogle(t, atNoon)
	ch := open(t, &push.Options{FCM: g.options(), Now: atNoon})
	for _, c := range []struct {
		status     int
		body, says string
	}{
		{400, `{"error": "invalid_grant", "error_description": "..."}`, "push: Google's token service answered 400 invalid_grant"},
		{404, "", "push: Google's token service answered 404"},
		{410, "", "push: Google's token service answered 410"},
		{503, "<html>", "push: Google's token service answered 503"},
		{302, "", "push: Google's token service answered 302"},
		{200, "", "push: Google's token service gave no token that can be used"},
		{200, `{"access_token": "x", "expires_in": 3600}`, "push: Google's token service gave no token that can be used"},
		{200, `{"access_token": "x", "expires_in": 0, "token_type": "Bearer"}`, "push: Google's token service gave no token that can be used"},
		{200, `{"access_token": "x y", "expires_in": 1, "token_type": "Bearer"}`, "push: Google's token service gave no token that can be used"},
		{200, `{"access_token": "x\r\ny: z", "expires_in": 1, "token_type": "Bearer"}`, "push: Google's token service gave no token that can be used"},
	} {
		g.grants(status(c.status, c.body, "Location", "/elsewhere"))
		err := ch.Deliver(t.Context(), generic("fcm:"+fcmToken))
		require.EqualError(t, err, c.says)
		marked(t, "later", err) // it is no word about the delivery or the installation
	}
	g.grants(nil)
	require.NoError(t, ch.Deliver(t.Context(), generic("fcm:"+fcmToken)))
}

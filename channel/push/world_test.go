package push_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/channeltest"
	"github.com/appio-go/appio/channel/push"
	"github.com/appio-go/appio/channel/push/pushtest"
)

// serve starts a server of HTTP/2 with a certificate of its own.
func serve(t testing.TB, h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that go away
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// A got is a notification that has reached a provider, and how.
type got struct {
	Header http.Header
	Path   string
	Token  string // of an app
	Title  string
	Body   string
	Lang   string
	Tag    string
	TTL    string // as the provider takes it

	Delivery appio.DeliveryID
	Message  appio.MessageID
	Reminder appio.ReminderKind

	Size int // bytes of the body
}

// A provider plays one that checks what it is sent. What is wrong is answered as that provider does.
type provider struct {
	t      testing.TB
	now    func() time.Time
	server *httptest.Server

	says map[channeltest.Fault]reply // what it answers to a fault

	mu     sync.Mutex
	all    []got
	answer func(w http.ResponseWriter, r *http.Request) // nil: what is right is taken
	fault  channeltest.Fault
	only   []appio.DeliveryID // that meet with the fault; empty: all
	asked  int
}

// A reply is a status and a body.
type reply struct {
	status int
	body   string
}

// meet makes deliveries meet with a fault.
func (p *provider) meet(f channeltest.Fault, only ...appio.DeliveryID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.only = f, only
	return true
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// met answers a request in its own way if it meets with a fault.
func (p *provider) met(w http.ResponseWriter, r *http.Request, g got) bool {
	p.mu.Lock()
	f := p.fault
	p.asked++
	if len(p.only) > 0 && !slices.Contains(p.only, g.Delivery) {
		f = channeltest.Works
	}
	p.mu.Unlock()
	if f == channeltest.Works || f == "" {
		return false
	}
	says := p.says[f]
	says.body = strings.ReplaceAll(says.body, "QUOTE", g.Token+" "+r.URL.Path+" "+g.Body)
	switch f {
	case channeltest.Hangs:
		<-r.Context().Done()
	case channeltest.Lost:
		p.take(g)
		panic(http.ErrAbortHandler)
	case channeltest.Breaks:
		if says.body != "" {
			w.Header().Set("Content-Length", "1000")
			status(says.status, says.body)(w, r)
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	case channeltest.Endless:
		w.WriteHeader(says.status)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat(says.body, 100)); err != nil {
				break
			}
		}
	case channeltest.Pauses:
		status(says.status, says.body, "Retry-After", "120")(w, r)
	default:
		status(says.status, says.body)(w, r)
	}
	return true
}

func (p *provider) ids() (ids []appio.DeliveryID) {
	for _, g := range p.taken() {
		ids = append(ids, g.Delivery)
	}
	return ids
}

func (p *provider) taken() []got {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]got(nil), p.all...)
}

func (p *provider) take(g got) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, g)
}

// answers makes the next answers; nil: the usual ones.
func (p *provider) answers(f func(w http.ResponseWriter, r *http.Request)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = f
}

func (p *provider) other() func(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answer
}

// status answers with a status, a body, and pairs of headers.
func status(code int, body string, header ...string) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// claims reads a JSON Web Token whose signature is verified by check.
func claims(token string, check func(alg string, digest, signature []byte) bool) (header, payload map[string]any, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, nil, fmt.Errorf("a token of %d parts", len(parts))
	}
	var raw [3][]byte
	for i, p := range parts {
		if raw[i], err = base64.RawURLEncoding.DecodeString(p); err != nil {
			return nil, nil, err
		}
	}
	if err := json.Unmarshal(raw[0], &header); err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(raw[1], &payload); err != nil {
		return nil, nil, err
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	alg, _ := header["alg"].(string)
	if !check(alg, digest[:], raw[2]) {
		return nil, nil, fmt.Errorf("the signature is wrong")
	}
	return header, payload, nil
}

func es256(key *ecdsa.PublicKey) func(alg string, digest, signature []byte) bool {
	return func(alg string, digest, s []byte) bool {
		return alg == "ES256" && len(s) == 64 && ecdsa.Verify(key, digest, new(big.Int).SetBytes(s[:32]), new(big.Int).SetBytes(s[32:]))
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

// A pushService is a browser's, with the browser behind it.
type pushService struct {
	*provider
	browser *pushtest.Browser
}

func newPushService(t testing.TB, now func() time.Time) *pushService {
	s := &pushService{&provider{t: t, now: now, says: map[channeltest.Fault]reply{
		channeltest.Garbage: {http.StatusTeapot, "QUOTE"}, channeltest.Endless: {http.StatusServiceUnavailable, "QUOTE"},
		channeltest.Busy: {http.StatusServiceUnavailable, "QUOTE"}, channeltest.Pauses: {http.StatusTooManyRequests, "QUOTE"},
		channeltest.Credentials: {http.StatusForbidden, "QUOTE"}, channeltest.Refuses: {http.StatusBadRequest, "QUOTE"},
		channeltest.Gone: {http.StatusGone, "QUOTE"},
	}}, pushtest.NewBrowser()}
	s.server = serve(t, s)
	return s
}

// installation is a browser's, as the host gets it.
func installation(t testing.TB, b *pushtest.Browser, endpoint string) push.Installation {
	i, err := push.ParseSubscription(b.Subscription(endpoint))
	require.NoError(t, err)
	return i
}

func (s *pushService) options(key *ecdsa.PrivateKey) *push.WebPush {
	return local(s.server, &push.WebPush{Key: key, Subject: "mailto:push@example.org"})
}

func (s *pushService) value(path string) string {
	return installation(s.t, s.browser, s.server.URL+path).Value()
}

func (s *pushService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender has gone
	}
	if f := s.other(); f != nil {
		f(w, r)
		return
	}
	g, code, err := s.judge(r, body)
	if err != nil {
		w.WriteHeader(code)
		s.t.Errorf("the push service got what is not Web Push: %v", err)
		return
	}
	if s.met(w, r, g) {
		return
	}
	s.take(g)
	w.WriteHeader(http.StatusCreated)
}

// judge reads a request as RFC 8030, 8291 and 8292 have it.
func (s *pushService) judge(r *http.Request, body []byte) (g got, code int, err error) {
	if code, err := s.vapid(r); err != nil {
		return g, code, err
	}
	if r.Method != http.MethodPost || r.ProtoMajor != 2 || r.Header.Get("Content-Encoding") != "aes128gcm" {
		return g, http.StatusBadRequest, fmt.Errorf("%s by %s, encoding %q", r.Method, r.Proto, r.Header.Get("Content-Encoding"))
	}
	if ttl, err := strconv.ParseUint(r.Header.Get("TTL"), 10, 31); err != nil || ttl > 28*24*3600 {
		return g, http.StatusBadRequest, fmt.Errorf("TTL %q", r.Header.Get("TTL"))
	}
	topic := r.Header.Get("Topic")
	if len(topic) > 32 || strings.Trim(topic, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return g, http.StatusBadRequest, fmt.Errorf("topic %q", topic)
	}
	if len(body) > 4096 {
		return g, http.StatusRequestEntityTooLarge, fmt.Errorf("%d bytes", len(body))
	}
	text, err := s.browser.Decrypt(body)
	if err != nil {
		return g, http.StatusBadRequest, err
	}
	if err := json.Unmarshal(text, &g); err != nil {
		return g, http.StatusBadRequest, err
	}
	g.Header, g.Path, g.Size, g.TTL = r.Header, r.URL.Path, len(body), r.Header.Get("TTL")
	return g, 0, nil
}

// vapid checks who sends.
func (s *pushService) vapid(r *http.Request) (code int, err error) {
	var token, public string
	if _, err := fmt.Sscanf(r.Header.Get("Authorization"), "vapid t=%s k=%s", &token, &public); err != nil {
		return http.StatusUnauthorized, fmt.Errorf("authorization: %w", err)
	}
	token = strings.TrimSuffix(token, ",")
	point, err := base64.RawURLEncoding.DecodeString(public)
	if err != nil {
		return http.StatusUnauthorized, err
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return http.StatusUnauthorized, err
	}
	_, c, err := claims(token, es256(key))
	if err != nil {
		return http.StatusForbidden, err
	}
	expires, _ := c["exp"].(float64)
	left := time.Unix(int64(expires), 0).Sub(s.now())
	if c["aud"] != "https://"+r.Host || c["sub"] != "mailto:push@example.org" || left <= 0 || left > 24*time.Hour {
		return http.StatusForbidden, fmt.Errorf("claims %v, %v left", c, left)
	}
	return 0, nil
}

// An apple is APNs.
type apple struct {
	*provider
	key    *ecdsa.PrivateKey
	tokens map[string]bool // provider tokens that it has seen; guarded by mu
}

func newApple(t testing.TB, now func() time.Time) *apple {
	a := &apple{provider: &provider{t: t, now: now, says: map[channeltest.Fault]reply{
		channeltest.Breaks: {http.StatusGone, `{"reason": "Unregis`}, channeltest.Garbage: {http.StatusOK, "<html>QUOTE"},
		channeltest.Endless: {http.StatusBadRequest, `{"reason": "BadDeviceToken", "QUOTE": 1`},
		channeltest.Busy:    {http.StatusServiceUnavailable, `{"reason": "Shutdown"}`}, channeltest.Pauses: {http.StatusTooManyRequests, `{"reason": "QUOTE"}`},
		channeltest.Credentials: {http.StatusForbidden, `{"reason": "InvalidProviderToken"}`},
		channeltest.Refuses:     {http.StatusBadRequest, `{"reason": "QUOTE"}`}, channeltest.Gone: {http.StatusGone, `{"reason": "Unregistered"}`},
	}}, key: newKey(t), tokens: map[string]bool{}}
	a.server = serve(t, a)
	return a
}

func (a *apple) options() *push.Apple {
	return &push.Apple{
		Key: a.key, KeyID: "ABC123DEFG", TeamID: "DEF123GHIJ", Topic: "it.example.app", URL: a.server.URL, SandboxURL: a.server.URL + "/sandbox",
		Client: a.server.Client(),
	}
}

func (a *apple) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if f := a.other(); f != nil {
		f(w, r)
		return
	}
	g, code, reason := a.judge(r, body)
	if reason != "" {
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"reason": %q}`, reason)
		if reason != "ExpiredProviderToken" {
			a.t.Errorf("APNs got what it refuses: %s", reason)
		}
		return
	}
	if a.met(w, r, g) {
		return
	}
	a.take(g)
	w.Header().Set("apns-id", strings.ToUpper(r.Header.Get("apns-id")))
}

// judge reads a request as Apple has it.
func (a *apple) judge(r *http.Request, body []byte) (g got, code int, reason string) {
	h := r.Header
	token, ok := strings.CutPrefix(h.Get("Authorization"), "bearer ")
	header, c, err := claims(token, es256(&a.key.PublicKey))
	if !ok || err != nil || header["kid"] != "ABC123DEFG" || c["iss"] != "DEF123GHIJ" {
		return g, http.StatusForbidden, "InvalidProviderToken"
	}
	issued, _ := c["iat"].(float64)
	if age := a.now().Sub(time.Unix(int64(issued), 0)); age > time.Hour || age < -time.Minute {
		return g, http.StatusForbidden, "ExpiredProviderToken"
	}
	a.mu.Lock()
	a.tokens[token] = true
	a.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/sandbox")
	device, ok := strings.CutPrefix(path, "/3/device/")
	id := h.Get("apns-id")
	expiration, expirationErr := strconv.ParseInt(h.Get("apns-expiration"), 10, 64)
	switch {
	case r.Method != http.MethodPost || r.ProtoMajor != 2 || !ok:
		return g, http.StatusNotFound, "BadPath"
	case h.Get("apns-topic") != "it.example.app":
		return g, http.StatusBadRequest, "BadTopic"
	case len(h.Get("apns-collapse-id")) > 64 || h.Get("apns-collapse-id") == "":
		return g, http.StatusBadRequest, "BadCollapseId"
	case h.Get("apns-push-type") != "alert":
		return g, http.StatusBadRequest, "InvalidPushType"
	case h.Get("apns-priority") != "10":
		return g, http.StatusBadRequest, "BadPriority"
	case len(id) != 36 || strings.Count(id, "-") != 4 || strings.Trim(id, "0123456789abcdef-") != "":
		return g, http.StatusBadRequest, "BadMessageId"
	case expirationErr != nil || expiration < 0:
		return g, http.StatusBadRequest, "BadExpirationDate"
	case len(body) > 4096:
		return g, http.StatusRequestEntityTooLarge, "PayloadTooLarge"
	}
	var text struct {
		APS struct {
			Alert struct{ Title, Body string }
		}
		Delivery appio.DeliveryID
		Message  appio.MessageID
		Reminder appio.ReminderKind
	}
	if err := json.Unmarshal(body, &text); err != nil {
		return g, http.StatusBadRequest, "PayloadEmpty"
	}
	return got{
		Header: h, Path: r.URL.Path, Token: device, Title: text.APS.Alert.Title, Body: text.APS.Alert.Body, Tag: h.Get("apns-collapse-id"),
		TTL: h.Get("apns-expiration"), Delivery: text.Delivery, Message: text.Message, Reminder: text.Reminder, Size: len(body),
	}, 0, ""
}

// A google is FCM and Google's token service.
type google struct {
	*provider
	key    *rsa.PrivateKey
	life   time.Duration // of access tokens
	issued map[string]time.Time
	grant  func(w http.ResponseWriter, r *http.Request) // nil: a token; like issued guarded by mu
}

func newGoogle(t testing.TB, now func() time.Time) *google {
	g := &google{provider: &provider{t: t, now: now, says: map[channeltest.Fault]reply{
		channeltest.Breaks: {http.StatusNotFound, `{"error": {"status": "NOT_F`}, channeltest.Garbage: {http.StatusOK, "<html>QUOTE"},
		channeltest.Endless:     {http.StatusBadRequest, `{"error": {"status": "INVALID_ARGUMENT"}, "QUOTE": 1`},
		channeltest.Busy:        {http.StatusServiceUnavailable, `{"error": {"status": "UNAVAILABLE"}}`},
		channeltest.Pauses:      {http.StatusTooManyRequests, `{"error": {"status": "RESOURCE_EXHAUSTED"}}`},
		channeltest.Credentials: {http.StatusUnauthorized, `{"error": {"status": "UNAUTHENTICATED"}}`},
		channeltest.Refuses:     {http.StatusBadRequest, `{"error": {"status": "INVALID_ARGUMENT", "message": "QUOTE"}}`},
		channeltest.Gone: {http.StatusNotFound, `{"error": {"status": "NOT_FOUND", "message": "QUOTE", "details": [
			{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED"}]}}`},
	}}, key: push.RSAKey(), life: time.Hour, issued: map[string]time.Time{}}
	g.server = serve(t, g)
	return g
}

// account is the file that a service account's key is handed out in.
func account(t testing.TB, key *rsa.PrivateKey, tokenURL string) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "comune-di-esempio", "private_key_id": "0123456789abcdef",
		"private_key":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email": "push@comune-di-esempio.iam.example.org", "token_uri": tokenURL,
	})
	require.NoError(t, err)
	return text
}

func (g *google) options() *push.Firebase {
	return &push.Firebase{Account: account(g.t, g.key, g.server.URL+"/token"), URL: g.server.URL, Client: g.server.Client()}
}

// grants makes the next answers of the token service; nil: the usual ones.
func (g *google) grants(f func(w http.ResponseWriter, r *http.Request)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.grant = f
}

func (g *google) granted() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.issued)
}

func (g *google) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		g.token(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if f := g.other(); f != nil {
		f(w, r)
		return
	}
	it, code, why := g.judge(r, body)
	if why != "" {
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"error": {"code": %d, "status": %q}}`, code, why)
		if code != http.StatusUnauthorized {
			g.t.Errorf("FCM got what it refuses: %s", why)
		}
		return
	}
	if g.met(w, r, it) {
		return
	}
	g.take(it)
	_, _ = io.WriteString(w, `{"name": "projects/comune-di-esempio/messages/1"}`)
}

func (g *google) token(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	grant := g.grant
	g.mu.Unlock()
	if grant != nil {
		grant(w, r)
		return
	}
	if r.ParseForm() != nil {
		return // the sender has gone
	}
	_, c, err := claims(r.FormValue("assertion"), func(alg string, digest, s []byte) bool {
		return alg == "RS256" && rsa.VerifyPKCS1v15(&g.key.PublicKey, 5 /* SHA-256 */, digest, s) == nil
	})
	expires, _ := c["exp"].(float64)
	left := time.Unix(int64(expires), 0).Sub(g.now())
	if err != nil || r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || c["aud"] != g.server.URL+"/token" ||
		c["iss"] != "push@comune-di-esempio.iam.example.org" || c["scope"] != "https://www.googleapis.com/auth/firebase.messaging" ||
		left <= 0 || left > time.Hour {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error": "invalid_grant"}`)
		g.t.Errorf("the token service refuses: %v, %v", err, c)
		return
	}
	token := "ya29." + rand.Text()
	g.mu.Lock()
	g.issued[token] = g.now()
	g.mu.Unlock()
	_, _ = fmt.Fprintf(w, `{"access_token": %q, "token_type": "Bearer", "expires_in": %d}`, token, int(g.life/time.Second))
}

// judge reads a request as Google has it.
func (g *google) judge(r *http.Request, body []byte) (it got, code int, why string) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	g.mu.Lock()
	issued, ok := g.issued[token]
	g.mu.Unlock()
	if age := g.now().Sub(issued); !ok || age < 0 || age >= g.life {
		return it, http.StatusUnauthorized, "UNAUTHENTICATED"
	}
	if r.Method != http.MethodPost || r.ProtoMajor != 2 || r.URL.Path != "/v1/projects/comune-di-esempio/messages:send" {
		return it, http.StatusNotFound, "NOT_FOUND"
	}
	var text struct {
		Message struct {
			Token        string
			Notification struct{ Title, Body string }
			Data         map[string]string // FCM takes strings alone
			Android      struct {
				Priority     string
				TTL          string
				Notification struct{ Tag string }
			}
			APNs struct{ Headers map[string]string }
		}
	}
	if err := json.Unmarshal(body, &text); err != nil {
		return it, http.StatusBadRequest, "INVALID_ARGUMENT"
	}
	m := text.Message
	if h := m.APNs.Headers; h["apns-collapse-id"] != m.Android.Notification.Tag || h["apns-expiration"] == "" {
		return it, http.StatusBadRequest, "INVALID_ARGUMENT"
	}
	ttl, ok := strings.CutSuffix(m.Android.TTL, "s")
	if n, err := strconv.ParseUint(ttl, 10, 31); err != nil || !ok || n > 2_419_200 || m.Android.Priority != "HIGH" || len(body) > 4096 {
		return it, http.StatusBadRequest, "INVALID_ARGUMENT"
	}
	return got{
		Header: r.Header, Path: r.URL.Path, Token: m.Token, Title: m.Notification.Title, Body: m.Notification.Body, Tag: m.Android.Notification.Tag,
		TTL: m.Android.TTL, Delivery: appio.DeliveryID(m.Data["delivery"]), Message: appio.MessageID(m.Data["message"]),
		Reminder: appio.ReminderKind(m.Data["reminder"]), Size: len(body),
	}, 0, ""
}

package webhook_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/appiotest"
	"github.com/appio-go/appio/channel/channeltest"
	"github.com/appio-go/appio/channel/webhook"
	"github.com/appio-go/appio/internal/verdict"
)

var pair = webhook.NewKey()

// A receiver verifies what it is sent, and keeps it or fails.
type receiver struct {
	server *httptest.Server
	v      webhook.Verifier
	asked  atomic.Int64

	mu     sync.Mutex
	ids    []appio.DeliveryID
	bodies []string
	fault  channeltest.Fault
	only   []appio.DeliveryID
	answer func(w http.ResponseWriter) // instead of taking; nil: as the fault says
}

func serve(t *testing.T, http2 bool) *receiver {
	t.Helper()
	r := &receiver{v: webhook.Verifier{Keys: []webhook.Key{pair.Public()}}}
	r.server = httptest.NewUnstartedServer(r)
	r.server.EnableHTTP2 = http2
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.server.StartTLS()
	t.Cleanup(r.server.Close)
	return r
}

func (p *receiver) got() []appio.DeliveryID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.ids)
}

func (p *receiver) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bodies[len(p.bodies)-1]
}

func (p *receiver) answers(f func(w http.ResponseWriter)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = f
}

// what is the fault that a delivery meets with, and another answer if there is one.
func (p *receiver) what(id appio.DeliveryID) (channeltest.Fault, func(w http.ResponseWriter)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.only) > 0 && !slices.Contains(p.only, id) {
		return channeltest.Works, p.answer
	}
	return p.fault, p.answer
}

func (p *receiver) take(id appio.DeliveryID, body []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ids, p.bodies = append(p.ids, id), append(p.bodies, string(body))
}

func (p *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.asked.Add(1)
	said, body, err := p.v.Read(r)
	if h2 := r.ProtoMajor == 2; h2 != p.server.EnableHTTP2 {
		err = errors.New("another HTTP than the test is about")
	}
	if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	id := appio.DeliveryID(said)
	fault, answer := p.what(id)
	if answer != nil {
		answer(w)
		return
	}
	status := 0
	switch fault {
	case channeltest.Works, "":
		p.take(id, body)
		return
	case channeltest.Hangs:
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // to return is an answer, which can still come through
	case channeltest.Breaks:
		w.Header().Set("Content-Length", "1000")
		panic(http.ErrAbortHandler)
	case channeltest.Lost:
		p.take(id, body)
		panic(http.ErrAbortHandler)
	case channeltest.Garbage:
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_, _ = conn.Write(append([]byte("HTTP/1.1 2x0 "), body...))
			_ = conn.Close()
		}
		return
	case channeltest.Endless:
		w.WriteHeader(http.StatusServiceUnavailable)
		for err == nil {
			_, err = w.Write(body)
		}
		return
	case channeltest.Busy:
		status = http.StatusServiceUnavailable
	case channeltest.Pauses:
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After", "120")
	case channeltest.Credentials:
		status = http.StatusUnauthorized
	case channeltest.Refuses:
		status = http.StatusUnprocessableEntity
	case channeltest.Gone:
		status = http.StatusGone
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// provider is the receiver as channeltest tells it to fail. Where all deliveries have one endpoint, its 410 says nothing of an address, and
// HTTP/2 has no way to speak another protocol.
func (p *receiver) provider(fixed bool) *channeltest.Provider {
	return &channeltest.Provider{Got: p.got, Asked: func() int { return int(p.asked.Load()) },
		Meet: func(f channeltest.Fault, only ...appio.DeliveryID) bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.fault, p.only = f, only
			return (f != channeltest.Gone || !fixed) && (f != channeltest.Garbage || !p.server.EnableHTTP2)
		}}
}

// options let a channel reach the receiver.
func (p *receiver) options() *webhook.Options {
	roots := x509.NewCertPool()
	roots.AddCert(p.server.Certificate())
	return &webhook.Options{
		Keys: []webhook.Key{pair}, TLS: &tls.Config{RootCAs: roots}, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		Ports: []uint16{port(p.server.URL)},
	}
}

func port(address string) uint16 {
	u, _ := url.Parse(address)
	n, _ := strconv.ParseUint(u.Port(), 10, 16)
	return uint16(n)
}

func open(t *testing.T, o *webhook.Options) *webhook.Channel {
	t.Helper()
	c, err := webhook.New(o)
	require.NoError(t, err)
	return c
}

// channel is one whose deliveries go to the receiver: all of them, or those whose address is an e-mail address otherwise.
func (p *receiver) channel(t *testing.T, fixed bool) appio.Channel {
	t.Helper()
	o := p.options()
	if fixed {
		o.URL = p.server.URL + "/hook?secret=s3cr3t"
		return open(t, o)
	}
	return channeltest.Adapt(open(t, o), func(d *appio.Delivery) {
		if d.Address.Value == "maria.bianchi@example.org" {
			d.Address.Value = p.server.URL + "/citizens/1"
		}
	})
}

// forms are the ways to open a channel.
var forms = map[string]struct{ fixed, http2 bool }{
	"one endpoint, HTTP/1.1":          {true, false},
	"one endpoint, HTTP/2":            {true, true},
	"endpoints of citizens, HTTP/1.1": {false, false},
	"endpoints of citizens, HTTP/2":   {false, true},
}

func TestContract(t *testing.T) {
	t.Parallel()
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			channeltest.Run(t, func(t *testing.T) (appio.Channel, func() []appio.DeliveryID) {
				p := serve(t, form.http2)
				return p.channel(t, form.fixed), p.got
			})
			channeltest.RunFaults(t, func(t *testing.T) (appio.Channel, *channeltest.Provider) {
				p := serve(t, form.http2)
				return p.channel(t, form.fixed), p.provider(form.fixed)
			})
		})
	}
}

// delivery is a full one.
func delivery() appio.Delivery {
	return appio.Delivery{
		ID: "7QZ4Y2M6XK5T3WJV8PNB", Channel: "webhook", Attempt: 3, Content: appio.Full, Language: "fr", TextLanguage: "it", Withdraw: "w1",
		Address: appio.Address{ID: "a1", Channel: "webhook", Value: "sportello-7"}, Message: "01KEAF3V4N5W7Q0Z8X2C6B1M9D", Service: "mensa",
		ServiceName: "Mensa scolastica", OrganizationName: "Comune di Esempio", Subject: "Mensa: retta di ottobre", Markdown: "La retta è di 84,50 euro & <scade>.",
		Due:     time.Date(2026, 11, 30, 23, 59, 59, 0, time.FixedZone("CET", 3600)),
		Payment: &appio.Notice{Number: "302032002700000251", Amount: 84_50, Payee: "01199250158"},
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	p := serve(t, true)
	o := p.options()
	o.URL = p.server.URL
	full := open(t, o)
	o.Thin = true
	thin := open(t, o)
	o.URL = ""
	own := open(t, o)
	send := func(c *webhook.Channel, change func(d *appio.Delivery)) string {
		t.Helper()
		d := delivery()
		if change != nil {
			change(&d)
		}
		require.NoError(t, c.Deliver(t.Context(), d))
		return p.last()
	}
	require.JSONEq(t, `{"type": "appio.message.v1", "data": {
		"message": "01KEAF3V4N5W7Q0Z8X2C6B1M9D", "service": "mensa", "address": "sportello-7", "content": "full", "serviceName": "Mensa scolastica",
		"organizationName": "Comune di Esempio", "language": "fr", "textLanguage": "it", "subject": "Mensa: retta di ottobre", "markdown": "La retta è di 84,50 euro & <scade>.",
		"due": "2026-11-30T22:59:59Z", "payment": {"notice": "302032002700000251", "amount": 8450, "payee": "01199250158"}, "withdraw": "w1"
	}}`, send(full, nil))
	generic := func(d *appio.Delivery) {
		d.Content, d.Subject, d.Markdown, d.Payment, d.Reminder = appio.Generic, "", "", nil, appio.RemindDeadline
		d.Address, d.To, d.Language, d.TextLanguage, d.OrganizationName = appio.Address{}, "BNCMRA80A41H501F", "", "", ""
	}
	require.JSONEq(t, `{"type": "appio.reminder.v1", "data": {
		"message": "01KEAF3V4N5W7Q0Z8X2C6B1M9D", "service": "mensa", "reminder": "deadline", "to": "BNCMRA80A41H501F", "content": "generic",
		"serviceName": "Mensa scolastica", "due": "2026-11-30T22:59:59Z", "withdraw": "w1"
	}}`, send(full, generic))
	require.JSONEq(t, `{"type": "appio.message.v1", "data": {
		"message": "01KEAF3V4N5W7Q0Z8X2C6B1M9D", "service": "mensa", "address": "sportello-7", "content": "full"
	}}`, send(thin, nil))
	require.JSONEq(t, `{"type": "appio.message.v1", "data": {"message": "01KEAF3V4N5W7Q0Z8X2C6B1M9D", "service": "mensa", "content": "full"}}`,
		send(own, func(d *appio.Delivery) { d.Address.Value = p.server.URL }))

	require.JSONEq(t, `{"type": "appio.message.v1", "data": {
		"message": "01KEAF3V4N5W7Q0Z8X2C6B1M9D", "service": "mensa", "digest": 3, "address": "sportello-7", "content": "full"
	}}`, send(thin, func(d *appio.Delivery) { d.Digest = &appio.Digest{Count: 3} }))

	first := send(full, nil)
	require.Equal(t, first, send(full, func(d *appio.Delivery) { d.Attempt++ }), "the body is the same on each attempt")
	var e webhook.Event
	require.NoError(t, json.Unmarshal([]byte(first), &e))
	again, err := json.Marshal(e)
	require.NoError(t, err)
	require.Equal(t, first, string(again), "a receiver reads all that there is")
	require.Equal(t, "event appio.message.v1", e.String())
	require.NotContains(t, e.Data.String(), e.Data.Subject)
	require.NotContains(t, e.Data.String(), e.Data.Address)

	// The longest message there is fits into what a Verifier reads.
	send(full, func(d *appio.Delivery) {
		d.Markdown, d.Subject = strings.Repeat("\x01", 10_000), strings.Repeat("<", 120)
	})
}

// verdictOf is what an error says to the engine.
func verdictOf(err error) (kind verdict.Kind, after time.Duration) {
	var marked *verdict.Error
	if errors.As(err, &marked) {
		return marked.Verdict, marked.After
	}
	return verdict.Later, 0
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	p := serve(t, false)
	o := p.options()
	own := open(t, o)
	o.URL = p.server.URL
	fixed := open(t, o)
	deliver := func(status int, pause string) (byAddress, byURL error) {
		p.answers(func(w http.ResponseWriter) {
			w.Header().Set("Location", p.server.URL+"/elsewhere")
			if pause != "" {
				w.Header().Set("Retry-After", pause)
			}
			w.WriteHeader(status)
		})
		d := delivery()
		byURL = fixed.Deliver(t.Context(), d)
		d.Address.Value = p.server.URL
		return own.Deliver(t.Context(), d), byURL
	}
	for status := 200; status <= 599; status++ {
		before := p.asked.Load()
		byAddress, byURL := deliver(status, "")
		require.EqualValues(t, 2, p.asked.Load()-before, "%d: nothing is followed, nothing tried twice", status)
		if status < 300 {
			require.NoError(t, byAddress)
			require.NoError(t, byURL)
			continue
		}
		address, url := verdict.Later, verdict.Later
		switch status {
		case 410:
			address = verdict.Gone
		case 413, 422:
			address, url = verdict.Permanent, verdict.Permanent
		}
		kind, after := verdictOf(byAddress)
		require.Equal(t, address, kind, status)
		require.Zero(t, after)
		kind, after = verdictOf(byURL)
		require.Equal(t, url, kind, status)
		require.Zero(t, after)
		require.EqualError(t, byURL, "webhook: the endpoint answered "+strconv.Itoa(status))
		require.EqualError(t, byAddress, byURL.Error())
	}
	for _, status := range []int{429, 500, 502, 503, 504} {
		_, err := deliver(status, "120")
		kind, after := verdictOf(err)
		require.Equal(t, verdict.Later, kind)
		require.Equal(t, 2*time.Minute, after, status)
	}
	for _, status := range []int{301, 400, 401, 404, 408} {
		_, err := deliver(status, "120")
		_, after := verdictOf(err)
		require.Zero(t, after, status)
	}
	_, err := deliver(413, "120")
	kind, _ := verdictOf(err)
	require.Equal(t, verdict.Permanent, kind)
}

func TestAttemptsAreSignedAnew(t *testing.T) {
	t.Parallel()
	var seen []http.Header
	var bodies [][]byte
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen, bodies = append(seen, r.Header), append(bodies, body)
	}))
	t.Cleanup(server.Close)
	now := time.Unix(1_800_000_000, 0)
	secret, next := webhook.NewSecret(), webhook.NewSecret()
	keys := []webhook.Key{secret}
	c := open(t, &webhook.Options{
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Ports: []uint16{port(server.URL)}, Insecure: true, Now: func() time.Time { return now },
		KeysFor: func(_ context.Context, d appio.Delivery) ([]webhook.Key, error) {
			if d.Address.Value != server.URL {
				return nil, errors.New("no such endpoint")
			}
			return keys, nil
		},
	})
	d := delivery()
	d.Address.Value = server.URL
	require.NoError(t, c.Deliver(t.Context(), d))
	now, keys, d.Attempt = now.Add(time.Hour), []webhook.Key{secret, next}, 4
	require.NoError(t, c.Deliver(t.Context(), d))
	keys = keys[1:]
	require.NoError(t, c.Deliver(t.Context(), d))
	d.Address.Value += "/other"
	require.EqualError(t, c.Deliver(t.Context(), d), "webhook: keys: no such endpoint")
	keys, d.Address.Value = nil, server.URL
	require.ErrorIs(t, c.Deliver(t.Context(), d), webhook.ErrKey, "nothing goes out unsigned")
	require.Len(t, seen, 3)

	for i, who := range [][]bool{{true, false}, {true, true}, {false, true}} {
		for j, k := range []webhook.Key{secret, next} {
			v := &webhook.Verifier{Keys: []webhook.Key{k}, Now: at(time.Unix(1_800_000_000, 0).Add(time.Hour * time.Duration(min(i, 1))))}
			id, err := v.Verify(seen[i], bodies[i])
			if who[j] {
				require.NoError(t, err)
				require.Equal(t, string(d.ID), id)
			} else {
				require.ErrorIs(t, err, webhook.ErrSignature)
			}
		}
	}
	require.Equal(t, bodies[0], bodies[1])
}

func TestEndpointsThatMayNotBeAsked(t *testing.T) {
	t.Parallel()
	p := serve(t, false)
	o := p.options()
	o.Allow = nil
	o.Ports = append(o.Ports, 443)
	c := open(t, o)
	d := delivery()
	for _, address := range []string{
		p.server.URL, strings.Replace(p.server.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1), strings.Replace(p.server.URL, "127.0.0.1", "0.0.0.0", 1),
		"http://example.org/", "https://user:password@example.org/", "https://example.org/#x", "https://example.org:22/", "https://", "/hook", "example.org",
		"ftp://example.org/", "https://169.254.169.254/latest/meta-data/", "https://[fd00::1]/", "https://10.0.0.1/", "https://exa mple.org/", "",
	} {
		d.Address.Value = address
		kind, _ := verdictOf(c.Deliver(t.Context(), d))
		require.Equal(t, verdict.Permanent, kind, address)
		require.ErrorIs(t, c.Check(address), appio.ErrInvalid, "who enters it can be told: %s", address)
	}
	require.NoError(t, c.Check("https://example.org/hook?x=1"))
	// What a name resolves to may change again, and be right then.
	_, port, err := net.SplitHostPort(p.server.Listener.Addr().String())
	require.NoError(t, err)
	d.Address.Value = "https://localhost:" + port + "/hook"
	err = c.Deliver(t.Context(), d)
	require.EqualError(t, err, "webhook: not an address that may be reached")
	kind, _ := verdictOf(err)
	require.Equal(t, verdict.Later, kind)
	require.Zero(t, p.asked.Load())
}

func TestErrorsSayNothingOfTheEndpoint(t *testing.T) {
	t.Parallel()
	p := serve(t, false)
	d := delivery()
	const nobody = "http://127.0.0.1:1" // no port that a test gets
	for name, c := range map[string]struct {
		address string
		change  func(o *webhook.Options)
		answer  func(w http.ResponseWriter)
		says    string
	}{
		"nobody listens":      {nobody, func(o *webhook.Options) { o.Insecure = true }, nil, "webhook: the connection failed: connection refused"},
		"an unknown root":     {p.server.URL, func(o *webhook.Options) { o.TLS = nil }, nil, "webhook: the certificate of the host is not valid"},
		"no TLS":              {strings.Replace(p.server.URL, "https:", "http:", 1), func(o *webhook.Options) { o.Insecure = true }, nil, "webhook: the endpoint answered 400"},
		"it takes its time":   {p.server.URL, func(o *webhook.Options) { o.Timeout = 50 * time.Millisecond }, func(http.ResponseWriter) { time.Sleep(200 * time.Millisecond) }, "webhook: no answer in time: context deadline exceeded"},
		"it refuses, loudly":  {p.server.URL, nil, func(w http.ResponseWriter) { http.Error(w, p.server.URL+"/s3cr3t", 500) }, "webhook: the endpoint answered 500"},
		"a redirect to a URL": {p.server.URL, nil, func(w http.ResponseWriter) { w.Header().Set("Location", "https://%s3cr3t"); w.WriteHeader(302) }, "webhook: the request failed, or the answer is not HTTP"},
		"huge headers":        {p.server.URL, nil, func(w http.ResponseWriter) { w.Header().Set("X", strings.Repeat("s3cr3t", 20_000)) }, "webhook: the request failed, or the answer is not HTTP"},
	} {
		p.answers(c.answer)
		o := p.options()
		o.Ports = append(o.Ports, port(c.address))
		if c.change != nil {
			c.change(o)
		}
		d.Address.Value = c.address + "/hooks/s3cr3t?token=s3cr3t"
		err := open(t, o).Deliver(t.Context(), d)
		require.EqualError(t, err, c.says, name)
		var u *url.Error
		require.False(t, errors.As(err, &u))
		kind, _ := verdictOf(err)
		require.Equal(t, verdict.Later, kind, name)
	}
	// A host that is found nowhere.
	o := p.options()
	o.Resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("s3cr3t") }}
	d.Address.Value = "https://s3cr3t.example.org.:" + strconv.Itoa(int(o.Ports[0])) + "/"
	require.EqualError(t, open(t, o).Deliver(t.Context(), d), "webhook: the name of the host could not be resolved")
}

// TestSuccessIsTheStatus has an endpoint that says yes and then goes on and on, or breaks off: it has taken the delivery.
func TestSuccessIsTheStatus(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		p := serve(t, http2)
		o := p.options()
		o.URL = p.server.URL
		c := open(t, o)
		for _, f := range []func(w http.ResponseWriter){
			func(w http.ResponseWriter) { w.WriteHeader(202); _, _ = w.Write(bytes.Repeat([]byte("x"), 1<<20)) },
			func(w http.ResponseWriter) {
				w.WriteHeader(200)
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			},
		} {
			p.answers(f)
			require.NoError(t, c.Deliver(t.Context(), delivery()))
		}
	}
}

// TestConnections looks at what becomes of them: one whose answer was short serves the next delivery, and one with more to read is closed.
func TestConnections(t *testing.T) {
	t.Parallel()
	var opened, closed atomic.Int64
	answer := []byte("ok")
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		_ = http.NewResponseController(w).Flush() // so that the length is not told before
		_, _ = w.Write(answer)
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			opened.Add(1)
		case http.StateClosed:
			closed.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	c := open(t, &webhook.Options{
		URL: server.URL, Keys: []webhook.Key{pair}, Insecure: true, Ports: []uint16{port(server.URL)}, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	})
	for range 20 {
		require.NoError(t, c.Deliver(t.Context(), delivery()))
	}
	require.EqualValues(t, 1, opened.Load())
	require.Zero(t, closed.Load())
	answer = make([]byte, 1<<20)
	require.NoError(t, c.Deliver(t.Context(), delivery()))
	require.Eventually(t, func() bool { return closed.Load() == 1 }, 10*time.Second, time.Millisecond)
}

func TestOptions(t *testing.T) {
	t.Parallel()
	keys, secrets := []webhook.Key{pair}, []webhook.Key{webhook.NewSecret()}
	keysFor := func(context.Context, appio.Delivery) ([]webhook.Key, error) { return nil, nil }
	for field, o := range map[string]*webhook.Options{
		"Keys":    {KeysFor: keysFor, Keys: keys},
		"Timeout": {Keys: keys, Timeout: -1},
		"Keys[1]": {Keys: []webhook.Key{pair, pair.Public()}},
		"Keys[0]": {Keys: secrets},
	} {
		_, err := webhook.New(o)
		var f *appio.FieldError
		require.ErrorAs(t, err, &f)
		require.Equal(t, field, f.Field)
	}
	for _, o := range []*webhook.Options{nil, {}, {Keys: make([]webhook.Key, 33)}} {
		_, err := webhook.New(o)
		require.ErrorIs(t, err, appio.ErrInvalid)
	}
	for _, u := range []string{"http://example.org/", "https://10.0.0.1/s3cr3t", "s3cr3t", "https://a:s3cr3t@example.org/", "https://example.org/#s3cr3t", "https://%s3cr3t"} {
		_, err := webhook.New(&webhook.Options{Keys: keys, URL: u})
		var f *appio.FieldError
		require.ErrorAs(t, err, &f)
		require.Equal(t, "URL", f.Field)
		require.NotContains(t, err.Error(), "s3cr3t")
	}
	for _, o := range []*webhook.Options{{Keys: keys}, {KeysFor: keysFor}, {Keys: secrets, URL: "https://example.org/hook?x=1"}} {
		_, err := webhook.New(o)
		require.NoError(t, err)
	}
}

// TestEngine sends through an engine to an endpoint that a citizen entered, until that is gone.
func TestEngine(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p := serve(t, true)
	k := appiotest.New(t, &appio.Options{Channels: []appio.Route{{
		Name: "webhook", Channel: open(t, p.options()), Default: appio.Full, Unvalidated: true,
	}}})
	school, mario := k.Service("mensa"), k.Person(appiotest.Mario, appio.Auto)
	endpoint := p.server.URL + "/mario?token=s3cr3t"
	require.NoError(t, mario.UpdateProfile(ctx, func(f *appio.Profile) error {
		f.Channels["webhook"] = appio.Full
		f.Addresses = []appio.Address{{Channel: "webhook", Value: endpoint}}
		return nil
	}))
	m := appiotest.Message(appiotest.Mario)
	send := func(fault channeltest.Fault) {
		t.Helper()
		p.provider(false).Meet(fault)
		_, err := school.Send(ctx, m)
		require.NoError(t, err)
		k.Advance(time.Minute)
	}
	send(channeltest.Works)
	var e webhook.Event
	require.NoError(t, json.Unmarshal([]byte(p.last()), &e))
	require.Equal(t, webhook.TypeMessage, e.Type)
	require.Equal(t, []string{"mensa", "full", m.Subject, m.Markdown, ""}, []string{string(e.Data.Service), e.Data.Content, e.Data.Subject, e.Data.Markdown, string(e.Data.To)})

	// The endpoint's receiver is the person: what it got withdraws the service's use of this channel.
	require.NotEmpty(t, e.Data.Withdraw)

	send(channeltest.Pauses)
	p.provider(false).Meet(channeltest.Works)
	k.Advance(59 * time.Second)
	require.Len(t, p.got(), 1, "it asked for two minutes")
	k.Advance(2 * time.Minute)
	require.Len(t, p.got(), 2)

	send(channeltest.Lost) // and, while the answers are lost, again and again, under the same id
	p.provider(false).Meet(channeltest.Works)
	k.Advance(time.Hour)
	ids := p.got()[2:]
	require.Greater(t, len(ids), 1)
	require.Len(t, slices.Compact(slices.Clone(ids)), 1)

	send(channeltest.Refuses)
	n := 0
	for parked, err := range k.Parked().All(ctx) {
		require.NoError(t, err)
		require.Equal(t, "webhook: the endpoint answered 422", parked.Cause)
		n++
	}
	require.Equal(t, 1, n)

	send(channeltest.Gone)
	profile, err := mario.Profile(ctx)
	require.NoError(t, err)
	require.Empty(t, slices.DeleteFunc(profile.Addresses, func(a appio.Address) bool { return a.Channel != "webhook" }))
}

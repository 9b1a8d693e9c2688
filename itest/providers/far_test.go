package providers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/mail"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/webhook"
)

// A fault is how a provider is sick.
type fault int32

const (
	well    fault = iota
	hangs         // it says nothing until it is given up
	breaks        // it cuts the connection, in the middle of an answer where a whole one would mean something else
	endless       // it refuses, in a text without end
	garbage       // what it says is not of its protocol
	panics        // the channel itself dies
)

var faults = []fault{hangs, breaks, endless, garbage, panics}

func (f fault) String() string {
	return []string{"is well", "hangs", "breaks off", "does not stop", "talks nonsense", "panics"}[f]
}

// A provider is the far end of a channel. It keeps a record of what it has taken, of each message by its number, which is in the subject.
type provider struct {
	name  string
	odd   int    // of a hundred messages it refuses this one for good
	cause string // as what that is parked

	fault atomic.Int32
	asked atomic.Int64 // calls of the channel

	outages []span // of the messages' numbers

	mu    sync.Mutex
	taken map[int]arrival
	late  map[appio.DeliveryID]bool // calls that were given up: the provider may have taken them all the same
}

// A span is of the messages that were sent during an outage: from the first, to before the last.
type span struct{ first, last int }

// wasSick reports whether a message may have been under way as a connection of the provider was cut.
func (p *provider) wasSick(n int) bool {
	return slices.ContainsFunc(p.outages, func(o span) bool { return n >= o.first-rate && n < o.last+rate })
}

// An arrival is of one message at one provider.
type arrival struct {
	at  time.Time
	ids map[appio.DeliveryID]int // and how often
}

func (p *provider) is() fault { return fault(p.fault.Load()) }

func (p *provider) poison(n int) bool { return n%100 == p.odd }

func (p *provider) take(n int, id appio.DeliveryID) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.taken[n]
	if !ok {
		a = arrival{now, map[appio.DeliveryID]int{}}
		p.taken[n] = a
	}
	a.ids[id]++
}

func (p *provider) givenUp(id appio.DeliveryID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late[id] = true
}

func (p *provider) got(n int) (a arrival, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok = p.taken[n]
	return a, ok
}

func subject(n int) string { return fmt.Sprintf("Avviso numero %d del Comune", n) }

var numbered = regexp.MustCompile(`numero (\d+) del Comune`)

func numberIn(text string) (int, error) {
	m := numbered.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("no number in %q", text)
	}
	return strconv.Atoi(m[1])
}

// providers are the three, at ports of this machine, with one certificate.
type providers struct {
	mail, push, hook *provider
	mailAddr         string
	pushURL, hookURL string
	hookPort         uint16
	key              webhook.Key // what signs for the hook
	trust            *tls.Config
}

func (ps *providers) all() []*provider { return []*provider{ps.mail, ps.push, ps.hook} }

// start starts them; they end with the test.
func start(t *testing.T) *providers {
	own, trust := certificate(t)
	ps := &providers{
		mail:  &provider{name: appio.Email, odd: 17, cause: "email: message: 554 5.6.0", taken: map[int]arrival{}, late: map[appio.DeliveryID]bool{}},
		push:  &provider{name: appio.Push, odd: 43, cause: "push: APNs answered 413 PayloadTooLarge", taken: map[int]arrival{}, late: map[appio.DeliveryID]bool{}},
		hook:  &provider{name: "webhook", odd: 71, cause: "webhook: the endpoint answered 422", taken: map[int]arrival{}, late: map[appio.DeliveryID]bool{}},
		trust: trust, key: webhook.NewKey(),
	}
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &session{ps.mail, c}, nil }))
	server.Domain, server.TLSConfig, server.ErrorLog = "mail.example.org", own, log.New(io.Discard, "", 0)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ps.mailAddr = l.Addr().String()
	run(t, func() { _ = server.Serve(l) }, func() {
		_ = server.Close()
		_ = l.Close() // which Serve may not have taken over yet
	})
	ps.pushURL, _ = serve(t, own, &apns{ps.push})
	ps.hookURL, ps.hookPort = serve(t, own, &receiver{ps.hook, webhook.Verifier{Keys: []webhook.Key{ps.key.Public()}}})
	return ps
}

// run runs a server until the test ends.
func run(t *testing.T, serve, stop func()) {
	var done sync.WaitGroup
	done.Go(serve)
	t.Cleanup(func() {
		stop()
		done.Wait()
	})
}

type connKey struct{}

// serve starts a server of https, whose handlers can cut their connection.
func serve(t *testing.T, own *tls.Config, h http.Handler) (url string, port uint16) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{
		Handler: h, TLSConfig: own.Clone(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	run(t, func() { _ = server.ServeTLS(l, "", "") }, func() {
		_ = server.Close()
		_ = l.Close()
	})
	at := l.Addr().(*net.TCPAddr)
	return "https://" + at.String(), uint16(at.Port)
}

// conn is a request's connection, below its TLS.
func conn(r *http.Request) net.Conn { return r.Context().Value(connKey{}).(*tls.Conn).NetConn() }

// forever writes until the other side goes away.
func forever(w io.Writer, text string) {
	for text, err := strings.Repeat(text, 50), error(nil); err == nil; {
		_, err = io.WriteString(w, text)
	}
}

func certificate(t *testing.T) (own, trust *tls.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: roots}
}

// A session is one of the mail server, which is sick at the end of a message.
type session struct {
	p    *provider
	conn *smtp.Conn
}

func (s *session) Mail(string, *smtp.MailOptions) error { return nil }
func (s *session) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (s *session) Reset()                               {}
func (s *session) Logout() error                        { return nil }

func (s *session) Data(r io.Reader) error {
	m, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, m.Body); err != nil {
		return err
	}
	n, err := numberIn(m.Header.Get("Subject"))
	if err != nil {
		return err
	}
	c := s.conn.Conn()
	switch s.p.is() {
	case hangs:
		_, _ = io.Copy(io.Discard, c)
		return io.ErrUnexpectedEOF
	case breaks:
		_, _ = io.WriteString(c, "250-ok\r\n25")
		_ = c.Close()
		return io.ErrUnexpectedEOF
	case endless:
		forever(c, "550-5.7.1 "+m.Header.Get("To")+"\r\n")
		return io.ErrUnexpectedEOF
	case garbage:
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		_ = c.Close()
		return io.ErrUnexpectedEOF
	}
	if s.p.poison(n) {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "not this one"}
	}
	id, _, _ := strings.Cut(strings.Trim(m.Header.Get("Message-ID"), "<>"), "@")
	s.p.take(n, appio.DeliveryID(id))
	return nil
}

// apns is Apple's service.
type apns struct{ p *provider }

func (a *apns) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var text struct {
		APS struct {
			Alert struct{ Body string }
		}
		Delivery appio.DeliveryID
	}
	if r.ProtoMajor != 2 || json.NewDecoder(io.LimitReader(r.Body, 4096)).Decode(&text) != nil {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	n, err := numberIn(text.APS.Alert.Body)
	if err != nil {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	switch a.p.is() {
	case hangs:
		<-r.Context().Done()
		return
	case breaks:
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(http.StatusGone)
		_, _ = io.WriteString(w, `{"reason": "Unregis`)
		_ = http.NewResponseController(w).Flush()
		_ = conn(r).Close()
		return
	case endless:
		w.WriteHeader(http.StatusBadRequest)
		forever(w, `{"reason": "BadDeviceToken", "more": 1`)
		return
	case garbage:
		_, _ = io.WriteString(w, "<html>welcome to this network</html>") // with status 200, and not of APNs
		return
	}
	if a.p.poison(n) {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		_, _ = io.WriteString(w, `{"reason": "PayloadTooLarge"}`)
		return
	}
	a.p.take(n, text.Delivery)
	w.Header().Set("apns-id", r.Header.Get("apns-id"))
}

// A receiver takes webhooks.
type receiver struct {
	p *provider
	v webhook.Verifier
}

func (h *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, body, err := h.v.Read(r)
	var e webhook.Event
	if err != nil || json.Unmarshal(body, &e) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	n, err := numberIn(e.Data.Subject)
	if err != nil {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	switch h.p.is() {
	case hangs:
		<-r.Context().Done()
		return
	case breaks: // before it has said anything: a status of 200 is all that a webhook has to say
		_ = conn(r).Close()
		return
	case endless:
		w.WriteHeader(http.StatusServiceUnavailable)
		forever(w, e.Data.Subject)
		return
	case garbage:
		_, _ = io.WriteString(conn(r), "220 mail.example.org ESMTP\r\n")
		_ = conn(r).Close()
		return
	}
	if h.p.poison(n) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	h.p.take(n, appio.DeliveryID(id))
}

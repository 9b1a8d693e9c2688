package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/mail"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/appio-go/appio/channel/push/pushtest"
	"github.com/appio-go/appio/channel/webhook"
)

// farEnds are what channels speak to: a mail server, a browser with its push service, and who receives the webhook.
type farEnds struct {
	mail mailServer
	push pushService
	hook receiver

	trust *tls.Config // of who asks them
	stops []func()
}

// newFarEnds starts all three, at ports of this machine, with one certificate.
func newFarEnds() (f *farEnds, err error) {
	own, trust, err := certificate()
	if err != nil {
		return nil, err
	}
	f = &farEnds{trust: trust}
	defer func() {
		if err != nil {
			f.close()
		}
	}()

	f.mail.password = rand.Text()
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{server: &f.mail}, nil }))
	server.Domain, server.TLSConfig, server.ErrorLog = "mail.example.org", own.Clone(), log.New(io.Discard, "", 0)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f.mail.addr = listener.Addr().String()
	f.run(func() { _ = server.Serve(listener) }, func() {
		_ = server.Close()
		_ = listener.Close() // which Serve may not have taken over yet
	})

	f.push.browser = pushtest.NewBrowser()
	if f.push.url, f.push.port, err = f.serve(own, &f.push); err != nil {
		return nil, err
	}
	f.push.url += "/push/5d2f"

	f.hook.key = webhook.NewKey()
	verifier := &webhook.Verifier{Keys: []webhook.Key{f.hook.key.Public()}} // who receives has no key to sign with
	if f.hook.url, f.hook.port, err = f.serve(own, verifier.Handler(f.hook.take)); err != nil {
		return nil, err
	}
	return f, nil
}

// serve starts a server of https.
func (f *farEnds) serve(own *tls.Config, h http.Handler) (url string, port uint16, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", 0, err
	}
	server := &http.Server{Handler: h, TLSConfig: own.Clone(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	f.run(func() { _ = server.ServeTLS(listener, "", "") }, func() {
		_ = server.Close()
		_ = listener.Close()
	})
	at := listener.Addr().(*net.TCPAddr)
	return "https://" + at.String(), uint16(at.Port), nil
}

// run runs a server until close.
func (f *farEnds) run(serve, stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve()
	}()
	f.stops = append(f.stops, func() {
		stop()
		<-done
	})
}

func (f *farEnds) close() {
	for _, stop := range f.stops {
		stop()
	}
}

// show writes what each has got.
func (f *farEnds) show(out io.Writer) error {
	for _, end := range []struct {
		name string
		got  *inbox
	}{{"e-mail", &f.mail.inbox}, {"browser", &f.push.inbox}, {"webhook", &f.hook.inbox}} {
		text, err := end.got.only()
		if err != nil {
			return fmt.Errorf("%s: %w", end.name, err)
		}
		if _, err := fmt.Fprintf(out, "== %s\n%s\n", end.name, text); err != nil {
			return err
		}
	}
	return nil
}

// certificate is one for this machine, and what trusts it.
func certificate() (own, trust *tls.Config, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: roots}, nil
}

// An inbox keeps what has arrived, as it is shown.
type inbox struct {
	mu    sync.Mutex
	texts []string
}

func (i *inbox) put(text string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.texts = append(i.texts, text)
}

// only is the one text that has arrived.
func (i *inbox) only() (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.texts) != 1 {
		return "", fmt.Errorf("%d messages have arrived, not one", len(i.texts))
	}
	return i.texts[0], nil
}

// A mailServer speaks SMTP with STARTTLS, and takes mail of who has logged in.
type mailServer struct {
	inbox
	addr, password string
}

type session struct {
	server *mailServer
	in     bool
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if s.in = user == "appio" && password == s.server.password; !s.in {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func (s *session) Mail(string, *smtp.MailOptions) error {
	if !s.in {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (s *session) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (s *session) Reset()                               {}
func (s *session) Logout() error                        { return nil }

// Data reads a mail as mail programs do.
func (s *session) Data(r io.Reader) error {
	m, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, name := range []string{"From", "To", "Subject"} {
		text, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get(name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s: %s\n", name, text)
	}
	plain, err := plainPart(m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), m.Body)
	if err != nil {
		return err
	}
	b.WriteString("\n" + strings.TrimSpace(strings.ReplaceAll(plain, "\r\n", "\n")) + "\n")
	s.server.put(b.String())
	return nil
}

var errNoText = errors.New("a mail without plain text")

// plainPart is the first part of a mail that is plain text.
func plainPart(contentType, encoding string, r io.Reader) (string, error) {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return "", err
	}
	switch {
	case media == "text/plain":
		if strings.EqualFold(encoding, "quoted-printable") {
			r = quotedprintable.NewReader(r)
		}
		text, err := io.ReadAll(r)
		return string(text), err
	case strings.HasPrefix(media, "multipart/"):
		for parts := multipart.NewReader(r, params["boundary"]); ; {
			p, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				return "", errNoText
			}
			if err != nil {
				return "", err
			}
			text, err := plainPart(p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p)
			if !errors.Is(err, errNoText) {
				return text, err
			}
		}
	}
	return "", errNoText
}

// A pushService takes what it cannot read, and brings it to the browser.
type pushService struct {
	inbox
	browser *pushtest.Browser
	url     string // of the browser's subscription
	port    uint16
}

func (s *pushService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4096))
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	text, err := s.browser.Decrypt(body) // far from the push service
	var n struct{ Title, Body string }
	if err != nil || json.Unmarshal(text, &n) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.put(fmt.Sprintf("%d bytes of %s for the push service; in the browser:\n%s\n%s\n", len(body), r.Header.Get("Content-Encoding"), n.Title, n.Body))
	w.WriteHeader(http.StatusCreated)
}

// A receiver is told by webhooks whose signature was verified.
type receiver struct {
	inbox
	key  webhook.Key
	url  string
	port uint16
}

func (r *receiver) take(_ context.Context, _ string, body []byte) error {
	var e webhook.Event
	if err := json.Unmarshal(body, &e); err != nil {
		return err
	}
	r.put(fmt.Sprintf("verified: %s of %s, %s\n%s\n", e.Type, e.Data.OrganizationName, e.Data.Content, e.Data.Subject))
	return nil
}

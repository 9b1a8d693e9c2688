package email_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	netmail "net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/email"
)

// A mailServer is a real SMTP server in this process, which keeps what it is sent.
type mailServer struct {
	addr   string
	client *tls.Config
	close  func()
	taken  []byte // by an example

	mu       sync.Mutex
	got      [][]byte
	to       []string
	open     bool                    // no login is needed
	refuse   func(step string) error // asked at MAIL, RCPT and DATA
	refuseTo func(to string) error   // asked at RCPT
	sessions int                     // that are open
	opened   int                     // connections that ever were
	logins   int
}

const (
	user     = "appio"
	password = "correct horse battery staple"
)

// newMailServer starts a server that offers STARTTLS, or speaks TLS from the start; mail is only taken after a login.
func newMailServer(t testing.TB, implicit bool) *mailServer {
	t.Helper()
	s, err := startMailServer(implicit)
	require.NoError(t, err)
	t.Cleanup(s.close)
	return s
}

// exampleServer is one for examples, which have no testing.T.
func exampleServer() *mailServer {
	s, err := startMailServer(false)
	check(err)
	return s
}

func startMailServer(implicit bool) (*mailServer, error) {
	s := &mailServer{}
	server, client, err := certificate()
	if err != nil {
		return nil, err
	}
	s.client = client
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.addr = l.Addr().String()
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sessions++
		return &session{s: s}, nil
	}))
	srv.Domain, srv.TLSConfig, srv.EnableSMTPUTF8, srv.EnableDSN = "mail.example.org", server, true, true
	srv.ErrorLog = quiet{}
	l = &counted{l, s}
	if implicit {
		l = tls.NewListener(l, server)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	s.close = func() {
		_ = srv.Close()
		_ = l.Close() // which Serve may not have taken over yet
		<-done
	}
	return s, nil
}

// counted counts connections: after STARTTLS one has another session.
type counted struct {
	net.Listener
	s *mailServer
}

func (l *counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.s.mu.Lock()
		defer l.s.mu.Unlock()
		l.s.opened++
	}
	return c, err
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// certificate is one for 127.0.0.1, and what trusts it.
func certificate() (server, client *tls.Config, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: roots}, nil
}

type session struct {
	s    *mailServer
	in   bool
	rcpt string
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, u, p string) error {
		if u != user || p != password {
			return smtp.ErrAuthFailed
		}
		s.in = true
		s.s.mu.Lock()
		defer s.s.mu.Unlock()
		s.s.logins++
		return nil
	}), nil
}

func (s *session) asked(step string) error {
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	if s.s.refuse == nil {
		return nil
	}
	return s.s.refuse(step)
}

func (s *session) Mail(string, *smtp.MailOptions) error {
	if !s.in && !s.s.open {
		return smtp.ErrAuthRequired
	}
	return s.asked("MAIL")
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.rcpt = to
	s.s.mu.Lock()
	refuse := s.s.refuseTo
	s.s.mu.Unlock()
	if refuse != nil {
		return refuse(to)
	}
	return s.asked("RCPT")
}

func (s *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := s.asked("DATA"); err != nil {
		return err
	}
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	s.s.got, s.s.to = append(s.s.got, b), append(s.s.to, s.rcpt)
	return nil
}

func (s *session) Reset() {}

func (s *session) Logout() error {
	s.s.mu.Lock()
	defer s.s.mu.Unlock()
	s.s.sessions--
	return nil
}

func (s *mailServer) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

// messages are what the server was sent.
func (s *mailServer) messages(t testing.TB) []*netmail.Message {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*netmail.Message
	for _, b := range s.got {
		m, err := netmail.ReadMessage(strings.NewReader(string(b)))
		require.NoError(t, err)
		all = append(all, m)
	}
	return all
}

// ids are those of the deliveries.
func (s *mailServer) ids(t testing.TB) func() []appio.DeliveryID {
	return func() (ids []appio.DeliveryID) {
		for _, m := range s.messages(t) {
			id, ok := strings.CutSuffix(strings.TrimPrefix(m.Header.Get("Message-ID"), "<"), "@comune.example.org>")
			require.True(t, ok)
			ids = append(ids, appio.DeliveryID(id))
		}
		return ids
	}
}

// options are those of a channel to the server.
func (s *mailServer) options(changes ...func(*email.Options)) *email.Options {
	o := &email.Options{
		Addr: s.addr, TLSConfig: s.client, Username: user, Password: password,
		From:     netmail.Address{Name: "Sportello digitale", Address: "avvisi@comune.example.org"},
		Withdraw: "https://io.example.org/email/stop", Validate: "https://io.example.org/email/conferma",
	}
	for _, change := range changes {
		change(o)
	}
	return o
}

// open makes a channel that is closed when the test ends.
func open(t testing.TB, o *email.Options) *email.Channel {
	t.Helper()
	c, err := email.New(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func delivery(changes ...func(*appio.Delivery)) appio.Delivery {
	d := appio.Delivery{
		ID: "4QF2XK7BWM3TZ6N5RHJD8VYPCA", Channel: appio.Email, Attempt: 1, Content: appio.Full, Withdraw: "token-that-withdraws", Bounce: strings.Repeat("token-that-bounces", 10),
		Address: appio.Address{ID: "home", Channel: appio.Email, Value: "maria.bianchi@example.org"}, Message: "01KEAF3V4N5W7Q0Z8X2C6B1M9D",
		Service: "mensa", ServiceName: "Mensa scolastica", OrganizationName: "Comune di Esempio",
		Subject: "Mensa scolastica: retta di ottobre", Markdown: "Gentile cittadina, la retta della mensa di ottobre è pronta. " + strings.Repeat("Grazie. ", 10),
	}
	for _, change := range changes {
		change(&d)
	}
	return d
}

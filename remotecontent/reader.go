package remotecontent

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/netguard"
)

// Options say what may be reached, and the bounds. Nil is as good as their zero value.
type Options struct {
	// Allow has addresses that may be connected to although they are not public, as those of a system in the host's own network.
	Allow []netip.Prefix
	// Deny has addresses that may not be, although they are public or in Allow.
	Deny []netip.Prefix
	// Ports are those that may be connected to. Nil: 443, and with Insecure 80.
	Ports []uint16
	// Insecure admits http, by which everybody on the way reads along. It is for tests.
	Insecure bool
	TLS      *tls.Config   // nil: the roots of this machine. A configuration's own certificate and roots are put into a copy
	Resolver *net.Resolver // nil: that of the system

	Timeout  time.Duration // until a system answers, and all of it but a document has come; 0: 10 s
	Transfer time.Duration // until a document has come whole; 0: 60 s

	MaxMessage  int64 // the most bytes of what a system says of a message; 0: 256 KiB
	MaxDocument int64 // the most bytes of a document; 0: 10 MiB

	// Concurrent is how many requests to the system of one configuration there may be at a time, and an eighth of it, but 4 at least, for
	// one citizen, who may read slowly; more are appio.ErrLimited. 0: 64.
	Concurrent int

	// Sign adds to a request what a system wants that asks for requests signed by the citizen's app (IO's Lollipop headers), which the host has from
	// the request that it serves. Nil: what such systems have cannot be opened.
	Sign func(ctx context.Context, of fiscalcode.Person, req *http.Request) error
}

// A Reader fetches. It keeps some idle connections, is safe for concurrent use, and needs no end.
type Reader struct {
	e *appio.Engine
	o Options

	mu      sync.Mutex
	clients map[[sha256.Size]byte]*netguard.Client // by certificates
	asking  map[asker]int
}

// An asker is a citizen who asks a configuration's system; without one, all of them.
type asker struct {
	of  appio.ConfigurationID
	who fiscalcode.Person
}

// maxClients is where all are forgotten, to begin again.
const maxClients = 256

// New makes a reader. It copies o. An error is an [appio.FieldError].
func New(e *appio.Engine, o *Options) (*Reader, error) {
	if o == nil {
		o = &Options{}
	}
	r := &Reader{e: e, o: *o, clients: map[[sha256.Size]byte]*netguard.Client{}, asking: map[asker]int{}}
	if min(o.Timeout, o.Transfer) < 0 || min(o.MaxMessage, o.MaxDocument) < 0 || o.Concurrent < 0 {
		return nil, &appio.FieldError{Field: "Options", Rule: "not negative"}
	}
	r.o.Timeout, r.o.Transfer = cmp.Or(o.Timeout, 10*time.Second), cmp.Or(o.Transfer, time.Minute)
	r.o.MaxMessage, r.o.MaxDocument = cmp.Or(o.MaxMessage, 256<<10), cmp.Or(o.MaxDocument, 10<<20)
	r.o.Concurrent = cmp.Or(o.Concurrent, 64)
	if r.o.TLS == nil {
		r.o.TLS = &tls.Config{}
	}
	return r, nil
}

// Check tells whether the systems of a configuration may be asked, as far as that can be told before their names are resolved, and whether
// their certificates can be used: for where an organization enters them. An error is an [appio.FieldError].
func (r *Reader) Check(c appio.RemoteConfiguration) error {
	if err := c.Validate(); err != nil {
		return err
	}
	for field, s := range map[string]*appio.RemoteSystem{"Production": c.Production, "Test": c.Test} {
		if s == nil {
			continue
		}
		if _, err := trust(s, r.o.TLS); err != nil {
			return &appio.FieldError{Field: field + ".Certificate", Rule: "a certificate, its private key, and roots, in PEM"}
		}
		client, err := r.client(s)
		if err != nil {
			return err
		}
		if u, err := url.Parse(s.URL); err != nil || client.Check(u) != nil {
			return &appio.FieldError{Field: field + ".URL", Rule: "an absolute URL of https without user, query and fragment, on an allowed port, at an allowed address"}
		}
	}
	return nil
}

// client is one for a system's certificates.
func (r *Reader) client(s *appio.RemoteSystem) (*netguard.Client, error) {
	key := sha256.Sum256([]byte(strings.Join([]string{s.Certificate, s.PrivateKey, s.Roots}, "\x00")))
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.clients[key]; c != nil {
		return c, nil
	}
	config, err := trust(s, r.o.TLS)
	if err != nil {
		return nil, wrong("its certificates cannot be used")
	}
	if len(r.clients) >= maxClients {
		for _, c := range r.clients {
			c.CloseIdle()
		}
		clear(r.clients)
	}
	c := netguard.New(&netguard.Options{
		Allow: r.o.Allow, Deny: r.o.Deny, Ports: r.o.Ports, Insecure: r.o.Insecure, TLS: config, Resolver: r.o.Resolver,
		Timeout: max(r.o.Timeout, r.o.Transfer), MaxBody: max(r.o.MaxMessage, r.o.MaxDocument),
	})
	r.clients[key] = c
	return c, nil
}

var errCertificate = errors.New("a certificate, key or root cannot be read")

// trust is base with a system's own certificates. Its errors say nothing of them.
func trust(s *appio.RemoteSystem, base *tls.Config) (*tls.Config, error) {
	config := base.Clone()
	if s.Certificate != "" {
		pair, err := tls.X509KeyPair([]byte(s.Certificate), []byte(s.PrivateKey))
		if err != nil {
			return nil, errCertificate
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if s.Roots != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(s.Roots)) {
			return nil, errCertificate
		}
	}
	return config, nil
}

// enter takes a place among those who ask a configuration's system; leave gives it back.
func (r *Reader) enter(id appio.ConfigurationID, who fiscalcode.Person) (leave func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all, one := asker{of: id}, asker{id, who}
	if r.asking[all] >= r.o.Concurrent || r.asking[one] >= max(r.o.Concurrent/8, 4) {
		return nil, &appio.LimitedError{After: time.Second}
	}
	r.asking[all]++
	r.asking[one]++
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, a := range []asker{all, one} {
			if r.asking[a]--; r.asking[a] == 0 {
				delete(r.asking, a)
			}
		}
	}), nil
}

var errSlow = errors.New("no answer in time")

// ask asks a message's system for something below the message, and answers with what it says, whose body must be closed. Until in time is called, or
// the body is closed, Options.Timeout goes on.
func (r *Reader) ask(ctx context.Context, m *appio.InboxMessage, path, query, accept string) (resp *http.Response, inTime func() bool, err error) {
	c, err := r.e.RemoteConfigurationFor(ctx, m.Remote, m.To)
	if err != nil {
		return nil, nil, err
	}
	s := c.System(m.To)
	if s == nil {
		return nil, nil, errNoSystem
	}
	client, err := r.client(s)
	if err != nil {
		return nil, nil, err
	}
	leave, err := r.enter(c.ID, m.To)
	if err != nil {
		return nil, nil, err
	}
	inner, cancel := context.WithCancelCause(ctx)
	slow := time.AfterFunc(r.o.Timeout, func() { cancel(errSlow) })
	end := func() {
		slow.Stop()
		cancel(nil)
		leave()
	}
	defer func() {
		if resp == nil { // also after a panic of Sign
			end()
		}
	}()
	target := strings.TrimRight(s.URL, "/") + "/messages/" + url.PathEscape(m.Remote.ID) + path
	req, err := http.NewRequestWithContext(inner, http.MethodGet, target, http.NoBody)
	if err != nil {
		return nil, nil, wrong("its URL cannot be asked")
	}
	req.URL.RawQuery = query
	req.Header["fiscal_code"] = []string{string(m.To)} // as IO writes it
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "appio")
	req.Header.Set(s.Header, s.Key)
	if c.Signed && !slices.Contains(c.Unsigned, m.To) {
		if r.o.Sign == nil {
			return nil, nil, errUnsigned
		}
		if err := r.o.Sign(inner, m.To, req); err != nil {
			return nil, nil, err
		}
	}
	answer, err := client.Do(req)
	if err != nil {
		return nil, nil, failed(ctx, err)
	}
	if answer.StatusCode != http.StatusOK {
		_ = answer.Body.Close()
		return nil, nil, refused(answer)
	}
	answer.Body = &ending{answer.Body, ctx, end}
	return answer, slow.Stop, nil
}

var (
	errNoSystem = fmt.Errorf("%w: the configuration has no system for the citizen", appio.ErrUnsupported)
	errUnsigned = fmt.Errorf("%w: the system asks for signed requests", appio.ErrUnsupported)
)

// An ending body ends its request when it is closed. Its errors have nothing of the system's.
type ending struct {
	io.ReadCloser
	ctx context.Context // of the caller
	end func()
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = failed(e.ctx, err)
	}
	return n, err
}

func (e *ending) Close() error {
	e.end()
	_ = e.ReadCloser.Close()
	return nil
}

package email

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio"
)

// Options are what a [Channel] is made of. Addr and From have no default.
type Options struct {
	// Addr is the host's mail server, with its port: "smtp.example.org:587". The name is the one that its certificate must have.
	Addr string
	// TLS is how the connection is protected; zero: StartTLS, without which nothing is sent.
	TLS TLS
	// TLSConfig is used for it. Nil: the system's roots, TLS 1.2 or newer, the name in Addr.
	TLSConfig *tls.Config
	// Username and Password log in with the best of SCRAM-SHA-256, PLAIN and LOGIN that the server offers; the last two only where
	// the connection is protected, or the server is this machine. Empty: no login.
	Username, Password string
	// Hello is the name that the server is told. Empty: Domain.
	Hello string
	// Dial makes connections. Nil: net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Connections is the most at a time, 1 to 1,000; more calls wait. 0: 16, as Route.Workers.
	Connections int
	// Idle is how long a connection waits for the next message before it is closed. 0: 30 seconds.
	Idle time.Duration
	// Pause is how long the engine is asked to wait when the server says that there is too much. 0: 5 minutes.
	Pause time.Duration

	// From is the sender. The name is shown where a service has no organization, and for validations.
	From mail.Address
	// Return is the address that mail comes back to, when it cannot be delivered: see [ParseBounce]. Empty: that of From.
	Return string
	// Domain is that of Message-IDs. Empty: that of From.
	Domain string
	// DKIM signs. Nil: it is somebody else's to sign, and mail has no List-Unsubscribe, which providers only believe signed.
	DKIM *DKIM

	// Platform is what the whole is called, in the foot of each mail. Empty: the name of From, or Domain.
	Platform string
	// Body is how much of a Full delivery's text is shown; zero: a preview.
	Body Body
	// Message is where a message can be read, which the mail has a link to: an https URL, of which it must not depend who the reader is.
	// Nil, or what is no https URL: no link.
	Message func(appio.MessageID) string
	// Withdraw is the https URL of a [WithdrawHandler], to which ?t= and the token are added. Empty: no link, no List-Unsubscribe.
	Withdraw string
	// Validate is the https URL of a [ValidationHandler], likewise. Empty: SendValidation is appio.ErrUnsupported.
	Validate string
	// Logo is a PNG, JPEG or GIF of at most 100 KB, which each mail brings with it: nothing is ever loaded from elsewhere. LogoText
	// says what it shows; empty: Platform. Nil: no logo.
	Logo     []byte
	LogoText string

	// Now is the clock of the Date field. Nil: time.Now.
	Now func() time.Time
}

// TLS is how a connection to the mail server is protected.
type TLS int

const (
	StartTLS      TLS = iota // STARTTLS; a server without it is not used
	Implicit                 // TLS from the first byte, as on port 465
	Opportunistic            // STARTTLS where the server offers it: who sits in between can take the offer away
	Plain                    // never, for a server on this machine or a network of its own
)

// Body is how much of a text an e-mail shows where it may show all.
type Body int

const (
	// Preview is IO's rule: the first 134 characters as plain text, without links, and what it says of a payment and a deadline.
	// Who wants to know more reads the message where it is.
	Preview Body = iota
	// Whole is the whole text, with its headings, lists, tables and links, without pictures.
	Whole
)

// DKIM is a domain key (RFC 6376).
type DKIM struct {
	Domain   string        // that of From, or one above it
	Selector string        // the public key stands at Selector._domainkey.Domain
	Key      crypto.Signer // *rsa.PrivateKey of 2,048 bits or more, or ed25519.PrivateKey
}

const maxLogo = 100 << 10

// logoTypes are the kinds of pictures that mail programs show, and how they end.
var logoTypes = map[string]string{"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif"}

// complete checks the options and sets what was left out. It returns the host's name, and the logo's type.
func (o *Options) complete() (host, logo string, err error) {
	host, port, err := net.SplitHostPort(o.Addr)
	if err != nil || host == "" || port == "" {
		return "", "", invalid("Addr", "a host and a port")
	}
	from, err := parseAddress(o.From.Address)
	if err != nil || !from.ascii {
		return "", "", invalid("From", "an e-mail address in ASCII")
	}
	o.From.Name = clean(o.From.Name)
	if o.Return == "" {
		o.Return = o.From.Address
	}
	if a, err := parseAddress(o.Return); err != nil || !a.ascii {
		return "", "", invalid("Return", "an e-mail address in ASCII")
	}
	if o.Domain == "" {
		o.Domain = from.domain
	}
	if o.Hello == "" {
		o.Hello = o.Domain
	}
	if d, err := domain(o.Domain); err != nil || d != o.Domain {
		return "", "", invalid("Domain", "the name of a domain, in lower case")
	}
	if d, err := domain(o.Hello); err != nil || d != o.Hello {
		return "", "", invalid("Hello", "the name of a domain, in lower case")
	}
	if o.Platform == "" {
		o.Platform = o.From.Name
	}
	if o.Platform == "" {
		o.Platform = o.Domain
	}
	if o.LogoText == "" {
		o.LogoText = o.Platform
	}
	if o.Logo != nil {
		logo = http.DetectContentType(o.Logo)
		if logoTypes[logo] == "" || len(o.Logo) > maxLogo {
			return "", "", invalid("Logo", "a PNG, JPEG or GIF of at most 100 KB")
		}
	}
	switch {
	case o.TLS < StartTLS || o.TLS > Plain:
		return "", "", invalid("TLS", "StartTLS, Implicit, Opportunistic or Plain")
	case o.Body != Preview && o.Body != Whole:
		return "", "", invalid("Body", "Preview or Whole")
	case (o.Username == "") != (o.Password == ""):
		return "", "", invalid("Username", "with Password, or neither")
	case o.Connections < 0 || o.Connections > 1000:
		return "", "", invalid("Connections", "1 to 1000")
	case o.Idle < 0 || o.Pause < 0:
		return "", "", invalid("Idle", "as Pause, not below 0")
	case o.Withdraw != "" && !takesToken(o.Withdraw):
		return "", "", invalid("Withdraw", "an https URL without a query or a comma")
	case o.Validate != "" && !takesToken(o.Validate):
		return "", "", invalid("Validate", "an https URL without a query or a comma")
	}
	if o.DKIM != nil {
		key := *o.DKIM
		o.DKIM = &key
		if err := key.check(from.domain); err != nil {
			return "", "", err
		}
	}
	o.Logo = slices.Clone(o.Logo)
	o.Connections = cmp.Or(o.Connections, 16)
	o.Idle = cmp.Or(o.Idle, 30*time.Second)
	o.Pause = cmp.Or(o.Pause, 5*time.Minute)
	if o.TLSConfig == nil {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	o.TLSConfig = o.TLSConfig.Clone()
	if o.TLSConfig.ServerName == "" {
		o.TLSConfig.ServerName = host
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return host, logo, nil
}

func (k *DKIM) check(from string) error {
	switch key := k.Key.(type) {
	case *rsa.PrivateKey:
		if key == nil || key.N.BitLen() < 2048 {
			return invalid("DKIM.Key", "of 2048 bits or more")
		}
	case ed25519.PrivateKey:
		if len(key) != ed25519.PrivateKeySize {
			return invalid("DKIM.Key", "a whole key")
		}
	default:
		return invalid("DKIM.Key", "*rsa.PrivateKey or ed25519.PrivateKey")
	}
	if d, err := domain(k.Domain); err != nil || d != k.Domain || from != d && !strings.HasSuffix(from, "."+d) {
		return invalid("DKIM.Domain", "that of From, or one above it")
	}
	if _, err := domain(k.Selector); err != nil {
		return invalid("DKIM.Selector", "as in the name of its record")
	}
	return nil
}

// https is the URL of a page, or nil.
func https(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.ContainsAny(s, " <>\"\r\n\t") || !isASCII(s) {
		return nil
	}
	return u
}

// takesToken reports whether a token can be added to a URL, which may then stand in a header.
func takesToken(s string) bool {
	u := https(s)
	return u != nil && !strings.ContainsAny(s, "?#,")
}

func invalid(field, rule string) error {
	return fmt.Errorf("email: %w", &appio.FieldError{Field: "Options." + field, Rule: rule})
}

var errClosed = errors.New("email: the channel is closed")

package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/remotecontent"
)

// Options configures a Handler. A nil *Options is a zero one: paths for services, none for citizens. How often a service may send and ask,
// a key may be used for managing, and a citizen may change something, or ask about notices and addresses, is up to the engine:
// appio.Options.SendRate, ContactRate and those that are named there.
type Options struct {
	// Citizen says which citizen makes a request, as the host's login knows them, by a session's token for example. An error that is
	// appio.ErrUnauthorized (nobody is logged in) answers 401, appio.ErrForbidden 403, any other 500, and is logged. Nil: there are no
	// paths for citizens. Where it goes by a cookie, what another site's page asks for is 403: a browser says so in Sec-Fetch-Site. A request
	// with an Authorization header is not looked at.
	Citizen func(*http.Request) (appio.Identity, error)

	// Person says what the login knows of the citizen who makes a request beside that, after Citizen has said who it is. Nil: nothing, and
	// an app shows no name.
	Person func(*http.Request) Person

	// Validate sends the mail by which citizens prove a new e-mail address, as Channel.SendValidation of channel/email does; whoever
	// redeems what is in it calls Engine.ConfirmAddress. It is called once a minute at most for an address, and as often as a citizen enters
	// another one. It returns when the mail is handed over. Nil: no mail is sent, and to ask for one
	// answers 501. For IO's rule that an address is proved by one citizen alone (412), the e-mail route of the engine says Unique.
	Validate func(ctx context.Context, v appio.Validation) error

	// Send is the special service whose activation the app's switch for SEND's courtesy notices (/send/activation) sets, in the service's
	// name; SendTest is the one that stands in with isTest=true. Empty: there is none, 404.
	Send, SendTest appio.ServiceID

	// Remote fetches what messages have in their senders' systems, and gives out the documents that they carry. Nil: nothing is, 501.
	Remote *remotecontent.Reader

	// Addr says where a request comes from, for services that allow their keys from some addresses only. Nil: Request.RemoteAddr, which
	// behind a proxy is the proxy's: the host then reads the header that its own proxy sets, and no other's. The zero Addr is an address
	// that nobody knows: no key may be used from there that is bound to some.
	Addr func(*http.Request) netip.Addr

	// CloseProfiles answers 403 to every question about a profile (POST and GET /profiles), which tell a sender whether a person uses the
	// platform. Senders do not need them: sending is not told apart for who is unknown and who refused.
	CloseProfiles bool

	// MaxBody is the most that a body may have, in bytes, where its path has no bound of its own; 0: 256 KiB, which the longest message fits
	// into however it is escaped.
	MaxBody int64

	// BodyTimeout is how long a body may take to arrive; 0: 10 s. Timeout is how long a request may take after that, and its answer to be
	// written after that again; 0: 30 s. Both need a ResponseWriter whose deadlines http.ResponseController can set, as those of net/http.
	BodyTimeout, Timeout time.Duration

	// Logger gets what failed on this side: answers of 500 and panics. Nil: slog.DiscardHandler.
	Logger *slog.Logger

	// Served is told of each answer: the pattern of the path ("POST /api/v1/messages"; empty: there is none), the status, and how long it
	// took. It is called concurrently and must not block. Nil: nobody is.
	Served func(route string, status int, took time.Duration)
}

func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	if c.Addr == nil {
		c.Addr = remoteAddr
	}
	if c.MaxBody <= 0 {
		c.MaxBody = 256 << 10
	}
	if c.BodyTimeout <= 0 {
		c.BodyTimeout = 10 * time.Second
	}
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func remoteAddr(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}

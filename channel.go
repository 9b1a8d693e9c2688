package appio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/verdict"
)

// A Route is a channel under the name that citizens choose it by, and what the consent rule lets it show. The zero rules are
// the strict ones, and those of e-mail: off until chosen, only to a validated address, nothing of a secure service.
type Route struct {
	Name    string // [a-z][a-z0-9-]*, at most 32 bytes
	Channel Channel

	Default     Content // once a citizen chose a mode. Push: Generic.
	Secure      Content // the most for a secure service or message. Push: Generic.
	Unvalidated bool    // addresses need no proof. Push: true.
	Unique      bool    // of those who prove the same address only the first can; its case does not matter. It holds for what is proved from then on. Not with Unvalidated or ByCode.
	Reminders   bool    // reminders go by it too. Push: true.
	Interrupts  bool    // it disturbs who gets it, and keeps the citizen's quiet hours. Push: true.
	Bounces     bool    // deliveries have a token for Engine.Bounced. Not with Unvalidated or ByCode.
	ByCode      bool    // the channel itself knows where people are: deliveries have To and no Address

	Fallback Fallback // zero: it is used in any case

	Timeout time.Duration // of one delivery; 0: Options.DeliverTimeout, with the same bound
	Workers int           // calls of the channel at a time; 0: 16
	Rate    float64       // deliveries a second by one engine, as many as in a second at once; 0: no limit
	Breaker Breaker       // when the channel is left alone for a while
}

// A Fallback says that a route is used only for messages that another one did not get read. Each needs the citizen's consent for itself:
// to stand in for a channel is not to be allowed what that is.
//
// It goes After the time at which the other may first deliver, unless the citizen has read or archived the message by then. It goes at
// once where the other fails for good: refused when its turn comes, parked, or at an address that is gone; and at once, whether the
// message is read or not, where the other may not be used to begin with. Where the other's time to live passes, so does its own;
// otherwise that counts from when it goes. A fallback of a fallback keeps its time, which is after both. Quiet hours
// that put the other off put off what stands in for it; a pause does not. Reminders know none.
type Fallback struct {
	Of    string        // name of the other route; empty: no fallback
	After time.Duration // at most 30 days
}

const maxFallback = 30 * 24 * time.Hour

// A Channel carries messages out of the engine.
type Channel interface {
	// Deliver tries once and returns when the provider has taken or refused the message; the engine retries. nil means
	// delivered; an error means later, unless marked by [Permanent], [RetryAfter] or [Gone]. A panic is an error. It may be
	// called concurrently, must end soon after ctx does, may keep d, keeps no queue, and starts nothing that outlives the
	// call. It may be called again with the same d.ID after a crash: pass the id on to the provider.
	Deliver(ctx context.Context, d Delivery) error
}

// A BatchChannel is a Channel whose provider takes many at once; the engine then calls DeliverBatch alone, with at most one
// delivery for each citizen. errs[i] is of ds[i]; nil: all delivered. A revocation waits for the whole batch: it cannot be
// cancelled for one.
type BatchChannel interface {
	Channel
	DeliverBatch(ctx context.Context, ds []Delivery) (errs []error)
}

// ChannelFunc makes a [Channel] of a function.
type ChannelFunc func(ctx context.Context, d Delivery) error

// Deliver calls f.
func (f ChannelFunc) Deliver(ctx context.Context, d Delivery) error { return f(ctx, d) }

// A DeliveryID is random and says nothing about the person or the message.
type DeliveryID string

// A Delivery is one message on its way to one address of one channel. It holds no more than the channel may show.
type Delivery struct {
	ID       DeliveryID // the same on every attempt
	Channel  string
	Attempt  int // from 1
	Content  Content
	Address  Address           // zero with Route.ByCode
	To       fiscalcode.Person // empty unless Route.ByCode
	Language string            // the citizen's first; empty: not chosen
	Reminder ReminderKind      // that it is; empty: the message itself
	Digest   *Digest           // that it is; nil: it is of one message
	Withdraw string            // a token that withdraws this service's use of this channel; see Engine.Withdraw
	Bounce   string            // with Route.Bounces: a token that says that the address takes nothing; see Engine.Bounced

	Message          MessageID
	Service          ServiceID
	ServiceName      string
	OrganizationName string
	Subject          string // empty if Content is Generic
	Markdown         string // empty if Content is Generic
	TextLanguage     string // of both, by Message.In; empty: not said, or Content is Generic
	Due              time.Time
	Payment          *Notice   // nil if Content is Generic
	ExpiresAt        time.Time // no attempt starts later
}

// LogValue has no code, address or text.
func (d Delivery) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", string(d.ID)), slog.String("channel", d.Channel), slog.Int("attempt", d.Attempt),
		slog.String("content", d.Content.String()), slog.String("service", string(d.Service)))
}

// String is that of LogValue: a delivery that is printed shows nothing of a person.
func (d Delivery) String() string { return "delivery " + string(d.ID) + " by " + d.Channel }

// Permanent marks an error that no further attempt can mend: the delivery is parked with it.
func Permanent(err error) error { return &verdict.Error{Err: orNil(err), Verdict: verdict.Permanent} }

// RetryAfter marks an error with the time that the provider asked for: the next attempt is not before.
func RetryAfter(d time.Duration, err error) error {
	return &verdict.Error{Err: orNil(err), After: max(d, 0)}
}

// Gone marks an error that means the address no longer exists: it is removed from the profile.
func Gone(err error) error { return &verdict.Error{Err: orNil(err), Verdict: verdict.Gone} }

func orNil(err error) error {
	if err == nil {
		return errors.New("no cause given")
	}
	return err
}

// channelNames and limits of the routes.
const (
	defaultWorkers = 16
	maxRoutes      = 50
)

func validRoutes(routes []Route, o *Options) error {
	if len(routes) > maxRoutes {
		return invalid("Options.Channels", fmt.Sprintf("at most %d", maxRoutes))
	}
	names := map[string]bool{}
	for i := range routes {
		r := &routes[i]
		field := fmt.Sprintf("Options.Channels[%d]", i)
		if r.Timeout == 0 {
			r.Timeout = o.DeliverTimeout
		}
		if r.Workers == 0 {
			r.Workers = defaultWorkers
		}
		switch {
		case !validChannelName(r.Name):
			return invalid(field+".Name", channelNameRule)
		case names[r.Name]:
			return invalid(field+".Name", "unique")
		case r.Channel == nil:
			return invalid(field+".Channel", "not nil")
		case r.Default > Full || r.Secure > Full:
			return invalid(field, "Default and Secure: None, Generic or Full")
		case r.Bounces && (r.Unvalidated || r.ByCode):
			return invalid(field+".Bounces", "only for addresses that need proof")
		case r.Unique && (r.Unvalidated || r.ByCode):
			return invalid(field+".Unique", "only for addresses that need proof")
		case r.Timeout < 0 || r.Timeout > o.longest():
			return invalid(field+".Timeout", "at most nine tenths of Options.Lease, less Margin")
		case r.Workers < 0 || r.Workers > 10_000:
			return invalid(field+".Workers", "1 to 10000")
		case !validRate(r.Rate):
			return invalid(field+".Rate", "0 to 1e9")
		case !r.Breaker.complete():
			return invalid(field+".Breaker", "a Share of 0 to 1, and the others 0 or more, Longest no less than Open")
		}
		names[r.Name] = true
	}
	return validFallbacks(routes)
}

func validFallbacks(routes []Route) error {
	of := map[string]string{}
	for i := range routes {
		of[routes[i].Name] = routes[i].Fallback.Of
	}
	for i := range routes {
		f := routes[i].Fallback
		if f == (Fallback{}) {
			continue
		}
		field := fmt.Sprintf("Options.Channels[%d].Fallback", i)
		if f.After <= 0 || f.After > maxFallback {
			return invalid(field+".After", "above 0, at most 30 days")
		}
		name, steps := f.Of, 0
		for ; name != ""; name = of[name] {
			if _, ok := of[name]; !ok {
				return invalid(field+".Of", "the name of another route")
			}
			if steps++; steps > len(routes) {
				return invalid(field+".Of", "no circle")
			}
		}
		if steps == 0 {
			return invalid(field+".Of", "the name of another route")
		}
	}
	return nil
}

// route is the one with this name; nil: there is none.
func (e *Engine) route(name string) *Route {
	for i := range e.opts.Channels {
		if r := &e.opts.Channels[i]; r.Name == name {
			return r
		}
	}
	return nil
}

// A ParkedDelivery gave up and waits for the operator: see [Engine.Replay].
type ParkedDelivery struct {
	ID       DeliveryID
	Channel  string
	Service  ServiceID
	Message  MessageID
	Attempts int
	Cause    string // of the last failure, cut to 200 bytes, without the recipient's code and address
	At       time.Time
}

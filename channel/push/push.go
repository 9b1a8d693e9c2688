package push

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/netguard"
)

// Options are the providers that a channel sends through; at least one is needed.
type Options struct {
	Web  *WebPush         // nil: nothing is sent to browsers
	APNs *Apple           // nil: nor to Apple's devices
	FCM  *Firebase        // nil: nor through Google's
	Text TextFunc         // what is shown; nil: the texts of this package, in Italian and English
	Now  func() time.Time // nil: time.Now
}

// A TextFunc says what a notification shows: for hosts with other languages. It must show no more than d.Content allows. Line breaks
// become blanks, and what is too long is cut.
type TextFunc func(d appio.Delivery) (title, body string)

// A Channel sends to installations. It may be used concurrently; there is nothing to close.
type Channel struct {
	by   map[Platform]sender
	text TextFunc
	now  func() time.Time
}

// A sender tries once to send a notification.
type sender interface {
	send(ctx context.Context, to Installation, n *notification) error
}

// New makes a channel. An error is an [appio.FieldError], and has nothing of a key.
func New(o *Options) (*Channel, error) {
	if o == nil || o.Web == nil && o.APNs == nil && o.FCM == nil {
		return nil, &appio.FieldError{Field: "Options", Rule: "Web, APNs or FCM"}
	}
	c := &Channel{by: map[Platform]sender{}, text: o.Text, now: wall(o.Now)}
	if o.Web != nil {
		w, err := newWebPush(o.Web, c.now)
		if err != nil {
			return nil, err
		}
		c.by[Web] = w
	}
	if o.APNs != nil {
		a, err := newAPNs(o.APNs, c.now)
		if err != nil {
			return nil, err
		}
		c.by[APNs], c.by[APNsSandbox] = a, a
	}
	if o.FCM != nil {
		f, err := newFCM(o.FCM, c.now)
		if err != nil {
			return nil, err
		}
		c.by[FCM] = f
	}
	return c, nil
}

// wall is what a clock says, without the monotonic reading by which package time compares if it can. Providers judge a token by the time of
// day that stands in it: that leaps when a clock is put right, and goes on while a machine sleeps, and the other does neither.
func wall(now func() time.Time) func() time.Time {
	if now == nil {
		now = time.Now
	}
	return func() time.Time { return now().Round(0) }
}

// Route is the channel as platforms offer it: on with the first choice, but showing no more than that there is a message; an
// installation needs no proof, since only who holds it knows it; reminders go by it too, and it keeps quiet hours.
func (c *Channel) Route() appio.Route {
	return appio.Route{
		Name: appio.Push, Channel: c, Default: appio.Generic, Secure: appio.Generic, Unvalidated: true, Reminders: true,
		Interrupts: true,
	}
}

// Deliver tries once to send to the installation that d.Address.Value is.
func (c *Channel) Deliver(ctx context.Context, d appio.Delivery) error {
	to, err := Parse(d.Address.Value)
	if err != nil {
		return appio.Permanent(err)
	}
	by, ok := c.by[to.Platform]
	if !ok {
		return appio.Permanent(errors.New("push: nothing is sent by " + string(to.Platform) + " here"))
	}
	return by.send(ctx, to, c.notification(&d))
}

// provider is a client for a service that the host has chosen. Redirects are not followed.
func provider(own *http.Client, only2 bool) *http.Client {
	c := &http.Client{}
	if own != nil {
		*c = *own
	} else if t, ok := http.DefaultTransport.(*http.Transport); ok {
		t = t.Clone()
		t.MaxResponseHeaderBytes = maxAnswer
		t.HTTP2 = netguard.Pings()
		t.HTTP2.MaxReceiveBufferPerStream = maxAnswer // it is 4 MiB otherwise, of each answer
		if only2 {
			t.Protocols = new(http.Protocols)
			t.Protocols.SetHTTP2(true)
		}
		c.Transport = t
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// maxAnswer is the most of an answer that is read, and of its headers.
const maxAnswer = 64 << 10

// read is what an answer says, and nothing if that is too long or breaks off: its status has been heard.
func read(resp *http.Response) []byte {
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil || len(b) > maxAnswer {
		return nil
	}
	return b
}

// code is what a provider calls an error, if it looks like a name. Other texts may hold anything, such as what was sent.
func code(s string) string {
	for _, r := range s {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return ""
		}
	}
	if s == "" || len(s) > 64 {
		return ""
	}
	return " " + s
}

// answered is the error for an answer, with the provider's name for it.
func answered(by string, status int, reason string) error {
	return errors.New("push: " + by + " answered " + strconv.Itoa(status) + code(reason))
}

// later marks an error with the pause that the provider asks for, if it does; 0 is the pause if it does not.
func later(err error, resp *http.Response, now time.Time, otherwise time.Duration) error {
	if after := cmp.Or(netguard.RetryAfter(resp.Header.Get("Retry-After"), now), otherwise); after > 0 {
		return appio.RetryAfter(after, err)
	}
	return err
}

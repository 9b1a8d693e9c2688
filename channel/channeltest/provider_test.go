package channeltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/conformance"
)

// An outlet is a provider in memory that can fail.
type outlet struct {
	provider
	asked atomic.Int64
	mu    sync.Mutex
	fault Fault
	only  []appio.DeliveryID
}

func (o *outlet) meet(f Fault, only ...appio.DeliveryID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fault, o.only = f, only
	return true
}

// meets is the fault that a delivery meets with.
func (o *outlet) meets(id appio.DeliveryID) Fault {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.only) > 0 && !slices.Contains(o.only, id) {
		return Works
	}
	return o.fault
}

// send is what a client of this provider does: the fault it met with, and an error that says too much.
func (o *outlet) send(ctx context.Context, d appio.Delivery) (Fault, error) {
	o.asked.Add(1)
	f := o.meets(d.ID)
	if f == Works || f == Lost {
		o.take(d.ID)
	}
	if f == Hangs || f == Endless {
		<-ctx.Done()
	}
	if f == Works {
		return f, nil
	}
	return f, fmt.Errorf("%s %s: %q", f, d.Address.Value, d.Subject)
}

// meaning is what a fault means, in words that say nothing.
func meaning(f Fault) error {
	err := fmt.Errorf("the provider %s", f)
	switch f {
	case Works:
		return nil
	case Pauses:
		return appio.RetryAfter(PauseOf, err)
	case Refuses:
		return appio.Permanent(err)
	case Gone:
		return appio.Gone(err)
	}
	return err
}

// sound makes the attempt and says what it means.
func (o *outlet) sound(ctx context.Context, d appio.Delivery) error {
	f, _ := o.send(ctx, d)
	return meaning(f)
}

func (o *outlet) open() *Provider {
	return &Provider{Got: o.got, Asked: func() int { return int(o.asked.Load()) }, Meet: o.meet}
}

func TestFaultsPassSoundChannels(t *testing.T) {
	t.Run("one in memory", func(t *testing.T) {
		RunFaults(t, func(*testing.T) (appio.Channel, *Provider) {
			o := &outlet{}
			return appio.ChannelFunc(o.sound), o.open()
		})
	})
	t.Run("one that takes batches", func(t *testing.T) {
		RunFaults(t, func(*testing.T) (appio.Channel, *Provider) {
			o := &outlet{}
			return &batcher{Channel: appio.ChannelFunc(o.sound)}, o.open()
		})
	})
	t.Run("one that speaks HTTP", func(t *testing.T) {
		RunFaults(t, func(t *testing.T) (appio.Channel, *Provider) {
			o := &outlet{}
			server := httptest.NewServer(o)
			t.Cleanup(server.Close)
			client := server.Client()
			t.Cleanup(client.CloseIdleConnections)
			return appio.ChannelFunc(func(ctx context.Context, d appio.Delivery) error {
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, strings.NewReader(string(d.ID)))
				if err != nil {
					return appio.Permanent(err)
				}
				resp, err := client.Do(req)
				if err != nil {
					return errors.New("no answer")
				}
				defer resp.Body.Close()
				return meaning(map[int]Fault{200: Works, 429: Pauses, 422: Refuses, 410: Gone, 401: Credentials, 503: Busy}[resp.StatusCode])
			}), o.open()
		})
	})
}

// ServeHTTP is an outlet that speaks HTTP.
func (o *outlet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	id := appio.DeliveryID(body)
	o.asked.Add(1)
	switch f := o.meets(id); f {
	case Works:
		o.take(id)
	case Lost:
		o.take(id)
		panic(http.ErrAbortHandler)
	case Breaks:
		panic(http.ErrAbortHandler)
	case Hangs:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case Garbage:
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer func(c net.Conn) { _ = c.Close() }(c)
		_, _ = c.Write([]byte("220 ready\r\n"))
	case Endless:
		w.WriteHeader(http.StatusServiceUnavailable)
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	default:
		w.WriteHeader(map[Fault]int{Pauses: 429, Refuses: 422, Gone: 410, Credentials: 401, Busy: 503}[f])
	}
}

// A provider whose protocol has nothing like a fault is not asked about it.
func TestFaultsThatAProtocolHasNotAreSkipped(t *testing.T) {
	for _, c := range faultChecks {
		o := &outlet{}
		p := o.open()
		p.Meet = func(f Fault, _ ...appio.DeliveryID) bool { return f == Works }
		var had bool
		failures := conformance.Record(t, func(t tester) {
			had = c.run(t, &faulty{subject{&batcher{Channel: appio.ChannelFunc(o.sound)}, o.got}, p})
		})
		require.Empty(t, failures, c.rule)
		require.False(t, had, c.rule)
	}
}

// A faultBug is a channel that breaks one of these rules, and a part of what the suite says about it.
type faultBug struct {
	bug, rule string
	open      func(o *outlet) appio.ChannelFunc
	says      string
}

// but is sound except where a fault is f.
func but(wrong func(f Fault, said error) error, faults ...Fault) func(o *outlet) appio.ChannelFunc {
	return func(o *outlet) appio.ChannelFunc {
		return func(ctx context.Context, d appio.Delivery) error {
			f, said := o.send(ctx, d)
			if slices.Contains(faults, f) {
				return wrong(f, said)
			}
			return meaning(f)
		}
	}
}

var errPlain = errors.New("failed")

func isNil(Fault, error) error     { return nil }
func isPlain(Fault, error) error   { return errPlain }
func isForGood(Fault, error) error { return appio.Permanent(errPlain) }

var faultBugs = []faultBug{
	{"an answer that is not read counts as success", "what the provider has not taken is an error", but(isNil, Breaks), "breaks off"},
	{"a timeout counts as success", "what the provider has not taken is an error", but(isNil, Hangs), "hangs"},
	{"what is not understood counts as success", "what the provider has not taken is an error", but(isNil, Garbage), "speaks another way"},
	{"a refusal counts as done with", "what the provider has not taken is an error", but(isNil, Refuses, Gone), "refuses"},

	{"rejected credentials park everything", "what may go better has no mark", but(isForGood, Credentials), "marked Permanent"},
	{"a provider out of order parks everything", "what may go better has no mark", but(isForGood, Busy), "marked Permanent"},
	{"a broken connection takes the address away", "what may go better has no mark",
		but(func(Fault, error) error { return appio.Gone(errPlain) }, Breaks, Lost), "marked Gone"},
	{"a pause that nobody asked for", "what may go better has no mark",
		but(func(Fault, error) error { return appio.RetryAfter(time.Hour, errPlain) }, Busy), "which it did not ask for"},

	{"the pause is not read", "a pause that the provider asks for is RetryAfter", but(isPlain, Pauses), "pause of 0s"},
	{"seconds are read as milliseconds", "a pause that the provider asks for is RetryAfter",
		but(func(Fault, error) error { return appio.RetryAfter(PauseOf/1000, errPlain) }, Pauses), "want RetryAfter"},
	{"a provider that asks for a pause is given up", "a pause that the provider asks for is RetryAfter", but(isForGood, Pauses), "Permanent"},

	{"a refusal is tried again for days", "a refusal for good is Permanent", but(isPlain, Refuses), "want Permanent"},
	{"a refusal takes the address away", "a refusal for good is Permanent",
		but(func(Fault, error) error { return appio.Gone(errPlain) }, Refuses), "Gone; want Permanent"},
	{"an address stays in the profile", "an address that does not exist is Gone", but(isForGood, Gone), "Permanent; want Gone"},

	{"a retry loop", "one call is one attempt", func(o *outlet) appio.ChannelFunc {
		return func(ctx context.Context, d appio.Delivery) (err error) {
			for range 3 {
				if err = o.sound(ctx, d); err == nil {
					break
				}
			}
			return err
		}
	}, "asked 3 times"},

	{"a fault stays with the channel", "a fault is of its moment", func(o *outlet) appio.ChannelFunc {
		var broken atomic.Bool
		return func(ctx context.Context, d appio.Delivery) error {
			if broken.Load() {
				return errPlain
			}
			f, _ := o.send(ctx, d)
			broken.Store(f == Breaks)
			return meaning(f)
		}
	}, "works again"},
	{"what was lost is not sent again", "a fault is of its moment", func(o *outlet) appio.ChannelFunc {
		var tried sync.Map
		return func(ctx context.Context, d appio.Delivery) error {
			if _, again := tried.LoadOrStore(d.ID, true); again {
				return appio.Permanent(errPlain)
			}
			return o.sound(ctx, d)
		}
	}, "the same delivery again"},

	{"the provider's words are passed on", "an error of the provider names no person",
		but(func(_ Fault, said error) error { return appio.Permanent(said) }, Refuses), "holds the address"},

	{"a provider is waited for", "a provider that hangs does not hold up a call whose context ends", func(o *outlet) appio.ChannelFunc {
		return func(_ context.Context, d appio.Delivery) error {
			ctx, cancel := context.WithTimeout(context.Background(), conformance.Soon+time.Second)
			defer cancel()
			return o.sound(ctx, d)
		}
	}, "after its context ended"},
	{"time that ran out counts as success", "a provider that hangs does not hold up a call whose context ends", but(isNil, Hangs), "says nothing"},

	{"one connection for all", "a delivery that hangs does not hold up the others", func(o *outlet) appio.ChannelFunc {
		turn := make(chan struct{}, 1)
		return func(ctx context.Context, d appio.Delivery) error {
			select {
			case turn <- struct{}{}:
				defer func() { <-turn }()
				return o.sound(ctx, d)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}, "called at the same time"},

	{"a goroutine stays with each failure", "nothing goes on when a provider has failed", func(o *outlet) appio.ChannelFunc {
		return func(ctx context.Context, d appio.Delivery) error {
			answer := make(chan error)
			go func() {
				answer <- o.sound(ctx, d)
			}()
			select {
			case err := <-answer:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}, "provider_test.go"},
}

// Bugs of batches.
var partialBugs = []struct {
	bug  string
	f    func(o *outlet) func(ctx context.Context, ds []appio.Delivery) []error
	says string
}{
	{"one failure is a failure of all", func(o *outlet) func(ctx context.Context, ds []appio.Delivery) []error {
		return func(ctx context.Context, ds []appio.Delivery) []error {
			errs := make([]error, len(ds))
			for _, d := range ds {
				if err := o.sound(ctx, d); err != nil {
					for i := range errs {
						errs[i] = err
					}
				}
			}
			return errs
		}
	}, "of two others"},
	{"errors stand in another order", func(o *outlet) func(ctx context.Context, ds []appio.Delivery) []error {
		return func(ctx context.Context, ds []appio.Delivery) []error {
			errs := make([]error, len(ds))
			for i, d := range ds {
				errs[len(ds)-1-i] = o.sound(ctx, d)
			}
			return errs
		}
	}, "has no error"},
	{"failures are left out", func(o *outlet) func(ctx context.Context, ds []appio.Delivery) []error {
		return func(ctx context.Context, ds []appio.Delivery) []error {
			for _, d := range ds {
				_ = o.sound(ctx, d)
			}
			return nil
		}
	}, "has no error"},
	{"marks are lost", func(o *outlet) func(ctx context.Context, ds []appio.Delivery) []error {
		return func(ctx context.Context, ds []appio.Delivery) []error {
			errs := make([]error, len(ds))
			for i, d := range ds {
				if o.sound(ctx, d) != nil {
					errs[i] = errPlain
				}
			}
			return errs
		}
	}, "an error without a mark; want"},
	{"what was not tried has no error", func(o *outlet) func(ctx context.Context, ds []appio.Delivery) []error {
		return func(ctx context.Context, ds []appio.Delivery) []error {
			errs := make([]error, len(ds))
			for i, d := range ds {
				if errs[i] = o.sound(ctx, d); errs[i] != nil {
					break
				}
			}
			return errs
		}
	}, "are not with the provider"},
}

const partial = "a batch that fails in part is answered for each"

func TestFaultsFailBrokenChannels(t *testing.T) {
	fails := func(t *testing.T, rule, says string, c appio.Channel, o *outlet) {
		t.Parallel()
		i := slices.IndexFunc(faultChecks, func(c faultCheck) bool { return c.rule == rule })
		require.GreaterOrEqual(t, i, 0, "there is no rule %q", rule)
		failures := conformance.Record(t, func(t tester) { faultChecks[i].run(t, &faulty{subject{c, o.got}, o.open()}) })
		require.NotEmpty(t, failures, "a channel with this bug passes %q", rule)
		require.Contains(t, failures[0], says)
		for _, f := range failures {
			require.NotContains(t, f, address)
		}
		t.Log(failures[0])
	}
	for _, b := range faultBugs {
		t.Run(b.bug, func(t *testing.T) {
			o := &outlet{}
			fails(t, b.rule, b.says, b.open(o), o)
		})
	}
	for _, b := range partialBugs {
		t.Run(b.bug, func(t *testing.T) {
			o := &outlet{}
			f := b.f(o)
			c := &brokenBatch{appio.ChannelFunc(o.sound), &o.provider, func(ctx context.Context, _ *provider, ds []appio.Delivery) []error { return f(ctx, ds) }}
			fails(t, partial, b.says, c, o)
		})
	}
}

func TestEveryFaultRuleFailsSomeBrokenChannel(t *testing.T) {
	for _, c := range faultChecks {
		if c.rule != partial && !slices.ContainsFunc(faultBugs, func(b faultBug) bool { return b.rule == c.rule }) {
			t.Errorf("no broken channel shows that %q can fail", c.rule)
		}
	}
}

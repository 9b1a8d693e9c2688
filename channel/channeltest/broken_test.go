package channeltest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/conformance"
)

// A bug is a channel that breaks a rule, and a part of what the suite says about it.
type bug struct {
	bug, rule string
	open      func(t tester, p *provider) appio.Channel
	says      string
}

// one makes a bug of Deliver alone.
func one(f func(ctx context.Context, p *provider, d appio.Delivery) error) func(tester, *provider) appio.Channel {
	return func(_ tester, p *provider) appio.Channel {
		return appio.ChannelFunc(func(ctx context.Context, d appio.Delivery) error { return f(ctx, p, d) })
	}
}

// batch makes a bug of DeliverBatch alone.
func batch(f func(ctx context.Context, p *provider, ds []appio.Delivery) []error) func(tester, *provider) appio.Channel {
	return func(_ tester, p *provider) appio.Channel { return &brokenBatch{p.direct(), p, f} }
}

type brokenBatch struct {
	appio.Channel
	p *provider
	f func(ctx context.Context, p *provider, ds []appio.Delivery) []error
}

func (b *brokenBatch) DeliverBatch(ctx context.Context, ds []appio.Delivery) []error {
	return b.f(ctx, b.p, ds)
}

func takeAll(p *provider, ds []appio.Delivery) []error {
	for _, d := range ds {
		p.take(d.ID)
	}
	return nil
}

var bugs = []bug{
	{"a queue inside", "a delivery has arrived when Deliver returns", func(t tester, p *provider) appio.Channel {
		queue := make(chan appio.Delivery, 1000)
		go func() {
			for {
				select {
				case d := <-queue:
					time.Sleep(10 * time.Millisecond)
					p.take(d.ID)
				case <-t.Context().Done():
					return
				}
			}
		}()
		return appio.ChannelFunc(func(_ context.Context, d appio.Delivery) error {
			queue <- d
			return nil
		})
	}, "must not wait in the channel"},

	{"an id of its own", "a delivery has arrived when Deliver returns",
		one(func(_ context.Context, p *provider, d appio.Delivery) error {
			p.take(d.ID + "-" + appio.DeliveryID(fmt.Sprint(d.Attempt)))
			return nil
		}), "passed on unchanged"},

	{"no answer", "a delivery has arrived when Deliver returns",
		one(func(_ context.Context, p *provider, d appio.Delivery) error {
			p.take(d.ID)
			runtime.Goexit()
			return nil
		}), "ended its goroutine"},

	{"a memory of ids", "the same delivery may come twice", func(_ tester, p *provider) appio.Channel {
		var seen sync.Map
		return appio.ChannelFunc(func(_ context.Context, d appio.Delivery) error {
			if _, again := seen.LoadOrStore(d.ID, true); again {
				return appio.Permanent(errors.New("a duplicate"))
			}
			p.take(d.ID)
			return nil
		})
	}, "a duplicate"},

	{"one call at a time", "Deliver may be called concurrently", func(_ tester, p *provider) appio.Channel {
		var mu sync.Mutex
		return appio.ChannelFunc(func(_ context.Context, d appio.Delivery) error {
			if !mu.TryLock() {
				return errors.New("busy")
			}
			defer mu.Unlock()
			time.Sleep(time.Millisecond)
			p.take(d.ID)
			return nil
		})
	}, "called at the same time"},

	{"one of two concurrent deliveries is lost", "Deliver may be called concurrently",
		func(_ tester, p *provider) appio.Channel {
			var last atomic.Value
			return appio.ChannelFunc(func(_ context.Context, d appio.Delivery) error {
				last.Store(d.ID)
				time.Sleep(time.Millisecond)
				p.take(last.Load().(appio.DeliveryID))
				return nil
			})
		}, "are not with the provider"},

	{"a subject is asked for", "a delivery that shows no content is accepted",
		one(func(_ context.Context, p *provider, d appio.Delivery) error {
			if d.Subject == "" {
				return appio.Permanent(errors.New("no subject"))
			}
			p.take(d.ID)
			return nil
		}), "Generic delivery"},

	{"a payment is taken for granted", "a delivery that shows no content is accepted",
		one(func(_ context.Context, p *provider, d appio.Delivery) error {
			_ = d.Payment.Amount
			p.take(d.ID)
			return nil
		}), "panicked"},

	{"a subject is cut without looking", "whatever a message may hold is accepted",
		one(func(_ context.Context, p *provider, d appio.Delivery) error {
			_ = d.Subject[:160-len(d.OrganizationName)-100]
			p.take(d.ID)
			return nil
		}), "panicked"},

	{"a text is refused for its length", "whatever a message may hold is accepted",
		one(func(_ context.Context, p *provider, d appio.Delivery) error {
			if len(d.Markdown) > 1600 {
				return appio.Permanent(errors.New("too long"))
			}
			p.take(d.ID)
			return nil
		}), "the longest"},

	{"languages are two letters", "whatever a message may hold is accepted",
		one(func(_ context.Context, p *provider, d appio.Delivery) error {
			_ = d.Language[:2]
			p.take(d.ID)
			return nil
		}), "without language"},

	{"what has no address is dropped", "what a channel cannot use is refused",
		one(func(_ context.Context, p *provider, d appio.Delivery) error {
			if d.Address.Value != "" {
				p.take(d.ID)
			}
			return nil
		}), "without an address"},

	{"an address is cut without looking", "what a channel cannot use is refused",
		one(func(_ context.Context, p *provider, d appio.Delivery) error {
			_ = d.Address.Value[:strings.IndexByte(d.Address.Value, '@')]
			p.take(d.ID)
			return nil
		}), "panicked"},

	{"the address is in the error", "an error names no person",
		one(func(_ context.Context, p *provider, d appio.Delivery) error {
			if strings.Contains(d.Address.Value, "%") {
				return appio.Permanent(fmt.Errorf("bad address %q", d.Address.Value))
			}
			p.take(d.ID)
			return nil
		}), "holds the address"},

	{"the address is in the URL of the error", "an error names no person",
		one(func(ctx context.Context, p *provider, d appio.Delivery) error {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("GET https://example.org/send?%s: %w", url.Values{"to": {d.Address.Value}}.Encode(), err)
			}
			p.take(d.ID)
			return nil
		}), "encoded"},

	{"the code is in the error", "an error names no person",
		one(func(_ context.Context, p *provider, d appio.Delivery) error {
			if d.Address.Value == "" {
				return appio.Permanent(fmt.Errorf("no address of %s", string(d.To)))
			}
			p.take(d.ID)
			return nil
		}), "holds the fiscal code"},

	{"the text is in the error", "an error names no person",
		one(func(ctx context.Context, p *provider, d appio.Delivery) error {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("%q was not sent: %w", d.Subject, err)
			}
			p.take(d.ID)
			return nil
		}), "holds the subject"},

	{"the context is not looked at", "a call whose context has ended returns soon",
		one(func(_ context.Context, p *provider, d appio.Delivery) error {
			time.Sleep(conformance.Soon + 500*time.Millisecond)
			p.take(d.ID)
			return nil
		}), "after its context ended"},

	{"a context that has ended counts as success", "a call whose context has ended returns soon",
		one(func(ctx context.Context, p *provider, d appio.Delivery) error {
			if ctx.Err() == nil {
				p.take(d.ID)
			}
			return nil
		}), "a context that had ended"},

	{"the context is looked at once", "a call whose context ends returns soon",
		one(func(ctx context.Context, p *provider, d appio.Delivery) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			time.Sleep(conformance.Soon + 500*time.Millisecond)
			p.take(d.ID)
			return nil
		}), "after its context ended"},

	{"a timeout counts as success", "a call whose context ends returns soon",
		one(func(ctx context.Context, p *provider, d appio.Delivery) error {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
				p.take(d.ID)
			}
			return nil
		}), "a context that ended meanwhile"},

	{"a goroutine for each call", "nothing goes on when the calls have returned", func(t tester, p *provider) appio.Channel {
		return appio.ChannelFunc(func(_ context.Context, d appio.Delivery) error {
			go func() { <-t.Context().Done() }()
			p.take(d.ID)
			return nil
		})
	}, "broken_test.go"},

	{"the batch is cut", "a batch has arrived when DeliverBatch returns",
		batch(func(_ context.Context, p *provider, ds []appio.Delivery) []error {
			takeAll(p, ds[:min(len(ds), 50)])
			return nil
		}), "are not with the provider"},

	{"errors of those alone that failed", "a batch has arrived when DeliverBatch returns",
		batch(func(_ context.Context, p *provider, ds []appio.Delivery) []error {
			takeAll(p, ds)
			return []error{}
		}), "answered with 0 errors"},

	{"the first of none", "an empty batch is answered with nothing",
		batch(func(_ context.Context, p *provider, ds []appio.Delivery) []error {
			_ = ds[0]
			return takeAll(p, ds)
		}), "panicked"},

	{"an error for nothing", "an empty batch is answered with nothing",
		batch(func(_ context.Context, p *provider, ds []appio.Delivery) []error {
			if len(ds) == 0 {
				return []error{errors.New("nothing to do")}
			}
			return takeAll(p, ds)
		}), "answered with 1 errors"},

	{"a batch is sent once", "the same batch may come twice", func(_ tester, p *provider) appio.Channel {
		var seen sync.Map
		return &brokenBatch{p.direct(), p, func(_ context.Context, p *provider, ds []appio.Delivery) []error {
			errs := make([]error, len(ds))
			for i, d := range ds {
				if _, again := seen.LoadOrStore(d.ID, true); again {
					errs[i] = errors.New("a duplicate")
				}
			}
			takeAll(p, ds)
			return errs
		}}
	}, "a duplicate"},

	{"one buffer for all batches", "DeliverBatch may be called concurrently", func(_ tester, p *provider) appio.Channel {
		var buffer atomic.Pointer[[]appio.Delivery]
		return &brokenBatch{p.direct(), p, func(_ context.Context, p *provider, ds []appio.Delivery) []error {
			buffer.Store(&ds)
			time.Sleep(time.Millisecond)
			return takeAll(p, *buffer.Load())
		}}
	}, "are not with the provider"},

	{"one bad delivery fails all", "each delivery of a batch has its own answer",
		batch(func(_ context.Context, p *provider, ds []appio.Delivery) []error {
			for _, d := range ds {
				if d.Address.Value == "" {
					errs := make([]error, len(ds))
					for i := range errs {
						errs[i] = errors.New("bad request")
					}
					return errs
				}
			}
			return takeAll(p, ds)
		}), "must not fail the others"},

	{"bad deliveries are left out", "each delivery of a batch has its own answer",
		batch(func(_ context.Context, p *provider, ds []appio.Delivery) []error {
			for _, d := range ds {
				if d.Address.Value != "" {
					p.take(d.ID)
				}
			}
			return nil
		}), "delivery 7"},

	{"a batch takes its time", "a batch whose context has ended returns soon",
		batch(func(_ context.Context, p *provider, ds []appio.Delivery) []error {
			time.Sleep(conformance.Soon + 500*time.Millisecond)
			return takeAll(p, ds)
		}), "after its context ended"},

	{"a batch that was not sent counts as sent", "a batch whose context has ended returns soon",
		batch(func(ctx context.Context, p *provider, ds []appio.Delivery) []error {
			if ctx.Err() != nil {
				return nil
			}
			return takeAll(p, ds)
		}), "are not with the provider"},
}

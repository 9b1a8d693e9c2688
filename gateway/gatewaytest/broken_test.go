package gatewaytest

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/conformance"
	"github.com/appio-go/appio/pagopa"
)

// A bug is a gateway that breaks a rule, and a part of what the suite says about it.
type bug struct {
	bug, rule string
	open      func(t tester, creditors *Gateway) appio.PaymentGateway
	says      string
}

// A broken gateway asks the creditors in a way of its own.
type broken struct {
	verify func(ctx context.Context, id pagopa.RPTID) (appio.Debt, error)
	start  func(ctx context.Context, d appio.Debt, key string) (appio.Checkout, error)
}

func (b *broken) Verify(ctx context.Context, id pagopa.RPTID) (appio.Debt, error) {
	return b.verify(ctx, id)
}

func (b *broken) Start(ctx context.Context, d appio.Debt, key string) (appio.Checkout, error) {
	return b.start(ctx, d, key)
}

// verify makes a bug of Verify alone.
func verify(f func(ctx context.Context, g *Gateway, id pagopa.RPTID) (appio.Debt, error)) func(tester, *Gateway) appio.PaymentGateway {
	return func(_ tester, g *Gateway) appio.PaymentGateway {
		return &broken{func(ctx context.Context, id pagopa.RPTID) (appio.Debt, error) { return f(ctx, g, id) }, g.Start}
	}
}

// start makes a bug of Start alone.
func start(
	f func(ctx context.Context, g *Gateway, d appio.Debt, key string) (appio.Checkout, error),
) func(tester, *Gateway) appio.PaymentGateway {
	return func(_ tester, g *Gateway) appio.PaymentGateway {
		return &broken{g.Verify, func(ctx context.Context, d appio.Debt, key string) (appio.Checkout, error) { return f(ctx, g, d, key) }}
	}
}

// changed makes a bug of what Verify says when it succeeds.
func changed(f func(d *appio.Debt)) func(tester, *Gateway) appio.PaymentGateway {
	return verify(func(ctx context.Context, g *Gateway, id pagopa.RPTID) (appio.Debt, error) {
		d, err := g.Verify(ctx, id)
		if err == nil {
			f(&d)
		}
		return d, err
	})
}

// answered makes a bug of what Start says when it succeeds.
func answered(f func(c *appio.Checkout)) func(tester, *Gateway) appio.PaymentGateway {
	return start(func(ctx context.Context, g *Gateway, d appio.Debt, key string) (appio.Checkout, error) {
		c, err := g.Start(ctx, d, key)
		if err == nil {
			f(&c)
		}
		return c, err
	})
}

// failed makes a bug of the errors of both.
func failed(f func(d appio.Debt, err error) error) func(tester, *Gateway) appio.PaymentGateway {
	return func(_ tester, g *Gateway) appio.PaymentGateway {
		return &broken{
			func(ctx context.Context, id pagopa.RPTID) (appio.Debt, error) {
				d, err := g.Verify(ctx, id)
				if err != nil {
					return d, f(appio.Debt{RPTID: id}, err)
				}
				return d, nil
			},
			func(ctx context.Context, d appio.Debt, key string) (appio.Checkout, error) {
				c, err := g.Start(ctx, d, key)
				if err != nil {
					return c, f(d, err)
				}
				return c, nil
			},
		}
	}
}

// cached makes a gateway that remembers what Verify answered.
func cached(remembers func(err error) bool, by func(id pagopa.RPTID) any) func(tester, *Gateway) appio.PaymentGateway {
	return func(_ tester, g *Gateway) appio.PaymentGateway {
		type answer struct {
			d   appio.Debt
			err error
		}
		var known sync.Map
		return &broken{func(ctx context.Context, id pagopa.RPTID) (appio.Debt, error) {
			if a, ok := known.Load(by(id)); ok {
				return a.(answer).d, a.(answer).err
			}
			d, err := g.Verify(ctx, id)
			if remembers(err) {
				known.Store(by(id), answer{d, err})
			}
			return d, err
		}, g.Start}
	}
}

func whole(id pagopa.RPTID) any { return id }

func success(err error) bool { return err == nil }

// The service's day in Rome, as a program does that takes the machine's time zone.
var rome = time.FixedZone("Europe/Rome", 3600)

var bugs = []bug{
	{"euros for cents", "a debt is what its creditor says", changed(func(d *appio.Debt) { d.Amount /= 100 }), "the amount is"},

	{"no payee", "a debt is what its creditor says", changed(func(d *appio.Debt) { d.Payee = "" }), "the payee is"},

	{"no description", "a debt is what its creditor says", changed(func(d *appio.Debt) { d.Description = "" }), "the description is"},

	{"no due date", "a debt is what its creditor says", changed(func(d *appio.Debt) { d.Due = time.Time{} }), "no due date"},

	{"no id", "a debt is what its creditor says", changed(func(d *appio.Debt) { d.RPTID = pagopa.RPTID{} }), "its RPTID is another"},

	{"no answer", "a debt is what its creditor says",
		verify(func(context.Context, *Gateway, pagopa.RPTID) (appio.Debt, error) {
			runtime.Goexit()
			return appio.Debt{}, nil
		}), "ended its goroutine"},

	{"a default for what is missing", "what the creditor does not say is not said",
		changed(func(d *appio.Debt) {
			if d.Due.IsZero() {
				d.Due = time.Now()
			}
		}), "said none"},

	{"what is missing is taken for granted", "what the creditor does not say is not said",
		changed(func(d *appio.Debt) { _ = d.Payee[0] }), "panicked"},

	{"amounts in floating point", "amounts are exact",
		changed(func(d *appio.Debt) { d.Amount = pagopa.Amount(float32(d.Amount)) }), "the amount is"},

	{"amounts in 32 bits", "amounts are exact",
		changed(func(d *appio.Debt) { d.Amount = pagopa.Amount(int32(d.Amount)) }), "the amount is"},

	{"texts are cut", "texts come as they are",
		changed(func(d *appio.Debt) { d.Description = d.Description[:min(len(d.Description), 70)] }), "the description is"},

	{"texts are escaped", "texts come as they are",
		changed(func(d *appio.Debt) { d.Payee = html.EscapeString(d.Payee) }), "the payee is"},

	{"days begin in Rome", "days are days", changed(func(d *appio.Debt) {
		d.Due = time.Date(d.Due.Year(), d.Due.Month(), d.Due.Day(), 0, 0, 0, 0, rome)
	}), "at 00:00 UTC"},

	{"days end at midnight", "days are days", changed(func(d *appio.Debt) { d.Due = d.Due.Add(24*time.Hour - 1) }), "at 00:00 UTC"},

	{"debts are remembered", "a debt is what it is now", cached(success, whole), "has changed since"},

	{"the first due date is kept", "a debt is what it is now", func(_ tester, g *Gateway) appio.PaymentGateway {
		var known sync.Map
		return changed(func(d *appio.Debt) {
			due, _ := known.LoadOrStore(d.RPTID, d.Due)
			d.Due = due.(time.Time)
		})(nil, g)
	}, "whose due date has changed"},

	{"debts go by their notice number", "a debt is the one that was asked for",
		cached(success, func(id pagopa.RPTID) any { return id.Notice }), "its RPTID is another"},

	{"debts go by their creditor", "a debt is the one that was asked for",
		cached(success, func(id pagopa.RPTID) any { return id.Creditor }), "its RPTID is another"},

	{"what is unknown is an error", "an unknown notice is PAYMENT_UNKNOWN",
		failed(func(_ appio.Debt, err error) error { return errors.New("404 Not Found") }), "finds no *pagopa.Fault"},

	{"what is unknown is nothing", "an unknown notice is PAYMENT_UNKNOWN",
		verify(func(ctx context.Context, g *Gateway, id pagopa.RPTID) (appio.Debt, error) {
			d, _ := g.Verify(ctx, id)
			return d, nil
		}), "succeeded; want a fault"},

	{"Start takes what is unknown", "an unknown notice is PAYMENT_UNKNOWN",
		start(func(context.Context, *Gateway, appio.Debt, string) (appio.Checkout, error) {
			return appio.Checkout{URL: "https://pay.example.org"}, nil
		}), "Start of a notice that its creditor does not know succeeded"},

	{"all faults are one", "each fault keeps its category", failed(func(_ appio.Debt, err error) error {
		return &pagopa.Fault{Category: pagopa.PaymentUnknown}
	}), "want PAYMENT_DATA_ERROR"},

	{"faults are turned into text", "each fault keeps its category",
		failed(func(_ appio.Debt, err error) error { return fmt.Errorf("ask: %v", err) }), "finds no *pagopa.Fault"},

	{"details are made up", "each fault keeps its category", failed(func(_ appio.Debt, err error) error {
		var f *pagopa.Fault
		if errors.As(err, &f) {
			f.Detail = f.Category
		}
		return err
	}), "detail is"},

	{"a fault that is nil", "each fault keeps its category",
		failed(func(appio.Debt, error) error { return fmt.Errorf("ask: %w", (*nilFault)(nil)) }), "finds no *pagopa.Fault"},

	{"what is paid stays as it was", "a debt that was paid is PAYMENT_DUPLICATED", cached(success, whole), "succeeded"},

	{"what is paid is unknown", "a debt that was paid is PAYMENT_DUPLICATED", failed(func(_ appio.Debt, err error) error {
		return pagopa.NewFault("PAA_PAGAMENTO_SCONOSCIUTO")
	}), "want PAYMENT_DUPLICATED"},

	{"faults are remembered", "a fault is of its moment",
		cached(func(err error) bool { return err != nil }, whole), "a moment ago"},

	{"whatever fails is unknown", "a service that fails says nothing of the debt",
		failed(func(_ appio.Debt, err error) error {
			var f *pagopa.Fault
			if !errors.As(err, &f) {
				return pagopa.NewFault("PAA_PAGAMENTO_SCONOSCIUTO")
			}
			return err
		}), "takes for the creditor's word"},

	{"failures are swallowed", "a service that fails says nothing of the debt",
		failed(func(appio.Debt, error) error { return nil }), "while the service that it asks failed"},

	{"failures are remembered", "a service that fails says nothing of the debt", func(_ tester, g *Gateway) appio.PaymentGateway {
		var open atomic.Bool
		return verify(func(ctx context.Context, g *Gateway, id pagopa.RPTID) (appio.Debt, error) {
			if open.Load() {
				return appio.Debt{}, errors.New("circuit open")
			}
			d, err := g.Verify(ctx, id)
			open.Store(err != nil)
			return d, err
		})(nil, g)
	}, "when the service works again"},

	{"three attempts", "one call asks once", verify(func(ctx context.Context, g *Gateway, id pagopa.RPTID) (appio.Debt, error) {
		d, err := g.Verify(ctx, id)
		for n := 1; n < 3 && err != nil; n++ {
			d, err = g.Verify(ctx, id)
		}
		return d, err
	}), "one call of Verify asked 3 times"},

	{"another attempt after a failure", "one call asks once",
		start(func(ctx context.Context, g *Gateway, d appio.Debt, key string) (appio.Checkout, error) {
			c, err := g.Start(ctx, d, key)
			if err != nil && passes(err) {
				return g.Start(ctx, d, key)
			}
			return c, err
		}), "one call of Start asked 2 times"},

	{"nothing is a debt", "what is no RPT id is no debt",
		verify(func(ctx context.Context, g *Gateway, id pagopa.RPTID) (appio.Debt, error) {
			if id.Notice == "" {
				return appio.Debt{}, nil
			}
			return g.Verify(ctx, id)
		}), "not Valid succeeded"},

	{"an id is cut without looking", "what is no RPT id is no debt",
		verify(func(ctx context.Context, g *Gateway, id pagopa.RPTID) (appio.Debt, error) {
			_ = id.Notice[1:]
			return g.Verify(ctx, id)
		}), "panicked"},

	{"an address in clear", "a payment goes on at an absolute https address",
		answered(func(c *appio.Checkout) { c.URL = strings.Replace(c.URL, "https:", "http:", 1) }), "not an absolute one of https"},

	{"half an address", "a payment goes on at an absolute https address",
		answered(func(c *appio.Checkout) { c.URL = "/pay/1" }), "not an absolute one of https"},

	{"a script for an address", "a payment goes on at an absolute https address",
		answered(func(c *appio.Checkout) { c.URL = "javascript:alert(1)" }), "not an absolute one of https"},

	{"a time zone is left out", "a payment goes on at an absolute https address",
		answered(func(c *appio.Checkout) { c.ExpiresAt = c.ExpiresAt.Add(-2 * time.Hour) }), "has expired already"},

	{"a payment for each call", "the same key is the same checkout",
		start(func(ctx context.Context, g *Gateway, d appio.Debt, _ string) (appio.Checkout, error) {
			return g.Start(ctx, d, newKey())
		}), "must not pay twice"},

	{"the last key alone is remembered", "the same key is the same checkout", func(_ tester, g *Gateway) appio.PaymentGateway {
		var mu sync.Mutex
		var last, own string
		return start(func(ctx context.Context, g *Gateway, d appio.Debt, key string) (appio.Checkout, error) {
			mu.Lock()
			defer mu.Unlock()
			if key != last {
				last, own = key, newKey()
			}
			return g.Start(ctx, d, own)
		})(nil, g)
	}, "must not pay twice"},

	{"a time for each call", "the same key is the same checkout", func(_ tester, g *Gateway) appio.PaymentGateway {
		var calls atomic.Int64
		return answered(func(c *appio.Checkout) {
			c.ExpiresAt = c.ExpiresAt.Add(time.Duration(calls.Add(1)) * time.Second)
		})(nil, g)
	}, "must not pay twice"},

	{"a payment for each debt", "another key is another checkout",
		start(func(ctx context.Context, g *Gateway, d appio.Debt, _ string) (appio.Checkout, error) {
			return g.Start(ctx, d, d.RPTID.String())
		}), "asks for a new one"},

	{"one address for all", "another key is another checkout",
		answered(func(c *appio.Checkout) { *c = appio.Checkout{URL: "https://pay.example.org"} }), "asks for a new one"},

	{"keys are cut", "keys are compared whole",
		start(func(ctx context.Context, g *Gateway, d appio.Debt, key string) (appio.Checkout, error) {
			return g.Start(ctx, d, key[:min(len(key), 36)])
		}), "keys that differ"},

	{"keys in small letters", "keys are compared whole",
		start(func(ctx context.Context, g *Gateway, d appio.Debt, key string) (appio.Checkout, error) {
			return g.Start(ctx, d, strings.ToLower(key))
		}), "keys that differ"},

	{"keys of memory alone", "a payment whose answer was lost is still the same", func(_ tester, g *Gateway) appio.PaymentGateway {
		var known sync.Map
		return start(func(ctx context.Context, g *Gateway, d appio.Debt, key string) (appio.Checkout, error) {
			if c, ok := known.Load(key); ok {
				return c.(appio.Checkout), nil
			}
			c, err := g.Start(ctx, d, newKey())
			if err == nil {
				known.Store(key, c)
			}
			return c, err
		})(nil, g)
	}, "the service got 2"},

	{"a lost answer is success", "a payment whose answer was lost is still the same",
		start(func(ctx context.Context, g *Gateway, d appio.Debt, key string) (appio.Checkout, error) {
			c, err := g.Start(ctx, d, key)
			if err != nil && passes(err) {
				return appio.Checkout{URL: "https://pay.example.org/" + key}, nil
			}
			return c, err
		}), "was lost; want an error"},

	{"one call at a time", "calls may be concurrent", func(_ tester, g *Gateway) appio.PaymentGateway {
		var mu sync.Mutex
		return verify(func(ctx context.Context, g *Gateway, id pagopa.RPTID) (appio.Debt, error) {
			if !mu.TryLock() {
				return appio.Debt{}, errors.New("busy")
			}
			defer mu.Unlock()
			time.Sleep(time.Millisecond)
			return g.Verify(ctx, id)
		})(nil, g)
	}, "called at the same time"},

	{"one answer for two calls", "calls may be concurrent", func(_ tester, g *Gateway) appio.PaymentGateway {
		var last atomic.Value
		return verify(func(ctx context.Context, g *Gateway, id pagopa.RPTID) (appio.Debt, error) {
			last.Store(id)
			time.Sleep(time.Millisecond)
			return g.Verify(ctx, last.Load().(pagopa.RPTID))
		})(nil, g)
	}, "its RPTID is another"},

	{"one checkout for two calls", "calls may be concurrent", func(_ tester, g *Gateway) appio.PaymentGateway {
		var last atomic.Value
		return answered(func(c *appio.Checkout) {
			last.Store(*c)
			time.Sleep(time.Millisecond)
			*c = last.Load().(appio.Checkout)
		})(nil, g)
	}, "different checkouts"},

	{"look and then begin", "the same key at the same time is one checkout", func(_ tester, g *Gateway) appio.PaymentGateway {
		var known sync.Map
		return start(func(ctx context.Context, g *Gateway, d appio.Debt, key string) (appio.Checkout, error) {
			if c, ok := known.Load(key); ok {
				return c.(appio.Checkout), nil
			}
			time.Sleep(time.Millisecond)
			c, err := g.Start(ctx, d, newKey())
			known.Store(key, c)
			return c, err
		})(nil, g)
	}, "presses twice"},

	{"no patience", "a slow service is waited for",
		verify(func(ctx context.Context, g *Gateway, id pagopa.RPTID) (appio.Debt, error) {
			ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			defer cancel()
			return g.Verify(ctx, id)
		}), "while the service takes 300 ms"},

	{"the context is not looked at", "a call whose context has ended returns soon",
		verify(func(_ context.Context, g *Gateway, id pagopa.RPTID) (appio.Debt, error) {
			time.Sleep(conformance.Soon + 500*time.Millisecond)
			return appio.Debt{}, errors.New("no answer")
		}), "after its context ended"},

	{"a context that has ended is a debt of nothing", "a call whose context has ended returns soon",
		verify(func(ctx context.Context, g *Gateway, id pagopa.RPTID) (appio.Debt, error) {
			if ctx.Err() != nil {
				return appio.Debt{RPTID: id}, nil
			}
			return g.Verify(ctx, id)
		}), "who cannot answer any more"},

	{"a context that has ended is a checkout", "a call whose context has ended returns soon",
		start(func(ctx context.Context, g *Gateway, d appio.Debt, key string) (appio.Checkout, error) {
			if ctx.Err() != nil {
				return appio.Checkout{}, nil
			}
			return g.Start(ctx, d, key)
		}), "without a URL"},

	{"a context that has ended is a fault", "a call whose context has ended returns soon",
		failed(func(_ appio.Debt, err error) error {
			if errors.Is(err, context.Canceled) {
				return pagopa.NewFault("PAA_PAGAMENTO_ANNULLATO")
			}
			return err
		}), "takes for the creditor's word"},

	{"the context is looked at once", "a call whose context ends returns soon",
		start(func(ctx context.Context, g *Gateway, d appio.Debt, key string) (appio.Checkout, error) {
			if ctx.Err() != nil {
				return appio.Checkout{}, ctx.Err()
			}
			time.Sleep(conformance.Soon + 500*time.Millisecond)
			return g.Start(ctx, d, key)
		}), "after its context ended"},

	{"a service that does not answer is waited for", "a service that does not answer holds up nobody whose context ends",
		verify(func(ctx context.Context, g *Gateway, id pagopa.RPTID) (appio.Debt, error) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), conformance.Soon+500*time.Millisecond)
			defer cancel()
			return g.Verify(ctx, id)
		}), "after its context ended"},

	{"a timeout is a fault", "a service that does not answer holds up nobody whose context ends",
		failed(func(_ appio.Debt, err error) error {
			if errors.Is(err, context.DeadlineExceeded) {
				return pagopa.NewFault("PPT_STAZIONE_INT_PA_TIMEOUT")
			}
			return err
		}), "takes for the creditor's word"},

	{"a timeout is success", "a service that does not answer holds up nobody whose context ends",
		start(func(ctx context.Context, g *Gateway, d appio.Debt, key string) (appio.Checkout, error) {
			c, err := g.Start(ctx, d, key)
			if errors.Is(err, context.DeadlineExceeded) {
				return appio.Checkout{URL: "https://pay.example.org/" + key}, nil
			}
			return c, err
		}), "the service had not answered"},

	{"a goroutine for each call", "nothing goes on when the calls have returned", func(t tester, g *Gateway) appio.PaymentGateway {
		return verify(func(ctx context.Context, g *Gateway, id pagopa.RPTID) (appio.Debt, error) {
			go func() { <-t.Context().Done() }()
			return g.Verify(ctx, id)
		})(t, g)
	}, "broken_test.go"},

	{"the id is in the error", "an error tells nothing of a debt", failed(func(d appio.Debt, err error) error {
		return fmt.Errorf("verify %v: %w", d.RPTID, err)
	}), "holds the notice number"},

	{"the IUV is in the error", "an error tells nothing of a debt", failed(func(d appio.Debt, err error) error {
		return fmt.Errorf("verify %s: %w", d.RPTID.Notice[1:], err)
	}), "holds the IUV"},

	{"the creditor is in the error", "an error tells nothing of a debt", failed(func(d appio.Debt, err error) error {
		return fmt.Errorf("verify a notice of %s: %w", d.RPTID.Creditor, err)
	}), "holds the creditor's code"},

	{"the URL is in the error", "an error tells nothing of a debt",
		failed(func(d appio.Debt, err error) error {
			return &url.Error{Op: "Get", URL: "https://api.example.org/" + url.PathEscape(d.RPTID.String()), Err: err}
		}), "holds the notice number"},

	{"the detail is in the error", "an error tells nothing of a debt", failed(func(d appio.Debt, err error) error {
		var f *pagopa.Fault
		if errors.As(err, &f) {
			return fmt.Errorf("%w: %s", err, f.Detail)
		}
		return err
	}), "holds the notice number"},

	{"the description is in the error", "an error tells nothing of a debt", failed(func(d appio.Debt, err error) error {
		return fmt.Errorf("start %q: %w", d.Description, err)
	}), "holds the description"},
}

// A nilFault is an error that says it is a fault, and has none.
type nilFault struct{}

func (*nilFault) Error() string { return "no fault" }

// As gives a *pagopa.Fault that is nil.
func (*nilFault) As(target any) bool {
	f, ok := target.(**pagopa.Fault)
	if ok {
		*f = nil
	}
	return ok
}

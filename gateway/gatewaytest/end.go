package gatewaytest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/conformance"
)

const (
	callers = 16 // goroutines that call at a time
	each    = 8  // calls of each
)

var concurrentChecks = []check{
	{"calls may be concurrent", func(t tester, s *subject) {
		ds := make([]appio.Debt, callers*each)
		for i := range ds {
			ds[i] = s.put(i)
		}
		var mu sync.Mutex
		urls := map[string]bool{}
		concurrently(t, func(i int) string {
			for _, d := range ds[i*each : (i+1)*each] {
				problem, got, err := s.tryVerify(t.Context(), d.RPTID)
				if problem == "" && err == nil {
					problem = differs(got, d)
				}
				if problem != "" || err != nil {
					return said("Verify", problem, err)
				}
				problem, c, err := s.tryStart(t.Context(), d, newKey())
				if problem != "" || err != nil {
					return said("Start", problem, err)
				}
				mu.Lock()
				urls[c.URL] = true
				mu.Unlock()
			}
			return ""
		})
		if len(urls) != len(ds) {
			t.Errorf("%d calls of Start, each with a debt and a key of its own, got %d different checkouts", len(ds), len(urls))
		}
	}},

	{"the same key at the same time is one checkout", func(t tester, s *subject) {
		for n := range each {
			d, key := s.put(n), newKey()
			var all [callers]appio.Checkout
			concurrently(t, func(i int) string {
				problem, c, err := s.tryStart(t.Context(), d, key)
				all[i] = c
				return said("Start", problem, err)
			})
			for _, c := range all {
				if !sameCheckout(c, all[0]) {
					t.Errorf("Start with one key, %d times at once, answered with different checkouts; want the same for all: a citizen who "+
						"presses twice must not pay twice", callers)
					return
				}
			}
		}
	}},
}

// concurrently runs calls of 16 goroutines at a time, in none of which there may be a problem.
func concurrently(t tester, calls func(i int) (problem string)) {
	t.Helper()
	var wait sync.WaitGroup
	problems := make([]string, callers)
	for i := range callers {
		wait.Go(func() { problems[i] = calls(i) })
	}
	wait.Wait()
	for _, p := range problems {
		if p != "" {
			t.Fatalf("%d goroutines called at the same time: %s", callers, p)
		}
	}
}

// said is what was wrong with an answer, if anything was.
func said(call, problem string, err error) string {
	if problem == "" && err != nil {
		return fmt.Sprintf("%s: error %q; want nil, as for one call after the other", call, err)
	}
	return problem
}

var endChecks = []check{
	{"a slow service is waited for", func(t tester, s *subject) {
		d := s.put(1)
		s.creditors.Delay(300 * time.Millisecond)
		s.verified(t, "a debt, while the service takes 300 ms", d)
		s.started(t, "a debt, while the service takes 300 ms", d, newKey())
	}},

	{"a call whose context has ended returns soon", func(t tester, s *subject) {
		d := s.put(1)
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		expired, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		for _, delay := range []time.Duration{0, time.Hour} {
			s.creditors.Delay(delay)
			for _, ctx := range []context.Context{cancelled, expired} {
				s.ended(t, ctx, "a context that had ended", d)
			}
		}
	}},

	{"a call whose context ends returns soon", func(t tester, s *subject) {
		d := s.put(1)
		random := rand.New(rand.NewPCG(1, 0))
		for range 50 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(2000))*time.Microsecond)
			s.ended(t, ctx, "a context that ends meanwhile", d)
			cancel()
		}
	}},

	{"a service that does not answer holds up nobody whose context ends", func(t tester, s *subject) {
		d := s.put(1)
		s.creditors.Delay(time.Hour)
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			s.both(t, ctx, "a service that does not answer", d, func(call string, err error) {
				if err == nil {
					t.Errorf("%s succeeded, and the service had not answered; want an error", call)
				} else if !passes(err) {
					t.Errorf("%s of a service that does not answer: fault %q, which the engine takes for the creditor's word", call, err)
				}
			})
			cancel()
		}
		s.creditors.Delay(0)
		s.verified(t, "a debt, when the service answers again", d)
	}},

	{"nothing goes on when the calls have returned", func(t tester, s *subject) {
		d := s.put(1)
		conformance.NothingGoesOn(t, func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, conformance.Patience)
			defer cancel()
			s.both(t, ctx, "a debt", d, func(string, error) {}) // other checks look at the answer
		})
	}},
}

// ended makes calls whose context ends. Who answers all the same answers right.
func (s *subject) ended(t tester, ctx context.Context, what string, d appio.Debt) {
	t.Helper()
	got, err := s.verify(t, ctx, what, d.RPTID)
	if err == nil {
		if difference := differs(got, d); difference != "" {
			t.Errorf("Verify with %s: %s; who cannot answer any more returns an error", what, difference)
		}
	} else if !passes(err) {
		t.Errorf("Verify with %s: fault %q, which the engine takes for the creditor's word", what, err)
	}
	c, err := s.start(t, ctx, what, d, newKey())
	if err == nil && c.URL == "" {
		t.Errorf("Start with %s succeeded without a URL; who cannot answer any more returns an error", what)
	} else if err != nil && !passes(err) {
		t.Errorf("Start with %s: fault %q, which the engine takes for the creditor's word", what, err)
	}
}

package channeltest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/conformance"
	"github.com/appio-go/appio/internal/verdict"
)

// short is how long a call may wait for a provider that fails. It is enough for one that answers at once.
const short = 2 * time.Second

// brief is how long one waits for a provider that will not answer.
const brief = 150 * time.Millisecond

// passing are the faults after which another attempt may go better.
var passing = []Fault{Hangs, Breaks, Lost, Garbage, Endless, Busy, Credentials}

// all are all faults.
var all = append(slices.Clone(passing), Pauses, Refuses, Gone)

// reading is what an error is taken for.
func reading(err error) (kind verdict.Kind, after time.Duration) {
	var marked *verdict.Error
	if errors.As(err, &marked) {
		return marked.Verdict, marked.After
	}
	return verdict.Later, 0
}

// name is what a channel calls a kind of error by.
func name(kind verdict.Kind) string {
	return map[verdict.Kind]string{verdict.Later: "an error without a mark", verdict.Permanent: "Permanent", verdict.Gone: "Gone"}[kind]
}

// during makes a call whose context ends after a while, early if the provider is one that does not answer.
func (s *faulty) during(t tester, f Fault, d appio.Delivery) error {
	t.Helper()
	wait := short
	if f == Hangs || f == Endless {
		wait = brief
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	return s.deliver(t, ctx, "a provider that "+string(f), d)
}

// met makes one delivery for each fault that the provider has, and looks at the error.
func (s *faulty) met(t tester, faults []Fault, look func(f Fault, d appio.Delivery, err error)) (some bool) {
	t.Helper()
	for _, f := range faults {
		if s.provider.Meet(f) {
			some = true
			d := full()
			look(f, d, s.during(t, f, d))
		}
	}
	s.provider.Meet(Works)
	return some
}

var faultChecks = []faultCheck{
	{"what the provider has not taken is an error", false, func(t tester, s *faulty) bool {
		return s.met(t, all, func(f Fault, d appio.Delivery, err error) {
			if err == nil && !slices.Contains(s.got(), d.ID) {
				t.Errorf("a provider that %s has not taken the delivery, and Deliver returned nil: it counts as delivered and is lost", f)
			}
		})
	}},

	{"what may go better has no mark", false, func(t tester, s *faulty) bool {
		return s.met(t, passing, func(f Fault, _ appio.Delivery, err error) {
			if kind, after := reading(err); kind != verdict.Later {
				t.Errorf("a provider that %s: the error is marked %s, so that nothing is tried again; want none of these marks, for "+
					"another attempt may go better", f, name(kind))
			} else if after != 0 {
				t.Errorf("a provider that %s: RetryAfter(%v), which it did not ask for", f, after)
			}
		})
	}},

	{"a pause that the provider asks for is RetryAfter", false, func(t tester, s *faulty) bool {
		return s.met(t, []Fault{Pauses}, func(_ Fault, _ appio.Delivery, err error) {
			if kind, after := reading(err); kind != verdict.Later || after < PauseOf-5*time.Second || after > PauseOf+5*time.Second {
				t.Errorf("a provider that asks for a pause of %v: %s, pause of %v; want RetryAfter(%v): what comes earlier makes it "+
					"refuse for longer", PauseOf, name(kind), after, PauseOf)
			}
		})
	}},

	{"a refusal for good is Permanent", false, func(t tester, s *faulty) bool {
		return s.met(t, []Fault{Refuses}, func(_ Fault, _ appio.Delivery, err error) {
			if kind, _ := reading(err); kind != verdict.Permanent {
				t.Errorf("a provider that refuses this very delivery: %s; want Permanent: it is tried for days else, and refused each time", name(kind))
			}
		})
	}},

	{"an address that does not exist is Gone", false, func(t tester, s *faulty) bool {
		return s.met(t, []Fault{Gone}, func(_ Fault, _ appio.Delivery, err error) {
			if kind, _ := reading(err); kind != verdict.Gone {
				t.Errorf("a provider that says that the address does not exist: %s; want Gone: it stays in the profile else, and is written "+
					"to again with each message", name(kind))
			}
		})
	}},

	{"one call is one attempt", false, func(t tester, s *faulty) bool {
		before := s.provider.Asked()
		return s.met(t, []Fault{Busy, Pauses, Refuses, Gone, Credentials, Lost}, func(f Fault, _ appio.Delivery, _ error) {
			n := s.provider.Asked()
			if n-before > 1 {
				t.Errorf("a provider that %s was asked %d times in one call; want once: the engine tries again, and waits before it does "+
					"(net/http repeats a request that has a header Idempotency-Key, unless its GetBody is nil)", f, n-before)
			}
			before = n
		})
	}},

	{"a fault is of its moment", false, func(t tester, s *faulty) bool {
		return s.met(t, all, func(f Fault, d appio.Delivery, _ error) {
			s.provider.Meet(Works)
			d.Attempt++
			s.accepted(t, "the same delivery again, to a provider that works again; before, it was one that "+string(f), d)
			s.accepted(t, "another delivery to it", generic())
		})
	}},

	{"an error of the provider names no person", false, func(t tester, s *faulty) bool {
		return s.met(t, all, func(_ Fault, d appio.Delivery, err error) { names(t, "Deliver", err, d) })
	}},

	{"a provider that hangs does not hold up a call whose context ends", false, func(t tester, s *faulty) bool {
		if !s.provider.Meet(Hangs) {
			return false
		}
		concurrently(t, func(i int) (string, error) {
			ctx, cancel := context.WithTimeout(t.Context(), brief)
			defer cancel()
			problem, err := s.try(ctx, full())
			if err == nil && problem == "" {
				problem = "nil, while the provider says nothing"
			}
			return problem, nil
		})
		return true
	}},

	{"a delivery that hangs does not hold up the others", false, func(t tester, s *faulty) bool {
		stuck := many(callers / 2)
		var ids []appio.DeliveryID
		for _, d := range stuck {
			ids = append(ids, d.ID)
		}
		if !s.provider.Meet(Hangs, ids...) {
			return false
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		before, ended := s.provider.Asked(), make(chan struct{})
		for _, d := range stuck {
			go func() {
				_, _ = s.try(ctx, d)
				ended <- struct{}{}
			}()
		}
		for limit := time.Now().Add(short); s.provider.Asked()-before < len(stuck) && time.Now().Before(limit); {
			time.Sleep(time.Millisecond)
		}
		others := many(callers * each)
		concurrently(t, func(i int) (string, error) {
			for _, d := range others[i*each : (i+1)*each] {
				ctx, cancel := context.WithTimeout(t.Context(), short)
				problem, err := s.try(ctx, d)
				cancel()
				if problem != "" || err != nil {
					return problem, err
				}
			}
			return "", nil
		})
		s.arrived(t, "deliveries beside some that hang", others...)
		cancel()
		for range stuck {
			<-ended
		}
		return true
	}},

	{"nothing goes on when a provider has failed", false, func(t tester, s *faulty) bool {
		faults := slices.DeleteFunc([]Fault{Hangs, Breaks, Busy}, func(f Fault) bool { return !s.provider.Meet(f) })
		if len(faults) == 0 {
			return false
		}
		calls := 0
		conformance.NothingGoesOn(t, func(ctx context.Context) {
			f := faults[calls/2%len(faults)] // each with both contexts
			calls++
			s.provider.Meet(f)
			ctx, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
			defer cancel()
			_ = s.deliver(t, ctx, "a provider that "+string(f), full())
		})
		return true
	}},

	{"a batch that fails in part is answered for each", true, func(t tester, s *faulty) bool {
		some := false
		for f, want := range map[Fault]verdict.Kind{Refuses: verdict.Permanent, Gone: verdict.Gone, Busy: verdict.Later} {
			ds := many(20)
			if !s.provider.Meet(f, ds[0].ID, ds[13].ID) {
				continue
			}
			some = true
			for i, err := range s.deliverBatch(t, t.Context(), ds) {
				failed := i == 0 || i == 13
				kind, _ := reading(err)
				switch {
				case err == nil && failed:
					t.Errorf("delivery %d of a batch, of which the provider %s, has no error: it counts as delivered and is lost", i, f)
				case err == nil:
					s.arrived(t, "a batch of which two were not taken", ds[i])
				case !failed:
					t.Errorf("delivery %d of a batch has error %q, for the provider %s of two others; want nil, or it is sent again "+
						"to who has it", i, err, f)
				case kind != want:
					t.Errorf("delivery %d of a batch, of which the provider %s: %s; want %s", i, f, name(kind), name(want))
				}
			}
		}
		return some
	}},
}

package channeltest

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/conformance"
)

var endChecks = []check{
	{"a call whose context has ended returns soon", false, func(t tester, s *subject) {
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		expired, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		for _, ctx := range []context.Context{cancelled, expired} {
			d := full()
			if s.deliver(t, ctx, "a context that had ended", d) == nil {
				s.arrived(t, "a context that had ended", d)
			}
		}
	}},

	{"a call whose context ends returns soon", false, func(t tester, s *subject) {
		random := rand.New(rand.NewPCG(1, 0))
		for range 50 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(2000))*time.Microsecond)
			d := full()
			err := s.deliver(t, ctx, "a context that ends meanwhile", d)
			cancel()
			if err == nil {
				s.arrived(t, "a context that ended meanwhile", d)
			}
		}
	}},

	{"nothing goes on when the calls have returned", false, func(t tester, s *subject) {
		conformance.NothingGoesOn(t, func(ctx context.Context) { s.once(t, ctx) })
	}},
}

// once makes one call of each kind, with a context that ends after it, as the engine does.
func (s *subject) once(t tester, ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, conformance.Patience)
	defer cancel()
	_ = s.deliver(t, ctx, "an ordinary delivery", full()) // other checks look at the answer
	if _, ok := s.Channel.(appio.BatchChannel); ok {
		_ = s.deliverBatch(t, ctx, many(2))
	}
}

package channeltest

import (
	"context"
	"fmt"

	"github.com/appio-go/appio"
)

var batchChecks = []check{
	{"a batch has arrived when DeliverBatch returns", true, func(t tester, s *subject) {
		for _, n := range []int{1, 2, 100, 1} {
			s.acceptedBatch(t, many(n))
		}
	}},

	{"an empty batch is answered with nothing", true, func(t tester, s *subject) {
		before := len(s.got())
		s.deliverBatch(t, t.Context(), nil)
		s.deliverBatch(t, t.Context(), []appio.Delivery{})
		if after := len(s.got()); after != before {
			t.Errorf("DeliverBatch of no delivery made %d arrive", after-before)
		}
	}},

	{"the same batch may come twice", true, func(t tester, s *subject) {
		ds := many(20)
		s.acceptedBatch(t, ds)
		for i := range ds {
			ds[i].Attempt++
		}
		s.acceptedBatch(t, ds)
	}},

	{"DeliverBatch may be called concurrently", true, func(t tester, s *subject) {
		ds := many(callers * each)
		concurrently(t, func(i int) (string, error) {
			problem, errs := s.tryBatch(t.Context(), ds[i*each:(i+1)*each])
			for _, err := range errs {
				if err != nil {
					return "", err
				}
			}
			return problem, nil
		})
		s.arrived(t, "concurrent batches", ds...)
	}},

	{"each delivery of a batch has its own answer", true, func(t tester, s *subject) {
		ds := many(20)
		ds[7], ds[13] = byCode(), full()
		ds[13].Address.Value = oddAddresses[1]
		for i, err := range s.deliverBatch(t, t.Context(), ds) {
			switch {
			case err == nil:
				s.arrived(t, fmt.Sprintf("delivery %d of a batch with two that may be refused", i), ds[i])
			case i != 7 && i != 13:
				t.Errorf("delivery %d, of a batch with two others that may be refused, has error %q; want nil: one of them must not "+
					"fail the others", i, err)
			}
		}
	}},

	{"a batch whose context has ended returns soon", true, func(t tester, s *subject) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		ds := many(20)
		for i, err := range s.deliverBatch(t, ctx, ds) {
			if err == nil {
				s.arrived(t, "a context that had ended", ds[i])
			}
		}
	}},
}

// acceptedBatch delivers what the channel has no reason to refuse.
func (s *subject) acceptedBatch(t tester, ds []appio.Delivery) {
	t.Helper()
	for i, err := range s.deliverBatch(t, t.Context(), ds) {
		if err != nil {
			t.Errorf("DeliverBatch: delivery %d of %d has error %q; want nil, for the engine makes such deliveries and the provider "+
				"takes them", i, len(ds), err)
			return
		}
	}
	s.arrived(t, fmt.Sprintf("a batch of %d", len(ds)), ds...)
}

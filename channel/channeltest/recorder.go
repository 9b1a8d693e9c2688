package channeltest

import (
	"context"
	"slices"
	"sync"

	"github.com/appio-go/appio"
)

// A Recorder is an [appio.Channel] that keeps what it is given. Its zero value is ready; it must not be copied.
type Recorder struct {
	// Fail is asked about each delivery before it is kept: where it returns an error, that is the answer, and the delivery is
	// not kept. It may be called concurrently. Nil: every delivery succeeds. Set it while nothing is being delivered.
	Fail func(d appio.Delivery) error

	mu   sync.Mutex
	kept []appio.Delivery
}

// Deliver keeps d, unless ctx has ended or Fail says otherwise.
func (r *Recorder) Deliver(ctx context.Context, d appio.Delivery) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	d = clone(d)
	if r.Fail != nil {
		if err := r.Fail(clone(d)); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = append(r.kept, d)
	return nil
}

// Deliveries returns a copy of those that succeeded, in the order in which they did.
func (r *Recorder) Deliveries() []appio.Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	ds := slices.Clone(r.kept)
	for i := range ds {
		ds[i] = clone(ds[i])
	}
	return ds
}

// Reset forgets the deliveries so far.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = nil
}

// clone copies what d points at.
func clone(d appio.Delivery) appio.Delivery {
	if d.Payment != nil {
		n := *d.Payment
		d.Payment = &n
	}
	return d
}

package simulation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/appio-go/appio"
)

// A channel is what one life of a process has of a provider. What it answers is up to the seed.
type channel struct {
	l    *life
	name string
}

var errBusy = errors.New("simulated: the provider is busy")

func (c channel) Deliver(ctx context.Context, d appio.Delivery) error {
	return c.deliver(ctx, []appio.Delivery{d})
}

// deliver is one call of the provider.
func (c channel) deliver(ctx context.Context, ds []appio.Delivery) error {
	l, w := c.l, c.l.w
	w.calls.begin()
	defer w.calls.end()
	calls := make([]*attempt, 0, len(ds))
	for i := range ds {
		a := w.attempted(l, &ds[i])
		if a == nil {
			return errBusy // the process is no more
		}
		calls = append(calls, a)
	}
	r := l.dice("channel", c.name, string(ds[0].ID))
	err := errors.New("simulated: the goroutine ended")
	defer func() {
		v := recover()
		w.answered(l, calls, err, ctx.Err() != nil)
		if v != nil {
			panic(v)
		}
	}()
	if r.IntN(1000) < w.weather().channel {
		w.count("channel")
		err = c.trouble(ctx, r, calls, &ds[0])
		return err
	}
	takes := between(r, time.Millisecond, w.plan.patience)
	if r.IntN(6) == 0 {
		takes = between(r, w.plan.patience/2, w.plan.patience)
	}
	err = c.wait(ctx, r, takes)
	return err
}

// wait is a well-behaved provider at work.
func (c channel) wait(ctx context.Context, r *rand.Rand, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		if c.l.isGone() || !c.l.thaw(r) {
			return errBusy
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.l.gone:
		return errBusy
	}
}

// trouble is one of the ways in which a provider is no good.
func (c channel) trouble(ctx context.Context, r *rand.Rand, calls []*attempt, d *appio.Delivery) error {
	quick := between(r, time.Millisecond, 2*time.Second)
	switch r.IntN(12) {
	case 0:
		wait := between(r, time.Second, time.Hour)
		c.l.w.asked(calls, wait)
		return appio.RetryAfter(wait, errBusy)
	case 1:
		if err := c.wait(ctx, r, quick); err != nil {
			return err
		}
		return appio.Permanent(errors.New("simulated: refused for good"))
	case 2:
		if c.name != byAddress {
			return errBusy
		}
		return appio.Gone(errors.New("simulated: no such address"))
	case 3: // hangs until it is told to stop
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.l.gone:
			return errBusy
		}
	case 4: // is deaf, and takes longer than it may
		c.l.sleep(between(r, 15*time.Second, 50*time.Second))
		return chosen(r, nil, errBusy)
	case 5:
		panic("simulated: a channel panics")
	case 6:
		runtime.Goexit()
		return nil
	case 7, 8: // somebody redeems the token of what is being sent
		c.l.w.withdraw(ctx, c.l, d.Withdraw, calls)
		return c.wait(ctx, r, quick)
	case 9: // the citizen refuses the service from inside
		c.l.w.refuse(ctx, c.l, calls, d)
		return c.wait(ctx, r, quick)
	default:
		if err := c.wait(ctx, r, quick); err != nil {
			return err
		}
		return errBusy
	}
}

// A batchChannel takes many at once. What it answers may be of another number of deliveries.
type batchChannel struct{ channel }

func (b batchChannel) DeliverBatch(ctx context.Context, ds []appio.Delivery) []error {
	err := b.deliver(ctx, ds)
	if err == nil {
		return nil
	}
	r := b.l.dice("batch", fmt.Sprint(len(ds)), string(ds[0].ID))
	if r.IntN(10) == 0 {
		return make([]error, len(ds)+1)
	}
	errs := make([]error, len(ds))
	for i := range errs {
		errs[i] = err
	}
	return errs
}

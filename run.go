package appio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/appio-go/appio/store"
)

// Run delivers until ctx ends, waits at most Options.Drain for what is under way, ends the contexts of the channels' calls, waits
// at most Options.Margin for them, and returns nil; an error is what stopped it earlier: a store that has failed, or a second Run
// of the same engine (ErrConflict). Sending works without Run: deliveries then wait in the store. Several processes may Run on
// one store. A channel that does not return keeps its goroutine; none else outlives Run.
func (e *Engine) Run(ctx context.Context) error {
	if err := e.ready(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		return store.ErrClosed
	}
	if e.stopRun != nil {
		e.mu.Unlock()
		return fmt.Errorf("%w: the engine runs already", ErrConflict)
	}
	e.stopRun = cancel
	e.mu.Unlock()
	d := newDispatcher(e)
	e.running.Store(d)
	defer func() {
		e.running.Store(nil)
		e.mu.Lock()
		e.stopRun = nil
		e.mu.Unlock()
		e.runsDone.Broadcast()
	}()
	var reminding sync.WaitGroup
	reminding.Go(func() { e.watchPauses(ctx) })
	if e.opts.Statistics {
		reminding.Go(func() { e.counting(ctx) })
	}
	if e.opts.Reminders != nil {
		reminding.Go(func() { d.reminding(ctx) })
	}
	if e.opts.Documents != nil {
		reminding.Go(func() { e.collecting(ctx) })
	}
	err := d.run(ctx)
	cancel()
	reminding.Wait()
	e.running.Store(nil)
	d.drain(e.opts.Drain)
	return err
}

// run looks for due work until ctx ends or the store fails.
func (d *dispatcher) run(ctx context.Context) error {
	e := d.e
	d.whole = !e.exclusive
	failures := 0
	for ctx.Err() == nil {
		more, err := false, d.recover(ctx)
		begun := e.mono()
		d.sweep()
		now := e.now()
		var taken int
		var cleaned bool
		if err == nil {
			taken, cleaned, more, err = d.turn(ctx, now)
		}
		d.mu.Lock()
		if err == nil {
			err = d.failure
		}
		d.mu.Unlock()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if fatal(err) {
				return err
			}
			failures++
			e.log().Error("due work could not be read, and will be tried again", "err", err)
			pause(ctx, jitter(failures, 10*time.Millisecond, pollEvery))
			continue
		}
		failures = 0
		wait := pollEvery
		switch {
		case taken > 0 || cleaned:
			continue
		case more: // behind what cannot be taken now, for a tenth of the time
			wait = min(max(backAfter, 9*(e.mono()-begun)), pollEvery)
		default:
			d.again()
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-d.wake: // a moment more, so that what comes together is taken together
			pause(ctx, backAfter)
		}
		t.Stop()
	}
	return nil
}

// turn passes on news of payments, so that no reminder is sent of what is known to be paid, claims what is due, and cleans up. In a
// store without room a claim may fail where a clean-up, which deletes, does not, and makes the room: then there is more to do, and
// no error.
func (d *dispatcher) turn(ctx context.Context, until time.Time) (taken int, cleaned, more bool, err error) {
	told, moreToTell, refused := d.effects(ctx)
	taken, more, err = d.poll(ctx, until)
	if err != nil && !errors.Is(err, store.ErrFull) {
		return taken, false, more, err
	}
	err = cmp.Or(err, refused)
	cleaned, rest, refused := d.cleanUp(ctx, until)
	cleaned, rest = cleaned || told, rest || moreToTell
	if err = cmp.Or(err, refused); cleaned && errors.Is(err, store.ErrFull) {
		return taken, true, true, nil
	}
	return taken, cleaned || rest, more, err
}

// await waits until nothing is pending.
func (d *dispatcher) await(ctx context.Context) error {
	t := time.NewTicker(backAfter * 10)
	defer t.Stop()
	for {
		select {
		case <-d.whenIdle():
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.C:
			d.sweep()
		}
	}
}

// drain stops taking work and waits for what is under way, then ends the channels' contexts.
func (d *dispatcher) drain(most time.Duration) {
	d.stop()
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-d.whenIdle():
		if planted != "worker-left" {
			d.cancel()
		}
		return
	case <-t.C:
	}
	d.cancel()
	grace := time.NewTimer(d.e.opts.Margin)
	defer grace.Stop()
	if planted == "drain-endless" {
		grace.Stop()
	}
	select {
	case <-d.whenIdle():
	case <-grace.C:
	}
}

// Flush delivers what is due now, once, and returns how many deliveries it tried. For jobs that send and exit, and for tests.
// As ctx ends, so do the contexts of the channels' calls.
func (e *Engine) Flush(ctx context.Context) (tried int, err error) {
	if err := e.ready(ctx); err != nil {
		return 0, err
	}
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		return 0, store.ErrClosed
	}
	e.flushes++
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		e.flushes--
		e.mu.Unlock()
		e.runsDone.Broadcast()
	}()
	end := e.observe(&ctx, Operation{Name: "flush"})
	defer func() { end(Outcome{Err: err}) }()
	d := newDispatcher(e)
	if !e.exclusive {
		if err := e.readPauses(ctx); err != nil {
			return 0, err
		}
		watch, stop := context.WithCancel(ctx)
		var watching sync.WaitGroup
		watching.Go(func() { e.watchPauses(watch) })
		defer watching.Wait()
		defer stop()
	}
	defer context.AfterFunc(ctx, d.cancel)()
	defer func() {
		d.drain(e.opts.Drain)
		tried = int(d.tried.Load())
	}()
	for some := e.opts.Reminders != nil; some; {
		if some, err = d.remind(ctx, e.now()); err != nil {
			return 0, err
		}
	}
	if err := e.tryCountDays(ctx); err != nil {
		return 0, err
	}
	until := e.now()
	d.whole = !e.exclusive || e.running.Load() != nil
	for {
		if err := d.recover(ctx); err != nil {
			return 0, err
		}
		taken, cleaned, more, err := d.turn(ctx, until)
		if err != nil {
			return 0, err
		}
		if err := d.await(ctx); err != nil {
			return 0, err
		}
		d.mu.Lock()
		failure := d.failure
		d.mu.Unlock()
		if failure != nil {
			return 0, failure
		}
		if taken > 0 || cleaned {
			d.again()
		} else if !more {
			return 0, e.tryCountDays(ctx)
		}
	}
}

package appio_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store/memstore"
)

// outages is an observer of outages.
type outages struct{ begun, ended atomic.Int64 }

func (o *outages) Observe(ctx context.Context, op appio.Operation) (context.Context, func(appio.Outcome)) {
	if op.Name != "outage" {
		return ctx, nil
	}
	o.begun.Add(1)
	return ctx, func(out appio.Outcome) {
		if out.Err != nil && op.Channel == appio.Push {
			o.ended.Add(1)
		}
	}
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	// setup is an engine that delivers by push alone, and a function that sends to so many people, one every hundredth of a second.
	setup := func(t *testing.T, changes ...func(*appio.Options)) (w *town, send func(n int)) {
		w = newTown(t, append([]func(*appio.Options){func(o *appio.Options) { o.Channels = o.Channels[1:] }}, changes...)...)
		s := w.put()
		for i := range 50 {
			w.enrol(personNumber(i), appio.Auto)
		}
		at := 0
		return w, func(n int) {
			for range n {
				w.send(s, messageTo(personNumber(at%50), func(m *appio.Message) { m.TimeToLive = 24 * time.Hour }))
				time.Sleep(10 * time.Millisecond)
				at++
			}
		}
	}

	inBubble(t, "spares attempts in an outage of an hour, so that nothing is parked", func(t *testing.T) {
		seen := &outages{}
		w, send := setup(t, func(o *appio.Options) { o.MaxAttempts = 2; o.Observer = seen })
		var down atomic.Bool
		var calls atomic.Int64
		w.push.answer = func(context.Context, appio.Delivery) error {
			calls.Add(1)
			if down.Load() {
				return errProvider
			}
			return nil
		}
		defer w.run()()
		send(10)
		down.Store(true)
		calls.Store(0)
		send(60)
		time.Sleep(time.Hour)
		require.Less(t, calls.Load(), int64(20+16+3*(3600/300+6)), "a channel that is out of order is left alone")
		h, err := w.Health(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{appio.Push}, h.Resting)
		require.EqualValues(t, 1, w.Counts().Outages)
		require.Empty(t, w.parked(), "an outage parks nothing")
		require.EqualValues(t, 1, seen.begun.Load())
		require.Zero(t, seen.ended.Load())
		down.Store(false)
		time.Sleep(5*time.Minute + 10*time.Second)
		require.Len(t, w.push.deliveries(), 70, "and when it is over all goes out")
		require.Empty(t, w.parked())
		require.EqualValues(t, 1, seen.ended.Load())
		h, err = w.Health(t.Context())
		require.NoError(t, err)
		require.Equal(t, appio.Health{}, h)
	})

	inBubble(t, "is not kept up by what rests for its service's rate", func(t *testing.T) {
		w, send := setup(t, func(o *appio.Options) { o.Lease = time.Hour })
		defer w.run()()
		synctest.Wait()
		for _, id := range []appio.ServiceID{"anagrafe", "biblioteca", "cimitero"} {
			s := w.put(called(id), func(s *appio.Service) { s.DeliveryRate = 0.001 })
			for range 3 {
				w.send(s, messageTo(personNumber(0)))
			}
		}
		synctest.Wait()
		w.push.answers(func(context.Context, appio.Delivery) error { return errProvider })
		send(30)
		require.EqualValues(t, 1, w.Counts().Outages)
		w.push.answers(nil)
		time.Sleep(2 * time.Minute) // Open is half of one, and so is a Backoff
		h, err := w.Health(t.Context())
		require.NoError(t, err)
		require.Empty(t, h.Resting)
		require.Equal(t, 3+30, len(w.push.deliveries()))
	})

	inBubble(t, "is not opened by what fails whenever it is tried", func(t *testing.T) {
		w, send := setup(t, func(o *appio.Options) {
			o.MaxAttempts = 200
			o.Backoff = func(int) time.Duration { return 100 * time.Millisecond }
		})
		w.push.answer = func(context.Context, appio.Delivery) error {
			panic("a text that nobody can read")
		}
		defer w.run()()
		send(1)
		time.Sleep(5 * time.Minute)
		require.Zero(t, w.Counts().Outages)
		require.Len(t, w.parked(), 1)
		require.Equal(t, 200, w.parked()[0].Attempts)
	})

	inBubble(t, "is not opened by answers of a channel that works", func(t *testing.T) {
		for name, answer := range map[string]error{
			"permanent": appio.Permanent(errProvider), "gone": appio.Gone(errProvider), "later": appio.RetryAfter(time.Hour, errProvider),
		} {
			w, send := setup(t)
			w.push.answer = func(context.Context, appio.Delivery) error { return answer }
			end := w.run()
			send(50)
			time.Sleep(time.Second)
			require.Zero(t, w.Counts().Outages, name)
			end()
		}
	})

	inBubble(t, "has thresholds", func(t *testing.T) {
		for name, c := range map[string]struct {
			breaker   appio.Breaker
			good, bad int
			opens     bool
		}{
			"enough":       {appio.Breaker{}, 20, 20, true},
			"too few":      {appio.Breaker{}, 0, 19, false},
			"not so many":  {appio.Breaker{}, 25, 20, false},
			"another rule": {appio.Breaker{Share: 0.1, Least: 5}, 25, 3, true},
			"off":          {appio.Breaker{Off: true}, 0, 100, false},
		} {
			w, send := setup(t, func(o *appio.Options) { o.Channels[0].Breaker = c.breaker; o.Channels[0].Workers = 1 })
			var down atomic.Bool
			w.push.answer = func(context.Context, appio.Delivery) error {
				if down.Load() {
					return errProvider
				}
				return nil
			}
			end := w.run()
			send(c.good)
			down.Store(true)
			send(c.bad)
			synctest.Wait()
			require.Equal(t, c.opens, w.Counts().Outages == 1, name)
			end()
		}
	})

	inBubble(t, "forgets what is older than its window", func(t *testing.T) {
		w, send := setup(t)
		w.push.answer = func(context.Context, appio.Delivery) error { return errProvider }
		defer w.run()()
		send(15)
		time.Sleep(time.Minute + 10*time.Second)
		send(15)
		require.Zero(t, w.Counts().Outages)
		send(5)
		synctest.Wait()
		require.EqualValues(t, 1, w.Counts().Outages)
	})

	inBubble(t, "is not kept open by probes that hang, nor by a clock that is put back", func(t *testing.T) {
		w, send := setup(t)
		w.push.answer = func(context.Context, appio.Delivery) error { return errProvider }
		defer w.run()()
		send(40)
		require.EqualValues(t, 1, w.Counts().Outages)
		release, open := newGate(t)
		var hanging atomic.Int64
		w.push.answers(func(context.Context, appio.Delivery) error {
			hanging.Add(1)
			<-release
			return nil
		})
		time.Sleep(40 * time.Second)
		require.EqualValues(t, 3, hanging.Load())
		time.Sleep(30 * time.Second) // they have run out of time: left alone once more, for a minute
		w.push.answers(nil)
		open()
		w.advance(-time.Hour)
		send(10)
		time.Sleep(3 * time.Minute)
		h, err := w.Health(t.Context())
		require.NoError(t, err)
		require.Empty(t, h.Resting)
		w.advance(time.Hour)
		time.Sleep(time.Minute)
		require.GreaterOrEqual(t, len(w.push.deliveries()), 40)
		require.Empty(t, w.parked())
	})

	inBubble(t, "counts a call of a BatchChannel once", func(t *testing.T) {
		var mu sync.Mutex
		calls := 0
		w := newTown(t, func(o *appio.Options) {
			o.Channels = []appio.Route{{Name: appio.Push, Default: appio.Generic, Unvalidated: true, Workers: 1, Channel: batches(func(ds []appio.Delivery) []error {
				time.Sleep(100 * time.Millisecond)
				mu.Lock()
				defer mu.Unlock()
				calls++
				panic("one of them nobody can read")
			})}}
		})
		s := w.put()
		for i := range 40 {
			w.enrol(personNumber(i), appio.Auto)
		}
		defer w.run()()
		for i := range 40 {
			w.send(s, messageTo(personNumber(i)))
		}
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		require.Less(t, calls, 20)
		require.Zero(t, w.Counts().Outages)
	})

	t.Run("is checked", func(t *testing.T) {
		t.Parallel()
		for _, b := range []appio.Breaker{{Share: 2}, {Share: -1}, {Least: -1}, {Window: -1}, {Open: -1}, {Open: time.Minute, Longest: time.Second}, {Probes: -1}} {
			_, err := appio.New(memstore.New(), &appio.Options{Keys: townKeys, Channels: []appio.Route{{Name: "a", Channel: &postbox{}, Breaker: b}}})
			require.ErrorIs(t, err, appio.ErrInvalid, "%+v", b)
		}
	})
}

// batches is a BatchChannel of a function.
type batches func([]appio.Delivery) []error

func (f batches) Deliver(context.Context, appio.Delivery) error {
	return errors.New("one alone")
}

func (f batches) DeliverBatch(_ context.Context, ds []appio.Delivery) []error { return f(ds) }

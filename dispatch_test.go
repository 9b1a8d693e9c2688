package appio_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/alone"
	"github.com/appio-go/appio/store"
)

// inBubble runs a test whose timers take no time.
func inBubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, test)
	})
}

// newGate is a channel that is closed by open, or when the test ends.
func newGate(t *testing.T) (gate chan struct{}, open func()) {
	gate = make(chan struct{})
	open = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open)
	return gate, open
}

var errProvider = errors.New("provider down")

func TestRun(t *testing.T) {
	t.Parallel()

	inBubble(t, "takes what is sent at once", func(t *testing.T) {
		w := newTown(t)
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		time.Sleep(100 * time.Millisecond)
		for i := range 3 {
			sent := time.Now()
			id := w.send(s, messageTo(giuseppe))
			synctest.Wait()
			require.Zero(t, time.Since(sent))
			require.Len(t, w.email.deliveries(), i+1)
			require.Len(t, w.push.deliveries(), i+1)
			require.Len(t, w.explain(giuseppe, id).Outcomes, 2)
		}
		require.Empty(t, openWork(t, w.store))
		end()
	})

	inBubble(t, "takes what was sent before it within a second", func(t *testing.T) {
		w := newTown(t)
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe))
		w.advance(30 * time.Minute)
		end := w.run()
		time.Sleep(time.Second)
		require.Len(t, w.email.deliveries(), 1)
		require.Len(t, w.push.deliveries(), 1)
		end()
	})

	inBubble(t, "takes what another engine on the store sent within a second", func(t *testing.T) {
		w := newTown(t)
		elsewhere := newTownOn(t, w.store)
		s := elsewhere.put()
		elsewhere.enrol(giuseppe, appio.Auto)
		end := w.run()
		time.Sleep(time.Second)
		elsewhere.send(s, messageTo(giuseppe))
		time.Sleep(time.Second + 50*time.Millisecond)
		require.Len(t, w.email.deliveries(), 1)
		require.Empty(t, elsewhere.email.deliveries())
		end()
	})

	inBubble(t, "one at a time", func(t *testing.T) {
		w := newTown(t)
		end := w.run()
		synctest.Wait()
		require.ErrorIs(t, w.Run(t.Context()), appio.ErrConflict)
		end()
		end = w.run()
		synctest.Wait()
		end()
	})

	inBubble(t, "with a context that has ended returns nil", func(t *testing.T) {
		w := newTown(t)
		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, w.PutService(ctx, newService()))
		cancel()
		require.NoError(t, w.Run(ctx))
	})

	inBubble(t, "waits for what is under way when its context ends", func(t *testing.T) {
		w := newTown(t)
		var cancelled atomic.Bool
		w.email.answer = func(ctx context.Context, d appio.Delivery) error {
			select {
			case <-ctx.Done():
				cancelled.Store(true)
			case <-time.After(10 * time.Second):
			}
			return nil
		}
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		time.Sleep(100 * time.Millisecond)
		id := w.send(s, messageTo(giuseppe))
		synctest.Wait()
		start := time.Now()
		end()
		require.Equal(t, 10*time.Second, time.Since(start))
		require.False(t, cancelled.Load())
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeDelivered}, w.outcomes(giuseppe, id, appio.Email))
	})

	inBubble(t, "then ends the contexts of what takes longer than the drain", func(t *testing.T) {
		w := newTown(t, func(o *appio.Options) { o.Drain = 3 * time.Second })
		w.email.answer = func(ctx context.Context, d appio.Delivery) error { <-ctx.Done(); return context.Cause(ctx) }
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		time.Sleep(100 * time.Millisecond)
		id := w.send(s, messageTo(giuseppe))
		synctest.Wait()
		start := time.Now()
		end()
		require.Equal(t, 3*time.Second, time.Since(start))
		require.Empty(t, w.outcomes(giuseppe, id, appio.Email))

		w.email.answer = nil
		w.advance(2 * time.Minute)
		require.Equal(t, 1, w.flush(), "it is tried again by who comes next")
		require.Equal(t, 1, w.email.deliveries()[0].Attempt, "it was not the channel's fault")
	})

	inBubble(t, "leaves what is stored after it has returned to who comes next", func(t *testing.T) {
		h := newHookedStore()
		w := newTownOn(t, alone.Store{Store: h}, func(o *appio.Options) { o.Drain = time.Second })
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		synctest.Wait()
		release := h.holdNext()
		done := make(chan error, 1)
		go func() {
			_, err := s.Send(context.Background(), messageTo(giuseppe)) // Run has room for it
			done <- err
		}()
		synctest.Wait()
		end()
		release()
		require.NoError(t, <-done)
		time.Sleep(time.Second)
		require.Empty(t, append(w.email.deliveries(), w.push.deliveries()...))

		defer w.run()()
		time.Sleep(time.Second)
		require.Len(t, append(w.email.deliveries(), w.push.deliveries()...), 2)
	})

	inBubble(t, "does not wait for what is stored while it ends", func(t *testing.T) {
		h := newHookedStore()
		w := newTownOn(t, h, func(o *appio.Options) { o.Channels[0].Rate = 0.01 })
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		synctest.Wait()
		w.send(s, messageTo(giuseppe)) // as much as the rate allows for a while
		synctest.Wait()
		require.Len(t, w.email.deliveries(), 1)
		release := h.holdNext()
		done := make(chan error, 1)
		go func() {
			_, err := s.Send(context.Background(), messageTo(giuseppe))
			done <- err
		}()
		synctest.Wait()
		time.AfterFunc(time.Second, release)
		start := time.Now()
		end()
		require.NoError(t, <-done)
		require.Less(t, time.Since(start), 2*time.Second)
		require.Len(t, w.email.deliveries(), 1)
	})

	inBubble(t, "gives what it did not begin to who comes next, at once", func(t *testing.T) {
		w := newTown(t, func(o *appio.Options) { o.Channels[0].Workers = 1; o.Drain = time.Second })
		block, open := newGate(t)
		w.email.answer = func(ctx context.Context, d appio.Delivery) error {
			select {
			case <-block:
			case <-ctx.Done():
			}
			return nil
		}
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		time.Sleep(100 * time.Millisecond)
		for range 10 {
			w.send(s, messageTo(giuseppe))
		}
		synctest.Wait()
		end()
		open()
		require.Len(t, w.email.deliveries(), 1)
		time.Sleep(time.Second)
		require.Equal(t, 9, w.flush())
		require.Empty(t, openWork(t, w.store))
	})
}

// openWork lists the records of deliveries that are not over.
func openWork(t *testing.T, s store.Store) []store.Key {
	t.Helper()
	return slices.DeleteFunc(keysOf(t, s, citizens), func(k store.Key) bool { return !strings.HasPrefix(string(k), "q/") })
}

// TestDeliveriesWaitForASlowChange: while a change of a service is on its way to a store that takes long, what the service has waiting is
// not claimed and given back all the time.
func TestDeliveriesWaitForASlowChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stored := newHookedStore()
		w := newTownOn(t, stored)
		s := w.put()
		for i := range 20 {
			w.enrol(personNumber(i), appio.Auto)
			w.send(s, messageTo(personNumber(i)))
		}
		var commits atomic.Int64
		stored.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			commits.Add(1)
			if slices.ContainsFunc(changes, func(c store.Change) bool { return c.Owner == "s/"+store.Owner(mensa) }) {
				time.Sleep(10 * time.Second)
			}
			return next(ctx, changes)
		})
		changed := make(chan error)
		go func() {
			changed <- w.PutService(t.Context(), newService(func(s *appio.Service) { s.Description = "La mensa delle scuole" }))
		}()
		synctest.Wait()
		end := w.run()
		require.NoError(t, <-changed)
		require.Less(t, commits.Load(), int64(2*20*10), "each delivery is given back once a second; at once, they were thousands of times")
		time.Sleep(2 * time.Second)
		require.Len(t, w.email.deliveries(), 20)
		require.Len(t, w.push.deliveries(), 20)
		end()
	})
}

func TestFlush(t *testing.T) {
	t.Parallel()

	t.Run("reads a store that nobody else can be on a few times", func(t *testing.T) {
		t.Parallel()
		stored := newHookedStore()
		w := newTownOn(t, alone.Store{Store: stored})
		w.put()
		reads := 0
		stored.onRead(func() error { reads++; return nil })
		w.flush()
		require.Less(t, reads, 10)
	})

	t.Run("delivers what is due, once, and counts what it tried", func(t *testing.T) {
		t.Parallel()
		w := newTown(t)
		s := w.put()
		w.push.answer = func(context.Context, appio.Delivery) error { return errProvider }
		require.Zero(t, w.flush())
		for i := range 10 {
			w.enrol(personNumber(i), appio.Auto)
			w.send(s, messageTo(personNumber(i)))
		}
		require.Equal(t, 20, w.flush())
		require.Len(t, w.email.deliveries(), 10)
		require.Zero(t, w.flush(), "the others wait")
		w.advance(time.Minute + time.Second)
		require.Equal(t, 10, w.flush())
	})

	t.Run("goes through more than fits into one look", func(t *testing.T) {
		t.Parallel()
		w := newTown(t, func(o *appio.Options) { o.Channels[0].Workers = 2 })
		s := w.put()
		ms := make([]appio.Message, 1000)
		for i := range ms {
			if i < 50 {
				w.enrol(personNumber(i), appio.Auto)
			}
			ms[i] = messageTo(personNumber(i % 50))
		}
		_, err := s.SendBatch(t.Context(), ms)
		require.NoError(t, err)
		require.Equal(t, 2000, w.flush())
		require.Len(t, w.email.deliveries(), 1000)
		ids := map[appio.DeliveryID]bool{}
		for _, d := range append(w.email.deliveries(), w.push.deliveries()...) {
			ids[d.ID] = true
		}
		require.Len(t, ids, 2000)
		require.Empty(t, openWork(t, w.store))
	})

	inBubble(t, "gives up when its context ends", func(t *testing.T) {
		w := newTown(t)
		w.email.answer = func(ctx context.Context, d appio.Delivery) error { <-ctx.Done(); return context.Cause(ctx) }
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := w.Flush(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

package appio_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/alone"
	"github.com/appio-go/appio/store"
)

// holdNext holds up the next commit until release is called, so that what is submitted meanwhile for the same owner is merged.
func (h *hookedStore) holdNext() (release func()) {
	held, first := make(chan struct{}), make(chan struct{}, 1)
	first <- struct{}{}
	h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
		select {
		case <-first:
			<-held
		default:
		}
		return next(ctx, changes)
	})
	return func() { close(held) }
}

// What is known of a message under way is what the whole of a change left of it, not what one of the merged operations did.
func TestMergedWithAnOutcome(t *testing.T) {
	t.Parallel()
	inBubble(t, "a replay of the same message is not lost", func(t *testing.T) {
		ctx, h := t.Context(), newHookedStore()
		w := newTownOn(t, alone.Store{Store: h})
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Addresses = append(p.Addresses, appio.Address{ID: "work", Channel: appio.Email, Value: "ufficio@example.it", ValidatedAt: time.Now()})
			return nil
		}))
		refuse, atWork, onPhone := true, make(chan struct{}), make(chan struct{})
		w.email.answer = func(_ context.Context, d appio.Delivery) error {
			if d.Address.ID == "work" {
				<-atWork
			} else if refuse {
				return appio.Permanent(errProvider)
			}
			return nil
		}
		w.push.answer = func(context.Context, appio.Delivery) error { <-onPhone; return nil }
		defer w.run()()
		synctest.Wait()
		id := w.send(s, messageTo(giuseppe))
		synctest.Wait()
		require.Len(t, w.parked(), 1)
		refuse = false

		release := h.holdNext()
		done := make(chan error, 2)
		go func() { done <- c.MarkRead(ctx, id) }()
		synctest.Wait()
		close(atWork)
		synctest.Wait()
		go func() { done <- w.Replay(ctx) }()
		synctest.Wait()
		release()
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		require.Empty(t, w.parked())
		close(onPhone)
		time.Sleep(5 * time.Second)
		require.Len(t, w.email.deliveries(), 2, "the one that was replayed too")
		require.Len(t, w.push.deliveries(), 1)
	})
}

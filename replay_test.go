package appio_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store"
)

func TestReplayParked(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	// setup parks 12 deliveries by e-mail and push: of two services in turn, for two causes, one message an hour.
	setup := func(t *testing.T, w *town) (start time.Time) {
		t.Helper()
		start = w.now()
		services := []*appio.Sender{w.put(), w.put(called("altro"))}
		w.enrol(giuseppe, appio.Auto)
		for i := range 6 {
			cause := errors.New("451 try later")
			if i >= 3 {
				cause = errors.New("550 no such user")
			}
			w.email.answer = func(context.Context, appio.Delivery) error { return appio.Permanent(cause) }
			w.push.answer = func(context.Context, appio.Delivery) error { return appio.Permanent(errors.New("panic: sick")) }
			w.send(services[i%2], messageTo(giuseppe))
			require.Equal(t, 2, w.flush())
			w.advance(time.Hour)
		}
		w.email.answer, w.push.answer = nil, nil
		require.Len(t, w.parked(), 12)
		return start
	}

	t.Run("by what they are", func(t *testing.T) {
		t.Parallel()
		w := newTown(t)
		start := setup(t, w)
		at := func(hours int) time.Time { return start.Add(time.Duration(hours)*time.Hour - time.Minute) }
		for name, c := range map[string]struct {
			r    appio.ParkedReplay
			want int
		}{
			"all":            {appio.ParkedReplay{}, 12},
			"channel":        {appio.ParkedReplay{Channel: appio.Email}, 6},
			"service":        {appio.ParkedReplay{Service: "altro"}, 6},
			"cause":          {appio.ParkedReplay{Cause: "550"}, 3},
			"kind of cause":  {appio.ParkedReplay{Cause: "panic: "}, 6},
			"from":           {appio.ParkedReplay{From: at(4)}, 4},
			"until":          {appio.ParkedReplay{Until: at(1)}, 2},
			"time":           {appio.ParkedReplay{From: at(1), Until: at(3)}, 4},
			"several":        {appio.ParkedReplay{Channel: appio.Email, Service: mensa, Cause: "451"}, 2},
			"nothing":        {appio.ParkedReplay{Channel: "piccione"}, 0},
			"cause, not all": {appio.ParkedReplay{Cause: "no such user"}, 0},
		} {
			c.r.DryRun = true
			done, err := w.ReplayParked(ctx, c.r)
			require.NoError(t, err, name)
			require.Equal(t, appio.Replayed{Count: c.want}, done, name)
		}
		require.Len(t, w.parked(), 12, "a dry run changes nothing")
		done, err := w.ReplayParked(ctx, appio.ParkedReplay{Cause: "550"})
		require.NoError(t, err)
		require.Equal(t, appio.Replayed{Count: 3}, done)
		done, err = w.ReplayParked(ctx, appio.ParkedReplay{Cause: "550"})
		require.NoError(t, err)
		require.Zero(t, done, "once")
		require.Equal(t, 3, w.flush())
		require.Len(t, w.email.deliveries(), 3)
		require.Len(t, w.parked(), 9)
	})

	t.Run("some at a time", func(t *testing.T) {
		t.Parallel()
		w := newTown(t)
		setup(t, w)
		w.push.answer = func(context.Context, appio.Delivery) error { return appio.Permanent(errors.New("panic: sick still")) }
		r := appio.ParkedReplay{Cause: "panic: ", Limit: 4}
		total := 0
		for {
			done, err := w.ReplayParked(ctx, r)
			require.NoError(t, err)
			require.LessOrEqual(t, done.Count, 4)
			total += done.Count
			w.flush() // what is parked again is not replayed again
			if r.After = done.Next; r.After == "" {
				break
			}
		}
		require.Equal(t, 6, total)
		require.Len(t, w.parked(), 12)
		_, err := w.ReplayParked(ctx, appio.ParkedReplay{After: "x"})
		require.ErrorIs(t, err, appio.ErrInvalid)
		_, err = w.ReplayParked(ctx, appio.ParkedReplay{Limit: -1})
		require.ErrorIs(t, err, appio.ErrInvalid)
	})

	t.Run("again after an error, where it stopped", func(t *testing.T) {
		t.Parallel()
		h := newHookedStore()
		w := newTownOn(t, h)
		setup(t, w)
		h.onCommit(func(context.Context, []store.Change, commitFunc) ([]error, error) { return nil, store.ErrFull })
		done, err := w.ReplayParked(ctx, appio.ParkedReplay{})
		require.ErrorIs(t, err, store.ErrFull)
		require.Zero(t, done.Count)
		h.onCommit(nil)
		done, err = w.ReplayParked(ctx, appio.ParkedReplay{After: done.Next})
		require.NoError(t, err)
		require.Equal(t, appio.Replayed{Count: 12}, done)
		require.Equal(t, 12, w.flush())
		require.Empty(t, w.parked())
	})
}

package appio_test

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/gateway/gatewaytest"
	"github.com/appio-go/appio/pagopa"
)

func TestContactRate(t *testing.T) {
	t.Parallel()
	// setup is an engine whose clock stands still but for advance.
	setup := func(t *testing.T, rate float64) (w *town, clock *atomic.Int64) {
		clock = &atomic.Int64{}
		clock.Store(time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC).UnixMicro())
		w = newTown(t, func(o *appio.Options) {
			o.ContactRate = rate
			o.Now = func() time.Time { return time.UnixMicro(clock.Load()) }
		})
		return w, clock
	}
	// ask asks until it is limited, n times at the most.
	ask := func(t *testing.T, s *appio.Sender, n int) (answered int) {
		t.Helper()
		for range n {
			_, err := s.CanContact(t.Context(), giuseppe)
			if errors.Is(err, appio.ErrLimited) {
				return answered
			}
			require.NoError(t, err)
			answered++
		}
		return answered
	}

	t.Run("is so many a second, ten times as many at once", func(t *testing.T) {
		t.Parallel()
		w, clock := setup(t, 3)
		s := w.put()
		require.Equal(t, 30, ask(t, s, 100))
		require.Zero(t, ask(t, s, 1))
		clock.Add(time.Second.Microseconds())
		require.Equal(t, 3, ask(t, s, 100))
		clock.Add(time.Hour.Microseconds())
		require.Equal(t, 30, ask(t, s, 100), "a pause does not save up more")
	})

	t.Run("by default is twenty", func(t *testing.T) {
		t.Parallel()
		w, clock := setup(t, 0)
		s := w.put()
		require.Equal(t, 200, ask(t, s, 1000))
		clock.Add(time.Second.Microseconds())
		require.Equal(t, 20, ask(t, s, 1000))
	})

	t.Run("may be below one", func(t *testing.T) {
		t.Parallel()
		w, clock := setup(t, 0.1)
		s := w.put()
		require.Equal(t, 1, ask(t, s, 100))
		clock.Add(9 * time.Second.Microseconds())
		require.Zero(t, ask(t, s, 100))
		clock.Add(2 * time.Second.Microseconds())
		require.Equal(t, 1, ask(t, s, 100))
	})

	t.Run("is each service's own, and the same by whatever key it asks", func(t *testing.T) {
		t.Parallel()
		w, _ := setup(t, 1)
		s, other := w.put(), w.put(func(s *appio.Service) { s.ID = "tari" })
		key, err := w.NewKey(t.Context(), mensa, appio.Primary)
		require.NoError(t, err)
		byKey, err := w.SenderByKey(t.Context(), key, noAddr)
		require.NoError(t, err)
		require.Equal(t, 10, ask(t, s, 100))
		require.Zero(t, ask(t, byKey, 1))
		require.Equal(t, 10, ask(t, other, 100))
	})

	t.Run("counts questions about whom the service may not write to", func(t *testing.T) {
		t.Parallel()
		w, _ := setup(t, 1)
		s := w.put(func(s *appio.Service) { s.State = appio.Trial })
		for range 10 {
			_, err := s.CanContact(t.Context(), giuseppe)
			require.ErrorIs(t, err, appio.ErrForbidden)
		}
		_, err := s.CanContact(t.Context(), giuseppe)
		require.ErrorIs(t, err, appio.ErrLimited)
	})

	t.Run("says the same of the known and the unknown when it is reached", func(t *testing.T) {
		t.Parallel()
		w, _ := setup(t, 1)
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		ask(t, s, 100)
		for _, code := range []fiscalcode.Person{giuseppe, matteo} {
			may, err := s.CanContact(t.Context(), code)
			require.Equal(t, &appio.LimitedError{After: time.Second}, err)
			require.False(t, may)
			r, err := s.Recipient(t.Context(), code)
			require.Equal(t, &appio.LimitedError{After: time.Second}, err)
			require.Zero(t, r)
		}
		w.send(s, messageTo(giuseppe))
	})

	t.Run("a clock that steps back locks nobody out for long", func(t *testing.T) {
		t.Parallel()
		w, clock := setup(t, 1)
		s := w.put()
		require.Equal(t, 10, ask(t, s, 100))
		clock.Add(-24 * time.Hour.Microseconds())
		require.Zero(t, ask(t, s, 100))
		clock.Add(5 * time.Second.Microseconds())
		require.Equal(t, 5, ask(t, s, 100))
	})

	t.Run("holds for many who ask at once", func(t *testing.T) {
		t.Parallel()
		w, _ := setup(t, 2)
		s := w.put()
		var answered atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 20 {
					if _, err := s.CanContact(t.Context(), giuseppe); err == nil {
						answered.Add(1)
					}
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 20, answered.Load())
	})
}

// What may be asked at once where the options say nothing: enough for who works through a list, and bounded.
func TestUsualRates(t *testing.T) {
	t.Parallel()
	clock := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	creditors := &gatewaytest.Gateway{}
	id := pagopa.RPTID{Creditor: "15376371009", Notice: "302032002700000251"}
	creditors.Put(appio.Debt{RPTID: id, Amount: 1})
	w := newTown(t, func(o *appio.Options) {
		unique(o)
		o.Now, o.Payments, o.FeedDays = func() time.Time { return clock }, creditors, 30
	})
	s, c, ctx := w.put(), w.person(giuseppe), t.Context()
	require.NoError(t, w.Authority(comune).PutManageKey(ctx, appio.ManageKey{ID: "gestionale", Role: appio.Viewer}))
	key, err := w.Authority(comune).NewManageKey(ctx, "gestionale", appio.Primary)
	require.NoError(t, err)
	clock = clock.AddDate(0, 0, 2)
	w.flush()
	day := s.SubscriptionsFeed(clock.AddDate(0, 0, -2))
	_, err = day.Page(ctx, "", 0)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		atOnce int
		after  time.Duration
		ask    func() error
	}{
		"another list of the feed": {49, time.Second / 5, func() error {
			_, err := s.SubscriptionsFeed(clock.AddDate(0, 0, -2)).Page(ctx, "", 0)
			return err
		}},
		"a list that was begun": {math.MaxInt, 0, func() error { _, err := day.Page(ctx, "", 0); return err }},
		"a key for managing":    {200, time.Second / 20, func() error { _, err := w.AuthorityByKey(ctx, key, noAddr); return err }},
		"what is to be paid":    {50, time.Second / 5, func() error { _, err := c.Debt(ctx, id); return err }},
		"an app's change":       {50, time.Second / 5, func() error { return c.MayChange(ctx) }},
		"an address": {10, time.Minute, func() error {
			_, err := c.AddressTaken(ctx, appio.Email, "qualcuno@example.it")
			return err
		}},
	} {
		for n := range 300 {
			err := c.ask()
			if n < c.atOnce {
				require.NoError(t, err, "%s, %d", name, n)
				continue
			}
			require.Equal(t, &appio.LimitedError{After: c.after}, err, "%s, %d", name, n)
			break
		}
	}
}

package appio_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

func sendMany(t *testing.T, s *appio.Sender, n int) []appio.Result {
	t.Helper()
	ms := make([]appio.Message, n)
	for i := range ms {
		ms[i] = messageTo(personNumber(i % 100))
	}
	rs, err := s.SendBatch(t.Context(), ms)
	require.NoError(t, err)
	return rs
}

// TestWhatIsStuckHoldsUpNothing: retries of a channel that is well, in a lane in which thousands wait for one that hangs.
func TestWhatIsStuckHoldsUpNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, func(o *appio.Options) { // whose Backoff is a minute
			o.Channels[0].Workers, o.Channels[0].Breaker.Off = 2, true
		})
		for i := range 100 {
			w.enrol(personNumber(i), appio.Auto)
		}
		gate, open := newGate(t)
		w.email.answer = func(context.Context, appio.Delivery) error { <-gate; return nil }
		var mu sync.Mutex
		n, late := 0, map[appio.DeliveryID]time.Duration{}
		due := map[appio.DeliveryID]time.Time{}
		w.push.answer = func(_ context.Context, d appio.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			if at, again := due[d.ID]; again {
				late[d.ID] = time.Since(at)
			} else if n++; n%500 == 0 {
				due[d.ID] = time.Now().Add(time.Minute)
				return errProvider
			}
			return nil
		}
		sendMany(t, w.put(), 4000)
		end := w.run()
		defer end()
		defer open()
		time.Sleep(100 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, due, 8)
		require.Len(t, late, 8)
		for _, d := range late {
			require.Less(t, d, 5*time.Second)
		}
	})
}

// TestWhatWaitsForAHungChannelIsGivenBack: a message's retry by a channel that is well does not wait for the lease of its delivery by one
// all of whose workers hang.
func TestWhatWaitsForAHungChannelIsGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, func(o *appio.Options) {
			o.Channels[0].Workers, o.Channels[0].Timeout, o.Channels[0].Breaker.Off = 1, time.Second, true
			o.Backoff = func(int) time.Duration { return 5 * time.Second }
		})
		gate, open := newGate(t)
		w.email.answer = func(context.Context, appio.Delivery) error { <-gate; return nil }
		var mu sync.Mutex
		first, took := map[appio.DeliveryID]time.Time{}, map[appio.DeliveryID]time.Duration{}
		w.push.answer = func(_ context.Context, d appio.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			if at, again := first[d.ID]; again {
				took[d.ID] = time.Since(at)
				return nil
			}
			first[d.ID] = time.Now()
			return errProvider
		}
		for i := range 10 {
			w.enrol(personNumber(i), appio.Auto)
		}
		end := w.run()
		defer end()
		defer open()
		s := w.put()
		ms := make([]appio.Message, 10)
		for i := range ms {
			ms[i] = messageTo(personNumber(i))
		}
		_, err := s.SendBatch(t.Context(), ms)
		require.NoError(t, err)
		time.Sleep(20 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, first, 10)
		require.Len(t, took, 10)
		for _, d := range took {
			require.Less(t, d, 7*time.Second)
		}
	})
}

// TestFlushEndsWhateverIsStuck: lanes with different numbers of pages, none of which can be taken, are each read to the end once, and not
// until all happen to end together.
func TestFlushEndsWhateverIsStuck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newHookedStore()
		var looks atomic.Int64
		s.onRead(func() error { looks.Add(1); return nil })
		w := newTownOn(t, s, func(o *appio.Options) {
			o.Channels = o.Channels[1:]
			o.Channels[0].Breaker = appio.Breaker{Least: 1, Open: time.Hour, Longest: time.Hour}
		})
		w.push.answer = func(context.Context, appio.Delivery) error { return errProvider }
		for i := range 100 {
			w.enrol(personNumber(i), appio.Auto)
		}
		for i, pages := range []int{2, 3, 5, 7, 11} {
			sendMany(t, w.put(called(appio.ServiceID(fmt.Sprint("servizio-", i)))), 64*pages)
			_, err := w.Flush(t.Context()) // its own pages, and those of before
			require.NoError(t, err)
		}
		looks.Store(0)
		_, err := w.Flush(t.Context())
		require.NoError(t, err)
		require.Less(t, looks.Load(), int64(500))
	})
}

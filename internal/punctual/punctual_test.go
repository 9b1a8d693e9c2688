package punctual_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/internal/punctual"
)

func TestWait(t *testing.T) {
	ctx := t.Context()
	began := time.Now()
	punctual.Wait(ctx, began)
	punctual.Wait(ctx, began.Add(-time.Hour))
	ended, cancel := context.WithCancel(ctx)
	cancel()
	punctual.Wait(ended, began.Add(time.Hour))
	cancelled, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	punctual.Wait(cancelled, began.Add(100*time.Millisecond))
	require.Less(t, time.Since(began), 100*time.Millisecond)

	var all sync.WaitGroup
	for range 500 {
		all.Go(func() {
			for range 5 {
				until := time.Now().Add(rand.N(20 * time.Millisecond))
				punctual.Wait(ctx, until)
				require.False(t, time.Now().Before(until))
			}
		})
	}
	all.Wait()
}

// Who waits for the same moment after 100 µs more of work does not go on later. With a timer one does, by as much: on Linux.
func TestWhatWasDoneBeforeDoesNotShow(t *testing.T) {
	if testing.Short() {
		t.Skip("measures times")
	}
	const more, rounds, tries = 100 * time.Microsecond, 300, 10
	shows := func(wait func(until time.Time)) time.Duration {
		var ends [2][]time.Duration
		for i := range rounds {
			began := time.Now()
			work := more * time.Duration(1+i%2)
			for time.Since(began) < work {
			}
			wait(began.Add(2 * time.Millisecond))
			ends[i%2] = append(ends[i%2], time.Since(began))
		}
		slices.Sort(ends[0])
		slices.Sort(ends[1])
		return ends[1][rounds/8] - ends[0][rounds/8]
	}
	ctx := t.Context()
	for try := range tries { // others use the machine too
		punctually := shows(func(until time.Time) { punctual.Wait(ctx, until) })
		byTimer := shows(func(until time.Time) { time.Sleep(time.Until(until)) })
		t.Logf("punctually %v, by a timer %v", punctually, byTimer)
		if punctually.Abs() < more/4 && (byTimer > more/2 || runtime.GOOS != "linux") {
			return
		}
		require.Less(t, try, tries-1)
	}
}

package hot

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/store/boltstore"
)

// TestAChoiceInAFlood has many callers of a service hand over at once what takes seconds to accept, more than the engine lets wait at a
// time, and all to one citizen, who says no as soon as the first of it is in the inbox. That waits for nothing of the rest, and the
// rest is refused.
func TestAChoiceInAFlood(t *testing.T) {
	const lasts = 2500 * time.Millisecond // if nobody said no
	form.Watch(t, 20*time.Minute)
	s, err := boltstore.Open(filepath.Join(fastFolder(t), "io.db"), nil)
	require.NoError(t, err)
	e := newEngine(t, s, appio.RandomKeys(), new(atomic.Int64))
	running, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(running) }()
	citizen := func(i int) *appio.Citizen { return e.Citizen(appio.Identity{Code: code(i)}) }
	const callers, waiting = 32, 16384
	flood := func(to, n int) (processed int, err error) {
		var done sync.WaitGroup
		var mu sync.Mutex
		for range callers {
			done.Go(func() {
				results, failed := e.Sender(service).SendBatch(t.Context(), slices.Repeat([]appio.Message{message(code(to))}, n/callers))
				mu.Lock()
				defer mu.Unlock()
				for _, r := range results {
					if r.Status == appio.Processed {
						processed++
					}
				}
				err = errors.Join(err, failed)
			})
		}
		done.Wait()
		return processed, err
	}
	inbox := func(i, most int) (n int) {
		for _, err := range citizen(i).Inbox(nil).All(t.Context()) {
			require.NoError(t, err)
			if n++; n == most {
				break
			}
		}
		return n
	}

	const sample = 100 * callers
	require.NoError(t, citizen(0).SetMode(t.Context(), appio.Auto))
	began := time.Now()
	_, err = flood(0, sample)
	require.NoError(t, err)
	each := time.Since(began) / sample
	size := max(30_000, int(lasts/each)) / callers * callers
	bound := min(time.Second, waiting*each/3) // a part of what those take whom the engine lets wait at a time

	var took []time.Duration
	accepted := 0
	for more := form.Rounds(t, 0.05, 2, 1); more(); {
		to := len(took) + 1
		require.NoError(t, citizen(to).SetMode(t.Context(), appio.Auto))
		type end struct {
			processed int
			err       error
		}
		flooded := make(chan end, 1)
		go func() {
			processed, err := flood(to, size)
			flooded <- end{processed, err}
		}()
		for inbox(to, 1) == 0 {
			time.Sleep(time.Millisecond)
		}
		began := time.Now()
		err := citizen(to).SetPreference(t.Context(), service, appio.Preference{})
		took = append(took, time.Since(began))
		before := inbox(to, size)
		got := <-flooded
		require.NoError(t, got.err)
		require.NoError(t, err)
		require.Less(t, took[len(took)-1], bound, "a choice in a flood")
		require.Less(t, got.processed, size, "the flood was over before the choice")
		require.Equal(t, before, got.processed, "accepted after the choice")
		accepted += got.processed
	}
	cancel()
	require.NoError(t, <-ended)
	require.NoError(t, e.Close())
	require.NoError(t, s.Close())
	t.Logf("%d floods of %d messages, %d of them accepted; a choice takes %v at most, of %v", len(took), size, accepted, slices.Max(took), bound)
}

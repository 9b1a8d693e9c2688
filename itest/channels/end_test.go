package channels

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// TestNothingOutlivesRun: after its context has ended Run takes Drain and Margin at most, and leaves goroutines only in channels
// that do not return.
func TestNothingOutlivesRun(t *testing.T) {
	const drain, margin = 300 * time.Millisecond, 200 * time.Millisecond
	release := make(chan struct{})
	heeds := func(ctx context.Context, _ appio.Delivery) error { <-ctx.Done(); return ctx.Err() }
	for name, channel := range map[string]struct {
		deliver appio.ChannelFunc
		rate    float64
		stays   bool
	}{
		"a channel that heeds its context":     {deliver: heeds},
		"one whose rate makes its worker wait": {deliver: func(context.Context, appio.Delivery) error { return nil }, rate: 0.5},
		"a deaf one":                           {deliver: func(context.Context, appio.Delivery) error { <-release; return nil }, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := memstore.New()
			e := newEngine(t, s, &appio.Options{
				Lease: 60 * time.Second, DeliverTimeout: 40 * time.Second, Margin: margin, Drain: drain,
				Channels: []appio.Route{{Name: appio.Push, Default: appio.Full, ByCode: true, Rate: channel.rate, Channel: channel.deliver}},
			}, 4)
			before := goleak.IgnoreCurrent()
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- e.Run(ctx) }()
			for i := range 40 { // more than there are workers
				_, err := e.Sender(service).Send(ctx, message(i%4, "Avviso del Comune"))
				require.NoError(t, err)
			}
			time.Sleep(50 * time.Millisecond)
			cancel()
			select {
			case err := <-ended:
				require.NoError(t, err)
			case <-time.After(drain + margin + time.Second):
				require.Fail(t, "Run does not end")
			}
			if channel.stays {
				require.Error(t, goleak.Find(before), "it still waits")
				close(release)
			}
			require.NoError(t, goleak.Find(before), "something outlives Run")
			require.NoError(t, e.Close())
			require.NoError(t, s.Close())
		})
	}
}

// A busyStore takes a moment for each commit and knows how many are under way.
type busyStore struct {
	store.Store
	commits atomic.Int64
}

func (s *busyStore) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	s.commits.Add(1)
	defer s.commits.Add(-1)
	time.Sleep(2 * time.Millisecond)
	return s.Store.Commit(ctx, changes)
}

// TestNothingOutlivesClose closes an engine that delivers, while services send and citizens choose: then nothing is written any more,
// each of those calls has its answer, and no goroutine is left.
func TestNothingOutlivesClose(t *testing.T) {
	for range 10 {
		s := &busyStore{Store: memstore.New()}
		e := newEngine(t, s, &appio.Options{
			Channels: []appio.Route{{Name: appio.Push, Default: appio.Full, ByCode: true, Channel: appio.ChannelFunc(func(ctx context.Context, _ appio.Delivery) error {
				select {
				case <-time.After(time.Millisecond):
				case <-ctx.Done():
				}
				return nil
			})}},
		}, 8)
		before := goleak.IgnoreCurrent()
		var calls sync.WaitGroup
		until := func(call func(i int) error) {
			calls.Go(func() {
				for i := 0; ; i++ {
					if err := call(i); err != nil {
						if !errors.Is(err, store.ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		calls.Go(func() {
			if err := e.Run(t.Context()); err != nil {
				t.Error(err)
			}
		})
		for range 4 {
			until(func(i int) error {
				_, err := e.Sender(service).Send(t.Context(), message(i%8, "Avviso del Comune"))
				return err
			})
			until(func(i int) error {
				return e.Citizen(appio.Identity{Code: person(i % 8)}).SetPreference(t.Context(), service, appio.Preference{Inbox: i%16 < 8})
			})
		}
		time.Sleep(20 * time.Millisecond)
		require.NoError(t, e.Close())
		require.Zero(t, s.commits.Load(), "commits after Close")
		calls.Wait()
		require.NoError(t, goleak.Find(before), "something outlives Close")
		require.NoError(t, s.Close())
	}
}

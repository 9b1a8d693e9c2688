package channels

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store/memstore"
)

// TestNothingOutlivesRun: after its context has ended Run takes Drain and Margin at most, and leaves goroutines only in channels
// that do not return.
func TestNothingOutlivesRun(t *testing.T) {
	const drain, margin = 300 * time.Millisecond, 200 * time.Millisecond
	release := make(chan struct{})
	for name, channel := range map[string]struct {
		deliver appio.ChannelFunc
		stays   bool
	}{
		"a channel that heeds its context": {func(ctx context.Context, _ appio.Delivery) error { <-ctx.Done(); return ctx.Err() }, false},
		"a deaf one":                       {func(context.Context, appio.Delivery) error { <-release; return nil }, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := memstore.New()
			e := newEngine(t, s, &appio.Options{
				Lease: 60 * time.Second, DeliverTimeout: 40 * time.Second, Margin: margin, Drain: drain,
				Channels: []appio.Route{{Name: appio.Push, Default: appio.Full, ByCode: true, Channel: channel.deliver}},
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
			began := time.Now()
			cancel()
			require.NoError(t, <-ended)
			require.Less(t, time.Since(began), drain+margin+time.Second)
			if channel.stays {
				require.Error(t, goleak.Find(before), "it still waits")
				close(release)
			}
			require.NoError(t, goleak.Find(before))
			require.NoError(t, e.Close())
			require.NoError(t, s.Close())
		})
	}
}

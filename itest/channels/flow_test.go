package channels

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/store/memstore"
)

// rivals are two services whose work has a lane of the store in common.
func rivals(t *testing.T, e *appio.Engine) (loud, quiet appio.ServiceID) {
	lane := func(id appio.ServiceID) uint32 {
		h := fnv.New32a()
		h.Write([]byte(id))
		return h.Sum32() % 64
	}
	loud = "alluvione"
	for i := 0; ; i++ {
		if quiet = appio.ServiceID(fmt.Sprint("goccia-", i)); lane(quiet) == lane(loud) {
			break
		}
	}
	for _, id := range []appio.ServiceID{loud, quiet} {
		require.NoError(t, e.PutService(t.Context(), appio.Service{ID: id, Name: "Rivale", Organization: "01199250158", State: appio.Live}))
	}
	return loud, quiet
}

// fairBound is how long ten messages of one service may take beside the flood of another. The channel's eight workers take
// 50 ms for a delivery, so that the ten alone take a tenth of a second, and the flood half a minute at least.
const fairBound = 3 * time.Second

// TestFairness floods a channel with one service's messages, and waits for ten of another's: of those that were in the store before
// anybody delivered, and of those that come while the flood goes on. The flood is 5,000 messages, or that many for each ITEST_COUNT.
func TestFairness(t *testing.T) {
	form.Watch(t, 15*time.Minute)
	flood := 5_000 * max(1, form.Number(t, "ITEST_COUNT", 1))
	const citizens, ten = 200, 10
	var mu sync.Mutex
	took := map[appio.MessageID]time.Time{}
	var delivered atomic.Int64
	s := memstore.New()
	e := newEngine(t, s, &appio.Options{Drain: 2 * time.Second,
		Channels: []appio.Route{{Name: appio.Push, Default: appio.Full, ByCode: true, Workers: 8, Channel: appio.ChannelFunc(func(_ context.Context, d appio.Delivery) error {
			time.Sleep(50 * time.Millisecond)
			mu.Lock()
			took[d.Message] = time.Now()
			mu.Unlock()
			delivered.Add(1)
			return nil
		})}},
	}, citizens)
	loud, quiet := rivals(t, e)
	pour := func(n int) {
		for ; n > 0; n -= 500 {
			ms := make([]appio.Message, min(n, 500))
			for i := range ms {
				ms[i] = message(i%citizens, "Avviso del Comune")
			}
			if _, err := e.Sender(loud).SendBatch(t.Context(), ms); err != nil {
				t.Error(err)
				return
			}
		}
	}
	drip := func() (ids []appio.MessageID) {
		for i := range ten {
			r, err := e.Sender(quiet).Send(t.Context(), message(i, "Avviso della biblioteca"))
			require.NoError(t, err)
			ids = append(ids, r.ID)
		}
		return ids
	}
	last := func(ids []appio.MessageID, since time.Time) time.Duration {
		var most time.Duration
		require.Eventually(t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			most = 0
			for _, id := range ids {
				at, ok := took[id]
				if !ok {
					return false
				}
				most = max(most, at.Sub(since))
			}
			return true
		}, fairBound, 5*time.Millisecond, "a flood delays another service's ten")
		return most
	}
	pour(flood)
	stored := drip()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	began := time.Now()
	go func() { ended <- e.Run(ctx) }()
	before := last(stored, began)
	var pouring sync.WaitGroup
	var stop atomic.Bool
	pouring.Go(func() {
		for !stop.Load() {
			pour(100)
			time.Sleep(20 * time.Millisecond)
		}
	})
	time.Sleep(time.Second)
	began = time.Now()
	beside := last(drip(), began)
	speed := float64(delivered.Load()) / time.Since(began.Add(-time.Second)).Seconds()
	stop.Store(true)
	pouring.Wait()
	cancel()
	require.NoError(t, <-ended)
	require.NoError(t, e.Close())
	require.NoError(t, s.Close())
	t.Logf("beside a flood of %d: ten that were stored before took %v, ten that came then %v; the channel did %.0f a second", flood, before, beside, speed)
	form.Figures(t, map[string]float64{"flood_max": float64(flood), "stored ms_max": float64(before.Milliseconds()), "sent ms_max": float64(beside.Milliseconds())})
}

// TestPauseHolds pauses a service and a channel again and again, of two engines on one store, while both deliver: when a pause has
// returned nothing of it begins, and when it is over nothing is missing.
func TestPauseHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		var paused atomic.Bool
		var begun, delivered atomic.Int64
		var engines []*appio.Engine
		keys := appio.RandomKeys()
		for range 2 {
			e, err := appio.New(s, &appio.Options{Keys: keys, Channels: []appio.Route{{Name: appio.Push, Default: appio.Full, ByCode: true,
				Channel: appio.ChannelFunc(func(context.Context, appio.Delivery) error {
					if paused.Load() {
						begun.Add(1)
					}
					time.Sleep(time.Millisecond)
					delivered.Add(1)
					return nil
				})}}})
			require.NoError(t, err)
			engines = append(engines, e)
		}
		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, engines[0].PutService(ctx, appio.Service{ID: service, Name: "Avvisi", Organization: "01199250158", State: appio.Live}))
		for i := range 20 {
			require.NoError(t, engines[0].Citizen(appio.Identity{Code: person(i)}).SetMode(ctx, appio.Auto))
		}
		var running sync.WaitGroup
		sent := make([]int, 2)
		for n, e := range engines {
			running.Go(func() { _ = e.Run(ctx) })
			running.Go(func() {
				for i := 0; ctx.Err() == nil && i < 20_000; i++ {
					if _, err := e.Sender(service).Send(context.Background(), message(i%20, "Avviso del Comune")); err != nil {
						t.Error(err)
					}
					sent[n]++
					time.Sleep(5 * time.Millisecond)
				}
			})
		}
		for i := range 4 {
			time.Sleep(time.Second)
			by, other := engines[i%2], engines[1-i%2]
			if i < 2 {
				require.NoError(t, by.PauseService(ctx, service))
			} else {
				require.NoError(t, by.PauseChannel(ctx, appio.Push))
			}
			paused.Store(true)
			time.Sleep(8 * time.Second)
			paused.Store(false)
			if i < 2 {
				require.NoError(t, other.ResumeService(ctx, service))
			} else {
				require.NoError(t, other.ResumeChannel(ctx, appio.Push))
			}
		}
		time.Sleep(80 * time.Second) // the senders are done, and what waited has gone
		require.Zero(t, begun.Load(), "deliveries begin after a pause has returned")
		cancel()
		running.Wait()
		require.EqualValues(t, sent[0]+sent[1], delivered.Load(), "what was paused is missing")
		for _, e := range engines {
			require.NoError(t, e.Close())
		}
		require.NoError(t, s.Close())
	})
}

// TestOutage lets a channel fail for an hour, with two attempts for each delivery, beside one message that fails whenever it is tried.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		var down atomic.Bool
		var calls, delivered atomic.Int64
		e := newEngine(t, s, &appio.Options{MaxAttempts: 2, Backoff: func(int) time.Duration { return 10 * time.Second },
			Channels: []appio.Route{{Name: appio.Push, Default: appio.Full, ByCode: true, Breaker: appio.Breaker{Least: 10},
				Channel: appio.ChannelFunc(func(_ context.Context, d appio.Delivery) error {
					calls.Add(1)
					switch {
					case down.Load():
						return errors.New("no answer")
					case d.Subject == "Veleno per il canale":
						panic("a text that nobody can read")
					}
					delivered.Add(1)
					return nil
				})}}}, 60)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		send := func(n int, text string) {
			for i := range n {
				_, err := e.Sender(service).Send(ctx, message(i%60, text))
				require.NoError(t, err)
				time.Sleep(time.Second)
			}
		}
		down.Store(true)
		send(60, "Avviso del Comune")
		time.Sleep(time.Hour)
		require.NotZero(t, e.Counts().Outages)
		require.Less(t, calls.Load(), int64(100), "a channel that is out of order is tried again and again")
		down.Store(false)
		time.Sleep(10 * time.Minute)
		for p, err := range e.Parked().All(ctx) {
			require.NoError(t, err)
			require.Fail(t, "an outage parks deliveries", "%+v", p)
		}
		require.EqualValues(t, 60, delivered.Load())
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, e.Close())
		require.NoError(t, s.Close())
	})
}

// TestPoisonAlone lets one message fail whenever it is tried: that is no outage.
func TestPoisonAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		e := newEngine(t, s, &appio.Options{MaxAttempts: 100, Backoff: func(int) time.Duration { return 100 * time.Millisecond },
			Channels: []appio.Route{{Name: appio.Push, Default: appio.Full, ByCode: true, Breaker: appio.Breaker{Least: 10},
				Channel: appio.ChannelFunc(func(context.Context, appio.Delivery) error { panic("a text that nobody can read") })}}}, 1)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		_, err := e.Sender(service).Send(ctx, message(0, "Veleno per il canale"))
		require.NoError(t, err)
		time.Sleep(10 * time.Minute)
		require.Zero(t, e.Counts().Outages, "one message makes an outage")
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, e.Close())
		require.NoError(t, s.Close())
	})
}

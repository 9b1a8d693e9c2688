// Package channels shows that a channel which hangs, panics, fails or is slow hurts only itself, and that messages which kill their
// channel are put aside.
package channels

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/itest/internal/planted"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
	"github.com/appio-go/appio/store/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	service = appio.ServiceID("avvisi")

	// envShared plants a bug: all channels have their workers in common.
	envShared = "APPIO_CHANNELS_SHARED"
	// envForgetful plants a bug: a store that forgets what is parked.
	envForgetful = "APPIO_CHANNELS_FORGETFUL"
)

func person(i int) fiscalcode.Person {
	return fiscalcode.Person(fmt.Sprintf("RSSMRA%02dM%02dH%03dS", i/1000%100, 1+i/100000, i%1000))
}

func message(to int, text string) appio.Message {
	return appio.Message{
		To: person(to), Subject: text, TimeToLive: 24 * time.Hour,
		Markdown: "La informiamo che il servizio di raccolta cambia orario dal prossimo mese, come da calendario.",
	}
}

func newEngine(t *testing.T, s store.Store, o *appio.Options, citizens int) *appio.Engine {
	o.Keys = appio.RandomKeys()
	e, err := appio.New(s, o)
	require.NoError(t, err)
	require.NoError(t, e.PutService(t.Context(), appio.Service{ID: service, Name: "Avvisi", Organization: "01199250158", State: appio.Live}))
	var joining sync.WaitGroup
	for from := range 32 {
		joining.Go(func() {
			for i := from; i < citizens; i += 32 {
				if err := e.Citizen(appio.Identity{Code: person(i)}).SetMode(t.Context(), appio.Auto); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	joining.Wait()
	return e
}

// A day is what a healthy channel saw of one stretch of time.
type day struct {
	p50, p99   time.Duration // from before Send to the delivery
	goroutines int
	delivered  int
}

const (
	healthy = "healthy"
	rate    = 250 // messages a second
	crowd   = 200 // citizens
)

// A companion is a channel beside the healthy one.
type companion struct {
	deliver func(ctx context.Context, over <-chan struct{}) error // over: the day is
	rate    float64
	paused  bool
}

// A setting is what else goes on.
type setting struct {
	breakers bool // channels are left alone where their calls fail
	flood    int  // messages of another service, with a rate, that are in the store before
}

// live sends at a steady rate for a time, to an engine whose healthy channel has company, and measures the healthy one.
func live(t *testing.T, company map[string]companion, with setting, lasts time.Duration) day {
	var mu sync.Mutex
	sent, took := map[appio.MessageID]time.Time{}, []time.Duration(nil)
	early := map[appio.MessageID]time.Time{} // delivered before Send returned
	shared := make(chan struct{}, 16)
	over := make(chan struct{})
	defer close(over)
	wrap := func(f appio.ChannelFunc) appio.Channel {
		if os.Getenv(envShared) == "" {
			return f
		}
		return appio.ChannelFunc(func(ctx context.Context, d appio.Delivery) error {
			shared <- struct{}{}
			defer func() { <-shared }()
			return f(ctx, d)
		})
	}
	o := &appio.Options{
		Lease: 4 * time.Second, DeliverTimeout: time.Second, Margin: 400 * time.Millisecond, MaxSkew: 100 * time.Millisecond,
		Backoff: func(int) time.Duration { return 10 * time.Second }, Drain: 2 * time.Second,
		Channels: []appio.Route{{Name: healthy, Default: appio.Full, ByCode: true, Channel: wrap(func(_ context.Context, d appio.Delivery) error {
			if d.Service != service {
				return nil
			}
			now := time.Now()
			mu.Lock()
			defer mu.Unlock()
			if at, ok := sent[d.Message]; ok {
				took = append(took, now.Sub(at))
			} else {
				early[d.Message] = now
			}
			return nil
		})}},
	}
	for name, c := range company {
		o.Channels = append(o.Channels, appio.Route{Name: name, Default: appio.Full, ByCode: true, Rate: c.rate, Breaker: appio.Breaker{Off: !with.breakers},
			Channel: wrap(func(ctx context.Context, _ appio.Delivery) error { return c.deliver(ctx, over) })})
	}
	s := memstore.New()
	e := newEngine(t, s, o, crowd)
	require.NoError(t, e.PutService(t.Context(), appio.Service{ID: "alluvione", Name: "Alluvione", Organization: "01199250158", State: appio.Live, DeliveryRate: 20}))
	for n := 0; n < with.flood; n += 200 {
		ms := make([]appio.Message, 200)
		for i := range ms {
			ms[i] = message(i%crowd, "Avviso del Comune")
		}
		_, err := e.Sender("alluvione").SendBatch(t.Context(), ms)
		require.NoError(t, err)
	}
	var pausing sync.WaitGroup
	for name, c := range company {
		if c.paused {
			pausing.Go(func() {
				if err := e.PauseChannel(t.Context(), name); err != nil { // it is in force here long before it returns
					t.Error(err)
				}
			})
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- e.Run(context.Background()) }()
	time.Sleep(300 * time.Millisecond) // what comes first has come
	most := 0
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	n := 0
	for began := time.Now(); time.Since(began) < lasts; n++ {
		<-tick.C
		at := time.Now()
		res, err := e.Sender(service).Send(t.Context(), message(n%crowd, "Avviso del Comune"))
		require.NoError(t, err)
		mu.Lock()
		sent[res.ID] = at
		if got, ok := early[res.ID]; ok {
			took = append(took, got.Sub(at))
		}
		mu.Unlock()
		most = max(most, runtime.NumGoroutine())
	}
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(took) >= n
	}, 20*time.Second, 10*time.Millisecond, "a healthy channel's deliveries were held up")
	pausing.Wait()
	require.NoError(t, e.Close())
	require.NoError(t, <-ended)
	require.NoError(t, s.Close())
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(took)
	return day{took[len(took)/2], took[len(took)*99/100], most, len(took)}
}

// TestSickChannels compares a channel alone with the same beside four sick ones, and beside those where breakers leave them alone,
// a channel is paused, another has a rate, and a service with a rate has flooded them all.
func TestSickChannels(t *testing.T) {
	form.Watch(t, 10*time.Minute)
	lasts := 2 * time.Second
	if testing.Short() {
		lasts = 500 * time.Millisecond
	}
	well := func(context.Context, <-chan struct{}) error { return nil }
	names := []string{"hangs", "panics", "errs", "slow"}
	none, sick := map[string]companion{}, map[string]companion{
		"hangs":  {deliver: func(_ context.Context, over <-chan struct{}) error { <-over; return nil }},
		"panics": {deliver: func(context.Context, <-chan struct{}) error { panic("out of luck") }},
		"errs":   {deliver: func(context.Context, <-chan struct{}) error { return errors.New("try again") }},
		"slow": {deliver: func(ctx context.Context, _ <-chan struct{}) error {
			select {
			case <-time.After(300 * time.Millisecond):
			case <-ctx.Done():
			}
			return nil
		}},
	}
	for _, name := range names {
		none[name] = companion{deliver: well}
	}
	held := maps.Clone(sick)
	for name, c := range map[string]companion{"paused": {well, 0, true}, "limited": {well, 20, false}} {
		held[name] = c
		none[name], sick[name] = companion{deliver: well}, companion{deliver: well}
	}
	// What else this machine does shows in one day more than in another, so the quieter of some days is compared, and of a few
	// more where it is never quiet.
	var alone, beside, apart day
	rounds := 0
	delayed := func() bool { return max(beside.p99, apart.p99) > alone.p99*6/5+2*time.Millisecond }
	for more := form.Rounds(t, 0.05, 4, 2); more() || delayed() && rounds < 12; {
		a, b, c := live(t, none, setting{}, lasts), live(t, sick, setting{}, lasts), live(t, held, setting{true, 2000}, lasts)
		if rounds == 0 || c.p99 < apart.p99 {
			apart.p99 = c.p99
		}
		beside.goroutines, beside.delivered = max(beside.goroutines, c.goroutines), beside.delivered+c.delivered
		if rounds == 0 || a.p99 < alone.p99 {
			alone = a
		}
		if rounds == 0 || b.p99 < beside.p99 {
			beside.p99 = b.p99
		}
		beside.goroutines, beside.delivered = max(beside.goroutines, b.goroutines), beside.delivered+b.delivered
		rounds++
	}
	ratio := float64(beside.p99) / float64(alone.p99)
	t.Logf("%d rounds: p99 alone %v, beside sick channels %v: %.2f times; beside sick, paused, limited and flooded ones %v; at most %d goroutines, %d alone",
		rounds, alone.p99, beside.p99, ratio, apart.p99, beside.goroutines, alone.goroutines)
	form.Figures(t, map[string]float64{"rounds": float64(rounds), "delivered": float64(beside.delivered), "p99 alone us_min": float64(alone.p99.Microseconds()),
		"p99 us_min": float64(beside.p99.Microseconds()), "p99 held us_min": float64(apart.p99.Microseconds()), "goroutines_max": float64(beside.goroutines)})
	require.False(t, delayed(), "a sick channel delays a healthy one")
	require.Less(t, beside.goroutines, 5*16+200, "goroutines pile up")
}

// A forgetful store loses what is parked.
type forgetful struct{ store.Store }

func (s *forgetful) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	less := slices.Clone(changes)
	for i := range less {
		less[i].Put = slices.DeleteFunc(slices.Clone(less[i].Put), func(r store.Record) bool { return strings.HasPrefix(string(r.Key), "x/") })
	}
	return s.Store.Commit(ctx, less)
}

// TestPoison sends many messages, of which one in a hundred makes the channel panic: ten thousand, or that many for each ITEST_COUNT.
func TestPoison(t *testing.T) {
	form.Watch(t, 15*time.Minute)
	total := 10_000 * max(1, form.Number(t, "ITEST_COUNT", 1))
	if testing.Short() {
		total = 2_000
	}
	const citizens = 500
	bolt, err := boltstore.Open(filepath.Join(t.TempDir(), "io.db"), nil)
	require.NoError(t, err)
	var s store.Store = bolt
	if os.Getenv(envForgetful) != "" {
		s = &forgetful{s}
	}
	var delivered, healed atomic.Int64
	var well atomic.Bool
	e := newEngine(t, s, &appio.Options{
		MaxAttempts: 2, Backoff: func(int) time.Duration { return 50 * time.Millisecond },
		Channels: []appio.Route{{Name: appio.Push, Default: appio.Full, ByCode: true, Workers: 4, Channel: appio.ChannelFunc(func(_ context.Context, d appio.Delivery) error {
			switch poison := strings.HasPrefix(d.Subject, "Veleno"); {
			case poison && !well.Load():
				panic("a text that nobody can read")
			case poison:
				healed.Add(1)
			default:
				delivered.Add(1)
			}
			return nil
		})}},
	}, citizens)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	poison := map[appio.MessageID]bool{}
	began := time.Now()
	for n := 0; n < total; {
		ms := make([]appio.Message, min(500, total-n))
		for i := range ms {
			ms[i] = message((n+i)%citizens, "Avviso del Comune")
			if (n+i)%100 == 0 {
				ms[i].Subject = "Veleno per il canale"
			}
		}
		results, err := e.Sender(service).SendBatch(ctx, ms)
		require.NoError(t, err)
		for i, r := range results {
			if strings.HasPrefix(ms[i].Subject, "Veleno") {
				poison[r.ID] = true
			}
		}
		n += len(ms)
	}
	good := int64(total - len(poison))
	parked := func() map[appio.MessageID]bool {
		found := map[appio.MessageID]bool{}
		for p, err := range e.Parked().All(ctx) {
			require.NoError(t, err)
			require.Equal(t, "panic: a text that nobody can read", p.Cause)
			require.Equal(t, 2, p.Attempts)
			found[p.Message] = true
		}
		return found
	}
	limit := time.Now().Add(time.Duration(total/500+20) * time.Second)
	for delivered.Load() < good || len(parked()) < len(poison) {
		require.True(t, time.Now().Before(limit), "%d of %d delivered, %d of %d poisoned ones parked", delivered.Load(), good, len(parked()), len(poison))
		time.Sleep(20 * time.Millisecond)
	}
	took := time.Since(began)
	require.Equal(t, good, delivered.Load())
	require.Equal(t, poison, parked())
	well.Store(true)
	require.NoError(t, e.Replay(ctx))
	require.Eventually(t, func() bool { return healed.Load() == int64(len(poison)) && len(parked()) == 0 }, 2*time.Minute, 20*time.Millisecond, "replayed")
	cancel()
	require.NoError(t, <-ended)
	require.NoError(t, e.Close())
	require.NoError(t, s.Close())
	t.Logf("%d messages in %v, %d of them parked and then replayed", total, took.Round(time.Millisecond), len(poison))
	form.Figures(t, map[string]float64{"messages": float64(total), "delivered": float64(good), "parked": float64(len(poison)), "replayed": float64(healed.Load())})
}

func TestPlantedBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("what never comes is waited for, and the tests are built anew")
	}
	planted.Run(t, os.Args[0],
		planted.Bug{Name: "channels that have their workers in common", Env: envShared + "=yes", Test: "TestSickChannels", Says: "held up|delays a healthy one", Rounds: 2},
		planted.Bug{Name: "a store that forgets what is parked", Env: envForgetful + "=yes", Test: "TestPoison", Says: "poisoned ones parked", Rounds: 1},
	)
	planted.Run(t, planted.Build(t),
		planted.Bug{Name: "drain-endless", Env: "APPIO_PLANT=drain-endless", Test: "TestNothingOutlivesRun", Says: "Run does not end", Rounds: 1},
		planted.Bug{Name: "worker-left", Env: "APPIO_PLANT=worker-left", Test: "TestNothingOutlivesRun", Says: "something outlives Run", Rounds: 1},
		planted.Bug{Name: "first-come", Env: "APPIO_PLANT=first-come", Test: "TestFairness", Says: "a flood delays", Rounds: 1},
		planted.Bug{Name: "one-lane", Env: "APPIO_PLANT=one-lane", Test: "TestFairness", Says: "a flood delays", Rounds: 1},
		planted.Bug{Name: "pause-late", Env: "APPIO_PLANT=pause-late", Test: "TestPauseHolds", Says: "after a pause has returned", Rounds: 1},
		planted.Bug{Name: "pause-unseen", Env: "APPIO_PLANT=pause-unseen", Test: "TestPauseHolds", Says: "after a pause has returned", Rounds: 1},
		planted.Bug{Name: "outage-spends", Env: "APPIO_PLANT=outage-spends", Test: "TestOutage", Says: "an outage parks", Rounds: 1},
		planted.Bug{Name: "poison-counts", Env: "APPIO_PLANT=poison-counts", Test: "TestPoisonAlone", Says: "one message makes an outage", Rounds: 1},
		planted.Bug{Name: "close-early", Env: "APPIO_PLANT=close-early", Test: "TestNothingOutlivesClose", Says: "commits after Close", Rounds: 2},
	)
}

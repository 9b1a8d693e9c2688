// Package hot shows that a citizen who is written to without end can still say no at once: whatever is sent to them at that
// moment, and however much they were sent before.
package hot

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
	"github.com/appio-go/appio/store/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const service appio.ServiceID = "avvisi"

func code(i int) fiscalcode.Person { return fiscalcode.Person(fmt.Sprintf("RSSMRA85M10H%03dS", i)) }

func message(to fiscalcode.Person) appio.Message {
	return appio.Message{
		To: to, Subject: "Avviso del Comune",
		Markdown: "La informiamo che il servizio di raccolta cambia orario dal prossimo mese, come da calendario.",
	}
}

// newEngine is an engine with two channels that take a moment. Close it before the store.
func newEngine(t *testing.T, s store.Store, keys appio.Keyring, delivered *atomic.Int64) *appio.Engine {
	o := &appio.Options{Keys: keys}
	for _, name := range []string{appio.Email, appio.Push} {
		o.Channels = append(o.Channels, appio.Route{Name: name, Default: appio.Full, Secure: appio.Generic, ByCode: true,
			Channel: appio.ChannelFunc(func(ctx context.Context, _ appio.Delivery) error {
				select {
				case <-time.After(2 * time.Millisecond):
					delivered.Add(1)
					return nil
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			})})
	}
	e, err := appio.New(s, o)
	require.NoError(t, err)
	require.NoError(t, e.PutService(t.Context(), appio.Service{ID: service, Name: "Avvisi", Organization: "01199250158", State: appio.Live}))
	return e
}

func quantile(ds []time.Duration, q float64) time.Duration {
	ds = slices.Sorted(slices.Values(ds))
	return ds[min(len(ds)-1, int(q*float64(len(ds))))].Round(time.Microsecond)
}

// TestFourEnginesWriteToOneCitizen has each of four engines on one store write to the same citizen a hundred times a second, and
// deliver.
func TestFourEnginesWriteToOneCitizen(t *testing.T) {
	const engines, perSecond = 4, 100
	total := form.Time(t, 0.05, 5*time.Second, 2*time.Second)
	form.Watch(t, total+2*time.Minute)
	s, keys := memstore.New(), appio.RandomKeys()
	var delivered, accepted, rejected, busy atomic.Int64
	var es []*appio.Engine
	for range engines {
		es = append(es, newEngine(t, s, keys, &delivered))
	}
	citizen := func(e *appio.Engine) *appio.Citizen { return e.Citizen(appio.Identity{Code: code(0)}) }
	require.NoError(t, citizen(es[0]).SetMode(t.Context(), appio.Auto))

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sending, stopSending := context.WithTimeout(ctx, total)
	defer stopSending()
	var running, sendings sync.WaitGroup
	failed := make(chan error, 1)
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	for _, e := range es {
		running.Go(func() {
			if err := e.Run(ctx); err != nil {
				fail(err)
			}
		})
		sendings.Go(func() {
			tick := time.NewTicker(time.Second / perSecond)
			defer tick.Stop()
			room := make(chan struct{}, 4*perSecond)
			for {
				select {
				case <-sending.Done():
					return
				case <-tick.C:
				}
				room <- struct{}{}
				sendings.Go(func() { // a message does not wait for the one before
					defer func() { <-room }()
					switch r, err := e.Sender(service).Send(ctx, message(code(0))); {
					case errors.Is(err, appio.ErrBusy):
						busy.Add(1)
					case err != nil:
						fail(err)
					case r.Status == appio.Processed:
						accepted.Add(1)
					default:
						rejected.Add(1)
					}
				})
			}
		})
	}
	var took []time.Duration
	named, tooBusy := 0, 0
	choose := func(inbox bool) error {
		return citizen(es[rand.IntN(engines)]).SetPreference(ctx, service, appio.Preference{Inbox: inbox, Channels: appio.On(appio.Email, appio.Push)})
	}
	for sending.Err() == nil {
		began := time.Now()
		err := choose(false)
		took = append(took, time.Since(began))
		var left *appio.InFlightError
		switch {
		case errors.As(err, &left):
			named++
		case errors.Is(err, appio.ErrBusy):
			tooBusy++
		default:
			require.NoError(t, err)
		}
		for errors.Is(choose(true), appio.ErrBusy) {
			tooBusy++
		}
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
	}
	sendings.Wait()
	cancel()
	running.Wait()
	for _, e := range es {
		require.NoError(t, e.Close())
	}
	require.NoError(t, s.Close())
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	sent := accepted.Load() + rejected.Load()
	t.Logf("%d messages/s (%d accepted, %d rejected, %d busy), %d deliveries; %d revocations: p50 %v, p99 %v, most %v; %d of them named deliveries in flight, %d choices were busy",
		int(float64(sent)/total.Seconds()), accepted.Load(), rejected.Load(), busy.Load(), delivered.Load(), len(took),
		quantile(took, 0.5), quantile(took, 0.99), quantile(took, 1), named, tooBusy)
	require.Positive(t, accepted.Load())
	require.Positive(t, delivered.Load())
	require.Zero(t, tooBusy, "choices that had to be made again")
	require.Less(t, quantile(took, 0.99), time.Second, "revocations under fire")
}

// TestALongHistory compares what a choice and an erasure take, with ten messages and with a great many.
func TestALongHistory(t *testing.T) {
	large := 20_000
	switch {
	case testing.Short():
		large = 3_000
	case form.Given(t, 1) > 0:
		large = 100_000
	}
	form.Watch(t, 10*time.Minute)
	stores := map[string]func(t *testing.T) store.Store{
		"memstore": func(t *testing.T) store.Store { return memstore.New() },
		"boltstore": func(t *testing.T) store.Store {
			s, err := boltstore.Open(filepath.Join(t.TempDir(), "io.db"), nil)
			require.NoError(t, err)
			return s
		},
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			const small, rounds = 10, 25
			s := open(t)
			e := newEngine(t, s, appio.RandomKeys(), new(atomic.Int64))
			defer func() {
				require.NoError(t, e.Close())
				require.NoError(t, s.Close())
			}()
			// Each pair of citizens has one of either kind. Run is not at work, so all their deliveries are still open.
			const pairs = 5
			citizen := func(i int) *appio.Citizen { return e.Citizen(appio.Identity{Code: code(i), Level: appio.L2}) }
			began := time.Now()
			for i := range 2 * pairs {
				require.NoError(t, citizen(i).SetMode(t.Context(), appio.Auto))
				n := small
				if i%2 == 1 {
					n = max(large/pairs, 3_000)
				}
				if i == 1 {
					n = large
				}
				for n > 0 {
					ms := slices.Repeat([]appio.Message{message(code(i))}, min(n, 1000))
					_, err := e.Sender(service).SendBatch(t.Context(), ms)
					require.NoError(t, err)
					n -= len(ms)
				}
			}
			filled := time.Since(began)
			timed := func(f func() error) time.Duration {
				began := time.Now()
				require.NoError(t, f())
				return time.Since(began)
			}
			choose := func(i int, inbox bool) func() error {
				return func() error { return citizen(i).SetPreference(t.Context(), service, appio.Preference{Inbox: inbox}) }
			}
			var first, revoked, erased [2][]time.Duration // with a short history, and a long one
			for i := range 2 * pairs {
				first[i%2] = append(first[i%2], timed(choose(i, false)))
			}
			for range rounds {
				for i := range 2 {
					require.NoError(t, choose(i, true)())
					revoked[i] = append(revoked[i], timed(choose(i, false)))
				}
			}
			for i := range 2 * pairs {
				erased[i%2] = append(erased[i%2], timed(func() error { return citizen(i).Erase(t.Context()) }))
			}
			t.Logf("filled in %v", filled.Round(time.Millisecond))
			compare := func(what string, took [2][]time.Duration, q float64) {
				short, long := quantile(took[0], q), quantile(took[1], q)
				t.Logf("%s: %v with %d messages, %v with %d", what, short, small, long, large)
				require.Less(t, long, 3*short+5*time.Millisecond, what)
			}
			// Each citizen has only one first revocation, when all their deliveries are open, and one erasure: what it costs shows in
			// the least, what else is going on does not.
			compare("a first revocation", first, 0)
			compare("a revocation", revoked, 0.5)
			compare("an erasure", erased, 0)
		})
	}
}

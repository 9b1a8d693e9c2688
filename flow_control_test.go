package appio_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// called is a service with a name of its own.
func called(id appio.ServiceID) func(*appio.Service) {
	return func(s *appio.Service) { s.ID = id }
}

// sameLane are two services whose work has a lane in common.
func sameLane(t *testing.T, w *town) (a, b *appio.Sender) {
	t.Helper()
	at := map[store.Lane]appio.ServiceID{}
	for i := range 1000 {
		id := appio.ServiceID(fmt.Sprint("servizio-", i))
		lane := appio.DeliveryLane(id)
		if other, ok := at[lane]; ok {
			return w.put(called(other)), w.put(called(id))
		}
		at[lane] = id
	}
	t.Fatal("no two services have a lane in common")
	return nil, nil
}

// TestFairness: a service that floods delays another's ten by no more than a bound. Each case waits for what the engine can be slow at:
// a channel that takes a second for a call, or has a rate, what is handed over in memory, and a lane of the store in common.
func TestFairness(t *testing.T) {
	t.Parallel()
	const flood, ten, workers = 3000, 10, 4
	call := 100 * time.Millisecond
	for _, c := range []struct {
		name   string
		route  func(*appio.Route)
		before bool // the flood is in the store before anybody delivers
		lasts  bool // it goes on
		bound  time.Duration
	}{
		{name: "beside what is handed over in memory", lasts: true, bound: 3 * time.Second},
		{name: "behind what waits in the store", before: true, bound: 3 * time.Second},
		{name: "behind what waits in the store, and more that comes", before: true, lasts: true, bound: 3 * time.Second},
		{name: "by a channel with a rate", route: func(r *appio.Route) { r.Rate = 20 }, lasts: true, bound: 4 * time.Second},
	} {
		inBubble(t, c.name, func(t *testing.T) {
			var mu sync.Mutex
			took := map[appio.ServiceID][]time.Duration{}
			var since time.Time
			w := newTown(t, func(o *appio.Options) {
				o.Channels = o.Channels[1:]
				o.Channels[0].Workers = workers
				if c.route != nil {
					c.route(&o.Channels[0])
				}
			})
			w.push.answer = func(_ context.Context, d appio.Delivery) error {
				time.Sleep(call)
				mu.Lock()
				defer mu.Unlock()
				took[d.Service] = append(took[d.Service], time.Since(since))
				return nil
			}
			loud, quiet := sameLane(t, w)
			for i := range 100 {
				w.enrol(personNumber(i), appio.Auto)
			}
			many := func(n int) {
				ms := make([]appio.Message, n)
				for i := range ms {
					ms[i] = messageTo(personNumber(i % 100))
				}
				_, err := loud.SendBatch(t.Context(), ms)
				require.NoError(t, err)
			}
			if c.before {
				many(flood)
			}
			end := w.run()
			defer end()
			if !c.before {
				many(flood)
			}
			var stop atomic.Bool
			var going sync.WaitGroup
			if c.lasts {
				going.Go(func() {
					for !stop.Load() {
						many(50)
						time.Sleep(50 * time.Millisecond)
					}
				})
			}
			time.Sleep(2 * time.Second)
			mu.Lock()
			since = time.Now()
			mu.Unlock()
			for i := range ten {
				w.send(quiet, messageTo(personNumber(i)))
			}
			time.Sleep(c.bound)
			mu.Lock()
			got := slices.Clone(took[quiet.ID()])
			loudly := len(took[loud.ID()])
			mu.Unlock()
			stop.Store(true)
			going.Wait()
			t.Logf("ten in %v, of the other service %d", got, loudly)
			require.Len(t, got, ten, "another service's ten are late")
			require.Greater(t, loudly, 20, "and the channel is not idle")
			require.Less(t, loudly, flood, "the flood was over before: this shows nothing")
		})
	}
}

// TestTurnOfNothing: what has waited too long is given back, and a service that has nothing left then is not in turn any more, wherever
// in line it was. A worker would be started for it again and again, at the cost of a processor.
func TestTurnOfNothing(t *testing.T) {
	t.Parallel()
	form.Watch(t, time.Minute)
	synctest.Test(t, func(t *testing.T) {
		stored := newHookedStore()
		w := newTownOn(t, stored, func(o *appio.Options) {
			o.Channels = o.Channels[1:]
			o.Channels[0].Workers = 1
		})
		w.push.answer = func(context.Context, appio.Delivery) error {
			time.Sleep(10 * time.Second)
			return nil
		}
		first, second, third := w.put(called("anagrafe")), w.put(called("biblioteca")), w.put(called("cimitero"))
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		time.Sleep(100 * time.Millisecond)
		w.send(third, messageTo(giuseppe)) // taken at once
		synctest.Wait()
		w.send(first, messageTo(giuseppe))
		w.send(second, messageTo(giuseppe))
		time.Sleep(7 * time.Second)
		w.send(first, messageTo(giuseppe))                        // which may go on waiting when these two may not
		stored.onRead(func() error { return errors.New("busy") }) // and they are not claimed again
		time.Sleep(10 * time.Second)
		stored.onRead(nil)
		time.Sleep(2 * time.Minute)
		end()
		var took []appio.ServiceID
		for _, d := range w.push.deliveries() {
			took = append(took, d.Service)
		}
		require.ElementsMatch(t, []appio.ServiceID{third.ID(), first.ID(), first.ID(), second.ID()}, took)
	})
}

// TestTurnsOfRatedBatches: where a BatchChannel's rate ends a batch, the service whose turn it was is the first of the next one.
func TestTurnsOfRatedBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box := &batchbox{}
		w := newTown(t, func(o *appio.Options) {
			o.Channels = o.Channels[:1]
			o.Channels[0].Channel, o.Channels[0].Workers, o.Channels[0].Rate = box, 1, 10
		})
		services := []*appio.Sender{w.put(called("anagrafe")), w.put(called("biblioteca"))}
		ms := make([]appio.Message, 40)
		for i := range ms {
			ms[i] = messageTo(w.enrolled(personNumber(i)))
		}
		defer w.run()()
		synctest.Wait()
		for _, s := range services {
			_, err := s.SendBatch(t.Context(), ms)
			require.NoError(t, err)
		}
		time.Sleep(3 * time.Second) // of eight
		took := map[appio.ServiceID]int{}
		for _, ds := range box.taken() {
			for _, d := range ds {
				took[d.Service]++
			}
		}
		for _, s := range services {
			require.InDelta(t, 15, took[s.ID()], 2, "of each as many: %v", took)
		}
	})
}

// TestIdleWorkers: as many workers come back as there is work for, to what rested for a service's rate, and to what one gave back that
// its channel holds up.
func TestIdleWorkers(t *testing.T) {
	t.Parallel()
	const workers = 8
	inBubble(t, "to what rested", func(t *testing.T) {
		w := newTown(t, func(o *appio.Options) { o.Channels = o.Channels[:1]; o.Channels[0].Workers = workers })
		w.email.answer = func(context.Context, appio.Delivery) error { time.Sleep(200 * time.Millisecond); return nil }
		s := w.put(func(s *appio.Service) { s.DeliveryRate = 30 }) // of 40 that the workers could do
		w.enrol(giuseppe, appio.Auto)
		defer w.run()()
		synctest.Wait()
		for range 55 {
			w.send(s, messageTo(giuseppe))
		}
		time.Sleep(2500 * time.Millisecond)
		require.Equal(t, 55, len(w.email.deliveries()))
	})
	inBubble(t, "to what was given back", func(t *testing.T) {
		w := newTown(t, func(o *appio.Options) { o.Channels = o.Channels[:1]; o.Channels[0].Workers = workers })
		s := w.put()
		ms := make([]appio.Message, workers+workers*workers) // so that each takes as many as they are, or fewer
		for i := range ms {
			ms[i] = messageTo(w.enrolled(personNumber(i)))
		}
		defer w.run()()
		synctest.Wait()
		_, err := s.SendBatch(t.Context(), ms) // which shows that the channel is fast
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, len(ms), len(w.email.deliveries()))
		gate, open := newGate(t)
		w.email.answers(func(context.Context, appio.Delivery) error { <-gate; return nil })
		_, err = s.SendBatch(t.Context(), ms[:workers])
		require.NoError(t, err)
		synctest.Wait()
		_, err = s.SendBatch(t.Context(), ms[workers:])
		require.NoError(t, err)
		synctest.Wait()
		var slow atomic.Bool
		var begun time.Time
		w.email.answers(func(context.Context, appio.Delivery) error {
			if !slow.Swap(true) || time.Since(begun) > 0 {
				time.Sleep(time.Second)
			}
			return nil
		})
		begun = time.Now()
		open()
		time.Sleep(1500 * time.Millisecond)
		require.Equal(t, 2*len(ms), len(w.email.deliveries()))
	})
}

// readCounter counts the owners that are read.
type readCounter struct {
	store.Store
	owners atomic.Int64
}

func (c *readCounter) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	c.owners.Add(int64(len(reads)))
	return c.Store.View(ctx, reads)
}

// TestRatedServiceAtBatches: a BatchChannel's next batch has no more of a service than may go, and no more is read for it.
func TestRatedServiceAtBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		box, counted := &batchbox{}, &readCounter{Store: memstore.New()}
		w := newTownOn(t, counted, func(o *appio.Options) {
			o.Channels = o.Channels[:1]
			o.Channels[0].Channel, o.Channels[0].Workers = box, 1
		})
		s := w.put(func(s *appio.Service) { s.DeliveryRate = 50 })
		ms := make([]appio.Message, 100)
		for i := range ms {
			ms[i] = messageTo(w.enrolled(personNumber(i)))
		}
		defer w.run()()
		synctest.Wait()
		_, err := s.SendBatch(t.Context(), ms)
		require.NoError(t, err)
		synctest.Wait()
		counted.owners.Store(0)
		time.Sleep(3 * time.Second)
		n := 0
		for _, ds := range box.taken() {
			n += len(ds)
		}
		require.Equal(t, len(ms), n)
		require.Less(t, counted.owners.Load(), int64(20*len(ms)))
	})
}

func TestServiceRates(t *testing.T) {
	t.Parallel()

	inBubble(t, "of sending refuse with a hint that is true", func(t *testing.T) {
		w := newTown(t)
		s := w.put(func(s *appio.Service) { s.SendRate = 5 })
		free := w.put(called("libero"))
		w.enrol(giuseppe, appio.Auto)
		ms := make([]appio.Message, 12)
		for i := range ms {
			ms[i] = messageTo(giuseppe)
		}
		results, err := s.SendBatch(t.Context(), ms)
		require.ErrorIs(t, err, appio.ErrLimited)
		accepted := 0
		var limited *appio.LimitedError
		for _, r := range results {
			if r.Err == nil {
				accepted++
				continue
			}
			require.ErrorAs(t, r.Err, &limited)
		}
		require.Equal(t, 5, accepted, "as many as in a second at once")
		require.EqualValues(t, 7, w.Counts().Limited)
		require.InDelta(t, float64(200*time.Millisecond), float64(limited.After), float64(time.Millisecond))
		w.send(free, messageTo(giuseppe))
		time.Sleep(limited.After - 2*time.Millisecond)
		_, err = s.Send(t.Context(), messageTo(giuseppe))
		require.ErrorIs(t, err, appio.ErrLimited)
		time.Sleep(2 * time.Millisecond)
		w.send(s, messageTo(giuseppe))
		time.Sleep(time.Hour)
		results, _ = s.SendBatch(t.Context(), ms)
		require.NoError(t, results[4].Err, "a pause does not save up more")
		require.ErrorIs(t, results[5].Err, appio.ErrLimited)
	})

	inBubble(t, "of deliveries let wait, and hold up nobody else", func(t *testing.T) {
		w := newTown(t)
		slow := w.put(func(s *appio.Service) { s.DeliveryRate = 2 })
		free := w.put(called("libero"))
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		defer end()
		for range 40 {
			w.send(slow, messageTo(giuseppe))
		}
		time.Sleep(time.Second)
		for range 40 {
			w.send(free, messageTo(giuseppe))
		}
		synctest.Wait()
		time.Sleep(time.Second)
		of := func(id appio.ServiceID) (at []appio.Delivery) {
			for _, d := range append(w.email.deliveries(), w.push.deliveries()...) {
				if d.Service == id {
					at = append(at, d)
				}
			}
			return at
		}
		require.Len(t, of("libero"), 80)
		require.LessOrEqual(t, len(of(mensa)), 2*2+2)
		time.Sleep(18 * time.Second)
		require.InDelta(t, 40, len(of(mensa)), 3)
		time.Sleep(25 * time.Second)
		require.Len(t, of(mensa), 80)
		require.Empty(t, w.parked(), "nothing is dropped")
		for _, d := range of(mensa) {
			require.Equal(t, 1, d.Attempt)
		}
	})

	inBubble(t, "may change at any time", func(t *testing.T) {
		w := newTown(t)
		s := w.put(func(s *appio.Service) { s.DeliveryRate = 0.01 })
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		defer end()
		for range 10 {
			w.send(s, messageTo(giuseppe))
		}
		time.Sleep(time.Minute)
		require.Len(t, append(w.email.deliveries(), w.push.deliveries()...), 1)
		w.put()
		time.Sleep(2 * time.Minute)
		require.Len(t, append(w.email.deliveries(), w.push.deliveries()...), 20)
	})

	inBubble(t, "hold over all Runs and Flushes of an engine", func(t *testing.T) {
		w := newTown(t, func(o *appio.Options) { o.Channels = o.Channels[:1]; o.Channels[0].Rate = 10 })
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		start := time.Now()
		for range 60 {
			w.send(s, messageTo(giuseppe))
			w.flush()
		}
		require.Len(t, w.email.deliveries(), 60)
		require.GreaterOrEqual(t, time.Since(start), 5*time.Second)
	})

	t.Run("are checked", func(t *testing.T) {
		t.Parallel()
		require.ErrorIs(t, newService(func(s *appio.Service) { s.SendRate = -1 }).Validate(), appio.ErrInvalid)
		require.ErrorIs(t, newService(func(s *appio.Service) { s.DeliveryRate = 1e10 }).Validate(), appio.ErrInvalid)
		for _, o := range []appio.Options{{SendRate: -1}, {DeliveryRate: -1}} {
			o.Keys = townKeys
			_, err := appio.New(memstore.New(), &o)
			require.ErrorIs(t, err, appio.ErrInvalid)
		}
	})
}

func TestPause(t *testing.T) {
	t.Parallel()
	all := func(w *town) []appio.Delivery { return append(w.email.deliveries(), w.push.deliveries()...) }
	for name, of := range map[string]struct {
		pause, resume func(context.Context, *town) error
	}{
		"a service": {
			func(ctx context.Context, w *town) error { return w.PauseService(ctx, mensa) },
			func(ctx context.Context, w *town) error { return w.ResumeService(ctx, mensa) },
		},
		"a channel": {
			func(ctx context.Context, w *town) error {
				return errors.Join(w.PauseChannel(ctx, appio.Email), w.PauseChannel(ctx, appio.Push))
			},
			func(ctx context.Context, w *town) error {
				return errors.Join(w.ResumeChannel(ctx, appio.Email), w.ResumeChannel(ctx, appio.Push))
			},
		},
	} {
		inBubble(t, name+" begins nothing, and loses nothing", func(t *testing.T) {
			w, ctx := newTown(t), t.Context()
			s := w.put()
			c := w.enrol(giuseppe, appio.Auto)
			w.enrol(personNumber(7), appio.Auto)
			short := func(m *appio.Message) { m.TimeToLive = time.Hour }
			var failing atomic.Bool
			failing.Store(true)
			w.email.answer = func(context.Context, appio.Delivery) error {
				if failing.Load() {
					return errProvider
				}
				return nil
			}
			end := w.run()
			synctest.Wait()                              // Run takes what is sent
			w.send(s, messageTo(personNumber(7), short)) // its e-mail is tried again, in the pause
			synctest.Wait()
			require.Len(t, all(w), 1)
			require.NoError(t, of.pause(ctx, w))
			require.NoError(t, of.pause(ctx, w), "again")
			for range 100 {
				w.send(s, messageTo(giuseppe, short))
			}
			time.Sleep(3 * time.Hour)
			require.Len(t, all(w), 1)
			h, err := w.Health(ctx)
			require.NoError(t, err)
			require.Equal(t, appio.Health{Paused: 101}, h, "what is paused is not late")
			w.put(func(s *appio.Service) { s.Name = "Mensa" })
			end()
			require.NoError(t, c.SetMode(ctx, appio.Manual), "a choice holds, whatever is paused")
			require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true, Channels: appio.Channels{appio.Push: appio.Generic}}))

			later := newTownOn(t, w.store)
			paused, err := later.Paused(ctx)
			require.NoError(t, err)
			require.NotEqual(t, appio.Paused{}, paused, "a pause outlives the engine")
			require.Zero(t, later.flush())

			failing.Store(false)
			end = w.run()
			defer end()
			time.Sleep(10 * time.Second)
			require.Len(t, all(w), 1)
			require.NoError(t, of.resume(ctx, w))
			time.Sleep(10 * time.Second)
			require.Len(t, w.push.deliveries(), 1+100, "they have their whole time from the resume on")
			emails := w.email.deliveries()
			require.Len(t, emails, 1, "what was chosen meanwhile holds")
			require.Equal(t, 2, emails[0].Attempt, "an attempt before the pause counts, and none of the pause")
			require.Empty(t, w.parked())
			h, err = w.Health(ctx)
			require.NoError(t, err)
			require.Equal(t, appio.Health{}, h)
			w.send(s, messageTo(personNumber(7)))
			synctest.Wait()
			require.Len(t, w.push.deliveries(), 1+100+1)
		})
	}

	inBubble(t, "of one channel leaves the other alone, and the message whole", func(t *testing.T) {
		w, ctx := newTown(t), t.Context()
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		require.NoError(t, w.PauseChannel(ctx, appio.Email))
		defer w.run()()
		id := w.send(s, messageTo(giuseppe))
		time.Sleep(time.Minute)
		require.Empty(t, w.email.deliveries())
		require.Len(t, w.push.deliveries(), 1)
		require.NoError(t, w.ResumeChannel(ctx, appio.Email))
		time.Sleep(time.Second)
		require.Len(t, w.email.deliveries(), 1)
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeDelivered}, w.outcomes(giuseppe, id, appio.Email))
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeDelivered}, w.outcomes(giuseppe, id, appio.Push))
	})

	inBubble(t, "that began while the clock was ahead ends with the resume", func(t *testing.T) {
		w, ctx := newTown(t), t.Context()
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		defer w.run()()
		require.NoError(t, w.PauseService(ctx, mensa))
		w.advance(3 * time.Hour)
		w.send(s, messageTo(giuseppe, func(m *appio.Message) { m.TimeToLive = time.Hour }))
		w.advance(-3 * time.Hour)
		time.Sleep(30 * time.Minute)
		require.NoError(t, w.ResumeService(ctx, mensa))
		time.Sleep(10 * time.Second)
		require.Len(t, all(w), 2)
		left := w.push.deliveries()[0].ExpiresAt.Sub(w.now())
		require.Equal(t, time.Hour-10*time.Second, left.Round(time.Second), "they have their whole time from the resume on")
	})

	inBubble(t, "of one channel ends also for what another has no room for", func(t *testing.T) {
		w := newTown(t, func(o *appio.Options) { o.Channels[0].Workers, o.Channels[0].Breaker.Off = 1, true })
		s, ctx := w.put(), t.Context()
		w.enrol(giuseppe, appio.Auto)
		gate, open := newGate(t)
		w.email.answer = func(context.Context, appio.Delivery) error { <-gate; return nil }
		defer w.run()()
		defer open()
		w.send(s, messageTo(giuseppe))
		time.Sleep(time.Minute)
		require.Len(t, w.push.deliveries(), 1)
		require.NoError(t, w.PauseChannel(ctx, appio.Push))
		w.send(s, messageTo(giuseppe))
		time.Sleep(12 * time.Second)
		require.NoError(t, w.ResumeChannel(ctx, appio.Push))
		time.Sleep(2 * time.Second)
		require.Len(t, w.push.deliveries(), 2)
	})

	inBubble(t, "counts the time before it", func(t *testing.T) {
		w, ctx := newTown(t), t.Context()
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		id := w.send(s, messageTo(giuseppe, func(m *appio.Message) { m.TimeToLive = time.Hour }))
		time.Sleep(2 * time.Hour) // nobody delivers
		require.NoError(t, w.PauseService(ctx, mensa))
		defer w.run()()
		time.Sleep(time.Minute)
		require.NoError(t, w.ResumeService(ctx, mensa))
		time.Sleep(time.Minute)
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeExpired}, w.outcomes(giuseppe, id, appio.Push))
	})

	inBubble(t, "awaits what is under way, does not cancel it, and names what it waited for in vain", func(t *testing.T) {
		w, ctx := newTown(t), t.Context()
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		var cancelled atomic.Bool
		lasts := 2 * time.Second
		w.push.answer = func(ctx context.Context, _ appio.Delivery) error {
			select {
			case <-time.After(lasts):
				return nil
			case <-ctx.Done():
				cancelled.Store(true)
				return ctx.Err()
			}
		}
		defer w.run()()
		w.send(s, messageTo(giuseppe))
		synctest.Wait()
		start := time.Now()
		require.NoError(t, w.PauseChannel(ctx, appio.Push))
		require.GreaterOrEqual(t, time.Since(start), 2*time.Second)
		require.Len(t, w.push.deliveries(), 1)
		require.NoError(t, w.ResumeChannel(ctx, appio.Push))
		lasts = 15 * time.Second
		w.send(s, messageTo(giuseppe))
		synctest.Wait()
		var left *appio.InFlightError
		require.ErrorAs(t, w.PauseService(ctx, mensa), &left)
		require.Len(t, left.Deliveries, 1)
		time.Sleep(time.Minute)
		require.False(t, cancelled.Load())
		require.Len(t, w.push.deliveries(), 2)
	})

	inBubble(t, "awaits what is being sent also where it is read back before the store has answered", func(t *testing.T) {
		stored := newHookedStore()
		w := newTownOn(t, stored, func(o *appio.Options) { o.RevokeWait = 15 * time.Second })
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.push.answer = func(context.Context, appio.Delivery) error { time.Sleep(12 * time.Second); return nil }
		defer w.run()()
		synctest.Wait()
		w.send(s, messageTo(giuseppe))
		synctest.Wait()
		stored.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			errs, err := next(ctx, changes)
			time.Sleep(1500 * time.Millisecond) // in which every engine looks
			return errs, err
		})
		require.NoError(t, w.PauseService(t.Context(), mensa))
		stored.onCommit(nil)
		require.Len(t, w.push.deliveries(), 1)
	})

	inBubble(t, "from inside a delivery does not wait for itself", func(t *testing.T) {
		w := newTown(t)
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		var took time.Duration
		w.push.answer = func(ctx context.Context, _ appio.Delivery) error {
			start := time.Now()
			err := w.PauseChannel(ctx, appio.Push)
			took = time.Since(start)
			return err
		}
		w.send(s, messageTo(giuseppe))
		require.Equal(t, 2, w.flush())
		require.LessOrEqual(t, took, 5*time.Second, "RevokeWait is not used up")
		require.Len(t, w.push.deliveries(), 1)
	})

	inBubble(t, "holds for every engine on the store, and so does a resume", func(t *testing.T) {
		a, ctx := newTown(t), t.Context()
		b := newTownOn(t, a.store)
		s := a.put()
		a.enrol(giuseppe, appio.Auto)
		defer a.run()()
		defer b.run()()
		var paused atomic.Bool
		var begun atomic.Int64
		for _, p := range []*postbox{a.email, a.push, b.email, b.push} {
			p.answer = func(context.Context, appio.Delivery) error {
				if paused.Load() {
					begun.Add(1)
				}
				return nil
			}
		}
		stop := make(chan struct{})
		var sending sync.WaitGroup
		for _, from := range []*appio.Sender{s, b.Sender(mensa)} {
			sending.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
						w := messageTo(giuseppe)
						if _, err := from.Send(ctx, w); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		for range 5 {
			time.Sleep(3 * time.Second)
			require.NoError(t, b.PauseService(ctx, mensa))
			paused.Store(true)
			time.Sleep(20 * time.Second)
			paused.Store(false)
			require.NoError(t, a.ResumeService(ctx, mensa))
		}
		close(stop)
		sending.Wait()
		require.Zero(t, begun.Load(), "a delivery began after Pause had returned")
		time.Sleep(30 * time.Second)
		h, err := a.Health(ctx)
		require.NoError(t, err)
		require.Equal(t, appio.Health{}, h, "nothing is left behind by a resume")
	})

	inBubble(t, "whose record is damaged stops all, until somebody says what is paused", func(t *testing.T) {
		w, ctx := newTown(t), t.Context()
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		require.NoError(t, w.PauseChannel(ctx, appio.Email))
		at := store.Read{Owner: "m/", Keys: []store.Key{"paused"}}
		snaps, err := w.store.View(ctx, []store.Read{at})
		require.NoError(t, err)
		damaged := snaps[0].Records[0]
		damaged.Value = append([]byte(nil), damaged.Value...)
		damaged.Value[len(damaged.Value)-1] ^= 1
		_, err = w.store.Commit(ctx, []store.Change{{Owner: at.Owner, Rev: snaps[0].Rev, Put: []store.Record{damaged}}})
		require.NoError(t, err)

		later := newTownOn(t, w.store)
		later.send(later.Sender(s.ID()), messageTo(giuseppe))
		require.Zero(t, later.flush(), "nobody knows what is paused")
		h, err := later.Health(ctx)
		require.NoError(t, err)
		require.ErrorIs(t, h.Err, store.ErrCorrupt)
		require.NoError(t, later.PauseChannel(ctx, appio.Push))
		require.Equal(t, 1, later.flush())
		require.Len(t, later.email.deliveries(), 1)
		h, err = later.Health(ctx)
		require.NoError(t, err)
		require.NoError(t, h.Err)
		require.Equal(t, 1, h.Quarantined, "its bytes are kept")
	})

	inBubble(t, "is of what there is", func(t *testing.T) {
		w, ctx := newTown(t), t.Context()
		require.ErrorIs(t, w.PauseService(ctx, "nessuno"), appio.ErrNotFound)
		require.ErrorIs(t, w.PauseChannel(ctx, "piccione"), appio.ErrNotFound)
		require.NoError(t, w.ResumeService(ctx, "nessuno"))
		w.put()
		w.put(called("altro"))
		require.NoError(t, w.PauseService(ctx, mensa))
		require.NoError(t, w.PauseService(ctx, "altro"))
		require.NoError(t, w.PauseChannel(ctx, appio.Push))
		p, err := w.Paused(ctx)
		require.NoError(t, err)
		require.Equal(t, appio.Paused{Channels: []string{appio.Push}, Services: []appio.ServiceID{"altro", mensa}}, p)
	})
}

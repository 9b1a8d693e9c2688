package appio_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store"
)

func TestLeases(t *testing.T) {
	t.Parallel()

	// crash flushes with an engine that never gets to an answer, as if it had died.
	crash := func(t *testing.T, s store.Store) (end func()) {
		release, open := newGate(t)
		w := newTownOn(t, s)
		hang := func(context.Context, appio.Delivery) error { <-release; return errProvider }
		w.email.answer, w.push.answer = hang, hang
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = w.Flush(ctx)
		}()
		synctest.Wait()
		return func() {
			open()
			cancel()
			<-done
		}
	}

	inBubble(t, "work of an engine that died is taken over when its lease and the skew of clocks are over", func(t *testing.T) {
		w := newTown(t)
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		id := w.send(s, messageTo(giuseppe))
		end := crash(t, w.store)
		w.advance(31 * time.Second)
		require.Zero(t, w.flush())
		w.advance(2 * time.Second)
		require.Equal(t, 2, w.flush())
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeDelivered}, w.outcomes(giuseppe, id, appio.Email))
		end()
		synctest.Wait()
		require.Len(t, w.explain(giuseppe, id).Outcomes, 2, "a late failure says nothing")
	})

	inBubble(t, "work that was claimed five times without an outcome is parked as suspect", func(t *testing.T) {
		w := newTown(t)
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe))
		var ahead time.Duration
		for range 5 {
			release, open := newGate(t)
			dead := newTownOn(t, w.store)
			dead.advance(ahead)
			hang := func(context.Context, appio.Delivery) error { <-release; return errProvider }
			dead.email.answer, dead.push.answer = hang, hang
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = dead.Flush(ctx)
			}()
			synctest.Wait()
			defer func() {
				open()
				cancel()
				<-done
			}()
			ahead += 33 * time.Second
		}
		w.advance(ahead)
		require.Zero(t, w.flush())
		ps := w.parked()
		require.Len(t, ps, 2)
		require.Contains(t, ps[0].Cause, "suspect")
		require.Zero(t, ps[0].Attempts, "attempts are spent by outcomes only")
		require.NoError(t, w.Replay(t.Context()))
		require.Equal(t, 2, w.flush())
	})

	inBubble(t, "a delivery that might not end before its lease is not begun", func(t *testing.T) {
		h := newHookedStore()
		w := newTownOn(t, h)
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe))
		h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			h.onRead(func() error { time.Sleep(9 * time.Second); return nil }) // of 30, 20 for the delivery, 2 of margin
			h.onCommit(nil)
			return next(ctx, changes)
		})
		require.Zero(t, w.flush())
		require.Empty(t, w.email.deliveries())
		h.onRead(func() error { time.Sleep(time.Second); return nil })
		require.Equal(t, 2, w.flush(), "it goes back, and is begun under a new one")
		require.Equal(t, 1, w.email.deliveries()[0].Attempt)
	})

	inBubble(t, "of two engines on a store each delivery is of one", func(t *testing.T) {
		a := newTown(t)
		b := newTownOn(t, a.store)
		s := a.put()
		const n = 200
		for i := range n {
			a.enrol(personNumber(i), appio.Auto)
		}
		endA, endB := a.run(), b.run()
		time.Sleep(time.Second)
		for i := range n {
			by := []*appio.Sender{s, b.Sender(mensa)}[i%2]
			_, err := by.Send(t.Context(), messageTo(personNumber(i)))
			require.NoError(t, err)
		}
		time.Sleep(5 * time.Second)
		ids := map[appio.DeliveryID]bool{}
		ds := slices.Concat(a.email.deliveries(), a.push.deliveries(), b.email.deliveries(), b.push.deliveries())
		for _, d := range ds {
			ids[d.ID] = true
		}
		require.Len(t, ds, 2*n)
		require.Len(t, ids, 2*n)
		endA()
		endB()
	})

	for name, revoke := range map[string]func(ctx context.Context, w *town, c *appio.Citizen) error{
		"of a service": func(ctx context.Context, _ *town, c *appio.Citizen) error {
			return c.SetPreference(ctx, mensa, appio.Preference{})
		},
		"by a change of mode":  func(ctx context.Context, _ *town, c *appio.Citizen) error { return c.SetMode(ctx, appio.Manual) },
		"of the addresses":     func(ctx context.Context, _ *town, c *appio.Citizen) error { return noAddresses(ctx, c) },
		"by erasure":           func(ctx context.Context, _ *town, c *appio.Citizen) error { return c.Erase(ctx) },
		"by the service's end": func(ctx context.Context, w *town, _ *appio.Citizen) error { return stop(ctx, w) },
	} {
		inBubble(t, "a revocation "+name+" waits for what another engine may be sending", func(t *testing.T) {
			w, ctx := newTown(t), t.Context()
			s := w.put()
			c := w.enrol(giuseppe, appio.Auto)
			require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true, Channels: appio.On(appio.Email, appio.Push)}))
			w.flush()
			w.send(s, messageTo(giuseppe))
			end := crash(t, w.store)
			start := time.Now()
			var inFlight *appio.InFlightError
			require.ErrorAs(t, revoke(ctx, w, c), &inFlight)
			require.Equal(t, 5*time.Second, time.Since(start))
			require.Len(t, inFlight.Deliveries, 2)
			end()
		})
	}

	for name, change := range map[string]func(ctx context.Context, w *town, c *appio.Citizen) error{
		"begins": func(ctx context.Context, _ *town, c *appio.Citizen) error { return night(ctx, c) },
		"binds a service that had a law": func(ctx context.Context, w *town, c *appio.Citizen) error {
			if err := night(ctx, c); err != nil {
				return err
			}
			return w.PutService(ctx, newService())
		},
	} {
		inBubble(t, "so does a night that "+name, func(t *testing.T) { // it is past midnight
			w, ctx := newTown(t, func(o *appio.Options) { o.Channels[1].Interrupts = true }), t.Context()
			law := func(s *appio.Service) { s.QuietBasis = "d.lgs. 1/2018" }
			if name == "begins" {
				law = func(*appio.Service) {}
			}
			s := w.put(law)
			c := w.enrol(giuseppe, appio.Auto)
			w.send(s, messageTo(giuseppe))
			time.Sleep(time.Minute) // so that no lease can be older than the last change
			end := crash(t, w.store)
			var inFlight *appio.InFlightError
			require.ErrorAs(t, change(ctx, w, c), &inFlight)
			require.Len(t, inFlight.Deliveries, 1, "push, and not the e-mail")
			end()
		})
	}

	inBubble(t, "a revocation waits for no more than what it refuses, and until that has ended", func(t *testing.T) {
		w, ctx := newTown(t), t.Context()
		s := w.put()
		w.put(func(s *appio.Service) { s.ID = "tari" })
		c := w.enrol(giuseppe, appio.Auto)
		time.Sleep(time.Minute) // so that no lease can be older than the last change
		w.send(s, messageTo(giuseppe))
		end := crash(t, w.store)
		start := time.Now()
		require.NoError(t, c.SetPreference(ctx, "tari", appio.Preference{}))
		w.put(func(s *appio.Service) { s.Name = "Mensa e merende" })
		require.Zero(t, time.Since(start))
		var inFlight *appio.InFlightError
		require.ErrorAs(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { delete(p.Channels, appio.Push); return nil }), &inFlight)
		require.Len(t, inFlight.Deliveries, 1)
		time.AfterFunc(2*time.Second, end)
		start = time.Now()
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{}))
		require.GreaterOrEqual(t, time.Since(start), 2*time.Second)
		require.Less(t, time.Since(start), 3*time.Second)
	})
}

func night(ctx context.Context, c *appio.Citizen) error {
	return c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Quiet.To = 7 * time.Hour; return nil })
}

func noAddresses(ctx context.Context, c *appio.Citizen) error {
	return c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Addresses = nil; return nil })
}

func stop(ctx context.Context, w *town) error {
	return w.PutService(ctx, newService(func(s *appio.Service) { s.State = appio.Stopped }))
}

func TestRoom(t *testing.T) {
	t.Parallel()
	inBubble(t, "what is stuck at the head of a service's queue does not hold up what is behind it", func(t *testing.T) {
		w, ctx := newTown(t, func(o *appio.Options) { o.Channels[0].Workers = 1 }), t.Context()
		gate, _ := newGate(t)
		w.email.answer = func(context.Context, appio.Delivery) error { <-gate; return nil }
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.enrol(matteo, appio.Auto)
		require.NoError(t, w.person(giuseppe).UpdateProfile(ctx, func(p *appio.Profile) error { p.Channels = appio.On(appio.Email); return nil }))
		require.NoError(t, w.person(matteo).UpdateProfile(ctx, func(p *appio.Profile) error { p.Channels = appio.On(appio.Push); return nil }))
		for range 600 {
			w.send(s, messageTo(giuseppe))
		}
		for range 20 {
			w.send(s, messageTo(matteo))
		}
		end := w.run()
		time.Sleep(10 * time.Second)
		require.Len(t, w.push.deliveries(), 20)
		end()
	})

	inBubble(t, "what a channel has no room for is left to other engines on the store", func(t *testing.T) {
		w := newTown(t, func(o *appio.Options) { o.Channels[0].Workers = 1 })
		other := newTownOn(t, w.store)
		release, open := newGate(t)
		w.email.answer = func(context.Context, appio.Delivery) error { <-release; return nil }
		s := w.put()
		for i := range 50 {
			w.enrol(personNumber(i), appio.Auto)
		}
		end := w.run()
		time.Sleep(time.Second)
		const n = 600
		for i := range n {
			w.send(s, messageTo(personNumber(i%50)))
		}
		synctest.Wait()
		require.Len(t, w.push.deliveries(), n, "it holds up no other channel")
		other.flush()
		require.GreaterOrEqual(t, len(other.email.deliveries()), n/2)
		open()
		time.Sleep(time.Minute)
		require.Equal(t, n, len(w.email.deliveries())+len(other.email.deliveries()))
		require.Empty(t, openWork(t, w.store))
		end()
	})
}

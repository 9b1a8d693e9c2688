package appio_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/alone"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

func TestErase(t *testing.T) {
	t.Parallel()

	// fill gives a citizen some of everything.
	fill := func(w *town, c *appio.Citizen, n int) (ids []appio.MessageID) {
		ctx := w.t.Context()
		s := w.put()
		special := w.put(func(s *appio.Service) { s.ID, s.Category = "bonus", appio.Special })
		require.NoError(w.t, special.Activate(ctx, giuseppe, appio.Active, time.Time{}))
		ms := make([]appio.Message, n)
		for i := range ms {
			ms[i] = messageTo(giuseppe)
		}
		rs, err := s.SendBatch(ctx, ms)
		require.NoError(w.t, err)
		for i, r := range rs {
			ids = append(ids, r.ID)
			if i%100 == 0 {
				require.NoError(w.t, c.MarkRead(ctx, r.ID))
			}
		}
		w.email.answer = func(context.Context, appio.Delivery) error { return appio.Permanent(errProvider) }
		w.flush()
		require.Len(w.t, w.parked(), n)
		w.email.answer = nil
		_, err = s.SendBatch(ctx, ms) // and this is pending
		require.NoError(w.t, err)
		require.NoError(w.t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true, Channels: appio.On(appio.Email, appio.Push)}))
		w.send(s, messageTo(giuseppe, withKey("k")))
		return ids
	}

	t.Run("needs a login at level 2", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.enrol(giuseppe, appio.Auto)
		for _, l := range []appio.Level{0, appio.L1, -1} {
			require.ErrorIs(t, w.Citizen(appio.Identity{Code: giuseppe, Level: l}).Erase(ctx), appio.ErrForbidden)
		}
		p, err := w.person(giuseppe).Profile(ctx)
		require.NoError(t, err)
		require.Equal(t, appio.Auto, p.Mode)
		require.NoError(t, w.Citizen(appio.Identity{Code: giuseppe, Level: appio.L3}).Erase(ctx))
	})

	t.Run("leaves nothing to be read from the moment it returns", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		ids := fill(w, c, 10)
		require.NoError(t, c.Erase(ctx))
		delivered := len(w.email.deliveries())

		p, err := c.Profile(ctx)
		require.NoError(t, err)
		require.Zero(t, p)
		pref, err := c.Preference(ctx, mensa)
		require.NoError(t, err)
		require.Zero(t, pref)
		_, err = c.Message(ctx, ids[0])
		require.ErrorIs(t, err, appio.ErrErasing)
		_, err = c.Inbox(nil).Page(ctx, "", 10)
		require.ErrorIs(t, err, appio.ErrErasing)
		require.ErrorIs(t, c.SetMode(ctx, appio.Auto), appio.ErrErasing)
		require.ErrorIs(t, c.UpdateProfile(ctx, func(*appio.Profile) error { return nil }), appio.ErrErasing)
		require.ErrorIs(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true}), appio.ErrErasing)
		require.ErrorIs(t, c.MarkRead(ctx, ids[0]), appio.ErrErasing)
		require.ErrorIs(t, c.Archive(ctx, ids[0], true), appio.ErrErasing)
		require.NoError(t, c.Erase(ctx), "a second time is the same")

		s := w.Sender(mensa)
		r, err := s.Send(ctx, messageTo(giuseppe))
		require.NoError(t, err)
		require.Equal(t, appio.Rejected, r.Status)
		may, err := s.CanContact(ctx, giuseppe)
		require.NoError(t, err)
		require.False(t, may)
		w.flush()
		require.Len(t, w.email.deliveries(), delivered, "nothing is sent")
		require.Empty(t, collect(t, c.Inbox(nil)))
	})

	t.Run("removes all records but the proof, in pages", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		other := w.enrol(matteo, appio.Auto)
		const n = 600 // more than two pages of each kind
		fill(w, c, n)
		kept := w.send(w.Sender(mensa), messageTo(matteo))
		require.NoError(t, c.Erase(ctx))
		w.flush()
		left := map[string]int{}
		for _, k := range keysOf(t, w.store, citizens) {
			prefix, _, _ := strings.Cut(string(k), "/")
			left[prefix]++
		}
		delete(left, "o") // what became of the deliveries
		require.Equal(t, map[string]int{
			"d": 2*n + 1 + 1,       // decisions, and that of the other
			"h": 5 + 2,             // history: activation, two of the profile, preference, erasure; and of the other
			"i": 1,                 // what the key was used for
			"K": 1, "P": 1, "m": 1, // the other's
		}, left)
		require.Empty(t, w.parked())
		h, err := w.Health(ctx)
		require.NoError(t, err)
		require.Equal(t, appio.Health{}, h)
		_, err = other.Message(ctx, kept)
		require.NoError(t, err)

		w.advance(31 * 24 * time.Hour)
		w.flush()
		for _, k := range keysOf(t, w.store, citizens) {
			require.False(t, strings.HasPrefix(string(k), "i/"))
		}
	})

	t.Run("a life after it starts clean", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		ids := fill(w, c, 5)
		require.NoError(t, c.Erase(ctx))
		w.flush()
		require.NoError(t, c.SetMode(ctx, appio.Manual))
		p, err := c.Profile(ctx)
		require.NoError(t, err)
		require.Equal(t, appio.Profile{
			Mode: appio.Manual, SettingsVersion: 1, Inbox: true, Channels: appio.Channels{appio.Push: appio.Generic}, Version: 1,
		}, p)
		pref, err := c.Preference(ctx, mensa)
		require.NoError(t, err)
		require.False(t, pref.Inbox)
		pref, err = c.Preference(ctx, "bonus")
		require.NoError(t, err)
		require.False(t, pref.Inbox)
		require.Empty(t, collect(t, c.Inbox(nil)))
		require.Empty(t, collect(t, c.Inbox(&appio.InboxOptions{Archived: true})))
		_, err = c.Message(ctx, ids[0])
		require.ErrorIs(t, err, appio.ErrNotFound)
		require.Zero(t, w.flush())

		st, err := w.Sender(mensa).Status(ctx, giuseppe, ids[0])
		require.NoError(t, err)
		require.Equal(t, appio.Processed, st.Status, "that it was lawfully sent is still known")
		require.True(t, appio.Decide(w.explain(giuseppe, ids[0]).Facts).Equal(w.explain(giuseppe, ids[0]).Decision))

		require.NoError(t, c.SetMode(ctx, appio.Auto))
		w.send(w.Sender(mensa), messageTo(giuseppe))
		require.Len(t, collect(t, c.Inbox(nil)), 1)
		require.NoError(t, c.Erase(ctx))
		w.flush()
		require.NoError(t, c.SetMode(ctx, appio.Auto))
		require.Empty(t, collect(t, c.Inbox(nil)))
	})

	t.Run("of a person who never came does nothing", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		require.NoError(t, w.person(giuseppe).Erase(ctx))
		require.Empty(t, keysOf(t, w.store, citizens))
		require.NoError(t, w.person(giuseppe).SetMode(ctx, appio.Auto))
	})

	t.Run("of a person whom only services know removes what they said", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put(func(s *appio.Service) { s.Category = appio.Special })
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Active, time.Time{}))
		require.NoError(t, w.person(giuseppe).Erase(ctx))
		w.flush()
		for _, k := range keysOf(t, w.store, citizens) {
			require.True(t, strings.HasPrefix(string(k), "h/"), k)
		}
	})

	inBubble(t, "goes on while Run works, and survives a change of engine", func(t *testing.T) {
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		fill(w, c, 300)
		require.NoError(t, c.Erase(ctx))
		require.NoError(t, w.Close())
		w = newTownOn(t, w.store)
		end := w.run()
		time.Sleep(10 * time.Second)
		require.NoError(t, w.person(giuseppe).SetMode(ctx, appio.Auto))
		for _, k := range keysOf(t, w.store, citizens) {
			require.False(t, strings.HasPrefix(string(k), "m/"))
		}
		end()
	})

	inBubble(t, "while a delivery is under way cancels it, and its outcome leaves no open work", func(t *testing.T) {
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		s := w.put()
		var cancelled bool
		w.email.answer = func(ctx context.Context, d appio.Delivery) error {
			<-ctx.Done()
			cancelled = true
			return context.Cause(ctx)
		}
		end := w.run()
		time.Sleep(time.Second)
		w.send(s, messageTo(giuseppe))
		synctest.Wait()
		require.NoError(t, c.Erase(ctx))
		require.True(t, cancelled)
		time.Sleep(time.Minute)
		require.Empty(t, openWork(t, w.store))
		require.Empty(t, w.parked())
		require.NoError(t, c.SetMode(ctx, appio.Auto))
		end()
	})
}

// An interrupted store calls f once, after it has looked for due work; from the moment when left is 0 on it takes no change.
type interrupted struct {
	store.Store
	f    func()
	left int
}

func (s *interrupted) Due(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
	recs, err := s.Store.Due(ctx, q)
	if f := s.f; f != nil && slices.ContainsFunc(recs, func(r store.Record) bool { return strings.HasPrefix(string(r.Key), "z/erase") }) {
		s.f = nil
		f()
	}
	return recs, err
}

func (s *interrupted) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	if s.left--; s.left < 0 {
		return nil, store.ErrFailed
	}
	return s.Store.Commit(ctx, changes)
}

// An erasure goes on in steps, each with a range of its own. An engine that saw one step due, and comes to it when another engine
// has done it, must not take its range for that of the next step.
func TestEraseByTwoEngines(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := memstore.New()
	w := newTownOn(t, s)
	c := w.enrol(giuseppe, appio.Auto)
	w.put()
	require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true, Channels: appio.On(appio.Email)}))
	require.NoError(t, c.Erase(ctx))

	one := newTownOn(t, &interrupted{Store: s, left: 1})
	other := newTownOn(t, &interrupted{Store: s, left: 1000, f: func() {
		_, err := one.Flush(ctx) // the first step, and no more
		require.ErrorIs(t, err, store.ErrFailed)
	}})
	other.flush()
	other.flush() // what it could not do for having seen too little
	for _, k := range keysOf(t, s, citizens) {
		require.True(t, strings.HasPrefix(string(k), "h/"), "%q is left", k)
	}
	w.enrol(giuseppe, appio.Auto)
	_, err := c.Preference(ctx, mensa)
	require.NoError(t, err)
}

func TestCleanUp(t *testing.T) {
	t.Parallel()

	t.Run("voids a long queue of pending work after a revocation, in pages", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s, other := w.put(), w.put(func(s *appio.Service) { s.ID = "tari" })
		c := w.enrol(giuseppe, appio.Auto)
		ms := make([]appio.Message, 700)
		for i := range ms {
			ms[i] = messageTo(giuseppe)
		}
		rs, err := s.SendBatch(ctx, ms)
		require.NoError(t, err)
		kept := w.send(other, messageTo(giuseppe))
		counted := len(keysOf(t, w.store, citizens))
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{}))
		require.LessOrEqual(t, len(keysOf(t, w.store, citizens)), counted+3, "the change itself is small")
		require.Equal(t, 2, w.flush())
		require.Empty(t, openWork(t, w.store))
		for _, r := range rs {
			require.Equal(t, []appio.OutcomeResult{appio.OutcomeVoid}, w.outcomes(giuseppe, r.ID, appio.Email))
			require.Equal(t, []appio.OutcomeResult{appio.OutcomeVoid}, w.outcomes(giuseppe, r.ID, appio.Push))
		}
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeDelivered}, w.outcomes(giuseppe, kept, appio.Email))
	})

	t.Run("leaves what is still allowed, and its place in time", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		w.email.answer = func(context.Context, appio.Delivery) error { return errProvider }
		id := w.send(s, messageTo(giuseppe))
		w.flush()
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true, Channels: appio.On(appio.Email)}))
		require.Zero(t, w.flush())
		w.email.answer = nil
		w.advance(61 * time.Second)
		require.Equal(t, 1, w.flush())
		require.Equal(t, 2, w.email.deliveries()[0].Attempt)
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeDelivered}, w.outcomes(giuseppe, id, appio.Email))
	})

	t.Run("a record that cannot be read is put aside, its bytes unchanged, and blocks nothing", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe))
		w.send(s, messageTo(giuseppe))
		var bad store.Record
		for _, r := range recordsOf(t, w.store, citizens) {
			if strings.HasPrefix(string(r.Key), "q/") {
				bad = r
				break
			}
		}
		bad.Value[len(bad.Value)/2] ^= 0x40
		overwrite(t, w.store, bad.Owner, store.Change{Put: []store.Record{bad}})
		require.Equal(t, 2, w.flush())
		h, err := w.Health(ctx)
		require.NoError(t, err)
		require.Equal(t, 1, h.Quarantined)
		require.Zero(t, h.Waiting)
		found := false
		for _, r := range recordsOf(t, w.store, citizens) {
			if strings.HasPrefix(string(r.Key), "?/") {
				found = true
				require.Equal(t, bad.Value, r.Value)
				require.True(t, strings.HasSuffix(string(r.Key), string(bad.Key)))
			}
		}
		require.True(t, found)
		require.Zero(t, w.flush())
	})

	t.Run("goes on in a store that has no room for anything but deleting", func(t *testing.T) {
		t.Parallel()
		base := newHookedStore()
		w, ctx := newTownOn(t, base), t.Context()
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe, func(m *appio.Message) { m.TimeToLive = 7 * 24 * time.Hour })) // its delivery is due, and cannot be claimed
		for i := range 300 {
			r, err := s.Send(ctx, messageTo(personNumber(i)))
			require.NoError(t, err)
			require.Equal(t, appio.Rejected, r.Status)
		}
		rejected := func() (n int) {
			for _, k := range keysOf(t, base.Store, citizens) {
				if strings.HasPrefix(string(k), "d/") {
					n++
				}
			}
			return n
		}
		require.Equal(t, 301, rejected())
		base.onCommit(func(ctx context.Context, changes []store.Change, commit commitFunc) ([]error, error) {
			for _, c := range changes {
				if len(c.Put) > 0 {
					return nil, store.ErrFull
				}
			}
			return commit(ctx, changes)
		})
		w.advance(91 * 24 * time.Hour)
		_, err := w.Flush(ctx)
		require.ErrorIs(t, err, store.ErrFull)
		require.Equal(t, 1, rejected())
		base.onCommit(nil)
		w.flush()
		require.Empty(t, openWork(t, base))
	})

	inBubble(t, "goes on where an engine begins in such a store, and has news to pass on", func(t *testing.T) {
		base := newHookedStore()
		open := func() *town {
			return newTownOn(t, alone.Store{Store: base}, func(o *appio.Options) { o.Payments = &gateway{} })
		}
		w := open()
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe, func(m *appio.Message) { m.Payment = &appio.Notice{Number: "301000000000000123", Amount: 1} }))
		_, err := s.Send(t.Context(), messageTo(matteo))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		decisions := func() (n int) {
			for _, k := range keysOf(t, base.Store, citizens) {
				if strings.HasPrefix(string(k), "d/") {
					n++
				}
			}
			return n
		}
		require.Equal(t, 2, decisions())
		var full atomic.Bool
		full.Store(true)
		base.onCommit(func(ctx context.Context, changes []store.Change, commit commitFunc) ([]error, error) {
			for _, c := range changes {
				if len(c.Put) > 0 && full.Load() {
					return nil, store.ErrFull
				}
			}
			return commit(ctx, changes)
		})
		time.Sleep(91 * 24 * time.Hour)
		w = open()
		end := w.run()
		time.Sleep(time.Minute)
		require.Equal(t, 1, decisions(), "what was rejected has gone")
		full.Store(false)
		time.Sleep(time.Minute)
		require.Empty(t, openWork(t, base))
		end()
	})

	t.Run("a clean-up that cannot be read is put aside too", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		require.NoError(t, w.enrol(giuseppe, appio.Auto).SetPreference(ctx, mensa, appio.Preference{}))
		var bad store.Record
		for _, r := range recordsOf(t, w.store, citizens) {
			if strings.HasPrefix(string(r.Key), "z/") {
				bad = r
			}
		}
		require.NotEmpty(t, bad.Key)
		bad.Value[len(bad.Value)-1] ^= 1
		overwrite(t, w.store, bad.Owner, store.Change{Put: []store.Record{bad}})
		w.flush()
		h, err := w.Health(ctx)
		require.NoError(t, err)
		require.Equal(t, 1, h.Quarantined)
	})
}

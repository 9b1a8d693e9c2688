package appio_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store/memstore"
)

func hashOf(code fiscalcode.Person) string {
	sum := sha256.Sum256([]byte(code))
	return hex.EncodeToString(sum[:])
}

// readFeed is a day of the feed as who reads all of it has it, by hash.
func readFeed(t testing.TB, s *appio.Sender, day time.Time) map[string]bool {
	t.Helper()
	got := map[string]bool{}
	for f, err := range s.SubscriptionsFeed(day).All(t.Context()) {
		require.NoError(t, err)
		_, twice := got[f.Hash]
		require.False(t, twice, "a person is in the feed twice")
		got[f.Hash] = f.Subscribed
	}
	return got
}

func TestSubscriptionsFeed(t *testing.T) {
	t.Parallel()
	clock := newHandClock("2026-04-10 08:00")
	w := newTown(t, func(o *appio.Options) { o.Now, o.FeedDays = clock.now, 30 })
	ctx, today := t.Context(), clock.now()
	s := w.put()
	const other appio.ServiceID = "tari"
	w.put(func(s *appio.Service) { s.ID = other })
	notYet := func() {
		t.Helper()
		_, err := s.SubscriptionsFeed(today).Page(ctx, "", 0)
		require.ErrorIs(t, err, appio.ErrNotFound)
	}
	anna, bruno := w.person(giuseppe), w.person(matteo)
	require.NoError(t, anna.SetMode(ctx, appio.Auto))
	require.NoError(t, anna.SetPreference(ctx, other, appio.Preference{}))
	require.NoError(t, bruno.SetMode(ctx, appio.Manual))
	require.NoError(t, bruno.SetPreference(ctx, mensa, appio.Preference{Inbox: true}))
	notYet()
	clock.set(at("2026-04-11 01:59").Add(59 * time.Second)) // midnight in Greenwich is at two in Rome
	notYet()
	clock.set(at("2026-04-11 02:00").Add(2 * time.Second))
	notYet() // Run has not come by
	_, err := w.Flush(ctx)
	require.NoError(t, err)
	require.Equal(t, map[string]bool{hashOf(giuseppe): true, hashOf(matteo): true}, readFeed(t, s, today))
	require.Empty(t, readFeed(t, w.Sender(other), today), "all services and not this one: neither, by IO's rule")

	// A day later Bruno changes his mind twice, and Anna goes to the other mode, where nothing of before counts.
	next := clock.now()
	require.NoError(t, bruno.SetPreference(ctx, mensa, appio.Preference{}))
	require.NoError(t, bruno.SetPreference(ctx, mensa, appio.Preference{Inbox: true}))
	require.NoError(t, bruno.SetPreference(ctx, mensa, appio.Preference{}))
	require.NoError(t, anna.SetPreference(ctx, other, appio.Preference{Inbox: true}))
	require.NoError(t, anna.SetMode(ctx, appio.Manual))
	clock.set(next.AddDate(0, 0, 1))
	_, err = w.Flush(ctx)
	require.NoError(t, err)
	require.Equal(t, map[string]bool{hashOf(giuseppe): false, hashOf(matteo): false}, readFeed(t, s, next))
	require.Equal(t, map[string]bool{hashOf(giuseppe): false}, readFeed(t, w.Sender(other), next))

	// Erasure takes a person out of the days before, and tells those who may have read them.
	last := clock.now()
	require.NoError(t, bruno.Erase(ctx))
	clock.set(last.AddDate(0, 0, 1))
	_, err = w.Flush(ctx)
	require.NoError(t, err)
	require.Equal(t, map[string]bool{hashOf(giuseppe): true}, readFeed(t, s, today))
	require.Equal(t, map[string]bool{hashOf(giuseppe): false}, readFeed(t, s, next))
	require.Equal(t, map[string]bool{hashOf(matteo): false}, readFeed(t, s, last))

	// And after some days nothing is left of it.
	clock.set(today.AddDate(0, 0, 31))
	_, err = s.SubscriptionsFeed(today).Page(ctx, "", 0)
	require.ErrorIs(t, err, appio.ErrNotFound)
	clock.set(today.AddDate(0, 0, 40))
	_, err = w.Flush(ctx)
	require.NoError(t, err)
	seen, err := w.Check(ctx, func(f appio.Finding) { t.Error(f) })
	require.NoError(t, err)
	for kind, n := range seen.Records {
		require.False(t, strings.Contains(kind, "feed"), "%d of %s", n, kind)
	}
}

func TestWhoMayReadTheFeed(t *testing.T) {
	t.Parallel()
	w := newTown(t, func(o *appio.Options) { o.FeedDays = 7 })
	ctx, yesterday := t.Context(), w.now().AddDate(0, 0, -1)
	page := func(s *appio.Sender) error {
		_, err := s.SubscriptionsFeed(yesterday).Page(ctx, "", 0)
		return err
	}
	require.ErrorIs(t, page(w.Sender("nobody")), appio.ErrNotFound)
	require.ErrorIs(t, page(w.put(func(s *appio.Service) { s.State = appio.Trial })), appio.ErrForbidden)
	s := w.put()
	require.NoError(t, page(s))
	key, err := w.NewKey(ctx, mensa, appio.Primary)
	require.NoError(t, err)
	byKey, err := w.SenderByKey(ctx, key, netip.Addr{})
	require.NoError(t, err)
	require.NoError(t, page(byKey))
	w.put(func(s *appio.Service) { s.Scopes = []appio.Scope{appio.WriteMessages} })
	require.ErrorIs(t, page(byKey), appio.ErrForbidden)
	require.NoError(t, page(s), "in-process")
	_, err = w.NewKey(ctx, mensa, appio.Primary)
	require.NoError(t, err)
	require.ErrorIs(t, page(byKey), appio.ErrUnauthorized)
	require.ErrorIs(t, page(newTown(t).put()), appio.ErrUnsupported)
	_, err = s.SubscriptionsFeed(yesterday).Page(ctx, "nonsense", 0)
	require.ErrorIs(t, err, appio.ErrInvalid)
	_, err = appio.New(memstore.New(), &appio.Options{Keys: townKeys, FeedDays: 91})
	require.ErrorIs(t, err, appio.ErrInvalid)
}

// A day is read by pages of any size, each person once; of a person's choices all count that were made for the mode in force.
func TestFeedByPages(t *testing.T) {
	t.Parallel()
	clock := newHandClock("2026-04-10 08:00")
	w := newTown(t, func(o *appio.Options) { o.Now, o.FeedDays = clock.now, 30 })
	ctx, day := t.Context(), clock.now()
	s := w.put()
	want := map[string]bool{}
	for i := range 700 {
		c := w.person(personNumber(i))
		switch i % 4 {
		case 0, 1:
			require.NoError(t, c.SetMode(ctx, appio.Auto))
			want[hashOf(personNumber(i))] = true
		case 2:
			require.NoError(t, c.SetMode(ctx, appio.Manual))
			require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true}))
			want[hashOf(personNumber(i))] = true
		}
		if i%4 == 1 { // all services, and not this one
			require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{}))
			delete(want, hashOf(personNumber(i)))
		}
	}
	clock.set(day.AddDate(0, 0, 1))
	_, err := w.Flush(ctx)
	require.NoError(t, err)
	for _, limit := range []int{1, 3, 100} {
		got := map[string]bool{}
		for cursor, more := appio.Cursor(""), true; more; more = cursor != "" {
			p, err := s.SubscriptionsFeed(day).Page(ctx, cursor, limit)
			require.NoError(t, err)
			require.LessOrEqual(t, len(p.Items), limit)
			for _, f := range p.Items {
				got[f.Hash] = f.Subscribed
			}
			cursor = p.Next
			if p.Prev != "" {
				_, err := s.SubscriptionsFeed(day).Page(ctx, p.Prev, limit)
				require.ErrorIs(t, err, appio.ErrInvalid)
			}
		}
		require.Equal(t, want, got, "by %d", limit)
	}

	// Closing the inbox takes all away, and opening it brings back what the mode and the choices say.
	for _, open := range []bool{false, true} {
		day = clock.now()
		for i := range 4 {
			require.NoError(t, w.person(personNumber(i)).UpdateProfile(ctx, func(p *appio.Profile) error { p.Inbox = open; return nil }))
		}
		clock.set(day.AddDate(0, 0, 1))
		_, err := w.Flush(ctx)
		require.NoError(t, err)
		want := map[string]bool{hashOf(personNumber(0)): open, hashOf(personNumber(1)): false, hashOf(personNumber(2)): open}
		if open {
			delete(want, hashOf(personNumber(1)))
		}
		require.Equal(t, want, readFeed(t, s, day), "open %t", open)
	}
}

// A fedPerson is what the model knows of a person.
type fedPerson struct {
	mode   appio.Mode
	inbox  bool
	chosen map[appio.ServiceID]bool
}

// fedKeys are the keys of a day of IO's feed: of profiles, and of services.
type fedKeys struct {
	profiles map[fiscalcode.Person]bool
	services map[appio.ServiceID]map[fiscalcode.Person]bool
}

// A fedModel is what the feed is to be: IO's keys, and its sets of them.
type fedModel struct {
	people map[fiscalcode.Person]*fedPerson
	listed bool // somebody's choices count again
	days   map[time.Time]*fedKeys
}

func (m *fedModel) day(t time.Time) *fedKeys {
	t = t.UTC().Truncate(24 * time.Hour)
	if m.days[t] == nil {
		m.days[t] = &fedKeys{map[fiscalcode.Person]bool{}, map[appio.ServiceID]map[fiscalcode.Person]bool{}}
	}
	return m.days[t]
}

func (k *fedKeys) forget(code fiscalcode.Person) {
	delete(k.profiles, code)
	for _, of := range k.services {
		delete(of, code)
	}
}

func (k *fedKeys) say(id appio.ServiceID, code fiscalcode.Person, on bool) {
	if k.services[id] == nil {
		k.services[id] = map[fiscalcode.Person]bool{}
	}
	k.services[id][code] = on
}

func (p *fedPerson) reached() bool { return p.inbox && p.mode != appio.Undecided }

// change is one change of a profile.
func (m *fedModel) change(now time.Time, code fiscalcode.Person, change func(p *fedPerson)) {
	p := m.people[code]
	if p == nil {
		p = &fedPerson{chosen: map[appio.ServiceID]bool{}}
		m.people[code] = p
	}
	before := *p
	change(p)
	if p.mode != before.mode {
		p.chosen = map[appio.ServiceID]bool{}
	}
	day := m.day(now)
	switch {
	case before.reached() && !p.reached():
		day.forget(code)
		day.profiles[code] = false
	case p.reached() && (!before.reached() || p.mode != before.mode):
		day.forget(code)
		if p.mode == appio.Auto {
			day.profiles[code] = true
		} else if before.reached() {
			day.profiles[code] = false
		}
		m.listed = m.listed || p.mode == before.mode
		for id, on := range p.chosen {
			if on != (p.mode == appio.Auto) {
				day.say(id, code, on)
			}
		}
	}
}

func (m *fedModel) prefer(now time.Time, code fiscalcode.Person, id appio.ServiceID, on bool) {
	p := m.people[code]
	was, chosen := p.chosen[id]
	if !chosen {
		was = p.mode == appio.Auto
	}
	if p.chosen[id] = on; p.inbox && was != on {
		m.day(now).say(id, code, on)
	}
}

func (m *fedModel) erase(now time.Time, code fiscalcode.Person) {
	delete(m.people, code)
	for _, k := range m.days {
		k.forget(code)
	}
	m.day(now).profiles[code] = false
}

// read is IO's algebra, word by word, over the sets P.S, P.U, S.S and S.U.
func (m *fedModel) read(day time.Time, id appio.ServiceID) map[string]bool {
	k := m.day(day)
	set := func(all map[fiscalcode.Person]bool, on bool) (in []fiscalcode.Person) {
		for code, is := range all {
			if is == on {
				in = append(in, code)
			}
		}
		return in
	}
	without := func(a []fiscalcode.Person, bs ...[]fiscalcode.Person) (out []fiscalcode.Person) {
		for _, x := range a {
			if !slices.ContainsFunc(bs, func(b []fiscalcode.Person) bool { return slices.Contains(b, x) }) {
				out = append(out, x)
			}
		}
		return out
	}
	ps, pu := set(k.profiles, true), set(k.profiles, false)
	ss, su := set(k.services[id], true), set(k.services[id], false)
	got := map[string]bool{}
	for _, x := range append(without(ps, su), without(ss, ps, pu)...) {
		got[hashOf(x)] = true
	}
	for _, x := range append(without(pu, ss), without(su, ps, pu)...) {
		got[hashOf(x)] = false
	}
	return got
}

// TestFeedAgreesWithAModel makes choices at random over some days, with an engine that dies at one commit after another, before it is made
// or after, and holds each day of the feed against a model.
func TestFeedAgreesWithAModel(t *testing.T) {
	t.Parallel()
	dieAtRandom(t, 10, feedRun)
}

func feedRun(t *testing.T, seed uint64) int {
	ctx, r := t.Context(), rand.New(rand.NewPCG(seed, 0))
	disk, clock := memstore.New(), newHandClock("2026-04-10 08:00")
	model := &fedModel{people: map[fiscalcode.Person]*fedPerson{}, days: map[time.Time]*fedKeys{}}
	next := func() *mortal { return &mortal{Store: disk, left: 1 + r.IntN(12), made: r.IntN(2) == 0} }
	e := newLives(t, fmt.Sprintf("seed %d", seed), next, func(*mortal) *appio.Options {
		return &appio.Options{Keys: townKeys, Now: clock.now, FeedDays: 30}
	})
	services := []appio.ServiceID{"mensa", "tari", "anagrafe"}
	for _, id := range services {
		e.do(func() error { return e.PutService(ctx, newService(func(s *appio.Service) { s.ID = id })) })
	}
	e.do(func() error {
		return e.PutService(ctx, newService(func(s *appio.Service) { s.ID, s.Category = "bonus", appio.Special }))
	})
	for range 60 {
		code := personNumber(r.IntN(5))
		citizen := func() *appio.Citizen { return e.Citizen(appio.Identity{Code: code, Level: appio.L2}) }
		now, p := clock.now(), model.people[code]
		switch n := r.IntN(20); {
		case n < 4:
			mode := []appio.Mode{appio.Auto, appio.Manual}[r.IntN(2)]
			e.do(func() error { return citizen().SetMode(ctx, mode) })
			model.change(now, code, func(p *fedPerson) {
				p.inbox = p.inbox || p.mode == appio.Undecided
				p.mode = mode
			})
		case n < 7:
			inbox := r.IntN(2) == 0
			e.do(func() error {
				return citizen().UpdateProfile(ctx, func(p *appio.Profile) error { p.Inbox = inbox; return nil })
			})
			model.change(now, code, func(p *fedPerson) { p.inbox = inbox })
		case n < 14:
			if p == nil || p.mode == appio.Undecided {
				continue
			}
			id, on := services[r.IntN(len(services))], r.IntN(2) == 0
			e.do(func() error { return citizen().SetPreference(ctx, id, appio.Preference{Inbox: on}) })
			e.do(func() error { return citizen().SetPreference(ctx, "bonus", appio.Preference{Inbox: on}) })
			model.prefer(now, code, id, on)
		case n < 15:
			if p == nil {
				continue
			}
			e.do(func() error { return citizen().Erase(ctx) })
			model.erase(now, code)
			e.flush() // until then nobody can come again
		case n < 17:
			e.flush()
		default:
			if model.listed { // which are told as they are then
				e.flush()
				model.listed = false
			}
			clock.set(now.Add(time.Duration(r.IntN(10)) * time.Hour))
		}
	}
	clock.set(clock.now().AddDate(0, 0, 2))
	e.flush()
	_ = e.Close()
	last, err := appio.New(disk, &appio.Options{Keys: townKeys, Now: clock.now, FeedDays: 30})
	require.NoError(t, err)
	for day := range model.days {
		for _, id := range append(services, "bonus") {
			require.Equal(t, model.read(day, id), readFeed(t, last.Sender(id), day), "seed %d: %s on %v", seed, id, day)
		}
	}
	_, err = last.Check(ctx, func(f appio.Finding) { t.Errorf("seed %d: %v", seed, f) })
	require.NoError(t, err)
	require.NoError(t, last.Close())
	return e.crashes
}

// An engine that is stopped before it has passed on what the feed is made of has not failed, and says nothing.
func TestStoppedBeforeTheFeed(t *testing.T) {
	t.Parallel()
	for reads := range 8 { // at which it is stopped
		store := newHookedStore()
		clock := newHandClock("2026-04-10 08:00")
		var log bytes.Buffer
		w := newTownOn(t, store, func(o *appio.Options) {
			o.Now, o.FeedDays, o.Logger = clock.now, 30, slog.New(slog.NewTextHandler(&log, nil))
		})
		s := w.put()
		require.NoError(t, w.person(giuseppe).SetMode(t.Context(), appio.Auto))

		ctx, stop := context.WithCancel(t.Context())
		var seen atomic.Int64
		store.onRead(func() error {
			if seen.Add(1) > int64(reads) {
				stop()
			}
			return nil
		})
		_, err := w.Flush(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, log.String())

		store.onRead(nil)
		clock.set(at("2026-04-11 02:00").Add(2 * time.Second))
		_, err = w.Flush(t.Context())
		require.NoError(t, err)
		require.Equal(t, map[string]bool{hashOf(giuseppe): true}, readFeed(t, s, at("2026-04-10 08:00")))
	}
}

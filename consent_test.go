package appio_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store"
)

func TestConsents(t *testing.T) {
	t.Parallel()

	t.Run("each change is kept with who made it, how and when, newest first", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put(func(s *appio.Service) { s.Category = appio.Special })
		w.put(func(s *appio.Service) { s.ID = "tari" })
		c := w.Citizen(appio.Identity{Code: giuseppe, Level: appio.L3, Provider: "spid:poste", Text: "2026-01"})
		start := w.now().Truncate(time.Microsecond)
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Pending, time.Time{}))
		require.NoError(t, c.SetMode(ctx, appio.Auto))
		require.NoError(t, c.SetPreference(ctx, "tari", appio.Preference{Inbox: true, Channels: appio.On(appio.Push)}))
		require.NoError(t, c.SetPreference(ctx, "tari", appio.Preference{Inbox: false}))
		require.NoError(t, w.Citizen(appio.Identity{Code: giuseppe, Level: appio.L2, Provider: "cie"}).SetMode(ctx, appio.Manual))
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Inactive, time.Time{}))
		require.NoError(t, c.Erase(ctx))

		got := collect(t, c.Consents())
		for i, r := range got {
			require.EqualValues(t, len(got)-i, r.Number)
			require.False(t, r.At.Before(start))
			require.False(t, r.At.After(w.now()))
			require.Equal(t, r.Number == 1, r.Prev == "")
		}
		require.True(t, slices.IsSortedFunc(got, func(a, b appio.ConsentRecord) int { return b.At.Compare(a.At) }))
		prevs := map[string]bool{}
		for i := range got {
			prevs[got[i].Prev] = true
			got[i].At, got[i].Prev, got[i].Number = time.Time{}, "", 0
		}
		require.Len(t, prevs, len(got))
		slices.Reverse(got)
		push := appio.Channels{appio.Push: appio.Generic}
		login := func(r appio.ConsentRecord) appio.ConsentRecord {
			r.By, r.Level, r.Provider, r.Text = appio.ByCitizen, appio.L3, "spid:poste", "2026-01"
			return r
		}
		require.Equal(t, []appio.ConsentRecord{
			{What: appio.ChangedActivation, By: appio.ByService, Service: mensa, After: appio.Preference{Inbox: true}},
			login(appio.ConsentRecord{
				What: appio.ChangedProfile, Mode: appio.Auto, After: appio.Preference{Inbox: true, Channels: push, SettingsVersion: 1},
			}),
			login(appio.ConsentRecord{
				What: appio.ChangedPreference, Service: "tari", Mode: appio.Auto,
				Before: appio.Preference{Inbox: true, Channels: appio.On(appio.Email, appio.Push), ReadStatus: true},
				After:  appio.Preference{Inbox: true, Channels: appio.On(appio.Push), SettingsVersion: 1},
			}),
			login(appio.ConsentRecord{
				What: appio.ChangedPreference, Service: "tari", Mode: appio.Auto,
				Before: appio.Preference{Inbox: true, Channels: appio.On(appio.Push), SettingsVersion: 1},
				After:  appio.Preference{SettingsVersion: 1},
			}),
			{
				What: appio.ChangedProfile, By: appio.ByCitizen, Mode: appio.Manual, Level: appio.L2, Provider: "cie",
				Before: appio.Preference{Inbox: true, Channels: push, SettingsVersion: 1},
				After:  appio.Preference{Inbox: true, Channels: push, SettingsVersion: 2},
			},
			{What: appio.ChangedActivation, By: appio.ByService, Service: mensa, Mode: appio.Manual, Before: appio.Preference{Inbox: true}},
			login(appio.ConsentRecord{What: appio.Erased, Before: appio.Preference{Inbox: true, Channels: push, SettingsVersion: 2}}),
		}, got)
	})

	t.Run("they outlive an erasure, and the chain goes on", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		before := collect(t, c.Consents())
		require.NoError(t, c.Erase(ctx))
		w.flush()
		after := collect(t, c.Consents())
		require.Equal(t, before, after[1:])
		w.enrol(giuseppe, appio.Manual)
		require.Equal(t, after, collect(t, c.Consents())[2:])
	})

	t.Run("a refused change leaves no trace", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		c := w.enrol(giuseppe, appio.Auto)
		before := collect(t, c.Consents())
		require.Error(t, c.SetPreference(ctx, mensa, appio.Preference{SettingsVersion: 9}))
		require.Error(t, c.SetPreference(ctx, "nobody", appio.Preference{}))
		require.Error(t, c.SetMode(ctx, "LEGACY"))
		require.Error(t, w.Sender(mensa).Activate(ctx, giuseppe, appio.Active, time.Time{}))
		require.Equal(t, before, collect(t, c.Consents()))
	})

	t.Run("they hold no address", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, func(o *appio.Options) { o.Plain = true }), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Addresses = p.Addresses[:1]; return nil }))
		n := 0
		for _, r := range recordsOf(t, w.store, citizens) {
			require.NotContains(t, string(r.Owner)+string(r.Key), giuseppe)
			if strings.HasPrefix(string(r.Key), "h/") {
				n++
				require.NotContains(t, string(r.Value), "casa@example.it")
				require.NotContains(t, string(r.Value), string(giuseppe))
			}
		}
		require.Equal(t, 3, n)
	})

	t.Run("pages lead forwards and back", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.person(giuseppe)
		for i := range 7 {
			require.NoError(t, c.SetMode(ctx, []appio.Mode{appio.Auto, appio.Manual}[i%2]))
		}
		numbers := func(p appio.Page[appio.ConsentRecord]) (ns []uint64) {
			for _, r := range p.Items {
				ns = append(ns, r.Number)
			}
			return ns
		}
		first, err := c.Consents().Page(ctx, "", 3)
		require.NoError(t, err)
		require.Equal(t, []uint64{7, 6, 5}, numbers(first))
		require.Empty(t, first.Prev)
		second, err := c.Consents().Page(ctx, first.Next, 3)
		require.NoError(t, err)
		require.Equal(t, []uint64{4, 3, 2}, numbers(second))
		third, err := c.Consents().Page(ctx, second.Next, 3)
		require.NoError(t, err)
		require.Equal(t, []uint64{1}, numbers(third))
		require.Empty(t, third.Next)
		back, err := c.Consents().Page(ctx, third.Prev, 3)
		require.NoError(t, err)
		require.Equal(t, []uint64{4, 3, 2}, numbers(back))
		back, err = c.Consents().Page(ctx, back.Prev, 2)
		require.NoError(t, err)
		require.Equal(t, []uint64{6, 5}, numbers(back))
		back, err = c.Consents().Page(ctx, back.Prev, 2)
		require.NoError(t, err)
		require.Equal(t, []uint64{7}, numbers(back))
		require.Empty(t, back.Prev)
		forth, err := c.Consents().Page(ctx, back.Next, 2)
		require.NoError(t, err)
		require.Equal(t, []uint64{6, 5}, numbers(forth))

		_, err = w.person(matteo).Consents().Page(ctx, first.Next, 3)
		require.ErrorIs(t, err, appio.ErrInvalid, "a cursor is one list's")
		_, err = c.Inbox(nil).Page(ctx, first.Next, 3)
		require.ErrorIs(t, err, appio.ErrInvalid)
	})

	t.Run("one that was taken out or put in another's place is found", func(t *testing.T) {
		t.Parallel()
		for name, damage := range map[string]func(links []store.Record) store.Change{
			"taken out": func(links []store.Record) store.Change { return store.Change{Delete: []store.Key{links[2].Key}} },
			"an old one in the place of a later": func(links []store.Record) store.Change {
				r := links[1]
				r.Key = links[3].Key
				return store.Change{Put: []store.Record{r}}
			},
			"a changed byte": func(links []store.Record) store.Change {
				r := links[2]
				r.Value = slices.Clone(r.Value)
				r.Value[len(r.Value)-20] ^= 1
				return store.Change{Put: []store.Record{r}}
			},
		} {
			w, ctx := newTown(t), t.Context()
			c := w.person(giuseppe)
			for i := range 5 {
				require.NoError(t, c.SetMode(ctx, []appio.Mode{appio.Auto, appio.Manual}[i%2]))
			}
			links := recordsOf(t, w.store, citizens)
			links = slices.DeleteFunc(links, func(r store.Record) bool { return !strings.HasPrefix(string(r.Key), "h/") })
			require.Len(t, links, 5)
			overwrite(t, w.store, links[0].Owner, damage(links))
			var err error
			for _, err = range c.Consents().All(ctx) {
				if err != nil {
					break
				}
			}
			require.ErrorIs(t, err, store.ErrCorrupt, name)
		}
	})
}

// overwrite changes an owner behind the engine's back.
func overwrite(t *testing.T, s store.Store, owner store.Owner, c store.Change) {
	t.Helper()
	ctx := context.Background()
	snaps, err := s.View(ctx, []store.Read{{Owner: owner}})
	require.NoError(t, err)
	c.Owner, c.Rev = owner, snaps[0].Rev
	for i := range c.Put {
		c.Put[i].Owner = owner
	}
	errs, err := s.Commit(ctx, []store.Change{c})
	require.NoError(t, err)
	require.Nil(t, errs)
}

func TestExplain(t *testing.T) {
	t.Parallel()

	t.Run("is for the citizen and the operator, and replays", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		id := w.send(s, messageTo(giuseppe, func(m *appio.Message) { m.SecureChannels = true }))
		w.flush()
		r := w.explain(giuseppe, id)
		mine, err := c.Explain(ctx, id)
		require.NoError(t, err)
		require.Equal(t, r, mine)
		require.Equal(t, id, r.Message)
		require.Equal(t, mensa, r.Service)
		require.Equal(t, appio.RuleSet, r.RuleSet)
		require.WithinDuration(t, w.now(), r.At, time.Minute)
		require.Equal(t, appio.Facts{
			Known: true, Mode: appio.Auto, Inbox: true, Secure: true,
			Channels: []appio.ChannelFacts{
				{Name: appio.Email, Switch: appio.Full, Address: true, Validated: true},
				{Name: appio.Push, Switch: appio.Full, Secure: appio.Generic, Address: true, Validated: true},
			},
		}, r.Facts)
		require.Equal(t, appio.Decision{Status: appio.Processed, Rule: appio.RuleModeAuto, Channels: []appio.ChannelDecision{
			{Name: appio.Email, Content: appio.None, Rule: appio.RuleSecure}, {Name: appio.Push, Content: appio.Generic, Rule: appio.RuleSecure},
		}}, r.Decision)
		require.True(t, appio.Decide(r.Facts).Equal(r.Decision))
		require.Len(t, r.Outcomes, 1)
		o := r.Outcomes[0]
		require.Equal(t, w.push.deliveries()[0].ID, o.ID)
		require.Equal(t, appio.Push, o.Channel)
		require.Equal(t, appio.OutcomeDelivered, o.Result)
		require.Equal(t, 1, o.Attempts)
		require.False(t, o.Late)
		require.Empty(t, o.Cause)
	})

	t.Run("of another's message, or none, is not found", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		id := w.send(w.put(), messageTo(w.enrolled(giuseppe)))
		for _, at := range []appio.MessageID{"", "x", "01ARZ3NDEKTSV4RRFFQ69G5FAV"} {
			_, err := w.Explain(ctx, giuseppe, at)
			require.ErrorIs(t, err, appio.ErrNotFound)
		}
		_, err := w.Explain(ctx, matteo, id)
		require.ErrorIs(t, err, appio.ErrNotFound)
		_, err = w.Explain(ctx, "xyzzy", id)
		require.ErrorIs(t, err, appio.ErrNotFound)
		_, err = w.person(matteo).Explain(ctx, id)
		require.ErrorIs(t, err, appio.ErrNotFound)
	})

	t.Run("survives an erasure", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		id := w.send(s, messageTo(giuseppe))
		w.flush()
		before := w.explain(giuseppe, id)
		require.NoError(t, c.Erase(ctx))
		require.Equal(t, before, w.explain(giuseppe, id))
		w.flush()
		require.Equal(t, before, w.explain(giuseppe, id))
	})
}

func TestWithdraw(t *testing.T) {
	t.Parallel()

	token := func(w *town, s *appio.Sender) string {
		w.t.Helper()
		w.send(s, messageTo(giuseppe))
		w.flush()
		ds := w.email.deliveries()
		require.NotEmpty(w.t, ds[len(ds)-1].Withdraw)
		return ds[len(ds)-1].Withdraw
	}

	t.Run("takes the channel from the service, and nothing else", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		other := w.put(func(s *appio.Service) { s.ID = "tari" })
		c := w.enrol(giuseppe, appio.Auto)
		withdraw := token(w, s)
		require.NoError(t, w.Withdraw(ctx, withdraw))
		id := w.send(s, messageTo(giuseppe))
		d := w.explain(giuseppe, id).Decision
		require.Equal(t, appio.None, d.Content(appio.Email))
		require.Equal(t, appio.RuleChannelRefused, d.Channels[0].Rule)
		require.Equal(t, appio.Full, d.Content(appio.Push))
		require.Equal(t, appio.Full, w.explain(giuseppe, w.send(other, messageTo(giuseppe))).Decision.Content(appio.Email))
		p, err := c.Preference(ctx, mensa)
		require.NoError(t, err)
		require.Equal(t, appio.Preference{Inbox: true, Channels: appio.On(appio.Push), ReadStatus: true, SettingsVersion: 1}, p)
		last := collect(t, c.Consents())[0]
		require.Equal(t, appio.ByToken, last.By)
		require.Equal(t, appio.ChangedPreference, last.What)
		require.Equal(t, mensa, last.Service)
		require.Zero(t, last.Level)

		n := len(collect(t, c.Consents()))
		require.NoError(t, w.Withdraw(ctx, withdraw), "any number of times")
		require.Len(t, collect(t, c.Consents()), n, "but once is enough")
	})

	t.Run("ends what is pending", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		withdraw := token(w, s)
		id := w.send(s, messageTo(giuseppe))
		require.NoError(t, w.Withdraw(ctx, withdraw))
		w.flush()
		require.Len(t, w.email.deliveries(), 1)
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeVoid}, w.outcomes(giuseppe, id, appio.Email))
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeDelivered}, w.outcomes(giuseppe, id, appio.Push))
	})

	t.Run("keeps what the citizen chose beside it", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Manual)
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{
			Inbox: true, Channels: appio.Channels{appio.Email: appio.Full, appio.Push: appio.Generic},
		}))
		require.NoError(t, w.Withdraw(ctx, token(w, s)))
		p, err := c.Preference(ctx, mensa)
		require.NoError(t, err)
		require.Equal(t, appio.Preference{Inbox: true, Channels: appio.Channels{appio.Push: appio.Generic}, SettingsVersion: 1}, p)
	})

	t.Run("of a special service leaves the choice that its activation stands in place of", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		special := func(s *appio.Service) { s.Category = appio.Special }
		s := w.put(special)
		c := w.enrol(giuseppe, appio.Auto)
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Active, time.Time{}))
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: false, Channels: appio.On(appio.Email, appio.Push)}))
		require.NoError(t, w.Withdraw(ctx, token(w, s)))
		p, err := c.Preference(ctx, mensa)
		require.NoError(t, err)
		require.Equal(t, appio.Preference{Inbox: true, Channels: appio.On(appio.Push), SettingsVersion: 1}, p)
		w.put()
		p, err = c.Preference(ctx, mensa)
		require.NoError(t, err)
		require.False(t, p.Inbox)
	})

	t.Run("one that this engine did not make is unauthorized", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		withdraw := token(w, s)
		for i := range withdraw {
			b := []byte(withdraw)
			b[i] = 'A' + (b[i]+1)%26
			if string(b) == withdraw {
				continue
			}
			require.ErrorIs(t, w.Withdraw(ctx, string(b)), appio.ErrUnauthorized)
		}
		for _, bad := range []string{"", "x", withdraw[1:], withdraw + "A", strings.Repeat("A", 500)} {
			require.ErrorIs(t, w.Withdraw(ctx, bad), appio.ErrUnauthorized)
		}
		elsewhere := newTown(t)
		require.ErrorIs(t, elsewhere.Withdraw(ctx, withdraw), appio.ErrUnauthorized)
		require.NotContains(t, withdraw, string(mensa))
	})

	t.Run("of a person who was erased it does nothing", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		withdraw := token(w, s)
		require.NoError(t, c.Erase(ctx))
		require.NoError(t, w.Withdraw(ctx, withdraw), "while the erasure goes on, too")
		w.flush()
		before := keysOf(t, w.store, citizens)
		require.NoError(t, w.Withdraw(ctx, withdraw))
		require.Equal(t, before, keysOf(t, w.store, citizens))
	})
}

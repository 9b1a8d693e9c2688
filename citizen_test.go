package appio_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

func TestCitizen(t *testing.T) {
	t.Parallel()

	t.Run("who never came has the zero profile, and nothing is made by asking", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		c := w.person(giuseppe)
		p, err := c.Profile(ctx)
		require.NoError(t, err)
		require.Equal(t, appio.Profile{}, p)
		pref, err := c.Preference(ctx, mensa)
		require.NoError(t, err)
		require.Equal(t, appio.Preference{}, pref)
		require.Empty(t, collect(t, c.Inbox(nil)))
		require.Empty(t, collect(t, c.Consents()))
		_, err = c.Message(ctx, "01ARZ3NDEKTSV4RRFFQ69G5FAV")
		require.ErrorIs(t, err, appio.ErrNotFound)
		require.ErrorIs(t, c.MarkRead(ctx, "01ARZ3NDEKTSV4RRFFQ69G5FAV"), appio.ErrNotFound)
		require.Empty(t, keysOf(t, w.store, citizens))
	})

	t.Run("with a code that is none is invalid everywhere", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		for _, code := range []fiscalcode.Person{"", "xyzzy", "grbgpp87l04l741x", giuseppe + " "} {
			c := w.person(code)
			_, err := c.Profile(ctx)
			requireField(t, err, "Identity.Code", string(code))
			_, err = c.Preference(ctx, mensa)
			requireField(t, err, "Identity.Code", string(code))
			_, err = c.Message(ctx, "01ARZ3NDEKTSV4RRFFQ69G5FAV")
			requireField(t, err, "Identity.Code", string(code))
			_, err = c.Explain(ctx, "01ARZ3NDEKTSV4RRFFQ69G5FAV")
			requireField(t, err, "Identity.Code", string(code))
			_, err = c.Inbox(nil).Page(ctx, "", 1)
			requireField(t, err, "Identity.Code", string(code))
			_, err = c.Consents().Page(ctx, "", 1)
			requireField(t, err, "Identity.Code", string(code))
			requireField(t, c.SetMode(ctx, appio.Auto), "Identity.Code", string(code))
			requireField(t, c.SetPreference(ctx, mensa, appio.Preference{}), "Identity.Code", string(code))
			requireField(t, c.MarkRead(ctx, "01ARZ3NDEKTSV4RRFFQ69G5FAV"), "Identity.Code", string(code))
			requireField(t, c.Archive(ctx, "01ARZ3NDEKTSV4RRFFQ69G5FAV", true), "Identity.Code", string(code))
			requireField(t, c.Erase(ctx), "Identity.Code", string(code))
		}
		requireField(t, w.Citizen(appio.Identity{Code: giuseppe, Provider: strings.Repeat("p", 101)}).SetMode(ctx, appio.Auto), "Identity", "ppp")
		requireField(t, w.Citizen(appio.Identity{Code: giuseppe, Text: strings.Repeat("t", 101)}).SetMode(ctx, appio.Auto), "Identity", "ttt")
		longest := appio.Identity{Code: giuseppe, Provider: strings.Repeat("p", 100), Text: strings.Repeat("t", 100)}
		require.NoError(t, w.Citizen(longest).SetMode(ctx, appio.Auto))
	})

	t.Run("is not told in a log by what is made of them", func(t *testing.T) {
		t.Parallel()
		var out bytes.Buffer
		log := slog.New(slog.NewJSONHandler(&out, nil))
		log.Info("x", "identity", appio.Identity{Code: giuseppe, Level: appio.L2, Provider: "cie"})
		log.Info("x", "message", messageTo(giuseppe))
		log.Info("x", "inbox", appio.InboxMessage{Message: messageTo(giuseppe), ID: "01ARZ3NDEKTSV4RRFFQ69G5FAV"})
		d := appio.Delivery{
			ID: "d", Channel: appio.Email, To: giuseppe, Subject: subject, Markdown: markdown, Address: appio.Address{Value: "casa@example.it"},
		}
		log.Info("x", "delivery", d)
		fmt.Fprintln(&out, d)
		fmt.Fprintf(&out, "%v %+v %s\n", d, d, d)
		for _, secret := range []string{string(giuseppe), subject, "La mensa", "casa@example.it"} {
			require.NotContains(t, out.String(), secret)
		}
	})
}

func TestSetMode(t *testing.T) {
	t.Parallel()

	t.Run("the first choice opens the inbox and sets each channel to its default", func(t *testing.T) {
		t.Parallel()
		for _, m := range []appio.Mode{appio.Auto, appio.Manual} {
			w, ctx := newTown(t), t.Context()
			c := w.person(giuseppe)
			require.NoError(t, c.SetMode(ctx, m))
			p, err := c.Profile(ctx)
			require.NoError(t, err)
			require.Equal(t, appio.Profile{
				Mode: m, SettingsVersion: 1, Inbox: true, Channels: appio.Channels{appio.Push: appio.Generic}, Version: 1,
			}, p)
		}
	})

	t.Run("what was set while undecided stays", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.person(giuseppe)
		require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Inbox = true
			p.Channels = appio.Channels{appio.Push: appio.None, appio.Email: appio.Generic}
			return nil
		}))
		p, err := c.Profile(ctx)
		require.NoError(t, err)
		require.Equal(t, appio.Undecided, p.Mode)
		require.Zero(t, p.SettingsVersion)
		r, err := s.Send(ctx, messageTo(giuseppe))
		require.NoError(t, err)
		require.Equal(t, appio.Rejected, r.Status, "nothing is sent to the undecided")
		require.Equal(t, appio.RuleUndecided, w.explain(giuseppe, r.ID).Decision.Rule)

		require.NoError(t, c.SetMode(ctx, appio.Auto))
		p, err = c.Profile(ctx)
		require.NoError(t, err)
		require.Equal(t, appio.Channels{appio.Push: appio.None, appio.Email: appio.Generic}, p.Channels)
	})

	t.Run("a later choice changes nothing else", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Inbox = false
			delete(p.Channels, appio.Push)
			return nil
		}))
		before, err := c.Profile(ctx)
		require.NoError(t, err)
		require.NoError(t, c.SetMode(ctx, appio.Manual))
		after, err := c.Profile(ctx)
		require.NoError(t, err)
		before.Mode, before.SettingsVersion, before.Version = appio.Manual, before.SettingsVersion+1, before.Version+1
		require.Equal(t, before, after)
	})

	t.Run("a choice can be changed, not unmade", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.person(giuseppe)
		requireField(t, c.SetMode(ctx, appio.Undecided), "Mode", "")
		requireField(t, c.SetMode(ctx, "LEGACY"), "Mode", "LEGACY")
		require.NoError(t, c.SetMode(ctx, appio.Auto))
		requireField(t, c.SetMode(ctx, appio.Undecided), "Mode", "")
		requireField(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Mode = appio.Undecided; return nil }), "Mode", "")
	})

	t.Run("a change of mode starts afresh, and the way back does not restore", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: false}))
		status := func() appio.Status {
			r, err := s.Send(ctx, messageTo(giuseppe))
			require.NoError(t, err)
			return r.Status
		}
		require.Equal(t, appio.Rejected, status())
		require.NoError(t, c.SetMode(ctx, appio.Auto))
		require.Equal(t, appio.Rejected, status(), "the same mode is no change")
		require.NoError(t, c.SetMode(ctx, appio.Manual))
		require.Equal(t, appio.Rejected, status())
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true}))
		require.Equal(t, appio.Processed, status())
		require.NoError(t, c.SetMode(ctx, appio.Auto))
		require.Equal(t, appio.Processed, status(), "the refusal under the first settings does not count")
		require.NoError(t, c.SetMode(ctx, appio.Manual))
		require.Equal(t, appio.Rejected, status(), "nor the choice under the second")
		p, err := c.Profile(ctx)
		require.NoError(t, err)
		require.Equal(t, 4, p.SettingsVersion)
	})
}

func TestPreference(t *testing.T) {
	t.Parallel()

	t.Run("without a choice it is what follows from the mode", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		auto, err := w.enrol(giuseppe, appio.Auto).Preference(ctx, mensa)
		require.NoError(t, err)
		require.Equal(t, appio.Preference{Inbox: true, Channels: appio.On(appio.Email, appio.Push), ReadStatus: true}, auto)
		manual, err := w.enrol(matteo, appio.Manual).Preference(ctx, mensa)
		require.NoError(t, err)
		require.Equal(t, appio.Preference{Channels: appio.Channels{}}, manual)
	})

	t.Run("a choice is what was made", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		c := w.enrol(giuseppe, appio.Manual)
		channels := appio.Channels{appio.Email: appio.Generic}
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true, Channels: channels, ReadStatus: true}))
		channels[appio.Push] = appio.Full // the engine has its own copy
		p, err := c.Preference(ctx, mensa)
		require.NoError(t, err)
		require.Equal(t, appio.Preference{
			Inbox: true, Channels: appio.Channels{appio.Email: appio.Generic}, ReadStatus: true, SettingsVersion: 1,
		}, p)
		require.NoError(t, c.SetPreference(ctx, mensa, p), "it can be written back")

		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{ReadStatus: true}))
		p, err = c.Preference(ctx, mensa)
		require.NoError(t, err)
		require.False(t, p.ReadStatus, "taken as false where the inbox is")
	})

	t.Run("one of an unknown service is not found", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		for _, id := range []appio.ServiceID{"nobody", "", "a\x00"} {
			_, err := c.Preference(ctx, id)
			require.ErrorIs(t, err, appio.ErrNotFound)
			require.ErrorIs(t, c.SetPreference(ctx, id, appio.Preference{}), appio.ErrNotFound)
		}
		require.Len(t, collect(t, c.Consents()), 2, "nothing is added to the history")
	})

	t.Run("while undecided it is a conflict", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		c := w.person(giuseppe)
		require.ErrorIs(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true}), appio.ErrConflict)
		require.Empty(t, keysOf(t, w.store, citizens))
		require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { return nil }))
		require.ErrorIs(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true}), appio.ErrConflict)
	})

	t.Run("one made under settings that are not the current ones is a conflict", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		c := w.enrol(giuseppe, appio.Auto)
		require.NoError(t, c.SetMode(ctx, appio.Manual))
		for _, v := range []int{1, 3, -1} {
			require.ErrorIs(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true, SettingsVersion: v}), appio.ErrConflict)
		}
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true, SettingsVersion: 2}))
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true}), "0 is whichever is current")
	})

	t.Run("an update sees what holds, and what came between", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		c := w.enrol(giuseppe, appio.Auto)
		update := func(f func(p *appio.Preference) error) error { return c.UpdatePreference(ctx, mensa, f) }
		shown := func() appio.Preference {
			p, err := c.Preference(ctx, mensa)
			require.NoError(t, err)
			return p
		}
		require.NoError(t, update(func(p *appio.Preference) error {
			require.Equal(t, shown(), *p, "what follows from the mode")
			p.Channels[appio.Push] = appio.Generic
			return nil
		}))
		want := appio.Preference{
			Inbox: true, Channels: appio.Channels{appio.Email: appio.Full, appio.Push: appio.Generic}, ReadStatus: true, SettingsVersion: 1,
		}
		require.Equal(t, want, shown())

		calls := 0
		require.NoError(t, update(func(p *appio.Preference) error {
			if calls++; calls == 1 {
				require.NoError(t, update(func(p *appio.Preference) error { p.Channels[appio.Email] = appio.None; return nil }))
			}
			p.ReadStatus = false
			return nil
		}))
		require.Equal(t, 2, calls)
		want.ReadStatus, want.Channels[appio.Email] = false, appio.None
		require.Equal(t, want, shown(), "neither change is lost")

		calls = 0
		require.NoError(t, update(func(p *appio.Preference) error {
			if calls++; calls == 1 {
				require.NoError(t, c.SetMode(ctx, appio.Manual))
			}
			p.Digest = true
			return nil
		}))
		require.Equal(t, 2, calls)
		require.Equal(t, appio.Preference{Channels: appio.Channels{}, SettingsVersion: 2, Digest: true}, shown(), "by the new settings")

		require.ErrorIs(t, update(func(p *appio.Preference) error { p.SettingsVersion = 1; return nil }), appio.ErrConflict)
		mine := errors.New("mine")
		require.ErrorIs(t, update(func(p *appio.Preference) error { p.Inbox = true; return mine }), mine)
		require.False(t, shown().Inbox)
		require.ErrorIs(t, c.UpdatePreference(ctx, "nobody", func(*appio.Preference) error { return nil }), appio.ErrNotFound)
		require.ErrorIs(t, w.person(matteo).UpdatePreference(ctx, mensa, func(*appio.Preference) error { return nil }), appio.ErrConflict)
	})

	t.Run("its channels are checked", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		c := w.enrol(giuseppe, appio.Auto)
		many := appio.Channels{}
		for i := range 51 {
			many[fmt.Sprintf("c%d", i)] = appio.Full
		}
		for _, channels := range []appio.Channels{
			{"Email": appio.Full}, {"": appio.Full}, {"9a": appio.Full}, {"a_b": appio.Full},
			{strings.Repeat("a", 33): appio.Full}, {appio.Email: appio.Full + 1}, many,
		} {
			requireField(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true, Channels: channels}), "Channels", "")
			requireField(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Channels = channels; return nil }), "Channels", "")
		}
		delete(many, "c50")
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true, Channels: many}), "a channel need not be configured")
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true, Channels: appio.On(strings.Repeat("a", 32))}))
	})

	t.Run("a channel needs both its master switch and the preference", func(t *testing.T) {
		t.Parallel()
		for _, c := range []struct{ master, choice, shown appio.Content }{
			{appio.Full, appio.Full, appio.Full}, {appio.Generic, appio.Full, appio.Generic}, {appio.Full, appio.Generic, appio.Generic},
			{appio.None, appio.Full, appio.None}, {appio.Full, appio.None, appio.None},
		} {
			w, ctx := newTown(t), t.Context()
			s := w.put()
			p := w.enrol(giuseppe, appio.Auto)
			require.NoError(t, p.UpdateProfile(ctx, func(p *appio.Profile) error { p.Channels[appio.Email] = c.master; return nil }))
			require.NoError(t, p.SetPreference(ctx, mensa, appio.Preference{Inbox: true, Channels: appio.Channels{appio.Email: c.choice}}))
			id := w.send(s, messageTo(giuseppe))
			require.Equal(t, c.shown, w.explain(giuseppe, id).Decision.Content(appio.Email))
		}
	})

	t.Run("whether a special service serves somebody, also who has not come yet", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put(func(s *appio.Service) { s.Category = appio.Special })
		c := w.person(giuseppe)
		is := func(want appio.Activation) {
			t.Helper()
			got, err := c.Activation(ctx, mensa)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		is(appio.Inactive)
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Pending, time.Time{}))
		is(appio.Pending)
		w.advance(appio.PendingFor)
		is(appio.Inactive)
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Active, time.Time{}))
		is(appio.Active)
		w.put()
		for _, id := range []appio.ServiceID{mensa, "nobody", ""} {
			_, err := c.Activation(ctx, id)
			require.ErrorIs(t, err, appio.ErrNotFound)
		}
	})

	t.Run("for a special service the inbox is whether it serves the citizen", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put(func(s *appio.Service) { s.Category = appio.Special })
		c := w.enrol(giuseppe, appio.Manual)
		inbox := func() bool {
			p, err := c.Preference(ctx, mensa)
			require.NoError(t, err)
			return p.Inbox
		}
		require.False(t, inbox())
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true}))
		require.False(t, inbox())
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Active, time.Time{}))
		require.True(t, inbox())
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: false}))
		require.True(t, inbox())
	})
}

func TestUpdateProfile(t *testing.T) {
	t.Parallel()

	t.Run("is retried until nothing came between, so that no update is lost", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		before, err := c.Profile(ctx)
		require.NoError(t, err)
		const writers, each = 6, 5
		errs := make([]error, writers)
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				for j := range each {
					errs[i] = errors.Join(errs[i], w.person(giuseppe).UpdateProfile(ctx, func(p *appio.Profile) error {
						p.Addresses = append(p.Addresses, appio.Address{Channel: appio.Push, Value: fmt.Sprintf("token-%d-%d", i, j)})
						return nil
					}))
				}
			})
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
		p, err := c.Profile(ctx)
		require.NoError(t, err)
		require.Equal(t, before.Version+writers*each, p.Version)
		values, ids := map[string]bool{}, map[string]bool{}
		for _, a := range p.Addresses {
			values[a.Value], ids[a.ID] = true, true
		}
		require.Len(t, values, 2+writers*each)
		require.Len(t, ids, 2+writers*each)
	})

	inBubble(t, "sees what came between, and gives up when that has no end", func(t *testing.T) {
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		calls := 0
		require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
			if calls++; calls == 1 {
				require.Empty(t, p.Languages)
				if err := c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Languages = []string{"it"}; return nil }); err != nil {
					return err
				}
			}
			p.Languages = append(p.Languages, "de")
			return nil
		}))
		require.Equal(t, 2, calls)
		p, err := c.Profile(ctx)
		require.NoError(t, err)
		require.Equal(t, []string{"it", "de"}, p.Languages)

		calls = 0
		require.ErrorIs(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
			calls++
			p.Inbox = false
			return c.UpdateProfile(ctx, func(p *appio.Profile) error { return nil })
		}), appio.ErrBusy)
		require.Equal(t, 17, calls)
		p, err = c.Profile(ctx)
		require.NoError(t, err)
		require.True(t, p.Inbox)
	})

	t.Run("does not bring back what was erased in between", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		for range 2 { // the new life is made as long as the old one, too
			calls := 0
			require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
				if calls++; calls > 1 {
					return nil
				}
				if err := c.Erase(ctx); err != nil {
					return err
				}
				w.flush()
				version := p.Version
				for range version {
					if err := c.UpdateProfile(ctx, func(*appio.Profile) error { return nil }); err != nil {
						return err
					}
				}
				return nil
			}))
			require.Equal(t, 2, calls)
			p, err := c.Profile(ctx)
			require.NoError(t, err)
			require.Equal(t, appio.Undecided, p.Mode)
			require.Empty(t, p.Addresses)
		}
	})

	t.Run("the caller's error ends it, and nothing is changed", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		before, err := c.Profile(ctx)
		require.NoError(t, err)
		mine := errors.New("mine")
		require.ErrorIs(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Inbox = false
			p.Addresses[0].Value = "changed"
			p.Channels[appio.Email] = appio.None
			return mine
		}), mine)
		after, err := c.Profile(ctx)
		require.NoError(t, err)
		require.Equal(t, before, after)
	})

	t.Run("what is the engine's to set cannot be set", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
			p.SettingsVersion, p.Version = 70, 700
			return nil
		}))
		p, err := c.Profile(ctx)
		require.NoError(t, err)
		require.Equal(t, 1, p.SettingsVersion)
		require.Equal(t, 3, p.Version)
	})

	t.Run("what an app does by itself is told from what the citizen chooses, whatever the route of push is", func(t *testing.T) {
		t.Parallel()
		for _, route := range []func(o *appio.Options){
			func(o *appio.Options) { o.Channels = o.Channels[:1] },
			func(o *appio.Options) { o.Channels[1].ByCode, o.Channels[1].Unvalidated = true, false },
		} {
			w, ctx := newTown(t, route), t.Context()
			c := w.person(giuseppe)
			for _, channel := range []string{appio.Push, appio.Email} {
				require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
					p.Addresses = append(p.Addresses, appio.Address{Channel: channel, Value: "somewhere"})
					return nil
				}))
			}
			p, err := c.Profile(ctx)
			require.NoError(t, err)
			require.Equal(t, []int{2, 1}, []int{p.Version, p.Moves})
		}
		w, ctx := newTown(t), t.Context()
		c := w.person(giuseppe)
		chosen := func() int {
			p, err := c.Profile(ctx)
			require.NoError(t, err)
			return p.Version - p.Moves
		}
		update := func(f func(p *appio.Profile)) int {
			require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { f(p); return nil }))
			return chosen()
		}
		require.Zero(t, update(func(p *appio.Profile) {
			p.Addresses = []appio.Address{{ID: "app", Channel: appio.Push, Value: "token-1"}}
		}), "the first that is kept of a person")
		require.Equal(t, 1, update(func(p *appio.Profile) {
			p.Addresses = append(p.Addresses, appio.Address{ID: "home", Channel: appio.Email, Value: "casa@example.it"})
		}))
		require.Equal(t, 1, update(func(p *appio.Profile) { p.Addresses[0].Value = "token-2" }))
		_, err := c.ValidateAddress(ctx, "home")
		require.NoError(t, err)
		require.Equal(t, 1, chosen())
		require.Equal(t, 2, update(func(p *appio.Profile) { p.Addresses[0].Value, p.Languages = "token-3", []string{"it"} }), "and something else")
		require.Equal(t, 3, update(func(p *appio.Profile) { p.App.Shown = appio.On(appio.Push) }))
		require.Equal(t, 4, update(func(p *appio.Profile) {}), "nothing at all, which is no move")
		require.Equal(t, 4, update(func(p *appio.Profile) { p.Addresses = p.Addresses[1:] }))
		require.Equal(t, 5, update(func(p *appio.Profile) { p.Addresses[0].Value = "lavoro@example.it" }))
		require.Equal(t, 6, update(func(p *appio.Profile) { p.Addresses = nil }))
	})

	t.Run("what an app keeps comes back, and is bounded", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.person(giuseppe)
		app := appio.AppSettings{Terms: "2.4", Version: "2.14.0.1", RemindersAsked: true, Shown: appio.Channels{appio.Push: appio.Generic}}
		require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { p.App = app; return nil }))
		p, err := c.Profile(ctx)
		require.NoError(t, err)
		require.Equal(t, app, p.App)
		for _, set := range []func(*appio.AppSettings){
			func(a *appio.AppSettings) { a.Terms = strings.Repeat("1", 101) },
			func(a *appio.AppSettings) { a.Version = "\xff" },
			func(a *appio.AppSettings) { a.Shown = appio.Channels{"No Name": appio.Full} },
		} {
			require.ErrorIs(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { set(&p.App); return nil }), appio.ErrInvalid)
		}
	})

	t.Run("an address with another value starts unproved", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		proved := time.Date(2026, 5, 1, 12, 0, 0, 123_456_789, time.UTC)
		update := func(f func(a *appio.Address)) appio.Address {
			require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { f(&p.Addresses[0]); return nil }))
			p, err := c.Profile(ctx)
			require.NoError(t, err)
			return p.Addresses[0]
		}
		require.False(t, update(func(a *appio.Address) {}).ValidatedAt.IsZero())
		require.Zero(t, update(func(a *appio.Address) { a.Value = "lavoro@example.it" }).ValidatedAt)
		require.Equal(t, proved.Truncate(time.Microsecond), update(func(a *appio.Address) { a.ValidatedAt = proved }).ValidatedAt)
		require.Zero(t, update(func(a *appio.Address) { a.Channel = "pec" }).ValidatedAt, "another channel is another address")
		require.Equal(t, proved.Add(time.Hour).Truncate(time.Microsecond),
			update(func(a *appio.Address) { a.Value, a.ValidatedAt = "casa@example.it", proved.Add(time.Hour) }).ValidatedAt,
			"unless it was proved since")
	})

	t.Run("its limits", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		addresses := func(n int) []appio.Address {
			as := make([]appio.Address, n)
			for i := range as {
				as[i] = appio.Address{Channel: appio.Push, Value: fmt.Sprint("token-", i)}
			}
			return as
		}
		one := func(a appio.Address) func(*appio.Profile) {
			return func(p *appio.Profile) {
				p.Addresses = []appio.Address{{ID: "first", Channel: appio.Push, Value: "token"}, a}
			}
		}
		for i, c := range []struct {
			field string // empty: it is valid
			value string
			set   func(*appio.Profile)
		}{
			{"", "", func(p *appio.Profile) { p.Addresses = addresses(50) }},
			{"Addresses", "token", func(p *appio.Profile) { p.Addresses = addresses(51) }},
			{"", "", one(appio.Address{ID: strings.Repeat("i", 100), Channel: appio.Email, Value: strings.Repeat("v", 2000)})},
			{"Addresses[1].ID", "iii", one(appio.Address{ID: strings.Repeat("i", 101), Channel: appio.Email, Value: "v"})},
			{"Addresses[1].ID", "first", one(appio.Address{ID: "first", Channel: appio.Email, Value: "v"})},
			{"Addresses[1].Channel", "xyZZy", one(appio.Address{Channel: "xyZZy", Value: "v"})},
			{"Addresses[1].Channel", "", one(appio.Address{Value: "v"})},
			{"Addresses[1].Value", "", one(appio.Address{Channel: appio.Email})},
			{"Addresses[1].Value", "vvv", one(appio.Address{Channel: appio.Email, Value: strings.Repeat("v", 2001)})},
			{"Addresses[1].Value", "xyzzy", one(appio.Address{Channel: appio.Email, Value: "xyzzy\r\nBcc: x"})},
			{"Addresses[1].Value", "xyzzy", one(appio.Address{Channel: appio.Email, Value: "xyzzy\x7f"})},
			{"", "", func(p *appio.Profile) {
				p.Languages = []string{"it", "de-AT", "en", "es", "fr", "sl", "sc", "fur", "lld", strings.Repeat("xxxxxxxx-", 3) + "xxxxxxxx"}
			}},
			{"Languages", "it", func(p *appio.Profile) { p.Languages = strings.Split(strings.Repeat("it,", 10)+"it", ",") }},
			{"Languages[1]", "q", func(p *appio.Profile) { p.Languages = []string{"it", "q"} }},
			{"Languages[0]", "xxx", func(p *appio.Profile) { p.Languages = []string{strings.Repeat("xxxxxxxx-", 3) + "xxxxxxx-x"} }},
			{"Languages[0]", "it--", func(p *appio.Profile) { p.Languages = []string{"it--IT"} }},
			{"Languages[0]", "it_IT", func(p *appio.Profile) { p.Languages = []string{"it_IT"} }},
		} {
			p := w.person(personNumber(i))
			err := p.UpdateProfile(ctx, func(p *appio.Profile) error { c.set(p); return nil })
			got, readErr := p.Profile(ctx)
			require.NoError(t, readErr)
			if c.field != "" {
				requireField(t, err, c.field, c.value)
				require.Zero(t, got, "nothing is written")
				continue
			}
			require.NoError(t, err)
			require.Equal(t, 1, got.Version)
		}
	})

	t.Run("what a caller does to a profile it was given changes nothing", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		p, err := c.Profile(ctx)
		require.NoError(t, err)
		kept, err := json.Marshal(p)
		require.NoError(t, err)
		p.Channels[appio.Email], p.Addresses[0].Value = appio.None, "changed"
		p, err = c.Profile(ctx)
		require.NoError(t, err)
		again, err := json.Marshal(p)
		require.NoError(t, err)
		require.Equal(t, string(kept), string(again))
	})

	t.Run("a context that has ended changes nothing", func(t *testing.T) {
		t.Parallel()
		w := newTown(t)
		c := w.enrol(giuseppe, appio.Auto)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, c.SetMode(ctx, appio.Manual), context.Canceled)
		p, err := c.Profile(t.Context())
		require.NoError(t, err)
		require.Equal(t, appio.Auto, p.Mode)
	})
}

func TestReadStatus(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	s := w.put()
	c := w.enrol(giuseppe, appio.Auto)
	id := w.send(s, messageTo(giuseppe))
	shown := func() *bool {
		st, err := s.Status(ctx, giuseppe, id)
		require.NoError(t, err)
		require.Equal(t, appio.Processed, st.Status)
		require.WithinDuration(t, w.now(), st.At, time.Minute)
		return st.Read
	}
	yes, no := true, false
	require.Equal(t, &no, shown(), "AUTO lets it be known")
	require.NoError(t, c.MarkRead(ctx, id))
	require.Equal(t, &yes, shown())

	require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true}))
	require.Nil(t, shown(), "the citizen did not say yes to it")
	require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true, ReadStatus: true}))
	require.Equal(t, &yes, shown())
	require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: false, ReadStatus: true}))
	require.Nil(t, shown(), "who refuses the service tells it nothing")

	require.NoError(t, c.SetMode(ctx, appio.Manual))
	require.Nil(t, shown(), "MANUAL is no to what was not chosen, as the citizen is shown it")
	require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true, ReadStatus: true}))
	require.Equal(t, &yes, shown())

	w.put(func(s *appio.Service) { s.Category = appio.Special })
	require.Nil(t, shown(), "nor a special service that does not serve the citizen")
	require.NoError(t, s.Activate(ctx, giuseppe, appio.Active, time.Time{}))
	require.Equal(t, &yes, shown())

	require.NoError(t, c.Erase(ctx))
	require.Nil(t, shown())
	w.flush()
	require.Nil(t, shown())
	w.enrol(giuseppe, appio.Auto)
	require.Nil(t, shown(), "what was erased is neither read nor unread")
}

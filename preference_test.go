package appio_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

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

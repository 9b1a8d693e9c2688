package appio_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
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
		for _, id := range []appio.Identity{{Code: giuseppe, Provider: "spid:TINIT-" + string(giuseppe)}, {Code: giuseppe, Text: string(giuseppe)}} {
			requireField(t, w.Citizen(id).SetMode(ctx, appio.Auto), "Identity", string(giuseppe)) // the history outlives an erasure
		}
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

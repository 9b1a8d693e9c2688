package appio_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

func TestSpecial(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) (*town, *appio.Sender) {
		w := newTown(t)
		return w, w.put(func(s *appio.Service) { s.Category = appio.Special })
	}
	status := func(w *town, s *appio.Sender) (appio.Status, appio.Rule) {
		r, err := s.Send(w.t.Context(), messageTo(giuseppe))
		require.NoError(w.t, err)
		may, err := s.CanContact(w.t.Context(), giuseppe)
		require.NoError(w.t, err)
		require.Equal(w.t, r.Status == appio.Processed, may)
		return r.Status, w.explain(giuseppe, r.ID).Decision.Rule
	}

	t.Run("the activation decides, not the citizen's inbox choice", func(t *testing.T) {
		t.Parallel()
		w, s := setup(t)
		ctx := t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		st, rule := status(w, s)
		require.Equal(t, appio.Rejected, st)
		require.Equal(t, appio.RuleNotActivated, rule)
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Active, time.Time{}))
		st, rule = status(w, s)
		require.Equal(t, appio.Processed, st)
		require.Equal(t, appio.RuleActivated, rule)
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: false, Channels: appio.On(appio.Push)}))
		r, err := s.Send(ctx, messageTo(giuseppe))
		require.NoError(t, err)
		d := w.explain(giuseppe, r.ID).Decision
		require.Equal(t, appio.Processed, d.Status)
		require.Equal(t, appio.None, d.Content(appio.Email), "the choice of channels counts")
		require.Equal(t, appio.Full, d.Content(appio.Push))
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Inactive, time.Time{}))
		st, _ = status(w, s)
		require.Equal(t, appio.Rejected, st)
	})

	t.Run("begins only for whom the service may write to, by a key that may", func(t *testing.T) {
		t.Parallel()
		w, s := setup(t)
		ctx := t.Context()
		svc, err := w.Service(ctx, mensa)
		require.NoError(t, err)
		svc.State, svc.Trial = appio.Trial, []fiscalcode.Person{anna}
		require.NoError(t, w.PutService(ctx, svc))
		require.ErrorIs(t, s.Activate(ctx, giuseppe, appio.Active, time.Time{}), appio.ErrForbidden)
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Inactive, time.Time{}))
		require.NoError(t, s.Activate(ctx, anna, appio.Active, time.Time{}))
		svc.State, svc.Scopes = appio.Live, []appio.Scope{appio.ReadMessages}
		require.NoError(t, w.PutService(ctx, svc))
		key, err := w.NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		byKey, err := w.SenderByKey(ctx, key, netip.Addr{})
		require.NoError(t, err)
		require.ErrorIs(t, byKey.Activate(ctx, giuseppe, appio.Active, time.Time{}), appio.ErrForbidden)
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Active, time.Time{}))
		svc.State = appio.Stopped
		require.NoError(t, w.PutService(ctx, svc))
		require.ErrorIs(t, s.Activate(ctx, giuseppe, appio.Active, time.Time{}), appio.ErrForbidden)
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Inactive, time.Time{}))
	})

	t.Run("a pending activation counts for a day", func(t *testing.T) {
		t.Parallel()
		w, s := setup(t)
		ctx := t.Context()
		w.enrol(giuseppe, appio.Manual)
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Pending, time.Time{}))
		for _, c := range []struct {
			age  time.Duration
			want appio.Status
		}{
			{0, appio.Processed}, {24*time.Hour - time.Minute, appio.Processed},
			{24*time.Hour + time.Minute, appio.Rejected}, {1000 * time.Hour, appio.Rejected},
		} {
			w.ahead.Store(int64(c.age))
			st, _ := status(w, s)
			require.Equal(t, c.want, st, c.age)
		}
		w.ahead.Store(0)
		for since, want := range map[time.Duration]appio.Status{
			-23 * time.Hour: appio.Processed, -25 * time.Hour: appio.Rejected,
		} {
			require.NoError(t, s.Activate(ctx, giuseppe, appio.Pending, w.now().Add(since)))
			st, _ := status(w, s)
			require.Equal(t, want, st, since)
			require.NoError(t, s.Activate(ctx, giuseppe, appio.Active, w.now().Add(since)))
			st, _ = status(w, s)
			require.Equal(t, appio.Processed, st, "an active one does not age")
		}
	})

	t.Run("may be said before the citizen comes, and is no consent", func(t *testing.T) {
		t.Parallel()
		w, s := setup(t)
		require.NoError(t, s.Activate(t.Context(), giuseppe, appio.Active, time.Time{}))
		st, rule := status(w, s)
		require.Equal(t, appio.Rejected, st)
		require.Equal(t, appio.RuleUnknown, rule)
		w.enrol(giuseppe, appio.Manual)
		st, _ = status(w, s)
		require.Equal(t, appio.Processed, st)
	})

	t.Run("its end voids what is pending", func(t *testing.T) {
		t.Parallel()
		w, s := setup(t)
		ctx := t.Context()
		w.enrol(giuseppe, appio.Auto)
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Active, time.Time{}))
		id := w.send(s, messageTo(giuseppe))
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Inactive, time.Time{}))
		w.flush()
		require.Empty(t, w.email.deliveries())
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeVoid}, w.outcomes(giuseppe, id, appio.Email))
	})

	t.Run("is for special services", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		require.ErrorIs(t, s.Activate(ctx, giuseppe, appio.Active, time.Time{}), appio.ErrForbidden)
		requireField(t, s.Activate(ctx, giuseppe, "MAYBE", time.Time{}), "Activation", "MAYBE")
		requireField(t, s.Activate(ctx, "xyzzy", appio.Active, time.Time{}), "To", "xyzzy")
		require.Empty(t, keysOf(t, w.store, citizens))
	})
}

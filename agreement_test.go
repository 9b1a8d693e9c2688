package appio_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

func TestAgreement(t *testing.T) {
	t.Parallel()
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	never := time.Time{}
	for _, c := range []struct {
		drafted, signed, withdrawn time.Time
		want                       appio.AgreementState
	}{
		{never, never, never, appio.NoAgreement},
		{day(1), never, never, appio.AgreementDrafted},
		{day(1), day(2), never, appio.AgreementSigned},
		{never, day(2), never, appio.AgreementSigned},
		{day(1), day(2), day(3), appio.AgreementWithdrawn},
		{day(1), day(4), day(3), appio.AgreementSigned},
		{day(1), day(3), day(3), appio.AgreementWithdrawn},
		{day(1), never, day(3), appio.AgreementWithdrawn},
	} {
		o := appio.Organization{DraftedAt: c.drafted, SignedAt: c.signed, WithdrawnAt: c.withdrawn}
		require.Equal(t, c.want, o.Agreement(), "%+v", o)
	}

	t.Run("publishing needs one, and preparing does not", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		a := w.Authority(comune)
		_, err := a.PutDraft(ctx, prepared())
		require.NoError(t, err)
		w.enrol(giuseppe, appio.Auto)
		w.send(w.Sender(mensa), messageTo(giuseppe)) // a technical partner's trial
		_, err = a.Submit(ctx, mensa, true)
		require.NoError(t, err)
		d, err := w.Approve(ctx, mensa, "")
		require.NoError(t, err)
		require.Equal(t, appio.Released, d.Publication, "approved, and not published")
		require.ErrorIs(t, a.Publish(ctx, mensa), appio.ErrForbidden)
		o := appio.Organization{Code: comune, Name: "Comune", DraftedAt: day(1)}
		require.NoError(t, w.PutOrganization(ctx, o))
		require.ErrorIs(t, a.Publish(ctx, mensa), appio.ErrForbidden)
		require.ErrorIs(t, w.WithdrawAgreement(ctx, comune), appio.ErrConflict)
		require.ErrorIs(t, w.WithdrawAgreement(ctx, regione), appio.ErrNotFound)
		o.SignedAt = day(2)
		require.NoError(t, w.PutOrganization(ctx, o))
		require.NoError(t, a.Publish(ctx, mensa))
	})

	t.Run("its withdrawal stops what is live, and a new signature alone permits more", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		w.enrol(giuseppe, appio.Auto)
		a, old := w.Authority(comune), appio.Organization{Code: comune, Name: "Comune", SignedAt: day(2)}
		w.published(prepared())
		w.put(func(s *appio.Service) { s.ID = "avvisi" })
		w.put(func(s *appio.Service) { s.ID, s.Organization = "altrui", regione })
		require.NoError(t, w.WithdrawAgreement(ctx, comune))
		for id, want := range map[appio.ServiceID]appio.ServiceState{mensa: appio.Stopped, "avvisi": appio.Stopped, "altrui": appio.Live} {
			s, err := w.Service(ctx, id)
			require.NoError(t, err)
			require.Equal(t, want, s.State, id)
		}
		ev := collect(t, a.History(mensa))[0]
		require.Equal(t, []any{appio.ServiceUnpublished, appio.ByEngine, "agreement-ended"}, []any{ev.What, ev.By, ev.Reason})
		require.ErrorIs(t, a.Publish(ctx, mensa), appio.ErrForbidden)

		require.NoError(t, w.PutOrganization(ctx, old), "as start-up code does")
		o, err := w.Organization(ctx, comune)
		require.NoError(t, err)
		require.Equal(t, appio.AgreementWithdrawn, o.Agreement(), "a signature of before does not count again")
		require.ErrorIs(t, a.Publish(ctx, mensa), appio.ErrForbidden)
		old.SignedAt = w.now().Add(time.Second)
		require.NoError(t, w.PutOrganization(ctx, old))
		s, err := w.Service(ctx, mensa)
		require.NoError(t, err)
		require.Equal(t, appio.Stopped, s.State, "nothing is published by itself")
		require.NoError(t, a.Publish(ctx, mensa))
		require.Empty(t, keysOf(t, w.store, "o/z"), "no task is left")
	})

	t.Run("it cancels and awaits what is being sent", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		w.enrol(giuseppe, appio.Auto)
		begun, over := make(chan struct{}, 10), make(chan struct{}, 10)
		w.push.answer = func(ctx context.Context, _ appio.Delivery) error {
			begun <- struct{}{}
			<-ctx.Done()
			over <- struct{}{}
			return ctx.Err()
		}
		w.send(w.published(prepared()), messageTo(giuseppe))
		end := w.run()
		<-begun
		require.NoError(t, w.WithdrawAgreement(ctx, comune))
		require.Len(t, over, 1)
		end()
	})
}

// Who has read the agreement and publishes when it has ended meanwhile is refused.
func TestPublishingAsTheAgreementEnds(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"publish", "approve", "submit"} {
		h := newHookedStore()
		w, ctx := newTownOn(t, h), t.Context()
		require.NoError(t, w.PutOrganization(ctx, appio.Organization{Code: comune, Name: "Comune", SignedAt: w.now().Add(-time.Hour)}))
		a := w.Authority(comune)
		var publish func() error
		switch what {
		case "publish":
			w.published(prepared())
			require.NoError(t, a.Unpublish(ctx, mensa))
			publish = func() error { return a.Publish(ctx, mensa) }
		case "approve":
			_, err := a.PutDraft(ctx, prepared())
			require.NoError(t, err)
			_, err = a.Submit(ctx, mensa, true)
			require.NoError(t, err)
			publish = func() error { _, err := w.Approve(ctx, mensa, ""); return err }
		case "submit":
			w.published(prepared())
			require.NoError(t, a.Unpublish(ctx, mensa))
			_, err := a.PutDraft(ctx, prepared(func(s *appio.Service) { s.Phone = "1" }))
			require.NoError(t, err)
			publish = func() error { _, err := a.Submit(ctx, mensa, true); return err }
		}
		// The first commit of the publication waits until the withdrawal has written everything: by another engine.
		other, err := appio.New(h.Store, &appio.Options{Keys: townKeys, Now: w.now, RevokeWait: time.Millisecond})
		require.NoError(t, err)
		defer other.Close()
		first := true
		h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			if first && strings.HasPrefix(string(changes[0].Owner), "s/") {
				first = false
				require.NoError(t, other.WithdrawAgreement(ctx, comune))
			}
			return next(ctx, changes)
		})
		err = publish()
		require.False(t, first)
		if what == "publish" {
			require.ErrorIs(t, err, appio.ErrForbidden)
		} else {
			require.NoError(t, err)
		}
		s, err := w.Service(ctx, mensa)
		require.NoError(t, err)
		require.NotEqual(t, appio.Live, s.State, what)
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	w, ctx := newOffice(t), t.Context()
	trusted := w.Authority(comune)
	now := w.now()
	for _, m := range []appio.Member{
		{ID: "anna", Role: appio.Administrator}, {ID: "bruno", Role: appio.Editor}, {ID: "carla", Role: appio.Viewer},
		{ID: "dario", Role: appio.Editor, Delegate: true, Until: now.Add(time.Hour)}, {ID: "elena", Role: appio.Administrator, From: now.Add(time.Hour)},
	} {
		require.NoError(t, trusted.PutMember(ctx, m))
	}
	require.Len(t, collect(t, trusted.Members()), 5)
	for field, m := range map[string]appio.Member{
		"ID": {Role: appio.Viewer}, "Role": {ID: "a"}, "Until": {ID: "a", Role: appio.Viewer, Delegate: true}} {
		requireField(t, trusted.PutMember(ctx, m), field, "")
	}
	may := func(id string) string {
		a, err := w.AuthorityFor(ctx, id, comune)
		if err != nil {
			require.ErrorIs(t, err, appio.ErrForbidden)
			return "nothing"
		}
		can := ""
		for name, call := range map[string]func() error{
			"1 read":  func() error { _, err := a.Drafts().Page(ctx, "", 0); return err },
			"2 edit":  func() error { _, err := a.PutDraft(ctx, prepared()); return err },
			"3 admit": func() error { return a.PutMember(ctx, appio.Member{ID: "fabio", Role: appio.Viewer}) },
		} {
			if err := call(); err == nil {
				can += name[:1]
			} else {
				require.ErrorIs(t, err, appio.ErrForbidden)
			}
		}
		return fmt.Sprint(strings.Contains(can, "1"), strings.Contains(can, "2"), strings.Contains(can, "3"))
	}
	require.Equal(t, "true true true", may("anna"))
	require.Equal(t, "true true false", may("bruno"))
	require.Equal(t, "true false false", may("carla"))
	require.Equal(t, "true true false", may("dario"))
	require.Equal(t, "nothing", may("elena"), "not yet")
	require.Equal(t, "nothing", may("gino"))
	require.Equal(t, "nothing", may(""))
	_, err := w.AuthorityFor(ctx, "anna", regione)
	require.ErrorIs(t, err, appio.ErrForbidden, "a member of another one")

	before, err := w.AuthorityFor(ctx, "dario", comune)
	require.NoError(t, err)
	_, err = before.PutDraft(ctx, prepared())
	require.NoError(t, err)
	require.Equal(t, "dario", collect(t, trusted.History(mensa))[0].Who)
	w.advance(time.Hour + time.Second)
	require.Equal(t, "nothing", may("dario"), "no longer")
	require.Equal(t, "true true true", may("elena"))
	for name, call := range map[string]func() error{
		"Organization": func() error { _, err := before.Organization(ctx); return err },
		"PutDraft":     func() error { _, err := before.PutDraft(ctx, prepared()); return err },
		"Draft":        func() error { _, err := before.Draft(ctx, mensa); return err },
		"Drafts":       func() error { _, err := before.Drafts().Page(ctx, "", 0); return err },
		"History":      func() error { _, err := before.History(mensa).Page(ctx, "", 0); return err },
		"Submit":       func() error { _, err := before.Submit(ctx, mensa, true); return err },
		"Recall":       func() error { return before.Recall(ctx, mensa) },
		"Publish":      func() error { return before.Publish(ctx, mensa) },
		"Unpublish":    func() error { return before.Unpublish(ctx, mensa) },
		"Delete":       func() error { return before.Delete(ctx, mensa) },
		"Members":      func() error { _, err := before.Members().Page(ctx, "", 0); return err },
		"RemoveMember": func() error { return before.RemoveMember(ctx, "anna") },
	} {
		require.ErrorIs(t, call(), appio.ErrForbidden, "a handle from before, "+name)
	}
	require.NoError(t, trusted.RemoveMember(ctx, "anna"))
	require.ErrorIs(t, trusted.RemoveMember(ctx, "anna"), appio.ErrNotFound)
	require.Equal(t, "nothing", may("anna"))
}

func TestAggregators(t *testing.T) {
	t.Parallel()
	w, ctx := newOffice(t), t.Context()
	o, err := w.Organization(ctx, comune)
	require.NoError(t, err)
	require.NoError(t, w.Authority(regione).PutMember(ctx, appio.Member{ID: "rita", Role: appio.Editor}))
	rita, err := w.AuthorityFor(ctx, "rita", regione)
	require.NoError(t, err)
	for _, forComune := range []*appio.Authority{w.Authority(regione).For(comune), rita.For(comune)} {
		o.Aggregators = nil
		require.NoError(t, w.PutOrganization(ctx, o))
		_, err = forComune.PutDraft(ctx, prepared())
		require.ErrorIs(t, err, appio.ErrForbidden)
		o.Aggregators = []fiscalcode.Organization{regione}
		require.NoError(t, w.PutOrganization(ctx, o))
		_, err = forComune.PutDraft(ctx, prepared())
		require.NoError(t, err)
		require.ErrorIs(t, forComune.PutMember(ctx, appio.Member{ID: "a", Role: appio.Viewer}), appio.ErrForbidden)
	}
	require.Equal(t, string(regione)+" rita", collect(t, w.Authority(comune).History(mensa))[0].Who)
	require.NoError(t, w.Authority(regione).RemoveMember(ctx, "rita"))
	_, err = rita.For(comune).Draft(ctx, mensa)
	require.ErrorIs(t, err, appio.ErrForbidden)
	_, err = w.Authority(comune).For(regione).Drafts().Page(ctx, "", 0)
	require.ErrorIs(t, err, appio.ErrForbidden, "not the other way round")
	_, err = w.Authority(regione).For("00000000000").Drafts().Page(ctx, "", 0)
	require.ErrorIs(t, err, appio.ErrForbidden)
}

// Who names an aggregator trusts that one, and nobody whom it has named itself: neither by a handle nor by a key.
func TestAggregatorsHaveNone(t *testing.T) {
	t.Parallel()
	w, ctx := newOffice(t), t.Context()
	const consorzio fiscalcode.Organization = "02342520158"
	o, err := w.Organization(ctx, comune)
	require.NoError(t, err)
	o.Aggregators = []fiscalcode.Organization{regione}
	require.NoError(t, w.PutOrganization(ctx, o))
	require.NoError(t, w.PutOrganization(ctx, appio.Organization{Code: regione, Name: "Regione", Aggregators: []fiscalcode.Organization{consorzio}}))
	_, err = w.Authority(comune).PutDraft(ctx, prepared())
	require.NoError(t, err)

	acting := w.Authority(consorzio).For(regione)
	_, err = acting.PutDraft(ctx, prepared(func(s *appio.Service) { s.ID, s.Organization = "bollo", regione }))
	require.NoError(t, err)
	byKey, err := w.AuthorityByKey(ctx, w.manageKey(acting, appio.ManageKey{ID: "k", Role: appio.Administrator}), netip.Addr{})
	require.NoError(t, err)
	for _, a := range []*appio.Authority{acting, byKey} {
		_, err = a.For(comune).Draft(ctx, mensa)
		require.ErrorIs(t, err, appio.ErrForbidden)
		_, err = a.For(comune).PutDraft(ctx, prepared(func(s *appio.Service) { s.ID = "tributi" }))
		require.ErrorIs(t, err, appio.ErrForbidden)
		_, err = a.For(comune).NewKey(ctx, mensa, appio.Primary)
		require.ErrorIs(t, err, appio.ErrForbidden)
		_, err = a.ForService(ctx, mensa)
		require.ErrorIs(t, err, appio.ErrNotFound)
		own, err := a.ForService(ctx, "bollo")
		require.NoError(t, err)
		require.Equal(t, regione, own.Code())
	}
	_, err = w.Authority(regione).For(comune).Draft(ctx, mensa)
	require.NoError(t, err)
}

// TestStopsSurviveACrashAtEachStep lets the engine die at its n-th commit, for every n, before it is made and after: of an unpublishing, and
// of the end of an agreement. Another engine finishes by itself what was begun: nobody repeats those calls.
func TestStopsSurviveACrashAtEachStep(t *testing.T) {
	t.Parallel()
	dieAtEachCommit(t, 0, stopOnce)
}

// stopOnce reports whether there was an n-th commit.
func stopOnce(t *testing.T, n int, made bool) bool {
	ctx := t.Context()
	disk := memstore.New()
	open := func(s store.Store) *appio.Engine {
		e, err := appio.New(s, &appio.Options{Keys: townKeys, RevokeWait: time.Millisecond})
		require.NoError(t, err)
		return e
	}
	state := func(e *appio.Engine, id appio.ServiceID) appio.ServiceState {
		s, err := e.Service(ctx, id)
		require.NoError(t, err)
		return s.State
	}
	setUp := open(disk)
	require.NoError(t, setUp.PutOrganization(ctx, appio.Organization{Code: comune, Name: "Comune", SignedAt: time.Now().Add(-time.Hour)}))
	ids := []appio.ServiceID{"a", "b", "c"}
	for i, id := range ids {
		s := prepared(func(s *appio.Service) { s.ID, s.Name = id, s.Name+string(id) })
		if i == 2 {
			require.NoError(t, setUp.PutService(ctx, newService(func(s *appio.Service) { s.ID = id })))
			continue
		}
		_, err := setUp.Authority(comune).PutDraft(ctx, s)
		require.NoError(t, err)
		_, err = setUp.Authority(comune).Submit(ctx, id, true)
		require.NoError(t, err)
		_, err = setUp.Approve(ctx, id, "")
		require.NoError(t, err)
	}
	require.NoError(t, setUp.Close())

	m := &mortal{Store: disk, left: n, made: made}
	e := open(m)
	err := e.Authority(comune).Unpublish(ctx, "a")
	unpublished := err == nil
	if err == nil {
		err = e.WithdrawAgreement(ctx, comune)
	}
	died := m.dead()
	require.Equal(t, died, err != nil || m.left == 0, "%v", err)
	_ = e.Close()

	e = open(disk)
	defer e.Close()
	_, err2 := e.Flush(ctx)
	require.NoError(t, err2)
	where := fmt.Sprintf("commit %d, made %t: %v", n, made, err)
	o, err2 := e.Organization(ctx, comune)
	require.NoError(t, err2)
	withdrawn := o.Agreement() == appio.AgreementWithdrawn
	if err == nil {
		require.True(t, withdrawn, where)
	}
	for _, id := range ids {
		stopped := state(e, id) == appio.Stopped
		if withdrawn {
			require.True(t, stopped, "%s: %s", where, id)
		}
		if id == "a" && unpublished {
			require.True(t, stopped, where)
		}
		if id != "c" {
			d, err := e.Authority(comune).Draft(ctx, id)
			require.NoError(t, err)
			last := collect(t, e.ServiceHistory(id))[0]
			require.Equal(t, d.Publication, last.Publication, "the history says what is: %s", where)
		}
	}
	in, err2 := e.Check(ctx, func(f appio.Finding) { t.Error(where, f) })
	require.NoError(t, err2)
	require.Zero(t, in.Records["clean-up task"], where)
	if withdrawn {
		require.True(t, errors.Is(e.Authority(comune).Publish(ctx, "a"), appio.ErrForbidden), where)
	}
	return died
}

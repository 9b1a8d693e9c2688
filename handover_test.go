package appio_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

func TestHandingOver(t *testing.T) {
	t.Parallel()
	const partner fiscalcode.Organization = "02342520158" // without an agreement, and not even registered

	t.Run("what a technical partner tried goes on at the organization, under its keys alone", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		w.enrol(giuseppe, appio.Auto)
		ours, theirs := w.Authority(comune), w.Authority(partner)
		_, err := theirs.PutDraft(ctx, prepared())
		require.NoError(t, err)
		require.NoError(t, theirs.SetGroup(ctx, mensa, "comuni"))
		key, err := theirs.NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		s, err := w.SenderByKey(ctx, key, noAddr)
		require.NoError(t, err)
		w.send(s, messageTo(giuseppe))
		_, err = ours.TakeOver(ctx, mensa)
		require.ErrorIs(t, err, appio.ErrNotFound, "it was not offered")
		require.NoError(t, theirs.HandOver(ctx, mensa, comune))
		require.NoError(t, theirs.HandOver(ctx, mensa, ""))
		_, err = ours.TakeOver(ctx, mensa)
		require.ErrorIs(t, err, appio.ErrNotFound, "the offer was taken back")
		require.NoError(t, theirs.HandOver(ctx, mensa, comune))
		d, err := theirs.Draft(ctx, mensa)
		require.NoError(t, err)
		require.Equal(t, comune, d.Offered)
		_, err = w.Authority(regione).TakeOver(ctx, mensa)
		require.ErrorIs(t, err, appio.ErrNotFound, "it was offered to somebody else")

		d, err = ours.TakeOver(ctx, mensa)
		require.NoError(t, err)
		require.Equal(t, []any{comune, appio.Editing, appio.Unreleased, appio.Trial, "", fiscalcode.Organization("")},
			[]any{d.Organization, d.Stage, d.Publication, d.State, d.Group, d.Offered})
		_, err = ours.TakeOver(ctx, mensa)
		require.ErrorIs(t, err, appio.ErrNotFound, "once")
		_, err = theirs.Draft(ctx, mensa)
		require.ErrorIs(t, err, appio.ErrNotFound)
		require.Empty(t, collect(t, theirs.Drafts()))
		require.Len(t, collect(t, ours.Drafts()), 1)
		_, err = s.Send(ctx, messageTo(giuseppe))
		require.ErrorIs(t, err, appio.ErrUnauthorized, "the partner's key has ended")
		ev := collect(t, ours.History(mensa))[0]
		require.Equal(t, []any{appio.ServiceHandedOver, string(partner), comune}, []any{ev.What, ev.Reason, ev.Service.Organization})

		next, err := ours.NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		require.NotEqual(t, key, next)
		_, err = ours.Submit(ctx, mensa, true)
		require.NoError(t, err)
		d, err = w.Approve(ctx, mensa, "")
		require.NoError(t, err)
		require.Equal(t, appio.Published, d.Publication, "under the organization's agreement")
		require.ErrorIs(t, ours.HandOver(ctx, mensa, regione), appio.ErrConflict, "citizens have chosen it as this organization's")
	})

	t.Run("not what is submitted, and only by who may administer", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		a := w.Authority(comune)
		_, err := a.PutDraft(ctx, prepared())
		require.NoError(t, err)
		requireField(t, a.HandOver(ctx, mensa, "1"), "to", "")
		requireField(t, a.HandOver(ctx, mensa, comune), "to", "")
		require.ErrorIs(t, w.Authority(regione).HandOver(ctx, mensa, comune), appio.ErrNotFound)
		require.NoError(t, a.PutMember(ctx, appio.Member{ID: "bruno", Role: appio.Editor}))
		editor, err := w.AuthorityFor(ctx, "bruno", comune)
		require.NoError(t, err)
		require.ErrorIs(t, editor.HandOver(ctx, mensa, regione), appio.ErrForbidden)
		_, err = editor.TakeOver(ctx, mensa)
		require.ErrorIs(t, err, appio.ErrForbidden)
		require.ErrorIs(t, editor.SetGroup(ctx, mensa, "a"), appio.ErrForbidden)
		requireField(t, a.SetGroup(ctx, mensa, string(make([]byte, 201))), "group", "")

		require.NoError(t, a.HandOver(ctx, mensa, regione))
		_, err = a.Submit(ctx, mensa, false)
		require.NoError(t, err)
		require.ErrorIs(t, a.HandOver(ctx, mensa, regione), appio.ErrConflict)
		_, err = w.Authority(regione).TakeOver(ctx, mensa)
		require.ErrorIs(t, err, appio.ErrConflict, "it is frozen")
		_, err = w.Approve(ctx, mensa, "")
		require.NoError(t, err)
		_, err = w.Authority(regione).TakeOver(ctx, mensa)
		require.ErrorIs(t, err, appio.ErrConflict, "an offer does not outlive an approval")
		_, err = a.PutDraft(ctx, prepared())
		require.NoError(t, err)
		_, err = w.Authority(regione).TakeOver(ctx, mensa)
		require.ErrorIs(t, err, appio.ErrConflict, "nor is it renewed by the next draft")
		require.NoError(t, a.HandOver(ctx, mensa, ""), "it can be taken back")
	})
}

func TestEntrusting(t *testing.T) {
	t.Parallel()
	w, ctx := newOffice(t), t.Context()
	w.enrol(giuseppe, appio.Auto)
	a := w.Authority(comune)
	for state, want := range map[appio.ServiceState][2]any{
		appio.Live: {appio.Approved, appio.Published}, appio.Trial: {appio.Editing, appio.Unreleased}, appio.Stopped: {appio.Approved, appio.Unpublished},
	} {
		id := appio.ServiceID("servizio " + string(state))
		w.put(func(s *appio.Service) { s.ID, s.State = id, state })
		before, err := w.Service(ctx, id)
		require.NoError(t, err)
		_, err = a.Draft(ctx, id)
		require.ErrorIs(t, err, appio.ErrNotFound)
		d, err := w.Entrust(ctx, id, "anna")
		require.NoError(t, err)
		require.Equal(t, want, [2]any{d.Stage, d.Publication}, state)
		require.Equal(t, before, d.Service)
		again, err := w.Entrust(ctx, id, "anna")
		require.NoError(t, err)
		require.Equal(t, d, again, "once")
		after, err := w.Service(ctx, id)
		require.NoError(t, err)
		require.Equal(t, before, after, "the live copy stays as it is")
		history := collect(t, a.History(id))
		require.Len(t, history, 1)
		require.Equal(t, []any{appio.ServiceEntrusted, appio.ByOperator, "anna", id}, []any{history[0].What, history[0].By, history[0].Who, history[0].Service.ID})
		if state == appio.Live {
			require.NoError(t, a.Unpublish(ctx, id))
			require.NoError(t, a.Publish(ctx, id))
		} else if state == appio.Trial {
			require.ErrorIs(t, a.Publish(ctx, id), appio.ErrConflict, "nobody has approved it")
		} else {
			require.ErrorIs(t, a.Publish(ctx, id), appio.ErrForbidden, "the operator has stopped it")
		}
	}
	require.Len(t, collect(t, a.Drafts()), 3)
	_, err := w.Entrust(ctx, "nessuno", "")
	require.ErrorIs(t, err, appio.ErrNotFound)
	_, err = w.Entrust(ctx, mensa, string(make([]byte, 201)))
	requireField(t, err, "by", "")
}

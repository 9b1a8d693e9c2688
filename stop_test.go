package appio_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

// What the operator stops stays stopped until the operator says otherwise, whatever its organization does.
func TestTheOperatorsStopHolds(t *testing.T) {
	t.Parallel()

	t.Run("through publishing, a new version and its approval", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		a := w.Authority(comune)
		w.enrol(giuseppe, appio.Auto)
		sender := w.published(prepared())
		require.NoError(t, w.StopService(ctx, mensa, "anna", "reclami"))
		require.NoError(t, w.StopService(ctx, mensa, "bruno", "altri"), "twice is once")
		stopped := func() {
			t.Helper()
			_, err := sender.Send(ctx, messageTo(giuseppe))
			require.ErrorIs(t, err, appio.ErrForbidden)
			require.ErrorIs(t, a.Publish(ctx, mensa), appio.ErrForbidden)
			d, err := a.Draft(ctx, mensa)
			require.NoError(t, err)
			require.Equal(t, []any{true, appio.Unpublished}, []any{d.Held, d.Publication})
		}
		stopped()
		ev := collect(t, a.History(mensa))[0]
		require.Equal(t, []any{appio.ServiceStopped, appio.ByOperator, "anna", "reclami"}, []any{ev.What, ev.By, ev.Who, ev.Reason})
		require.NoError(t, a.Unpublish(ctx, mensa))
		stopped()
		for _, phone := range []string{"+39 1", "+39 2"} { // by hand, and by itself
			_, err := a.PutDraft(ctx, prepared(func(s *appio.Service) { s.Phone, s.Description = phone, "Pasti e merende" }))
			require.NoError(t, err)
			d, err := a.Submit(ctx, mensa, true)
			require.NoError(t, err)
			if d.Stage == appio.Submitted {
				_, err = w.Approve(ctx, mensa, "anna")
				require.NoError(t, err)
			}
			stopped()
		}
		require.NoError(t, w.AllowService(ctx, mensa, "anna"))
		_, err := sender.Send(ctx, messageTo(giuseppe))
		require.ErrorIs(t, err, appio.ErrForbidden, "nothing is published by itself")
		require.NoError(t, a.Publish(ctx, mensa))
		w.send(sender, messageTo(giuseppe))
		n := len(collect(t, a.History(mensa)))
		require.NoError(t, w.AllowService(ctx, mensa, "anna"))
		require.Len(t, collect(t, a.History(mensa)), n, "there was nothing to allow")
	})

	t.Run("by PutService, too", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		w.published(prepared())
		s, err := w.Service(ctx, mensa)
		require.NoError(t, err)
		s.State = appio.Stopped
		require.NoError(t, w.PutService(ctx, s))
		require.ErrorIs(t, w.Authority(comune).Publish(ctx, mensa), appio.ErrForbidden)
		s.State = appio.Trial
		require.NoError(t, w.PutService(ctx, s))
		require.NoError(t, w.Authority(comune).Publish(ctx, mensa))
	})

	t.Run("what was never approved is in trial again, as it is by then", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		a := w.Authority(comune)
		_, err := a.PutDraft(ctx, prepared())
		require.NoError(t, err)
		require.NoError(t, w.StopService(ctx, mensa, "", ""))
		_, err = a.PutDraft(ctx, prepared(func(s *appio.Service) { s.Name, s.Trial = "Mensa", []fiscalcode.Person{matteo} }))
		require.NoError(t, err)
		require.NoError(t, w.AllowService(ctx, mensa, ""))
		s, err := w.Service(ctx, mensa)
		require.NoError(t, err)
		require.Equal(t, []any{appio.Trial, "Mensa", []fiscalcode.Person{matteo}}, []any{s.State, s.Name, s.Trial})
	})

	t.Run("of a service that no authority prepares", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		w.enrol(giuseppe, appio.Auto)
		sender := w.put()
		require.NoError(t, w.StopService(ctx, mensa, "anna", ""))
		require.NoError(t, w.AllowService(ctx, mensa, "anna"))
		_, err := sender.Send(ctx, messageTo(giuseppe))
		require.ErrorIs(t, err, appio.ErrForbidden, "until it is put again")
		w.put()
		w.send(sender, messageTo(giuseppe))
		require.Empty(t, collect(t, w.ServiceHistory(mensa)))

		require.ErrorIs(t, w.StopService(ctx, "nessuno", "", ""), appio.ErrNotFound)
		require.ErrorIs(t, w.AllowService(ctx, "", ""), appio.ErrNotFound)
		requireField(t, w.StopService(ctx, mensa, string(make([]byte, 201)), ""), "by", "")
		requireField(t, w.StopService(ctx, mensa, "", string(make([]byte, 1001))), "reason", "")
	})

	t.Run("it cancels and awaits what is being sent", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		w.enrol(giuseppe, appio.Auto)
		begun, underWay := w.hang()
		w.send(w.published(prepared()), messageTo(giuseppe))
		end := w.run()
		<-begun
		require.NoError(t, w.StopService(ctx, mensa, "", ""))
		require.Zero(t, underWay.Load())
		for len(begun) > 0 {
			<-begun
		}
		w.advance(2 * time.Minute)
		end()
		w.flush()
		require.Empty(t, begun)
	})
}

// Submitted services wait for the operator in the order in which they were submitted, and nothing else does.
func TestReviews(t *testing.T) {
	t.Parallel()
	w, ctx := newOffice(t), t.Context()
	a := w.Authority(comune)
	for _, id := range []appio.ServiceID{"c", "a", "b", "d"} {
		_, err := a.PutDraft(ctx, prepared(func(s *appio.Service) { s.ID, s.Name = id, "Servizio "+string(id) }))
		require.NoError(t, err)
		if id != "d" {
			_, err = a.Submit(ctx, id, false)
			require.NoError(t, err)
		}
		w.advance(time.Minute)
	}
	queue := func(limit int) (ids []appio.ServiceID) {
		for c := appio.Cursor(""); ; {
			page, err := w.Reviews().Page(ctx, c, limit)
			require.NoError(t, err)
			for _, d := range page.Items {
				require.Equal(t, appio.Submitted, d.Stage)
				ids = append(ids, d.ID)
			}
			if c = page.Next; c == "" {
				return ids
			}
		}
	}
	for _, limit := range []int{1, 2, 100} {
		require.Equal(t, []appio.ServiceID{"c", "a", "b"}, queue(limit))
	}
	page, err := w.Reviews().Page(ctx, "", 1)
	require.NoError(t, err)
	page, err = w.Reviews().Page(ctx, page.Next, 1)
	require.NoError(t, err)
	_, err = w.Reviews().Page(ctx, page.Prev, 1)
	require.ErrorIs(t, err, appio.ErrInvalid)
	_, err = w.Reject(ctx, "a", "anna", "no")
	require.NoError(t, err)
	require.NoError(t, a.Recall(ctx, "c"))
	require.Equal(t, []appio.ServiceID{"b"}, queue(10))
	_, err = w.Approve(ctx, "b", "anna")
	require.NoError(t, err)
	require.Empty(t, queue(10))
	_, err = a.Submit(ctx, "c", false)
	require.NoError(t, err)
	_, err = a.Submit(ctx, "d", false)
	require.NoError(t, err)
	require.Equal(t, []appio.ServiceID{"c", "d"}, queue(10))
	in, err := w.Check(ctx, func(f appio.Finding) { t.Error(f) })
	require.NoError(t, err)
	for _, q := range in.Queues {
		if q.Kind == "reviews" {
			require.EqualValues(t, 2, q.Depth)
			return
		}
	}
	t.Error("the queue is not in the inventory")
}

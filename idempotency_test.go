package appio_test

import (
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()

	t.Run("the same key and message is the same message", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		first, err := s.Send(ctx, messageTo(giuseppe, withKey("k")))
		require.NoError(t, err)
		require.False(t, first.Repeated)
		again, err := s.Send(ctx, messageTo(giuseppe, withKey("k")))
		require.NoError(t, err)
		require.Equal(t, appio.Result{ID: first.ID, Status: appio.Processed, Repeated: true}, again)
		again, err = s.Send(ctx, messageTo(giuseppe, withKey("k"), func(m *appio.Message) { m.TimeToLive = time.Hour }))
		require.NoError(t, err)
		require.True(t, again.Repeated, "what is left out is the same as its default")
		require.Len(t, collect(t, c.Inbox(nil)), 1)
		require.Equal(t, 2, w.flush())
	})

	t.Run("another message under it is a conflict", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put(func(s *appio.Service) { s.Premium = true })
		c := w.enrol(giuseppe, appio.Auto)
		remote, err := w.Authority(comune).PutRemoteConfiguration(ctx, remoteConfiguration())
		require.NoError(t, err)
		notice := appio.Notice{Number: "302032002700000251", Amount: 100}
		base := messageTo(giuseppe, withKey("k"), func(m *appio.Message) { n := notice; m.Payment = &n })
		w.send(s, base)
		for name, change := range map[string]func(m *appio.Message){
			"subject": func(m *appio.Message) { m.Subject += "." }, "markdown": func(m *appio.Message) { m.Markdown += "." },
			"due": func(m *appio.Message) { m.Due = time.Now() }, "secure": func(m *appio.Message) { m.SecureChannels = true },
			"time to live": func(m *appio.Message) { m.TimeToLive = 2 * time.Hour }, "no payment": func(m *appio.Message) { m.Payment = nil },
			"amount":       func(m *appio.Message) { n := notice; n.Amount++; m.Payment = &n },
			"number":       func(m *appio.Message) { n := notice; n.Number = "301202400000000164"; m.Payment = &n },
			"payee":        func(m *appio.Message) { n := notice; n.Payee = comune; m.Payment = &n },
			"after":        func(m *appio.Message) { n := notice; n.InvalidAfterDue = true; m.Payment = &n },
			"language":     func(m *appio.Message) { m.Language = "it" },
			"translations": func(m *appio.Message) { m.Language, m.Translations = "it", inEnglish },
			"template":     func(m *appio.Message) { m.Template = appio.TemplateRef{ID: "mensa", Version: 1} },
			"premium":      func(m *appio.Message) { m.Premium = true },
			"prescription": func(m *appio.Message) { m.Prescription = &appio.Prescription{NRE: "010A12345678901"} },
			"remote":       func(m *appio.Message) { m.Remote = &appio.RemoteContent{ID: "7", Configuration: remote.ID} },
		} {
			m := base
			change(&m)
			r, err := s.Send(ctx, m)
			require.ErrorIs(t, err, appio.ErrConflict, name)
			require.Equal(t, appio.Result{Err: err}, r)
		}
		require.Equal(t, 15, reflect.TypeFor[appio.Message]().NumField(), "a new field of Message belongs into this test")
		require.Len(t, collect(t, c.Inbox(nil)), 1)
	})

	t.Run("it counts per service and recipient", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s, other := w.put(), w.put(func(s *appio.Service) { s.ID = "tari" })
		w.enrol(giuseppe, appio.Auto)
		w.enrol(matteo, appio.Auto)
		ids := map[appio.MessageID]bool{}
		for _, by := range []*appio.Sender{s, other} {
			for _, to := range []fiscalcode.Person{giuseppe, matteo} {
				for _, key := range []string{"k", "K", "k ", ""} {
					r, err := by.Send(ctx, messageTo(to, withKey(key)))
					require.NoError(t, err)
					require.False(t, r.Repeated)
					ids[r.ID] = true
				}
			}
		}
		require.Len(t, ids, 16)
	})

	t.Run("twice in one batch is one message, and another body in it is a conflict", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		other := messageTo(giuseppe, withKey("k"), func(m *appio.Message) { m.Subject = "Un altro oggetto" })
		rs, err := s.SendBatch(ctx, []appio.Message{
			messageTo(giuseppe, withKey("k")), messageTo(giuseppe, withKey("k")), other, messageTo(giuseppe, withKey("k")), messageTo(giuseppe),
		})
		require.ErrorIs(t, err, appio.ErrConflict)
		require.ErrorIs(t, rs[2].Err, appio.ErrConflict)
		for i, repeated := range []bool{false, true, false, true, false} {
			require.Equal(t, repeated, rs[i].Repeated, i)
		}
		require.Equal(t, rs[0].ID, rs[1].ID)
		require.Equal(t, rs[0].ID, rs[3].ID)
		require.Len(t, collect(t, c.Inbox(nil)), 2)
	})

	t.Run("from many at once it is one message", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		const n = 32
		rs, errs := make([]appio.Result, n), make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { rs[i], errs[i] = s.Send(ctx, messageTo(giuseppe, withKey("k"))) })
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
		first := 0
		for _, r := range rs {
			require.Equal(t, rs[0].ID, r.ID)
			if !r.Repeated {
				first++
			}
		}
		require.Equal(t, 1, first)
		require.Len(t, collect(t, c.Inbox(nil)), 1)
	})

	t.Run("it settles a refusal too", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		r, err := s.Send(ctx, messageTo(giuseppe, withKey("k")))
		require.NoError(t, err)
		require.Equal(t, appio.Rejected, r.Status)
		c := w.enrol(giuseppe, appio.Auto)
		again, err := s.Send(ctx, messageTo(giuseppe, withKey("k")))
		require.NoError(t, err)
		require.Equal(t, appio.Result{ID: r.ID, Status: appio.Rejected, Repeated: true}, again)
		require.Empty(t, collect(t, c.Inbox(nil)))
		_, err = s.Send(ctx, messageTo(giuseppe, withKey("k"), func(m *appio.Message) { m.Subject += "." }))
		require.ErrorIs(t, err, appio.ErrConflict)
	})

	t.Run("an error does not use it up", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.enrol(giuseppe, appio.Auto)
		s := w.put(func(s *appio.Service) { s.State = appio.Stopped })
		_, err := s.Send(ctx, messageTo(giuseppe, withKey("k")))
		require.ErrorIs(t, err, appio.ErrForbidden)
		w.put()
		r, err := s.Send(ctx, messageTo(giuseppe, withKey("k")))
		require.NoError(t, err)
		require.Equal(t, appio.Processed, r.Status)
		require.False(t, r.Repeated)
	})

	t.Run("it counts for 30 days, whether the store was cleaned up or not", func(t *testing.T) {
		t.Parallel()
		for _, cleaned := range []bool{true, false} {
			w, ctx := newTown(t), t.Context()
			s := w.put()
			w.enrol(giuseppe, appio.Auto)
			id := w.send(s, messageTo(giuseppe, withKey("k")))
			flush := func() {
				if cleaned {
					w.flush()
				}
			}
			w.advance(30*24*time.Hour - time.Minute)
			flush()
			again, err := s.Send(ctx, messageTo(giuseppe, withKey("k")))
			require.NoError(t, err)
			require.Equal(t, id, again.ID)
			w.advance(2 * time.Minute)
			flush()
			again, err = s.Send(ctx, messageTo(giuseppe, withKey("k")))
			require.NoError(t, err)
			require.False(t, again.Repeated, "cleaned up: %v", cleaned)
			require.NotEqual(t, id, again.ID)
		}
	})

	t.Run("it is nowhere in the store", func(t *testing.T) {
		t.Parallel()
		w := newTown(t, func(o *appio.Options) { o.Plain = true })
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe, withKey("a key to be found")))
		for _, r := range recordsOf(t, w.store, "") {
			require.NotContains(t, string(r.Owner)+string(r.Key)+string(r.Value), "a key to be found")
		}
	})
}

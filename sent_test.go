package appio_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	s, other := w.put(), w.put(func(s *appio.Service) { s.ID = "tari" })
	w.enrol(giuseppe, appio.Auto)
	w.enrol(matteo, appio.Auto)
	id := w.send(s, messageTo(giuseppe))
	rejected, err := s.Send(ctx, messageTo(personNumber(1)))
	require.NoError(t, err)

	t.Run("is for the service that sent it", func(t *testing.T) {
		st, err := s.Status(ctx, giuseppe, id)
		require.NoError(t, err)
		require.Equal(t, appio.Processed, st.Status)
		for to, id := range map[fiscalcode.Person]appio.MessageID{giuseppe: id, personNumber(1): rejected.ID} {
			st, err = other.Status(ctx, to, id)
			require.ErrorIs(t, err, appio.ErrForbidden)
			require.Zero(t, st)
		}
	})

	t.Run("asked by the path of another recipient it is not found", func(t *testing.T) {
		for _, to := range []fiscalcode.Person{matteo, personNumber(1), personNumber(2), "", "xyzzy"} {
			st, err := s.Status(ctx, to, id)
			require.ErrorIs(t, err, appio.ErrNotFound)
			require.Zero(t, st)
		}
		for _, id := range []appio.MessageID{"", "x", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "../" + id, id + "+", "d/" + id} {
			_, err := s.Status(ctx, giuseppe, id)
			require.ErrorIs(t, err, appio.ErrNotFound)
		}
	})

	t.Run("of a processed message is known for good", func(t *testing.T) {
		w := newTown(t)
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		id := w.send(s, messageTo(giuseppe))
		w.advance(10 * 365 * 24 * time.Hour)
		w.flush()
		st, err := s.Status(ctx, giuseppe, id)
		require.NoError(t, err)
		require.Equal(t, appio.Processed, st.Status)
	})
}

func TestSentMessage(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	s, other := w.put(func(s *appio.Service) { s.Premium, s.MaxPayment = true, 100 }), w.put(func(s *appio.Service) { s.ID = "tari" })
	c := w.enrol(giuseppe, appio.Auto)
	m := messageTo(giuseppe, func(m *appio.Message) {
		m.Premium, m.Payment = true, &appio.Notice{Number: "302032002700000251", Amount: 100}
	})
	id := w.send(s, m)
	sent, err := s.Message(ctx, giuseppe, id)
	require.NoError(t, err)
	st, err := s.Status(ctx, giuseppe, id)
	require.NoError(t, err)
	require.Equal(t, st, sent.MessageStatus)
	m.Payment.Payee, m.TimeToLive = comune, time.Hour
	require.Equal(t, m, *sent.Message)

	for to, by := range map[fiscalcode.Person]*appio.Sender{giuseppe: other, matteo: s} {
		_, err := by.Status(ctx, to, id)
		require.Error(t, err)
		sent, same := by.Message(ctx, to, id)
		require.Equal(t, err, same)
		require.Zero(t, sent)
	}
	rejected, err := s.Send(ctx, messageTo(matteo, func(m *appio.Message) { m.Premium = true }))
	require.NoError(t, err)
	sent, err = s.Message(ctx, matteo, rejected.ID)
	require.NoError(t, err)
	require.Equal(t, appio.Rejected, sent.Status)
	require.True(t, sent.Premium)
	require.Nil(t, sent.Message)

	require.NoError(t, c.Erase(ctx))
	for range 2 { // before and after its records have gone
		sent, err = s.Message(ctx, giuseppe, id)
		require.NoError(t, err)
		require.Equal(t, appio.Processed, sent.Status)
		require.True(t, sent.Premium)
		require.Nil(t, sent.Message)
		w.flush()
	}
}

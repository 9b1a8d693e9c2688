package appio_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

func TestCanContact(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	s := w.put()
	n := 0
	for name, refuse := range refusals {
		if name == "not activated" {
			continue
		}
		n++
		require.NoError(t, refuse(ctx, w.person(personNumber(n))))
		may, err := s.CanContact(ctx, personNumber(n))
		require.NoError(t, err, name)
		require.False(t, may, name)
	}
	may, err := s.CanContact(ctx, w.enrolled(giuseppe))
	require.NoError(t, err)
	require.True(t, may)
	_, err = s.CanContact(ctx, "xyzzy")
	requireField(t, err, "To", "xyzzy")

	// It says what Send does, and stores nothing.
	before := len(recordsOf(t, w.store, ""))
	for i := range n {
		may, err := s.CanContact(ctx, personNumber(i+1))
		require.NoError(t, err)
		require.False(t, may)
	}
	require.Len(t, recordsOf(t, w.store, ""), before)
}

func TestRecipient(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	s := w.put()
	c := w.enrol(giuseppe, appio.Auto)
	require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Languages = []string{"it", "de"}; return nil }))
	r, err := s.Recipient(ctx, giuseppe)
	require.NoError(t, err)
	require.Equal(t, appio.Recipient{Allowed: true, Languages: []string{"it", "de"}}, r)

	require.NoError(t, c.SetPreference(ctx, s.ID(), appio.Preference{}))
	r, err = s.Recipient(ctx, giuseppe)
	require.NoError(t, err)
	require.Equal(t, appio.Recipient{Languages: []string{"it", "de"}}, r, "who refused is known")

	require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Inbox = false; return nil }))
	for _, to := range []fiscalcode.Person{giuseppe, matteo} {
		r, err = s.Recipient(ctx, to)
		require.Equal(t, appio.ErrNotFound, err, "whose inbox is closed is as one who never came")
		require.Zero(t, r)
	}
	_, err = s.Recipient(ctx, "xyzzy")
	requireField(t, err, "To", "xyzzy")
	w.put(func(s *appio.Service) { s.State = appio.Trial })
	_, err = s.Recipient(ctx, matteo)
	require.ErrorIs(t, err, appio.ErrForbidden, "in trial nothing is said of who is no recipient of it")

	w.put()
	require.NoError(t, w.person(giuseppe).Erase(ctx))
	_, err = s.Recipient(ctx, giuseppe)
	require.ErrorIs(t, err, appio.ErrNotFound)
}

package appio_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/alone"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// A countedStore counts the records that are read of it and written to it.
type countedStore struct {
	store.Store
	read, written int
}

func (s *countedStore) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	shots, err := s.Store.View(ctx, reads)
	for i := range shots {
		s.read += len(shots[i].Records)
	}
	return shots, err
}

func (s *countedStore) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	for i := range changes {
		s.written += len(changes[i].Put) + len(changes[i].Delete)
	}
	return s.Store.Commit(ctx, changes)
}

// TestAMessageCostsTheSameAfterALongHistory counts what the store is asked for. What it takes in time is measured in itest/hot.
func TestAMessageCostsTheSameAfterALongHistory(t *testing.T) {
	t.Parallel()
	s := &countedStore{Store: memstore.New()}
	w, ctx := newTownOn(t, s), t.Context()
	sender := w.put()
	w.enrol(giuseppe, appio.Auto)
	w.send(sender, messageTo(giuseppe, withKey("first")))
	cost := func(key string) (read, written int) {
		read, written = s.read, s.written
		w.send(sender, messageTo(giuseppe, withKey(key)))
		return s.read - read, s.written - written
	}
	read, written := cost("early")
	require.Positive(t, written)
	for range 3 {
		ms := make([]appio.Message, 1000)
		for i := range ms {
			ms[i] = messageTo(giuseppe)
		}
		_, err := sender.SendBatch(ctx, ms)
		require.NoError(t, err)
	}
	readLate, writtenLate := cost("late")
	require.Equal(t, []int{read, written}, []int{readLate, writtenLate})
}

// What an organization edits costs the same however many services it has.
func TestAnEditCostsTheSameBesideManyServices(t *testing.T) {
	t.Parallel()
	s := &countedStore{Store: memstore.New()}
	w, ctx := newTownOn(t, s), t.Context()
	a := w.Authority("01199250158")
	edit := func() (read int) {
		before := s.read
		_, err := a.PutDraft(ctx, appio.Service{ID: "biblioteca", Name: "Biblioteca"})
		require.NoError(t, err)
		return s.read - before
	}
	edit()
	early := edit()
	for range 50 {
		_, err := a.PutDraft(ctx, appio.Service{Name: "Un altro"})
		require.NoError(t, err)
	}
	require.Equal(t, early, edit())
}

// A service that calls again and again, alone on its store, is known from memory; what ends its key is known at once.
func TestAKnownKeyIsNotLookedUpAgain(t *testing.T) {
	t.Parallel()
	s := &countedStore{Store: memstore.New()}
	w, ctx := newTownOn(t, alone.Store{Store: s}), t.Context()
	w.put()
	w.enrol(giuseppe, appio.Auto)
	key, err := w.NewKey(ctx, mensa, appio.Primary)
	require.NoError(t, err)
	sender, err := w.SenderByKey(ctx, key, netip.Addr{})
	require.NoError(t, err)
	w.send(sender, messageTo(giuseppe)) // which reads the service anew

	before := s.read
	for range 10 {
		_, err = w.SenderByKey(ctx, key, netip.Addr{})
		require.NoError(t, err)
	}
	require.Equal(t, before, s.read)
	_, err = w.NewKey(ctx, mensa, appio.Primary)
	require.NoError(t, err)
	_, err = w.SenderByKey(ctx, key, netip.Addr{})
	require.ErrorIs(t, err, appio.ErrUnauthorized)
}

// Who is not known is not told from who refused by what is read of them, neither in sending nor later.
func TestUnknownAndRefusedCostTheSame(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]*countedStore{"alone": {Store: memstore.New()}, "with others": {Store: memstore.New()}} {
		var on store.Store = s
		if name == "alone" {
			on = alone.Store{Store: s}
		}
		w, ctx := newTownOn(t, on), t.Context()
		sender := w.put()
		cost := func(f func() error) int {
			before := s.read
			require.NoError(t, f())
			return s.read - before
		}
		type costs struct{ sent, looked, asked int }
		ask := func(to fiscalcode.Person) (c costs) {
			var id appio.MessageID
			c.sent = cost(func() error {
				r, err := sender.Send(ctx, messageTo(to))
				require.Equal(t, appio.Rejected, r.Status)
				id = r.ID
				return err
			})
			c.looked = cost(func() error { _, err := sender.Status(ctx, to, id); return err })
			c.asked = cost(func() error { _, err := sender.CanContact(ctx, to); return err })
			return c
		}
		w.enrol(giuseppe, appio.Manual)
		w.enrol(matteo, appio.Manual)
		ask(giuseppe)
		refused := ask(matteo)
		require.Equal(t, refused, ask(personNumber(1)), name)
		require.GreaterOrEqual(t, refused.sent, 2, "a person's key and profile")
	}
}

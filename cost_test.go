package appio_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
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

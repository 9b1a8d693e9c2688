package ownstore_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/appiotest"
	"github.com/appio-go/appio/examples/ownstore"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
	"github.com/appio-go/appio/store/storetest"
)

func TestMeteredIsAStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return ownstore.New(memstore.New()) })
}

func TestMeteredCounts(t *testing.T) {
	ctx := t.Context()
	m := ownstore.New(memstore.New())
	change := []store.Change{{Owner: "a", Put: []store.Record{{Key: "k", Value: []byte("v")}}}, {Owner: "b"}}
	errs, err := m.Commit(ctx, change)
	require.NoError(t, errors.Join(append(errs, err)...))
	errs, err = m.Commit(ctx, change)
	require.NoError(t, err)
	require.ErrorIs(t, errors.Join(errs...), store.ErrConflict)
	require.NoError(t, m.Close())
	_, err = m.Commit(ctx, change)
	require.ErrorIs(t, err, store.ErrClosed)

	require.EqualValues(t, 6, m.Changes.Value())
	require.EqualValues(t, 2, m.Conflicts.Value())
	require.EqualValues(t, 1, m.Failures.Value())
	require.Positive(t, m.CommitTime.Value())
}

func TestEngineOnMetered(t *testing.T) {
	ctx := t.Context()
	m := ownstore.New(memstore.New())
	defer m.Close()
	engine, err := appio.New(m, &appio.Options{Keys: appio.RandomKeys()})
	require.NoError(t, err)
	defer engine.Close()
	require.NoError(t, engine.PutService(ctx, appio.Service{
		ID: "mensa", Name: "Mensa scolastica", Organization: appiotest.Organization, State: appio.Live,
	}))
	before := m.Changes.Value()
	ms := make([]appio.Message, 100)
	for i := range ms {
		ms[i] = appiotest.Message(appiotest.Mario)
	}
	_, err = engine.Sender("mensa").SendBatch(ctx, ms)
	require.NoError(t, err)
	require.EqualValues(t, 1, m.Changes.Value()-before, "one citizen's messages of a batch are one change")
}

package boltstore_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
	"github.com/appio-go/appio/store/storetest"
)

func open(t testing.TB, path string, opts *boltstore.Options) *boltstore.Store {
	s, err := boltstore.Open(path, opts)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, filepath.Join(t.TempDir(), "io.db"), nil) })
}

func TestReopen(t *testing.T) {
	storetest.Reopen(t, func(dir string) (store.Store, error) { return boltstore.Open(filepath.Join(dir, "io.db"), nil) })
}

func TestCompactKeeps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "io.db")
	s := open(t, path, nil)
	ctx := t.Context()
	for i := range 100 {
		_, err := s.Commit(ctx, []store.Change{{Owner: store.Owner(rune('a' + i)), Put: []store.Record{{Key: "k", Value: make([]byte, 1000)}}}})
		require.NoError(t, err)
	}
	require.NoError(t, s.Compact(ctx))
	o, err := s.Owners(ctx, "", 1000)
	require.NoError(t, err)
	require.Len(t, o, 100)
	require.NoError(t, s.Close())
	s = open(t, path, nil)
	o, err = s.Owners(ctx, "", 1000)
	require.NoError(t, err)
	require.Len(t, o, 100)
	_, err = boltstore.Open(path, nil)
	require.ErrorIs(t, err, store.ErrLocked)
}

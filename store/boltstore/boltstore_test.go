package boltstore_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
	"github.com/appio-go/appio/store/storetest"
)

// small makes a store write a table to its file every few changes, so that all that follows from it happens.
var small = boltstore.Options{Memory: 8 << 10}.Unsynced()

// slowness is by how much less some tests do.
var slowness = 1

func open(t testing.TB, path string, opts *boltstore.Options) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(path, opts)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func file(t testing.TB) string { return filepath.Join(t.TempDir(), "io.db") }

func TestContract(t *testing.T) {
	if slowness > 1 {
		t.Skip("TestContractSmall does the same and more")
	}
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, file(t), boltstore.Options{}.Unsynced()) })
}

func TestContractSmall(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, file(t), small) })
}

func TestReopen(t *testing.T) {
	t.Parallel()
	storetest.Reopen(t, func(dir string) (store.Store, error) { return boltstore.Open(filepath.Join(dir, "io.db"), nil) })
}

func TestReopenSmall(t *testing.T) {
	t.Parallel()
	storetest.Reopen(t, func(dir string) (store.Store, error) { return boltstore.Open(filepath.Join(dir, "io.db"), small) })
}

func FuzzStore(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		storetest.Model(t, data, open(t, file(t), small))
	})
}

func BenchmarkStore(b *testing.B) {
	storetest.Bench(b, func(b *testing.B) store.Store { return open(b, file(b), nil) })
}

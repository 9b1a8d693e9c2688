package boltstore

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/appio-go/appio/store"
)

// Whatever bbolt writes is in order: deep trees, long free lists, large values, small pages.
func TestInspectFindsNoFaultWithWhatBboltWrites(t *testing.T) {
	t.Parallel()
	type kind struct {
		pageSize, keys, value int
		closed                bool
	}
	kinds := []kind{
		{0, 0, 0, true}, {0, 10, 10, true}, {0, 10, 10, false},
		{1024, 5000, 100, true}, {1024, 5000, 100, false}, // three levels
		{1024, 200, 20000, true}, {1024, 200, 20000, false},
		{65536, 3000, 100, true},
	}
	if os.Getenv("BOLTSTORE_LONG") != "" {
		kinds = append(kinds, kind{1024, 6000, 20000, true}) // more free pages than a page can count
	}
	for i, c := range kinds {
		path := filepath.Join(t.TempDir(), "file")
		db, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: c.pageSize, NoFreelistSync: true, FreelistType: bolt.FreelistMapType, NoSync: true})
		require.NoError(t, err)
		r := rand.New(rand.NewPCG(5, uint64(i)))
		for _, name := range []string{"a", "b", "c"} {
			require.NoError(t, db.Update(func(tx *bolt.Tx) error {
				b, err := tx.CreateBucket([]byte(name))
				for n := 0; n < c.keys && err == nil; n++ {
					err = b.Put(binary.BigEndian.AppendUint64(nil, r.Uint64()), make([]byte, r.IntN(c.value)))
				}
				return err
			}))
		}
		require.NoError(t, db.Update(func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte("b"))
			for k, _ := b.Cursor().Seek([]byte{200}); k != nil; k, _ = b.Cursor().Seek([]byte{200}) {
				if err := b.Delete(k); err != nil {
					return err
				}
			}
			return tx.DeleteBucket([]byte("a"))
		}))
		if c.closed {
			db.NoFreelistSync = false
		}
		require.NoError(t, db.Update(func(tx *bolt.Tx) error { return nil }))
		require.NoError(t, db.Close())
		_, err = inspect(path, &Options{LockTimeout: time.Second})
		require.NoError(t, err, fmt.Sprint(c))
		idle, err := inspect(path, &Options{LockTimeout: time.Second, ReadOnly: true})
		require.NoError(t, err, fmt.Sprint(c))
		db, err = bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true})
		require.NoError(t, err)
		require.EqualValues(t, db.Stats().FreePageN*db.Info().PageSize, idle-beyond(t, db), fmt.Sprint(c))
		require.NoError(t, db.Close())
	}
}

// beyond returns how many bytes the file has after the pages that bbolt counts.
func beyond(t *testing.T, db *bolt.DB) (n int64) {
	t.Helper()
	info, err := os.Stat(db.Path())
	require.NoError(t, err)
	require.NoError(t, db.View(func(tx *bolt.Tx) error { n = info.Size() - tx.Size(); return nil }))
	return n
}

// A page that points back to the one above it would send bbolt round in circles until the process dies.
func TestInspectFindsCircles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true})
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("b"))
		for i := 0; i < 1000 && err == nil; i++ {
			err = b.Put(binary.BigEndian.AppendUint64(nil, uint64(i)), make([]byte, 100))
		}
		return err
	}))
	require.NoError(t, db.Close())
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	circles := 0
	for at := 0; at+4096 <= len(b); at += 4096 {
		if binary.NativeEndian.Uint16(b[at+8:]) == kindBranch && binary.NativeEndian.Uint64(b[at:]) == uint64(at/4096) {
			binary.NativeEndian.PutUint64(b[at+pageHead+8:], uint64(at/4096))
			circles++
		}
	}
	require.Positive(t, circles)
	require.NoError(t, os.WriteFile(path, b, 0o600))
	_, err = inspect(path, &Options{LockTimeout: time.Second})
	require.ErrorIs(t, err, store.ErrCorrupt)
}

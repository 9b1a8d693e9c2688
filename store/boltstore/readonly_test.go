package boltstore_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
)

func TestReadOnly(t *testing.T) {
	t.Parallel()
	readOnly := &boltstore.Options{ReadOnly: true, LockTimeout: 10 * time.Millisecond}

	t.Run("a file is read as it is, and not changed by a byte", func(t *testing.T) {
		for _, closed := range []bool{true, false} {
			path := file(t)
			s := open(t, path, small)
			d := newDiary(s, 7)
			for range 200 {
				d.write(t)
			}
			if closed {
				require.NoError(t, s.Close())
			} else { // as after a crash
				path = copied(t, s, path)
			}
			before, err := os.ReadFile(path)
			require.NoError(t, err)
			r := open(t, path, readOnly)
			for o, want := range d.owners {
				shots, err := r.View(t.Context(), []store.Read{{Owner: o, Range: store.Range{Limit: 100}}})
				require.NoError(t, err)
				require.NoError(t, want.same(o, &shots[0]))
			}
			_, err = r.Commit(t.Context(), []store.Change{{Owner: "o", Put: put("k", "v")}})
			require.ErrorIs(t, err, store.ErrReadOnly)
			require.ErrorIs(t, err, store.ErrAborted)
			require.ErrorIs(t, r.Compact(t.Context()), store.ErrReadOnly)
			require.NoError(t, r.Close())
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, before, after)
			files, err := os.ReadDir(filepath.Dir(path))
			require.NoError(t, err)
			require.Len(t, files, 1)
		}
	})
	t.Run("two may read one file, and one who writes excludes them", func(t *testing.T) {
		path := file(t)
		w := open(t, path, nil)
		commit(t, w, store.Change{Owner: "o", Put: put("k", "v")})
		_, err := boltstore.Open(path, readOnly)
		require.ErrorIs(t, err, store.ErrLocked)
		require.NoError(t, w.Close())
		a, b := open(t, path, readOnly), open(t, path, readOnly)
		require.Equal(t, "v", value(t, a, "o", "k"))
		require.Equal(t, "v", value(t, b, "o", "k"))
		_, err = boltstore.Open(path, &boltstore.Options{LockTimeout: 10 * time.Millisecond})
		require.ErrorIs(t, err, store.ErrLocked)
	})
	t.Run("no file is made", func(t *testing.T) {
		path := file(t)
		_, err := boltstore.Open(path, readOnly)
		require.ErrorIs(t, err, os.ErrNotExist)
		require.NoFileExists(t, path)
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		_, err = boltstore.Open(path, readOnly)
		require.ErrorIs(t, err, store.ErrCorrupt)
	})
}

func TestSize(t *testing.T) {
	t.Parallel()
	path := file(t)
	s := open(t, path, small)
	for i := range 50 {
		commit(t, s, store.Change{Owner: "o", Rev: uint64(i), Put: put("k", string(make([]byte, 20_000)))})
	}
	require.NoError(t, s.Rest())
	size, ok, err := store.SizeOf(wrapped{s})
	require.NoError(t, err)
	require.True(t, ok)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, info.Size(), size.Bytes)
	require.Less(t, size.Free, size.Bytes)
	require.NoError(t, s.Compact(t.Context()))
	less, err := s.Size()
	require.NoError(t, err)
	require.Less(t, less.Bytes-less.Free, size.Bytes)
	require.NoError(t, s.Close())
	_, err = s.Size()
	require.ErrorIs(t, err, store.ErrClosed)

	r := open(t, path, &boltstore.Options{ReadOnly: true})
	read, err := r.Size()
	require.NoError(t, err)
	info, err = os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, info.Size(), read.Bytes)
	require.Less(t, read.Bytes-read.Free, int64(200_000), "one value is in use")

	_, ok, err = store.SizeOf(nil)
	require.False(t, ok)
	require.NoError(t, err)
}

type wrapped struct{ store.Store }

func (w wrapped) Unwrap() store.Store { return w.Store }

// copied returns a copy of a file that is in use.
func copied(t testing.TB, s *boltstore.Store, path string) string {
	t.Helper()
	b, err := s.Image(path)
	require.NoError(t, err)
	to := file(t)
	require.NoError(t, os.WriteFile(to, b, 0o600))
	return to
}

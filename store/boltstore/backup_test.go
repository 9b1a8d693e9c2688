package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
)

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// filled returns a store of some megabytes.
func filled(t testing.TB, opts *boltstore.Options) *boltstore.Store {
	t.Helper()
	s := open(t, file(t), opts)
	for i := range 16 {
		commit(t, s, store.Change{Owner: "o", Rev: uint64(i), Put: put(store.Key(rune('a'+i)), string(make([]byte, 250_000)))})
	}
	return s
}

func TestBackupHoldsUpNobody(t *testing.T) {
	t.Parallel()
	t.Run("a writer that does not go on keeps no page of the file from being used again", func(t *testing.T) {
		s := filled(t, nil)
		blocked, free := make(chan struct{}), make(chan struct{})
		goOn := sync.OnceFunc(func() { close(free) })
		t.Cleanup(goOn) // or the store could not be closed
		ended := make(chan error, 1)
		var copied bytes.Buffer
		go func() {
			ended <- s.Backup(context.Background(), writerFunc(func(p []byte) (int, error) {
				if copied.Len() == 0 {
					close(blocked)
					<-free
				}
				return copied.Write(p)
			}))
		}()
		<-blocked
		require.Zero(t, s.OpenReads())
		commit(t, s, store.Change{Owner: "o", Rev: 16, Put: put("a", "later")})
		goOn()
		require.NoError(t, <-ended)
		to := file(t)
		require.NoError(t, os.WriteFile(to, copied.Bytes(), 0o600))
		require.NotEqual(t, "later", value(t, open(t, to, nil), "o", "a"), "the copy is of when it was made")
	})
	t.Run("it is no faster than it may be", func(t *testing.T) {
		s := filled(t, &boltstore.Options{BackupRate: 20 << 20})
		start, n := time.Now(), int64(0)
		require.NoError(t, s.Backup(t.Context(), writerFunc(func(p []byte) (int, error) { n += int64(len(p)); return len(p), nil })))
		least := time.Duration(float64(n>>20) / 20 * float64(time.Second)) // whole pieces, and twice: to the copy, and from it
		require.GreaterOrEqual(t, time.Since(start), 2*least)
		require.Positive(t, least)
		_, err := boltstore.Open(file(t), &boltstore.Options{BackupRate: -1})
		require.ErrorIs(t, err, store.ErrInvalid)
	})
	t.Run("it ends with its context while it rests, and with the store", func(t *testing.T) {
		s := filled(t, &boltstore.Options{BackupRate: 1})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, s.Backup(ctx, io.Discard), context.DeadlineExceeded)
		ended := make(chan error)
		go func() { ended <- s.Backup(context.Background(), io.Discard) }()
		require.Eventually(t, func() bool { return s.OpenReads() > 0 }, 10*time.Second, time.Millisecond)
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-ended, store.ErrClosed)
	})
	t.Run("the writer's error is the backup's", func(t *testing.T) {
		s := filled(t, nil)
		mine := errors.New("no more room on the tape")
		require.ErrorIs(t, s.Backup(t.Context(), writerFunc(func(p []byte) (int, error) { return 0, mine })), mine)
	})
}

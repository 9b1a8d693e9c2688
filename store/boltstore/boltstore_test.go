package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
	"github.com/appio-go/appio/store/storetest"
)

func open(t testing.TB, path string, opts *boltstore.Options) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(path, opts)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t testing.TB, s store.Store, owner store.Owner, rev uint64, records ...store.Record) {
	t.Helper()
	errs, err := s.Commit(context.Background(), []store.Change{{Owner: owner, Rev: rev, Put: records}})
	require.NoError(t, err)
	require.Nil(t, errs)
}

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, filepath.Join(t.TempDir(), "io.db"), nil) })
}

func TestReopen(t *testing.T) {
	t.Parallel()
	storetest.Reopen(t, func(dir string) (store.Store, error) { return boltstore.Open(filepath.Join(dir, "io.db"), nil) })
}

func FuzzStore(f *testing.F) {
	f.Add([]byte("some operations"))
	f.Fuzz(func(t *testing.T, data []byte) {
		storetest.Model(t, data, open(t, filepath.Join(t.TempDir(), "io.db"), nil))
	})
}

func BenchmarkStore(b *testing.B) {
	storetest.Bench(b, func(b *testing.B) store.Store { return open(b, filepath.Join(b.TempDir(), "io.db"), nil) })
}

func TestAFileInUseIsLocked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "io.db")
	open(t, path, nil)
	start := time.Now()
	_, err := boltstore.Open(path, &boltstore.Options{LockTimeout: 200 * time.Millisecond})
	require.ErrorIs(t, err, store.ErrLocked)
	require.ErrorContains(t, err, "io.db")
	require.Less(t, time.Since(start), 5*time.Second)
}

func TestAnotherFileIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	require.NoError(t, os.WriteFile(text, bytes.Repeat([]byte("no database "), 2000), 0o600))
	_, err := boltstore.Open(text, nil)
	require.ErrorIs(t, err, store.ErrCorrupt)

	other := filepath.Join(dir, "other.db")
	db, err := bolt.Open(other, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket([]byte("somebody else's"))
		return err
	}))
	require.NoError(t, db.Close())
	_, err = boltstore.Open(other, nil)
	require.ErrorIs(t, err, store.ErrCorrupt)

	later := filepath.Join(dir, "later.db")
	require.NoError(t, open(t, later, nil).Close())
	db, err = bolt.Open(later, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte("appio store\n\x02"))
	}))
	require.NoError(t, db.Close())
	_, err = boltstore.Open(later, nil)
	require.ErrorIs(t, err, store.ErrNewer)
}

func TestMaxSize(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, err := boltstore.Open(filepath.Join(t.TempDir(), "io.db"), &boltstore.Options{MaxSize: 4096})
	require.ErrorIs(t, err, store.ErrInvalid)
	s := open(t, filepath.Join(t.TempDir(), "io.db"), &boltstore.Options{MaxSize: 4 << 20})
	value := make([]byte, 50_000)
	kept := 0
	for ; kept < 1000; kept++ {
		_, err = s.Commit(ctx, []store.Change{{Owner: "o", Rev: uint64(kept), Put: []store.Record{{Key: store.Key(fmt.Sprint(kept)), Value: value}}}})
		if err != nil {
			break
		}
	}
	require.ErrorIs(t, err, store.ErrFull)
	require.ErrorIs(t, err, store.ErrAborted, "surely nothing was written")
	require.Greater(t, kept, 5)
	snaps, err := s.View(ctx, []store.Read{{Owner: "o", Range: store.Range{Limit: 1000, KeysOnly: true}}})
	require.NoError(t, err)
	require.Equal(t, uint64(kept), snaps[0].Rev)
	require.Len(t, snaps[0].Records, kept)
	errs, err := s.Commit(ctx, []store.Change{{Owner: "o", Rev: uint64(kept), Delete: []store.Key{"0", "1", "2"}}})
	require.NoError(t, err, "deleting is possible in a full file")
	require.Nil(t, errs)
	put(t, s, "o", uint64(kept+1), store.Record{Key: "again", Value: value})
}

func TestDeletedBytesAreGoneAfterCompact(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "io.db")
	s := open(t, path, nil)
	canary := []byte("a canary that sang in the file")
	require.NoError(t, os.WriteFile(path+".compact", []byte("left by a crash"), 0o600))
	for i := range 300 {
		put(t, s, store.Owner(fmt.Sprintf("owner %03d", i)), 0, store.Record{Key: "kept", Value: []byte(fmt.Sprint(i))}, store.Record{Key: "gone", Value: canary})
	}
	for i := range 300 {
		_, err := s.Commit(t.Context(), []store.Change{{Owner: store.Owner(fmt.Sprintf("owner %03d", i)), Rev: 1, Delete: []store.Key{"gone"}}})
		require.NoError(t, err)
	}
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Contains(before, canary), "the search can find it")
	require.NoError(t, s.Compact(t.Context()))
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.False(t, bytes.Contains(after, canary))
	require.Less(t, len(after), len(before)+1)
	holds := func(s store.Store) {
		owners, err := s.Owners(t.Context(), "", 1000)
		require.NoError(t, err)
		require.Len(t, owners, 300)
		snaps, err := s.View(t.Context(), []store.Read{{Owner: "owner 123", Range: store.Range{Limit: 10}}})
		require.NoError(t, err)
		require.Equal(t, uint64(2), snaps[0].Rev)
		require.Equal(t, "123", string(snaps[0].Records[0].Value))
	}
	holds(s)
	require.NoError(t, s.Close())
	holds(open(t, path, nil))
	_, err = os.Stat(path + ".compact")
	require.ErrorIs(t, err, os.ErrNotExist)
}

// Writers keep two keys of each owner equal, while copies are made and the file is compacted.
func TestBackupAndCompactUnderLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "io.db"), nil)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			owner := store.Owner(fmt.Sprint("owner ", g))
			for rev := uint64(0); ; rev++ {
				select {
				case <-stop:
					return
				default:
				}
				v := []byte(fmt.Sprint(rev))
				errs, err := s.Commit(context.Background(), []store.Change{{Owner: owner, Rev: rev, Put: []store.Record{
					{Key: "a", Value: v}, {Key: "b", Value: v}, {Key: store.Key("old " + string(v)), Value: make([]byte, 200)},
				}}})
				if err != nil || errs != nil {
					t.Errorf("commit: %v %v", errs, err)
					return
				}
			}
		})
	}
	for i := range 5 {
		time.Sleep(20 * time.Millisecond)
		path := filepath.Join(dir, fmt.Sprintf("copy%d.db", i))
		f, err := os.Create(path)
		require.NoError(t, err)
		require.NoError(t, store.Backup(t.Context(), s, f))
		require.NoError(t, f.Close())
		c := open(t, path, nil)
		for g := range 4 {
			snaps, err := c.View(t.Context(), []store.Read{{Owner: store.Owner(fmt.Sprint("owner ", g)), Keys: []store.Key{"a", "b"}}})
			require.NoError(t, err)
			if snaps[0].Rev > 0 {
				require.Equal(t, fmt.Sprint(snaps[0].Rev-1), string(snaps[0].Records[0].Value))
				require.Equal(t, snaps[0].Records[0].Value, snaps[0].Records[1].Value)
			}
		}
		require.NoError(t, s.Compact(t.Context()))
	}
	close(stop)
	wg.Wait()
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	before := runtime.NumGoroutine()
	s, err := boltstore.Open(filepath.Join(t.TempDir(), "io.db"), nil)
	require.NoError(t, err)
	put(t, s, "o", 0, store.Record{Key: "k"})
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
}

const damagesVariable = "APPIO_BOLTSTORE_DAMAGED"

// A damaged file costs an error, not the process that has it open: that is tried in another process.
func TestDamageDoesNotKillTheHost(t *testing.T) {
	if path := os.Getenv(damagesVariable); path != "" {
		use(path)
		return
	}
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "io.db")
	s := open(t, path, nil)
	for i := range 500 {
		put(t, s, store.Owner(fmt.Sprintf("owner %03d", i)), 0,
			store.Record{Key: "a", Value: make([]byte, 300), Lane: 7, Due: time.UnixMicro(int64(i + 1))}, store.Record{Key: "b"})
	}
	require.NoError(t, s.Close())
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	whole = bytes.TrimRight(whole, "\x00")
	rng := rand.New(rand.NewPCG(1, 2))
	damages := 40
	if testing.Short() {
		damages = 20
	}
	refused := 0
	for i := range damages {
		b := bytes.Clone(whole)
		at := rng.IntN(len(b))
		switch i % 5 {
		case 0:
			b[at] ^= 1 << rng.IntN(8)
		case 1: // the header of a page
			b[at/4096*4096+rng.IntN(16)] ^= 1 << rng.IntN(8)
		case 2:
			b = b[:at]
		case 3:
			clear(b[at/4096*4096 : min(len(b), at/4096*4096+4096)])
		case 4:
			for range 50 {
				b[rng.IntN(len(b))] = byte(rng.Uint32())
			}
		}
		damaged := filepath.Join(dir, "damaged.db")
		require.NoError(t, os.WriteFile(damaged, b, 0o600))
		cmd := exec.Command(os.Args[0], "-test.run=^TestDamageDoesNotKillTheHost$", "-test.timeout=30s")
		cmd.Env = append(os.Environ(), damagesVariable+"="+damaged)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "damage %d killed the process: %s", i, out[max(0, len(out)-2000):])
		if strings.Contains(string(out), "refused") {
			refused++
		}
	}
	require.NotZero(t, refused, "damage is noticed at least at times")
}

// use reads and writes all it can of a file that may be damaged.
func use(path string) {
	ctx := context.Background()
	said := func(err error) bool {
		if err != nil && !errors.Is(err, store.ErrConflict) {
			fmt.Println("refused")
		}
		return err != nil
	}
	s, err := boltstore.Open(path, nil)
	if said(err) {
		return
	}
	defer s.Close()
	_, err = s.Due(ctx, store.DueQuery{Lanes: []store.Lane{7}, Until: time.Now(), Limit: 1000})
	said(err)
	_, err = s.Owners(ctx, "", 1000)
	said(err)
	for i := range 500 {
		owner := store.Owner(fmt.Sprintf("owner %03d", i))
		if _, err := s.View(ctx, []store.Read{{Owner: owner, Keys: []store.Key{"b"}, Range: store.Range{Limit: 10}}}); said(err) {
			break
		}
		if _, err := s.Commit(ctx, []store.Change{{Owner: owner, Rev: 1, Put: []store.Record{{Key: "c", Value: []byte("more")}}}}); said(err) {
			break
		}
	}
	said(s.Backup(ctx, discard{}))
	said(s.Compact(ctx))
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

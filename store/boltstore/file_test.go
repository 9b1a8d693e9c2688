package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
)

func put(key store.Key, value string) []store.Record {
	return []store.Record{{Key: key, Value: []byte(value)}}
}

// commit makes a change that must succeed.
func commit(t testing.TB, s store.Store, c store.Change) {
	t.Helper()
	errs, err := s.Commit(t.Context(), []store.Change{c})
	require.NoError(t, err)
	require.Empty(t, errs)
}

// value returns the value of a record, "" if there is none.
func value(t testing.TB, s store.Store, o store.Owner, k store.Key) string {
	t.Helper()
	shots, err := s.View(t.Context(), []store.Read{{Owner: o, Keys: []store.Key{k}}})
	require.NoError(t, err)
	if len(shots[0].Records) == 0 {
		return ""
	}
	return string(shots[0].Records[0].Value)
}

func TestOpen(t *testing.T) {
	t.Parallel()
	t.Run("a new file is for its owner alone", func(t *testing.T) {
		path := file(t)
		open(t, path, nil)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	})
	t.Run("a file in use is locked, and the error names it but not where it is", func(t *testing.T) {
		path := file(t)
		open(t, path, nil)
		start := time.Now()
		_, err := boltstore.Open(path, nil)
		require.ErrorIs(t, err, store.ErrLocked)
		require.ErrorContains(t, err, "io.db")
		require.NotContains(t, err.Error(), filepath.Dir(path))
		require.Less(t, time.Since(start), 2*time.Second)
	})
	t.Run("who waits long enough gets a file that is closed", func(t *testing.T) {
		path := file(t)
		s := open(t, path, nil)
		time.AfterFunc(100*time.Millisecond, func() { s.Close() })
		open(t, path, &boltstore.Options{LockTimeout: 20 * time.Second})
	})
	t.Run("what is no store's file is refused, and left as it is", func(t *testing.T) {
		foreign := file(t)
		db, err := bolt.Open(foreign, 0o600, nil)
		require.NoError(t, err)
		require.NoError(t, db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket([]byte("b")); return err }))
		require.NoError(t, db.Close())
		text := file(t)
		require.NoError(t, os.WriteFile(text, []byte("not a database"), 0o600))
		zeros := file(t)
		require.NoError(t, os.WriteFile(zeros, make([]byte, 1<<16), 0o600))
		for _, path := range []string{foreign, text, zeros} {
			before, err := os.ReadFile(path)
			require.NoError(t, err)
			_, err = boltstore.Open(path, nil)
			require.ErrorIs(t, err, store.ErrCorrupt)
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(before, after))
		}
		_, err = boltstore.Open(t.TempDir(), nil)
		require.Error(t, err)
		_, err = boltstore.Open(filepath.Join(t.TempDir(), "none", "io.db"), nil)
		require.ErrorIs(t, err, os.ErrNotExist)
	})
	t.Run("an empty file is a new one", func(t *testing.T) {
		path := file(t)
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		commit(t, open(t, path, nil), store.Change{Owner: "o"})
	})
	t.Run("a later layout is refused", func(t *testing.T) {
		path := file(t)
		require.NoError(t, open(t, path, nil).Close())
		db, err := bolt.Open(path, 0o600, nil)
		require.NoError(t, err)
		require.NoError(t, db.Update(func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte("meta"))
			format := bytes.Clone(b.Get([]byte("format")))
			format[len(format)-1]++
			return b.Put([]byte("format"), format)
		}))
		require.NoError(t, db.Close())
		_, err = boltstore.Open(path, nil)
		require.ErrorIs(t, err, store.ErrNewer)
	})
}

func TestFailedWrite(t *testing.T) {
	t.Parallel()
	broken := errors.New("input/output error")
	path := file(t)
	var fails atomic.Bool
	s := open(t, path, boltstore.Options{}.Hooked(func(string) error {
		if fails.Load() {
			return broken
		}
		return nil
	}))
	commit(t, s, store.Change{Owner: "o", Put: put("k", "before")})
	fails.Store(true)
	_, err := s.Commit(t.Context(), []store.Change{{Owner: "o", Rev: 1, Put: put("k", "lost")}})
	require.ErrorIs(t, err, store.ErrFailed)
	require.NotErrorIs(t, err, store.ErrAborted)
	fails.Store(false)
	_, err = s.Commit(t.Context(), []store.Change{{Owner: "p"}})
	require.ErrorIs(t, err, store.ErrFailed, "until it is opened anew")
	require.ErrorIs(t, s.Compact(t.Context()), store.ErrFailed)
	require.Equal(t, "before", value(t, s, "o", "k"), "reads go on")
	require.NoError(t, s.Close())
	s = open(t, path, nil)
	require.Equal(t, "before", value(t, s, "o", "k"))
	commit(t, s, store.Change{Owner: "o", Rev: 1})
}

func TestContextOfQueuedChange(t *testing.T) {
	t.Parallel()
	hold, held := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s := open(t, file(t), boltstore.Options{}.Hooked(func(step string) error {
		if step == "append" {
			once.Do(func() { close(held); <-hold })
		}
		return nil
	}))
	first := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := s.Commit(ctx, []store.Change{{Owner: "taken", Put: put("k", "v")}})
		first <- err
	}()
	<-held // the writer is at work
	queued, cancelQueued := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancelQueued()
	_, err := s.Commit(queued, []store.Change{{Owner: "queued", Put: put("k", "v")}})
	require.ErrorIs(t, err, store.ErrAborted)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	cancel() // too late
	close(hold)
	require.NoError(t, <-first)
	require.Equal(t, "v", value(t, s, "taken", "k"))
	require.Empty(t, value(t, s, "queued", "k"))
}

// A group of changes that all conflict must leave no trace in the log.
func TestConflictsAreNotWritten(t *testing.T) {
	t.Parallel()
	path := file(t)
	var writes atomic.Int64
	s := open(t, path, boltstore.Options{}.Hooked(func(string) error { writes.Add(1); return nil }))
	commit(t, s, store.Change{Owner: "o", Put: put("k", "v")})
	before := writes.Load()
	for range 50 {
		errs, err := s.Commit(t.Context(), []store.Change{{Owner: "o", Rev: 7}, {Owner: "p", Rev: 1}})
		require.NoError(t, err)
		require.Equal(t, []error{store.ErrConflict, store.ErrConflict}, errs)
	}
	require.Equal(t, before, writes.Load())
	commit(t, s, store.Change{Owner: "o", Rev: 1, Put: put("k", "w")})
	require.NoError(t, s.Close())
	require.Equal(t, "w", value(t, open(t, path, nil), "o", "k"))
}

// When the keeper cannot keep up, changes wait; memory does not grow.
func TestChangesWaitForTheKeeper(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	s := open(t, file(t), small.Hooked(func(step string) error {
		if step == "turn" {
			<-hold
		}
		return nil
	}))
	made := make(chan int, 1000)
	go func() {
		for i := range 300 {
			_, err := s.Commit(context.Background(), []store.Change{{Owner: "o", Rev: uint64(i), Put: put(store.Key(fmt.Sprint(i)), "v")}})
			if err != nil {
				break
			}
			made <- i
		}
		close(made)
	}()
	time.Sleep(300 * time.Millisecond)
	require.Less(t, len(made), 300)
	close(hold)
	n := 0
	for range made {
		n++
	}
	require.Equal(t, 300, n)
}

func TestFull(t *testing.T) {
	t.Parallel()
	path, limit := file(t), int64(2<<20)
	s := open(t, path, &boltstore.Options{MaxSize: limit})
	text := strings.Repeat("v", 1000)
	var stored []store.Owner
	var err error
	for i := 0; err == nil; i++ {
		require.Less(t, i, 10000)
		o := store.Owner(fmt.Sprintf("owner %d", i))
		if _, err = s.Commit(t.Context(), []store.Change{{Owner: o, Put: put("k", text)}}); err == nil {
			stored = append(stored, o)
		}
	}
	require.ErrorIs(t, err, store.ErrFull)
	require.ErrorIs(t, err, store.ErrAborted)
	t.Logf("%d bytes in a file of %d", len(stored)*1000, limit)
	require.Greater(t, int64(len(stored)*1000), limit/2)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.LessOrEqual(t, info.Size(), limit)
	for _, o := range stored {
		require.Equal(t, text, value(t, s, o, "k"), "what was accepted is there")
	}

	for _, o := range stored[:len(stored)/2] { // there is room to delete
		commit(t, s, store.Change{Owner: o, Rev: 1, Delete: []store.Key{"k"}})
	}
	for i := range len(stored) / 4 { // and then to put, a moment later, without anything else being done
		c := store.Change{Owner: store.Owner(fmt.Sprintf("later %d", i)), Put: put("k", text)}
		for tries := 0; ; tries++ {
			_, err := s.Commit(t.Context(), []store.Change{c})
			if err == nil {
				break
			}
			require.ErrorIs(t, err, store.ErrFull)
			require.Less(t, tries, 1000)
			time.Sleep(10 * time.Millisecond)
		}
	}
	for _, o := range stored[len(stored)/2:] {
		require.Equal(t, text, value(t, s, o, "k"))
	}
	require.NoError(t, s.Close())
	s = open(t, path, &boltstore.Options{MaxSize: limit})
	require.Equal(t, text, value(t, s, stored[len(stored)-1], "k"))
	info, err = os.Stat(path)
	require.NoError(t, err)
	require.LessOrEqual(t, info.Size(), limit)
}

// What is replaced again and again must not make the file grow for ever.
func TestFileDoesNotGrowForEver(t *testing.T) {
	t.Parallel()
	path := file(t)
	s := open(t, path, boltstore.Options{Memory: 64 << 10}.Unsynced())
	text := strings.Repeat("v", 5000)
	for i := range 1600 / slowness { // 8 MB, of which 200 kB are in use
		o := i % 40
		commit(t, s, store.Change{Owner: store.Owner(fmt.Sprint(o)), Rev: uint64(i / 40), Put: []store.Record{
			{Key: "k", Value: []byte(text)}, {Key: store.Key(fmt.Sprint("once ", i)), Value: []byte("v")}}})
		if i%100 == 0 { // the keeper comes to its work, however busy the machine is
			require.NoError(t, s.Rest())
		}
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(4<<20))
}

// Nor what is replaced within the table, which then has no need to be written to the file: the log has.
func TestLogDoesNotGrowForEver(t *testing.T) {
	t.Parallel()
	path := file(t)
	s := open(t, path, boltstore.Options{Memory: 64 << 10}.Unsynced())
	text := strings.Repeat("v", 5000)
	for i := range 4000 { // 20 MB, of which 5 kB are in use
		commit(t, s, store.Change{Owner: "o", Rev: uint64(i), Put: put("k", text)})
		if i%100 == 0 {
			require.NoError(t, s.Rest())
		}
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(5<<20))
}

func TestErasure(t *testing.T) {
	t.Parallel()
	path := file(t)
	s := open(t, path, small)
	canary, kept := strings.Repeat("canary of the value ", 20), strings.Repeat("kept ", 100)
	for i := range 50 {
		o := store.Owner(fmt.Sprint("owner ", i))
		commit(t, s, store.Change{Owner: o, Put: append(put("canary of the key", canary), put("k", kept)...)})
		if i < 25 { // some in runs, some in the log only
			commit(t, s, store.Change{Owner: o, Rev: 1, Delete: []store.Key{"canary of the key"}})
		}
	}
	for i := 25; i < 50; i++ {
		commit(t, s, store.Change{Owner: store.Owner(fmt.Sprint("owner ", i)), Rev: 1, Delete: []store.Key{"canary of the key"}})
	}
	require.NoError(t, s.Compact(t.Context()))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.False(t, bytes.Contains(b, []byte("canary")))
	require.True(t, bytes.Contains(b, []byte(kept[:50])))
	for i := range 50 {
		require.Equal(t, kept, value(t, s, store.Owner(fmt.Sprint("owner ", i)), "k"))
		commit(t, s, store.Change{Owner: store.Owner(fmt.Sprint("owner ", i)), Rev: 2})
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing is left beside the file")
}

// load commits from some goroutines until stop is called, which returns for each owner the last revision acknowledged.
func load(t *testing.T, s store.Store) (stop func() map[store.Owner]uint64) {
	ctx, cancel := context.WithCancel(context.Background())
	revs := make([]uint64, 8)
	var writers sync.WaitGroup
	for w := range revs {
		writers.Go(func() {
			for ctx.Err() == nil {
				key := store.Key(fmt.Sprint(revs[w] % 50))
				_, err := s.Commit(context.Background(), []store.Change{{Owner: store.Owner(fmt.Sprint(w)), Rev: revs[w],
					Put: []store.Record{{Key: key, Value: fmt.Appendf(nil, "%d", revs[w]+1)}, {Key: "last", Value: fmt.Appendf(nil, "%d", revs[w]+1)}}}})
				if err != nil {
					t.Error(err)
					return
				}
				revs[w]++
			}
		})
	}
	return func() map[store.Owner]uint64 {
		cancel()
		writers.Wait()
		all := map[store.Owner]uint64{}
		for w, rev := range revs {
			all[store.Owner(fmt.Sprint(w))] = rev
		}
		return all
	}
}

// consistent checks a store that load has written to: the revision of an owner is what its last record says.
func consistent(t *testing.T, s store.Store) map[store.Owner]uint64 {
	t.Helper()
	revs := map[store.Owner]uint64{}
	owners, err := s.Owners(t.Context(), "", 100)
	require.NoError(t, err)
	for _, o := range owners {
		shots, err := s.View(t.Context(), []store.Read{{Owner: o, Keys: []store.Key{"last"}, Range: store.Range{Limit: 100}}})
		require.NoError(t, err)
		revs[o] = shots[0].Rev
		require.Equal(t, fmt.Sprint(shots[0].Rev), string(shots[0].Records[0].Value))
		require.Len(t, shots[0].Records, int(min(shots[0].Rev, 50))+2)
	}
	return revs
}

// slow is a writer that is in no hurry.
type slow struct{ bytes.Buffer }

func (s *slow) Write(p []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return s.Buffer.Write(p)
}

func TestBackupUnderLoad(t *testing.T) {
	t.Parallel()
	path := file(t)
	s := open(t, path, small)
	stop := load(t, s)
	time.Sleep(20 * time.Millisecond)
	for range 5 {
		before := consistent(t, s)
		var copied slow
		require.NoError(t, s.Backup(t.Context(), &copied))
		restored := file(t)
		require.NoError(t, os.WriteFile(restored, copied.Bytes(), 0o600))
		r := open(t, restored, small)
		revs := consistent(t, r)
		for o, rev := range before {
			require.GreaterOrEqual(t, revs[o], rev, "what was there before the backup is in it")
		}
		commit(t, r, store.Change{Owner: "0", Rev: revs["0"]})
		require.NoError(t, r.Close())
	}
	ctx, cancel := context.WithCancel(t.Context())
	require.ErrorIs(t, s.Backup(ctx, writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })), context.Canceled)
	stop()
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing is left beside the file")
}

func TestCompactUnderLoad(t *testing.T) {
	t.Parallel()
	path := file(t)
	s := open(t, path, small)
	stop := load(t, s)
	for range 5 {
		time.Sleep(10 * time.Millisecond)
		require.NoError(t, s.Compact(t.Context()))
		consistent(t, s)
	}
	acknowledged := stop()
	require.Equal(t, acknowledged, consistent(t, s))
	require.NoError(t, s.Close())
	require.Equal(t, acknowledged, consistent(t, open(t, path, small)))
}

func TestCompactIsGivenUp(t *testing.T) {
	t.Parallel()
	path := file(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := open(t, path, boltstore.Options{}.Hooked(func(step string) error {
		if step == "blocks" {
			cancel()
		}
		if step == "copied" {
			return errors.New("out of luck")
		}
		return nil
	}))
	commit(t, s, store.Change{Owner: "o", Put: put("k", "v")})
	require.Error(t, s.Compact(t.Context()))
	require.ErrorIs(t, s.Compact(ctx), context.Canceled)
	commit(t, s, store.Change{Owner: "o", Rev: 1})
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

// Who waits for a file that is compacted meanwhile must not get the old one, whose name is gone.
func TestOpenWaitsForCompacted(t *testing.T) {
	t.Parallel()
	path := file(t)
	s := open(t, path, nil)
	commit(t, s, store.Change{Owner: "o", Put: put("k", "before")})
	opened := make(chan string)
	go func() {
		other, err := boltstore.Open(path, &boltstore.Options{LockTimeout: 20 * time.Second})
		if err != nil {
			opened <- err.Error()
			return
		}
		defer other.Close()
		opened <- value(t, other, "o", "k")
	}()
	time.Sleep(50 * time.Millisecond)
	require.NoError(t, s.Compact(t.Context()))
	commit(t, s, store.Change{Owner: "o", Rev: 1, Put: put("k", "after")})
	select {
	case got := <-opened:
		t.Fatalf("opened while in use: %s", got)
	case <-time.After(100 * time.Millisecond):
	}
	require.NoError(t, s.Close())
	require.Equal(t, "after", <-opened)
}

func TestGoroutinesEnd(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		s := open(t, file(t), small)
		for i := range 200 {
			commit(t, s, store.Change{Owner: "o", Rev: uint64(i), Put: put(store.Key(fmt.Sprint(i)), "v")})
		}
		require.NoError(t, s.Close())
		require.NoError(t, s.Close())
	}
	for range 500 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	b := make([]byte, 1<<20)
	t.Errorf("goroutines are left: %s", b[:runtime.Stack(b, true)])
}

// What is due is found fast, also behind much that was due and is done: what is read of a lane once and found out of date is
// not read again.
func TestDueBehindWhatIsDone(t *testing.T) {
	t.Parallel()
	s := open(t, file(t), &boltstore.Options{Memory: 256 << 10})
	const owners, each = 20, 500
	for o := range owners {
		c := store.Change{Owner: store.Owner(fmt.Sprint(o))}
		for i := range each {
			c.Put = append(c.Put, store.Record{Key: store.Key(fmt.Sprint(i)), Due: time.UnixMicro(int64(1 + i)), Value: []byte("v")})
		}
		commit(t, s, c)
	}
	left := owners * each
	for revs := [owners]uint64{}; ; {
		due, err := s.Due(t.Context(), store.DueQuery{Lanes: []store.Lane{0}, Until: time.UnixMicro(1000), Limit: 256})
		require.NoError(t, err)
		require.Len(t, due, min(left, 256))
		if left == 0 {
			break
		}
		changes := map[store.Owner]*store.Change{}
		for _, r := range due {
			c := changes[r.Owner]
			if c == nil {
				c = &store.Change{Owner: r.Owner}
				changes[r.Owner] = c
			}
			c.Delete = append(c.Delete, r.Key)
		}
		for o := range owners {
			if c := changes[store.Owner(fmt.Sprint(o))]; c != nil {
				revs[o]++
				c.Rev = revs[o]
				commit(t, s, *c)
			}
		}
		left -= len(due)
	}
}

// What is due and was scheduled before what is done already must be found after a compaction too, which puts it into the same
// run.
func TestDueAfterCompaction(t *testing.T) {
	t.Parallel()
	s := open(t, file(t), small)
	first := func() []store.Record {
		due, err := s.Due(t.Context(), store.DueQuery{Lanes: []store.Lane{0}, Until: time.UnixMicro(10000), Limit: 1})
		require.NoError(t, err)
		return due
	}
	for i := range 200 {
		o := store.Owner(fmt.Sprint(i))
		commit(t, s, store.Change{Owner: o, Put: []store.Record{{Key: "k", Due: time.UnixMicro(int64(1000 + i))}}})
	}
	require.NoError(t, s.Rest())
	for i := range 190 {
		commit(t, s, store.Change{Owner: store.Owner(fmt.Sprint(i)), Rev: 1, Delete: []store.Key{"k"}})
	}
	require.Equal(t, store.Owner("190"), first()[0].Owner)
	commit(t, s, store.Change{Owner: "late", Put: []store.Record{{Key: "k", Due: time.UnixMicro(5)}}})
	require.Equal(t, store.Owner("late"), first()[0].Owner)
	require.NoError(t, s.Compact(t.Context()))
	require.Equal(t, store.Owner("late"), first()[0].Owner)
}

// With BOLTSTORE_DISK naming a directory on a disk of some 20 MB: a full disk refuses changes and keeps what it has, and the
// store goes on when there is room again.
func TestFullDisk(t *testing.T) {
	disk := os.Getenv("BOLTSTORE_DISK")
	if disk == "" {
		t.Skip("BOLTSTORE_DISK is not set")
	}
	path, ballast := filepath.Join(disk, "io.db"), filepath.Join(disk, "ballast")
	defer os.Remove(path)
	s := open(t, path, nil)
	text := strings.Repeat("v", 3000)
	require.NoError(t, os.WriteFile(ballast, make([]byte, 8<<20), 0o600))
	for stored, round := 0, 0; round < 3; round++ {
		for {
			_, err := s.Commit(t.Context(), []store.Change{{Owner: store.Owner(fmt.Sprint(stored)), Put: put("k", text)}})
			if err != nil {
				require.ErrorIs(t, err, store.ErrFull)
				break
			}
			stored++
		}
		for i := range stored {
			require.Equal(t, text, value(t, s, store.Owner(fmt.Sprint(i)), "k"))
		}
		require.ErrorIs(t, s.Compact(t.Context()), store.ErrFull)
		require.ErrorIs(t, s.Backup(t.Context(), &slow{}), store.ErrFull)
		require.NoError(t, os.WriteFile(ballast, make([]byte, (2-round)<<20), 0o600))
	}
}

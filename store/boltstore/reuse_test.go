package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/appio-go/appio/store"
)

// put commits a change of one record.
func (s *Store) put(t *testing.T, o store.Owner, rev uint64, k store.Key, value string) {
	t.Helper()
	errs, err := s.Commit(t.Context(), []store.Change{{Owner: o, Rev: rev, Put: []store.Record{{Key: k, Value: []byte(value)}}}})
	require.NoError(t, err)
	require.Empty(t, errs)
}

// What a crash undid may still be on the disk, with checksums in order. So nothing that is written later has its address, or its
// number of a run.
func TestNothingIsGivenTwice(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "io.db")
	s, err := Open(path, nil)
	require.NoError(t, err)
	s.put(t, "o", 0, "k", "v")
	require.NoError(t, s.Close())
	image, err := os.ReadFile(path)
	require.NoError(t, err)
	addresses, runs := map[uint64]bool{}, map[uint64]bool{}
	for i := range 3 {
		path := filepath.Join(t.TempDir(), fmt.Sprint(i))
		require.NoError(t, os.WriteFile(path, image, 0o600))
		s, err := Open(path, nil)
		require.NoError(t, err)
		s.put(t, "o", 1, "k", "w")
		s.keeper.force.Store(true)
		require.NoError(t, s.Rest())
		addresses[s.tail.piece], runs[s.state.runs[0].id] = true, true
		require.NoError(t, s.Close())
	}
	require.Len(t, addresses, 3)
	require.Len(t, runs, 3)
}

// A log that has leapt is read whole, and all pieces of it belong to a segment, so that they are deleted one day.
func TestLeaps(t *testing.T) {
	t.Parallel()
	path, opts := filepath.Join(t.TempDir(), "io.db"), &Options{Memory: 256 << 10, noSync: true}
	long := strings.Repeat("v", 3000)
	rev := uint64(0)
	for i := range 40 {
		s, err := Open(path, opts)
		require.NoError(t, err)
		for range i % 4 {
			s.put(t, "o", rev, store.Key(fmt.Sprint("k", rev%7)), fmt.Sprint(rev, long))
			s.put(t, "gap", rev, "k", long[:(pieceSize+int(rev)*977)%3000])
			rev++
		}
		if i%5 == 4 {
			s.keeper.force.Store(true)
			require.NoError(t, s.Rest())
			require.NoError(t, s.Rest())
		}
		shots, err := s.View(t.Context(), []store.Read{{Owner: "o", Range: store.Range{Limit: 10}}})
		require.NoError(t, err)
		require.Equal(t, rev, shots[0].Rev)
		require.Len(t, shots[0].Records, int(min(rev, 7)))
		for k := max(rev, 7) - 7; k < rev; k++ {
			require.Equal(t, fmt.Sprint(k, long), string(shots[0].Records[k%7].Value))
		}
		s.requireNoOrphans(t)
		if i%3 == 0 { // as it is found after a crash
			image, err := s.Image(path)
			require.NoError(t, err)
			require.NoError(t, s.Close())
			require.NoError(t, os.WriteFile(path, image, 0o600))
		}
		require.NoError(t, s.Close())
	}
}

func (s *Store) requireNoOrphans(t *testing.T) {
	t.Helper()
	require.NoError(t, s.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketLog).ForEach(func(k, _ []byte) error {
			at := binary.BigEndian.Uint64(k) * pieceSize
			for _, g := range s.segments {
				if at < g.end && at+pieceSize > g.start {
					return nil
				}
			}
			return fmt.Errorf("the piece at %d belongs to no segment of %v", at, s.segments)
		})
	}))
}

// The disk may not write a page, and then has the one that was there before: with the root page of an earlier transaction all
// that the last ones did would be undone, and nothing seem to be wrong.
func TestRootPageThatWasNotWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "io.db")
	s, err := Open(path, &Options{noSync: true})
	require.NoError(t, err)
	var images [][]byte
	for i := range 12 {
		s.put(t, "o", uint64(i), "k", fmt.Sprint(i))
		image, err := s.Image(path)
		require.NoError(t, err)
		images = append(images, image)
	}
	require.NoError(t, s.Close())
	last := images[len(images)-1]
	n := inspector{file: bytes.NewReader(last)}
	meta, err := n.meta()
	require.NoError(t, err)
	at := int(native.Uint64(meta[16:])) * int(native.Uint32(meta[8:]))
	undone := 0
	for _, earlier := range images {
		page := earlier[at : at+4096]
		if bytes.Equal(page, last[at:at+4096]) {
			continue
		}
		image := bytes.Clone(last)
		copy(image[at:], page)
		path := filepath.Join(t.TempDir(), "io.db")
		require.NoError(t, os.WriteFile(path, image, 0o600))
		s, err := Open(path, &Options{noSync: true})
		if err == nil {
			s.Close()
		}
		require.ErrorIs(t, err, store.ErrCorrupt)
		if strings.Contains(err.Error(), "the root page") {
			undone++
		}
	}
	require.Positive(t, undone, "no earlier root page was found to be one")
}

// Values that the keeper moves fill the table too: then it must write it to the file, or no change is made any more.
func TestMovesFillTheTable(t *testing.T) {
	t.Parallel()
	s, err := Open(filepath.Join(t.TempDir(), "io.db"), &Options{Memory: 8 << 10, noSync: true})
	require.NoError(t, err)
	defer s.Close()
	var puts []store.Record
	for i := range 200 {
		puts = append(puts, store.Record{Key: store.Key(fmt.Sprint(i)), Value: []byte("v")})
	}
	time.Sleep(2 * retryFull) // after which the keeper sleeps until it is woken
	require.NoError(t, s.do(func() error { return s.move([]change{encodeMove("o", puts)}) }))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = s.Commit(ctx, []store.Change{{Owner: "p"}})
	require.NoError(t, err)
}

// merged writes the table to the file, and merges all runs.
func (s *Store) merged() error {
	s.keeper.idle <- struct{}{}
	defer func() { <-s.keeper.idle }()
	for {
		if done, err := s.flush(true); err != nil {
			return err
		} else if !done {
			return s.mergeRuns(true)
		}
	}
}

// However many records are no longer due, a merge leaves nothing of them in lanes: what it cannot remember it looks up.
func TestMergeForgetsWhatIsDone(t *testing.T) {
	t.Parallel()
	s, err := Open(filepath.Join(t.TempDir(), "io.db"), &Options{Memory: 64 << 10, noSync: true})
	require.NoError(t, err)
	defer s.Close()
	const owners = 20 * (64 << 10) / movedShare / 10 // of ten records each
	for rev := range uint64(2) {
		for o := range owners {
			c := store.Change{Owner: store.Owner(fmt.Sprint(o)), Rev: rev}
			for i := range 10 {
				r := store.Record{Key: store.Key(fmt.Sprint(i)), Lane: store.Lane(i % 3), Due: time.UnixMicro(int64(1000*o + i + 1))}
				if rev == 0 || o%10 == 0 && i > 7 {
					c.Put = append(c.Put, r)
				} else {
					c.Delete = append(c.Delete, r.Key)
				}
			}
			_, err := s.Commit(t.Context(), []store.Change{c})
			require.NoError(t, err)
		}
		require.NoError(t, s.merged())
	}
	for range 2 {
		count := 0
		for _, r := range s.state.runs {
			for x := (&stream{s: s, run: r}); ; {
				require.NoError(t, x.next())
				if x.ended {
					break
				}
				if x.place[0] == placeDue {
					count++
				}
			}
		}
		require.Equal(t, (owners+9)/10*2, count)
		require.NoError(t, s.Compact(t.Context()))
	}
}

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
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
)

const damagesVariable = "BOLTSTORE_DAMAGES"

// Each damage to a file is found, or does no harm: what is read is what was written, or an error. That is tried in another
// process, which must not die of it.
func TestDamage(t *testing.T) {
	if from := os.Getenv(damagesVariable); from != "" {
		n, err := strconv.Atoi(from)
		require.NoError(t, err)
		damageMany(t, n)
		return
	}
	t.Parallel()
	count := 120 / slowness
	if os.Getenv("BOLTSTORE_LONG") != "" {
		count = 20000
	}
	for from := 0; from < count; from += damagesAtOnce {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDamage$", "-test.timeout=120s")
		child.Env = append(os.Environ(), fmt.Sprintf("%s=%d", damagesVariable, from), "BOLTSTORE_LONG=")
		out, err := child.CombinedOutput()
		require.NoError(t, err, "%s", tailOf(out))
	}
}

func tailOf(out []byte) []byte { return out[max(0, len(out)-4000):] }

var damagesAtOnce = 60 / slowness

func damageMany(t *testing.T, from int) {
	dir := t.TempDir()
	path := filepath.Join(dir, "io.db")
	s, err := boltstore.Open(path, small)
	require.NoError(t, err)
	d := newDiary(s, 2)
	var earlier [][]byte
	for i := range 250 {
		d.write(t)
		if i%10 == 9 || i > 240 {
			b, err := s.Image(path)
			require.NoError(t, err)
			earlier = append(earlier, b)
		}
	}
	crashed := earlier[len(earlier)-1]
	require.NoError(t, s.Close())
	closed, err := os.ReadFile(path)
	require.NoError(t, err)

	found, copied := 0, filepath.Join(dir, "damaged.db")
	for i := from; i < from+damagesAtOnce; i++ {
		whole := crashed
		if i%2 == 0 {
			whole = closed
		}
		r := rand.New(rand.NewPCG(uint64(i), 0))
		damaged, what := damage(r, bytes.Clone(whole), earlier[r.IntN(len(earlier))])
		fmt.Println("damage", i, what) // the last line tells of what the process died
		require.NoError(t, os.WriteFile(copied, damaged, 0o600))
		err := d.use(copied)
		switch {
		case err == nil:
		case errors.Is(err, store.ErrCorrupt), errors.Is(err, store.ErrNewer), errors.Is(err, store.ErrFailed):
			found++
		default:
			t.Fatalf("damage %d, %s: %v", i, what, err)
		}
	}
	fmt.Println("found", found, "of", damagesAtOnce)
}

// damage changes a file, and says how; earlier is what it was once.
func damage(r *rand.Rand, b, earlier []byte) ([]byte, string) {
	const page = 4096
	used := len(b)
	for used > 0 && b[used-1] == 0 {
		used--
	}
	pages := used/page + 1
	at := func() int { return r.IntN(pages) * page }
	switch r.IntN(10) {
	case 0:
		i := r.IntN(used)
		b[i] ^= 1 << r.IntN(8)
		return b, fmt.Sprintf("a bit of byte %d", i)
	case 1: // where pages say what is in them
		i := min(at()+r.IntN(80), used-1)
		b[i] ^= 1 << r.IntN(8)
		return b, fmt.Sprintf("a bit of byte %d", i)
	case 2:
		i := min(at()+r.IntN(80), used-1)
		b[i] = byte(r.Uint32())
		return b, fmt.Sprintf("byte %d", i)
	case 3:
		i := at()
		clear(b[i:min(i+page, len(b))])
		return b, fmt.Sprintf("no page %d", i/page)
	case 4:
		i, j := at(), at()
		x, y := b[i:min(i+page, len(b))], b[j:min(j+page, len(b))]
		old := bytes.Clone(x)
		copy(x, y)
		copy(y, old)
		return b, fmt.Sprintf("pages %d and %d swapped", i/page, j/page)
	case 5:
		i, j := at(), at()
		copy(b[i:min(i+page, len(b))], b[j:min(j+page, len(b))])
		return b, fmt.Sprintf("page %d over page %d", j/page, i/page)
	case 6:
		n := r.IntN(used)
		return b[:n], fmt.Sprintf("cut after %d", n)
	case 7, 8: // a write that the disk has lost
		i := at()
		for range 100 { // most pages are as they were
			if i+page <= min(len(b), len(earlier)) && !bytes.Equal(b[i:i+page], earlier[i:i+page]) {
				break
			}
			i = at()
		}
		i = min(i, len(earlier)/page*page)
		copy(b[i:], earlier[i:min(i+page, len(earlier))])
		return b, fmt.Sprintf("page %d as it was once", i/page)
	default:
		i := at()
		for k := i; k < min(i+page, len(b)); k++ {
			b[k] = byte(r.Uint32())
		}
		return b, fmt.Sprintf("noise in page %d", i/page)
	}
}

// use opens a damaged store, reads all of it and writes to it. An error that damage can explain is returned; anything that is
// not as it was written is another one.
func (d *diary) use(path string) error {
	s, err := boltstore.Open(path, boltstore.Options{Memory: 8 << 10, LockTimeout: 10 * time.Millisecond}.Unsynced())
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, lanes := context.Background(), map[store.Lane]int{}
	var found error
	for o, want := range d.owners {
		shots, err := s.View(ctx, []store.Read{{Owner: o, Range: store.Range{Limit: 100}}})
		if err != nil {
			found = err
			continue
		}
		shot := &shots[0]
		if p, ok := d.before[o]; ok && p.rev == shot.Rev { // the last meta page is damaged, and the one before counts
			want = p
		}
		if err := want.same(o, shot); err != nil {
			return err
		}
		for _, r := range shot.Records {
			if !r.Due.IsZero() {
				lanes[r.Lane]++
			}
		}
	}
	for l := range store.Lane(3) {
		due, err := s.Due(ctx, store.DueQuery{Lanes: []store.Lane{l}, Until: time.UnixMicro(1000), Limit: 1000})
		if err != nil {
			found = err
		} else if found == nil && len(due) != lanes[l] {
			return fmt.Errorf("lane %d has %d records, want %d", l, len(due), lanes[l])
		}
	}
	if owners, err := s.Owners(ctx, "", 1000); err != nil {
		found = err
	} else if len(owners) != len(d.owners)-d.empty() && found == nil {
		return fmt.Errorf("%d owners, want %d", len(owners), len(d.owners))
	}
	return errors.Join(found, d.useOn(s))
}

// empty returns how many owners have no records.
func (d *diary) empty() (n int) {
	for _, p := range d.owners {
		if len(p.records) == 0 {
			n++
		}
	}
	return n
}

// useOn writes to a damaged store what is not in it yet, and reads it.
func (d *diary) useOn(s store.Store) error {
	ctx, value := context.Background(), bytes.Repeat([]byte("v"), 500)
	for i := range 15 {
		c := store.Change{Owner: store.Owner(fmt.Sprintf("new %d", i)), Put: []store.Record{{Key: "k", Value: value}}}
		if _, err := s.Commit(ctx, []store.Change{c}); err != nil {
			return err
		}
		shots, err := s.View(ctx, []store.Read{{Owner: c.Owner, Keys: []store.Key{"k"}}})
		if err != nil {
			return err
		}
		if len(shots[0].Records) != 1 || !bytes.Equal(shots[0].Records[0].Value, value) {
			return errors.New("what was just written is not there")
		}
	}
	return nil
}

const lostVariable = "BOLTSTORE_LOST"

// A file that loses its content while it is open, or gets another one, makes calls fail; the process lives on, and Close ends.
func TestDamageWhileOpen(t *testing.T) {
	if how := os.Getenv(lostVariable); how != "" {
		loseFile(t, how)
		return
	}
	t.Parallel()
	for _, how := range []string{"truncated", "emptied", "overwritten"} {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDamageWhileOpen$", "-test.timeout=60s")
		child.Env = append(os.Environ(), lostVariable+"="+how)
		out, err := child.CombinedOutput()
		require.NoError(t, err, "%s: %s", how, tailOf(out))
	}
}

func loseFile(t *testing.T, how string) {
	path := file(t)
	s := open(t, path, small)
	d := newDiary(s, 3)
	for range 100 {
		d.write(t)
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	switch how {
	case "truncated":
		err = os.Truncate(path, 20<<10)
	case "emptied":
		err = os.Truncate(path, 0)
	default:
		err = os.WriteFile(path, bytes.Repeat([]byte("x"), int(info.Size())), 0o600)
	}
	require.NoError(t, err)
	failed := make(chan error, 20)
	for i := range cap(failed) {
		go func() {
			if i%2 == 0 {
				_, err := s.Commit(context.Background(), []store.Change{{Owner: "o", Rev: uint64(i)}})
				failed <- err
				return
			}
			var all error
			for o := range d.owners {
				_, err := s.View(context.Background(), []store.Read{{Owner: o, Range: store.Range{Limit: 100}}})
				all = errors.Join(all, err)
			}
			failed <- all
		}()
	}
	count, late := 0, time.After(2*time.Second)
	for range cap(failed) {
		select {
		case err := <-failed:
			if err != nil {
				count++
			}
		case <-late: // a reader may be caught in bbolt for ever
			count++
			late = time.After(0)
		}
	}
	require.Positive(t, count)
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Fatal("Close does not end")
	}
}

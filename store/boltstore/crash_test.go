package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
)

// A diary makes random changes of a store, one after the other, and knows what was acknowledged.
type diary struct {
	store.Store
	random *rand.Rand

	mu     sync.Mutex
	owners map[store.Owner]page
	under  map[store.Owner]page // what is being written
	before map[store.Owner]page // what the last commit changed, as it was before
}

type page struct {
	rev     uint64
	records map[store.Key]store.Record
}

func newDiary(s store.Store, seed uint64) *diary {
	return &diary{Store: s, random: rand.New(rand.NewPCG(seed, seed)), owners: map[store.Owner]page{}}
}

// write makes a commit of some changes of some of few owners.
func (d *diary) write(t testing.TB) {
	t.Helper()
	changes, under := d.changes(), map[store.Owner]page{}
	for _, c := range changes {
		p := page{c.Rev + 1, maps.Clone(d.owners[c.Owner].records)}
		if p.records == nil {
			p.records = map[store.Key]store.Record{}
		}
		for _, r := range c.Put {
			r.Owner = c.Owner
			p.records[r.Key] = r
		}
		for _, k := range c.Delete {
			delete(p.records, k)
		}
		under[c.Owner] = p
	}
	d.mu.Lock()
	d.under = under
	d.mu.Unlock()
	errs, err := d.Commit(context.Background(), changes)
	require.NoError(t, err)
	require.Empty(t, slices.DeleteFunc(errs, func(err error) bool { return err == nil }))
	d.mu.Lock()
	d.before = map[store.Owner]page{}
	for o := range under {
		d.before[o] = d.owners[o]
	}
	maps.Copy(d.owners, under)
	d.under = nil
	d.mu.Unlock()
}

func (d *diary) changes() (changes []store.Change) {
	r := d.random
	for _, o := range r.Perm(20)[:1+r.IntN(4)] {
		c := store.Change{Owner: store.Owner(fmt.Sprintf("o\x00%d", o))}
		c.Rev = d.owners[c.Owner].rev
		for _, k := range r.Perm(16)[:r.IntN(8)] {
			key := store.Key(fmt.Sprint(k, strings.Repeat(" of a record", 10))) // long, so that a run has many blocks
			if r.IntN(3) == 0 {
				c.Delete = append(c.Delete, key)
				continue
			}
			put := store.Record{Key: key, Lane: store.Lane(r.IntN(3)), Value: []byte(strings.Repeat(fmt.Sprint(r.Uint64()), r.IntN(40)))}
			if r.IntN(2) == 0 {
				put.Due = time.UnixMicro(1 + r.Int64N(50)).UTC()
			}
			c.Put = append(c.Put, put)
		}
		changes = append(changes, c)
	}
	return changes
}

// check compares a store with what was acknowledged; what was being written may be there, owner by owner.
func (d *diary) check(s store.Store) error {
	d.mu.Lock()
	owners, under := maps.Clone(d.owners), maps.Clone(d.under)
	d.mu.Unlock()
	for o := range under {
		if _, ok := owners[o]; !ok {
			owners[o] = page{}
		}
	}
	names := slices.Sorted(maps.Keys(owners))
	var reads []store.Read
	for _, o := range names {
		reads = append(reads, store.Read{Owner: o, Range: store.Range{Limit: 100}})
	}
	shots, err := s.View(context.Background(), reads)
	if err != nil {
		return err
	}
	lanes := map[store.Lane]int{}
	for i, o := range names {
		want := owners[o]
		if p, ok := under[o]; ok && shots[i].Rev == p.rev {
			want = p
		}
		if err := want.same(o, &shots[i]); err != nil {
			return err
		}
		for _, r := range shots[i].Records {
			if !r.Due.IsZero() {
				lanes[r.Lane]++
			}
		}
	}
	for l := range store.Lane(3) {
		due, err := s.Due(context.Background(), store.DueQuery{Lanes: []store.Lane{l}, Until: time.UnixMicro(1000), Limit: 1000})
		if err != nil {
			return err
		}
		if len(due) != lanes[l] {
			return fmt.Errorf("lane %d has %d records, want %d", l, len(due), lanes[l])
		}
	}
	return nil
}

// same returns what is not in a snapshot of o as it is in p.
func (p page) same(o store.Owner, shot *store.Snapshot) error {
	if p.rev != shot.Rev || len(p.records) != len(shot.Records) {
		return fmt.Errorf("%q has revision %d and %d records, want %d and %d", o, shot.Rev, len(shot.Records), p.rev, len(p.records))
	}
	for _, got := range shot.Records {
		r := p.records[got.Key]
		if !r.Due.Equal(got.Due) || r.Lane != got.Lane || string(r.Value) != string(got.Value) {
			return fmt.Errorf("record %q of %q is not as written", got.Key, o)
		}
	}
	return nil
}

// copyOf opens a copy of a store's directory as it is now, checks it, and closes it.
func (d *diary) copyOf(dir, image string) error {
	if err := errors.Join(os.RemoveAll(image), os.CopyFS(image, os.DirFS(dir))); err != nil {
		return err
	}
	s, err := boltstore.Open(filepath.Join(image, "io.db"), small)
	if err != nil {
		return err
	}
	return errors.Join(d.check(s), s.Rest(), d.check(s), s.Close())
}

// A process that dies leaves the file as it is at that moment, so a copy made at each step shows what is found after a crash
// there. Each copy is opened, checked, and used on.
func TestCrashAtEachStep(t *testing.T) {
	t.Parallel()
	dir, n, every := t.TempDir(), 0, 17*slowness
	if os.Getenv("BOLTSTORE_LONG") != "" {
		every = 1
	}
	var d *diary
	steps := map[string]int{}
	image := filepath.Join(t.TempDir(), "image")
	s := open(t, filepath.Join(dir, "io.db"), small.Hooked(func(step string) error {
		if d == nil || t.Failed() {
			return nil
		}
		if n++; n%every != 0 && steps[step] > 3 {
			return nil
		}
		steps[step]++
		if err := d.copyOf(dir, image); err != nil {
			t.Errorf("after a crash at step %d, %s: %v", n, step, err)
		}
		return nil
	}))
	d = newDiary(s, 1)
	for i := range 300 {
		d.write(t)
		if i%100 == 99 {
			require.NoError(t, s.Compact(t.Context()))
			require.NoError(t, d.check(s), "after compaction")
		}
	}
	require.NoError(t, d.check(s), "at the end")
	require.NoError(t, s.Close())
	s = open(t, filepath.Join(dir, "io.db"), small)
	require.NoError(t, d.check(s), "opened again")
	t.Log(n, steps)
}

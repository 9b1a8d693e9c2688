package storetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/appio-go/appio/store"
)

// Bench measures a store by what an engine asks of it, among 100,000 owners: to accept messages (a change of a random owner
// puts three records of some 300 bytes, one of them due) one by one, from many callers at once, and in batches; to read five
// keys of each owner of a batch; to look for due work; and to note outcomes, each of which replaces a record and deletes the
// due one. ns/op is the time of a call; changes/s and reads/s count owners.
//
// open returns a new, empty store; Bench fills and closes it.
func Bench(b *testing.B, open func(b *testing.B) store.Store) {
	s := open(b)
	defer s.Close()
	const total = 100_000
	f := &field{s: s, revs: make([]uint64, total), value: bytes.Repeat([]byte("0123456789"), 30), random: rand.New(rand.NewPCG(1, 2))}
	f.fill(b)
	for _, size := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("accept/batch=%d", size), func(b *testing.B) { f.accept(b, size) })
	}
	b.Run("accept/batch=1,callers=64", f.acceptTogether)
	for _, size := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("view/batch=%d", size), func(b *testing.B) { f.view(b, size) })
	}
	b.Run("due/lanes=16,limit=64", f.due)
	for _, size := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("outcome/batch=%d", size), func(b *testing.B) { f.outcome(b, size) })
	}
}

// A field is a store that is full, and the revision of each of its owners.
type field struct {
	s      store.Store
	revs   []uint64
	value  []byte
	random *rand.Rand
	n      uint64 // messages made, for keys and times
}

const benchLanes = 16

func (f *field) owner(i int) store.Owner {
	name := []byte("citizen/")
	name = binary.BigEndian.AppendUint64(name, uint64(i)*0x9e3779b97f4a7c15) // as a hash: not in the order of i
	return store.Owner(binary.BigEndian.AppendUint64(name, uint64(i)))
}

// message is a change that accepts one.
func (f *field) message(owner int, n uint64) store.Change {
	id := fmt.Sprintf("%012x", n)
	return store.Change{Owner: f.owner(owner), Rev: f.revs[owner], Put: []store.Record{
		{Key: store.Key("m/" + id), Value: f.value},
		{Key: store.Key("i/" + id), Value: f.value},
		{Key: "q/open", Value: f.value, Lane: store.Lane(n % benchLanes), Due: at(int(n))},
	}}
}

func (f *field) fill(b *testing.B) {
	b.Helper()
	for at := 0; at < len(f.revs); at += 2000 {
		changes := make([]store.Change, 2000)
		for i := range changes {
			f.n++
			changes[i] = f.message(at+i, f.n)
			changes[i].Put = append(changes[i].Put, store.Record{Key: "p/profile", Value: f.value}, store.Record{Key: "p/consent", Value: f.value})
			f.revs[at+i]++
		}
		f.commit(b, changes)
	}
}

func (f *field) commit(b *testing.B, changes []store.Change) {
	b.Helper()
	errs, err := f.s.Commit(b.Context(), changes)
	if err != nil {
		b.Fatal(err)
	}
	for _, err := range errs {
		if err != nil {
			b.Fatal(err)
		}
	}
}

// some returns n different owners, at random.
func (f *field) some(n int) []int {
	stride := len(f.revs) / n
	owners := make([]int, n)
	for i := range owners {
		owners[i] = i*stride + f.random.IntN(stride)
	}
	f.random.Shuffle(n, func(i, j int) { owners[i], owners[j] = owners[j], owners[i] })
	return owners
}

// timed runs calls, and measures them alone, not how they are prepared. (The timer of b is too slow to stop for each.)
func timed(b *testing.B, size int, unit string, prepare func() func()) {
	var spent time.Duration
	for b.Loop() {
		call := prepare()
		start := time.Now()
		call()
		spent += time.Since(start)
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "ns/op")
	b.ReportMetric(float64(b.N*size)/spent.Seconds(), unit)
}

func (f *field) accept(b *testing.B, size int) {
	timed(b, size, "changes/s", func() func() {
		changes := make([]store.Change, size)
		for i, o := range f.some(size) {
			f.n++
			changes[i] = f.message(o, f.n)
			f.revs[o]++
		}
		return func() { f.commit(b, changes) }
	})
}

// acceptTogether gives each of 64 callers owners of its own.
func (f *field) acceptTogether(b *testing.B) {
	const callers = 64
	var next, made atomic.Int64
	start := time.Now()
	b.ResetTimer()
	group(callers, func(caller int) {
		random := rand.New(rand.NewPCG(3, uint64(caller)))
		for next.Add(1) <= int64(b.N) {
			o := random.IntN(len(f.revs)/callers)*callers + caller
			change := f.message(o, f.n+uint64(made.Add(1)))
			errs, err := f.s.Commit(b.Context(), []store.Change{change})
			if err != nil || errs != nil && errs[0] != nil {
				b.Errorf("Commit: %v, %v", errs, err)
				return
			}
			f.revs[o]++
		}
	})
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "changes/s")
	f.n += uint64(made.Load())
}

func (f *field) view(b *testing.B, size int) {
	keys := []store.Key{"p/profile", "p/consent", "q/open", "k/never", "d/never"}
	timed(b, size, "reads/s", func() func() {
		reads := make([]store.Read, size)
		for i, o := range f.some(size) {
			reads[i] = store.Read{Owner: f.owner(o), Keys: keys}
		}
		return func() {
			if _, err := f.s.View(b.Context(), reads); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func (f *field) outcome(b *testing.B, size int) {
	timed(b, size, "changes/s", func() func() {
		owners := f.some(size)
		due, outcomes := make([]store.Change, size), make([]store.Change, size)
		for i, o := range owners { // first, each has work that is due
			f.n++
			due[i] = f.message(o, f.n)
			outcomes[i] = store.Change{
				Owner: due[i].Owner, Rev: due[i].Rev + 1,
				Put:    []store.Record{{Key: due[i].Put[0].Key, Value: f.value}},
				Delete: []store.Key{"q/open"},
			}
			f.revs[o] += 2
		}
		f.commit(b, due)
		return func() { f.commit(b, outcomes) }
	})
}

func (f *field) due(b *testing.B) {
	q := store.DueQuery{Until: at(math.MaxInt32), Limit: 64}
	for l := range store.Lane(benchLanes) {
		q.Lanes = append(q.Lanes, l)
	}
	for b.Loop() {
		got, err := f.s.Due(b.Context(), q)
		if err != nil || len(got) != q.Limit*len(q.Lanes) {
			b.Fatalf("Due: %d records, error %v; want %d", len(got), err, q.Limit*len(q.Lanes))
		}
	}
}

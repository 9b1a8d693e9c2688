package boltstore_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
)

// BenchmarkDeliveries asks of a store what an engine does for each message: it reads the citizen's profile and preferences,
// commits the message with its open work, finds the work due, and commits the outcome. ns/op is the time of one message.
// BOLTSTORE_CITIZENS (200,000) says among how many.
func BenchmarkDeliveries(b *testing.B) {
	citizens, _ := strconv.Atoi(cmp.Or(os.Getenv("BOLTSTORE_CITIZENS"), "200000"))
	for _, batch := range []int{1, 1024} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) { deliver(b, citizens, batch) })
	}
}

func deliver(b *testing.B, citizens, batch int) {
	path := file(b)
	e := &sending{Store: open(b, path, nil), revs: make([]uint64, citizens), random: rand.New(rand.NewPCG(1, 1)),
		content: bytes.Repeat([]byte("0123456789"), 70), state: bytes.Repeat([]byte("0123456789"), 11)}
	for at := 0; at < citizens; at += 2000 {
		e.register(b, at, min(at+2000, citizens))
	}
	time.Sleep(time.Second)
	size, used := sizeOf(b, path), usage()
	var pauses []time.Duration
	n := 0
	b.ResetTimer()
	for b.Loop() {
		if n++; n%batch == 0 {
			pauses = append(pauses, e.send(b, batch)...)
		}
	}
	used = usage().since(used)
	if n < batch {
		return
	}
	n -= n % batch
	slices.Sort(pauses)
	b.ReportMetric(float64(used.cpu.Microseconds())/float64(n), "cpu-µs/op")
	b.ReportMetric(float64(used.written)/float64(n), "written-B/op")
	b.ReportMetric(float64(sizeOf(b, path)-size)/float64(n), "file-B/op")
	b.ReportMetric(float64(pauses[len(pauses)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(pauses[len(pauses)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(pauses[len(pauses)-1].Microseconds()), "max-µs")
	b.ReportMetric(float64(used.mallocs)/float64(n), "allocs/op")
}

func sizeOf(b *testing.B, path string) int64 {
	info, err := os.Stat(path)
	require.NoError(b, err)
	return info.Size()
}

// A use is what the process has used.
type use struct {
	cpu     time.Duration
	written int64 // bytes
	mallocs uint64
}

func usage() use {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u := use{mallocs: m.Mallocs}
	u.cpu, u.written = usageOfSystem()
	return u
}

func (u use) since(before use) use {
	return use{u.cpu - before.cpu, u.written - before.written, u.mallocs - before.mallocs}
}

// A sending is a store that messages are sent by.
type sending struct {
	store.Store
	revs           []uint64
	random         *rand.Rand
	content, state []byte
	n              int64
}

func (e *sending) owner(i int) store.Owner {
	b := append(make([]byte, 0, 18), "c/"...)
	b = binary.BigEndian.AppendUint64(b, uint64(i)*0x9e3779b97f4a7c15)
	return store.Owner(binary.BigEndian.AppendUint64(b, uint64(i)))
}

func (e *sending) register(b *testing.B, from, to int) {
	changes := make([]store.Change, 0, to-from)
	for i := from; i < to; i++ {
		changes = append(changes, store.Change{Owner: e.owner(i), Put: []store.Record{
			{Key: "p", Value: e.content[:300]},
			{Key: "s/service-001", Value: e.state}, {Key: "s/service-002", Value: e.state}, {Key: "s/service-003", Value: e.state}}})
		e.revs[i]++
	}
	e.commit(b, changes)
}

func (e *sending) commit(b *testing.B, changes []store.Change) time.Duration {
	start := time.Now()
	errs, err := e.Commit(b.Context(), changes)
	took := time.Since(start)
	if err != nil || slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		b.Fatal(errs, err)
	}
	return took
}

// send sends a batch of messages to different citizens, and returns how long each commit took.
func (e *sending) send(b *testing.B, batch int) []time.Duration {
	stride := len(e.revs) / batch
	reads, accepted, done := make([]store.Read, batch), make([]store.Change, batch), make([]store.Change, batch)
	at := time.UnixMicro(1e15 + e.n).UTC()
	for i := range reads {
		c := i*stride + e.random.IntN(stride)
		e.n++
		o, id := e.owner(c), binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(e.n)), e.random.Uint64())
		reads[i] = store.Read{Owner: o, Keys: []store.Key{"p", "s/service-001", store.Key("k/" + string(id))}}
		inbox, work := store.Key("i/"+string(id)), store.Key("q/"+string(id))
		accepted[i] = store.Change{Owner: o, Rev: e.revs[c], Put: []store.Record{
			{Key: store.Key("m/" + string(id)), Value: e.content},
			{Key: inbox, Value: e.state},
			{Key: store.Key("k/" + string(id)), Value: e.state[:40]},
			{Key: work, Value: e.state, Lane: store.Lane(e.n % 16), Due: at}}}
		done[i] = store.Change{Owner: o, Rev: e.revs[c] + 1, Put: []store.Record{{Key: inbox, Value: e.state}}, Delete: []store.Key{work}}
		e.revs[c] += 2
	}
	shots, err := e.View(b.Context(), reads)
	if err != nil || len(shots[0].Records) != 2 {
		b.Fatal(err)
	}
	took := e.commit(b, accepted)
	q := store.DueQuery{Until: at.Add(time.Hour), Limit: batch}
	for l := range store.Lane(16) {
		q.Lanes = append(q.Lanes, l)
	}
	if due, err := e.Due(b.Context(), q); err != nil || len(due) != batch {
		b.Fatal(len(due), err)
	}
	return []time.Duration{took, e.commit(b, done)}
}

var _ store.Store = (*boltstore.Store)(nil)

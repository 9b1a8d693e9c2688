package storetest

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/appio-go/appio/store"
)

// Model makes the calls that data stands for, any bytes, and compares every answer with that of a plain map. s is a new,
// empty store. It is what a fuzz test gives its inputs to.
func Model(t testing.TB, data []byte, s store.Store) {
	t.Helper()
	newModel().play(t, data, s)
}

var modelChecks = []check{
	{"all answers are those of a plain map", func(t tester, s store.Store) {
		m := newModel()
		for seed := range uint64(8) {
			m.play(t, randomBytes(seed, 3000), s)
		}
	}},
}

func randomBytes(seed uint64, n int) []byte {
	random := rand.New(rand.NewPCG(seed, 10))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}

// A model is what a store should hold.
type model map[store.Owner]*modelOwner

type modelOwner struct {
	rev     uint64
	records map[store.Key]store.Record
}

func newModel() model { return model{} }

// Names are few, so that calls meet, and such that their order, their ends and their joints matter.
var (
	modelOwners = []store.Owner{"a", "a\x00", "a\x00b", "b", "\x00", "\xff", "\xff\xff", "citizen/1", "citizen/10"}
	modelKeys   = []store.Key{"k", "k\x00", "k\x00\xff", "k\x01", "l", "\x00", "\x00k", "\xff", "\xff\x00", "m/1", "m/10", "m/2"}
	modelLanes  = []store.Lane{0, 1, 255, 256, 0xffff}
)

// play makes the calls of data. It stops at the first wrong answer, as what follows would be wrong too.
func (m model) play(t tester, data []byte, s store.Store) {
	t.Helper()
	d := &decisions{data: data}
	for step := 0; len(d.data) > 0; step++ {
		switch d.below(8) {
		case 0, 1, 2, 3:
			m.commit(t, d, s)
		case 4, 5:
			m.view(t, d, s)
		case 6:
			m.due(t, d, s)
		case 7:
			m.owners(t, d, s)
		}
	}
	m.check(t, s)
}

func (m model) commit(t tester, d *decisions, s store.Store) {
	t.Helper()
	var changes []store.Change
	for _, o := range pickSome(d, modelOwners, 4) {
		c := store.Change{Owner: o, Rev: m.of(o).rev}
		if d.below(6) == 0 {
			c.Rev += uint64(d.below(3)) - 1 // one before, right, one after
		}
		for i, k := range pickSome(d, modelKeys, 5) {
			if d.below(3) == 0 {
				c.Delete = append(c.Delete, k)
				continue
			}
			r := store.Record{Key: k, Value: []byte(strings.Repeat(string(rune('A'+i)), d.below(20)))}
			if d.below(2) == 0 {
				r.Due, r.Lane = at(d.below(8)), pick(d, modelLanes)
			}
			if d.below(16) == 0 {
				r.Value = []byte(strings.Repeat("large", 200*d.below(20)))
			}
			c.Put = append(c.Put, r)
		}
		changes = append(changes, c)
	}
	for i, err := range try(t, s, changes...) {
		if want := m.apply(changes[i]); (err == nil) != want {
			t.Fatalf("model: a change of %q, at revision %d, that names %d: %v", changes[i].Owner, m.of(changes[i].Owner).rev, changes[i].Rev, err)
		}
	}
}

// apply makes a change and reports true, or finds it in conflict.
func (m model) apply(c store.Change) bool {
	o := m.of(c.Owner)
	if o.rev != c.Rev {
		return false
	}
	o.rev++
	for _, k := range c.Delete {
		delete(o.records, k)
	}
	for _, r := range c.Put {
		r.Owner = c.Owner
		o.records[r.Key] = r
	}
	return true
}

func (m model) view(t tester, d *decisions, s store.Store) {
	t.Helper()
	var reads []store.Read
	for _, o := range pickSome(d, modelOwners, 4) {
		r := store.Read{Owner: o, Keys: pickSome(d, modelKeys, 4)}
		if d.below(2) == 0 {
			r.Range = store.Range{Limit: d.below(12), Descending: d.below(2) == 0, KeysOnly: d.below(4) == 0}
			if d.below(2) == 0 {
				r.Range.From = pick(d, modelKeys)
			}
			if d.below(2) == 0 {
				r.Range.To = pick(d, modelKeys)
			}
		}
		reads = append(reads, r)
	}
	for i, got := range views(t, s, reads...) {
		want := m.read(reads[i])
		if got.Rev != want.Rev || firstDifference(got.Records, want.Records) >= 0 {
			t.Fatalf("model: View of %+v:\n got revision %d,%s\nwant revision %d,%s", reads[i], got.Rev, text(got.Records), want.Rev, text(want.Records))
		}
	}
}

// read answers a read slowly.
func (m model) read(r store.Read) store.Snapshot {
	o := m.of(r.Owner)
	s := store.Snapshot{Rev: o.rev}
	for _, k := range r.Keys {
		if record, ok := o.records[k]; ok {
			s.Records = append(s.Records, record)
		}
	}
	in := slices.Sorted(maps.Keys(o.records))
	in = slices.DeleteFunc(in, func(k store.Key) bool { return k < r.Range.From || r.Range.To != "" && k >= r.Range.To })
	if r.Range.Descending {
		slices.Reverse(in)
	}
	for _, k := range in[:min(len(in), r.Range.Limit)] {
		record := o.records[k]
		if r.Range.KeysOnly {
			record.Value = nil
		}
		s.Records = append(s.Records, record)
	}
	return s
}

func (m model) due(t tester, d *decisions, s store.Store) {
	t.Helper()
	q := store.DueQuery{Lanes: pickSome(d, modelLanes, 3), Until: at(d.below(9)), Limit: 1 + d.below(12)}
	if len(q.Lanes) == 1 && d.below(2) == 0 {
		q.After = store.Position{Due: at(d.below(8)), Owner: pick(d, modelOwners), Key: pick(d, modelKeys)}
	}
	m.compareDue(t, s, q)
}

func (m model) compareDue(t tester, s store.Store, q store.DueQuery) {
	t.Helper()
	var want []store.Record
	for _, l := range q.Lanes {
		lane := m.lane(l)
		lane = slices.DeleteFunc(lane, func(r store.Record) bool {
			after := store.Record{Due: q.After.Due, Owner: q.After.Owner, Key: q.After.Key}
			return r.Due.After(q.Until) || comparePlace(r, after) <= 0
		})
		want = append(want, lane[:min(len(lane), q.Limit)]...)
	}
	if got := dueOf(t, s, q); firstDifference(got, want) >= 0 {
		t.Fatalf("model: Due of %+v:\n got%s\nwant%s", q, text(got), text(want))
	}
}

// lane returns all that is scheduled in a lane, in order.
func (m model) lane(l store.Lane) (lane []store.Record) {
	for _, o := range m {
		for _, r := range o.records {
			if r.Lane == l && !r.Due.IsZero() {
				lane = append(lane, r)
			}
		}
	}
	slices.SortFunc(lane, comparePlace)
	return lane
}

func (m model) owners(t tester, d *decisions, s store.Store) {
	t.Helper()
	var after store.Owner
	if d.below(2) == 0 {
		after = pick(d, modelOwners)
	}
	m.compareOwners(t, s, after, 1+d.below(12))
}

func (m model) compareOwners(t tester, s store.Store, after store.Owner, limit int) {
	t.Helper()
	var want []store.Owner
	for o := range m {
		if o > after && len(m[o].records) > 0 {
			want = append(want, o)
		}
	}
	slices.Sort(want)
	want = want[:min(len(want), limit)]
	if got := owners(t, s, after, limit); !slices.Equal(got, want) {
		t.Fatalf("model: Owners(%q, %d):\n got %q\nwant %q", after, limit, got, want)
	}
}

// check compares all that is in the store.
func (m model) check(t tester, s store.Store) {
	t.Helper()
	for _, o := range modelOwners {
		got, want := view(t, s, store.Read{Owner: o, Range: all}), m.read(store.Read{Owner: o, Range: all})
		if got.Rev != want.Rev || firstDifference(got.Records, want.Records) >= 0 {
			t.Fatalf("model: owner %q:\n got revision %d,%s\nwant revision %d,%s", o, got.Rev, text(got.Records), want.Rev, text(want.Records))
		}
	}
	m.compareDue(t, s, store.DueQuery{Lanes: modelLanes, Until: at(0).Add(time.Hour), Limit: 100})
	m.compareOwners(t, s, "", 100)
}

func (m model) of(o store.Owner) *modelOwner {
	if m[o] == nil {
		m[o] = &modelOwner{records: map[store.Key]store.Record{}}
	}
	return m[o]
}

// decisions reads choices from bytes, zeros after their end.
type decisions struct{ data []byte }

func (d *decisions) below(n int) int {
	if len(d.data) == 0 {
		return 0
	}
	b := d.data[0]
	d.data = d.data[1:]
	return int(b) % n
}

func pick[T any](d *decisions, from []T) T { return from[d.below(len(from))] }

// pickSome picks up to most, none twice.
func pickSome[T comparable](d *decisions, from []T, most int) (some []T) {
	for range d.below(most + 1) {
		if x := pick(d, from); !slices.Contains(some, x) {
			some = append(some, x)
		}
	}
	return some
}

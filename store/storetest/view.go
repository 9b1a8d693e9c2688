package storetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio/store"
)

// inOrder are names in byte order, which is not that of languages, of numbers, or of strings that end at a zero.
var inOrder = []string{"\x00", "\x00\x00", "\x00\xff", "\x01", "A", "Z", "a", "a\x00", "a\x00\x00", "a\x00b", "a\x01", "a!", "aa", "a\xff", "b", "b10", "b9", "\x7f", "\x80", "é", "\xff", "\xff\x00", "\xff\xff"}

// shuffled returns another order of names, the same for each seed.
func shuffled[T any](names []T, seed uint64) []T {
	names = slices.Clone(names)
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names
}

var viewChecks = []check{
	{"keys are answered in the order asked, absent ones left out", func(t tester, s store.Store) {
		a, b, c := put("a", "1"), put("b", "2"), put("c", "3")
		commit(t, s, store.Change{Owner: "o", Put: []store.Record{a, b, c}})
		got := view(t, s, store.Read{Owner: "o", Keys: []store.Key{"c", "never", "a", "b", "a"}})
		same(t, "keys c, never, a, b, a", got.Records, of("o", c, a, b, a))
		same(t, "no keys, no range", view(t, s, store.Read{Owner: "o"}).Records, nil)
	}},

	{"a range begins at From and ends before To", func(t tester, s store.Store) {
		a, b, c, d := put("a", "1"), put("b", "2"), put("c", "3"), put("d", "4")
		commit(t, s, store.Change{Owner: "o", Put: []store.Record{a, b, c, d}})
		for _, q := range []struct {
			from, to store.Key
			want     []store.Record
		}{
			{"", "", []store.Record{a, b, c, d}},
			{"b", "", []store.Record{b, c, d}},
			{"", "c", []store.Record{a, b}},
			{"b", "d", []store.Record{b, c}},
			{"b\x00", "d\x00", []store.Record{c, d}},
			{"aa", "cc", []store.Record{b, c}},
			{"b", "b", nil},
			{"c", "b", nil},
			{"e", "", nil},
			{"", "a", nil},
			{"\x00", "\xff", []store.Record{a, b, c, d}},
		} {
			r := store.Range{From: q.from, To: q.to, Limit: 10}
			same(t, fmt.Sprintf("range from %q to %q", q.from, q.to), view(t, s, store.Read{Owner: "o", Range: r}).Records, of("o", q.want...))
			r.Descending = true
			slices.Reverse(q.want)
			same(t, fmt.Sprintf("range from %q to %q, descending", q.from, q.to), view(t, s, store.Read{Owner: "o", Range: r}).Records, of("o", q.want...))
		}
	}},

	{"a limit keeps the first of a range, in its direction", func(t tester, s store.Store) {
		a, b, c, d := put("a", "1"), put("b", "2"), put("c", "3"), put("d", "4")
		commit(t, s, store.Change{Owner: "o", Put: []store.Record{a, b, c, d}})
		for _, q := range []struct {
			r    store.Range
			want []store.Record
		}{
			{store.Range{Limit: 0}, nil},
			{store.Range{Limit: 1}, []store.Record{a}},
			{store.Range{Limit: 3}, []store.Record{a, b, c}},
			{store.Range{From: "b", To: "d", Limit: 1}, []store.Record{b}},
			{store.Range{Limit: 0, Descending: true}, nil},
			{store.Range{Limit: 1, Descending: true}, []store.Record{d}},
			{store.Range{Limit: 3, Descending: true}, []store.Record{d, c, b}},
			{store.Range{From: "b", To: "d", Limit: 1, Descending: true}, []store.Record{c}},
			{store.Range{To: "c", Limit: 9, Descending: true}, []store.Record{b, a}},
		} {
			same(t, fmt.Sprintf("%+v", q.r), view(t, s, store.Read{Owner: "o", Range: q.r}).Records, of("o", q.want...))
		}
	}},

	{"keys only has all but the value", func(t tester, s store.Store) {
		plain, scheduled := put("a", "1"), due("b", 5, 7)
		commit(t, s, store.Change{Owner: "o", Put: []store.Record{plain, scheduled}})
		got := view(t, s, store.Read{Owner: "o", Range: store.Range{Limit: 10, KeysOnly: true}}).Records
		for _, r := range got {
			if r.Value != nil {
				t.Errorf("key %q has a value of %d bytes; with KeysOnly it is nil", r.Key, len(r.Value))
			}
		}
		plain.Value, scheduled.Value = nil, nil
		same(t, "keys only", got, of("o", plain, scheduled))
	}},

	{"the records of Keys come before those of Range", func(t tester, s store.Store) {
		a, b, c := put("a", "1"), put("b", "2"), put("c", "3")
		commit(t, s, store.Change{Owner: "o", Put: []store.Record{a, b, c}})
		got := view(t, s, store.Read{Owner: "o", Keys: []store.Key{"c", "a"}, Range: store.Range{From: "b", Limit: 10}})
		same(t, "keys c and a, and range from b", got.Records, of("o", c, a, b, c))
		got = view(t, s, store.Read{Owner: "o", Keys: []store.Key{"c"}, Range: store.Range{From: "b", Limit: 1, KeysOnly: true}})
		same(t, "key c, and one key only", got.Records, of("o", c, store.Record{Key: "b"}))
	}},

	{"keys are in byte order", func(t tester, s store.Store) {
		var want, puts []store.Record
		for _, k := range inOrder {
			want = append(want, put(store.Key(k), "v"+k))
		}
		puts = shuffled(want, 1)
		for i := range puts {
			commit(t, s, store.Change{Owner: "o", Rev: uint64(i), Put: puts[i : i+1]})
		}
		has(t, s, "o", uint64(len(puts)), want...)
		for i, from := range inOrder {
			for j, to := range inOrder {
				got := view(t, s, store.Read{Owner: "o", Range: store.Range{From: store.Key(from), To: store.Key(to), Limit: 100}}).Records
				if !same(t, fmt.Sprintf("range from %q to %q", from, to), got, of("o", want[i:max(i, j)]...)) {
					return // one is enough to see what is wrong
				}
			}
		}
	}},

	{"owners do not see each other's records", func(t tester, s store.Store) {
		var changes []store.Change
		for _, o := range inOrder {
			changes = append(changes, store.Change{Owner: store.Owner(o), Put: []store.Record{put("\x00", "low "+o), put("k", "of "+o), put("\xff\xff", "high "+o)}})
		}
		commit(t, s, shuffled(changes, 2)...)
		for i, o := range inOrder {
			has(t, s, store.Owner(o), 1, changes[i].Put...)
		}
		middle := store.Owner(inOrder[len(inOrder)/2])
		commit(t, s, store.Change{Owner: middle, Rev: 1, Delete: []store.Key{"\x00", "k", "\xff\xff"}})
		for i, o := range inOrder {
			if store.Owner(o) != middle {
				has(t, s, store.Owner(o), 1, changes[i].Put...)
			}
		}
	}},

	{"there is one snapshot per read, in the order of reads", func(t tester, s store.Store) {
		a, b := put("k", "a"), put("k", "b")
		commit(t, s, store.Change{Owner: "a", Put: []store.Record{a}}, store.Change{Owner: "b", Put: []store.Record{b}})
		commit(t, s, store.Change{Owner: "b", Rev: 1})
		got := views(t, s, store.Read{Owner: "b", Keys: []store.Key{"k"}}, store.Read{Owner: "nobody", Range: all}, store.Read{Owner: "a", Range: all}, store.Read{Owner: "ab"})
		for i, want := range []uint64{2, 0, 1, 0} {
			if got[i].Rev != want {
				t.Errorf("snapshot %d has revision %d; want %d", i, got[i].Rev, want)
			}
		}
		same(t, "snapshot 0", got[0].Records, of("b", b))
		same(t, "snapshot 1", got[1].Records, nil)
		same(t, "snapshot 2", got[2].Records, of("a", a))
		same(t, "snapshot 3", got[3].Records, nil)
		views(t, s)
	}},

	{"a long range is read in pages, from either end", func(t tester, s store.Store) {
		var want []store.Record
		for i := range 3000 {
			want = append(want, put(store.Key(fmt.Sprintf("k/%05d", i)), fmt.Sprint(i)))
		}
		puts := shuffled(want, 3)
		for rev, part := range slices.Collect(slices.Chunk(puts, 500)) {
			commit(t, s, store.Change{Owner: "o", Rev: uint64(rev), Put: part})
		}
		want = of("o", want...)
		same(t, "all at once", view(t, s, store.Read{Owner: "o", Range: all}).Records, want)
		var up, down []store.Record
		for r := (store.Range{From: "k/", To: "k0", Limit: 256}); ; {
			page := view(t, s, store.Read{Owner: "o", Range: r}).Records
			if len(page) == 0 || len(up) > len(want) {
				break
			}
			up = append(up, page...)
			r.From = page[len(page)-1].Key + "\x00"
		}
		for r := (store.Range{From: "k/", To: "k0", Limit: 256, Descending: true}); ; {
			page := view(t, s, store.Read{Owner: "o", Range: r}).Records
			if len(page) == 0 || len(down) > len(want) {
				break
			}
			down = append(down, page...)
			r.To = page[len(page)-1].Key
		}
		same(t, "pages upwards", up, want)
		slices.Reverse(down)
		same(t, "pages downwards", down, want)
	}},

	{"an owner of many records keeps them while others come and go", func(t tester, s store.Store) {
		random, held := rand.New(rand.NewPCG(11, 0)), map[store.Key]store.Record{}
		for rev := range uint64(20) {
			c := store.Change{Owner: "o", Rev: rev}
			if shrinks := rev%7 > 4; shrinks {
				c.Delete = shuffled(slices.Sorted(maps.Keys(held)), rev)[:900]
			} else {
				for _, n := range random.Perm(50_000)[:900] {
					k := store.Key(fmt.Sprintf("%05d", n))
					c.Put = append(c.Put, store.Record{Key: k, Value: slices.Repeat([]byte(k), random.IntN(40)), Lane: 1, Due: at(n % 100)})
				}
			}
			commit(t, s, c)
			for _, k := range c.Delete {
				delete(held, k)
			}
			for _, r := range c.Put {
				held[r.Key] = r
			}
			if rev%10 != 9 {
				continue
			}
			var want []store.Record
			for _, k := range slices.Sorted(maps.Keys(held)) {
				want = append(want, held[k])
			}
			has(t, s, "o", rev+1, want...)
			want = of("o", want...)
			slices.SortFunc(want, comparePlace)
			same(t, "the lane", query(t, s, store.MaxRange, 100, 1), want[:min(len(want), store.MaxRange)])
		}
	}},

	{"a range may begin and end just after the longest key", func(t tester, s store.Store) {
		longest := put(store.Key(strings.Repeat("\xff", store.MaxKey)), "v")
		commit(t, s, store.Change{Owner: "o", Put: []store.Record{put("a", "1"), longest}})
		got := view(t, s, store.Read{Owner: "o", Range: store.Range{From: "b", To: longest.Key + "\x00", Limit: 10}})
		same(t, "range up to the longest key", got.Records, of("o", longest))
		got = view(t, s, store.Read{Owner: "o", Range: store.Range{From: longest.Key + "\x00", Limit: 10}})
		same(t, "range after the longest key", got.Records, nil)
	}},

	{"times come back in UTC, cut to microseconds", func(t tester, s store.Store) {
		rome := time.FixedZone("Rome", 2*60*60)
		given := time.Date(2026, 7, 1, 9, 30, 0, 123456789, rome)
		want := time.Date(2026, 7, 1, 7, 30, 0, 123456000, time.UTC)
		first, last := time.UnixMicro(1), time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)
		commit(t, s, store.Change{Owner: "o", Put: []store.Record{
			{Key: "a", Due: given}, {Key: "b", Due: first}, {Key: "c", Due: last}, {Key: "d"},
		}})
		got := view(t, s, store.Read{Owner: "o", Range: all}).Records
		got = append(got, view(t, s, store.Read{Owner: "o", Keys: []store.Key{"a", "b", "c", "d"}}).Records...)
		got = append(got, dueOf(t, s, store.DueQuery{Lanes: []store.Lane{0}, Until: last, Limit: 10})...)
		wants := map[store.Key]time.Time{"a": want, "b": first.UTC(), "c": last.Truncate(time.Microsecond), "d": {}}
		for _, r := range got {
			if r.Due != wants[r.Key] {
				t.Errorf("key %q is due %v; want %v", r.Key, r.Due, wants[r.Key])
			}
		}
		if len(got) != 11 {
			t.Errorf("%d records from a range, keys and a lane; want 4, 4 and 3", len(got))
		}
		if got := dueOf(t, s, store.DueQuery{Lanes: []store.Lane{0}, Until: given.Truncate(time.Microsecond), Limit: 10}); len(got) != 2 {
			t.Errorf("Due until the microsecond that a record was cut to returns %d records; want 2", len(got))
		}
	}},
}

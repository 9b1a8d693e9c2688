package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio/store"
)

var dueChecks = []check{
	{"due records come oldest first, ties by owner and then by key", func(t tester, s store.Store) {
		var want []store.Record
		for _, n := range []int{1, 2, 300} {
			for _, o := range inOrder {
				for _, k := range []store.Key{"\x00", "k", "k\x00", "kk", "\xff"} {
					want = append(want, of(store.Owner(o), due(store.Key(fmt.Sprintf("%s-%d", k, n)), 4, n))...)
				}
			}
		}
		for i, o := range shuffled(inOrder, 4) {
			c := store.Change{Owner: store.Owner(o)}
			for _, r := range shuffled(want, uint64(i)) {
				if r.Owner == c.Owner {
					c.Put = append(c.Put, r)
				}
			}
			commit(t, s, c)
		}
		slices.SortFunc(want, comparePlace)
		same(t, "the lane", query(t, s, 1000, 300, 4), want)
		same(t, "its first 20", query(t, s, 20, 300, 4), want[:20])
	}},

	{"a record is due at its time, not before, and never without one", func(t tester, s store.Store) {
		a, b, c, unset := due("a", 1, 10), due("b", 1, 11), due("c", 1, 12), put("d", "v")
		unset.Lane = 1
		commit(t, s, store.Change{Owner: "o", Put: []store.Record{c, unset, a, b}})
		for until, want := range map[int][]store.Record{9: nil, 10: {a}, 11: {a, b}, 12: {a, b, c}, 1e9: {a, b, c}} {
			same(t, fmt.Sprintf("until %d", until), query(t, s, 10, until, 1), of("o", want...))
		}
		finer := store.DueQuery{Lanes: []store.Lane{1}, Until: at(11).Add(999), Limit: 10}
		same(t, "until 999 ns after b", dueOf(t, s, finer), of("o", a, b))
		for _, until := range []time.Time{{}, time.Unix(0, 0), time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC)} {
			same(t, "until "+until.String(), dueOf(t, s, store.DueQuery{Lanes: []store.Lane{1}, Until: until, Limit: 10}), nil)
		}
		elsewhere := store.DueQuery{Lanes: []store.Lane{1}, Until: at(11).In(time.FixedZone("Rome", 7200)), Limit: 10}
		same(t, "until a time of another zone", dueOf(t, s, elsewhere), of("o", a, b))
		last := store.DueQuery{Lanes: []store.Lane{1}, Until: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), Limit: 10}
		same(t, "until the last second", dueOf(t, s, last), of("o", a, b, c))
	}},

	{"lanes stand together, in the order asked, each with its own limit", func(t tester, s store.Store) {
		lane := func(l store.Lane) (records []store.Record) {
			for i := range 5 {
				records = append(records, due(store.Key(fmt.Sprintf("%d-%d", l, i)), l, i))
			}
			return of("o", records...)
		}
		zero, one, high := lane(0), lane(1), lane(0xffff)
		commit(t, s, store.Change{Owner: "o", Put: slices.Concat(zero, one, high)})
		same(t, "lanes 65535, 0, 7 and 1, three of each", query(t, s, 3, 100, 0xffff, 0, 7, 1), slices.Concat(high[:3], zero[:3], one[:3]))
		same(t, "lanes 1 and 0, all", query(t, s, 100, 100, 1, 0), slices.Concat(one, zero))
		same(t, "a lane that is empty", query(t, s, 3, 100, 256), nil)
		same(t, "no lanes", query(t, s, 3, 100), nil)
	}},

	{"10,000 stuck records delay no other lane, and are stepped over with After", func(t tester, s store.Store) {
		var stuck []store.Record
		for i := range 10000 {
			stuck = append(stuck, due(store.Key(fmt.Sprintf("%05d", i)), 1, i/100))
		}
		for rev, part := range slices.Collect(slices.Chunk(stuck, 1000)) {
			commit(t, s, store.Change{Owner: "stuck", Rev: uint64(rev), Put: part})
		}
		fresh := due("k", 2, 50)
		behind := due("k", 1, 100)
		commit(t, s, store.Change{Owner: "fresh", Put: []store.Record{fresh}}, store.Change{Owner: "behind", Put: []store.Record{behind}})
		got := query(t, s, 10, 1000, 1, 2)
		same(t, "ten of each lane", got, append(of("stuck", stuck[:10]...), of("fresh", fresh)...))

		var walked []store.Record
		for q := (store.DueQuery{Lanes: []store.Lane{1}, Until: at(1000), Limit: 999}); ; {
			page := dueOf(t, s, q)
			walked = append(walked, page...)
			if len(page) < q.Limit || len(walked) > len(stuck)+1 {
				break
			}
			last := page[len(page)-1]
			q.After = store.Position{Due: last.Due, Owner: last.Owner, Key: last.Key}
		}
		same(t, "the lane in pages of 999", walked, append(of("stuck", stuck...), of("behind", behind)...))
	}},

	{"After is a place, whether a record is there or not", func(t tester, s store.Store) {
		a, b, c := due("a", 1, 10), due("b", 1, 20), due("c", 1, 20)
		commit(t, s, store.Change{Owner: "o", Put: []store.Record{a, b, c}}, store.Change{Owner: "p", Put: []store.Record{due("a", 1, 20)}})
		p := of("p", due("a", 1, 20))
		for _, q := range []struct {
			after store.Position
			want  []store.Record
		}{
			{store.Position{}, append(of("o", a, b, c), p...)},
			{store.Position{Due: at(0)}, append(of("o", a, b, c), p...)},
			{store.Position{Due: at(10), Owner: "o", Key: "a"}, append(of("o", b, c), p...)},
			{store.Position{Due: at(10), Owner: "z"}, append(of("o", b, c), p...)},
			{store.Position{Due: at(20)}, append(of("o", b, c), p...)},
			{store.Position{Due: at(20), Owner: "o"}, append(of("o", b, c), p...)},
			{store.Position{Due: at(20), Owner: "o", Key: "b"}, append(of("o", c), p...)},
			{store.Position{Due: at(20).Add(999), Owner: "o", Key: "b"}, append(of("o", c), p...)},
			{store.Position{Due: at(20), Owner: "o", Key: "bb"}, append(of("o", c), p...)},
			{store.Position{Due: at(20), Owner: "o", Key: "c"}, p},
			{store.Position{Due: at(20), Owner: "o\x00"}, p},
			{store.Position{Due: at(20), Owner: "p", Key: "a"}, nil},
			{store.Position{Due: at(21)}, nil},
			{store.Position{Owner: "z", Key: "z"}, append(of("o", a, b, c), p...)},
			{store.Position{Due: at(30), Owner: store.Owner(strings.Repeat("\xff", store.MaxKey))}, nil},
		} {
			got := dueOf(t, s, store.DueQuery{Lanes: []store.Lane{1}, Until: at(1000), After: q.after, Limit: 10})
			same(t, fmt.Sprintf("after %+v", q.after), got, q.want)
		}
		got := dueOf(t, s, store.DueQuery{Lanes: []store.Lane{1}, Until: at(15), After: store.Position{Due: at(10)}, Limit: 10})
		same(t, "after 10, until 15", got, of("o", a))
	}},

	{"a record leaves its lane when its Due or Lane changes, or it is deleted", func(t tester, s store.Store) {
		lanes := func(what string, one, two []store.Record) {
			t.Helper()
			same(t, what+": lane 1", query(t, s, 10, 100, 1), of("o", one...))
			same(t, what+": lane 2", query(t, s, 10, 100, 2), of("o", two...))
		}
		rev := uint64(0)
		change := func(c store.Change) {
			t.Helper()
			c.Owner, c.Rev = "o", rev
			commit(t, s, c)
			rev++
		}
		a, b := due("a", 1, 10), due("b", 1, 20)
		change(store.Change{Put: []store.Record{a, b}})
		lanes("both scheduled", []store.Record{a, b}, nil)
		a.Due = at(30)
		change(store.Change{Put: []store.Record{a}})
		lanes("a moved behind b", []store.Record{b, a}, nil)
		a.Value = []byte("other")
		change(store.Change{Put: []store.Record{a}})
		lanes("a has another value", []store.Record{b, a}, nil)
		a.Lane = 2
		change(store.Change{Put: []store.Record{a}})
		lanes("a moved to lane 2", []store.Record{b}, []store.Record{a})
		a.Due = time.Time{}
		change(store.Change{Put: []store.Record{a}})
		lanes("the Due of a cleared", []store.Record{b}, nil)
		has(t, s, "o", rev, a, b)
		a.Due, a.Lane = at(5), 1
		change(store.Change{Put: []store.Record{a}})
		lanes("a scheduled again", []store.Record{a, b}, nil)
		change(store.Change{Delete: []store.Key{"b"}})
		lanes("b deleted", []store.Record{a}, nil)
		change(store.Change{Delete: []store.Key{"a"}})
		lanes("all deleted", nil, nil)
	}},

	{"a due record has its value and its owner", func(t tester, s store.Store) {
		want := store.Record{Owner: "o", Key: "k", Lane: 3, Due: at(1), Value: []byte(strings.Repeat("v", 10000))}
		commit(t, s, store.Change{Owner: "o", Put: []store.Record{want, put("other", "w")}})
		same(t, "the lane", query(t, s, 10, 1, 3), []store.Record{want})
	}},
}

// comparePlace is the order of a lane.
func comparePlace(a, b store.Record) int {
	if c := a.Due.Compare(b.Due); c != 0 {
		return c
	}
	if c := strings.Compare(string(a.Owner), string(b.Owner)); c != 0 {
		return c
	}
	return strings.Compare(string(a.Key), string(b.Key))
}

var ownersChecks = []check{
	{"owners are listed in byte order, in pages", func(t tester, s store.Store) {
		for _, o := range shuffled(inOrder, 5) {
			commit(t, s, store.Change{Owner: store.Owner(o), Put: []store.Record{put("a", "1"), put("b", "2")}})
		}
		var want []store.Owner
		for _, o := range inOrder {
			want = append(want, store.Owner(o))
		}
		for limit := 1; limit <= len(want)+1; limit += 3 {
			var got []store.Owner
			for after := store.Owner(""); len(got) <= len(want); {
				page := owners(t, s, after, limit)
				got = append(got, page...)
				if len(page) < limit {
					break
				}
				after = page[len(page)-1]
			}
			if !slices.Equal(got, want) {
				t.Fatalf("Owners in pages of %d:\n got %q\nwant %q", limit, got, want)
			}
		}
		for i, after := range want {
			if got := owners(t, s, after, store.MaxRange); !slices.Equal(got, want[i+1:]) {
				t.Fatalf("Owners after %q: %q; want %q", after, got, want[i+1:])
			}
		}
		if got := owners(t, s, "a\x00\x01", 2); !slices.Equal(got, []store.Owner{"a\x00b", "a\x01"}) {
			t.Errorf("Owners after one that is not there: %q; want the next ones", got)
		}
		if got := owners(t, s, store.Owner(strings.Repeat("\xff", store.MaxKey)), 2); len(got) != 0 {
			t.Errorf("Owners after the last that can be: %q; want none", got)
		}
	}},

	{"owners without records are not listed", func(t tester, s store.Store) {
		list := func(what string, want ...store.Owner) {
			t.Helper()
			if got := owners(t, s, "", 10); !slices.Equal(got, want) {
				t.Errorf("Owners, %s: %q; want %q", what, got, want)
			}
		}
		commit(t, s, store.Change{Owner: "a", Put: []store.Record{put("k", "v")}}, store.Change{Owner: "b", Put: []store.Record{put("k", "v"), due("l", 1, 1)}}, store.Change{Owner: "c"})
		list("c had an empty change", "a", "b")
		commit(t, s, store.Change{Owner: "b", Rev: 1, Delete: []store.Key{"k"}})
		list("b has one record", "a", "b")
		commit(t, s, store.Change{Owner: "b", Rev: 2, Delete: []store.Key{"l"}}, store.Change{Owner: "c", Rev: 1, Put: []store.Record{put("k", "v")}})
		list("b has none", "a", "c")
		commit(t, s, store.Change{Owner: "b", Rev: 3, Put: []store.Record{put("m", "v")}})
		list("b has one again", "a", "b", "c")
		commit(t, s, store.Change{Owner: "a", Rev: 1, Put: []store.Record{put("l", "v")}, Delete: []store.Key{"k"}})
		list("a has another one", "a", "b", "c")
	}},
}

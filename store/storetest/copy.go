package storetest

import (
	"slices"

	"github.com/appio-go/appio/store"
)

var copyChecks = []check{
	{"arguments may be changed after the call", func(t tester, s store.Store) {
		value := []byte("value")
		c := []store.Change{{Owner: "o", Put: []store.Record{{Key: "k", Value: value, Lane: 1, Due: at(1)}, put("l", "other")}}}
		commit(t, s, c...)
		copy(value, "VALUE")
		c[0].Put[0].Key, c[0].Put[0].Lane, c[0].Put[0].Due = "x", 2, at(2)
		c[0].Put[1] = put("y", "y")
		want := []store.Record{{Key: "k", Value: []byte("value"), Lane: 1, Due: at(1)}, put("l", "other")}
		has(t, s, "o", 1, want...)
		same(t, "the lane", query(t, s, 10, 10, 1), of("o", want[0]))

		gone := []store.Key{"l"}
		commit(t, s, store.Change{Owner: "o", Rev: 1, Delete: gone})
		gone[0] = "k"
		has(t, s, "o", 2, want[0])
	}},

	{"arguments are not changed by the call", func(t tester, s store.Store) {
		c := []store.Change{
			{Owner: "z", Put: []store.Record{put("b", "1"), put("a", "2")}, Delete: []store.Key{"d", "c"}},
			{Owner: "y", Rev: 9, Put: []store.Record{due("k", 2, 1)}},
			{Owner: "x"},
		}
		try(t, s, c...)
		same(t, "the first change after Commit", c[0].Put, []store.Record{put("b", "1"), put("a", "2")})
		same(t, "the second change after Commit", c[1].Put, []store.Record{due("k", 2, 1)})
		if c[0].Owner != "z" || c[1].Owner != "y" || c[2].Owner != "x" || c[1].Rev != 9 || !slices.Equal(c[0].Delete, []store.Key{"d", "c"}) {
			t.Errorf("Commit changed its argument: %+v", c)
		}
		r := []store.Read{{Owner: "z", Keys: []store.Key{"b", "a"}}, {Owner: "a"}}
		views(t, s, r...)
		if r[0].Owner != "z" || r[1].Owner != "a" || !slices.Equal(r[0].Keys, []store.Key{"b", "a"}) {
			t.Errorf("View changed its argument: %+v", r)
		}
		lanes := []store.Lane{9, 2, 5}
		query(t, s, 1, 1, lanes...)
		if !slices.Equal(lanes, []store.Lane{9, 2, 5}) {
			t.Errorf("Due changed its argument: %d", lanes)
		}
	}},

	{"answers may be changed by who asked", func(t tester, s store.Store) {
		want := []store.Record{due("a", 1, 1), due("b", 1, 2), put("c", "value")}
		commit(t, s, store.Change{Owner: "o", Put: want}, store.Change{Owner: "p", Put: want})
		spoil := func(records []store.Record) {
			for i := range records {
				value := records[i].Value
				clear(value)
				_ = append(value, '!') // must not reach what follows
				records[i] = store.Record{Key: "spoilt"}
			}
		}
		for range 2 {
			got := view(t, s, store.Read{Owner: "o", Keys: []store.Key{"a", "c"}, Range: all}).Records
			same(t, "keys and range", got, of("o", want[0], want[2], want[0], want[1], want[2]))
			spoil(got)
			got = query(t, s, 10, 10, 1)
			same(t, "the lane", got, slices.Concat(of("o", want[0]), of("p", want[0]), of("o", want[1]), of("p", want[1])))
			spoil(got)
			names := owners(t, s, "", 10)
			if !slices.Equal(names, []store.Owner{"o", "p"}) {
				t.Errorf("Owners: %q; want o and p", names)
			}
			clear(names)
		}
	}},

	{"the values of an answer do not touch each other", func(t tester, s store.Store) {
		want := []store.Record{due("a", 1, 1), due("b", 1, 2), due("c", 1, 3)}
		commit(t, s, store.Change{Owner: "o", Put: want})
		for what, got := range map[string][]store.Record{
			"View": view(t, s, store.Read{Owner: "o", Keys: []store.Key{"a", "b"}, Range: store.Range{From: "c", Limit: 1}}).Records,
			"Due":  query(t, s, 10, 10, 1),
		} {
			for _, r := range got {
				_ = append(r.Value, '!')
			}
			same(t, what+", after appending to each value", got, of("o", want...))
		}
	}},
}

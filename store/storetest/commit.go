package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/appio-go/appio/store"
)

var commitChecks = []check{
	{"an owner never changed has revision 0 and no records", func(t tester, s store.Store) {
		has(t, s, "nobody", 0)
		same(t, "keys of an unknown owner", view(t, s, store.Read{Owner: "nobody", Keys: []store.Key{"k"}}).Records, nil)
	}},

	{"a change applies only at the revision that it names", func(t tester, s store.Store) {
		conflict(t, s, store.Change{Owner: "o", Rev: 7, Put: []store.Record{put("k", "early")}})
		has(t, s, "o", 0)
		commit(t, s, store.Change{Owner: "o", Put: []store.Record{put("k", "1")}})
		commit(t, s, store.Change{Owner: "o", Rev: 1, Put: []store.Record{put("k", "2")}})
		for _, rev := range []uint64{0, 1, 3, 1 << 63} {
			conflict(t, s, store.Change{Owner: "o", Rev: rev, Put: []store.Record{put("k", "lost"), put("l", "lost")}})
			conflict(t, s, store.Change{Owner: "o", Rev: rev, Delete: []store.Key{"k"}})
			conflict(t, s, store.Change{Owner: "o", Rev: rev})
		}
		has(t, s, "o", 2, put("k", "2"))
	}},

	{"put creates and replaces, delete deletes what is there", func(t tester, s store.Store) {
		commit(t, s, store.Change{Owner: "o", Put: []store.Record{put("a", "1"), put("b", "1"), put("c", "")}})
		has(t, s, "o", 1, put("a", "1"), put("b", "1"), put("c", ""))
		commit(t, s, store.Change{Owner: "o", Rev: 1, Put: []store.Record{put("b", "longer than before"), put("d", "2")}, Delete: []store.Key{"a"}})
		has(t, s, "o", 2, put("b", "longer than before"), put("c", ""), put("d", "2"))
		commit(t, s, store.Change{Owner: "o", Rev: 2, Put: []store.Record{put("b", "")}, Delete: []store.Key{"a", "never", "d"}})
		has(t, s, "o", 3, put("b", ""), put("c", ""))
	}},

	{"a record put may name its owner", func(t tester, s store.Store) {
		commit(t, s, store.Change{Owner: "o", Put: of("o", put("k", "v"))})
		has(t, s, "o", 1, put("k", "v"))
	}},

	{"every change adds one to the revision, an empty one too", func(t tester, s store.Store) {
		commit(t, s, store.Change{Owner: "o"})
		has(t, s, "o", 1)
		commit(t, s, store.Change{Owner: "o", Rev: 1, Put: []store.Record{put("k", "v"), put("l", "v")}})
		has(t, s, "o", 2, put("k", "v"), put("l", "v"))
		commit(t, s, store.Change{Owner: "o", Rev: 2})
		commit(t, s, store.Change{Owner: "o", Rev: 3, Delete: []store.Key{"never"}})
		has(t, s, "o", 4, put("k", "v"), put("l", "v"))
		commit(t, s, store.Change{Owner: "o", Rev: 4, Put: []store.Record{put("k", "v")}})
		has(t, s, "o", 5, put("k", "v"), put("l", "v"))
	}},

	{"an owner without records keeps its revision", func(t tester, s store.Store) {
		commit(t, s, store.Change{Owner: "o", Put: []store.Record{put("k", "v")}})
		commit(t, s, store.Change{Owner: "o", Rev: 1, Delete: []store.Key{"k"}})
		has(t, s, "o", 2)
		conflict(t, s, store.Change{Owner: "o", Put: []store.Record{put("k", "from before the deletion")}})
		commit(t, s, store.Change{Owner: "o", Rev: 2, Put: []store.Record{put("k", "w")}})
		has(t, s, "o", 3, put("k", "w"))
	}},

	{"a conflict leaves the other changes of the call alone", func(t tester, s store.Store) {
		commit(t, s, store.Change{Owner: "b", Put: []store.Record{put("k", "1")}}, store.Change{Owner: "d", Put: []store.Record{put("k", "1")}})
		errs := try(t, s,
			store.Change{Owner: "e", Put: []store.Record{put("k", "e")}}, // owners not in order: answers are
			store.Change{Owner: "d", Put: []store.Record{put("k", "2")}},
			store.Change{Owner: "a", Put: []store.Record{put("k", "a")}},
			store.Change{Owner: "b", Rev: 1, Put: []store.Record{put("k", "2")}},
			store.Change{Owner: "c", Rev: 4, Put: []store.Record{put("k", "c")}},
		)
		for i, want := range []bool{false, true, false, false, true} {
			if got := errors.Is(errs[i], store.ErrConflict); got != want {
				t.Errorf("change %d: error %v; is it a conflict: want %t", i, errs[i], want)
			}
		}
		has(t, s, "a", 1, put("k", "a"))
		has(t, s, "b", 2, put("k", "2"))
		has(t, s, "c", 0)
		has(t, s, "d", 1, put("k", "1"))
		has(t, s, "e", 1, put("k", "e"))
	}},

	{"a change is applied whole or not at all", func(t tester, s store.Store) {
		records := func(from int, value string) (put []store.Record) {
			for i := range 100 {
				put = append(put, store.Record{Key: store.Key(fmt.Sprintf("%03d", from+i)), Value: []byte(value), Lane: 3, Due: at(from + i)})
			}
			return put
		}
		first, second := records(0, "1"), records(100, "2")
		commit(t, s, store.Change{Owner: "o", Put: first})
		has(t, s, "o", 1, first...)
		whole := store.Change{Owner: "o", Put: second, Delete: keys(first)}
		conflict(t, s, whole)
		has(t, s, "o", 1, first...)
		same(t, "the lane after a refused change", query(t, s, 1000, 1000, 3), of("o", first...))
		whole.Rev = 1
		commit(t, s, whole)
		has(t, s, "o", 2, second...)
		same(t, "the lane after the change", query(t, s, 1000, 1000, 3), of("o", second...))
	}},

	{"no changes are no error", func(t tester, s store.Store) {
		commit(t, s)
		if got := owners(t, s, "", 10); len(got) != 0 {
			t.Errorf("Owners of a new store: %q; want none", got)
		}
	}},

	{"values have any size up to the limit", func(t tester, s store.Store) {
		var want []store.Record
		for i, size := range []int{0, 1, 255, 4095, 4096, 4097, 65535, 65536, 1<<20 - 1, store.MaxValue} {
			value := bytes.Repeat([]byte{byte(i), 0xff, 0}, size/3+1)[:size]
			want = append(want, store.Record{Key: store.Key(fmt.Sprintf("%02d", i)), Value: value})
		}
		commit(t, s, store.Change{Owner: "o", Put: want})
		has(t, s, "o", 1, want...)
		for i := range want { // each now of another size, most of them smaller
			want[i].Value = want[len(want)-1-i].Value[:len(want[len(want)-1-i].Value)/2]
		}
		commit(t, s, store.Change{Owner: "o", Rev: 1, Put: want})
		has(t, s, "o", 2, want...)
	}},

	{"owners and keys have any bytes, up to the limit", func(t tester, s store.Store) {
		names := []string{"\x00", "\x00\x00", "\xff", "\xff\xff", "\xc3\x28", "\n", "/", "%", "'", strings.Repeat("\x00", store.MaxKey), strings.Repeat("\xff", store.MaxKey)}
		for _, name := range names {
			var records []store.Record
			for i, key := range names {
				records = append(records, store.Record{Key: store.Key(key), Lane: 9, Due: at(i), Value: []byte(name + key)})
			}
			commit(t, s, store.Change{Owner: store.Owner(name), Put: records})
		}
		for _, name := range names {
			for _, key := range names {
				read := store.Read{Owner: store.Owner(name), Keys: []store.Key{store.Key(key)}}
				got := view(t, s, read).Records
				if len(got) != 1 || got[0].Key != store.Key(key) || got[0].Owner != store.Owner(name) || string(got[0].Value) != name+key {
					t.Errorf("owner %.9q, key %.9q: got%s", name, key, text(got))
				}
			}
		}
		if got := query(t, s, 1000, 1000, 9); len(got) != len(names)*len(names) {
			t.Errorf("Due returned %d records; want %d", len(got), len(names)*len(names))
		}
	}},
}

// conflict makes a change that must be refused.
func conflict(t tester, s store.Store, c store.Change) {
	t.Helper()
	if err := try(t, s, c)[0]; !errors.Is(err, store.ErrConflict) {
		t.Errorf("Commit of a change of owner %q that names revision %d, which it is not at: %v; want ErrConflict", c.Owner, c.Rev, err)
	}
}

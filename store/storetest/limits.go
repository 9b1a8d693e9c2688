package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio/store"
)

// The longest name, and one that is too long.
var (
	longName = strings.Repeat("n", store.MaxKey)
	tooLong  = longName + "n"
)

// invalidChanges are changes of one owner "o", or calls that hold one, that break a rule of the contract.
func invalidChanges() map[string][]store.Change {
	one := func(c store.Change) []store.Change { return []store.Change{c} }
	puts := func(records ...store.Record) []store.Change { return one(store.Change{Owner: "o", Put: records}) }
	dueAt := func(due time.Time) []store.Change { return puts(store.Record{Key: "k", Due: due}) }
	return map[string][]store.Change{
		"an owner twice":                   {{Owner: "o"}, {Owner: "p"}, {Owner: "o"}},
		"an owner of no bytes":             one(store.Change{}),
		"an owner too long":                one(store.Change{Owner: store.Owner(tooLong)}),
		"a key of no bytes put":            puts(put("", "v")),
		"a key of no bytes deleted":        one(store.Change{Owner: "o", Delete: []store.Key{""}}),
		"a key too long put":               puts(put(store.Key(tooLong), "v")),
		"a key too long deleted":           one(store.Change{Owner: "o", Delete: []store.Key{store.Key(tooLong)}}),
		"a key put twice":                  puts(put("k", "1"), put("l", "1"), put("k", "2")),
		"a key deleted twice":              one(store.Change{Owner: "o", Delete: []store.Key{"k", "l", "k"}}),
		"a key put and deleted":            one(store.Change{Owner: "o", Put: []store.Record{put("k", "1")}, Delete: []store.Key{"l", "k"}}),
		"a record of another owner":        puts(of("p", put("k", "v"))...),
		"a value too large":                puts(store.Record{Key: "k", Value: make([]byte, store.MaxValue+1)}),
		"a due of 1970-01-01":              dueAt(time.Unix(0, 0)),
		"a due before 1970":                dueAt(time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC)),
		"a due that is cut to 1970":        dueAt(time.Unix(0, 999)),
		"a due of the year 10000":          dueAt(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)),
		"a due of the year 292,000":        dueAt(time.Date(292000, 1, 1, 0, 0, 0, 0, time.UTC)),
		"a due of the year 300,000,000":    dueAt(time.Date(300000000, 1, 1, 0, 0, 0, 0, time.UTC)),
		"too many records":                 puts(records(store.MaxRecords+1, 1)...),
		"too many records put and deleted": one(store.Change{Owner: "o", Put: records(store.MaxRecords, 1), Delete: []store.Key{"k"}}),
		"a change too large":               puts(records(5, store.MaxChange/5)...),
		"too many changes":                 changes(store.MaxChanges+1, nil),
		"a call too large":                 changes(17, records(4, store.MaxChange/4-100)),
	}
}

// records returns n records with values of that size.
func records(n, size int) []store.Record {
	rs := make([]store.Record, n)
	value := slices.Repeat([]byte("v"), size)
	for i := range rs {
		rs[i] = store.Record{Key: store.Key(fmt.Sprintf("key %06d", i)), Value: value}
	}
	return rs
}

// changes returns n changes of different owners.
func changes(n int, puts []store.Record) []store.Change {
	cs := make([]store.Change, n)
	for i := range cs {
		cs[i] = store.Change{Owner: store.Owner(fmt.Sprintf("owner %06d", i)), Put: puts}
	}
	return cs
}

var limitChecks = []check{
	{"changes outside the limits are invalid, and nothing of their call is applied", func(t tester, s store.Store) {
		kept := put("kept", "v")
		commit(t, s, store.Change{Owner: "other", Put: []store.Record{kept}})
		for rule, invalid := range invalidChanges() {
			call := invalid
			if rule != "too many changes" && rule != "a call too large" { // in company, so that a store cannot stop half way
				call = append([]store.Change{{Owner: "a", Put: []store.Record{put("k", "v")}}}, invalid...)
				call = append(call, store.Change{Owner: "other", Rev: 1, Delete: []store.Key{"kept"}})
			}
			errs, err := s.Commit(t.Context(), call)
			if !errors.Is(err, store.ErrInvalid) || !errors.Is(err, store.ErrAborted) {
				t.Errorf("Commit with %s: error %v; want ErrInvalid, which is an ErrAborted too", rule, err)
			}
			if errs != nil && len(errs) != len(call) {
				t.Errorf("Commit with %s: %d answers to %d changes; want nil, or one each", rule, len(errs), len(call))
			}
			for _, o := range []store.Owner{"a", "o", "p", call[0].Owner, call[len(call)-1].Owner} {
				if o != "" && len(o) <= store.MaxKey && o != "other" {
					has(t, s, o, 0)
				}
			}
			has(t, s, "other", 1, kept)
		}
		if got := owners(t, s, "", 10); !slices.Equal(got, []store.Owner{"other"}) {
			t.Errorf("Owners after nothing but invalid calls: %q; want what was there before", got)
		}
	}},

	{"changes within the limits are made", func(t tester, s store.Store) {
		full := records(store.MaxRecords, 0)
		size := (store.MaxChange - len(longName)) / store.MaxRecords
		for i := range full {
			full[i].Value = make([]byte, size-len(full[i].Key))
		}
		commit(t, s, store.Change{Owner: store.Owner(longName), Put: full})
		commit(t, s, store.Change{Owner: store.Owner(longName), Rev: 1, Delete: keys(full)})
		has(t, s, store.Owner(longName), 2)

		many := changes(store.MaxChanges, []store.Record{put("k", "v")})
		commit(t, s, shuffled(many, 6)...)
		reads := make([]store.Read, store.MaxReads)
		for i := range reads {
			reads[i] = store.Read{Owner: many[i].Owner, Range: all}
		}
		for i, got := range views(t, s, shuffled(reads, 7)...) {
			if got.Rev != 1 || len(got.Records) != 1 {
				t.Fatalf("owner %d of %d, all changed by one call: revision %d, %d records; want 1 and 1", i, len(many), got.Rev, len(got.Records))
			}
		}

		large := changes(store.MaxCommit/store.MaxChange, records(4, store.MaxChange/4-100))
		for i := range large {
			large[i].Rev = 1
		}
		commit(t, s, large...)
		has(t, s, large[15].Owner, 2, append([]store.Record{put("k", "v")}, large[15].Put...)...)
	}},

	{"reads outside the limits are invalid", func(t tester, s store.Store) {
		many := make([]store.Read, store.MaxReads+1)
		for i := range many {
			many[i].Owner = store.Owner(fmt.Sprint(i))
		}
		for rule, reads := range map[string][]store.Read{
			"an owner twice":         {{Owner: "o"}, {Owner: "p"}, {Owner: "o"}},
			"an owner of no bytes":   {{Owner: "o"}, {}},
			"an owner too long":      {{Owner: store.Owner(tooLong)}},
			"a key of no bytes":      {{Owner: "o", Keys: []store.Key{"k", ""}}},
			"a key too long":         {{Owner: "o", Keys: []store.Key{store.Key(tooLong)}}},
			"too many keys":          {{Owner: "o", Keys: slices.Repeat([]store.Key{"k"}, store.MaxRange+1)}},
			"a negative limit":       {{Owner: "o", Range: store.Range{Limit: -1}}},
			"a limit too high":       {{Owner: "o", Range: store.Range{Limit: store.MaxRange + 1}}},
			"a start of range":       {{Owner: "o", Range: store.Range{From: store.Key(tooLong + "n")}}},
			"an end of range":        {{Owner: "o", Range: store.Range{To: store.Key(tooLong + "n")}}},
			"too many reads at once": many,
		} {
			if _, err := s.View(t.Context(), reads); !errors.Is(err, store.ErrInvalid) {
				t.Errorf("View with %s: error %v; want ErrInvalid", rule, err)
			}
		}
	}},

	{"queries of lanes outside the limits are invalid", func(t tester, s store.Store) {
		lanes, after := []store.Lane{1}, store.Position{Due: at(1), Owner: "o", Key: "k"}
		for rule, q := range map[string]store.DueQuery{
			"no limit":                   {Lanes: lanes, Until: at(1)},
			"a negative limit":           {Lanes: lanes, Until: at(1), Limit: -1},
			"a limit too high":           {Lanes: lanes, Until: at(1), Limit: store.MaxRange + 1},
			"a lane twice":               {Lanes: []store.Lane{1, 2, 1}, Until: at(1), Limit: 1},
			"after in two lanes":         {Lanes: []store.Lane{1, 2}, Until: at(1), Limit: 1, After: after},
			"after in no lane":           {Until: at(1), Limit: 1, After: after},
			"after an owner too long":    {Lanes: lanes, Until: at(1), Limit: 1, After: store.Position{Owner: store.Owner(tooLong)}},
			"after a key too long":       {Lanes: lanes, Until: at(1), Limit: 1, After: store.Position{Key: store.Key(tooLong)}},
			"until the year 10000":       {Lanes: lanes, Until: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), Limit: 1},
			"until the year 300,000,000": {Lanes: lanes, Until: time.Date(300000000, 1, 1, 0, 0, 0, 0, time.UTC), Limit: 1},
			"until the year 0":           {Lanes: lanes, Until: time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC), Limit: 1},
			"after the year 10000":       {Lanes: lanes, Until: at(1), Limit: 1, After: store.Position{Due: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		} {
			if _, err := s.Due(t.Context(), q); !errors.Is(err, store.ErrInvalid) {
				t.Errorf("Due with %s: error %v; want ErrInvalid", rule, err)
			}
		}
	}},

	{"a page of owners outside the limits is invalid", func(t tester, s store.Store) {
		for _, limit := range []int{-1, 0, store.MaxRange + 1} {
			if _, err := s.Owners(t.Context(), "", limit); !errors.Is(err, store.ErrInvalid) {
				t.Errorf("Owners with limit %d: error %v; want ErrInvalid", limit, err)
			}
		}
		if _, err := s.Owners(t.Context(), store.Owner(tooLong), 1); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("Owners after one too long: error %v; want ErrInvalid", err)
		}
	}},
}

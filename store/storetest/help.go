package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio/store"
)

// at returns the n-th microsecond of a time that all checks count from.
func at(n int) time.Time {
	return time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Microsecond)
}

// all is a range of all records that a check can have made.
var all = store.Range{Limit: store.MaxRange}

// put returns a record that is not scheduled.
func put(key store.Key, value string) store.Record {
	return store.Record{Key: key, Value: []byte(value)}
}

// due returns a record scheduled at(n).
func due(key store.Key, lane store.Lane, n int) store.Record {
	return store.Record{Key: key, Lane: lane, Due: at(n), Value: []byte(key)}
}

// commit makes changes, all of which must succeed.
func commit(t tester, s store.Store, changes ...store.Change) {
	t.Helper()
	for i, err := range try(t, s, changes...) {
		if err != nil {
			t.Fatalf("Commit: change %d of %d, of owner %q at its revision %d, has error %v; want nil", i, len(changes), changes[i].Owner, changes[i].Rev, err)
		}
	}
}

// try makes changes, some of which may be refused, and returns an answer for each.
func try(t tester, s store.Store, changes ...store.Change) []error {
	t.Helper()
	errs, err := s.Commit(t.Context(), changes)
	if err != nil {
		t.Fatalf("Commit of %d valid changes: error %v; want nil", len(changes), err)
	}
	if errs == nil {
		return make([]error, len(changes))
	}
	if len(errs) != len(changes) {
		t.Fatalf("Commit of %d changes returned %d answers; want nil, or as many as changes", len(changes), len(errs))
	}
	for i, err := range errs {
		if err != nil && !errors.Is(err, store.ErrConflict) {
			t.Fatalf("Commit: change %d has error %v; the answer of a change is nil or ErrConflict", i, err)
		}
	}
	return errs
}

// view reads one owner.
func view(t tester, s store.Store, r store.Read) store.Snapshot {
	t.Helper()
	return views(t, s, r)[0]
}

// views reads owners.
func views(t tester, s store.Store, reads ...store.Read) []store.Snapshot {
	t.Helper()
	snapshots, err := s.View(t.Context(), reads)
	if err != nil {
		t.Fatalf("View of %d valid reads: error %v; want nil", len(reads), err)
	}
	if len(snapshots) != len(reads) {
		t.Fatalf("View of %d reads returned %d snapshots; want one per read", len(reads), len(snapshots))
	}
	return snapshots
}

// has checks all that is stored of an owner.
func has(t tester, s store.Store, o store.Owner, rev uint64, want ...store.Record) {
	t.Helper()
	got := view(t, s, store.Read{Owner: o, Range: all})
	if got.Rev != rev {
		t.Errorf("owner %q has revision %d; want %d", o, got.Rev, rev)
	}
	same(t, fmt.Sprintf("owner %q", o), got.Records, of(o, want...))
}

// of returns records with their owner, as a store returns them.
func of(o store.Owner, records ...store.Record) []store.Record {
	records = slices.Clone(records)
	for i := range records {
		records[i].Owner = o
	}
	return records
}

// query asks for the heads of lanes, until at(until).
func query(t tester, s store.Store, limit, until int, lanes ...store.Lane) []store.Record {
	t.Helper()
	return dueOf(t, s, store.DueQuery{Lanes: lanes, Until: at(until), Limit: limit})
}

func dueOf(t tester, s store.Store, q store.DueQuery) []store.Record {
	t.Helper()
	records, err := s.Due(t.Context(), q)
	if err != nil {
		t.Fatalf("Due of %d lanes, valid: error %v; want nil", len(q.Lanes), err)
	}
	return records
}

// owners returns a page of owners.
func owners(t tester, s store.Store, after store.Owner, limit int) []store.Owner {
	t.Helper()
	names, err := s.Owners(t.Context(), after, limit)
	if err != nil {
		t.Fatalf("Owners(%q, %d): error %v; want nil", after, limit, err)
	}
	return names
}

// same checks records and their order, and reports whether they are as wanted.
func same(t tester, what string, got, want []store.Record) bool {
	t.Helper()
	i := firstDifference(got, want)
	if i >= 0 {
		t.Errorf("%s: %d records, want %d; they differ from record %d on:\n got%s\nwant%s", what, len(got), len(want), i, text(got[i:]), text(want[i:]))
	}
	return i < 0
}

// firstDifference returns the index of the first record that is not as wanted, -1 if there is none.
func firstDifference(got, want []store.Record) int {
	for i := range min(len(got), len(want)) {
		if !equal(got[i], want[i]) {
			return i
		}
	}
	if len(got) != len(want) {
		return min(len(got), len(want))
	}
	return -1
}

// equal tells nil and empty values not apart, as the contract does not.
func equal(a, b store.Record) bool {
	return a.Owner == b.Owner && a.Key == b.Key && a.Lane == b.Lane && a.Due.Equal(b.Due) && bytes.Equal(a.Value, b.Value)
}

// text shows the first few records.
func text(records []store.Record) string {
	var b strings.Builder
	for i, r := range records {
		if i == 4 {
			fmt.Fprintf(&b, " and %d more", len(records)-i)
			break
		}
		fmt.Fprintf(&b, " {%.40q %.40q lane %d", r.Owner, r.Key, r.Lane)
		if !r.Due.IsZero() {
			fmt.Fprintf(&b, " due %s", r.Due.Format(time.RFC3339Nano))
		}
		fmt.Fprintf(&b, " value %.20q of %d bytes}", r.Value, len(r.Value))
	}
	if len(records) == 0 {
		return " nothing"
	}
	return b.String()
}

// keys returns the keys of records.
func keys(records []store.Record) []store.Key {
	ks := make([]store.Key, len(records))
	for i, r := range records {
		ks[i] = r.Key
	}
	return ks
}

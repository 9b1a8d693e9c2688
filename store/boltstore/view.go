package boltstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/appio-go/appio/store"
)

// readsAtOnce is how many owners are read in one transaction, all of one moment.
const readsAtOnce = 256

// View implements [store.Store].
func (s *Store) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if err := store.CheckReads(reads); err != nil {
		return nil, err
	}
	snapshots := make([]store.Snapshot, len(reads))
	for start := 0; start < len(reads); start += readsAtOnce {
		end := min(start+readsAtOnce, len(reads))
		if err := s.read(reads[start:end], snapshots[start:end]); err != nil {
			return nil, err
		}
	}
	return snapshots, nil
}

// read takes snapshots in one transaction: first all entries, then their values.
func (s *Store) read(reads []store.Read, snapshots []store.Snapshot) error {
	firsts := make([]*owned, len(reads))
	return s.look(func(first *table) {
		for i := range reads {
			firsts[i] = first.owners[reads[i].Owner].part(&reads[i])
		}
	}, func(v *snapshot) error {
		values := newValues(reads)
		var w ownerView
		for i := range reads {
			v.owner(&w, reads[i].Owner, firsts[i])
			if err := s.readOwner(&w, &reads[i], &snapshots[i], &values); err != nil {
				return err
			}
		}
		return values.read(&v.log)
	})
}

// readOwner takes a snapshot of one owner, without values.
func (s *Store) readOwner(w *ownerView, r *store.Read, shot *store.Snapshot, values *values) (err error) {
	rev, below, err := w.rev()
	if err != nil {
		return err
	}
	if below {
		s.revs.put(r.Owner, rev, w.epoch)
	}
	if rev == 0 {
		return nil
	}
	shot.Rev = rev
	if len(r.Keys) > 0 {
		shot.Records = make([]store.Record, 0, len(r.Keys))
	}
	for _, k := range r.Keys {
		e, ok, err := w.find(k)
		if err != nil {
			return err
		}
		if ok {
			values.add(&shot.Records, r.Owner, &e, true)
		}
	}
	q := &r.Range
	if q.Limit == 0 || q.To != "" && q.From >= q.To {
		return nil
	}
	entries, err := w.scan(q.From, q.To, q.Limit, q.Descending)
	for i := range entries {
		values.add(&shot.Records, r.Owner, &entries[i], !q.KeysOnly)
	}
	return err
}

// changed returns what the first table of a snapshot has of a record by now, nil if it has nothing; it had it at the snapshot's moment
// if that is from a change which the snapshot counts.
func (s *Store) changed(v *snapshot, o store.Owner, k store.Key) *entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := v.first.owners[o].find(k)
	if e == nil {
		return nil
	}
	found := *e
	return &found
}

// part returns a copy of what r asks for: of its range as much as can be among the first records, if nothing else has any.
func (o *owned) part(r *store.Read) *owned {
	if o == nil {
		return nil
	}
	var found []entry
	for _, k := range r.Keys {
		if e := o.find(k); e != nil {
			found = append(found, *e)
		}
	}
	if q := &r.Range; q.Limit > 0 {
		there := 0
		for s := newTableSource(&o.entries, q.From, q.To, q.Descending); s.current() != nil && there < q.Limit; s.next() {
			found = append(found, *s.current())
			if !s.current().gone {
				there++
			}
		}
	}
	p := &owned{name: o.name, rev: o.rev, moved: o.moved}
	if len(found) > 0 {
		slices.SortFunc(found, func(a, b entry) int { return strings.Compare(string(a.key), string(b.key)) })
		p.entries.chunks = [][]entry{slices.CompactFunc(found, func(a, b entry) bool { return a.key == b.key })}
	}
	return p
}

// A values is which values are still to be read into records.
type values struct {
	wanted []wanted
	size   int
}

type wanted struct {
	records *[]store.Record
	record  int
	entry   entry
}

func newValues(reads []store.Read) (v values) {
	n := 0
	for i := range reads {
		n += len(reads[i].Keys)
	}
	v.wanted = make([]wanted, 0, n)
	return v
}

// add appends the record of an entry.
func (v *values) add(records *[]store.Record, o store.Owner, e *entry, withValue bool) {
	*records = append(*records, store.Record{Owner: o, Key: e.key, Lane: e.lane, Due: timeOf(e.due)})
	if withValue {
		v.wanted = append(v.wanted, wanted{records, len(*records) - 1, *e})
		v.size += int(e.size)
	}
}

// read sets the values, all in one piece of memory.
func (v *values) read(log *logReader) error {
	room := make([]byte, 0, v.size)
	for i := range v.wanted {
		w := &v.wanted[i]
		r := &(*w.records)[w.record]
		start := len(room)
		var err error
		if room, err = log.value(room, r.Owner, &w.entry); err != nil {
			return err
		}
		r.Value = room[start:len(room):len(room)]
	}
	return nil
}

// view calls f with a transaction that reads; what f keeps of it must be copied. The caller holds mu, or is the writer, when
// the transaction begins.
func (s *Store) view(f func(tx *bolt.Tx) error) error {
	if down := s.down.Load(); down != nil {
		return *down
	}
	err := contain(func() error {
		tx, err := s.file.db.Begin(false)
		if err != nil {
			return err
		}
		return errors.Join(f(tx), tx.Rollback())
	})
	var panicked *panicError
	switch {
	case errors.As(err, &panicked):
		s.breakDown(err)
		return err
	case err == nil, errors.Is(err, store.ErrCorrupt):
		return err
	}
	return fmt.Errorf("boltstore: read: %w", pathless(err))
}

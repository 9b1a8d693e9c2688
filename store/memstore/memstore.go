// Package memstore keeps a [store.Store] in memory: for tests, simulations and programs that may forget. It is complete and
// fast, with as many records and owners as memory holds, but nothing outlives the process or Close.
//
// An owner without records is remembered by its revision, some hundred bytes, as long as the store is open.
package memstore

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/appio-go/appio/store"
)

// New returns an empty store. It holds no resource but memory, which Close frees.
func New() store.Store {
	return &memory{owners: map[store.Owner]*owner{}, lanes: map[store.Lane]*list[*record]{}}
}

// A memory is all owners under one lock, which is held for a commit, and for one read at a time.
type memory struct {
	mu     sync.RWMutex
	closed bool
	owners map[store.Owner]*owner // each that was ever changed
	names  list[store.Owner]      // those that have records
	lanes  map[store.Lane]*list[*record]
}

type owner struct {
	rev     uint64
	records list[*record] // by key
}

// A record never changes once it is in the store: a put replaces it. So its value may be copied without the lock.
type record struct {
	owner store.Owner
	key   store.Key
	value []byte
	due   int64 // microseconds since 1970; 0: in no lane
	lane  store.Lane
}

func (m *memory) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	if err := m.ready(ctx); err != nil {
		return nil, err
	}
	if err := store.CheckReads(reads); err != nil {
		return nil, err
	}
	snapshots := make([]store.Snapshot, len(reads))
	for i := range reads {
		m.mu.RLock()
		if m.closed {
			m.mu.RUnlock()
			return nil, store.ErrClosed
		}
		if o := m.owners[reads[i].Owner]; o != nil {
			snapshots[i] = o.read(&reads[i])
		}
		m.mu.RUnlock()
		copyValues(snapshots[i].Records)
	}
	return snapshots, nil
}

// read returns a snapshot whose values are those of the store.
func (o *owner) read(r *store.Read) store.Snapshot {
	s := store.Snapshot{Rev: o.rev}
	if len(r.Keys) > 0 {
		s.Records = make([]store.Record, 0, len(r.Keys))
	}
	for _, k := range r.Keys {
		if found, ok := o.records.at(o.records.seek(beforeKey(k))); ok && found.key == k {
			s.Records = append(s.Records, found.public())
		}
	}
	q := r.Range
	if q.Limit == 0 {
		return s
	}
	add := func(found *record) bool {
		record := found.public()
		if q.KeysOnly {
			record.Value = nil
		}
		s.Records = append(s.Records, record)
		q.Limit--
		return q.Limit > 0
	}
	if q.Descending {
		end := place{len(o.records.chunks), 0}
		if q.To != "" {
			end = o.records.seek(beforeKey(q.To))
		}
		for found := range o.records.before(end) {
			if found.key < q.From || !add(found) {
				break
			}
		}
		return s
	}
	for found := range o.records.from(o.records.seek(beforeKey(q.From))) {
		if q.To != "" && found.key >= q.To || !add(found) {
			break
		}
	}
	return s
}

func (m *memory) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	if err := store.Check(changes); err != nil {
		return nil, err
	}
	puts := make([][]*record, len(changes)) // made before the lock is taken
	for i := range changes {
		puts[i] = newRecords(&changes[i])
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, store.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrAborted, err)
	}
	var errs []error
	for i := range changes {
		if m.apply(&changes[i], puts[i]) {
			continue
		}
		if errs == nil {
			errs = make([]error, len(changes))
		}
		errs[i] = store.ErrConflict
	}
	return errs, nil
}

// newRecords copies what c puts.
func newRecords(c *store.Change) []*record {
	records := make([]*record, len(c.Put))
	for i := range c.Put {
		p := &c.Put[i]
		records[i] = &record{owner: c.Owner, key: p.Key, value: bytes.Clone(p.Value), lane: p.Lane}
		if !p.Due.IsZero() {
			records[i].due = p.Due.UnixMicro()
		}
	}
	return records
}

// apply makes the change and reports true, or does nothing if the owner is at another revision.
func (m *memory) apply(c *store.Change, puts []*record) bool {
	o := m.owners[c.Owner]
	if o == nil {
		if c.Rev != 0 {
			return false
		}
		o = &owner{}
		m.owners[c.Owner] = o
	}
	if o.rev != c.Rev {
		return false
	}
	o.rev++
	had := !o.records.empty()
	for _, k := range c.Delete {
		p := o.records.seek(beforeKey(k))
		if old, ok := o.records.at(p); ok && old.key == k {
			m.unschedule(old)
			o.records.remove(p)
		}
	}
	for _, r := range puts {
		p := o.records.seek(beforeKey(r.key))
		if old, ok := o.records.at(p); ok && old.key == r.key {
			m.unschedule(old)
			o.records.replace(p, r)
		} else {
			o.records.insert(p, r)
		}
		m.schedule(r)
	}
	if has := !o.records.empty(); has != had {
		p := m.names.seek(func(name store.Owner) bool { return name < c.Owner })
		if has {
			m.names.insert(p, c.Owner)
		} else {
			m.names.remove(p)
		}
	}
	return true
}

func (m *memory) schedule(r *record) {
	if r.due == 0 {
		return
	}
	lane := m.lanes[r.lane]
	if lane == nil {
		lane = &list[*record]{}
		m.lanes[r.lane] = lane
	}
	lane.insert(lane.seek(beforeDue(r.due, r.owner, r.key)), r)
}

func (m *memory) unschedule(r *record) {
	if r.due == 0 {
		return
	}
	lane := m.lanes[r.lane]
	lane.remove(lane.seek(beforeDue(r.due, r.owner, r.key)))
	if lane.empty() {
		delete(m.lanes, r.lane)
	}
}

func (m *memory) Due(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
	if err := m.ready(ctx); err != nil {
		return nil, err
	}
	if err := store.CheckDue(q); err != nil {
		return nil, err
	}
	var due []store.Record
	for _, name := range q.Lanes {
		m.mu.RLock()
		if m.closed {
			m.mu.RUnlock()
			return nil, store.ErrClosed
		}
		if lane := m.lanes[name]; lane != nil {
			due = readLane(due, lane, &q)
		}
		m.mu.RUnlock()
	}
	copyValues(due)
	return due, nil
}

// readLane appends the records of one lane that q asks for, with the values of the store.
func readLane(due []store.Record, lane *list[*record], q *store.DueQuery) []store.Record {
	after, until, left := q.After, q.Until.UnixMicro(), q.Limit
	isAfter := beforeDue(after.Due.UnixMicro(), after.Owner, after.Key)
	for r := range lane.from(lane.seek(isAfter)) {
		if r.due > until || left == 0 {
			break
		}
		if r.due == after.Due.UnixMicro() && r.owner == after.Owner && r.key == after.Key {
			continue
		}
		due = append(due, r.public())
		left--
	}
	return due
}

func (m *memory) Owners(ctx context.Context, after store.Owner, limit int) ([]store.Owner, error) {
	if err := m.ready(ctx); err != nil {
		return nil, err
	}
	if err := store.CheckOwners(after, limit); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, store.ErrClosed
	}
	var names []store.Owner
	for name := range m.names.from(m.names.seek(func(name store.Owner) bool { return name <= after })) {
		if names = append(names, name); len(names) == limit {
			break
		}
	}
	return names, nil
}

func (m *memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.owners, m.names, m.lanes = true, nil, list[store.Owner]{}, nil
	return nil
}

// ready returns why no read can be: the context has ended, or the store is closed.
func (m *memory) ready(ctx context.Context) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return store.ErrClosed
	}
	return ctx.Err()
}

// public returns r as it is told to the outside, its value still that of the store.
func (r *record) public() store.Record {
	p := store.Record{Owner: r.owner, Key: r.key, Lane: r.lane, Value: r.value}
	if r.due != 0 {
		p.Due = time.UnixMicro(r.due).UTC()
	}
	return p
}

// copyValues gives each record a value of its own, all in one piece of memory.
func copyValues(records []store.Record) {
	size := 0
	for i := range records {
		size += len(records[i].Value)
	}
	room := make([]byte, 0, size)
	for i := range records {
		if value := &records[i].Value; *value != nil {
			start := len(room)
			room = append(room, *value...)
			*value = slices.Clip(room[start:])
		}
	}
}

// beforeKey seeks the first record with a key not below k.
func beforeKey(k store.Key) func(*record) bool {
	return func(r *record) bool { return r.key < k }
}

// beforeDue seeks the first record of a lane not before these three.
func beforeDue(due int64, o store.Owner, k store.Key) func(*record) bool {
	return func(r *record) bool {
		if r.due != due {
			return r.due < due
		}
		if r.owner != o {
			return r.owner < o
		}
		return r.key < k
	}
}

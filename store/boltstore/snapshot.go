package boltstore

import (
	"bytes"
	"slices"
	"sync"

	bolt "go.etcd.io/bbolt"

	"github.com/appio-go/appio/store"
)

// A snapshot finds entries in the tables and runs of one moment, and their values in the log. All it uses is as it was when
// its transaction began, but for the first table, which goes on growing: of that one, who reads takes a part beforehand.
type snapshot struct {
	first  *table
	count  uint32 // of the first table's changes
	older  []*table
	runs   []runReader // newest first
	blocks blockFinder
	log    logReader
	cursor blockCursor
	epoch  uint64
}

// snapshots keeps what was used.
var snapshots = sync.Pool{New: func() any { return new(snapshot) }}

// look calls take with the first table, which cannot change meanwhile, and then find with a snapshot of that moment.
func (s *Store) look(take func(first *table), find func(v *snapshot) error) error {
	s.mu.RLock()
	locked := true
	defer func() {
		if locked {
			s.mu.RUnlock()
		}
	}()
	return s.view(func(tx *bolt.Tx) error {
		v := s.snapshot(tx)
		take(v.first)
		s.mu.RUnlock()
		locked = false
		if s.opts.looked != nil {
			s.opts.looked()
		}
		err := find(v)
		v.release()
		return err
	})
}

// snapshot is called by who holds mu, or by the writer.
func (s *Store) snapshot(tx *bolt.Tx) *snapshot {
	v := snapshots.Get().(*snapshot)
	v.first, v.count, v.older, v.epoch = s.tables[0], s.tables[0].count, s.tables[1:], s.epoch
	v.blocks.c, v.log.c = tx.Bucket(bucketRuns).Cursor(), tx.Bucket(bucketLog).Cursor()
	for _, r := range slices.Backward(s.state.runs) {
		v.runs = append(v.runs, runReader{run: r, blocks: &v.blocks})
	}
	return v
}

// release gives v back, when nothing of it is used any more.
func (v *snapshot) release() {
	clear(v.runs)
	*v = snapshot{runs: v.runs[:0], blocks: blockFinder{key: v.blocks.key}, cursor: blockCursor{place: v.cursor.place[:0]}}
	snapshots.Put(v)
}

// An ownerView finds what is there of one owner.
type ownerView struct {
	*snapshot
	place []byte   // of the owner; what follows it is for keys
	owned []*owned // of the tables that have it
	fresh bool     // the first of them is of the first table
	runs  []*runReader
}

// owner makes w find what is there of an owner; first is what was taken of the first table.
func (v *snapshot) owner(w *ownerView, o store.Owner, first *owned) {
	w.snapshot, w.place, w.owned, w.runs = v, appendOwner(w.place[:0], o), w.owned[:0], w.runs[:0]
	if w.fresh = first != nil; w.fresh {
		w.owned = append(w.owned, first)
	}
	for _, t := range v.older {
		if x := t.owners[o]; x != nil {
			w.owned = append(w.owned, x)
		}
	}
	h := hash(w.place[1:])
	for i := range v.runs {
		if v.runs[i].run.filter.has(h) {
			w.runs = append(w.runs, &v.runs[i])
		}
	}
}

// rev returns the revision; below says that it is of what is below the first table.
func (w *ownerView) rev() (rev uint64, below bool, err error) {
	below = !w.fresh
	for _, x := range w.owned {
		if !x.moved {
			return x.rev, below, nil
		}
	}
	for _, r := range w.runs {
		b, ok, err := r.get(&w.cursor, w.place)
		if err != nil {
			return 0, false, err
		}
		if ok {
			rev, err := decodeRevision(b)
			return rev, below, err
		}
	}
	return 0, below, nil
}

// find returns the entry of a key; ok is false if there is none.
func (w *ownerView) find(k store.Key) (e entry, ok bool, err error) {
	for _, x := range w.owned {
		if e := x.find(k); e != nil {
			return *e, !e.gone, nil
		}
	}
	n := len(w.place)
	w.place = append(w.place, k...)
	defer func() { w.place = w.place[:n] }()
	for _, r := range w.runs {
		b, ok, err := r.get(&w.cursor, w.place)
		if err != nil {
			return e, false, err
		}
		if ok {
			e, err = decodeEntry(b)
			e.key = k
			return e, err == nil && !e.gone, err
		}
	}
	return e, false, nil
}

// scan returns up to limit entries with from <= key < to, or the last ones of them backwards.
func (w *ownerView) scan(from, to store.Key, limit int, descending bool) ([]entry, error) {
	var sources []source
	for _, x := range w.owned {
		sources = append(sources, newTableSource(&x.entries, from, to, descending))
	}
	for _, r := range w.runs {
		s := &runSource{reader: r, prefix: len(w.place), descending: descending}
		s.from = append(bytes.Clone(w.place), max(from, "\x00")...) // no key is below that; the owner's own place is
		if to == "" {
			s.to = pastOwner(bytes.Clone(w.place))
		} else {
			s.to = append(bytes.Clone(w.place), to...)
		}
		if err := s.start(); err != nil {
			return nil, err
		}
		sources = append(sources, s)
	}
	var found []entry
	for len(found) < limit {
		var first *entry
		for _, s := range sources {
			if e := s.current(); e != nil && (first == nil || (e.key < first.key) != descending && e.key != first.key) {
				first = e
			}
		}
		if first == nil {
			break
		}
		e := *first
		for _, s := range sources {
			if x := s.current(); x != nil && x.key == e.key {
				if err := s.next(); err != nil {
					return nil, err
				}
			}
		}
		if !e.gone {
			found = append(found, e)
		}
	}
	return found, nil
}

// A source is a range of one table or run, in order.
type source interface {
	current() *entry // nil at the end
	next() error
}

type tableSource struct {
	l          *list[entry]
	at         spot
	from, to   store.Key
	descending bool
	ended      bool
}

func newTableSource(l *list[entry], from, to store.Key, descending bool) *tableSource {
	s := &tableSource{l: l, from: from, to: to, descending: descending}
	switch {
	case !descending:
		s.at = l.seek(func(e *entry) bool { return e.key < from })
	case to == "":
		s.at = l.end()
		s.next()
	default:
		s.at = l.seek(func(e *entry) bool { return e.key < to })
		s.next()
	}
	return s
}

func (s *tableSource) current() *entry {
	if s.ended {
		return nil
	}
	e := s.l.at(s.at)
	if e == nil || e.key < s.from || s.to != "" && e.key >= s.to {
		return nil
	}
	return e
}

func (s *tableSource) next() error {
	if s.descending {
		at, ok := s.l.before(s.at)
		s.at, s.ended = at, !ok
	} else {
		s.at = s.l.after(s.at)
	}
	return nil
}

// A runSource keeps the entries of one block that are in its range: the current one is the first, or the last if descending.
type runSource struct {
	reader     *runReader
	prefix     int    // bytes of a place that come before the key
	from, to   []byte // places: from <= place < to
	descending bool
	entries    []entry
	low, high  []byte // the block has the places above low and not above high
}

func (s *runSource) current() *entry {
	switch {
	case len(s.entries) == 0:
		return nil
	case s.descending:
		return &s.entries[len(s.entries)-1]
	default:
		return &s.entries[0]
	}
}

func (s *runSource) next() error {
	if s.descending {
		s.entries = s.entries[:len(s.entries)-1]
	} else {
		s.entries = s.entries[1:]
	}
	if len(s.entries) > 0 {
		return nil
	}
	return s.refill()
}

// start goes to the first entry.
func (s *runSource) start() error {
	place := s.from
	if s.descending {
		place = s.to
		if last := s.reader.run.last; bytes.Compare(place, last) > 0 {
			place = last
		}
	}
	if ok, err := s.load(place); !ok || err != nil || len(s.entries) > 0 {
		return err
	}
	return s.refill()
}

// refill goes on to blocks until there are entries, or no blocks.
func (s *runSource) refill() error {
	for len(s.entries) == 0 {
		place := s.low // the last place of the block before
		if s.descending {
			if bytes.Compare(place, s.from) < 0 || len(place) == 0 {
				return nil
			}
		} else {
			if bytes.Compare(s.high, s.to) >= 0 {
				return nil
			}
			place = append(bytes.Clone(s.high), 0)
		}
		if ok, err := s.load(place); !ok || err != nil {
			return err
		}
	}
	return nil
}

// load takes the entries of the block that would hold place; ok is false if that is after the run.
func (s *runSource) load(place []byte) (ok bool, err error) {
	if ok, err = s.reader.find(place); !ok || err != nil {
		return ok, err
	}
	k := &s.reader.block
	s.entries, s.low, s.high = s.entries[:0], k.low, k.high
	var c blockCursor
	for ok := c.seek(k, s.from); ok && bytes.Compare(c.place, s.to) < 0; ok = c.next() {
		e, err := decodeEntry(c.payload)
		if err != nil {
			return false, err
		}
		e.key = store.Key(c.place[s.prefix:])
		s.entries = append(s.entries, e)
	}
	return true, nil
}

package boltstore

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"iter"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// When the last runs are fewer than mergeAtLeast, or one is more than mergeRatio times as large as all after it together, they
// are left as they are. So a place is written anew some two times for each time that the store grows by half.
const (
	mergeAtLeast = 4
	mergeRatio   = 2
)

// mergeable returns how many of the first runs are to be left.
func mergeable(runs []*run) (from int, ok bool) {
	after := uint64(0)
	for from = len(runs); from > 0; from-- {
		if size := runs[from-1].size; after > 0 && size > mergeRatio*after {
			break
		} else {
			after += size
		}
	}
	return from, len(runs)-from >= mergeAtLeast
}

// mergeRuns merges runs until they are few, or one.
func (s *Store) mergeRuns(one bool) error {
	for {
		runs := s.state.runs // changed by the keeper only
		from, ok := mergeable(runs)
		if one && len(runs) > 1 {
			from, ok = 0, true
		}
		if !ok {
			return nil
		}
		if err := s.breathe(); err != nil {
			return err
		}
		if err := s.merge(runs[from:], from == 0); err != nil {
			return err
		}
		if err := s.sweep(); err != nil {
			return err
		}
	}
}

// merge replaces runs that follow each other by one; all says that none is before them.
func (s *Store) merge(runs []*run, all bool) error {
	m := s.newMerger(nil, runs, all)
	b := s.newRun(s.breathe)
	if err := m.merge(b.add); err != nil {
		return err
	}
	r, err := b.finish()
	if err != nil {
		return err
	}
	return s.do(func() error {
		next := s.state
		i := slices.Index(next.runs, runs[0])
		var made []*run
		if r != nil {
			made = []*run{r}
		}
		next.runs = slices.Concat(next.runs[:i], made, next.runs[i+len(runs):])
		segs := slices.Clone(s.segments)
		for piece, size := range m.dead {
			if g := segs.find(piece * pieceSize); g != nil {
				g.dead, g.changed = g.dead+size, true
			}
		}
		return s.turn(next, segs, s.tables)
	})
}

// A merger merges streams of places: of those that are the same the newest counts.
type merger struct {
	store   *Store
	tables  []*table
	runs    []*run
	streams []*stream          // newest first
	all     bool               // there is nothing older: what says that a record is gone can go itself
	dead    map[uint64]uint64  // bytes of values no longer in use, by piece of the log
	moved   map[[2]uint64]bool // places in lanes, hashed, that records are no longer at
	more    bool               // there are more of them: records must be looked up
	place   []byte
}

// newMerger merges tables, newest first, and then runs, newest last.
func (s *Store) newMerger(tables []*table, runs []*run, all bool) *merger {
	m := &merger{store: s, tables: tables, runs: runs, all: all, dead: map[uint64]uint64{}, moved: map[[2]uint64]bool{}}
	for _, t := range tables {
		x := &stream{}
		x.pull, x.stop = iter.Pull2(t.places())
		m.streams = append(m.streams, x)
	}
	for _, r := range slices.Backward(runs) {
		m.streams = append(m.streams, &stream{s: s, run: r})
	}
	return m
}

// close ends the streams of tables.
func (m *merger) close() {
	for _, x := range m.streams {
		if x.stop != nil {
			x.stop()
		}
	}
}

// movedShare is how many bytes of Options.Memory there are for each place that is remembered as moved.
const movedShare = 256

var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func (m *merger) merge(emit func(place, payload []byte) error) error {
	for _, x := range m.streams {
		if err := x.next(); err != nil {
			return err
		}
	}
	for {
		var first *stream
		for _, x := range m.streams {
			if !x.ended && (first == nil || bytes.Compare(x.place, first.place) < 0) {
				first = x
			}
		}
		if first == nil {
			return nil
		}
		if err := m.pass(first, emit); err != nil {
			return err
		}
		for _, x := range m.streams { // the first one last: its place is compared with
			if x != first && !x.ended && bytes.Equal(x.place, first.place) {
				if err := m.drop(x, first); err != nil {
					return err
				}
				if err := x.next(); err != nil {
					return err
				}
			}
		}
		if err := first.next(); err != nil {
			return err
		}
	}
}

// pass emits the current place of x, if it is still of use.
func (m *merger) pass(x *stream, emit func(place, payload []byte) error) error {
	switch {
	case x.place[0] == placeDue:
		if m.moved[hashPlace(x.place)] {
			return nil
		}
		if m.more {
			if due, err := m.due(x.place); !due || err != nil {
				return err
			}
		}
	case m.all && x.payload[0] == 0: // a record that is gone
		return nil
	}
	return emit(x.place, x.payload)
}

// due looks up whether the record is still due at a place in a lane, by what is merged.
func (m *merger) due(place []byte) (is bool, err error) {
	lane, it, ok := splitDue(place)
	if !ok {
		return false, damaged("a lane")
	}
	err = m.store.look(func(*table) {}, func(v *snapshot) error {
		v.older = m.tables
		v.runs = slices.DeleteFunc(v.runs, func(r runReader) bool { return !slices.Contains(m.runs, r.run) })
		var w ownerView
		v.owner(&w, it.owner, nil)
		e, ok, err := w.find(it.key)
		is = ok && e.due == it.due && e.lane == lane
		return err
	})
	return is, err
}

// drop forgets the current place of x, for which newer has something newer.
func (m *merger) drop(x, newer *stream) error {
	if x.place[0] != placeOwner || x.payload[0]&flagPut == 0 {
		return nil
	}
	old, err := decodeEntry(x.payload)
	if err != nil {
		return err
	}
	now, err := decodeEntry(newer.payload)
	if err != nil {
		return err
	}
	if old.size > 0 && (now.gone || now.addr != old.addr) {
		m.dead[old.addr/pieceSize] += uint64(old.size)
	}
	if old.due != 0 && (now.gone || now.due != old.due || now.lane != old.lane) {
		b := binary.BigEndian.AppendUint16(append(m.place[:0], placeDue), uint16(old.lane))
		b = binary.BigEndian.AppendUint64(b, old.due)
		m.place = append(b, x.place[1:]...)
		if m.more = m.more || len(m.moved) >= m.store.opts.Memory/movedShare; !m.more {
			m.moved[hashPlace(m.place)] = true
		}
	}
	return nil
}

func hashPlace(place []byte) [2]uint64 {
	return [2]uint64{maphash.Bytes(seeds[0], place), maphash.Bytes(seeds[1], place)}
}

// A stream is all places of a table or a run, in order. The blocks of a run are copied, some at a time.
type stream struct {
	pull   func() (place, payload []byte, ok bool) // of a table
	stop   func()
	s      *Store
	run    *run
	blocks []block
	high   []byte // last place of the last block
	blockCursor
	ended bool
}

// streamBlocks is how many blocks are copied at a time.
const streamBlocks = 32

// next moves on; place and payload are valid until it is called again.
func (x *stream) next() error {
	if x.pull != nil {
		var ok bool
		x.place, x.payload, ok = x.pull()
		x.ended = !ok
		return nil
	}
	if x.blockCursor.next() {
		return nil
	}
	if len(x.blocks) == 0 {
		if x.ended = bytes.Equal(x.high, x.run.last); x.ended {
			return nil
		}
		if err := x.fill(); err != nil {
			return err
		}
	}
	k := &x.blocks[0]
	x.b, x.place, x.blocks = k.entries[k.offset(0):], x.place[:0], x.blocks[1:]
	x.blockCursor.next()
	return nil
}

// fill copies the blocks that follow.
func (x *stream) fill() error {
	return x.s.view(func(tx *bolt.Tx) error {
		id := runKey(nil, x.run.id, nil)
		c := tx.Bucket(bucketRuns).Cursor()
		from := id
		if len(x.high) > 0 {
			from = append(runKey(nil, x.run.id, x.high), 0)
		}
		k, v := c.Seek(from)
		for ; len(x.blocks) < streamBlocks && bytes.HasPrefix(k, id); k, v = c.Next() {
			b, err := readBlock(bytes.Clone(k), bytes.Clone(v))
			if err != nil {
				return err
			}
			if !bytes.Equal(b.low, x.high) {
				return damaged("a run")
			}
			x.high = b.high
			x.blocks = append(x.blocks, b)
		}
		if len(x.blocks) == 0 {
			return damaged("a run")
		}
		return nil
	})
}

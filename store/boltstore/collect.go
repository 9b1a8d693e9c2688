package boltstore

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/appio-go/appio/store"
)

// collect deletes the segments of the log that are sparse; what is still in use of them is appended to the log first. If it
// must, it takes more of them.
func (s *Store) collect(must bool) error {
	var sparse []segment
	if err := s.do(func() error {
		sparse = s.segments.sparse(s.state.mark, must)
		return nil
	}); err != nil {
		return err
	}
	for _, g := range sparse {
		if err := s.breathe(); err != nil {
			return err
		}
		for {
			moves, err := s.inUse(g)
			if err != nil {
				return err
			}
			if len(moves) == 0 {
				break
			}
			if err := s.do(func() error { return s.move(moves) }); err != nil {
				return err
			}
		}
		if err := s.do(func() error { return s.forget(g) }); err != nil {
			return err
		}
	}
	return nil
}

// inUse returns changes that put again, as they are, the records whose values are in the segment.
func (s *Store) inUse(g segment) (moves []change, err error) {
	err = s.look(func(*table) {}, func(v *snapshot) error {
		var w ownerView
		for at := g.start; ; {
			x, next, ok, err := v.log.change(at, g.end)
			if err != nil || !ok {
				return err
			}
			at = next
			v.owner(&w, x.owner, nil)
			var puts []store.Record
			for i := range x.entries {
				e := &x.entries[i]
				if e.size == 0 {
					continue
				}
				now, ok, err := w.find(e.key)
				if err != nil {
					return err
				}
				if !ok || now.addr != x.at+e.addr || s.changed(v, x.owner, e.key) != nil {
					continue
				}
				value, err := v.log.value(nil, x.owner, &now)
				if err != nil {
					return err
				}
				puts = append(puts, store.Record{Key: now.key, Lane: now.lane, Due: timeOf(now.due), Value: value})
			}
			if len(puts) > 0 {
				moves = append(moves, encodeMove(x.owner, puts))
			}
		}
	})
	return moves, err
}

// move makes changes that are moves. One that the first table has a record of is left: it may be out of date. The writer
// calls it.
func (s *Store) move(moves []change) error {
	var made []*change
	for i := range moves {
		c := &moves[i]
		o := s.tables[0].owners[c.owner]
		if !slices.ContainsFunc(c.entries, func(e entry) bool { return o.find(e.key) != nil }) {
			made = append(made, c)
		}
	}
	if len(made) == 0 {
		return nil
	}
	if err := s.explain(s.append(made, noSpare)); err != nil {
		return err
	}
	s.apply(made)
	return nil
}

// forget deletes a segment. The writer calls it.
func (s *Store) forget(g segment) error {
	err := s.update(need{step: "forget"}, func(tx *bolt.Tx) error {
		key, _ := g.encode()
		if err := tx.Bucket(bucketSegments).Delete(key); err != nil {
			return err
		}
		_, err := deleteKeys(tx.Bucket(bucketLog), pieceKey(g.start/pieceSize), pieceKey((g.end+pieceSize-1)/pieceSize), math.MaxInt)
		return err
	})
	if err == nil {
		s.segments = s.segments.without(g.start)
	}
	return err
}

// deleteKeys deletes the keys from one up to another, of at most about size bytes with their values; more says that some are left.
func deleteKeys(b *bolt.Bucket, from, to []byte, size int) (more bool, err error) {
	var keys [][]byte
	c := b.Cursor()
	for k, v := c.Seek(from); k != nil && bytes.Compare(k, to) < 0; k, v = c.Next() {
		if more = size <= 0; more {
			break
		}
		keys = append(keys, bytes.Clone(k))
		size -= len(k) + len(v)
	}
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return false, err
		}
	}
	return more, nil
}

// sweep deletes the runs that are not part of the state: those that were merged, and those that were not finished.
func (s *Store) sweep() error {
	for _, name := range [][]byte{bucketRuns, bucketFilters} {
		unknown, err := s.unknownRuns(name)
		if err != nil {
			return err
		}
		for _, id := range unknown {
			if err := s.deleteRun(name, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// unknownRuns returns the runs of a bucket that are not part of the state.
func (s *Store) unknownRuns(name []byte) (unknown []uint64, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(name).Cursor()
		for next := uint64(0); ; {
			k, _ := c.Seek(runKey(nil, next, nil))
			if k == nil {
				return nil
			}
			if len(k) < 8 || binary.BigEndian.Uint64(k) < next || binary.BigEndian.Uint64(k) == math.MaxUint64 {
				return damaged("a run")
			}
			id := binary.BigEndian.Uint64(k)
			if !slices.ContainsFunc(s.state.runs, func(r *run) bool { return r.id == id }) {
				unknown = append(unknown, id)
			}
			next = id + 1
		}
	})
	return unknown, err
}

// deleteRun deletes what a bucket has of a run, a part at a time.
func (s *Store) deleteRun(name []byte, id uint64) error {
	for more := true; more; {
		if err := s.do(func() error {
			return s.update(need{step: "sweep"}, func(tx *bolt.Tx) (err error) {
				more, err = deleteKeys(tx.Bucket(name), runKey(nil, id, nil), runKey(nil, id+1, nil), 2*partsSize(s.opts.Memory))
				return err
			})
		}); err != nil {
			return err
		}
		if err := s.breathe(); err != nil {
			return err
		}
	}
	return nil
}

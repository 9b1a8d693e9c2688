package boltstore

import (
	"encoding/binary"

	bolt "go.etcd.io/bbolt"

	"github.com/appio-go/appio/store"
)

// A content is an open file and what is kept in memory of it.
type content struct {
	file     *file
	tables   []*table // what is not yet in runs, newest first: one that grows and at most one that does not
	state    state
	nextRun  uint64 // number of the next run; the keeper changes it
	segments segments
	tail     tail
	room     []byte // for what is appended to the log
	cut      bool   // the next change begins a segment
	frozen   uint64 // address in the log after what the second table holds
}

// openContent opens a file and reads of it what is kept in memory.
func openContent(path string, opts *Options) (c content, err error) {
	if err := contain(func() error { return inspect(path, opts) }); err != nil {
		return content{}, foreign(err)
	}
	for range 3 {
		f := &file{hook: opts.hook}
		err = contain(func() error {
			if err := f.open(path, opts); err != nil {
				return err
			}
			c, err = f.load()
			return err
		})
		if err != nil {
			f.abandon()
			return content{}, foreign(err)
		}
		if f.isAt(path) {
			return c, nil
		}
		f.close(false) // it was replaced while we waited for its lock
	}
	return content{}, store.ErrLocked
}

// load reads what is kept in memory of a file: its state, filters and segments, and in a table what the log has after the
// state's mark.
func (f *file) load() (c content, err error) {
	c = content{file: f, tables: []*table{newTable()}, cut: true}
	err = f.db.View(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketLog, bucketSegments, bucketRuns, bucketFilters} {
			if tx.Bucket(name) == nil {
				return damaged("the buckets")
			}
		}
		if c.state, err = decodeState(tx.Bucket(bucketMeta).Get(keyState)); err != nil {
			return err
		}
		for _, r := range c.state.runs {
			if r.filter, err = readFilter(tx.Bucket(bucketFilters), r); err != nil {
				return err
			}
		}
		// Numbers of runs that were not finished are not used again: they are still to be deleted.
		for _, name := range [][]byte{bucketRuns, bucketFilters} {
			if k, _ := tx.Bucket(name).Cursor().Last(); len(k) >= 8 {
				c.nextRun = max(c.nextRun, binary.BigEndian.Uint64(k)+1)
			}
		}
		if c.segments, err = readSegments(tx.Bucket(bucketSegments)); err != nil {
			return err
		}
		return c.replay(tx.Bucket(bucketLog))
	})
	return c, err
}

func readSegments(b *bolt.Bucket) (all segments, err error) {
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		g, err := decodeSegment(k, v)
		if err != nil {
			return nil, err
		}
		if n := len(all); n > 0 && all[n-1].end > g.start {
			return nil, damaged("a segment")
		}
		all = append(all, g)
	}
	return all, nil
}

// replay makes the changes of the log again that are not yet in runs.
func (c *content) replay(b *bolt.Bucket) (err error) {
	if c.tail, err = readTail(b, c.state.mark); err != nil {
		return err
	}
	r := logReader{c: b.Cursor()}
	for at, end := c.state.mark, c.tail.end(); ; {
		x, next, ok, err := r.change(at, end)
		if err != nil || !ok {
			return err
		}
		c.made(&x, next)
		c.tables[0].apply(&x, c.segments.kill)
		at = next
	}
}

// made counts a change that is in the log, up to end, into its segment.
func (c *content) made(x *change, end uint64) {
	if x.at%pieceSize == 0 && (c.cut || c.full(x.at)) {
		c.segments = append(c.segments, segment{start: x.at})
		c.cut = false
	}
	g := &c.segments[len(c.segments)-1]
	g.end, g.changed = end, true
	for i := range x.entries {
		g.values += uint64(x.entries[i].size)
	}
}

// full reports whether the last segment should end at an address.
func (c *content) full(at uint64) bool {
	n := len(c.segments)
	return n == 0 || at-c.segments[n-1].start >= segmentSize
}

// nextSegment returns the address at which the next change begins that begins a segment.
func (c *content) nextSegment() uint64 {
	x := extent{c.tail.piece, c.tail.b}
	x.cut()
	return x.end()
}

// maxRoom is the most bytes of memory that is kept for what is appended to the log.
const maxRoom = 16 << 20

// append writes changes to the log, and says in them where they are; spare is what must be left of the room in the file.
func (c *content) append(made []*change, spare share) error {
	size := len(c.tail.b)
	for _, x := range made {
		size += len(x.frame) + len(x.frame)/segmentSize*pieceSize
	}
	if cap(c.room) < size || cap(c.room) > maxRoom {
		c.room = make([]byte, 0, size+size/4+pieceSize)
	}
	x := extent{c.tail.piece, append(c.room[:0], c.tail.b...)}
	start, cut := uint64(0), c.cut
	if n := len(c.segments); n > 0 {
		start = c.segments[n-1].start
	}
	for _, m := range made {
		if cut || x.end()-start >= segmentSize {
			x.cut()
			start, cut = x.end(), false
		}
		m.at = x.frame(m.frame)
	}
	var end tail
	err := c.file.update(need{"append", len(x.b), spare}, func(tx *bolt.Tx) (err error) {
		end, err = x.write(tx.Bucket(bucketLog))
		return err
	})
	if err == nil {
		c.tail = end
	}
	return err
}

// turn writes a state, which the caller then makes the current one; added is the run that the file has no filter of yet.
func (c *content) turn(next state, added *run, segs segments) error {
	n := need{step: "turn"}
	if added != nil {
		n.bytes = len(added.filter)
	}
	err := c.file.update(n, func(tx *bolt.Tx) error {
		if added != nil {
			if err := added.filter.write(tx.Bucket(bucketFilters), added.id); err != nil {
				return err
			}
		}
		for i := range segs {
			if g := &segs[i]; g.changed && g.end <= next.mark {
				if err := tx.Bucket(bucketSegments).Put(g.encode()); err != nil {
					return err
				}
			}
		}
		return tx.Bucket(bucketMeta).Put(keyState, next.encode())
	})
	if err != nil {
		return err
	}
	for i := range segs {
		segs[i].changed = segs[i].changed && segs[i].end > next.mark
	}
	c.segments = segs
	return nil
}

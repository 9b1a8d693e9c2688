package boltstore

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"

	bolt "go.etcd.io/bbolt"

	"github.com/appio-go/appio/store"
)

// A content is an open file and what is kept in memory of it.
type content struct {
	file     *file
	tables   []*table // what is not yet in runs, newest first: one that grows and at most one that does not
	state    state
	runs     uint64 // how many runs there have been, or more; the keeper changes it
	segments segments
	tail     tail
	room     []byte // for what is appended to the log
	cut      bool   // the next change begins a segment
	leap     uint64 // piece that the next change begins in; 0: that of the tail
	frozen   uint64 // address in the log after what the second table holds
}

// openContent opens a file and reads of it what is kept in memory.
func openContent(path string, opts *Options) (c content, err error) {
	var idle int64
	if err := contain(func() (err error) {
		idle, err = inspect(path, opts)
		return err
	}); err != nil {
		return content{}, foreign(err)
	}
	for range 3 {
		f := &file{hook: opts.hook, idle: idle}
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
		for _, name := range buckets {
			if tx.Bucket(name) == nil {
				return damaged("the buckets")
			}
		}
		if err := checkClock(tx); err != nil {
			return err
		}
		if c.state, err = decodeState(tx.Bucket(bucketMeta).Get(keyState)); err != nil {
			return err
		}
		for _, r := range c.state.runs {
			if r.filter, err = readFilter(tx.Bucket(bucketFilters), r); err != nil {
				return err
			}
		}
		// Runs that were not finished count: they are still to be deleted.
		for _, name := range [][]byte{bucketRuns, bucketFilters} {
			if k, _ := tx.Bucket(name).Cursor().Last(); len(k) >= 8 {
				c.runs = max(c.runs, binary.BigEndian.Uint64(k)>>runNoise+1)
			}
		}
		if c.segments, err = readSegments(tx.Bucket(bucketSegments)); err != nil {
			return err
		}
		return c.replay(tx.Bucket(bucketLog))
	})
	c.jump()
	return c, err
}

// jump makes the next change begin a segment, in a piece that is not used yet, nor was in a transaction that failed.
func (c *content) jump() {
	unused := c.nextSegment()
	if c.state.mark > c.tail.end() {
		c.tail = tail{piece: c.state.mark / pieceSize}
	}
	c.cut, c.leap = true, c.tail.piece+2+rand.Uint64N(maxLeap)
	if c.frozen == unused {
		c.frozen = c.nextSegment()
	}
}

// leapt counts a leap that is in the log, from at to end, into a segment; after it another one begins.
func (c *content) leapt(at, end uint64) {
	if at%pieceSize == 0 {
		c.segments = append(c.segments, segment{start: at})
	}
	g := &c.segments[len(c.segments)-1]
	g.end, g.changed, c.cut = end, true, true
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
		if r.leap > at {
			c.leapt(at, r.leap)
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
	c.tables[0].logged += end - x.at
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
	if c.leap != 0 {
		return c.leap * pieceSize
	}
	x := extent{piece: c.tail.piece, b: c.tail.b}
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
	var before extent // what ends with a leap
	x := extent{piece: c.tail.piece, b: append(c.room[:0], c.tail.b...)}
	if c.leap != 0 {
		x = extent{piece: c.leap, b: c.room[:0]}
		if c.state.mark <= c.tail.end() {
			before = extent{piece: c.tail.piece, b: bytes.Clone(c.tail.b)}
			before.frame(newLeap(c.leap))
		}
	}
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
	err := c.file.update(need{"append", len(before.b) + len(x.b), spare}, func(tx *bolt.Tx) (err error) {
		begun := len(c.tail.b) > 0
		if len(before.b) > 0 {
			if _, err := before.write(tx.Bucket(bucketLog), begun); err != nil {
				return err
			}
		}
		end, err = x.write(tx.Bucket(bucketLog), begun && c.leap == 0)
		return err
	})
	if err != nil {
		c.jump()
		return err
	}
	if len(before.b) > 0 {
		c.leapt(c.tail.end(), before.end())
	}
	c.tail, c.leap = end, 0
	return nil
}

// turn writes a state, which the caller then makes the current one.
func (c *content) turn(next state, segs segments) error {
	err := c.file.update(need{step: "turn"}, func(tx *bolt.Tx) error {
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

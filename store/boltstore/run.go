package boltstore

import (
	"bytes"
	"encoding/binary"

	bolt "go.etcd.io/bbolt"

	"github.com/appio-go/appio/store"
)

// The payload of an owner's place is its revision, that of a record's place is an entry, and a placeDue has none. They begin
// with flags.
const (
	flagPut       = 1 // a record that is there, not one that is gone
	flagScheduled = 2
	flagRevision  = 4
)

func appendRevision(b []byte, rev uint64) []byte {
	return binary.AppendUvarint(append(b, flagRevision), rev)
}

func decodeRevision(b []byte) (uint64, error) {
	d := decoder{b: b}
	flags, rev := d.uint(), d.uint()
	if flags != flagRevision || d.bad || len(d.b) > 0 {
		return 0, damaged("a revision")
	}
	return rev, nil
}

// appendEntry appends the payload of a record.
func appendEntry(b []byte, e *entry) []byte {
	switch {
	case e.gone:
		return append(b, 0)
	case e.due != 0:
		b = binary.AppendUvarint(append(b, flagPut|flagScheduled), e.due)
	default:
		b = append(b, flagPut)
	}
	b = binary.AppendUvarint(b, uint64(e.lane))
	b = binary.AppendUvarint(b, uint64(e.size))
	if e.size > 0 {
		b = binary.AppendUvarint(b, e.addr)
	}
	return b
}

// decodeEntry is the inverse of appendEntry; the key is not set.
func decodeEntry(b []byte) (e entry, err error) {
	d := decoder{b: b}
	flags := d.uint()
	e.gone = flags&flagPut == 0
	if flags&flagScheduled != 0 {
		e.due = d.uint()
	}
	if !e.gone {
		e.lane, e.size = store.Lane(d.uint()), uint32(d.uint())
		if e.size > 0 {
			e.addr = d.uint()
		}
	}
	if d.bad || len(d.b) > 0 {
		return e, damaged("an entry")
	}
	return e, nil
}

// runKey appends the key of the block of a run that ends with place.
func runKey(b []byte, id uint64, place []byte) []byte {
	return append(binary.BigEndian.AppendUint64(b, id), place...)
}

// A blockFinder finds blocks in a transaction.
type blockFinder struct {
	c   *bolt.Cursor
	key []byte
}

// A runReader finds blocks of a run, and keeps the last one.
type runReader struct {
	run    *run
	blocks *blockFinder
	block
}

// find makes the block current that would hold place, and reports false if that is after all places of the run.
func (r *runReader) find(place []byte) (bool, error) {
	if r.holds(place) {
		return true, nil
	}
	if bytes.Compare(place, r.run.last) > 0 {
		return false, nil
	}
	key := runKey(r.blocks.key[:0], r.run.id, place)
	r.blocks.key = key
	k, v := r.blocks.c.Seek(key)
	if len(k) < 8 || !bytes.Equal(k[:8], key[:8]) {
		return false, damaged("a run")
	}
	var err error
	if r.block, err = readBlock(k, v); err != nil {
		return false, err
	}
	if !r.holds(place) {
		return false, damaged("a run")
	}
	return true, nil
}

// get returns the payload of a place.
func (r *runReader) get(c *blockCursor, place []byte) (payload []byte, ok bool, err error) {
	if ok, err := r.find(place); !ok || err != nil {
		return nil, false, err
	}
	if c.seek(&r.block, place) && bytes.Equal(c.place, place) {
		return c.payload, true, nil
	}
	return nil, false, nil
}

// A part is a block and the key that it is written under.
type part struct{ key, block []byte }

// partsSize is how many bytes of blocks are written in one transaction, about: less for a store of little memory.
func partsSize(memory int) int { return min(memory/64, 1<<20) }

// A runBuilder makes the blocks of a run, of places given in order, and then its filter, and hands their parts on in turn.
type runBuilder struct {
	run
	most  int // bytes of parts at which they are handed on
	hand  func(bucket []byte, parts []part) error
	block blockBuilder
	parts []part
	size  int      // of parts
	owner []byte   // place of the last owner
	marks []uint64 // hashes of all owners, of which the filter is made
}

func newRunBuilder(id uint64, most int, hand func(bucket []byte, parts []part) error) *runBuilder {
	b := &runBuilder{run: run{id: id}, most: most, hand: hand}
	b.block.reset(nil)
	return b
}

func (b *runBuilder) add(place, payload []byte) error {
	if place[0] == placeOwner && (len(b.owner) == 0 || !bytes.HasPrefix(place, b.owner)) {
		n := nameSize(place[1:])
		if n < 0 {
			return damaged("a place")
		}
		b.owner = append(b.owner[:0], place[:1+n]...)
		b.marks = append(b.marks, hash(b.owner[1:]))
	}
	b.block.add(place, payload)
	if !b.block.full() {
		return nil
	}
	return b.endBlock()
}

func (b *runBuilder) endBlock() error {
	key, block := b.block.finish(b.id)
	b.last = key[8:]
	b.run.size += uint64(len(block))
	b.block.reset(b.last)
	return b.take(bucketRuns, part{key, block})
}

// take hands on what there is of a bucket, once it is enough.
func (b *runBuilder) take(bucket []byte, p part) error {
	b.parts = append(b.parts, p)
	if b.size += len(p.block); b.size < b.most {
		return nil
	}
	return b.flush(bucket)
}

func (b *runBuilder) flush(bucket []byte) error {
	parts := b.parts
	b.parts, b.size = nil, 0
	if len(parts) == 0 {
		return nil
	}
	return b.hand(bucket, parts)
}

// finish hands on what is left, and returns the run: nil if it has no place.
func (b *runBuilder) finish() (*run, error) {
	if b.block.n > 0 {
		if err := b.endBlock(); err != nil {
			return nil, err
		}
	}
	if err := b.flush(bucketRuns); err != nil {
		return nil, err
	}
	if b.last == nil {
		return nil, nil
	}
	r := b.run
	r.owners = uint64(len(b.marks))
	r.filter = newFilter(len(b.marks))
	for _, h := range b.marks {
		r.filter.mark(h)
	}
	for i := 0; ; i++ {
		p, ok := r.filter.part(r.id, i)
		if !ok {
			return &r, b.flush(bucketFilters)
		}
		if err := b.take(bucketFilters, p); err != nil {
			return nil, err
		}
	}
}

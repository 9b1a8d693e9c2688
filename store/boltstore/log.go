package boltstore

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	bolt "go.etcd.io/bbolt"

	"github.com/appio-go/appio/store"
)

// The log is one stream of bytes, the frames of all changes in the order in which they were made. Values stay where they are
// written, so an address in the stream never means anything else. The stream is cut into pieces of equal size; the last one
// grows, which costs nothing, as bbolt writes the page of the last key anew in any case. Where much is written at once, full
// pieces of one segment stand together as a chunk, under the number of the last of them: fewer pages, fewer writes, and less to
// look at when the file is opened. Where the stream ends is said by the sequence of its bucket, so that no end is missed.
//
// A frame does not begin in the last bytes of a piece where not even a gap has room: those are zero. A gap is a frame that says
// that the rest of its piece is empty, a leap is one that says at which piece the log goes on. Each Open leaps, by chance: what
// a transaction wrote that a crash undid, and that is still on the disk, has addresses that are not used again.

const (
	pieceSize  = 8160        // two pieces, their keys and the header of a page fill four pages of 4 KiB
	chunkSize  = 8           // pieces
	chunkAfter = 5           // pieces that must follow a chunk in its transaction, as the last ones are soon written anew
	frameHead  = headerStart // the least that a frame takes
)

// gap is a header of no owner.
var gap = func() []byte {
	b := []byte{0, 0, 0, 0, headerStart, 0, 0, 0, kindGap}
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return b
}()

// leapSize is the length of a leap: a header of no owner, and the piece.
const leapSize = headerStart + 8

func newLeap(piece uint64) []byte {
	b := []byte{0, 0, 0, 0, leapSize, 0, 0, 0, kindLeap}
	b = binary.LittleEndian.AppendUint64(b, piece)
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return b
}

// leapTo returns the piece that a leap says, and false for another header.
func leapTo(header []byte) (piece uint64, ok bool) {
	if len(header) != leapSize || header[headerStart-1] != kindLeap || crc32.Checksum(header[4:], castagnoli) != binary.LittleEndian.Uint32(header) {
		return 0, false
	}
	return binary.LittleEndian.Uint64(header[headerStart:]), true
}

// maxLeap is how many pieces are left out at most.
const maxLeap = 1 << 20

func pieceKey(piece uint64) []byte { return binary.BigEndian.AppendUint64(nil, piece) }

// A tail is the end of the log: its last piece, and what is in it.
type tail struct {
	piece uint64
	b     []byte
}

func (t tail) end() uint64 { return t.piece*pieceSize + uint64(len(t.b)) }

// An extent is what is to be appended to the log: it begins with the piece that the tail was.
type extent struct {
	piece uint64
	b     []byte
	cuts  []int // lengths of b at which a segment may begin
}

func (x *extent) end() uint64 { return x.piece*pieceSize + uint64(len(x.b)) }

// cut fills the last piece, if it has begun.
func (x *extent) cut() {
	if n := len(x.b) % pieceSize; n > 0 {
		if n <= pieceSize-frameHead {
			x.b = append(x.b, gap...)
			n += len(gap)
		}
		x.b = append(x.b, make([]byte, pieceSize-n)...)
	}
	x.cuts = append(x.cuts, len(x.b))
}

// chunk returns how many of the pieces that begin at an offset of x.b stand together; 0 is a piece that is not full. begun says
// that the first of them has a key already.
func (x *extent) chunk(start int, begun bool) int {
	full := (len(x.b) - start) / pieceSize
	n := max(min(full-chunkAfter, chunkSize), min(full, 1))
	for _, end := range x.cuts {
		if end > start {
			n = min(n, (end-start)/pieceSize)
		}
	}
	if begun {
		n = min(n, 1)
	}
	return n
}

// frame appends a frame and returns where it is.
func (x *extent) frame(frame []byte) (at uint64) {
	if len(x.b)%pieceSize > pieceSize-frameHead {
		x.cut()
	}
	at = x.end()
	x.b = append(x.b, frame...)
	return at
}

// write puts the pieces of x, and returns the tail that they leave. x must not change before the transaction ends.
func (x *extent) write(b *bolt.Bucket, begun bool) (tail, error) {
	b.FillPercent = 1
	piece, start := x.piece, 0
	for {
		n := x.chunk(start, begun && start == 0)
		if n == 0 {
			break
		}
		piece += uint64(n)
		if err := b.Put(pieceKey(piece-1), x.b[start:start+n*pieceSize]); err != nil {
			return tail{}, err
		}
		start += n * pieceSize
	}
	rest := x.b[start:]
	if len(rest) > 0 {
		if err := b.Put(pieceKey(piece), rest); err != nil {
			return tail{}, err
		}
	}
	return tail{piece, bytes.Clone(rest)}, b.SetSequence(x.end())
}

// readTail returns the tail of the log. What is before mark may have been deleted.
func readTail(b *bolt.Bucket, mark uint64) (t tail, err error) {
	if k, v := b.Cursor().Last(); len(k) == 8 {
		t = tail{binary.BigEndian.Uint64(k), bytes.Clone(v)}
		if len(v)%pieceSize == 0 {
			t = tail{piece: t.piece + 1}
		}
	}
	switch end := b.Sequence(); {
	case t.end() == end && end >= mark:
		return t, nil
	case t.end() <= end && end <= mark:
		return tail{piece: mark / pieceSize}, nil
	}
	return t, damaged("the log")
}

// A logReader reads the log in a transaction.
type logReader struct {
	c       *bolt.Cursor
	b       []byte // of a chunk, nil if none was read
	start   uint64 // its address
	next    uint64 // the piece after it
	leap    uint64 // address after the last leap
	scratch []byte
}

// from returns what follows addr of the chunk that it is in.
func (r *logReader) from(addr uint64) ([]byte, error) {
	if piece := addr / pieceSize; r.b == nil || addr < r.start || piece >= r.next {
		var k, v []byte
		if r.b != nil && piece == r.next {
			k, v = r.c.Next()
		} else {
			k, v = r.c.Seek(pieceKey(piece))
		}
		if len(k) != 8 || len(v) == 0 || len(v) > pieceSize && len(v)%pieceSize > 0 {
			return nil, damaged("the log")
		}
		r.b, r.next = v, binary.BigEndian.Uint64(k)+1
		pieces := uint64(len(v)+pieceSize-1) / pieceSize
		if r.start = (r.next - pieces) * pieceSize; pieces > r.next || piece >= r.next {
			return nil, damaged("the log")
		}
	}
	if addr < r.start || addr-r.start >= uint64(len(r.b)) {
		return nil, damaged("the log")
	}
	return r.b[addr-r.start:], nil
}

// read appends n bytes from addr on to dst.
func (r *logReader) read(dst []byte, addr uint64, n int) ([]byte, error) {
	for n > 0 {
		b, err := r.from(addr)
		if err != nil {
			return nil, err
		}
		b = b[:min(n, len(b))]
		dst = append(dst, b...)
		addr, n = addr+uint64(len(b)), n-len(b)
	}
	return dst, nil
}

// value appends the value of a record to dst.
func (r *logReader) value(dst []byte, o store.Owner, e *entry) ([]byte, error) {
	if e.size == 0 {
		return dst, nil
	}
	head, err := r.read(r.scratch[:0], e.addr, valueHead)
	if err != nil {
		return nil, err
	}
	sum := binary.LittleEndian.Uint32(head)
	start := len(dst)
	dst, err = r.read(dst, e.addr+valueHead, int(e.size))
	if err != nil {
		return nil, err
	}
	if r.scratch = head; checksum(&r.scratch, o, e.key, dst[start:]) != sum {
		return nil, damaged("a value")
	}
	return dst, nil
}

// change reads the first change that is not before addr, and returns the address after it; c.frame is not set. ok is false at
// the end of the log.
func (r *logReader) change(addr, end uint64) (c change, next uint64, ok bool, err error) {
	for {
		rest := pieceSize - addr%pieceSize
		if rest < frameHead {
			addr += rest
			continue
		}
		if addr >= end {
			return change{}, end, false, nil
		}
		head, err := r.read(r.scratch[:0], addr, frameHead)
		if err != nil {
			return change{}, 0, false, err
		}
		if r.scratch = head; bytes.Equal(head, gap) {
			addr += rest
			continue
		}
		size := int(binary.LittleEndian.Uint32(head[4:]))
		if size <= headerStart || size > maxHeader {
			return change{}, 0, false, damaged("a change")
		}
		header, err := r.read(make([]byte, 0, size), addr, size)
		if err != nil {
			return change{}, 0, false, err
		}
		if piece, ok := leapTo(header); ok {
			r.leap = addr + leapSize
			addr = max(addr+rest, piece*pieceSize)
			continue
		}
		if err := c.decode(header); err != nil {
			return change{}, 0, false, err
		}
		c.at, next = addr, addr+uint64(size)
		for i := range c.entries {
			if n := uint64(c.entries[i].size); n > 0 {
				next += valueHead + n
			}
		}
		if next > end {
			return change{}, 0, false, damaged("the log")
		}
		return c, next, true, nil
	}
}

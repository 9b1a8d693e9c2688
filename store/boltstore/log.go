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
// grows, which costs nothing, as bbolt writes the page of the last key anew in any case. Where the stream ends is said by the
// sequence of its bucket, so that no end is missed.
//
// A frame does not begin in the last bytes of a piece where not even a gap has room: those are zero. A gap is a frame that says
// that the rest of its piece is empty, a leap is one that says at which piece the log goes on. Each Open leaps, by chance: what
// a transaction wrote that a crash undid, and that is still on the disk, has addresses that are not used again.

const (
	pieceSize = 8160        // two pieces, their keys and the header of a page fill four pages of 4 KiB
	frameHead = headerStart // the least that a frame takes
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
}

func (x *extent) end() uint64 { return x.piece*pieceSize + uint64(len(x.b)) }

// cut fills the last piece, if it has begun.
func (x *extent) cut() {
	n := len(x.b) % pieceSize
	if n == 0 {
		return
	}
	if n <= pieceSize-frameHead {
		x.b = append(x.b, gap...)
		n += len(gap)
	}
	x.b = append(x.b, make([]byte, pieceSize-n)...)
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
func (x *extent) write(b *bolt.Bucket) (tail, error) {
	b.FillPercent = 1
	piece, rest := x.piece, x.b
	for len(rest) >= pieceSize {
		if err := b.Put(pieceKey(piece), rest[:pieceSize]); err != nil {
			return tail{}, err
		}
		piece, rest = piece+1, rest[pieceSize:]
	}
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
	}
	switch end := b.Sequence(); {
	case t.end() == end && end >= mark:
	case t.end() <= end && end <= mark:
		t = tail{piece: mark / pieceSize}
	default:
		return t, damaged("the log")
	}
	if len(t.b) == pieceSize {
		t = tail{piece: t.piece + 1}
	}
	return t, nil
}

// A logReader reads the log in a transaction.
type logReader struct {
	c       *bolt.Cursor
	piece   uint64
	b       []byte // of the piece, nil if none was read
	leap    uint64 // address after the last leap
	scratch []byte
}

// from returns the rest of the piece that addr is in.
func (r *logReader) from(addr uint64) ([]byte, error) {
	piece, start := addr/pieceSize, int(addr%pieceSize)
	if r.b == nil || piece != r.piece {
		var k, v []byte
		if r.b != nil && piece == r.piece+1 {
			k, v = r.c.Next()
		} else {
			k, v = r.c.Seek(pieceKey(piece))
		}
		if len(k) != 8 || binary.BigEndian.Uint64(k) != piece {
			return nil, damaged("the log")
		}
		r.piece, r.b = piece, v
	}
	if start >= len(r.b) {
		return nil, damaged("the log")
	}
	return r.b[start:], nil
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

package boltstore

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"sort"
)

// A block is a part of a run: some places in order, each with what the run has for it. It is written under the last of them
// and begins with the last place of the block before, so that it says itself which places it would hold:
//
//	checksum of the key that it is written under and of all that follows 4,
//	length and last place of the block before,
//	for each place: how many bytes it shares with the one before, length and rest, length and payload,
//	for each restart: where it is in the block 2,
//	count of restarts 2
//
// Every restartEvery-th place shares nothing with the one before: a restart. All but the last two are uvarints.
type block struct {
	low, high []byte // it holds the places above low, and not above high
	entries   []byte
	restarts  []byte
}

const (
	restartEvery = 16
	blockSize    = 7900 // bytes at which a block ends: two blocks with their places fill four pages of 4 KiB
)

// A blockBuilder makes a block of places given in order.
type blockBuilder struct {
	b        []byte
	last     []byte
	restarts []uint16
	n        int
}

// reset begins a block that follows one that ends with low.
func (w *blockBuilder) reset(low []byte) {
	w.b = append(w.b[:0], 0, 0, 0, 0)
	w.b = append(binary.AppendUvarint(w.b, uint64(len(low))), low...)
	w.last, w.restarts, w.n = w.last[:0], w.restarts[:0], 0
}

func (w *blockBuilder) add(place, payload []byte) {
	shared := 0
	if w.n%restartEvery == 0 {
		w.restarts = append(w.restarts, uint16(len(w.b)))
	} else {
		for shared < len(w.last) && shared < len(place) && w.last[shared] == place[shared] {
			shared++
		}
	}
	w.b = binary.AppendUvarint(w.b, uint64(shared))
	w.b = append(binary.AppendUvarint(w.b, uint64(len(place)-shared)), place[shared:]...)
	w.b = append(binary.AppendUvarint(w.b, uint64(len(payload))), payload...)
	w.last = append(w.last[:shared], place[shared:]...)
	w.n++
}

// full reports whether the block should end.
func (w *blockBuilder) full() bool { return len(w.b) >= blockSize }

// finish returns the block, in memory of its own, and its key in a run.
func (w *blockBuilder) finish(run uint64) (key, block []byte) {
	for _, r := range w.restarts {
		w.b = binary.LittleEndian.AppendUint16(w.b, r)
	}
	w.b = binary.LittleEndian.AppendUint16(w.b, uint16(len(w.restarts)))
	key = runKey(nil, run, w.last)
	binary.LittleEndian.PutUint32(w.b, blockSum(key, w.b))
	return key, bytes.Clone(w.b)
}

func blockSum(key, b []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, b[4:])
}

// readBlock checks the block b that is written under key.
func readBlock(key, b []byte) (block, error) {
	if len(b) < 8 || len(key) < 8 || blockSum(key, b) != binary.LittleEndian.Uint32(b) {
		return block{}, damaged("a block")
	}
	low, n := binary.Uvarint(b[4:])
	start := 4 + n + int(low)
	restarts := 2 * int(binary.LittleEndian.Uint16(b[len(b)-2:]))
	end := len(b) - 2 - restarts
	if n <= 0 || low > uint64(len(b)) || start > end {
		return block{}, damaged("a block")
	}
	return block{low: b[4+n : start], high: key[8:], entries: b[:end], restarts: b[end : len(b)-2]}, nil
}

// holds reports whether the block would hold place.
func (k *block) holds(place []byte) bool {
	return len(k.high) > 0 && bytes.Compare(k.low, place) < 0 && bytes.Compare(place, k.high) <= 0
}

// A blockCursor is on a place of a block, which is valid until it moves.
type blockCursor struct {
	b       []byte // the entries that follow
	place   []byte
	payload []byte
}

// seek moves c to the first place that is not below the one given, and reports false if the block has none.
func (c *blockCursor) seek(k *block, place []byte) bool {
	n := len(k.restarts) / 2
	i := sort.Search(n, func(i int) bool { return bytes.Compare(k.first(i), place) > 0 })
	c.b, c.place = k.entries[k.offset(max(i-1, 0)):], c.place[:0]
	for c.next() {
		if bytes.Compare(c.place, place) >= 0 {
			return true
		}
	}
	return false
}

// next moves c on, and reports false after the last place.
func (c *blockCursor) next() bool {
	if len(c.b) == 0 {
		return false
	}
	shared, n := binary.Uvarint(c.b)
	rest, m := binary.Uvarint(c.b[n:])
	c.place = append(c.place[:shared], c.b[n+m:n+m+int(rest)]...)
	c.b = c.b[n+m+int(rest):]
	size, n := binary.Uvarint(c.b)
	c.payload = c.b[n : n+int(size)]
	c.b = c.b[n+int(size):]
	return true
}

// offset returns where the i-th restart is.
func (k *block) offset(i int) int { return int(binary.LittleEndian.Uint16(k.restarts[2*i:])) }

// first returns the place of the i-th restart.
func (k *block) first(i int) []byte {
	b := k.entries[k.offset(i)+1:] // after a zero, as it shares nothing
	n, m := binary.Uvarint(b)
	return b[m : m+int(n)]
}

package boltstore

import (
	"encoding/binary"
	"slices"
	"sort"
)

// A segment is a part of the log whose pieces are deleted together, when few of its values are still in use.
type segment struct {
	start   uint64 // address; that of a piece
	end     uint64
	values  uint64 // bytes of values in it
	dead    uint64 // bytes of values in it that are known not to be in use
	changed bool   // since it was written to the file
}

const segmentSize = 1 << 20 // bytes at which a segment ends

// A segments is all segments of the log, in order.
type segments []segment

// find returns the segment that addr is in, nil if it is no more.
func (s segments) find(addr uint64) *segment {
	i := sort.Search(len(s), func(i int) bool { return s[i].start > addr }) - 1
	if i < 0 || addr >= s[i].end {
		return nil
	}
	return &s[i]
}

// kill counts a value as no longer in use.
func (s segments) kill(addr uint64, size uint32) {
	if size == 0 {
		return
	}
	if g := s.find(addr); g != nil {
		g.dead += uint64(size)
		g.changed = true
	}
}

// sparse returns the segments before the address of whose values no more than half are in use, or three quarters.
func (s segments) sparse(before uint64, most bool) (found []segment) {
	for _, g := range s {
		share := 2 * g.dead
		if most {
			share = 4 * g.dead
		}
		if g.end <= before && share >= g.values {
			found = append(found, g)
		}
	}
	return found
}

func (s segments) without(start uint64) segments {
	return slices.DeleteFunc(s, func(g segment) bool { return g.start == start })
}

func (g *segment) encode() (key, value []byte) {
	key = binary.BigEndian.AppendUint64(nil, g.start)
	for _, v := range []uint64{g.end, g.values, g.dead} {
		value = binary.AppendUvarint(value, v)
	}
	return key, seal(key, value)
}

func decodeSegment(key, value []byte) (g segment, err error) {
	b, err := unseal(key, value)
	if err != nil || len(key) != 8 {
		return g, damaged("a segment")
	}
	d := decoder{b: b}
	g = segment{start: binary.BigEndian.Uint64(key), end: d.uint(), values: d.uint(), dead: d.uint()}
	if d.bad || len(d.b) > 0 || g.start%pieceSize != 0 || g.end < g.start {
		return g, damaged("a segment")
	}
	return g, nil
}

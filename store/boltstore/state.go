package boltstore

import (
	"encoding/binary"
	"hash/crc32"
)

// A state is what the file says of itself: which runs are in use, and from where on the log is not yet in them.
type state struct {
	mark uint64 // address in the log
	runs []*run // oldest first
}

// A run is an ordered set of places, in blocks. It does not change once it is part of a state.
type run struct {
	id     uint64
	owners uint64 // how many owners it has something of
	size   uint64 // bytes of its blocks
	last   []byte // its last place
	filter filter // of its owners; not part of the encoded state
}

func (s *state) encode() []byte {
	b := binary.AppendUvarint(nil, s.mark)
	b = binary.AppendUvarint(b, uint64(len(s.runs)))
	for _, r := range s.runs {
		b = binary.AppendUvarint(b, r.id)
		b = binary.AppendUvarint(b, r.owners)
		b = binary.AppendUvarint(b, r.size)
		b = appendString(b, string(r.last))
	}
	return seal(keyState, b)
}

func decodeState(b []byte) (s state, err error) {
	if b, err = unseal(keyState, b); err != nil {
		return s, err
	}
	d := decoder{b: b}
	s.mark = d.uint()
	for range d.count() {
		s.runs = append(s.runs, &run{id: d.uint(), owners: d.uint(), size: d.uint(), last: d.bytes()})
	}
	if d.bad || len(d.b) > 0 || s.mark%pieceSize != 0 {
		return s, damaged("the state")
	}
	for _, r := range s.runs {
		r.last = append([]byte(nil), r.last...)
	}
	return s, nil
}

// seal prepends a checksum of value and of the key that it is written under.
func seal(key, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
	return append(binary.LittleEndian.AppendUint32(nil, sum), value...)
}

func unseal(key, sealed []byte) ([]byte, error) {
	if len(sealed) < 4 || crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, sealed[4:]) != binary.LittleEndian.Uint32(sealed) {
		return nil, damaged("an entry")
	}
	return sealed[4:], nil
}

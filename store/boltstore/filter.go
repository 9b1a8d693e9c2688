package boltstore

import (
	"encoding/binary"

	bolt "go.etcd.io/bbolt"
)

// A filter tells of most owners that a run has nothing of them. It is a Bloom filter whose bits for an owner lie in one
// piece of 64 bytes: 12 bits an owner, about one wrong answer in a hundred.
type filter []byte

const (
	filterPiece = 64
	filterBits  = 12 // per owner
	filterMarks = 6  // bits set by an owner
)

func newFilter(owners int) filter {
	return make(filter, filterPiece*(owners*filterBits/(8*filterPiece)+1))
}

// mark and has take the hash of an owner.
func (f filter) mark(h uint64) {
	piece := f.piece(h)
	for range filterMarks {
		piece[h>>3%filterPiece] |= 1 << (h & 7)
		h >>= 9
	}
}

func (f filter) has(h uint64) bool {
	piece := f.piece(h)
	for range filterMarks {
		if piece[h>>3%filterPiece]&(1<<(h&7)) == 0 {
			return false
		}
		h >>= 9
	}
	return true
}

func (f filter) piece(h uint64) []byte {
	i := (h * 0x9e3779b97f4a7c15 >> 32) * uint64(len(f)/filterPiece) >> 32
	return f[i*filterPiece:][:filterPiece]
}

// filterPart is how many bytes of a filter are written under one key.
const filterPart = 32 << 10

// part returns the i-th part of the filter of a run, and false after the last.
func (f filter) part(run uint64, i int) (part, bool) {
	if i*filterPart >= len(f) {
		return part{}, false
	}
	key := filterKey(run, i)
	return part{key, seal(key, f[i*filterPart:min((i+1)*filterPart, len(f))])}, true
}

func filterKey(run uint64, i int) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, run), uint32(i))
}

func readFilter(b *bolt.Bucket, r *run) (filter, error) {
	size := len(newFilter(int(r.owners)))
	f := make(filter, 0, size)
	for i := 0; len(f) < size; i++ {
		key := filterKey(r.id, i)
		part, err := unseal(key, b.Get(key))
		if err != nil || len(part) != min(filterPart, size-len(f)) {
			return nil, damaged("a filter")
		}
		f = append(f, part...)
	}
	return f, nil
}

// hash is that of the name of an owner, as appendName writes it. It is part of the layout of the file.
func hash(name []byte) uint64 {
	h := uint64(len(name)) * 0x9e3779b97f4a7c15
	mix := func(v uint64) {
		h = (h ^ v) * 0xbf58476d1ce4e5b9
		h ^= h >> 29
	}
	for ; len(name) >= 8; name = name[8:] {
		mix(binary.LittleEndian.Uint64(name))
	}
	for _, c := range name {
		mix(uint64(c))
	}
	mix(0x94d049bb133111eb)
	return h
}

package boltstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"sync"

	"github.com/appio-go/appio/store"
)

// A change is a store.Change, as it is written to the log and as it is applied to a table. In the log it is:
//
//	checksum of the header 4, length of the header 4, kind 1,
//	length and owner, revision,
//	count of puts, and for each: length and key, lane, due, length of the value,
//	count of deletes, and for each: length and key,
//	for each put with a value: checksum of owner, key and value 4, value
//
// Lengths, counts, revision, lane and due are uvarints, the others little endian. The header ends before the values.
type change struct {
	owner   store.Owner
	rev     uint64  // what the owner's revision was before
	moves   bool    // it changes nothing but where values are
	entries []entry // by key; addr counts from the start of the frame
	frame   []byte  // as it is in the log
	at      uint64  // where the frame is in the log
}

// deletes reports whether all that c does is to delete records.
func (c *change) deletes() bool {
	return !slices.ContainsFunc(c.entries, func(e entry) bool { return !e.gone })
}

const (
	kindChange = 1
	kindMove   = 2
	kindGap    = 3
	kindLeap   = 4
)

const headerStart = 9 // what comes before the owner

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frames keeps memory that frames were in.
var frames = sync.Pool{New: func() any { return new([]byte) }}

// maxFrames is the most bytes of memory that is kept for the frames of a commit.
const maxFrames = 4 << 20

// encode returns changes, with their frames in room or in a larger one, which is returned too. Names are still those of the
// caller: the table copies what it keeps.
func encode(changes []store.Change, room []byte) ([]change, []byte) {
	frames, entries := 0, 0
	for i := range changes {
		c := &changes[i]
		frames += headerStart + len(c.Owner) + 6*binary.MaxVarintLen32
		entries += len(c.Put) + len(c.Delete)
		for j := range c.Put {
			frames += len(c.Put[j].Key) + len(c.Put[j].Value) + 24
		}
		for _, k := range c.Delete {
			frames += len(k) + 2
		}
	}
	e := encoder{frames: slices.Grow(room[:0], frames), entries: make([]entry, 0, entries)}
	encoded := make([]change, len(changes))
	for i := range changes {
		c := &changes[i]
		encoded[i] = change{owner: c.Owner, rev: c.Rev}
		e.encode(&encoded[i], c.Put, c.Delete)
	}
	return encoded, e.frames
}

// encodeMove returns a change that puts records anew, as they are.
func encodeMove(o store.Owner, puts []store.Record) change {
	c := change{owner: o, moves: true}
	var e encoder
	e.encode(&c, puts, nil)
	return c
}

// An encoder keeps the parts of many changes together: their frames and entries.
type encoder struct {
	frames  []byte
	entries []entry
	scratch []byte
}

// encode sets the frame and the entries of c.
func (e *encoder) encode(c *change, puts []store.Record, deletes []store.Key) {
	start, first := len(e.frames), len(e.entries)
	kind := byte(kindChange)
	if c.moves {
		kind = kindMove
	}
	b := append(e.frames, 0, 0, 0, 0, 0, 0, 0, 0, kind)
	b = appendString(b, string(c.owner))
	b = binary.AppendUvarint(b, c.rev)
	b = binary.AppendUvarint(b, uint64(len(puts)))
	for i := range puts {
		r := &puts[i]
		b = appendString(b, string(r.Key))
		b = binary.AppendUvarint(b, uint64(r.Lane))
		b = binary.AppendUvarint(b, dueOf(r.Due))
		b = binary.AppendUvarint(b, uint64(len(r.Value)))
	}
	b = binary.AppendUvarint(b, uint64(len(deletes)))
	for _, k := range deletes {
		b = appendString(b, string(k))
		e.entries = append(e.entries, entry{key: k, gone: true})
	}
	binary.LittleEndian.PutUint32(b[start+4:], uint32(len(b)-start))
	binary.LittleEndian.PutUint32(b[start:], crc32.Checksum(b[start+4:], castagnoli))
	for i := range puts {
		r := &puts[i]
		x := entry{key: r.Key, due: dueOf(r.Due), lane: r.Lane, size: uint32(len(r.Value))}
		if x.size > 0 {
			x.addr = uint64(len(b) - start)
			b = binary.LittleEndian.AppendUint32(b, checksum(&e.scratch, c.owner, x.key, r.Value))
			b = append(b, r.Value...)
		}
		e.entries = append(e.entries, x)
	}
	e.frames, c.frame, c.entries = b, b[start:len(b):len(b)], e.entries[first:len(e.entries):len(e.entries)]
	slices.SortFunc(c.entries, func(a, b entry) int { return strings.Compare(string(a.key), string(b.key)) })
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// valueHead is how many bytes come before a value.
const valueHead = 4

// checksum binds a value to its record.
func checksum(scratch *[]byte, o store.Owner, k store.Key, value []byte) uint32 {
	b := append(append(append((*scratch)[:0], o...), 0), k...)
	*scratch = b
	return crc32.Update(crc32.Checksum(b, castagnoli), castagnoli, value)
}

// maxHeader is above the length of any header: a change has at most MaxChange bytes and MaxRecords records.
const maxHeader = store.MaxChange + 64*(store.MaxRecords+1)

// decode is the inverse of encode for a header; frame stays as it is.
func (c *change) decode(header []byte) error {
	if crc32.Checksum(header[4:], castagnoli) != binary.LittleEndian.Uint32(header) {
		return damaged("a change")
	}
	d := decoder{b: header[headerStart:], names: string(header[headerStart:])}
	switch header[headerStart-1] {
	case kindChange:
	case kindMove:
		c.moves = true
	default:
		return fmt.Errorf("%w: a change", store.ErrNewer)
	}
	c.owner = store.Owner(d.string())
	c.rev = d.uint()
	puts := d.count()
	at := uint64(len(header))
	for range puts {
		x := entry{key: store.Key(d.string()), lane: store.Lane(d.uint()), due: d.uint(), size: uint32(d.uint())}
		if x.size > 0 {
			x.addr = at
			at += valueHead + uint64(x.size)
		}
		c.entries = append(c.entries, x)
	}
	for range d.count() {
		c.entries = append(c.entries, entry{key: store.Key(d.string()), gone: true})
	}
	if d.bad || len(d.b) > 0 {
		return damaged("a change")
	}
	slices.SortFunc(c.entries, func(a, b entry) int { return strings.Compare(string(a.key), string(b.key)) })
	return nil
}

// A decoder takes parts from the front of b. After a part that is not there, all are zero.
type decoder struct {
	b     []byte
	names string // the same bytes, of which strings are cut
	bad   bool
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count is a uint that counts parts of a byte at least.
func (d *decoder) count() int {
	v := d.uint()
	if v > uint64(len(d.b)) {
		d.b, d.bad = nil, true
		return 0
	}
	return int(v)
}

func (d *decoder) string() string {
	n := d.count()
	start := len(d.names) - len(d.b)
	if d.bad {
		return ""
	}
	d.b = d.b[n:]
	return d.names[start : start+n]
}

func (d *decoder) bytes() []byte {
	n := d.count()
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func damaged(what string) error { return fmt.Errorf("%w: %s", store.ErrCorrupt, what) }

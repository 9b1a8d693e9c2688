package boltstore

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/appio-go/appio/store"
)

// Places are the keys of the sorted runs. In byte order they are: for each owner its revision and then its records, and
// after all owners, for each lane, what is due in it.
const (
	placeOwner = 1 // owner; and a key if it is of a record
	placeDue   = 2 // lane, due, owner, key
)

// appendOwner appends the place of the revision of o, which every place of a record of o begins with.
func appendOwner(b []byte, o store.Owner) []byte {
	return appendName(append(b, placeOwner), o)
}

// appendDue appends the place of a scheduled record in its lane.
func appendDue(b []byte, lane store.Lane, it item) []byte {
	b = binary.BigEndian.AppendUint16(append(b, placeDue), uint16(lane))
	b = binary.BigEndian.AppendUint64(b, it.due)
	return append(appendName(b, it.owner), it.key...)
}

// lanePrefix is how many bytes of a placeDue come before due.
const lanePrefix = 3

// appendName appends o so that names are in the order of owners whatever follows them: each zero byte is followed by 0xff,
// and two zero bytes are the end.
func appendName(b []byte, o store.Owner) []byte {
	for rest := string(o); ; {
		i := strings.IndexByte(rest, 0)
		if i < 0 {
			return append(append(b, rest...), 0, 0)
		}
		b = append(append(b, rest[:i]...), 0, 0xff)
		rest = rest[i+1:]
	}
}

// nameSize returns how long the name is that b begins with, -1 if b holds none.
func nameSize(b []byte) int {
	for i := 0; ; i += 2 {
		n := bytes.IndexByte(b[i:], 0)
		if i += n; n < 0 || i+1 == len(b) {
			return -1
		}
		if b[i+1] == 0 {
			return i + 2
		}
	}
}

// splitName is the inverse of appendName; key is what follows the name. ok is false if b holds no name.
func splitName(b []byte) (o store.Owner, key []byte, ok bool) {
	n := nameSize(b)
	if n < 0 {
		return "", nil, false
	}
	return store.Owner(bytes.ReplaceAll(b[:n-2], []byte{0, 0xff}, []byte{0})), b[n:], true
}

// splitDue is the inverse of appendDue.
func splitDue(place []byte) (store.Lane, item, bool) {
	if len(place) < lanePrefix+8 || place[0] != placeDue {
		return 0, item{}, false
	}
	o, key, ok := splitName(place[lanePrefix+8:])
	return store.Lane(binary.BigEndian.Uint16(place[1:])), item{binary.BigEndian.Uint64(place[lanePrefix:]), o, store.Key(key)}, ok
}

// pastOwner changes the place of an owner into one that is after all its records, and before the next owner.
func pastOwner(place []byte) []byte {
	place[len(place)-1] = 1
	return place
}

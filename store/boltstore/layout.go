package boltstore

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/appio-go/appio/store"
)

// The buckets, and what they map.
var (
	bucketMeta    = []byte("meta")    // keyFormat -> magic, layout
	bucketOwners  = []byte("owners")  // owner -> revision
	bucketRecords = []byte("records") // place of a record -> lane, due, value
	bucketDue     = []byte("due")     // lane, due, place of a record -> nothing

	keyFormat = []byte("format")
)

const (
	magic  = "appio store\n"
	layout = 1
)

// appendPlace appends the owner, so written that places are in the order of owners and then of keys: each zero byte is
// followed by 0xff, and two zero bytes end it. The place of a record is that and its key.
func appendPlace(b []byte, o store.Owner, k store.Key) []byte {
	for rest := string(o); ; {
		i := strings.IndexByte(rest, 0)
		if i < 0 {
			b = append(b, rest...)
			break
		}
		b = append(append(b, rest[:i]...), 0, 0xff)
		rest = rest[i+1:]
	}
	b = append(b, 0, 0)
	return append(b, k...)
}

// splitPlace is the inverse of appendPlace.
func splitPlace(b []byte) (store.Owner, store.Key, error) {
	var owner []byte
	for i := 0; i+1 < len(b); i++ {
		switch {
		case b[i] != 0:
			owner = append(owner, b[i])
		case b[i+1] == 0xff:
			owner = append(owner, 0)
			i++
		case b[i+1] == 0:
			return store.Owner(owner), store.Key(b[i+2:]), nil
		default:
			return "", "", damaged("a place")
		}
	}
	return "", "", damaged("a place")
}

func appendRecord(b []byte, r *store.Record) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(r.Lane))
	b = binary.BigEndian.AppendUint64(b, dueOf(r.Due))
	return append(b, r.Value...)
}

// decodeRecord sets all but owner and key; its value is in b.
func decodeRecord(r *store.Record, b []byte) error {
	if len(b) < 10 {
		return damaged("a record")
	}
	r.Lane = store.Lane(binary.BigEndian.Uint16(b))
	r.Due = timeOf(binary.BigEndian.Uint64(b[2:]))
	r.Value = b[10:]
	return nil
}

func appendDue(b []byte, lane store.Lane, due uint64) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(lane))
	return binary.BigEndian.AppendUint64(b, due)
}

// dueOf returns t in microseconds since 1970; 0 is no time.
func dueOf(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(t.UnixMicro(), 0))
}

func timeOf(due uint64) time.Time {
	if due == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(due)).UTC()
}

func damaged(what string) error { return fmt.Errorf("%w: %s", store.ErrCorrupt, what) }

package store

import (
	"fmt"
	"hash/maphash"
	"math/bits"
	"time"
)

// The limits of the contract.
const (
	MaxKey     = 512      // bytes of an owner or a key
	MaxValue   = 1 << 20  // bytes of a value
	MaxRecords = 1000     // records put and keys deleted by one change
	MaxChange  = 4 << 20  // bytes of one change: owner, keys and values
	MaxChanges = 4096     // changes of one Commit
	MaxCommit  = 64 << 20 // bytes of one Commit
	MaxReads   = 4096     // reads of one View
	MaxRange   = 10000    // Limit of a Range, a DueQuery and Owners; Keys of a Read
)

// endDue is the first second, in Unix time, that is too late to be scheduled: the start of the year 10000.
const endDue = 253402300800

// Micro returns t as stores keep times: UTC, digits finer than a microsecond cut, no monotonic reading. Zero stays zero.
func Micro(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// Check returns nil, or an [ErrInvalid] that names the rule of [Writer] that changes break: it is how each Commit begins.
// The text tells places by their index, and holds no owner, key or value.
//
// An owner may be named once, and a key of a change once, be it in Put or in Delete. A Due is zero, or after
// 1970-01-01T00:00:00Z by a microsecond at least and before the year 10000. No change at all, and an empty one, are fine.
func Check(changes []Change) error {
	if len(changes) > MaxChanges {
		return invalid("more than %d changes", MaxChanges)
	}
	total := 0
	for i := range changes {
		size, err := checkChange(&changes[i])
		if err != nil {
			return fmt.Errorf("%w (change %d)", err, i)
		}
		if total += size; total > MaxCommit {
			return invalid("changes above %d bytes", MaxCommit)
		}
	}
	if twice(len(changes), func(i int) string { return string(changes[i].Owner) }) {
		return invalid("two changes of one owner")
	}
	return nil
}

// checkChange returns the bytes of a change, or what is wrong with it.
func checkChange(c *Change) (int, error) {
	n := len(c.Put) + len(c.Delete)
	switch {
	case !named(len(c.Owner)):
		return 0, invalid("owner not of 1 to %d bytes", MaxKey)
	case n > MaxRecords:
		return 0, invalid("more than %d records", MaxRecords)
	}
	size := len(c.Owner)
	for i := range c.Put {
		r := &c.Put[i]
		switch {
		case !named(len(r.Key)):
			return 0, invalid("key of put %d not of 1 to %d bytes", i, MaxKey)
		case r.Owner != "" && r.Owner != c.Owner:
			return 0, invalid("put %d is of another owner", i)
		case len(r.Value) > MaxValue:
			return 0, invalid("value of put %d above %d bytes", i, MaxValue)
		case !r.Due.IsZero() && !schedulable(r.Due):
			return 0, invalid("due of put %d not of the years 1970 to 9999", i)
		}
		size += len(r.Key) + len(r.Value)
	}
	for i, k := range c.Delete {
		if !named(len(k)) {
			return 0, invalid("key of delete %d not of 1 to %d bytes", i, MaxKey)
		}
		size += len(k)
	}
	if size > MaxChange {
		return 0, invalid("above %d bytes", MaxChange)
	}
	key := func(i int) string {
		if i < len(c.Put) {
			return string(c.Put[i].Key)
		}
		return string(c.Delete[i-len(c.Put)])
	}
	if twice(n, key) {
		return 0, invalid("a key named twice")
	}
	return size, nil
}

// CheckReads returns nil, or an [ErrInvalid] that names the rule of [Read] and [Range] that reads break, as [Check] does.
//
// An owner may be named once; a key may be asked twice, and is answered twice. From and To may be one byte longer than a
// key, so that a range can begin just after any key. From at or after To is an empty range.
func CheckReads(reads []Read) error {
	if len(reads) > MaxReads {
		return invalid("more than %d reads", MaxReads)
	}
	for i := range reads {
		r := &reads[i]
		switch {
		case !named(len(r.Owner)):
			return invalid("owner of read %d not of 1 to %d bytes", i, MaxKey)
		case len(r.Keys) > MaxRange:
			return invalid("more than %d keys in read %d", MaxRange, i)
		case r.Range.Limit < 0 || r.Range.Limit > MaxRange:
			return invalid("limit of read %d not 0 to %d", i, MaxRange)
		case len(r.Range.From) > MaxKey+1 || len(r.Range.To) > MaxKey+1:
			return invalid("range of read %d above %d bytes", i, MaxKey+1)
		}
		for j, k := range r.Keys {
			if !named(len(k)) {
				return invalid("key %d of read %d not of 1 to %d bytes", j, i, MaxKey)
			}
		}
	}
	if twice(len(reads), func(i int) string { return string(reads[i].Owner) }) {
		return invalid("two reads of one owner")
	}
	return nil
}

// CheckDue returns nil, or an [ErrInvalid] that names the rule of [DueQuery] that q breaks, as [Check] does.
//
// A lane may be named once; no lane at all is an empty answer. Until and After.Due may be any time of the years 1 to 9999,
// the zero time too; After need not be the place of a record.
func CheckDue(q DueQuery) error {
	after := q.After.Owner != "" || q.After.Key != "" || !q.After.Due.IsZero()
	switch {
	case q.Limit < 1 || q.Limit > MaxRange:
		return invalid("limit of due not 1 to %d", MaxRange)
	case !dated(q.Until) || !dated(q.After.Due):
		return invalid("until or after not of the years 1 to 9999")
	case len(q.After.Owner) > MaxKey || len(q.After.Key) > MaxKey:
		return invalid("after above %d bytes", MaxKey)
	case after && len(q.Lanes) != 1:
		return invalid("after with %d lanes", len(q.Lanes))
	case repeats(q.Lanes):
		return invalid("a lane named twice")
	}
	return nil
}

// CheckOwners returns nil, or an [ErrInvalid] that names the rule that the arguments of Owners break: after has at most
// [MaxKey] bytes, and limit is 1 to [MaxRange].
func CheckOwners(after Owner, limit int) error {
	switch {
	case len(after) > MaxKey:
		return invalid("after above %d bytes", MaxKey)
	case limit < 1 || limit > MaxRange:
		return invalid("limit of owners not 1 to %d", MaxRange)
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

func named(length int) bool { return 0 < length && length <= MaxKey }

// schedulable reports whether the microseconds of t since 1970 are above zero, and its year at most 9999.
func schedulable(t time.Time) bool {
	s := t.Unix()
	return 0 < s && s < endDue || s == 0 && t.Nanosecond() >= 1000
}

// dated reports whether t is of the years 1 to 9999, so that its microseconds can be counted.
func dated(t time.Time) bool {
	return !t.Before(time.Time{}) && t.Unix() < endDue
}

// twice reports whether two of n strings, at most MaxChanges, are equal. It allocates nothing, as it is called for every
// change: what is in order is compared with its neighbour, a handful each with each, and only the rest is hashed.
func twice(n int, at func(int) string) bool {
	i := 1
	for i < n && at(i-1) < at(i) {
		i++
	}
	switch {
	case i >= n:
		return false
	case n <= 16:
		for j := 1; j < n; j++ {
			for k := range j {
				if at(j) == at(k) {
					return true
				}
			}
		}
		return false
	case n <= 512:
		var slots [1024]uint16
		return hashed(slots[:], n, at)
	default:
		return twiceMany(n, at)
	}
}

// twiceMany is apart from twice so that only a large call needs so large a stack.
//
//go:noinline
func twiceMany(n int, at func(int) string) bool {
	var slots [2 * MaxChanges]uint16
	return hashed(slots[:], n, at)
}

var seed = maphash.MakeSeed()

// hashed is twice by an open hash table, half empty at least. A slot is 0, or the index of a string plus 1.
func hashed(slots []uint16, n int, at func(int) string) bool {
	mask := uint64(1)<<bits.Len(uint(2*n-1)) - 1
	for i := range n {
		s := at(i)
		h := maphash.String(seed, s) & mask
		for slots[h] != 0 {
			if at(int(slots[h]-1)) == s {
				return true
			}
			h = (h + 1) & mask
		}
		slots[h] = uint16(i + 1)
	}
	return false
}

// repeats reports whether a lane is there twice.
func repeats(lanes []Lane) bool {
	if len(lanes) <= 1 {
		return false
	}
	var seen [1 << 16 / 64]uint64
	for _, l := range lanes {
		bit := uint64(1) << (l % 64)
		if seen[l/64]&bit != 0 {
			return true
		}
		seen[l/64] |= bit
	}
	return false
}

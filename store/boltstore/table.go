package boltstore

import (
	"cmp"
	"encoding/binary"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio/store"
)

// A table holds, in order, what changes since some moment made of the records that they touched. Values are in the log.
type table struct {
	owners map[store.Owner]*owned
	lanes  map[store.Lane]*list[item]
	names  strings.Builder // of owners and keys, so that no name keeps those alive that it came with
	size   int             // bytes of memory, about
	logged uint64          // bytes of the log that its changes take
	count  uint32          // of its changes
}

// logShare is how many bytes of the log count as one of memory. What is replaced in the table all the time does not make it
// larger; but as long as it is not in the file, nothing of the log can be deleted, and Open reads all of it.
const logShare = 4

// weight is what decides when the table is written to the file: bytes of memory, or of the log.
func (t *table) weight() int { return max(t.size, int(t.logged/logShare)) }

// An owned is what a table holds of an owner.
type owned struct {
	name    store.Owner
	rev     uint64
	moved   bool // the owner was not changed, only values of it moved: rev is not known
	entries list[entry]
}

// An entry is a record without its owner and its value, or says that a record is gone.
type entry struct {
	key  store.Key
	due  uint64 // microseconds since 1970; 0: in no lane
	addr uint64 // of the value, in the log
	size uint32 // of the value
	from uint32 // in a table: by which of its changes it has an entry of this key
	lane store.Lane
	gone bool
}

// An item is the place of a scheduled record within its lane.
type item struct {
	due   uint64
	owner store.Owner
	key   store.Key
}

func newTable() *table {
	return &table{owners: map[store.Owner]*owned{}, lanes: map[store.Lane]*list[item]{}}
}

// What an owner, an entry and an item take of memory, apart from their names.
const (
	ownedSize = 192
	entrySize = 88
	itemSize  = 48
)

// apply makes a change whose values are at the address that it says, and calls dead for each value that it replaces.
func (t *table) apply(c *change, dead func(addr uint64, size uint32)) {
	o := t.owners[c.owner]
	if o == nil {
		o = &owned{name: store.Owner(t.name(string(c.owner))), moved: true}
		t.owners[o.name] = o
		t.size += ownedSize + len(c.owner)
	}
	t.count++
	if !c.moves {
		o.rev, o.moved = c.rev+1, false
	}
	for i := range c.entries {
		e := c.entries[i]
		if !e.gone && e.size > 0 {
			e.addr += c.at
		}
		p := o.entries.seek(func(x *entry) bool { return x.key < e.key })
		if old := o.entries.at(p); old != nil && old.key == e.key {
			t.unschedule(o.name, old)
			if !old.gone {
				dead(old.addr, old.size)
			}
			e.key, e.from = old.key, old.from
			*old = e
		} else {
			e.key, e.from = store.Key(t.name(string(e.key))), t.count
			o.entries.insert(p, e, len(c.entries))
			t.size += entrySize + len(e.key)
		}
		t.schedule(o.name, &e)
	}
}

// namesAtOnce is how many bytes of names are kept in one piece.
const namesAtOnce = 16 << 10

// name returns a copy of s.
func (t *table) name(s string) string {
	if t.names.Cap()-t.names.Len() < len(s) {
		t.names = strings.Builder{}
		t.names.Grow(max(namesAtOnce, len(s)))
	}
	start := t.names.Len()
	t.names.WriteString(s)
	return t.names.String()[start:]
}

func (t *table) schedule(o store.Owner, e *entry) {
	if e.due == 0 || e.gone {
		return
	}
	l := t.lanes[e.lane]
	if l == nil {
		l = &list[item]{}
		t.lanes[e.lane] = l
	}
	it := item{e.due, o, e.key}
	l.insert(l.seek(it.follows), it, 1)
	t.size += itemSize
}

func (t *table) unschedule(o store.Owner, e *entry) {
	if e.due == 0 || e.gone {
		return
	}
	l := t.lanes[e.lane]
	l.remove(l.seek(item{e.due, o, e.key}.follows))
	t.size -= itemSize
}

// follows reports whether it is after x in the lane.
func (it item) follows(x *item) bool { return x.compare(&it) < 0 }

func (it *item) compare(x *item) int {
	return cmp.Or(cmp.Compare(it.due, x.due), cmp.Compare(it.owner, x.owner), cmp.Compare(it.key, x.key))
}

// find returns the entry of a key, nil if the table has none.
func (o *owned) find(k store.Key) *entry {
	if o == nil {
		return nil
	}
	if e := o.entries.at(o.entries.seek(func(x *entry) bool { return x.key < k })); e != nil && e.key == k {
		return e
	}
	return nil
}

// dueOf returns t in microseconds since 1970; 0 is no time, or none after 1970.
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

// sorted returns all owners in order.
func (t *table) sorted() []*owned {
	type named struct {
		start uint64 // the first bytes of the name, which mostly tell names apart
		owned *owned
	}
	all := make([]named, 0, len(t.owners))
	var start [8]byte
	for _, o := range t.owners {
		clear(start[copy(start[:], o.name):])
		all = append(all, named{binary.BigEndian.Uint64(start[:]), o})
	}
	slices.SortFunc(all, func(a, b named) int {
		if a.start != b.start {
			return cmp.Compare(a.start, b.start)
		}
		return strings.Compare(string(a.owned.name), string(b.owned.name))
	})
	sorted := make([]*owned, len(all))
	for i := range all {
		sorted[i] = all[i].owned
	}
	return sorted
}

// places yields what a run made of the table has, in order. What it yields is valid until the next.
func (t *table) places() iter.Seq2[[]byte, []byte] {
	return func(yield func(place, payload []byte) bool) {
		var place, payload []byte
		for _, o := range t.sorted() {
			place = appendOwner(place[:0], o.name)
			if payload = appendRevision(payload[:0], o.rev); !o.moved && !yield(place, payload) {
				return
			}
			n := len(place)
			for _, chunk := range o.entries.chunks {
				for i := range chunk {
					place, payload = append(place[:n], chunk[i].key...), appendEntry(payload[:0], &chunk[i])
					if !yield(place, payload) {
						return
					}
				}
			}
		}
		for _, lane := range slices.Sorted(maps.Keys(t.lanes)) {
			for _, chunk := range t.lanes[lane].chunks {
				for i := range chunk {
					if place = appendDue(place[:0], lane, chunk[i]); !yield(place, nil) {
						return
					}
				}
			}
		}
	}
}

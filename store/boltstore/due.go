package boltstore

import (
	"bytes"
	"context"
	"sync"

	"github.com/appio-go/appio/store"
)

// dueAtOnce is how many places of a lane are looked at in one transaction, all of one moment.
const dueAtOnce = 1024

// Due implements [store.Store].
func (s *Store) Due(ctx context.Context, q store.DueQuery) (due []store.Record, err error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	if err := store.CheckDue(q); err != nil {
		return nil, err
	}
	for _, lane := range q.Lanes {
		after, limit := item{dueOf(q.After.Due), q.After.Owner, q.After.Key}, len(due)+q.Limit
		for more := true; more && len(due) < limit; {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if after, more, err = s.readLane(&due, lane, after, dueOf(q.Until), limit); err != nil {
				return nil, err
			}
		}
	}
	return due, nil
}

// readLane appends records of a lane that are after a place and due until a time, until there are limit records; it says
// where to go on if there may be more.
//
// What a table or run says of a lane was true when it was the newest: a record may have been changed since. So each is looked
// up, and counts only if it is still due at that place. The first table is always true: what is due in it is taken beforehand, so
// that of what is below it only counts what it had nothing of at that moment.
func (s *Store) readLane(due *[]store.Record, lane store.Lane, after item, until uint64, limit int) (next item, more bool, err error) {
	from := item{after.due, after.owner, after.key + "\x00"}
	var fresh []owing
	var low item // of that moment too: what others find not to be true any more may have been then
	err = s.look(func(first *table) {
		fresh, low = first.owing(lane, from, until, min(limit-len(*due), dueAtOnce)), s.hints.get(lane)
	}, func(v *snapshot) error {
		stale := after.compare(&low) <= 0 // all below the first table, so far
		heads, err := v.lane(lane, from, low)
		if err != nil {
			return err
		}
		var values values
		var w ownerView
		for range dueAtOnce {
			h := first(heads)
			if len(fresh) > 0 && (h == nil || fresh[0].item.compare(h.item) <= 0) {
				it := fresh[0]
				values.add(due, it.item.owner, &it.entry, true)
				next, fresh = it.item, fresh[1:]
			} else if more = h != nil && h.item.due <= until; !more {
				break
			} else {
				it := *h.item
				e, is, err := s.owes(v, &w, lane, it)
				if err != nil {
					return err
				}
				if is {
					values.add(due, it.owner, &e, true)
					stale = false
				} else if stale {
					low = item{it.due, it.owner, it.key + "\x00"}
				}
				next = it
			}
			for _, h := range heads {
				if h.item != nil && *h.item == next {
					if err := h.next(); err != nil {
						return err
					}
				}
			}
			if more = len(*due) < limit; !more {
				break
			}
		}
		s.raiseHint(v, lane, low)
		return values.read(&v.log)
	})
	return next, more, err
}

// owes looks up a record that something below the first table says to be due.
func (s *Store) owes(v *snapshot, w *ownerView, lane store.Lane, it item) (e entry, is bool, err error) {
	if e := s.changed(v, it.owner, it.key); e != nil && e.from <= v.count {
		return entry{}, false, nil
	}
	v.owner(w, it.owner, nil)
	e, ok, err := w.find(it.key)
	return e, ok && e.due == it.due && e.lane == lane, err
}

// An owing is an item of a lane and its entry.
type owing struct {
	item  item
	entry entry
}

// owing returns up to n items of a lane that are not before one and due until a time.
func (t *table) owing(lane store.Lane, from item, until uint64, n int) (found []owing) {
	l := t.lanes[lane]
	if l == nil {
		return nil
	}
	for p := l.seek(from.follows); len(found) < n; p = l.after(p) {
		it := l.at(p)
		if it == nil || it.due > until {
			break
		}
		found = append(found, owing{*it, *t.owners[it.owner].find(it.key)})
	}
	return found
}

// A laneHead is on an item of a lane, in one table or run.
type laneHead struct {
	item *item // nil at the end

	list *list[item] // of a table
	at   spot

	lane   store.Lane // of a run
	reader runReader
	cursor blockCursor
	found  item
}

// lane returns heads on the first item not before one, of each table but the first and of each run; they begin at low if that
// is later.
func (v *snapshot) lane(lane store.Lane, from, low item) (heads []*laneHead, err error) {
	if from.compare(&low) < 0 {
		from = low
	}
	for _, t := range v.older {
		if l := t.lanes[lane]; l != nil {
			h := &laneHead{list: l, at: l.seek(from.follows)}
			h.item = l.at(h.at)
			heads = append(heads, h)
		}
	}
	place := appendDue(nil, lane, from)
	for i := range v.runs {
		h := &laneHead{lane: lane, reader: runReader{run: v.runs[i].run, blocks: &v.blocks}}
		if err := h.seek(place); err != nil {
			return nil, err
		}
		heads = append(heads, h)
	}
	return heads, nil
}

// next moves on.
func (h *laneHead) next() error {
	switch {
	case h.list != nil:
		h.at = h.list.after(h.at)
		h.item = h.list.at(h.at)
		return nil
	case h.cursor.next():
		return h.take()
	default:
		return h.seek(append(bytes.Clone(h.reader.high), 0))
	}
}

// seek goes to the first item of a run that is not before a place.
func (h *laneHead) seek(place []byte) error {
	h.item = nil
	if ok, err := h.reader.find(place); !ok || err != nil {
		return err
	}
	h.cursor.seek(&h.reader.block, place)
	return h.take()
}

// take reads the item that the cursor is on; one of another lane is the end.
func (h *laneHead) take() error {
	h.item = nil
	if place := h.cursor.place; place[0] == placeDue {
		lane, it, ok := splitDue(place)
		switch {
		case !ok:
			return damaged("a lane")
		case lane == h.lane:
			h.found = it
			h.item = &h.found
		}
	}
	return nil
}

// first returns the head whose item is first, nil if there is none.
func first(heads []*laneHead) (min *laneHead) {
	for _, h := range heads {
		if h.item != nil && (min == nil || h.item.compare(min.item) < 0) {
			min = h
		}
	}
	return min
}

// A hints says for lanes before which item nothing below the first table is true any more.
type hints struct {
	mu    sync.Mutex
	lanes map[store.Lane]item
}

func (h *hints) get(l store.Lane) item {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lanes[l]
}

// raiseHint notes that all below the first table and before an item has been found not to be true. What is below the first
// table must be what it was in the snapshot.
func (s *Store) raiseHint(v *snapshot, l store.Lane, it item) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.epoch != v.epoch {
		return
	}
	h := &s.hints
	h.mu.Lock()
	defer h.mu.Unlock()
	if old := h.lanes[l]; old.compare(&it) < 0 {
		if h.lanes == nil {
			h.lanes = map[store.Lane]item{}
		}
		h.lanes[l] = it
	}
}

// clear forgets all.
func (h *hints) clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lanes = nil
}

// lower notes that a table will be below the first one.
func (h *hints) lower(t *table) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for lane, l := range t.lanes {
		if it := l.at(spot{}); it != nil {
			if old := h.lanes[lane]; it.compare(&old) < 0 {
				h.lanes[lane] = *it
			}
		}
	}
}

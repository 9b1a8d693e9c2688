package appio

import (
	"slices"
	"time"

	"github.com/appio-go/appio/store"
)

// Due work for which a channel has no room stays where it is, and is read at each look. So that it is not opened and refused each
// time, what it waits for is remembered.

// crowded is what was refused room, by record. It is the loop's that claims.
type crowded map[recordID]wanted

type recordID struct {
	owner store.Owner
	key   store.Key
	due   int64 // as stores may say one moment in several ways
}

func idOf(r *store.Record) recordID { return recordID{r.Owner, r.Key, toMicro(r.Due)} }

// wanted is what a record waits for.
type wanted struct {
	service  ServiceID
	channels []string      // with room at one of them
	until    time.Duration // or this, on the monotonic clock
}

const (
	mostCrowded = 1 << 14
	crowdedFor  = 10 * time.Second // a choice may have changed what is to become of it
)

// remember keeps what a claim was refused.
func (cs *crowded) remember(c *claim) {
	if *cs == nil || len(*cs) >= mostCrowded {
		*cs = crowded{}
	}
	wait := crowdedFor
	if c.next != 0 {
		wait = min(wait, fromMicro(c.next).Sub(c.e.now()))
	}
	(*cs)[idOf(&c.seen)] = wanted{c.service, slices.Clone(c.full), c.e.mono() + wait}
}

// crowdedOut reports whether it is known that there is no room for a record's work.
func (d *dispatcher) crowdedOut(r *store.Record) bool {
	if len(d.crowded) == 0 {
		return false
	}
	id := idOf(r)
	w, known := d.crowded[id]
	if !known {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.e.mono() < w.until && !slices.ContainsFunc(w.channels, func(name string) bool {
		q := d.queues[name]
		s := q.share(w.service)
		return q.has(w.service, s.pending+s.reserved)
	}) {
		return true
	}
	delete(d.crowded, id)
	return false
}

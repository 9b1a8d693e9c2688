package appio

import (
	"time"

	"github.com/appio-go/appio/store"
)

// A channelQueue is what waits for one channel.
type channelQueue struct {
	d        *dispatcher
	route    *Route
	items    []*item
	reserved int
	pending  int // queued, under way, or without a committed outcome
	workers  int
	hung     int           // calls that did not return in time
	average  time.Duration // of one call, moving
	bucket   bucket
	full     bool // room was refused since the last wake-up
}

const (
	mostRoom     = 8192            // items at a channel
	roomFor      = 2 * time.Second // of work at a channel's present speed
	maxBatch     = 100             // deliveries in one call of a BatchChannel
	firstAverage = 10 * time.Millisecond
)

// room is how many items a channel may hold: what it does in a short time, so that no lease ends while its item waits.
func (q *channelQueue) room() int {
	n := int(int64(q.route.Workers) * int64(roomFor) / int64(max(q.average, time.Microsecond)))
	n = min(max(n, q.route.Workers), mostRoom)
	if q.route.Rate > 0 {
		n = min(n, max(1, int(q.route.Rate*roomFor.Seconds())))
	}
	return n
}

// A reservation is room at the channels for items that are being claimed.
type reservation struct {
	d      *dispatcher
	queues []*channelQueue
}

// add reserves room for one item, or reports that there is none.
func (r *reservation) add(channel string) bool {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	q := r.d.queues[channel]
	if q == nil || r.d.stopping {
		return false
	}
	if q.pending+q.reserved >= q.room() || q.hung >= q.route.Workers {
		q.full = true
		return false
	}
	q.reserved++
	r.queues = append(r.queues, q)
	return true
}

func (r *reservation) release() {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	for _, q := range r.queues {
		q.reserved--
	}
	r.queues = nil
	r.d.checkIdle()
}

// hand turns the reservation into items. What is handed over once nothing more is taken is given back.
func (r *reservation) hand(items []*item) {
	d := r.d
	d.mu.Lock()
	stopping := d.stopping
	for _, q := range r.queues {
		q.reserved--
	}
	r.queues = nil
	for _, it := range items {
		q := d.queues[it.entry.Channel]
		d.e.held.add(it.lease.Number, 1)
		q.pending++
		d.pending++
		if !stopping {
			q.items = append(q.items, it)
		}
	}
	for _, it := range items {
		d.queues[it.entry.Channel].spawn()
	}
	d.checkIdle()
	d.mu.Unlock()
	if stopping { // nobody looks at the queue any more
		for _, it := range items {
			d.record(d.queues[it.entry.Channel], it, result{kind: resultBack})
		}
	}
}

// reserve makes room with Run for the entries that may be tried now, as many as it has room for; nil: none, or nobody runs.
func (e *Engine) reserve(entries []workEntry, now time.Time) *reservation {
	d := e.running.Load()
	if d == nil {
		return nil
	}
	r := &reservation{d: d}
	for i := range entries {
		if entries[i].Next <= toMicro(now) && r.add(entries[i].Channel) {
			entries[i].Held, entries[i].Claims = true, 1
		}
	}
	if len(r.queues) == 0 {
		return nil
	}
	return r
}

// spawn is called with d.mu held.
func (q *channelQueue) spawn() {
	if q.workers < q.route.Workers && len(q.items) > 0 {
		q.workers++
		go q.work()
	}
}

func (q *channelQueue) work() {
	defer func() { // also where a channel ended the goroutine
		q.d.mu.Lock()
		defer q.d.mu.Unlock()
		q.workers--
		q.spawn()
	}()
	for {
		batch := q.next()
		if batch == nil {
			return
		}
		q.d.deliver(q, batch)
	}
}

// next is the items that a worker takes together, of different citizens: for a BatchChannel as many as wait, for its next call;
// for another channel its share of what waits, if the channel does that in no time.
func (q *channelQueue) next() []*item {
	d := q.d
	batched := q.batched()
	for {
		d.mu.Lock()
		if len(q.items) == 0 {
			d.mu.Unlock()
			return nil
		}
		if q.route.Rate > 0 && d.startable(q.route, q.items[0]) { // what is too late is only given back
			if wait := q.bucket.take(time.Now()); wait > 0 {
				d.mu.Unlock()
				pause(d.ctx, wait)
				continue
			}
		}
		batch := q.items[:1:1]
		rest := q.items[1:]
		most := maxBatch
		if !batched {
			most = q.share()
		}
		if len(rest) > 0 && most > 1 {
			seen := map[store.Owner]bool{batch[0].owner: true}
			looked := 0
			var passed []*item
			for ; looked < len(rest) && len(batch) < most; looked++ {
				it := rest[looked]
				if seen[it.owner] || q.route.Rate > 0 && q.bucket.take(time.Now()) > 0 {
					passed = append(passed, it)
					continue
				}
				seen[it.owner] = true
				batch = append(batch, it)
			}
			rest = rest[looked:]
			if len(passed) > 0 {
				rest = append(passed, rest...)
			}
		}
		q.items = rest
		if len(rest) == 0 {
			q.items = nil
		}
		d.mu.Unlock()
		return batch
	}
}

func (q *channelQueue) batched() bool {
	_, ok := q.route.Channel.(BatchChannel)
	return ok
}

// share is how many items one worker may take: no more than its part of what waits, and than are delivered in a moment. It is
// called with d.mu held.
func (q *channelQueue) share() int {
	if q.route.Rate > 0 {
		return 1
	}
	return min(len(q.items)/q.route.Workers, int(shareTime/max(q.average, time.Microsecond)), maxShare)
}

const (
	maxShare  = 64
	shareTime = 5 * time.Millisecond
)

// putBack returns items that a worker had taken to the head of the queue.
func (q *channelQueue) putBack(items []*item) {
	d := q.d
	d.mu.Lock()
	stopping := d.stopping
	if !stopping {
		q.items = append(items, q.items...)
		q.spawn()
	}
	d.mu.Unlock()
	if stopping { // nobody looks at the queue any more
		for _, it := range items {
			d.record(q, it, result{kind: resultBack})
		}
	}
}

// sweep gives back what has waited so long for a worker that its lease leaves no time to deliver it.
func (d *dispatcher) sweep() {
	d.mu.Lock()
	stale := map[*channelQueue][]*item{}
	for _, q := range d.queues {
		if len(q.items) == 0 || q.workers < q.route.Workers {
			continue
		}
		var left []*item
		for _, it := range q.items {
			if d.startable(q.route, it) {
				left = append(left, it)
			} else {
				stale[q] = append(stale[q], it)
			}
		}
		q.items = left
	}
	d.mu.Unlock()
	for q, items := range stale {
		for _, it := range items {
			d.record(q, it, result{kind: resultBack})
		}
	}
}

// startable reports whether a delivery can end, with the margin, before its lease does.
func (d *dispatcher) startable(r *Route, it *item) bool {
	if toMicro(d.e.now()) >= it.lease.Until { // the clock may have stepped
		return false
	}
	return it.started+d.e.opts.Lease-d.e.mono() >= r.Timeout+d.e.opts.Margin // looked at last: see lease.go
}

package appio

import (
	"math"
	"slices"
	"time"

	"github.com/appio-go/appio/store"
)

// A channelQueue is what waits for one channel in memory: a share for each service, served in turn.
type channelQueue struct {
	d        *dispatcher
	route    *Route
	line     *line
	shares   map[ServiceID]*share
	tidyAt   int // number of shares at which those that are not used are forgotten
	first    *share
	last     *share
	queued   int // items in all shares
	reserved int
	pending  int // queued, under way, or without a committed outcome
	workers  int
	hung     int           // calls that did not return in time
	average  time.Duration // of one call, moving
	full     bool          // room was refused since the last wake-up
	starved  bool          // likewise, to a service that had nothing here
}

// A share is what one service has at a channel.
type share struct {
	q        *channelQueue
	service  ServiceID
	items    []*item
	head     int // in items: those before are gone
	reserved int
	pending  int
	full     int         // what it had when it was refused room; 0: it was not since
	next     *share      // in turn
	waiting  bool        // it is among those
	resting  *time.Timer // until the service's rate allows its next delivery; nil: it does not rest
}

const (
	mostRoom     = 8192            // items of one service at a channel
	roomFor      = 2 * time.Second // of work at a channel's present speed
	maxBatch     = 100             // deliveries in one call of a BatchChannel
	firstAverage = 10 * time.Millisecond
	usualShares  = 1024
	fewItems     = 2
)

// room is how many items one service may have at a channel where it is alone: what the channel does in a short time, so that no
// lease ends while its item waits.
func (q *channelQueue) room() int {
	n := int(int64(q.route.Workers) * int64(roomFor) / int64(max(q.average, time.Microsecond)))
	n = min(max(n, q.route.Workers), mostRoom)
	if q.route.Rate > 0 {
		n = min(n, max(1, int(q.route.Rate*roomFor.Seconds())))
	}
	return n
}

// admits reports whether a service that has own items at the channel may have one more. It may have as many as are still free, of
// twice the room: one that floods the channel is stopped at half of it, two at a third each, so that there is room for who comes next;
// and a few in any case, where a channel has become so slow that there is none.
func (q *channelQueue) admits(own int) bool {
	if planted == "first-come" {
		return q.pending+q.reserved < q.room()
	}
	return own < max(2*q.room()-q.pending-q.reserved, fewItems)
}

// has reports whether there is room now for one more item of a service that has own items at the channel. It is called with d.mu held.
func (q *channelQueue) has(service ServiceID, own int) bool {
	e := q.d.e
	return q.admits(own) && q.paced(service, own) && q.hung < q.route.Workers && q.fewer(q.line.room(e.now()))
}

// fewer reports whether fewer items than so many are under way or would be if there were a worker: not what rests for its service's rate,
// which probes of the channel need not wait for.
func (q *channelQueue) fewer(most int) bool {
	if most == math.MaxInt {
		return true
	}
	n := q.pending - q.queued + q.reserved
	for s := q.first; s != nil && n < most; s = s.next {
		n += len(s.items) - s.head
	}
	return n < most
}

// paced reports whether a service's rate lets it have one more: over all channels no more than it may deliver before the leases end, or
// most of it would be given back; and a few in any case, so that one channel does not take it all from the others.
func (q *channelQueue) paced(service ServiceID, own int) bool {
	most := q.d.e.pacing.room(service)
	if own < fewItems || most == mostRoom {
		return own < most
	}
	all := 0
	for _, o := range q.d.queues {
		if s := o.shares[service]; s != nil {
			all += s.pending + s.reserved
		}
	}
	return all < most
}

// share is a service's. It is called with d.mu held, as are all methods of a share.
func (q *channelQueue) share(service ServiceID) *share {
	if planted == "first-come" {
		service = ""
	}
	if s := q.shares[service]; s != nil {
		return s
	}
	if len(q.shares) >= q.tidyAt {
		for id, s := range q.shares {
			if s.pending == 0 && s.reserved == 0 && s.resting == nil {
				delete(q.shares, id)
			}
		}
		q.tidyAt = max(usualShares, 2*len(q.shares))
	}
	s := &share{q: q, service: service}
	q.shares[service] = s
	return s
}

func (s *share) empty() bool { return s.head == len(s.items) }

func (s *share) add(it *item) {
	if s.head > 0 && len(s.items) == cap(s.items) {
		n := copy(s.items, s.items[s.head:])
		clear(s.items[n:])
		s.items, s.head = s.items[:n], 0
	}
	s.items = append(s.items, it)
	s.q.queued++
	s.wait()
}

// wait puts a share in turn, if it has something.
func (s *share) wait() {
	if s.waiting || s.resting != nil || s.empty() {
		return
	}
	s.waiting, s.next = true, nil
	if s.q.last != nil {
		s.q.last.next = s
	} else {
		s.q.first = s
	}
	s.q.last = s
}

// leave takes the first share out of turn.
func (q *channelQueue) leave() *share {
	s := q.first
	if q.first = s.next; q.first == nil {
		q.last = nil
	}
	s.waiting, s.next = false, nil
	return s
}

// stay gives a share that has left its turn, and got nothing for it, the first one again: behind the others it would come to nothing the
// next time too, where they are as many as the channel's rate lets go at once.
func (q *channelQueue) stay(s *share) {
	s.waiting, s.next = true, q.first
	if q.first = s; q.last == nil {
		q.last = s
	}
}

// take takes the first item of an owner that is not among those seen; nil: there is none.
func (s *share) take(seen map[store.Owner]bool) *item {
	for i := s.head; i < len(s.items); i++ {
		it := s.items[i]
		if seen[it.owner] {
			continue
		}
		copy(s.items[s.head+1:i+1], s.items[s.head:i])
		s.items[s.head] = nil
		s.head++
		s.q.queued--
		if s.empty() {
			s.items, s.head = s.items[:0], 0
		}
		return it
	}
	return nil
}

// undo puts an item that was taken back, before the others.
func (s *share) undo(it *item) {
	s.items = slices.Insert(s.items, s.head, it)
	s.q.queued++
	s.wait()
}

// rest takes a share that is not in turn out of it for a time.
func (s *share) rest(wait time.Duration) {
	d := s.q.d
	s.resting = time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		s.resting = nil
		s.wait()
		s.q.spawn()
	})
}

// drop takes out the items for which gone is true.
func (s *share) drop(gone func(*item) bool) (dropped []*item) {
	left := s.items[:0]
	for _, it := range s.items[s.head:] {
		if gone(it) {
			dropped = append(dropped, it)
		} else {
			left = append(left, it)
		}
	}
	clear(s.items[len(left):])
	s.items, s.head = left, 0
	s.q.queued -= len(dropped)
	return dropped
}

// drop takes out the items for which gone is true. A share that has nothing left leaves its turn, wherever in line it is: while one
// is in turn a worker is started, and would be again and again, for nothing.
func (q *channelQueue) drop(gone func(*share, *item) bool) (dropped []*item) {
	if q.queued == 0 {
		return nil
	}
	for _, s := range q.shares {
		dropped = append(dropped, s.drop(func(it *item) bool { return gone(s, it) })...)
	}
	if len(dropped) == 0 {
		return nil
	}
	line := q.first
	q.first, q.last = nil, nil
	for line != nil {
		s := line
		line, s.waiting, s.next = s.next, false, nil
		s.wait()
	}
	return dropped
}

// A reservation is room at the channels for items that are being claimed.
type reservation struct {
	d      *dispatcher
	shares []*share
}

// add reserves room for one item, or reports that there is none, and whether that is since the service has much there already.
func (r *reservation) add(channel string, service ServiceID) (ok, much bool) {
	d := r.d
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.queues[channel]
	if q == nil || d.stopping {
		return false, false
	}
	s := q.share(service)
	own := s.pending + s.reserved
	if !q.has(service, own) {
		q.full, s.full = true, own
		q.starved = q.starved || own == 0
		return false, own > fewItems
	}
	q.reserved++
	s.reserved++
	r.shares = append(r.shares, s)
	return true, false
}

// giveUp is called with d.mu held.
func (r *reservation) giveUp() {
	for _, s := range r.shares {
		s.reserved--
		s.q.reserved--
	}
	r.shares = nil
}

func (r *reservation) release() {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	r.giveUp()
	r.d.checkIdle()
}

// hand turns the reservation into items. What is handed over once nothing more is taken is given back.
func (r *reservation) hand(items []*item) {
	d := r.d
	d.mu.Lock()
	stopping := d.stopping
	r.giveUp()
	for _, it := range items {
		q := d.queues[it.entry.Channel]
		it.share = q.share(it.service)
		d.e.held.add(it.lease.Number, 1)
		q.pending++
		it.share.pending++
		d.pending++
		if !stopping {
			it.share.add(it)
		}
	}
	for _, it := range items {
		it.share.q.spawn()
	}
	d.checkIdle()
	d.mu.Unlock()
	if stopping { // nobody looks at the queue any more
		d.giveBack(items, 0)
	}
}

// giveBack records that items were not tried, and may be after a time.
func (d *dispatcher) giveBack(items []*item, after time.Duration) {
	for _, it := range items {
		d.record(it.share.q, it, result{kind: resultBack, after: after})
	}
}

// reserve makes room with Run for the entries that may be tried now, as many as it has room for; nil: none, or nobody runs.
func (e *Engine) reserve(service ServiceID, entries []workEntry, now time.Time) *reservation {
	d := e.running.Load()
	if d == nil {
		return nil
	}
	r := &reservation{d: d}
	for i := range entries {
		if entries[i].Paused != 0 || entries[i].Next > toMicro(now) {
			continue
		}
		if ok, _ := r.add(entries[i].Channel, service); ok {
			entries[i].Held, entries[i].Claims = true, 1
		}
	}
	if len(r.shares) == 0 {
		return nil
	}
	return r
}

// spawn is called with d.mu held.
func (q *channelQueue) spawn() {
	if q.workers < q.route.Workers && q.first != nil {
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
	var batch []*item
	for {
		if batch = q.next(batch[:0]); len(batch) == 0 {
			return
		}
		q.d.deliver(q, batch)
		clear(batch)
	}
}

// next is the items that a worker takes together, of different citizens, and of the services in turn: for a BatchChannel as many as
// wait, for its next call; for another channel its share of what waits, if the channel does that in no time.
func (q *channelQueue) next(batch []*item) []*item {
	d := q.d
	for {
		d.mu.Lock()
		if q.queued == 0 { // and the engine's user may set the clock by now
			d.mu.Unlock()
			return nil
		}
		if wait, open := q.line.rests(d.e.now()); open {
			left := q.drop(func(*share, *item) bool { return true })
			d.mu.Unlock()
			d.giveBack(left, wait)
			return nil
		}
		s := q.turn()
		if s == nil {
			d.mu.Unlock()
			return nil
		}
		if q.route.Rate > 0 && d.startable(q.route, s.items[s.head]) { // what is too late is only given back
			if wait := q.line.take(); wait > 0 {
				d.mu.Unlock()
				pause(d.ctx, wait)
				continue
			}
		}
		most := maxBatch
		if !q.batched() {
			most = q.most()
		}
		batch = q.fill(batch, most)
		d.mu.Unlock()
		return batch
	}
}

// turn is the share whose turn it is, the first in line; nil: there is none. Those of services whose rate allows nothing now rest.
func (q *channelQueue) turn() *share {
	for q.first != nil {
		wait := q.d.e.pacing.wait(q.first.service)
		if wait == 0 {
			return q.first
		}
		q.leave().rest(wait)
	}
	return nil
}

// fill takes an item of each share in turn.
func (q *channelQueue) fill(batch []*item, most int) []*item {
	var seen map[store.Owner]bool
	if most > 1 && q.queued > 1 {
		seen = make(map[store.Owner]bool, most)
	}
	var passed []*share // all they have is of citizens who are in the batch already, or above their rate
	for s := q.turn(); s != nil; s = q.turn() {
		q.leave()
		var it *item
		if !q.enough(batch, s.service) {
			it = s.take(seen)
		}
		if it == nil {
			passed = append(passed, s)
			continue
		}
		if len(batch) > 0 && q.route.Rate > 0 && q.line.take() > 0 {
			q.stay(s)
			s.undo(it)
			break
		}
		s.wait()
		batch = append(batch, it)
		if len(batch) >= most || seen == nil {
			break
		}
		seen[it.owner] = true
	}
	for _, s := range passed {
		s.wait()
	}
	return batch
}

// enough reports whether a batch has as many of a service as its rate lets go now: more would be read for nothing, and put back.
func (q *channelQueue) enough(batch []*item, id ServiceID) bool {
	ready, n := q.d.e.pacing.ready(id), 0
	if ready > len(batch) {
		return false
	}
	for _, it := range batch {
		if it.service == id {
			n++
		}
	}
	return n > 0 && n >= ready
}

func (q *channelQueue) batched() bool {
	_, ok := q.route.Channel.(BatchChannel)
	return ok
}

// most is how many items one worker may take: no more than its part of what waits, and than are delivered in a moment. It is
// called with d.mu held.
func (q *channelQueue) most() int {
	if q.route.Rate > 0 {
		return 1
	}
	return max(1, min(q.queued/q.route.Workers, int(shareTime/max(q.average, time.Microsecond)), maxShare))
}

const (
	maxShare  = 64
	shareTime = 5 * time.Millisecond
)

// putBack returns items that a worker had taken to the head of their shares. With a wait those then rest for that long.
func (q *channelQueue) putBack(items []*item, wait time.Duration) {
	d := q.d
	d.mu.Lock()
	stopping := d.stopping
	if !stopping {
		for _, it := range slices.Backward(items) {
			if s := it.share; wait > 0 && s.resting == nil && !s.waiting {
				s.rest(wait)
			}
			it.share.undo(it)
			q.spawn()
		}
	}
	d.mu.Unlock()
	if stopping { // nobody looks at the queue any more
		d.giveBack(items, 0)
	}
}

// sweep gives back what has waited so long, for a worker or for its service's rate, that its lease leaves no time to deliver it. It looks at
// all that waits, and so not at each look of Run's: a part of a lease later is early enough.
func (d *dispatcher) sweep() {
	now := d.e.mono()
	d.mu.Lock()
	if now < d.sweepAt {
		d.mu.Unlock()
		return
	}
	d.sweepAt = now + min(pollEvery, d.e.opts.Lease/16)
	var stale []*item
	for _, q := range d.queues {
		stale = append(stale, q.drop(func(s *share, it *item) bool {
			return (q.workers >= q.route.Workers || s.resting != nil) && !d.startable(q.route, it)
		})...)
	}
	d.mu.Unlock()
	d.giveBack(stale, 0)
}

// startable reports whether a delivery can end, with the margin, before its lease does.
func (d *dispatcher) startable(r *Route, it *item) bool {
	if toMicro(d.e.now()) >= it.lease.Until { // the clock may have stepped
		return false
	}
	return it.started+d.e.opts.Lease-d.e.mono() >= r.Timeout+d.e.opts.Margin // looked at last: see lease.go
}

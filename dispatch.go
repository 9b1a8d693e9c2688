package appio

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
)

// A dispatcher delivers for one Run or Flush: it claims due work, or is handed what was just accepted, and brings each item
// through the citizen's gate to its channel. Each channel has its own queue and workers, so that a sick one holds up
// nothing else. Workers exist while there is work.
type dispatcher struct {
	e      *Engine
	ctx    context.Context // of the channels' calls: ends when draining is over
	cancel context.CancelFunc

	mu       sync.Mutex
	queues   map[string]*channelQueue
	stopping bool // nothing more is taken
	pending  int  // items that are queued, under way, or whose outcome is not committed
	idle     chan struct{}
	wake     chan struct{}                 // to look for due work: room again, or a retry that comes soon
	after    map[store.Lane]store.Position // where to go on in lanes whose head cannot be taken
	failure  error                         // of the store
	tried    atomic.Int64                  // deliveries
}

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
	pageSize     = 64              // records of each lane in one look
	pollEvery    = time.Second     // without a reason to look sooner
	mostRoom     = 8192            // items at a channel
	roomFor      = 2 * time.Second // of work at a channel's present speed
	maxBatch     = 100             // deliveries in one call of a BatchChannel
	firstAverage = 10 * time.Millisecond
)

func newDispatcher(e *Engine) *dispatcher {
	d := &dispatcher{e: e, queues: map[string]*channelQueue{}, wake: make(chan struct{}, 1), after: map[store.Lane]store.Position{}}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	for i := range e.opts.Channels {
		r := &e.opts.Channels[i]
		d.queues[r.Name] = &channelQueue{d: d, route: r, average: firstAverage,
			bucket: bucket{rate: r.Rate, burst: max(1, r.Rate), tokens: max(1, r.Rate), at: time.Now()}}
	}
	return d
}

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

// hand turns the reservation into items.
func (r *reservation) hand(items []*item) {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	for _, q := range r.queues {
		q.reserved--
	}
	r.queues = nil
	for _, it := range items {
		q := r.d.queues[it.entry.Channel]
		r.d.e.held.add(it.lease.Number, 1)
		q.items = append(q.items, it)
		q.pending++
		r.d.pending++
	}
	for _, it := range items {
		r.d.queues[it.entry.Channel].spawn()
	}
	r.d.checkIdle()
}

// reserve makes room with Run for the entries, as many as it has room for; nil: none, or nobody runs.
func (e *Engine) reserve(entries []workEntry) *reservation {
	d := e.running.Load()
	if d == nil {
		return nil
	}
	r := &reservation{d: d}
	for i := range entries {
		if r.add(entries[i].Channel) {
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

// next is the items of the next call: one, or for a BatchChannel as many as wait, of different citizens.
func (q *channelQueue) next() []*item {
	d := q.d
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
		if _, ok := q.route.Channel.(BatchChannel); ok && len(rest) > 0 {
			seen := map[store.Owner]bool{batch[0].owner: true}
			var left []*item
			for i, it := range rest {
				if len(batch) == maxBatch {
					left = append(left, rest[i:]...)
					break
				}
				if seen[it.owner] || q.route.Rate > 0 && q.bucket.take(time.Now()) > 0 {
					left = append(left, it)
					continue
				}
				seen[it.owner] = true
				batch = append(batch, it)
			}
			rest = left
		}
		q.items = rest
		if len(rest) == 0 {
			q.items = nil
		}
		d.mu.Unlock()
		return batch
	}
}

// An attempt is one item in a call of its channel.
type attempt struct {
	it       *item
	pass     *pass
	delivery Delivery
	what     sending
	code     string // the recipient's, to keep it out of errors
	settled  bool   // an outcome was recorded; guarded by call.mu
}

// deliver brings items to their channel and records what became of them.
func (d *dispatcher) deliver(q *channelQueue, batch []*item) {
	e := d.e
	var as []*attempt
	for _, it := range batch {
		a, r := d.prepare(q.route, it)
		if a == nil {
			d.record(q, it, r)
			continue
		}
		as = append(as, a)
	}
	if len(as) == 0 {
		return
	}
	ctx, cancel := context.WithCancelCause(d.ctx)
	defer cancel(nil)
	call := &passGroup{}
	ctx = context.WithValue(ctx, groupKey{}, call)
	cancelOne := cancel
	if _, ok := q.route.Channel.(BatchChannel); ok {
		cancelOne = nil
	}
	begun := as[:0]
	for _, a := range as {
		if !d.startable(q.route, a.it) && planted != "no-start-check" || !e.gates.begin(a.pass, a.what, call, cancelOne) {
			e.gates.leave(a.pass)
			d.record(q, a.it, result{kind: resultBack})
			continue
		}
		begun = append(begun, a)
	}
	if len(begun) == 0 {
		return
	}
	d.tried.Add(int64(len(begun)))
	d.call(ctx, q, begun)
}

// prepare takes the gates' pass, reads consent again, and makes the delivery of what is allowed now.
func (d *dispatcher) prepare(route *Route, it *item) (*attempt, result) {
	e := d.e
	p := &pass{owners: [2]store.Owner{it.owner, service(it.service)}}
	if !e.gates.enter(p) {
		return nil, result{kind: resultBack}
	}
	a, r := d.prepareInside(route, it, p)
	if a == nil {
		e.gates.leave(p)
	}
	return a, r
}

func (d *dispatcher) prepareInside(route *Route, it *item, p *pass) (*attempt, result) {
	e := d.e
	v, err := e.viewConsent(d.ctx, it.owner, it.service, messageKey(it.message))
	if err != nil {
		d.storeFailed(err)
		return nil, result{kind: resultBack, after: jitter(0, time.Second, time.Second)}
	}
	now := e.now()
	if toMicro(now) >= it.expires {
		return nil, result{kind: resultExpired}
	}
	unreadable := func(err error) (*attempt, result) {
		if errors.Is(err, store.ErrCorrupt) {
			return nil, result{kind: resultPermanent, cause: "a stored record could not be read"}
		}
		return nil, result{kind: resultBack, after: 10 * time.Second} // another key, or a newer program
	}
	svc, err := v.service(it.service)
	if err != nil {
		return unreadable(err)
	}
	cs, err := v.readConsent(it.service)
	if err != nil {
		return unreadable(err)
	}
	content, address, why := e.permitted(cs, svc, it.owner, route.Name, it.entry.Address, it.secure, now)
	if content == None {
		return nil, result{kind: resultVoid, cause: why}
	}
	var m messageRecord
	found, err := v.read(messageKey(it.message), &m)
	if errors.Is(err, errShredded) {
		return nil, result{kind: resultVoid, cause: "erased"}
	}
	if err != nil {
		return unreadable(err)
	}
	if !found {
		return nil, result{kind: resultVoid, cause: "no such message any more"}
	}
	a := &attempt{it: it, pass: p, code: cs.profile.Code, delivery: Delivery{
		ID: it.entry.ID, Channel: route.Name, Attempt: it.entry.Attempts + 1, Content: content, Address: address,
		Message: it.message, Service: it.service, ServiceName: svc.Name, OrganizationName: svc.OrgName,
		Due: fromMicro(m.Due), ExpiresAt: fromMicro(it.expires),
	}}
	if len(cs.profile.Languages) > 0 {
		a.delivery.Language = cs.profile.Languages[0]
	}
	if route.ByCode {
		a.delivery.To = fiscalcode.Person(cs.profile.Code)
	}
	if content == Full {
		whole := m.message("")
		a.delivery.Subject, a.delivery.Markdown, a.delivery.Payment = whole.Subject, whole.Markdown, whole.Payment
	}
	a.delivery.Withdraw = e.codec.sealWithdrawal(it.owner, it.service, route.Name)
	a.what = sending{it.entry.ID, it.owner, it.service, route.Name, address, content, it.secure}
	return a, result{}
}

// call calls the channel. If the call does not end in time its attempts are recorded as failed all the same; the worker and
// the gates stay with it until it does, so that a hung channel keeps no more than its workers busy.
func (d *dispatcher) call(ctx context.Context, q *channelQueue, as []*attempt) {
	e := d.e
	end := e.observe(&ctx, Operation{Name: "deliver", Service: as[0].it.service, Channel: q.route.Name, Count: len(as)})
	timeout := q.route.Timeout
	for _, a := range as { // less, if this process stood still since it looked
		timeout = min(timeout, a.it.started+e.opts.Lease-e.opts.Margin-e.mono())
	}
	if timeout <= 0 && planted != "no-start-check" {
		for _, a := range as {
			e.gates.leave(a.pass)
			d.record(q, a.it, result{kind: resultBack})
		}
		end(Outcome{})
		return
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var mu sync.Mutex
	returned := false
	hung := false
	late := time.AfterFunc(q.route.Timeout+e.opts.Margin/2, func() {
		mu.Lock()
		defer mu.Unlock()
		if returned {
			return
		}
		hung = true
		d.hang(q, 1)
		for _, a := range as {
			if !a.settled {
				a.settled = true
				d.record(q, a.it, result{kind: resultFailed, cause: "the channel did not return in time"})
			}
		}
	})
	start := time.Now()
	errs := make([]error, len(as))
	for i := range errs {
		errs[i] = errEnded // unless the call returns
	}
	defer func() { // also after a panic, and where the channel ended the goroutine
		if v := recover(); v != nil {
			for i := range errs {
				errs[i] = fmt.Errorf("panic: %v", v)
			}
			e.log().Error("a channel panicked", "channel", q.route.Name)
		}
		late.Stop()
		d.measure(q, time.Since(start))
		for _, a := range as {
			e.gates.leave(a.pass)
		}
		var first error
		mu.Lock()
		defer mu.Unlock()
		if returned = true; hung {
			d.hang(q, -1)
		}
		for i, a := range as {
			r := e.resultOf(errs[i], a)
			if first == nil && errs[i] != nil {
				first = errors.New(r.cause)
			}
			if r.kind == resultFailed && (context.Cause(ctx) == errRevoked || d.ctx.Err() != nil) { // not the channel's fault
				r = result{kind: resultBack}
			}
			switch {
			case a.settled && r.kind == resultDelivered: // given up before
				e.writer.start(e.outcomeOp(a.it, r), nil)
			case !a.settled:
				a.settled = true
				d.record(q, a.it, r)
			}
			if r.kind == resultGone && a.what.Address.ID != "" {
				d.removeAddress(a)
			}
		}
		end(Outcome{Err: first})
	}()
	if b, ok := q.route.Channel.(BatchChannel); ok {
		ds := make([]Delivery, len(as))
		for i, a := range as {
			ds[i] = a.delivery
		}
		got := b.DeliverBatch(ctx, ds)
		if got != nil && len(got) != len(as) {
			got = nil
			for i := range errs {
				errs[i] = errors.New("the channel answered for another number of deliveries")
			}
			return
		}
		clear(errs)
		copy(errs, got)
		return
	}
	errs[0] = q.route.Channel.Deliver(ctx, as[0].delivery)
}

var errEnded = errors.New("the channel ended its goroutine")

func (d *dispatcher) hang(q *channelQueue, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	q.hung += n
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

func (d *dispatcher) measure(q *channelQueue, took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	q.average += (took - q.average) / 8
}

// record commits what became of an item, without waiting for it. A store that is away for a moment must not make a delivery that
// was made look as if it was not: it is tried again for as long as the lease stands.
func (d *dispatcher) record(q *channelQueue, it *item, r result) {
	try := 0
	var commit func()
	commit = func() {
		d.e.writer.start(d.e.outcomeOp(it, r), func(err error) {
			if err != nil && !fatal(err) && !errors.Is(err, store.ErrCorrupt) && d.e.mono() < it.started+d.e.opts.Lease {
				try++
				time.AfterFunc(jitter(try, 5*time.Millisecond, time.Second), commit)
				return
			}
			if err != nil {
				d.storeFailed(err)
				d.e.log().Error("what became of a delivery could not be recorded", "channel", q.route.Name, "err", err)
			}
			d.recorded(q, it, r)
		})
	}
	commit()
}

func (d *dispatcher) recorded(q *channelQueue, it *item, r result) {
	d.e.held.add(it.lease.Number, -1)
	d.mu.Lock()
	defer d.mu.Unlock()
	q.pending--
	d.pending--
	if r.kind == resultFailed || r.kind == resultBack || q.full && q.pending < max(1, q.room()/2) {
		q.full = false
		d.look()
	}
	d.checkIdle()
}

// look asks for a look at due work soon. It is called with d.mu held.
func (d *dispatcher) look() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// checkIdle is called with d.mu held.
func (d *dispatcher) checkIdle() {
	if d.idle != nil && d.pending == 0 && d.reservations() == 0 {
		close(d.idle)
		d.idle = nil
	}
}

func (d *dispatcher) reservations() (n int) {
	for _, q := range d.queues {
		n += q.reserved
	}
	return n
}

// whenIdle is closed once nothing is pending.
func (d *dispatcher) whenIdle() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.idle == nil {
		d.idle = make(chan struct{})
	}
	idle := d.idle
	d.checkIdle()
	return idle
}

// storeFailed keeps an error after which delivering makes no sense.
func (d *dispatcher) storeFailed(err error) {
	if err == nil || !fatal(err) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failure == nil {
		d.failure = err
		d.look()
	}
}

// refusal reports whether a change was not made, or not surely, because the store did not take it.
func refusal(err error) bool {
	return fatal(err) || errors.Is(err, store.ErrAborted) || errors.Is(err, ErrUnknown)
}

func fatal(err error) bool {
	return errors.Is(err, store.ErrFailed) || errors.Is(err, store.ErrClosed)
}

// removeAddress takes an address that no longer exists out of the profile. Nothing is sent to it meanwhile, so it waits for
// nothing.
func (d *dispatcher) removeAddress(a *attempt) {
	e := d.e
	c := consentChange{by: ByChannel, what: RemovedAddress, profile: func(before *profileRecord, _ uint32) (*profileRecord, error) {
		if before == nil {
			return nil, nil
		}
		next := *before
		next.Addresses = nil
		for _, ad := range before.Addresses {
			if ad.ID != a.what.Address.ID || ad.Value != a.what.Address.Value {
				next.Addresses = append(next.Addresses, ad)
			}
		}
		if len(next.Addresses) == len(before.Addresses) {
			return nil, nil
		}
		next.Version++
		return &next, nil
	}}
	o := e.consentOp(a.it.owner, c, nil, nil)
	e.writer.start(o, func(err error) {
		if err != nil && !errors.Is(err, ErrErasing) {
			e.log().Error("an address that is gone could not be removed", "channel", a.what.Channel, "err", err)
		}
	})
}

// poll claims what is due until a time and returns how many deliveries it took, and whether there may be more.
func (d *dispatcher) poll(ctx context.Context, until time.Time) (taken int, more bool, err error) {
	lanes, err := d.read(ctx, laneDelivery, deliveryLanes, until)
	if err != nil {
		return 0, false, err
	}
	first := rand.IntN(deliveryLanes)
	// In turn: the first of each lane, then the second of each.
	var claims []*claim
	var ops []*op
	for n := 0; ; n++ {
		some := false
		for i := range deliveryLanes {
			lane := laneDelivery + store.Lane((first+i)%deliveryLanes)
			if recs := lanes[lane]; n < len(recs) {
				some = true
				c := &claim{e: d.e, d: d, seen: recs[n]}
				claims, ops = append(claims, c), append(ops, c.op())
			}
		}
		if !some {
			break
		}
	}
	moved := map[store.Lane]int{}
	var refused error
	for i, err := range d.e.writer.do(ctx, ops...) {
		if err != nil {
			if refusal(err) {
				refused = err
			}
			continue // busy, or unreadable for now: it stays due
		}
		taken += claims[i].gained
		if claims[i].moved {
			moved[claims[i].seen.Lane]++
		}
	}
	return taken, d.advance(lanes, moved), refused
}

// read is a page of each of some lanes, from where advance left off.
func (d *dispatcher) read(ctx context.Context, base store.Lane, n int, until time.Time) (map[store.Lane][]store.Record, error) {
	lanes := map[store.Lane][]store.Record{}
	var heads []store.Lane
	for i := range n {
		lane := base + store.Lane(i)
		after, ok := d.after[lane]
		if !ok {
			heads = append(heads, lane)
			continue
		}
		recs, err := d.e.store.Due(ctx, store.DueQuery{Lanes: []store.Lane{lane}, Until: until, After: after, Limit: pageSize})
		if err != nil {
			return nil, err
		}
		lanes[lane] = recs
	}
	recs, err := d.e.store.Due(ctx, store.DueQuery{Lanes: heads, Until: until, Limit: pageSize})
	for _, r := range recs {
		lanes[r.Lane] = append(lanes[r.Lane], r)
	}
	return lanes, err
}

// advance sets where the next look goes on: where nothing of a full page could be moved, behind it, so that what is stuck at the
// head of a lane does not hold up the rest; otherwise at the head. It reports whether there may be more.
func (d *dispatcher) advance(lanes map[store.Lane][]store.Record, moved map[store.Lane]int) (more bool) {
	for lane, recs := range lanes {
		if len(recs) < pageSize {
			delete(d.after, lane)
			continue
		}
		more = true
		if moved[lane] == 0 {
			last := recs[len(recs)-1]
			d.after[lane] = store.Position{Due: last.Due, Owner: last.Owner, Key: last.Key}
		}
	}
	return more
}

// recover claims what an earlier life of an exclusive store's engine had under leases: nobody else can hold them.
func (d *dispatcher) recover(ctx context.Context) error {
	horizon := d.e.now().Add(d.e.opts.Lease + d.e.opts.MaxSkew)
	for lane := range store.Lane(deliveryLanes) {
		q := store.DueQuery{Lanes: []store.Lane{laneDelivery + lane}, Until: horizon, Limit: 256}
		for {
			recs, err := d.e.store.Due(ctx, q)
			if err != nil {
				return err
			}
			var ops []*op
			for _, r := range recs {
				if strings.HasPrefix(string(r.Key), prefixLeased) {
					ops = append(ops, (&claim{e: d.e, d: d, seen: r}).op())
				}
			}
			for _, err := range d.e.writer.do(ctx, ops...) {
				if fatal(err) {
					return err
				}
			}
			if len(recs) < q.Limit {
				break
			}
			last := recs[len(recs)-1]
			q.After = store.Position{Due: last.Due, Owner: last.Owner, Key: last.Key}
		}
	}
	return nil
}

// stop takes nothing more and gives back what has not begun.
func (d *dispatcher) stop() {
	d.mu.Lock()
	d.stopping = true
	left := map[*channelQueue][]*item{}
	for _, q := range d.queues {
		left[q], q.items = q.items, nil
	}
	d.mu.Unlock()
	for q, items := range left {
		for _, it := range items {
			d.record(q, it, result{kind: resultBack})
		}
	}
}

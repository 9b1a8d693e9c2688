package appio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/failpoint"
	"github.com/appio-go/appio/store"
)

// An attempt is one item on its way to its channel.
type attempt struct {
	it       *item
	pass     pass
	delivery Delivery
	what     sending
	code     string // the recipient's, to keep it out of errors
	basis    string // by which it goes in quiet hours; empty: it does not
	settled  bool   // an outcome was recorded; guarded by call.mu
}

// deliver brings items to their channel and records what became of them.
func (d *dispatcher) deliver(q *channelQueue, batch []*item) {
	as := d.prepare(q, batch)
	if len(as) > 0 && d.e.pacing.some.Load() { // what rested was left to one worker, and more of it may go by now
		d.mu.Lock()
		q.spawn()
		d.mu.Unlock()
	}
	if q.batched() {
		d.call(q, as)
		return
	}
	s := &slice{q: q, left: as}
	if len(as) > 1 {
		late := time.AfterFunc(2*shareTime, s.giveBack)
		defer late.Stop()
	}
	defer s.giveBack() // also where a channel ended the goroutine
	for a := s.next(); a != nil; a = s.next() {
		d.call(q, a)
	}
}

// A slice is what a worker has prepared for a channel that takes one delivery at a time. What it does not come to soon goes back
// to the queue, for others.
type slice struct {
	q    *channelQueue
	mu   sync.Mutex
	left []*attempt
}

// next is the next attempt; none: nothing is left.
func (s *slice) next() []*attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.left) == 0 {
		return nil
	}
	a := s.left[:1:1]
	s.left = s.left[1:]
	return a
}

func (s *slice) giveBack() {
	s.mu.Lock()
	left := s.left
	s.left = nil
	s.mu.Unlock()
	if len(left) == 0 {
		return
	}
	items := make([]*item, len(left))
	for i, a := range left {
		s.q.d.e.gates.leave(&a.pass)
		items[i] = a.it
	}
	s.q.putBack(items, 0)
}

// prepare takes the gates' passes, looks at consent again, and makes the deliveries of what is allowed now. The rest is recorded.
func (d *dispatcher) prepare(q *channelQueue, items []*item) []*attempt {
	e := d.e
	as := make([]*attempt, 0, len(items))
	for _, it := range items {
		if e.pauses.since(q.route.Name, it.service) != 0 {
			d.record(q, it, d.back(it))
			continue
		}
		a := &attempt{it: it, pass: pass{owners: [2]store.Owner{it.owner, service(it.service)}}}
		if shut, ok := e.gates.enter(&a.pass); !ok { // ever later: what closed it may be waiting for a store that is slow
			d.record(q, it, result{kind: resultBack, after: min(shut, pollEvery)})
			continue
		}
		as = append(as, a)
	}
	if len(as) == 0 {
		return nil
	}
	seen, err := e.look(d.ctx, as)
	if err != nil {
		d.storeFailed(err)
		for _, a := range as {
			e.gates.leave(&a.pass)
			d.record(q, a.it, result{kind: resultBack, after: jitter(0, time.Second, time.Second)})
		}
		return nil
	}
	ready := as[:0]
	for i, a := range as {
		if r := d.decide(q.route, a, &seen[i]); r != nil {
			e.gates.leave(&a.pass)
			if r.rest > 0 {
				q.putBack([]*item{a.it}, r.rest)
			} else {
				d.record(q, a.it, *r)
			}
			continue
		}
		ready = append(ready, a)
	}
	return ready
}

// A sight is what an attempt is decided by, as it is now.
type sight struct {
	service *serviceEntry
	known   *knowledge // consent and message, where they are known
	draft   *draft     // to read them from, where not
}

// look sees what attempts, of different citizens, are decided by.
func (e *Engine) look(ctx context.Context, as []*attempt) ([]sight, error) {
	seen := make([]sight, len(as))
	v := &views{known: make([]*knowledge, len(as)), reads: make([]store.Read, len(as)), services: services{}}
	for i, a := range as {
		v.reads[i].Owner = a.it.owner
		v.services[a.pass.owners[1]] = nil
		if k := a.it.flow.known.Load(); k != nil && k.consent != nil && !a.it.entry.conditional() {
			v.known[i] = k
		}
	}
	err := e.see(ctx, v, func(i int) {
		it := as[i].it
		d := &draft{ownerCodec: ownerCodec{codec: e.codec, owner: it.owner}}
		for _, k := range d.consentKeys(it.service) {
			d.want(k, &v.reads[i])
		}
		if it.digest == nil {
			d.want(messageKey(it.message), &v.reads[i])
		} else {
			for _, id := range it.digest.of.Messages {
				d.want(messageKey(id), &v.reads[i])
				d.want(stateKey(id), &v.reads[i])
			}
		}
		if it.entry.conditional() {
			d.want(stateKey(it.message), &v.reads[i])
		}
		if it.entry.Reminder != "" {
			d.want(leasedKey(it.message), &v.reads[i])
			if it.entry.Bill != "" {
				d.want(store.Key(it.entry.Bill), &v.reads[i])
			}
		}
		seen[i].draft = d
	})
	if err != nil {
		return nil, err
	}
	for i, a := range as {
		s := &seen[i]
		s.service, s.known = v.services[a.pass.owners[1]], v.known[i]
		if s.draft != nil {
			s.draft.load(&v.reads[i], &v.snaps[i])
		}
	}
	return seen, nil
}

// decide makes the delivery of an attempt, or says what becomes of it if it is not to be made.
func (d *dispatcher) decide(route *Route, a *attempt, seen *sight) *result {
	e, it := d.e, a.it
	now := e.now()
	if toMicro(now) >= it.expires {
		return &result{kind: resultExpired}
	}
	unreadable := func(err error) *result {
		if errors.Is(err, store.ErrCorrupt) {
			return &result{kind: resultPermanent, cause: "a stored record could not be read"}
		}
		return &result{kind: resultBack, after: 10 * time.Second} // another key, or a newer program
	}
	svc := seen.service.record
	if err := seen.service.err; err != nil {
		return unreadable(err)
	}
	var cs *consentState
	var err error
	if seen.known != nil {
		cs = seen.known.consent
	} else if cs, err = seen.draft.readConsent(it.service); err != nil {
		return unreadable(err)
	}
	content, address, why := e.permitted(cs, svc, it.owner, route.Name, it.entry.Address, it.secure, now)
	if content == None {
		return &result{kind: resultVoid, cause: why}
	}
	if it.entry.Fallback != "" {
		var s stateRecord
		if _, err := seen.draft.read(stateKey(it.message), &s); err != nil && !errors.Is(err, errShredded) {
			return unreadable(err)
		}
		if (s.ReadAt != 0 || s.Archived) && planted != "fallback-blind" {
			return &result{kind: resultVoid, cause: causeRead}
		}
	}
	if until := cs.profile.quietUntil(route, now); until.After(now) && planted != "quiet-unseen" {
		if svc.QuietBasis == "" {
			return &result{kind: resultBack, quiet: toMicro(until)}
		}
		a.basis = svc.QuietBasis
	}
	var m *messageRecord
	var digest *Digest
	switch {
	case it.digest != nil:
		m = &messageRecord{} // it has no day and no notice of its own
		if digest, err = it.open(seen.draft, content, cs.profile.Languages, now); err != nil {
			return unreadable(err)
		}
		if digest.Count == 0 {
			return &result{kind: resultVoid, cause: causeNothingLeft}
		}
	case seen.known != nil:
		m = seen.known.message
	default:
		m = &messageRecord{}
		found, err := seen.draft.read(messageKey(it.message), m)
		switch {
		case errors.Is(err, errShredded):
			return &result{kind: resultVoid, cause: "erased"}
		case err != nil:
			return unreadable(err)
		case !found:
			return &result{kind: resultVoid, cause: "no such message any more"}
		}
		it.flow.learnConsent(seen.draft.rev, cs, m)
	}
	if it.entry.Reminder != "" {
		if s := e.opts.Reminders; s != nil && s.inHours(now).After(now) && planted != "reminder-night" {
			return &result{kind: resultBack, after: s.inHours(now).Sub(now)}
		}
		if why, err := e.moot(seen.draft, cs, it, now); err != nil {
			return unreadable(err)
		} else if why != "" {
			return &result{kind: resultVoid, cause: why}
		}
	}
	if wait := e.pacing.take(it.service, rateOf(svc.DeliveryRate, e.opts.DeliveryRate), time.Now()); wait > 0 {
		return &result{kind: resultBack, rest: wait}
	}
	a.code = cs.profile.Code
	a.delivery = Delivery{
		ID: it.entry.ID, Channel: route.Name, Attempt: it.entry.Attempts + 1, Content: content, Address: address, Reminder: it.entry.Reminder,
		Message: it.message, Service: it.service, ServiceName: svc.Name, OrganizationName: svc.OrgName,
		Due: fromMicro(m.Due), ExpiresAt: fromMicro(it.expires), Withdraw: e.codec.sealWithdrawal(it.owner, it.service, route.Name),
	}
	if len(cs.profile.Languages) > 0 {
		a.delivery.Language = cs.profile.Languages[0]
	}
	if route.Bounces {
		a.delivery.Bounce = e.codec.sealBounce(it.owner, &address)
	}
	if route.ByCode {
		a.delivery.To = fiscalcode.Person(cs.profile.Code)
	}
	if digest != nil {
		a.delivery.Digest = digest
		if content == Full {
			a.delivery.Subject, a.delivery.Markdown, a.delivery.TextLanguage = digest.write(svc.Name, a.delivery.Language)
		}
	} else if content == Full {
		whole := m.message("").In(cs.profile.Languages...)
		a.delivery.Subject, a.delivery.Markdown, a.delivery.Payment = whole.Subject, whole.Markdown, whole.Payment
		a.delivery.TextLanguage = whole.Language
	}
	a.what = sending{it.entry.ID, it.owner, it.service, route.Name, address, content, it.secure, it.entry.Reminder}
	return nil
}

// call brings attempts to the channel: one, or, of a BatchChannel, some. If the channel does not return in time they are recorded as
// failed all the same; the worker and the gates stay with it until it does, so that a hung channel keeps no more than its workers busy.
func (d *dispatcher) call(q *channelQueue, as []*attempt) {
	if len(as) == 0 {
		return
	}
	e := d.e
	c := &call{d: d, q: q}
	timeout := c.timeout(as)
	// The group lets a revocation from inside the call know its own call.
	ctx, cancel := context.WithTimeout(&callContext{d.ctx, &c.group}, timeout)
	defer cancel()
	var cancelOne func()
	if !q.batched() {
		cancelOne = func() {
			c.revoked.Store(true)
			cancel()
		}
	}
	begun := as[:0]
	for _, a := range as {
		if !d.startable(q.route, a.it) && planted != "no-start-check" || !e.fresh() || !e.gates.begin(&a.pass, a.what, &c.group, cancelOne) {
			e.gates.leave(&a.pass)
			d.record(q, a.it, d.back(a.it))
			continue
		}
		begun = append(begun, a)
	}
	if len(begun) == 0 {
		return
	}
	if now := e.now(); !q.line.begin(now) {
		wait, _ := q.line.rests(now)
		for _, a := range begun {
			e.gates.leave(&a.pass)
			d.record(q, a.it, result{kind: resultBack, after: max(wait, probeAfter)})
		}
		return
	}
	d.tried.Add(int64(len(begun)))
	c.as = begun
	_ = failpoint.Hit("dispatch/call")
	c.run(ctx)
}

// probeAfter is how long work rests that came when there were enough probes of a channel under way.
const probeAfter = time.Second

// back is what becomes of an item that may not begin now.
func (d *dispatcher) back(it *item) result {
	return result{kind: resultBack, paused: d.e.pauses.since(it.entry.Channel, it.service) != 0}
}

// A call is one call of a channel.
type call struct {
	d       *dispatcher
	q       *channelQueue
	as      []*attempt
	group   passGroup
	revoked atomic.Bool // a revocation has cancelled it

	mu       sync.Mutex
	returned bool
	hung     bool
}

// callContext is the dispatcher's, with the call's group.
type callContext struct {
	context.Context
	group *passGroup
}

func (c *callContext) Value(key any) any {
	if key == (groupKey{}) {
		return c.group
	}
	return c.Context.Value(key)
}

// timeout is the route's, or less if this process stood still since it claimed the work.
func (c *call) timeout(as []*attempt) time.Duration {
	e := c.d.e
	timeout, now := c.q.route.Timeout, e.mono()
	for _, a := range as {
		timeout = min(timeout, a.it.started+e.opts.Lease-e.opts.Margin-now)
	}
	return timeout
}

func (c *call) run(ctx context.Context) {
	d, q, e := c.d, c.q, c.d.e
	end := e.observe(&ctx, Operation{Name: "deliver", Service: c.as[0].it.service, Channel: q.route.Name, Count: len(c.as)})
	if c.timeout(c.as) <= 0 && planted != "no-start-check" {
		for _, a := range c.as {
			e.gates.leave(&a.pass)
			d.record(q, a.it, result{kind: resultBack})
		}
		q.line.ended(e.now(), callNeutral, callNeutral, "")
		end(Outcome{})
		return
	}
	late := time.AfterFunc(q.route.Timeout+e.opts.Margin/2, c.hang)
	start := time.Now()
	errs := make([]error, len(c.as))
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
		_ = failpoint.Hit("dispatch/called")
		end(Outcome{Err: c.finish(errs, time.Since(start))})
	}()
	if b, ok := q.route.Channel.(BatchChannel); ok {
		ds := make([]Delivery, len(c.as))
		for i, a := range c.as {
			ds[i] = a.delivery
		}
		got := b.DeliverBatch(ctx, ds)
		if got != nil && len(got) != len(c.as) {
			for i := range errs {
				errs[i] = errors.New("the channel answered for another number of deliveries")
			}
			return
		}
		clear(errs)
		copy(errs, got)
		return
	}
	errs[0] = q.route.Channel.Deliver(ctx, c.as[0].delivery)
}

// hang gives the attempts of a call up that does not return.
func (c *call) hang() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.returned {
		return
	}
	c.hung = true
	c.d.hang(c.q, 1)
	const late = "the channel did not return in time"
	spare := c.ended(callBad, callBad, late)
	for _, a := range c.as {
		if !a.settled {
			a.settled = true
			r := result{kind: resultFailed, cause: late}
			if spare {
				r = result{kind: resultBack, cause: late, after: probeAfter}
			}
			if planted == "late-delivered" {
				r.kind = resultDelivered
			}
			c.d.record(c.q, a.it, r)
		}
	}
}

// finish records what the channel answered, and returns the first error as it is stored.
func (c *call) finish(errs []error, took time.Duration) (first error) {
	d, q, e := c.d, c.q, c.d.e
	d.measure(q, took)
	for _, a := range c.as {
		e.gates.leave(&a.pass)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.returned = true; c.hung {
		d.hang(q, -1)
	}
	var one [1]result // so that a call of one delivery allocates nothing
	rs := one[:0]
	answered, failed, mild := false, 0, false
	for i, a := range c.as {
		r := e.resultOf(errs[i], a)
		r.basis = a.basis
		if first == nil && errs[i] != nil {
			first = errors.New(r.cause)
		}
		switch {
		case r.kind == resultFailed && (c.revoked.Load() || d.ctx.Err() != nil): // not the channel's fault
			r = result{kind: resultBack}
		case r.kind != resultFailed:
			answered = true
		case r.asked:
			mild = true
		default:
			failed++
		}
		rs = append(rs, r)
	}
	spare := false
	switch {
	case c.hung: // it was counted then
	case answered:
		spare = c.ended(callGood, callGood, "")
	case failed == len(rs):
		spare = c.ended(callBad, callBad, rs[0].cause)
	case mild:
		spare = c.ended(callNeutral, callGood, "")
	default:
		spare = c.ended(callNeutral, callNeutral, "")
	}
	for i, a := range c.as {
		r := rs[i]
		if spare && r.kind == resultFailed && !r.asked {
			r.kind = resultBack
		}
		gone := r.kind == resultGone && a.what.Address.ID != ""
		if gone { // before the outcome can be committed
			d.addPending(1)
		}
		switch {
		case a.settled && r.kind == resultDelivered: // given up before
			o := newOutcome(e, a.it, r)
			o.flow = nil // it may have ended
			e.writer.start(&o.op, nil)
		case !a.settled:
			a.settled = true
			d.record(q, a.it, r)
		}
		if gone {
			d.removeAddress(a)
		}
	}
	return first
}

// ended tells the channel's breaker how the call ended. A failure counts if all was tried for the first time.
func (c *call) ended(verdict, probe callVerdict, cause string) (spare bool) {
	for _, a := range c.as {
		if verdict == callBad && a.it.entry.Attempts > 0 && planted != "poison-counts" {
			verdict = callNeutral
		}
	}
	spare = c.q.line.ended(c.d.e.now(), verdict, probe, cause)
	return spare && planted != "outage-spends"
}

var errEnded = errors.New("the channel ended its goroutine")

func (d *dispatcher) hang(q *channelQueue, n int) {
	d.mu.Lock()
	var left []*item
	switch q.hung += n; {
	case n < 0:
		d.look()
	case q.hung >= q.route.Workers: // what waits here would hold up the same message's other deliveries
		left = q.drop(func(*share, *item) bool { return true })
	}
	d.mu.Unlock()
	d.giveBack(left, 0)
}

func (d *dispatcher) measure(q *channelQueue, took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	q.average += (took - q.average) / 8
}

// record commits what became of an item, without waiting for it. A store that is away for a moment must not make a delivery that
// was made look as if it was not: it is tried again for as long as the lease stands.
func (d *dispatcher) record(q *channelQueue, it *item, r result) {
	_ = failpoint.Hit("dispatch/record")
	d.try(q, it, r, 1)
}

func (d *dispatcher) try(q *channelQueue, it *item, r result, n int) {
	d.e.writer.start(&newOutcome(d.e, it, r).op, func(err error) {
		if err != nil && !fatal(err) && !errors.Is(err, store.ErrCorrupt) && d.e.mono() < it.started+d.e.opts.Lease {
			d.e.writer.later(jitter(n, 5*time.Millisecond, time.Second), func() { d.try(q, it, r, n+1) })
			return
		}
		if err != nil {
			d.storeFailed(err)
			d.e.writer.later(0, func() { // as tell does, which would lock again
				d.e.log().Error("what became of a delivery could not be recorded", "channel", q.route.Name, "err", err)
			})
		}
		d.e.counts.attempt(r.kind)
		d.recorded(q, it, r)
	})
}

func (d *dispatcher) recorded(q *channelQueue, it *item, r result) {
	d.e.held.add(it.lease.Number, -1)
	d.e.flows.end(it.flow)
	d.mu.Lock()
	defer d.mu.Unlock()
	q.pending--
	d.pending--
	s := it.share
	s.pending--
	if r.kind == resultFailed || r.kind == resultBack {
		d.lookIn(max(r.after, backAfter))
	}
	if q.starved || q.full && q.pending < max(1, q.room()/2) || s.full > 0 && s.pending <= s.full/2 {
		q.full, q.starved, s.full = false, false, 0
		d.look()
	}
	d.checkIdle()
}

func (d *dispatcher) addPending(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending += n
	d.checkIdle()
}

// removeAddress takes an address that no longer exists out of the profile. Nothing is sent to it meanwhile, so it waits for
// nothing. It is pending, so that a Flush waits for it as for the outcome.
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
		if e.unproved(a.what.Address.Channel) {
			next.Moves++
		}
		return &next, nil
	}}
	o := e.consentOp(a.it.owner, c, nil, nil)
	e.writer.start(o, func(err error) {
		defer d.addPending(-1)
		if err != nil && !errors.Is(err, ErrErasing) {
			e.log().Error("an address that is gone could not be removed", "channel", a.what.Channel, "err", err)
		}
	})
}

package appio

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio/internal/chance"
	"github.com/appio-go/appio/store"
)

// Open work of a message, or of a digest, is one record with all its deliveries. It waits under q/w/ and is due at the earliest of them; claimed,
// it stands under q/l/ and is due when the lease may be taken over; when nothing is left, what became of the deliveries goes
// to o/ and the record is deleted.

// An item is one delivery under a lease of this engine.
type item struct {
	owner   store.Owner
	message MessageID
	service ServiceID
	secure  bool
	expires int64
	lease   leaseRecord
	entry   workEntry
	started time.Duration // on the monotonic clock, before the claim was committed
	flow    *flow
	share   *share      // of the queue that it is in
	digest  *itemDigest // nil: it is one message's
}

// newItems are the entries that are held under the record's lease.
func newItems(owner store.Owner, id MessageID, w *workRecord, started time.Duration, f *flow) (items []*item) {
	for _, en := range w.Entries {
		if en.Held {
			items = append(items, &item{owner, id, w.Service, w.Secure, w.expires(&en), *w.Lease, en, started, f, nil, w.itemDigest()})
		}
	}
	return items
}

// expires is when a delivery's time is over.
func (w *workRecord) expires(en *workEntry) int64 { return cmp.Or(en.Expires, w.Expires) }

// maxClaims is how often work is claimed in a row without an outcome: after that it is suspected of killing who does it.
const maxClaims = 5

type resultKind uint8

const (
	resultDelivered resultKind = iota
	resultFailed               // to be tried again
	resultPermanent
	resultGone
	resultVoid
	resultExpired
	resultBack // not tried: to be done by the next
)

// A result is what became of an attempt.
type result struct {
	kind   resultKind
	cause  string
	after  time.Duration // before the next attempt
	quiet  int64         // of resultBack: when quiet hours end, in which it was not tried; 0: it was not for them
	basis  string        // of resultDelivered: by which law it was in quiet hours; empty: it was not
	asked  bool          // after is what the channel asked for
	paused bool          // it waits for a resume
	rest   time.Duration // before it is tried from memory: nothing is recorded
}

// An outcome records a result. It counts if the lease still stands; otherwise somebody else has the work, and all that is
// worth keeping is that it was delivered after all.
type outcome struct {
	e    *Engine
	it   *item
	r    result
	next *knowledge // once it is recorded
	op
}

// newOutcome is an operation that is run once.
func newOutcome(e *Engine, it *item, r result) *outcome {
	o := &outcome{e: e, it: it, r: r}
	o.op = op{owner: it.owner, flow: it.flow, keys: it.flow.keys[:], work: o}
	return o
}

func (o *outcome) committed(by *draft) { o.it.flow.learn(by, o.next) }
func (o *outcome) failed()             {}

func (o *outcome) apply(tx *draft) error {
	e, it, r, keys := o.e, o.it, o.r, o.it.flow.keys
	o.next = nil
	w, err := tx.readWork(keys.leased())
	if err != nil {
		return err
	}
	now := micro(e.now())
	i := -1
	if w != nil && w.Lease.same(&it.lease) {
		i = slices.IndexFunc(w.Entries, func(en workEntry) bool { return en.ID == it.entry.ID && en.Held })
	}
	if i < 0 || planted == "no-outcome" {
		if r.kind != resultDelivered {
			return nil
		}
		if known, err := tx.delivered(keys, it.entry.ID, it.entry.Attempts+1); err != nil || known {
			return err
		}
		return tx.putOutcomes(keys, it.service, []outcomeItem{{it.entry.ID, it.entry.Channel, OutcomeDelivered,
			toMicro(now), it.entry.Attempts + 1, "", true, r.basis, it.digest.left()}})
	}
	if err := e.settle(tx, it.message, w, i, r, now); err != nil {
		return err
	}
	if r.kind == resultDelivered {
		w.Done[len(w.Done)-1].Without = it.digest.left()
	}
	if err := tx.putWork(keys, w, keys.leased()); err != nil {
		return err
	}
	o.next = tx.knowledge(keys, it.flow.known.Load())
	return nil
}

// settle changes one entry of open work by a result.
func (e *Engine) settle(tx *draft, id MessageID, w *workRecord, i int, r result, now time.Time) error {
	en := &w.Entries[i]
	en.Held, en.Claims, en.Quiet = false, 0, false
	over := func(res OutcomeResult, attempts int) {
		w.end(i, outcomeItem{en.ID, en.Channel, res, toMicro(now), attempts, en.Cause, false, r.basis, nil})
	}
	if r.cause != "" {
		en.Cause = r.cause
	}
	switch r.kind {
	case resultDelivered:
		en.Cause = ""
		over(OutcomeDelivered, en.Attempts+1)
	case resultVoid:
		over(OutcomeVoid, en.Attempts)
	case resultExpired:
		over(OutcomeExpired, en.Attempts)
	case resultGone:
		over(OutcomeGone, en.Attempts+1)
	case resultBack:
		if r.quiet == 0 {
			en.Next = w.again(en, now.Add(max(backAfter, r.after)))
			if r.paused {
				en.Paused = toMicro(now)
			}
			break
		}
		en.Quiet, en.Next = true, toMicro(now)
		if next := max(r.quiet, toMicro(now)); planted != "quiet-short" {
			w.putOff(en, next)
			e.putOffFallbacks(w, en)
		} else {
			en.Next = next
		}
	case resultFailed:
		if planted != "attempts-forgotten" {
			en.Attempts++
		}
		next := w.again(en, now.Add(max(r.after, time.Millisecond)))
		switch {
		case en.Attempts >= e.opts.MaxAttempts:
			return e.park(tx, id, w, i, now)
		case next > w.expires(en):
			over(OutcomeExpired, en.Attempts)
		default:
			en.Next = next
		}
	case resultPermanent:
		en.Attempts++
		return e.park(tx, id, w, i, now)
	}
	return nil
}

// again is when a delivery is tried again that could be from a moment on. A digest that a clock which was ahead took before its hour waits
// for that.
func (w *workRecord) again(en *workEntry, from time.Time) int64 {
	if w.Digest != nil {
		return max(toMicro(from), en.Next)
	}
	return toMicro(from)
}

// backAfter is how long work rests that was claimed and not tried.
const backAfter = 10 * time.Millisecond

// park moves one entry out of open work to where the operator finds it.
func (e *Engine) park(tx *draft, id MessageID, w *workRecord, i int, now time.Time) error {
	en := w.Entries[i]
	en.Held, en.Claims, en.Quiet, en.Paused = false, 0, false, 0
	life := w.expires(&en) - toMicro(now)
	err := tx.putSealed(store.Record{Key: prefixParked + store.Key(en.ID), Lane: laneParked, Due: now},
		&parkedRecord{w.Service, id, w.Secure, toMicro(now), max(life, int64(minTTL/time.Microsecond)), en, w.Digest, w.Replay})
	if err != nil {
		return err
	}
	w.end(i, outcomeItem{en.ID, en.Channel, OutcomeParked, toMicro(now), en.Attempts, en.Cause, false, "", nil})
	return nil
}

// end takes an entry out, with what became of it. What stands in for its channel goes at once where that has failed for good, and where a
// restored store does not tell, at its time.
func (w *workRecord) end(i int, o outcomeItem) {
	message := w.Entries[i].Reminder == ""
	w.Done = append(w.Done, o)
	w.Entries = slices.Delete(w.Entries, i, i+1)
	if message && o.Result != OutcomeDelivered && o.Cause != unknownOutcome && planted != "fallback-late" {
		w.fallBack(o)
	}
}

// fallBack brings forward what stands in for a channel by which nothing is open any more and nothing was delivered. Where that is because
// its time has passed, theirs has, too.
func (w *workRecord) fallBack(o outcomeItem) {
	if !slices.ContainsFunc(w.Entries, func(en workEntry) bool { return en.Fallback == o.Channel }) ||
		slices.ContainsFunc(w.Entries, func(en workEntry) bool { return en.Channel == o.Channel && en.Reminder == "" }) ||
		slices.ContainsFunc(w.Done, func(d outcomeItem) bool { return d.Channel == o.Channel && d.Result == OutcomeDelivered }) {
		return
	}
	for i := range w.Entries {
		en := &w.Entries[i]
		if en.Fallback != o.Channel || en.Held || en.Next <= o.At {
			continue
		}
		if w.putOff(en, o.At); o.Result == OutcomeExpired {
			en.Expires = o.At
		}
	}
}

// stopFallbacks ends what stands in for other channels, once the citizen knows of the message. What is under way looks for itself.
func (e *Engine) stopFallbacks(tx *draft, id MessageID) error {
	w := &workRecord{}
	from, err := tx.openWork(id, w)
	if errors.Is(err, store.ErrCorrupt) {
		return nil // its turn will show it
	} else if err != nil {
		return err
	}
	n := len(w.Entries)
	for i := n - 1; i >= 0; i-- {
		if en := &w.Entries[i]; en.Fallback != "" && !en.Held && planted != "fallback-read" {
			if err := e.settle(tx, id, w, i, result{kind: resultVoid, cause: causeRead}, micro(e.now())); err != nil {
				return err
			}
		}
	}
	if len(w.Entries) == n {
		return nil
	}
	return tx.putWork(keysOfWork(id), w, from)
}

// causeRead is why a fallback is void whose message was read or archived.
const causeRead = "read"

// putWork writes open work that was read from a key back after its entries changed. Once it stands behind it stays there.
func (d *draft) putWork(keys workKeys, w *workRecord, from store.Key) error {
	lane := deliveryLane(w.Service)
	if e := d.find(from); e != nil && e.exists && e.record.Lane != lane {
		lane = backlogLane(w.Service)
	}
	return d.putWorkIn(keys, w, from, lane)
}

// putWorkIn is putWork into a lane; what waits for a resume has its own.
func (d *draft) putWorkIn(keys workKeys, w *workRecord, from store.Key, lane store.Lane) error {
	if len(w.Entries) == 0 {
		if err := d.putOutcomes(keys, w.Service, w.Done); err != nil {
			return err
		}
		d.del(from)
		return nil
	}
	r := store.Record{Key: keys.waiting(), Lane: lane}
	if slices.ContainsFunc(w.Entries, func(en workEntry) bool { return en.Held }) {
		r.Key, r.Due = keys.leased(), fromMicro(w.Lease.Until).Add(d.maxSkew)
	} else {
		w.Lease = nil
		next, paused := w.next()
		if r.Due = fromMicro(next); next == 0 {
			r.Lane, r.Due = pausedLane(w.Service), fromMicro(paused)
		}
	}
	if err := d.putSealed(r, w); err != nil {
		return err
	}
	d.find(r.Key).work = w
	if from != r.Key {
		d.del(from)
	}
	return nil
}

// next is when the first of the deliveries may be tried; 0: all wait for a resume, the last of them since paused.
func (w *workRecord) next() (next, paused int64) {
	for i := range w.Entries {
		switch en := &w.Entries[i]; {
		case en.Paused != 0:
			paused = max(paused, en.Paused)
		case next == 0 || en.Next < next:
			next = en.Next
		}
	}
	return next, paused
}

// resume lets a delivery go on that waited for it. The time for which it could not go out does not count, nor does a clock that was put
// back meanwhile; but a digest that was found due by one keeps its hour.
func (w *workRecord) resume(en *workEntry, now int64) {
	if w.Digest != nil && en.Next > now {
		en.Paused = 0
		return
	}
	en.Next, en.Paused = en.Paused, 0
	w.putOff(en, now)
}

// readWork is the open work under a key, the caller's to change; nil: there is none.
func (d *draft) readWork(k store.Key) (*workRecord, error) {
	e := d.find(k)
	if e == nil || !e.exists {
		return nil, nil
	}
	if e.work != nil {
		return e.work.clone(), nil
	}
	w := &workRecord{}
	return w, d.open(&e.record, w)
}

// openWork reads the open work of a message into w, and says where it is. Where there is none, w stays, and it is where it would wait.
func (d *draft) openWork(id MessageID, w *workRecord) (at store.Key, err error) {
	for _, k := range []store.Key{leasedKey(id), waitingKey(id)} {
		if found, err := d.read(k, w); found || err != nil {
			return k, err
		}
	}
	return waitingKey(id), nil
}

func (w *workRecord) clone() *workRecord {
	c := *w
	c.Entries = slices.Clone(w.Entries)
	c.Done = slices.Clip(w.Done) // only added to
	return &c
}

// delivered reports whether an attempt is known to have delivered.
func (d *draft) delivered(keys workKeys, delivery DeliveryID, attempt int) (bool, error) {
	var r outcomeRecord
	if _, err := d.read(keys.outcome(), &r); err != nil && !errors.Is(err, store.ErrCorrupt) {
		return false, err
	}
	for _, k := range keys[:2] {
		var w workRecord
		if _, err := d.read(k, &w); err != nil && !errors.Is(err, store.ErrCorrupt) {
			return false, err
		}
		r.Items = append(r.Items, w.Done...)
	}
	return slices.ContainsFunc(r.Items, func(o outcomeItem) bool {
		return o.ID == delivery && o.Result == OutcomeDelivered && o.Attempts == attempt
	}), nil
}

// putOutcomes adds to what is known of a message's deliveries.
func (d *draft) putOutcomes(keys workKeys, service ServiceID, items []outcomeItem) error {
	r, now := outcomeRecord{Service: service}, fromMicro(items[len(items)-1].At)
	rec := store.Record{Key: keys.outcome()}
	if d.tallies {
		rec.Lane, rec.Due = outcomeLane(service), now
	}
	found, err := d.read(keys.outcome(), &r)
	switch {
	case errors.Is(err, store.ErrCorrupt): // what is known now counts more
		d.quarantine(d.get(keys.outcome()))
		r = outcomeRecord{Service: service}
	case err != nil:
		return err
	case found: // it stays where it is counted
		was := d.get(keys.outcome())
		rec.Lane, rec.Due = was.Lane, was.Due
		if r.First == 0 {
			r.First = len(r.Items)
		}
		if err := d.tallyLate(service, items, now); err != nil {
			return err
		}
	}
	r.Items = append(r.Items, items...)
	return d.putSealed(rec, &r)
}

// A claim takes due work under a lease of this engine, as much of it as there is room for.
type claim struct {
	e      *Engine
	d      *dispatcher
	seen   store.Record
	held   *reservation
	items  []*item
	flow   *flow // of the items
	known  *knowledge
	gained int // deliveries claimed
	moved  bool
	// Of what it had no room for.
	service ServiceID
	full    []string // channels
	next    int64    // when something else in the record is due; 0: nothing is
}

func (c *claim) op() *op {
	id := messageIDOf(c.seen.Key)
	// Each of a hundred deliveries, to fifty addresses and by fifty routes, may be parked.
	return &op{owner: c.seen.Owner, most: maxRoutes + maxAddresses + 8, keys: []store.Key{c.seen.Key, outcomeKey(id)}, work: c}
}

func (c *claim) apply(tx *draft) error {
	c.release()
	c.flow, c.gained, c.moved, c.full, c.next = nil, 0, false, c.full[:0], 0
	rec := tx.get(c.seen.Key)
	if rec == nil || !rec.Due.Equal(c.seen.Due) {
		return nil // somebody else was faster
	}
	if !strings.HasPrefix(string(rec.Key), prefixWaiting) && !strings.HasPrefix(string(rec.Key), prefixLeased) {
		return nil // no work: who reads it learns that it is damaged
	}
	e, id := c.e, messageIDOf(rec.Key)
	w := &workRecord{}
	if err := tx.open(rec, w); err != nil {
		return c.unreadable(tx, rec, err)
	}
	started := e.mono() // before the time that the lease is given by
	now := micro(e.now())
	leased := strings.HasPrefix(string(rec.Key), prefixLeased)
	if leased && !e.ended(w.Lease, now) {
		return nil
	}
	changed := leased // the old lease ends in any case
	behind := rec.Lane != deliveryLane(w.Service)
	for i := 0; i < len(w.Entries); i++ {
		en := &w.Entries[i]
		since := e.pauses.since(en.Channel, w.Service)
		if en.Paused != 0 && since == 0 {
			w.resume(en, toMicro(now))
			changed = true
		}
		if w.Digest != nil && en.Next > toMicro(now) {
			en.Held = false // a clock that was ahead took it before its hour
		}
		if en.Paused != 0 || en.Next > toMicro(now) && !en.Held {
			if en.Paused == 0 && (c.next == 0 || en.Next < c.next) {
				c.next = en.Next
			}
			continue
		}
		en.Held = false
		n := len(w.Entries)
		switch at := max(en.Next, since); {
		case since == 0 && toMicro(now) >= w.expires(en), since != 0 && at >= w.expires(en):
			if err := e.settle(tx, id, w, i, result{kind: resultExpired}, now); err != nil {
				return err
			}
		case since != 0:
			en.Paused, en.Claims, en.Quiet = at, 0, false
			changed = true
		case e.route(en.Channel) == nil:
			en.Cause = "unknown channel"
			if err := e.park(tx, id, w, i, now); err != nil {
				return err
			}
		case en.Claims >= maxClaims:
			en.Cause = "suspect: claimed five times without an outcome"
			if err := e.park(tx, id, w, i, now); err != nil {
				return err
			}
		default:
			if c.held == nil {
				c.held = &reservation{d: c.d}
			}
			ok, much := c.held.add(en.Channel, w.Service)
			if !ok {
				c.service, c.full = w.Service, append(c.full, en.Channel)
			}
			switch {
			case ok:
				en.Held = true
				en.Claims++
				c.gained++
				changed = true
			case much && !behind && planted != "one-lane": // it must not stand in the way of others' work
				behind, changed = true, true
			}
		}
		if len(w.Entries) < n {
			i--
			changed = true
		}
	}
	if !changed {
		return nil
	}
	c.moved = true
	from := rec.Key
	if c.gained > 0 {
		w.Lease = e.newLease(now)
		c.flow = newFlow(tx.owner, id)
		c.items = newItems(tx.owner, id, w, started, c.flow)
	}
	lane := deliveryLane(w.Service)
	if behind {
		lane = backlogLane(w.Service)
	}
	if err := tx.putWorkIn(keysOfWork(id), w, from, lane); err != nil || c.flow == nil {
		return err
	}
	c.known = tx.knowledge(c.flow.keys, nil)
	return nil
}

// unreadable moves a record that cannot be read out of the way, bytes unchanged. One that needs a newer program or another
// key is left alone.
func (c *claim) unreadable(tx *draft, rec *store.Record, err error) error {
	if !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	c.moved = true
	tx.quarantine(rec)
	lane := uint16(rec.Lane)
	c.e.writer.tell(func() { c.e.log().Error("a record could not be read and was put aside", "lane", lane) })
	return nil
}

// quarantine moves a record, bytes unchanged, to where the operator finds it.
func (d *draft) quarantine(rec *store.Record) {
	due := rec.Due
	if due.IsZero() {
		due = time.UnixMicro(1).UTC()
	}
	d.put(store.Record{Owner: d.owner, Key: quarantineKey(rec), Lane: laneQuarantined, Due: due, Value: rec.Value})
	d.del(rec.Key)
}

func (c *claim) committed(by *draft) {
	if c.flow != nil {
		c.flow.learn(by, c.known)
		c.e.flows.begin(c.flow, len(c.items))
	}
	if c.held != nil {
		c.held.hand(c.items)
		c.held, c.items = nil, nil
	}
}

func (c *claim) failed() { c.release() }

func (c *claim) release() {
	if c.held != nil {
		c.held.release()
		c.held, c.items = nil, nil
	}
}

// defaultBackoff is exponential from two seconds to an hour, with full jitter.
func defaultBackoff(attempt int) time.Duration {
	d := time.Hour
	if attempt < 12 {
		d = min(d, time.Second<<attempt)
	}
	return time.Duration(chance.Int64N(int64(d)) + 1)
}

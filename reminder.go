package appio

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/appio-go/appio/internal/failpoint"
	"github.com/appio-go/appio/internal/rome"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
)

// A ReminderKind is what a reminder is about.
type ReminderKind string

const (
	RemindUnread   ReminderKind = "unread"   // a message that was not opened
	RemindDeadline ReminderKind = "deadline" // of a message
	RemindUnpaid   ReminderKind = "unpaid"   // a notice
)

// Reminders are the kinds that a citizen wants. All are off until chosen.
type Reminders struct{ Unread, Deadline, Unpaid bool }

func (r Reminders) has(k ReminderKind) bool {
	return k == RemindUnread && r.Unread || k == RemindDeadline && r.Deadline || k == RemindUnpaid && r.Unpaid
}

// A ReminderSchedule says when citizens who want it are reminded of messages that are sent from then on, by the routes that have
// [Route.Reminders]. The zero schedule is IO's, as far as IO has one.
//
// A reminder is sent in the day hours, and waits for them otherwise. It is sent for what still stands: it is void once its message is
// read or archived, its notice paid, the due date over, the reminder or the service no longer wanted; consent is read again as for
// any delivery, and the gateway asked before the reminder of a notice; while the citizen is paying it waits. Where several have become
// due, as when no engine ran, the latest is sent and the others are left out.
type ReminderSchedule struct {
	Unread   []time.Duration // after sending; nil: 3, 6 and 9 days
	Deadline []time.Duration // before Message.Due; nil: 1 day
	Unpaid   UnpaidSchedule

	FromHour, ToHour int            // the day hours: from 0 <= FromHour < ToHour <= 24; both 0: 8 to 20
	Zone             *time.Location // whose hours they are; nil: Italian time
}

// UnpaidSchedule says when a notice with a due date is reminded of. The zero one is IO's.
type UnpaidSchedule struct {
	Within time.Duration // of the due date; 0: 13 days
	Every  time.Duration // so often, and not sooner after the message came; 0: 3 days
	Most   int           // so many for one due date, and one more on the day before; 0: 4
}

const oneDay = 24 * time.Hour

func (s *ReminderSchedule) complete() (*ReminderSchedule, error) {
	if s == nil {
		return nil, nil
	}
	c := *s
	if c.Unread == nil {
		c.Unread = []time.Duration{3 * oneDay, 6 * oneDay, 9 * oneDay}
	}
	if c.Deadline == nil {
		c.Deadline = []time.Duration{oneDay}
	}
	if c.Unpaid.Within == 0 {
		c.Unpaid.Within = 13 * oneDay
	}
	if c.Unpaid.Every == 0 {
		c.Unpaid.Every = 3 * oneDay
	}
	if c.Unpaid.Most == 0 {
		c.Unpaid.Most = 4
	}
	if c.FromHour == 0 && c.ToHour == 0 {
		c.FromHour, c.ToHour = 8, 20
	}
	if c.Zone == nil {
		c.Zone = rome.Location()
	}
	c.Unread, c.Deadline = slices.Clone(c.Unread), slices.Clone(c.Deadline)
	switch {
	case c.FromHour < 0 || c.FromHour >= c.ToHour || c.ToHour > 24:
		return nil, invalid("Options.Reminders", "FromHour below ToHour, of 0 to 24")
	case slices.ContainsFunc(slices.Concat(c.Unread, c.Deadline), func(d time.Duration) bool { return d <= 0 }):
		return nil, invalid("Options.Reminders", "durations above 0")
	case len(c.Unread) > maxReminders || len(c.Deadline) > maxReminders || c.Unpaid.Most < 0 || c.Unpaid.Most > maxReminders:
		return nil, invalid("Options.Reminders", "at most 100 of each kind")
	case c.Unpaid.Within < 0 || c.Unpaid.Every < 0:
		return nil, invalid("Options.Reminders.Unpaid", "durations of 0 or more")
	}
	return &c, nil
}

const maxReminders = 100

// inHours is t, or the next moment of the day hours.
func (s *ReminderSchedule) inHours(t time.Time) time.Time {
	l := t.In(s.Zone)
	y, m, d := l.Date()
	from := func(d int) time.Time { return time.Date(y, m, d, s.FromHour, 0, 0, 0, s.Zone) }
	switch {
	case l.Before(from(d)):
		return from(d).UTC()
	case l.Hour() < s.ToHour:
		return t
	}
	return from(d + 1).UTC()
}

// A slot is when a reminder is due, in the day hours.
type slot struct {
	at   time.Time
	kind ReminderKind
}

// slots are all reminders that a record stands for, in order.
func (s *ReminderSchedule) slots(r *reminderRecord) (all []slot) {
	since, due := fromMicro(r.Since), fromMicro(r.Due)
	add := func(at time.Time, kind ReminderKind) {
		if at = s.inHours(at); kind == RemindUnread || at.After(since) && at.Before(due) {
			all = append(all, slot{at, kind})
		}
	}
	if r.Bill == "" {
		for _, d := range s.Unread {
			add(since.Add(d), RemindUnread)
		}
		if r.Due != 0 {
			for _, d := range s.Deadline {
				add(due.Add(-d), RemindDeadline)
			}
		}
	} else if r.Due != 0 {
		y, m, d := due.In(s.Zone).Date()
		eve := time.Date(y, m, d-1, s.FromHour, 0, 0, 0, s.Zone)
		at := due.Add(-s.Unpaid.Within)
		if first := since.Add(s.Unpaid.Every); first.After(at) {
			at = first
		}
		for range s.Unpaid.Most {
			if !s.inHours(at).Before(eve) {
				break
			}
			add(at, RemindUnpaid)
			at = at.Add(s.Unpaid.Every)
		}
		add(eve.UTC(), RemindUnpaid)
	}
	slices.SortStableFunc(all, func(a, b slot) int { return a.at.Compare(b.at) })
	return all
}

// now is the reminder that is due at a moment, of those after the last one that was dealt with, and when the next one is; zero: none.
// wanted tells which still stand.
func (s *ReminderSchedule) now(r *reminderRecord, now time.Time, wanted func(ReminderKind) bool) (due slot, next time.Time) {
	for _, x := range s.slots(r) {
		switch {
		case toMicro(x.at) <= r.Last || !wanted(x.kind):
		case x.at.After(now) || due.kind != "" && planted == "reminder-backlog":
			return due, x.at
		default:
			due = x
		}
	}
	return due, time.Time{}
}

func remindKey(id MessageID) store.Key        { return prefixRemindMessage + store.Key(id) }
func remindBillKey(bill store.Key) store.Key  { return prefixRemindBill + bill[len(prefixBill):] }
func (p *profileRecord) reminders() Reminders { return unpackReminders(p.Reminders) }

func unpackReminders(b uint8) (r Reminders) {
	unbits(b, &r.Unread, &r.Deadline, &r.Unpaid)
	return r
}

// putReminder schedules what a record stands for, or deletes it if that is nothing any more.
func (e *Engine) putReminder(tx *draft, key store.Key, r *reminderRecord, now time.Time, wanted func(ReminderKind) bool) error {
	due, next := e.opts.Reminders.now(r, now, wanted)
	if due.kind != "" {
		next = e.opts.Reminders.inHours(now)
	}
	return putNext(tx, key, r, next)
}

// putNext schedules the next reminder. Where there is none, what the bill's next message has to know is kept, without a time.
func putNext(tx *draft, key store.Key, r *reminderRecord, next time.Time) error {
	switch {
	case !next.IsZero():
		return tx.putSealed(store.Record{Key: key, Lane: reminderLane(tx.owner), Due: next}, r)
	case r.Work != "":
		return tx.putSealed(store.Record{Key: key}, r)
	}
	tx.del(key)
	return nil
}

// remindOf schedules the reminders of a message that is being accepted.
func (a *acceptance) remindOf(tx *draft, p *profileRecord, m *messageRecord, now time.Time) error {
	e, want := a.s.e, p.reminders()
	if e.opts.Reminders == nil {
		return nil
	}
	r := &reminderRecord{Service: a.s.id, Message: a.id, Secure: m.Secure, Since: toMicro(now), Due: m.Due}
	if _, next := e.opts.Reminders.now(r, now, want.has); !next.IsZero() {
		if err := e.putReminder(tx, remindKey(a.id), r, now, want.has); err != nil {
			return err
		}
	}
	if a.bill == "" || m.Due == 0 || !want.Unpaid {
		return nil
	}
	// The bill has one record, whatever the number of its messages: the last of them says when it is due.
	key := remindBillKey(a.bill)
	of := &reminderRecord{}
	if found, err := tx.read(key, of); err != nil && !errors.Is(err, store.ErrCorrupt) {
		return err
	} else if !found || err != nil || tx.get(key).Due.IsZero() {
		of = &reminderRecord{Since: toMicro(now), Work: of.Work}
	}
	of.Service, of.Message, of.Secure, of.Due, of.Bill = a.s.id, a.id, m.Secure, m.Due, string(a.bill)
	return e.putReminder(tx, key, of, now, want.has)
}

// reminding sends due reminders until ctx ends, beside deliveries, as it asks the gateway.
func (d *dispatcher) reminding(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		some, err := d.remind(ctx, d.e.now())
		switch {
		case err != nil && ctx.Err() == nil: // ever later: each time the gateway is asked anew
			d.e.log().Error("due reminders could not be dealt with, and will be tried again", "err", err)
			pause(ctx, min(pollEvery<<failures, time.Minute))
			failures = min(failures+1, 6)
		case !some:
			pause(ctx, pollEvery)
			failures = 0
		default:
			failures = 0
		}
	}
}

// remind deals with a page of due reminders.
func (d *dispatcher) remind(ctx context.Context, until time.Time) (some bool, err error) {
	lanes, err := d.reminders.read(ctx, laneReminder, reminderLanes, until)
	if err != nil || len(lanes) == 0 {
		return false, err
	}
	var recs []store.Record
	for _, lane := range lanes {
		recs = append(recs, lane...)
	}
	if len(recs) == 0 {
		return false, nil
	}
	ops := make([]*op, len(recs))
	var asking errgroup.Group
	asking.SetLimit(remindersAtOnce)
	var away atomic.Int64
	for i, rec := range recs {
		asking.Go(func() error {
			ops[i] = d.e.remindOp(ctx, rec, &away)
			return nil
		})
	}
	_ = asking.Wait()
	if ctx.Err() != nil {
		return false, nil
	}
	_ = failpoint.Hit("reminders/page")
	moved := map[store.Lane]int{}
	var refused error
	for i, err := range d.e.writer.do(ctx, ops...) {
		switch {
		case err == nil:
			moved[recs[i].Lane]++
		case refusal(err):
			refused = err
		case !errors.Is(err, ErrBusy):
			d.e.log().Error("a reminder could not be prepared, and will be", "err", err)
		}
	}
	d.reminders.advance(lanes, moved)
	if len(moved) > 0 {
		d.mu.Lock()
		d.look()
		d.mu.Unlock()
	}
	return len(moved) > 0, refused
}

// remindersAtOnce is how many notices the gateway is asked for at a time.
const remindersAtOnce = 8

// gatewayAway is after how many failures in a row the rest of a page waits without being asked about.
const gatewayAway = 8

// gatewayPause is how long the reminder of a notice waits where the gateway does not answer, or a payment is under way.
const gatewayPause = time.Hour

// remindOp makes deliveries of a due reminder, and schedules the next one, in one change. Of a notice the gateway is asked before.
// away counts the gateway's failures in a row.
func (e *Engine) remindOp(ctx context.Context, rec store.Record, away *atomic.Int64) *op {
	var seen reminderRecord
	unreadable := e.codec.of(rec.Owner).open(&rec, &seen)
	standing, later := true, false
	var due int64
	if s := e.opts.Reminders; unreadable == nil && seen.Bill != "" && e.opts.Payments != nil {
		now := e.now()
		x, _ := s.now(&seen, now, func(ReminderKind) bool { return true })
		switch {
		case x.kind != RemindUnpaid || s.inHours(now).After(now):
		case away.Load() >= gatewayAway:
			later = true
		default:
			standing, later, due = e.askForReminder(ctx, rec.Owner, store.Key(seen.Bill), away)
		}
	}
	id := seen.Message
	keys := append(e.codec.of(rec.Owner).consentKeys(seen.Service), rec.Key, messageKey(id), stateKey(id), waitingKey(id), leasedKey(id))
	if seen.Bill != "" {
		keys = append(keys, store.Key(seen.Bill))
	}
	if seen.Work != "" && seen.Work != id {
		keys = append(keys, waitingKey(seen.Work), leasedKey(seen.Work), outcomeKey(seen.Work))
	}
	o := &op{owner: rec.Owner, keys: keys, also: service(seen.Service), most: 2*maxAddresses + 6, apply: func(tx *draft) error {
		if !tx.has(rec) {
			return nil // it is another one now
		}
		switch {
		case errors.Is(unreadable, store.ErrCorrupt):
			tx.quarantine(tx.get(rec.Key))
			return nil
		case unreadable != nil:
			return unreadable
		}
		now, r := micro(e.now()), seen
		cs, err := tx.readConsent(r.Service)
		if err != nil {
			return err
		}
		svc, err := tx.service(r.Service)
		if err != nil {
			return err
		}
		if cs.profile == nil || cs.erasing || tx.get(messageKey(id)) == nil || !standing {
			tx.del(rec.Key)
			return nil
		}
		if due != 0 { // the creditor may have set another day
			r.Due = due
		}
		paying, err := tx.paying(&r, now)
		if err != nil {
			return err
		}
		open := e.opts.Reminders.inHours(now)
		if (later || paying && planted != "reminder-begun") && toMicro(now) < r.Due {
			open = e.opts.Reminders.inHours(now.Add(gatewayPause))
		}
		if open.After(now) {
			return tx.putSealed(store.Record{Key: rec.Key, Lane: rec.Lane, Due: micro(open)}, &r)
		}
		wanted, err := e.wanted(tx, cs, &r, now)
		if err != nil {
			return err
		}
		x, next := e.opts.Reminders.now(&r, now, wanted)
		if x.kind != "" {
			if planted != "reminder-twice" {
				r.Last = toMicro(x.at)
			}
			if err := e.putReminderWork(tx, cs, svc, &r, x.kind, now); err != nil {
				return err
			}
		}
		if planted == "reminder-missed" {
			next = time.Time{}
		}
		return putNext(tx, rec.Key, &r, next)
	}}
	whole := o.apply
	o.apply = func(tx *draft) error {
		err := whole(tx)
		if !errors.Is(err, store.ErrCorrupt) {
			return err
		}
		// What it depends on is damaged, and nothing was put. It must not be in the way of the others, nor ask the gateway all the time.
		e.writer.tell(func() { e.log().Error("a reminder waits, as a record could not be read", "err", err) })
		return tx.putSealed(store.Record{Key: rec.Key, Lane: rec.Lane, Due: micro(e.opts.Reminders.inHours(e.now().Add(gatewayPause)))}, &seen)
	}
	return o
}

// askForReminder asks the gateway for a bill: whether it is still to be paid, or has to be asked later, and when the creditor says that it
// is due; 0: it does not.
func (e *Engine) askForReminder(ctx context.Context, owner store.Owner, bill store.Key, away *atomic.Int64) (standing, later bool, due int64) {
	d, err := e.view(ctx, owner, store.Range{}, "", bill, keyDataKey, keyProfile)
	if err != nil {
		return true, true, 0
	}
	if p, err := d.readProfile(); err != nil || p == nil {
		return err != nil, true, 0
	}
	b, err := d.readBill(bill)
	if err != nil || b == nil {
		return err != nil, true, 0
	}
	debt, err := e.verify(ctx, b.rptID(), b)
	var fault *pagopa.Fault
	if err != nil && !(errors.As(err, &fault) && !passes(fault)) {
		away.Add(1)
	} else {
		away.Store(0)
	}
	switch {
	case errors.As(err, &fault) && !passes(fault) && fault.Category != pagopa.PaymentOngoing:
		return false, false, 0
	case err != nil:
		return true, true, 0
	case debt.Due.IsZero() || debt.Due.After(farFuture):
		return true, false, 0
	}
	y, m, day := debt.Due.UTC().Date()
	zone := e.opts.Reminders.Zone
	if oy, om, od := fromMicro(b.Due).In(zone).Date(); b.Due != 0 && oy == y && om == m && od == day {
		return true, false, b.Due
	}
	return true, false, toMicro(time.Date(y, m, day, 23, 59, 59, 0, zone))
}

// wanted tells which kinds of reminders of a record still stand, by what the draft has read.
func (e *Engine) wanted(tx *draft, cs *consentState, r *reminderRecord, now time.Time) (func(ReminderKind) bool, error) {
	want := cs.profile.reminders()
	var s stateRecord
	if _, err := tx.read(stateKey(r.Message), &s); err != nil {
		return nil, err
	}
	unpaid := true
	if r.Bill != "" {
		b, err := tx.readBill(store.Key(r.Bill))
		if err != nil {
			return nil, err
		}
		unpaid = b.remindable(now)
	}
	return func(k ReminderKind) bool {
		switch {
		case !want.has(k) || s.Archived && k != RemindUnpaid:
			return false
		case k == RemindUnread:
			return s.ReadAt == 0 || planted == "reminder-read"
		case r.Due != 0 && toMicro(now) >= r.Due:
			return false
		case k == RemindUnpaid:
			return unpaid || planted == "reminder-paid"
		}
		return true
	}, nil
}

// paying reports whether a payment of what a record reminds of was begun here and is under way: it may come to nothing.
func (d *draft) paying(r *reminderRecord, now time.Time) (bool, error) {
	if r.Bill == "" {
		return false, nil
	}
	b, err := d.readBill(store.Key(r.Bill))
	if err != nil || b == nil {
		return false, err
	}
	s, _ := b.state(toMicro(now))
	return s == Paying && !b.remindable(now), nil
}

// remindLess takes back reminders of a message that was read or archived.
func (e *Engine) remindLess(tx *draft, id MessageID, s *stateRecord) error {
	key := remindKey(id)
	if tx.get(key) == nil {
		return nil
	}
	var r reminderRecord
	if _, err := tx.read(key, &r); errors.Is(err, store.ErrCorrupt) {
		return nil // its turn will show it
	} else if err != nil {
		return err
	}
	if s.Archived || e.opts.Reminders == nil {
		tx.del(key)
		return nil
	}
	return e.putReminder(tx, key, &r, micro(e.now()), func(k ReminderKind) bool { return k != RemindUnread })
}

// remindable reports whether a bill is still to be paid; nil is not.
func (b *billRecord) remindable(now time.Time) bool {
	if b == nil {
		return false
	}
	s, _ := b.state(toMicro(now))
	return s == Unpaid || s == Paying && b.Begun == 0 // not begun here: the gateway, which is asked just before, says otherwise by now
}

// putReminderWork adds the deliveries of a reminder to the open work of its message, as far as the consent rule allows them.
func (e *Engine) putReminderWork(tx *draft, cs *consentState, svc *serviceRecord, r *reminderRecord, kind ReminderKind, now time.Time) error {
	if svc == nil || svc.State == Stopped {
		return nil
	}
	decision := Decide(e.facts(cs, svc, r.Secure, now))
	if decision.Status != Processed {
		return nil
	}
	expires := r.Due
	if kind == RemindUnread {
		expires = toMicro(now.Add(maxTTL))
	}
	w := &workRecord{Service: r.Service, Secure: r.Secure, Expires: expires}
	from, err := tx.openWork(r.Message, w)
	if err != nil {
		return err
	}
	for i := range decision.Channels { // each goes for itself
		if c := &decision.Channels[i]; c.For != "" {
			c.After, c.For = 0, ""
		}
	}
	added := e.appendEntries(nil, cs.profile, &decision, now, 0, func(r *Route, _ *ChannelDecision) bool { return r.Reminders })
	if len(added) == 0 { // nor does it end another
		return nil
	}
	for i := range added {
		added[i].Reminder, added[i].Bill, added[i].Expires = kind, r.Bill, expires
	}
	if _, err := e.overtake(tx, r.Message, w, r, now); err != nil {
		return err
	}
	if r.Work != "" && r.Work != r.Message && planted != "reminder-elsewhere" {
		if err := e.overtakeElsewhere(tx, r, now); err != nil {
			return err
		}
	}
	w.Entries = append(w.Entries, added...)
	if r.Bill != "" {
		r.Work = r.Message
	}
	return tx.putWork(keysOfWork(r.Message), w, from)
}

// overtake ends what is left in a message's open work of earlier reminders: the latest is sent, not what no engine came to send before.
// What the operator replays stays.
func (e *Engine) overtake(tx *draft, id MessageID, w *workRecord, r *reminderRecord, now time.Time) (some bool, err error) {
	for i := len(w.Entries) - 1; i >= 0; i-- {
		en := &w.Entries[i]
		replayed := en.Attempts == 0 && en.Replayed || planted == "reminder-overtaken"
		switch {
		case en.Reminder == "" || en.Bill != r.Bill || replayed:
			continue
		case en.Held && !e.ended(w.Lease, now): // who holds it may just be sending it, but not try it again
			en.Expires = toMicro(now)
		default:
			if err := e.settle(tx, id, w, i, result{kind: resultVoid, cause: "reminder-overtaken"}, now); err != nil {
				return some, err
			}
		}
		some = true
	}
	return some, nil
}

// overtakeElsewhere does it where the bill's last reminder is another message's.
func (e *Engine) overtakeElsewhere(tx *draft, r *reminderRecord, now time.Time) error {
	w := &workRecord{}
	from, err := tx.openWork(r.Work, w)
	if err != nil {
		return err
	}
	if some, err := e.overtake(tx, r.Work, w, r, now); err != nil || !some {
		return err
	}
	return tx.putWork(keysOfWork(r.Work), w, from)
}

// moot is why a delivery that is a reminder is not made any more; empty: it is.
func (e *Engine) moot(d *draft, cs *consentState, it *item, now time.Time) (string, error) {
	wanted, err := e.wanted(d, cs, &reminderRecord{Message: it.message, Bill: it.entry.Bill}, now)
	if err != nil {
		return "", err
	}
	if !wanted(it.entry.Reminder) {
		return "reminder-moot", nil
	}
	w := &workRecord{}
	if found, err := d.read(leasedKey(it.message), w); err != nil || !found {
		return "", err
	}
	for i := range w.Entries {
		if en := &w.Entries[i]; en.ID == it.entry.ID && toMicro(now) >= w.expires(en) {
			return "reminder-overtaken", nil
		}
	}
	return "", nil
}

package reminders

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
)

// live lets the years pass: from one moment at which something is due, or happens, to the next.
func (w *world) live() {
	for w.clock.Before(end) && len(w.violations) == 0 {
		w.step()
	}
	if w.ahead != 0 {
		w.set(w.high)
	}
	w.away = false
	for _, n := range w.notices {
		n.away = false
	}
	for next := w.clock; !next.IsZero() && len(w.violations) == 0; next = w.nextDue(1e6 * time.Hour) { // what is left
		w.set(next)
		w.flush()
	}
	w.seen["steps"] += float64(w.events)
}

func (w *world) step() {
	w.events++
	gap := time.Duration(w.r.ExpFloat64() * float64(day))
	if w.nearChange() {
		gap /= 4
	}
	next, happens := w.clock.Add(gap+time.Second).Truncate(time.Second), true
	if due := w.nextDue(gap); !due.IsZero() {
		switch w.r.IntN(8) {
		case 0:
			due = due.Add(-time.Second)
		case 1:
			due = due.Add(time.Duration(w.r.IntN(300)) * time.Second)
		}
		if due.After(w.clock) && due.Before(next) {
			next, happens = due, false
		}
	}
	w.set(next)
	if happens {
		w.happen()
	}
	kind := w.r.IntN(150)
	w.tell("kind %d", kind)
	switch kind {
	case 0: // no engine runs for some time
		_ = w.engine.Close()
		w.set(w.clock.Add(time.Duration(w.r.IntN(12*24)) * time.Hour))
		w.open()
		w.seen["times without an engine"]++
	case 1:
		w.leap()
	case 2:
		w.away = !w.away
	case 3:
		w.reopen()
	default:
		if w.away && w.chance(8) {
			w.away = false
		}
	}
	if !happens || w.chance(2) {
		w.flush()
	}
}

// leap sets the clock wrong, or right again.
func (w *world) leap() {
	w.seen["leaps of the clock"]++
	w.tell("the clock leaps, and was ahead by %v", w.ahead)
	if w.ahead != 0 {
		w.set(w.clock.Add(-w.ahead))
		w.ahead = 0
		return
	}
	w.ahead = time.Duration(w.r.IntN(4*24*3600)-24*3600) * time.Second
	w.set(w.clock.Add(w.ahead))
}

// nextDue is when the next reminder is due, or may be, within a time; zero: none is.
func (w *world) nextDue(within time.Duration) (next time.Time) {
	limit := w.clock.Add(within)
	consider := func(t time.Time) {
		if t.After(w.clock) && !t.After(limit) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	w.things = slices.DeleteFunc(w.things, func(x *thing) bool {
		all := x.slots(&w.u)
		return x.owed == "" && (len(all) == 0 || all[len(all)-1].at.Before(w.clock.Add(-10*day))) || x.of.erased && x.since.Before(w.clock.Add(-30*day))
	})
	for _, x := range w.things {
		for _, s := range x.slots(&w.u) {
			consider(s.at)
		}
		consider(w.u.open(x.askAt))
		consider(w.u.open(x.retryAt))
		if x.owed != "" {
			consider(w.u.open(w.clock.Add(time.Second)))
		}
	}
	return next
}

// changes are the moments at which Rome's clocks are changed.
var changes = func() (all []time.Time) {
	for t := begin; t.Before(end); t = t.Add(time.Hour) {
		_, before := t.Add(-time.Hour).In(rome).Zone()
		if _, now := t.In(rome).Zone(); now != before {
			all = append(all, t)
		}
	}
	return all
}()

func (w *world) nearChange() bool {
	return slices.ContainsFunc(changes, func(t time.Time) bool { return w.clock.Before(t) && w.clock.After(t.Add(-10*day)) })
}

// afterChange is 1 within a day after a change of the clocks.
func (w *world) afterChange(now time.Time) float64 {
	if slices.ContainsFunc(changes, func(t time.Time) bool { return !now.Before(t) && now.Before(t.Add(day)) }) {
		return 1
	}
	return 0
}

// happen is something that people, services, creditors or the provider do.
func (w *world) happen() {
	p := one(w, w.people)
	c := func(e *appio.Engine) *appio.Citizen { return e.Citizen(appio.Identity{Code: p.code, Level: appio.L2}) }
	mine := func(x *thing) bool { return x.of == p }
	ctx := w.t.Context()
	what := w.r.IntN(40)
	w.tell("event %d of %s", what, p.code)
	switch what {
	default:
		for range 1 + w.r.IntN(3) {
			to := one(w, w.people)
			if x := w.anyBill(); x != nil && x.owed != "" { // whose notice comes again, if it does, while a reminder of it waits
				to = x.of
			}
			w.send(to)
		}
	case 0, 1, 2, 3, 4, 5: // reads or archives
		i := slices.IndexFunc(w.things, func(x *thing) bool { return mine(x) && x.notice == nil && w.chance(3) })
		if i < 0 {
			return
		}
		x := w.things[i]
		if w.chance(3) {
			archived := !x.archived
			w.must(w.do(func(e *appio.Engine) error { return c(e).Archive(ctx, x.message, archived) }))
			x.archived, x.firm, x.owed = archived, nil, ""
			return
		}
		w.must(w.do(func(e *appio.Engine) error { return c(e).MarkRead(ctx, x.message) }))
		x.read = true
	case 6, 7: // wants other reminders
		wants := map[appio.ReminderKind]bool{appio.RemindUnread: !w.chance(4), appio.RemindDeadline: !w.chance(4), appio.RemindUnpaid: !w.chance(4)}
		w.must(w.do(func(e *appio.Engine) error {
			return c(e).UpdateProfile(ctx, func(p *appio.Profile) error {
				p.Reminders = appio.Reminders{Unread: wants[appio.RemindUnread], Deadline: wants[appio.RemindDeadline], Unpaid: wants[appio.RemindUnpaid]}
				return nil
			})
		}))
		for _, x := range w.things {
			for kind, yes := range wants {
				if mine(x) && !yes {
					delete(x.firm, kind)
				}
			}
		}
		p.wants = wants
		w.doubt(func(x *thing) bool { return mine(x) && x.owed != "" && !wants[x.sent[x.owed].slot.kind] })
	case 8, 9: // refuses a service, or takes it back
		s := one(w, w.services)
		refuses := !p.refuses[s.id]
		pref := appio.Preference{Inbox: true, Channels: appio.On(appio.Push, appio.Email)}
		if refuses {
			pref = appio.Preference{}
		}
		w.must(w.do(func(e *appio.Engine) error { return c(e).SetPreference(ctx, s.id, pref) }))
		p.refuses[s.id] = refuses
		w.doubt(func(x *thing) bool { return mine(x) && x.by(s) })
	case 10: // wants nothing by push, or does again
		off := !p.pushOff
		w.must(w.do(func(e *appio.Engine) error {
			return c(e).UpdateProfile(ctx, func(p *appio.Profile) error {
				p.Channels = appio.On(appio.Push, appio.Email)
				if off {
					p.Channels = appio.On(appio.Email)
				}
				return nil
			})
		}))
		p.pushOff = off
		w.doubt(mine)
	case 11:
		s := one(w, w.services)
		s.stopped = !s.stopped && w.chance(3)
		w.putService(s)
		w.doubt(func(x *thing) bool { return x.by(s) })
	case 12:
		if !w.chance(8) {
			return
		}
		w.must(w.do(func(e *appio.Engine) error { return c(e).Erase(ctx) }))
		p.erased = true
		w.people = slices.DeleteFunc(w.people, func(o *person) bool { return o == p })
		w.enrol()
	case 13, 14, 15, 16, 17: // news of a notice, by which it is paid more often than not
		x := w.anyBill()
		if x == nil || w.clock.Before(w.high) {
			return
		}
		n := x.notice
		state := one(w, []appio.PaymentState{appio.Paid, appio.Paid, appio.Paid, appio.Paying, appio.Unpaid, appio.Cancelled})
		ended := func(s appio.PaymentState) bool { return s == appio.Paid || s == appio.Cancelled }
		if ended(n.state) || !n.newsAt.Before(w.clock) || n.unspread {
			return
		}
		w.must(w.do(func(e *appio.Engine) error {
			return e.Settle(ctx, appio.PaymentEvent{ID: fmt.Sprint(w.events), RPTID: n.id, State: state, At: w.clock})
		}))
		n.state, n.newsAt, n.unspread, n.stale = state, w.clock, true, w.chance(2)
		for _, x := range n.bills {
			x.owed = ""
			if state == appio.Unpaid {
				x.paying = time.Time{}
			}
		}
	case 18, 19: // begins to pay
		x := w.anyBill()
		if x == nil || !x.notice.newsAt.Before(w.clock) || x.of.erased || x.notice.away || x.notice.unspread {
			return
		}
		err := w.do(func(e *appio.Engine) error {
			_, err := e.Citizen(appio.Identity{Code: x.of.code}).Pay(ctx, x.notice.id)
			return err
		})
		var fault *pagopa.Fault
		if errors.As(err, &fault) {
			return
		}
		w.must(err)
		if !w.clock.Before(x.paying) {
			x.paying, x.begun = w.clock.Add(30*time.Minute), true
		}
		x.owed = ""
	case 20: // pays at the desk
		if x := w.anyBill(); x != nil {
			x.notice.desk, x.owed = true, ""
		}
	case 21, 22:
		if x := w.anyBill(); x != nil {
			x.notice.away = !x.notice.away
		}
	case 23: // the creditor sets another day, or says what is known
		if x := w.anyBill(); x != nil && !x.notice.shared {
			y, m, d := x.due.In(rome).Date()
			x.notice.due = time.Date(y, m, d+w.r.IntN(20)-4, 0, 0, 0, 0, time.UTC)
		}
	case 24:
		for _, n := range w.notices {
			n.away = false
		}
	}
}

func (w *world) must(err error) {
	if err != nil {
		w.violate("%v", err)
	}
}

// anyBill is one that is still reminded of; nil: there is none.
func (w *world) anyBill() *thing {
	var all []*thing
	for _, x := range w.things {
		if x.notice != nil {
			all = append(all, x)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return one(w, all)
}

func (w *world) putService(s *service) {
	state := appio.Live
	if s.stopped {
		state = appio.Stopped
	}
	w.must(w.do(func(e *appio.Engine) error {
		return e.PutService(w.t.Context(), appio.Service{ID: s.id, Name: string(s.id), Organization: comune, State: state, MaxPayment: 100_00})
	}))
}

// enrol brings a new citizen.
func (w *world) enrol() {
	w.born++
	p := &person{
		code:  fiscalcode.Person(fmt.Sprintf("RSSMRA%02dM%02dH%03dS", w.born/1000%100, 1+w.born/100000, w.born%1000)),
		wants: map[appio.ReminderKind]bool{appio.RemindUnread: true, appio.RemindDeadline: true, appio.RemindUnpaid: true}, refuses: map[appio.ServiceID]bool{},
	}
	w.must(w.do(func(e *appio.Engine) error {
		return e.Citizen(appio.Identity{Code: p.code, Level: appio.L2}).UpdateProfile(w.t.Context(), func(f *appio.Profile) error {
			f.Mode, f.Inbox, f.Channels = appio.Auto, true, appio.On(appio.Push, appio.Email)
			f.Reminders = appio.Reminders{Unread: true, Deadline: true, Unpaid: true}
			return nil
		})
	}))
	w.people = append(w.people, p)
}

// send sends a message, half of them with a due date, half of those with a notice, of which some have it already.
func (w *world) send(p *person) {
	s := one(w, w.services)
	if s.stopped || p.erased {
		return
	}
	w.messages++
	m := appio.Message{
		To: p.code, Subject: "Avviso del Comune", Markdown: "La informiamo che il servizio cambia orario dal prossimo mese, come da calendario allegato.",
		TimeToLive: 24 * time.Hour, Key: fmt.Sprint(w.messages),
	}
	var n *notice
	var bill *thing
	if w.chance(2) {
		m.Due = w.clock.Add(time.Duration(w.r.IntN(30*24*3600)) * time.Second)
		if w.chance(3) { // at midnight, as most are
			y, mo, d := m.Due.In(rome).Date()
			m.Due = time.Date(y, mo, d, 23, 59, 59, 0, rome).UTC()
		}
	}
	if !m.Due.IsZero() && w.chance(2) {
		n, bill = w.noticeFor(p)
		m.Payment = &appio.Notice{Number: n.id.Notice, Amount: 10_00}
	}
	var res appio.Result
	w.must(w.do(func(e *appio.Engine) (err error) {
		res, err = e.Sender(s.id).Send(context.Background(), m)
		return err
	}))
	if res.Status != appio.Processed {
		return
	}
	firm := func() map[appio.ReminderKind]bool {
		f := map[appio.ReminderKind]bool{}
		for k, yes := range p.wants {
			f[k] = yes
		}
		return f
	}
	x := &thing{of: p, service: s, message: res.ID, since: w.clock, due: m.Due, firm: firm()}
	w.byMessage[res.ID] = x
	w.things = append(w.things, x)
	w.seen["messages"]++
	if n == nil {
		return
	}
	if bill != nil {
		w.seen["messages with a notice that was there"]++
		bill.service, bill.message, bill.due, bill.said, bill.kept = s, res.ID, m.Due, m.Due, nil
		w.billOf[res.ID] = bill
		return
	}
	bill = &thing{of: p, service: s, message: res.ID, since: w.clock, due: m.Due, said: m.Due, firm: firm(), notice: n}
	n.bills = append(n.bills, bill)
	w.billOf[res.ID] = bill
	w.things = append(w.things, bill)
}

// noticeFor is a notice for a person: a new one, somebody else's, or one that this person has, whose reminders are still scheduled.
func (w *world) noticeFor(p *person) (*notice, *thing) {
	for _, x := range w.things {
		if x.notice == nil || !(w.chance(4) || x.of == p && x.owed != "") || w.clock.Before(w.high) {
			continue
		}
		n := x.notice
		if x.of == p {
			all := x.slots(&w.u)
			settled := !x.latest(&w.u, w.clock, unpaid).at.After(x.last) && w.faultAt.Before(w.clock.Add(-2*day))
			if settled && x.firm[appio.RemindUnpaid] && p.wants[appio.RemindUnpaid] && len(all) > 0 && all[len(all)-1].at.After(w.clock) &&
				n.state == appio.Unpaid && !n.desk && n.due.IsZero() {
				return n, x
			}
		} else if !slices.ContainsFunc(n.bills, func(o *thing) bool { return o.of == p }) && n.due.IsZero() {
			n.shared = true
			return n, nil
		}
	}
	n := &notice{id: pagopa.RPTID{Creditor: comune, Notice: pagopa.NoticeNumber(fmt.Sprintf("3%017d", w.messages))}, state: appio.Unpaid}
	w.notices = append(w.notices, n)
	return n, nil
}

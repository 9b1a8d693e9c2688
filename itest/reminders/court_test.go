package reminders

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/appio-go/appio"
)

var errAway = errors.New("the provider is away")

// backoff is how long the engine waits before it tries a delivery again.
const backoff = 15 * time.Minute

// tries is how long it goes on to try.
const tries = 7 * day

// pause is how long it does before it asks again for a notice that nobody knows of now, or that is being paid.
const pause = time.Hour

// tell adds to the story that is told with a violation.
func (w *world) tell(format string, args ...any) {
	if len(w.story) == 60 {
		w.story = w.story[1:]
	}
	w.story = append(w.story, w.clock.In(rome).Format(time.RFC3339)+": "+fmt.Sprintf(format, args...))
}

func (w *world) violate(format string, args ...any) {
	w.violations = append(w.violations, w.clock.In(rome).Format(time.RFC3339)+": "+fmt.Sprintf(format, args...))
}

// judge says what is wrong with a delivery of the channel, and what becomes of it.
func (w *world) judge(d appio.Delivery) error {
	now := w.clock
	x := w.byMessage[d.Message]
	if d.Reminder == appio.RemindUnpaid {
		x = w.billOf[d.Message]
	}
	if x == nil {
		w.violate("%s reminder of nothing that was sent", d.Reminder)
		return nil
	}
	a := x.sent[d.ID]
	fresh := a == nil
	if fresh {
		a = w.due(x, d.Reminder, now)
		a.service = w.services[slices.IndexFunc(w.services, func(s *service) bool { return s.id == d.Service })]
		if x.sent == nil {
			x.sent = map[appio.DeliveryID]*attempt{}
		}
		x.sent[d.ID] = a
		x.last, x.owed, x.newest = a.slot.at, d.ID, d.ID
	} else if !a.done && x.newest != d.ID && a.faults == w.faults {
		w.violate("%s reminder that was overtaken", d.Reminder)
	}
	told := x.notice == nil || !x.notice.unspread || w.faults == w.faultsBefore // what was said of the notice has come through
	switch kind := d.Reminder; {
	case !w.u.byDay(now):
		w.violate("%s reminder at night", kind)
	case x.of.erased:
		w.violate("%s reminder of who is erased", kind)
	case !x.of.wants[kind]:
		w.violate("%s reminder that is not wanted", kind)
	case !x.permits(a.service):
		w.violate("%s reminder by who was refused", kind)
	case kind == appio.RemindUnread && x.read:
		w.violate("unread reminder of what was read")
	case kind != appio.RemindUnpaid && x.archived:
		w.violate("%s reminder of what is archived", kind)
	case x.over(kind, now) && a.over(kind, now):
		w.violate("%s reminder after the due date", kind)
	case kind == appio.RemindUnpaid && x.notice.state == appio.Paying && !x.begun && (!fresh || !w.faultAt.Before(a.slot.at)):
		// By somebody else: the gateway, which would know, was asked before.
	case kind == appio.RemindUnpaid && told && x.notice.state != appio.Unpaid:
		w.violate("reminder of a notice that is %s", x.notice.state)
	case kind == appio.RemindUnpaid && told && now.Before(x.paying):
		w.violate("reminder of a notice while it is being paid")
	case kind == appio.RemindUnpaid && x.notice.desk && fresh && w.faultAt.Before(a.slot.at):
		w.violate("reminder of a notice of which the gateway knows that it is paid")
	case kind == appio.RemindUnpaid && d.Message != x.message && fresh && w.faultAt.Before(a.slot.at):
		w.violate("reminder of a notice with an earlier message than the last")
	}
	w.tell("%s reminder of %s, slot %s; the provider is away: %v", d.Reminder, d.Message, a.slot.at.In(rome).Format(time.RFC3339), w.away)
	switch {
	case w.away:
		w.seen["attempts that failed"]++
		x.retryAt = now.Add(backoff)
		return errAway
	case !a.done:
		a.done = true
		w.seen["reminders"]++
		w.seen[string(d.Reminder)]++
		w.seen["after a clock change"] += w.afterChange(now)
	case a.faults == w.faults:
		w.violate("%s reminder twice, without a fault between", d.Reminder)
	default:
		w.seen["copies"]++
	}
	a.faults = w.faults
	if x.owed == d.ID {
		x.owed = ""
	}
	return nil
}

// due finds the slot of a new delivery: the latest that stands, which no other delivery was made of.
func (w *world) due(x *thing, kind appio.ReminderKind, now time.Time) *attempt {
	same := func(k appio.ReminderKind) bool { return k == kind }
	s := x.latest(&w.u, now, same)
	if early := x.latest(&w.u, w.high, same); !s.at.After(x.last) && early.at.After(x.last) && !w.faultAt.Before(early.at) {
		s = early // it was made before the clock was set back, and held up by a fault
	}
	switch {
	case s.at.IsZero():
		w.violate("%s reminder that is not due", kind)
	case !s.at.After(x.last):
		w.violate("a second %s reminder of "+string(x.message)+" for the slot of %s", kind, s.at.In(rome).Format(time.RFC3339))
	default:
		better := x.latest(&w.u, now, func(k appio.ReminderKind) bool { return x.firm[k] && x.stands(k, now) && !x.over(k, now) })
		if better.at.After(s.at) {
			w.violate("%s reminder of %s, though one of %s is due", kind, s.at.In(rome).Format(time.RFC3339), better.at.In(rome).Format(time.RFC3339))
		}
	}
	return &attempt{slot: s, due: x.due, since: now, faults: w.faults}
}

// before notes what is not certain to be sent in the flush that begins.
func (w *world) before() {
	now := w.clock
	w.faultsBefore = w.faults
	away := 0 // after eight failures the engine asks of no other notice for now
	for _, n := range w.notices {
		if n.away {
			away++
		}
	}
	for _, x := range w.things {
		if x.notice == nil || !x.latest(&w.u, now, unpaid).at.After(x.last) && x.owed == "" {
			continue
		}
		if away >= 8 || x.notice.unspread || now.Before(x.paying) || x.notice.state == appio.Paying {
			x.askAt = later(x.askAt, now.Add(pause))
			if s := x.latest(&w.u, now, unpaid); x.notice.unspread || !w.faultAt.Before(s.at) {
				x.maybe = later(x.maybe, now) // made, and void
			}
		}
	}
}

func unpaid(k appio.ReminderKind) bool { return k == appio.RemindUnpaid }

// after demands, of a flush in which nothing failed, that everything was sent that had to be.
func (w *world) after() {
	now := w.clock
	for _, n := range w.notices {
		n.unspread = false
	}
	if now.Before(w.high) || w.away || !w.u.byDay(now) {
		return
	}
	for _, x := range w.things {
		if now.Before(x.askAt) {
			continue
		}
		if x.owed != "" && !now.Before(x.retryAt) {
			a := x.sent[x.owed]
			s := a.slot
			if now.Before(a.since.Add(tries)) && x.stands(s.kind, now) && x.permits(a.service) && !x.over(s.kind, now) && !a.over(s.kind, now) && x.firm[s.kind] {
				w.violate("missed: %s reminder of "+string(x.message)+" of %s that was tried once, and not again", s.kind, s.at.In(rome).Format(time.RFC3339))
			}
			x.owed = ""
		}
		s := x.latest(&w.u, now, func(k appio.ReminderKind) bool { return x.stands(k, now) && !x.over(k, now) })
		switch {
		case !s.at.After(x.last) || !x.firm[s.kind]:
		case !x.permits(x.service):
			x.last = s.at // left out
			w.seen["left out"]++
		case !w.faultAt.Before(s.at) && !now.Before(w.faultAt.Add(tries-day)):
			x.maybe = s.at // it was made, held up by the fault, and was not come back to in time
		case s.at.After(x.maybe):
			w.violate("missed: %s reminder of %s", s.kind, s.at.In(rome).Format(time.RFC3339))
			x.last = s.at
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// doubt says that what is due of some things may never be sent: it was refused meanwhile.
func (w *world) doubt(of func(x *thing) bool) {
	for _, x := range w.things {
		if of(x) {
			x.maybe, x.owed = later(x.maybe, w.high), ""
		}
	}
}

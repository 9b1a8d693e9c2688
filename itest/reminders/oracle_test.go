package reminders

import (
	"slices"
	"time"

	"github.com/appio-go/appio"
)

var rome = func() *time.Location {
	l, err := time.LoadLocation("Europe/Rome")
	if err != nil {
		panic(err)
	}
	return l
}()

// rules are a schedule as its documentation says it, computed here in another way than the engine does it.
type rules struct {
	unread, deadline []time.Duration
	within, every    time.Duration
	most             int
	from, to         int // hours of the day
}

const day = 24 * time.Hour

// io are the rules of the zero schedule.
var io = rules{
	unread: []time.Duration{3 * day, 6 * day, 9 * day}, deadline: []time.Duration{day},
	within: 13 * day, every: 3 * day, most: 4, from: 8, to: 20,
}

func (u *rules) schedule() *appio.ReminderSchedule {
	return &appio.ReminderSchedule{
		Unread: u.unread, Deadline: u.deadline, FromHour: u.from, ToHour: u.to,
		Unpaid: appio.UnpaidSchedule{Within: u.within, Every: u.every, Most: u.most},
	}
}

// byDay reports whether a moment is in the day hours of Rome.
func (u *rules) byDay(t time.Time) bool {
	h := t.In(rome).Hour()
	return u.from <= h && h < u.to
}

// open is the first moment from t on that is in the day hours: hour by hour, so that no rule about clock changes is needed. Rome
// is whole hours from UTC.
func (u *rules) open(t time.Time) time.Time {
	for !u.byDay(t) {
		t = t.Truncate(time.Hour).Add(time.Hour)
	}
	return t
}

// A slot is when a reminder is due.
type slot struct {
	at   time.Time
	kind appio.ReminderKind
}

// slots are the reminders of a message, or of a bill, in order.
func (u *rules) slots(x *thing) (all []slot) {
	add := func(kind appio.ReminderKind, at time.Time) {
		at = u.open(at)
		if kind == appio.RemindUnread || at.After(x.since) && at.Before(x.due) {
			all = append(all, slot{at, kind})
		}
	}
	switch {
	case x.notice == nil:
		for _, d := range u.unread {
			add(appio.RemindUnread, x.since.Add(d))
		}
		for _, d := range u.deadline {
			if !x.due.IsZero() {
				add(appio.RemindDeadline, x.due.Add(-d))
			}
		}
	case !x.due.IsZero():
		y, m, d := x.due.In(rome).Date()
		eve := u.open(time.Date(y, m, d-1, 0, 0, 0, 0, rome).UTC())
		first := x.due.Add(-u.within)
		if sooner := x.since.Add(u.every); sooner.After(first) {
			first = sooner
		}
		for n := range u.most {
			if at := first.Add(time.Duration(n) * u.every); u.open(at).Before(eve) {
				add(appio.RemindUnpaid, at)
			}
		}
		add(appio.RemindUnpaid, eve)
	}
	slices.SortStableFunc(all, func(a, b slot) int { return a.at.Compare(b.at) })
	return all
}

// A thing is what reminders are of: a message, or a citizen's bill.
type thing struct {
	of      *person
	service *service
	message appio.MessageID // of a bill: the latest
	since   time.Time       // when it came
	due     time.Time
	firm    map[appio.ReminderKind]bool // wanted ever since it came: such a reminder must be sent; another one may be
	kept    []slot                      // slots, until since or due changes

	read, archived bool

	notice *notice   // of a bill
	said   time.Time // when it is due by its latest message
	begun  bool      // the citizen has been at a checkout
	paying time.Time // until when

	last    time.Time // the slot that was dealt with last
	maybe   time.Time // until when slots may have been dealt with without a sending
	askAt   time.Time // until then the gateway may be left alone
	retryAt time.Time // likewise the provider, with what it did not take
	newest  appio.DeliveryID
	owed    appio.DeliveryID // that was tried, and is to be tried again
	sent    map[appio.DeliveryID]*attempt
}

// An attempt is what was seen of one delivery.
type attempt struct {
	slot    slot
	service *service  // whose message the delivery is of
	due     time.Time // of the thing when the delivery was made: it is tried until then
	since   time.Time
	done    bool
	faults  int // of the world, when it was last done
}

func (x *thing) slots(u *rules) []slot {
	if x.kept == nil {
		x.kept = u.slots(x)
	}
	return x.kept
}

// latest is the last slot of some kinds until a moment; the zero slot: none.
func (x *thing) latest(u *rules, until time.Time, of func(appio.ReminderKind) bool) (s slot) {
	for _, one := range x.slots(u) {
		if !one.at.After(until) && of(one.kind) {
			s = one
		}
	}
	return s
}

// stands reports whether reminders of a kind are of something that is still so, and wanted.
func (x *thing) stands(kind appio.ReminderKind, now time.Time) bool {
	switch {
	case x.of.erased || !x.of.wants[kind]:
		return false
	case kind == appio.RemindUnread:
		return !x.read && !x.archived
	case kind == appio.RemindDeadline:
		return !x.archived
	}
	return x.notice.state == appio.Unpaid && !now.Before(x.paying) && !x.notice.desk
}

// by reports whether a service reminds of it, or has.
func (x *thing) by(s *service) bool {
	return x.service == s || x.owed != "" && x.sent[x.owed].service == s
}

// permits reports whether the citizen lets a service write by push.
func (x *thing) permits(s *service) bool {
	return !x.of.refuses[s.id] && !x.of.pushOff && !s.stopped
}

// over reports whether there is nothing to remind of at a moment any more.
func (x *thing) over(kind appio.ReminderKind, now time.Time) bool {
	return kind != appio.RemindUnread && !now.Before(x.due)
}

func (a *attempt) over(kind appio.ReminderKind, now time.Time) bool {
	return kind != appio.RemindUnread && !now.Before(a.due)
}

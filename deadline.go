package appio

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio/calendar"
	"github.com/appio-go/appio/internal/rome"
	"github.com/appio-go/appio/store"
)

// CalendarOptions may be nil.
type CalendarOptions struct {
	// Alarms are how long before a deadline the citizen is reminded of it, in whole seconds: before midnight, where it is a day. At
	// most 10. Nil: once, 24 hours before; where the deadline is a day, at nine in the morning of the day before. Empty, but not nil:
	// never.
	Alarms []time.Duration

	Name    string        // of a feed, as programs show it; empty: none
	Refresh time.Duration // how often programs should look at a feed again, in whole seconds; 0: left to them
}

func (o *CalendarOptions) complete() (CalendarOptions, error) {
	if o == nil {
		return CalendarOptions{}, nil
	}
	if len(o.Alarms) > maxAlarms {
		return CalendarOptions{}, invalid("CalendarOptions.Alarms", "at most 10")
	}
	for _, d := range append(slices.Clip(o.Alarms), o.Refresh) {
		if d < 0 || d%time.Second != 0 {
			return CalendarOptions{}, invalid("CalendarOptions", "durations of whole seconds, none negative")
		}
	}
	return *o, nil
}

const (
	calendarProduct = "-//appio//appio//EN"

	maxAlarms     = 10
	alarmOfMoment = 24 * time.Hour
	alarmOfDay    = 15 * time.Hour
)

// Calendar writes the deadline of one message as an iCalendar file, to be served as [calendar.MediaType]. A message without a due date,
// or none of the citizen's, is ErrNotFound. See [Citizen.CalendarFeed] for what is in it; of a message that must not leave by e-mail
// it has the subject all the same, since the citizen asks for this one. The options for feeds do not count.
func (c *Citizen) Calendar(ctx context.Context, id MessageID, w io.Writer, opts *CalendarOptions) error {
	o, err := opts.complete()
	if err != nil {
		return err
	}
	m, err := c.Message(ctx, id)
	if err != nil {
		return err
	}
	if m.Due.IsZero() {
		return fmt.Errorf("%w: the message has no due date", ErrNotFound)
	}
	d := c.deadlines(o)
	events, err := d.ofMessages(ctx, []InboxMessage{m})
	if err != nil {
		return err
	}
	_, err = calendar.Calendar{ProductID: calendarProduct, Events: calendar.Of(events...)}.WriteTo(w)
	return err
}

// CalendarFeed writes all deadlines of a citizen as an iCalendar feed, to be served as [calendar.MediaType] to the calendar programs
// that subscribe to it: those of the messages in the inbox, newest first, then those of notices from paper. It reads by pages, and holds
// one at a time. After an error what w has is no whole calendar.
//
// An event has the message's subject, the service and its organization; where the message must not leave by e-mail
// (SecureChannels), only the latter two, since programs keep a feed wherever they like. It has no fiscal code, and its UID tells
// nobody whose it is.
//
// A deadline that ends a day in Italy, at 23:59 or at the midnight after, is that day; another is a moment. It is CANCELLED once the
// notice is paid, or withdrawn by the creditor, or known before its time to be payable no more. SEQUENCE grows with what is heard of
// the notice; without any it is 0, since messages do not change. What is archived is in the feed no more.
func (c *Citizen) CalendarFeed(ctx context.Context, w io.Writer, opts *CalendarOptions) error {
	o, err := opts.complete()
	if err != nil {
		return err
	}
	if _, err := c.begin(ctx); err != nil {
		return err
	}
	d := c.deadlines(o)
	d.feed = true
	_, err = calendar.Calendar{ProductID: calendarProduct, Name: o.Name, Refresh: o.Refresh, Events: d.all(ctx)}.WriteTo(w)
	return err
}

// deadlines make calendar events of what a citizen has.
type deadlines struct {
	c        *Citizen
	owner    store.Owner
	opts     CalendarOptions
	feed     bool
	now      time.Time
	services map[ServiceID]*serviceRecord // that were read
}

// deadlines are of a citizen whose identity was checked.
func (c *Citizen) deadlines(o CalendarOptions) *deadlines {
	return &deadlines{c: c, owner: c.e.codec.citizen(c.id.Code), opts: o, now: c.e.now(), services: map[ServiceID]*serviceRecord{}}
}

// all yields the events of a feed, and at most one error, last.
func (d *deadlines) all(ctx context.Context) iter.Seq2[calendar.Event, error] {
	return func(yield func(calendar.Event, error) bool) {
		for cursor, more := Cursor(""), true; more; more = cursor != "" {
			page, err := d.c.Inbox(nil).Page(ctx, cursor, 0)
			var events []calendar.Event
			if err == nil {
				events, err = d.ofMessages(ctx, page.Items)
			}
			if err != nil {
				yield(calendar.Event{}, err)
				return
			}
			for _, ev := range events {
				if !yield(ev, nil) {
					return
				}
			}
			cursor = page.Next
		}
		for b, err := range d.c.billRecords(ctx, d.owner) {
			if err != nil {
				yield(calendar.Event{}, err)
				return
			}
			if ev, ok := d.ofPaper(b); ok && !yield(ev, nil) {
				return
			}
		}
	}
}

// ofMessages are the events of those messages that have a due date.
func (d *deadlines) ofMessages(ctx context.Context, ms []InboxMessage) (events []calendar.Event, err error) {
	ms = slices.DeleteFunc(ms, func(m InboxMessage) bool { return m.Due.IsZero() })
	bills, err := d.c.billsOf(ctx, d.owner, ms)
	if err != nil {
		return nil, err
	}
	for i, m := range ms {
		s, err := d.service(ctx, m.Service)
		if err != nil {
			return nil, err
		}
		ev := calendar.Event{UID: d.uid("message", string(m.ID)), Summary: m.Subject, Description: lines(s.Name, s.OrgName), Stamp: m.SentAt}
		if d.feed && (m.SecureChannels || s.Secure) {
			ev.Summary, ev.Description = s.Name, s.OrgName
		}
		ev.Due, ev.WholeDay = dueDay(m.Due)
		var news *newsRecord
		if bills != nil && bills[i] != nil {
			news = bills[i].News
		}
		events = append(events, d.event(ev, m.Due, news))
	}
	return events, nil
}

// ofPaper is the event of a notice from paper, if it has a due day; those of messages have theirs. The day is the creditor's to say, and
// when that changed is not kept; so an event with another day is another event.
func (d *deadlines) ofPaper(b *billRecord) (ev calendar.Event, ok bool) {
	due := fromMicro(b.Due) // a day in UTC: see Debt
	if len(b.Messages) > 0 || due.IsZero() || due.Year() < 1 || due.Year() > 9999 {
		return ev, false
	}
	ev = calendar.Event{
		UID: d.uid("notice", b.rptID().String(), due.Format(time.DateOnly)), Summary: cmp.Or(b.Text, b.Payee, b.Notice),
		Description: b.Payee, Stamp: fromMicro(b.Added), Due: due, WholeDay: true,
	}
	return d.event(ev, due.Add(24*time.Hour), b.News), true
}

// event completes an event by what was heard of its notice, if there is one. end is when the deadline is over.
func (d *deadlines) event(ev calendar.Event, end time.Time, news *newsRecord) calendar.Event {
	ev.Sequence = news.revision()
	if news != nil {
		ev.Cancelled = news.moot(end)
		if at := fromMicro(news.At); at.After(ev.Stamp) {
			ev.Stamp = at
		}
	}
	ev.LastModified = ev.Stamp
	switch {
	case !d.now.Before(end): // some programs sound alarms that are over
	case d.opts.Alarms != nil:
		ev.Alarms = d.opts.Alarms
	case ev.WholeDay:
		ev.Alarms = []time.Duration{alarmOfDay}
	default:
		ev.Alarms = []time.Duration{alarmOfMoment}
	}
	return ev
}

// uid is a pseudonym in this store, which nobody without its root secret can make, or tell whose it is. It outlives a restore.
func (d *deadlines) uid(kind string, of ...string) string {
	sum := d.c.e.codec.pseudonym.sum(append([]string{"deadline", kind, string(d.owner)}, of...)...)
	return hex.EncodeToString(sum[:16])
}

// service is the record of a service; one that is not known any more has no names.
func (d *deadlines) service(ctx context.Context, id ServiceID) (*serviceRecord, error) {
	if s := d.services[id]; s != nil {
		return s, nil
	}
	s, err := d.c.e.readService(ctx, id)
	if errors.Is(err, ErrNotFound) {
		s, err = &serviceRecord{}, nil
	}
	if err == nil {
		d.services[id] = s
	}
	return s, err
}

func lines(texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(s string) bool { return s == "" }), "\n")
}

// dueDay is the day of which a due time is the end, in Italy; ok is false, and the time is as it was, where it is another moment. At
// midnight exactly the day before has ended: a notice can be paid until then.
func dueDay(due time.Time) (day time.Time, ok bool) {
	local := due.In(rome.Location())
	hour, minute, second := local.Clock()
	switch {
	case hour == 23 && minute == 59:
		return local, true
	case hour == 0 && minute == 0 && second == 0 && local.Nanosecond() == 0:
		return local.Add(-time.Second), true
	}
	return due, false
}

// moot reports whether a notice's deadline, which ends at a time, is over before it.
func (r *newsRecord) moot(end time.Time) bool {
	return r.State == Paid || r.State == Cancelled || r.State == Expired && r.At < toMicro(end)
}

// revisionEpoch is from when on revisions are counted, in seconds: before the first notices that an engine followed.
var revisionEpoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

const lastRevision = 2_000_000_000 // in 2083, and below what RFC 5545 has room for

// revision is a number that only grows as news stands over other news, so that nobody need count: the time of the news, which grows
// but where Paid, the last, takes the place of what is later, or of a payment that was heard of before and came after it.
func (r *newsRecord) revision() int {
	switch {
	case r == nil:
		return 0
	case r.State == Paid:
		return lastRevision
	}
	return int(min(max(r.At-revisionEpoch, 0)/1_000_000+1, lastRevision-1))
}

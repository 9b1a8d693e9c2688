package appio

import (
	"context"
	"maps"
	"strconv"
	"time"
)

// A Day is what happened with a service's messages on one UTC day. What counts is when it happened, not when the message was sent, so that
// the figures of a day that is over do not change. The sandbox recipient is left out.
type Day struct {
	Day       time.Time      // its midnight
	Accepted  int            // messages that Send took, of any outcome: Processed and Rejected
	Processed int            // that came to the inbox
	Rejected  int            // by consent, or without a recipient
	Delivered map[string]int // deliveries that a channel took, by its name: of messages, digests, reminders and copies to each address; on the day on which the last of a message's was over
	Read      int            // messages that were read for the first time
	Paid      int            // notices of messages of which it was heard that they are paid
	Final     bool           // the day is over, and counted for good
}

// maxStatisticsDays is the most days that are asked for at once.
const maxStatisticsDays = 400

// SmallNumber is the threshold of [Sender.Statistics].
const SmallNumber = 10

// Statistics are a service's figures of the UTC days from one moment's to another's, both included, at most 400, exact for the operator; a day
// without any is not among them. Run and Flush count a day for good an hour after its end; one that is not is counted as it is asked for, which
// reads a record or two for each message of the day. An unknown service
// has none. Without Options.Statistics it is ErrUnsupported.
func (e *Engine) Statistics(ctx context.Context, id ServiceID, from, to time.Time) ([]Day, error) {
	return e.statistics(ctx, id, from, to, true)
}

func (e *Engine) statistics(ctx context.Context, id ServiceID, from, to time.Time, open bool) ([]Day, error) {
	if !e.opts.Statistics {
		return nil, unsupported("Options.Statistics")
	}
	from, to = utcDay(from), utcDay(to)
	if to.Before(from) || !to.Before(from.AddDate(0, 0, maxStatisticsDays)) {
		return nil, invalid("to", "not before from, and at most 400 days")
	}
	if err := e.ready(ctx); err != nil {
		return nil, err
	}
	if id.validate() != nil {
		return nil, ErrNotFound
	}
	closed, err := e.readClosed(ctx, e.now())
	if err != nil {
		return nil, err
	}
	kept, err := e.keptDays(ctx, id, from, to)
	if err != nil {
		return nil, err
	}
	var days []Day
	for day := from; !day.After(to); day = day.AddDate(0, 0, 1) {
		r, final := kept[day], day.Before(closed)
		switch {
		case !final && (!open || day.After(e.now())):
			return days, nil
		case !final:
			t, err := e.count(ctx, dayOf(day), id)
			if err != nil {
				return nil, err
			}
			r = t[id]
		}
		if r != nil {
			days = append(days, r.day(day, final))
		}
	}
	return days, nil
}

func (r *dayRecord) day(day time.Time, final bool) Day {
	d := Day{
		Day: day, Accepted: int(r.Processed + r.Rejected), Processed: int(r.Processed), Rejected: int(r.Rejected),
		Delivered: map[string]int{}, Read: int(r.Read), Paid: int(r.Paid), Final: final,
	}
	for channel, n := range r.Delivered {
		d.Delivered[channel] = int(n)
	}
	return d
}

// Statistics are the service's own figures, as [Engine.Statistics], of days that are counted for good. What each Send has answered is exact.
// What is known of citizens beside that, Delivered, Read and Paid, is rounded down to tens, less up to nine first, by an amount that is
// secret, and for good of each figure: none under [SmallNumber] is told, nor where exactly the next ten begins, and a figure asked for again,
// or added up over days, says no more than it said.
func (s *Sender) Statistics(ctx context.Context, from, to time.Time) ([]Day, error) {
	if err := s.e.ready(ctx); err != nil {
		return nil, err
	}
	if s.id.validate() != nil {
		return nil, ErrNotFound
	}
	r, err := s.e.readService(ctx, s.id)
	if err != nil {
		return nil, err
	}
	if err := s.authorize(r); err != nil {
		return nil, err
	}
	days, err := s.e.statistics(ctx, s.id, from, to, planted == "small-open")
	for i := range days {
		s.e.coarsen(s.id, &days[i])
	}
	return days, err
}

// coarsen leaves of figures what a sender may know.
func (e *Engine) coarsen(id ServiceID, d *Day) {
	day := strconv.FormatInt(d.Day.Unix(), 10)
	if planted == "small-days" {
		day = ""
	}
	coarse := func(figure string, n int) int {
		sum := e.codec.pseudonym.sum("statistics", string(id), day, figure)
		secret := int(sum[0]) % SmallNumber // 0 to 9, nearly evenly
		switch {
		case planted == "small-told" && n < SmallNumber:
			return n
		case planted == "small-even":
			secret = 0
		case planted == "small-anew":
			secret = int(e.mono()/time.Microsecond) % SmallNumber
		}
		return max(n-secret, 0) / SmallNumber * SmallNumber
	}
	d.Read, d.Paid = coarse("read", d.Read), coarse("paid", d.Paid)
	for channel, n := range d.Delivered {
		d.Delivered[channel] = coarse("delivered "+channel, n)
	}
	maps.DeleteFunc(d.Delivered, func(_ string, n int) bool { return n == 0 })
}

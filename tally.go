package appio

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/failpoint"
	"github.com/appio-go/appio/store"
)

// Statistics are counted from the records that messages have anyway. Those stand in lanes in the order of time, in which nobody looks for
// work: a decision to process in one of its service's by when it was made, an outcome by when it was first written. What perishes stands
// in the order of time in the lanes of clean-ups: decisions to reject, and the marks of what happens rarely enough to write one. So a day is
// counted by reading a part of some lanes, of records that do not change their places; once it is over it is counted for good, and the
// figures of each service are kept by an owner of its own. A crash has nothing to undo: the day is counted again.

const (
	keepTally  = 48 * time.Hour // marks, for the day's count
	closingLag = time.Hour      // after the end of a day: what began on it is committed by then
	tallyPage  = 1024           // records of a lane at a time
)

// A tallyKind is what a mark says that happened.
type tallyKind uint8

const (
	tallyRead      tallyKind = iota + 1 // a message, for the first time
	tallyPaid                           // a notice
	tallyDelivered                      // something of a message whose deliveries were over before
)

func decisionLane(id ServiceID) store.Lane { return deliveryLane(id) - laneDelivery + laneDecided }
func outcomeLane(id ServiceID) store.Lane  { return deliveryLane(id) - laneDelivery + laneOver }

// putTally marks that something happened that is to be counted, once for each id.
func (d *draft) putTally(kind tallyKind, id string, service ServiceID, channel string, now time.Time) error {
	if !d.tallies {
		return nil
	}
	key := prefixTally + store.Key('0'+rune(kind)) + store.Key(id)
	return d.putSealed(store.Record{Key: key, Lane: cleanUpLane(d.owner), Due: now.Add(keepTally)}, &tallyRecord{kind, service, channel})
}

// tallyRead marks that a message is read, whose record was read.
func (d *draft) tallyRead(id MessageID, now time.Time) error {
	if !d.tallies {
		return nil
	}
	var m messageRecord
	if _, err := d.read(messageKey(id), &m); err != nil {
		return err
	}
	return d.putTally(tallyRead, string(id), m.Service, "", now)
}

// tallyLate marks what was delivered of a message whose outcome is counted without it.
func (d *draft) tallyLate(service ServiceID, items []outcomeItem, now time.Time) error {
	for _, o := range items {
		if o.Result != OutcomeDelivered || planted == "tally-late" {
			continue
		}
		if err := d.putTally(tallyDelivered, string(o.ID)+"-"+strconv.Itoa(o.Attempts), service, o.Channel, now); err != nil {
			return err
		}
	}
	return nil
}

// talliedAt is when what a perishing record is counted as happened; ok: it is counted.
func talliedAt(r *store.Record) (at time.Time, ok bool) {
	switch {
	case !strings.HasPrefix(string(r.Owner), citizenOwner):
		return at, false
	case strings.HasPrefix(string(r.Key), prefixTally):
		return r.Due.Add(-keepTally), true
	case strings.HasPrefix(string(r.Key), prefixDecision):
		return r.Due.Add(-keepRejected), true
	}
	return at, false
}

// A span is some time: from its start on, up to before its end.
type span struct{ from, until time.Time }

func dayOf(day time.Time) span { return span{day, day.AddDate(0, 0, 1)} }

// tallies are the figures of services.
type tallies map[ServiceID]*dayRecord

func (t tallies) of(id ServiceID) *dayRecord {
	if t[id] == nil {
		t[id] = &dayRecord{Delivered: map[string]int64{}}
	}
	return t[id]
}

// count counts what happened in a span, of one service or, without, of all. What cannot be read is an error where one service is asked for; a
// count of all goes on without it, and who checks the store learns of it.
func (e *Engine) count(ctx context.Context, s span, only ServiceID) (tallies, error) {
	t, damaged := tallies{}, 0
	sandbox := e.codec.citizen(fiscalcode.Sandbox) // its messages go at once, and are nobody's
	lanes := make([]store.Lane, 0, 2*deliveryLanes)
	for i := range store.Lane(deliveryLanes) {
		if l := laneDecided + i; only == "" || l == decisionLane(only) {
			lanes = append(lanes, l, laneOver+i)
		}
	}
	add := func(r *store.Record, v any, count func()) error {
		if r.Owner == sandbox {
			return nil
		}
		err := e.codec.of(r.Owner).open(r, v)
		switch {
		case err == nil:
			count()
		case only == "" && errors.Is(err, store.ErrCorrupt):
			damaged++
			return nil
		}
		return err
	}
	for _, lane := range lanes {
		err := e.eachIn(ctx, lane, s, 0, func(r *store.Record) error {
			if lane < laneOver {
				var d talliedDecision
				return add(r, &d, func() { t.of(d.Service).Processed++ })
			}
			var o outcomeRecord
			return add(r, &o, func() {
				items := o.Items
				if o.First > 0 {
					items = items[:o.First]
				}
				for i := range items {
					if items[i].Result == OutcomeDelivered {
						t.of(o.Service).Delivered[items[i].Channel]++
					}
				}
			})
		})
		if err != nil {
			return nil, err
		}
	}
	for i := range store.Lane(cleanUpLanes) {
		for _, kept := range []time.Duration{keepTally, keepRejected} {
			err := e.eachIn(ctx, laneCleanUp+i, s, kept, func(r *store.Record) error {
				at, ok := talliedAt(r)
				switch {
				case !ok || !r.Due.Equal(at.Add(kept)): // it perishes for another reason, or at another time
					return nil
				case kept == keepRejected:
					var d talliedDecision
					return add(r, &d, func() { t.of(d.Service).Rejected++ })
				}
				var m tallyRecord
				return add(r, &m, func() {
					switch day := t.of(m.Service); m.Kind {
					case tallyRead:
						day.Read++
					case tallyPaid:
						day.Paid++
					case tallyDelivered:
						day.Delivered[m.Channel]++
					}
				})
			})
			if err != nil {
				return nil, err
			}
		}
	}
	if damaged > 0 {
		e.log().Error("records of a day cannot be read, and are not in its statistics", "records", damaged)
	}
	return t, nil
}

// eachIn reads the records of a lane that became due in a span, or so much later.
func (e *Engine) eachIn(ctx context.Context, lane store.Lane, s span, later time.Duration, f func(r *store.Record) error) error {
	from, until := s.from.Add(later), s.until.Add(later)
	q := store.DueQuery{Lanes: []store.Lane{lane}, Until: until.Add(-time.Microsecond), After: store.Position{Due: from.Add(-time.Microsecond)}, Limit: tallyPage}
	for {
		recs, err := e.store.Due(ctx, q)
		if err != nil {
			return err
		}
		for i := range recs {
			if recs[i].Due.Equal(from.Add(-time.Microsecond)) {
				continue
			}
			if err := f(&recs[i]); err != nil {
				return err
			}
		}
		if len(recs) < q.Limit {
			return nil
		}
		last := recs[len(recs)-1]
		q.After = store.Position{Due: last.Due, Owner: last.Owner, Key: last.Key}
	}
}

// countedUntil is up to when days are counted for good; zero: it is not known yet.
func (e *Engine) countedUntil() time.Time { return fromMicro(e.countedDays.Load()) }

// countDays counts for good the days that are over. Several engines may at the same time: they come to the same.
func (e *Engine) countDays(ctx context.Context) error {
	if !e.opts.Statistics {
		return nil
	}
	now := e.now()
	over := func(day time.Time) bool { return !now.Before(day.AddDate(0, 0, 1).Add(closingLag)) }
	if c := e.countedUntil(); !c.IsZero() && !over(c) {
		return nil
	}
	e.countingDays.Lock()
	defer e.countingDays.Unlock()
	day, err := e.readClosed(ctx, now)
	if err != nil {
		return err
	}
	for ; over(day); day = day.AddDate(0, 0, 1) {
		t, err := e.count(ctx, dayOf(day), "")
		if err != nil {
			return err
		}
		if planted == "tally-first" {
			if err := e.putClosed(ctx, day.AddDate(0, 0, 1)); err != nil {
				return err
			}
		}
		_ = failpoint.Hit("tally/counted")
		ops := make([]*op, 0, len(t))
		for id, figures := range t {
			ops = append(ops, e.keepDay(id, day, figures))
		}
		for _, err := range e.writer.do(ctx, ops...) {
			if err != nil {
				return err
			}
		}
		_ = failpoint.Hit("tally/kept")
		if err := e.putClosed(ctx, day.AddDate(0, 0, 1)); err != nil {
			return err
		}
	}
	if err := e.putClosed(ctx, day); err != nil { // where the count begins has not to be looked for again
		return err
	}
	e.countedDays.Store(toMicro(day))
	return nil
}

// tryCountDays is countDays for who has other work to do: what cannot be read, and a store without room, hold up nothing else.
func (e *Engine) tryCountDays(ctx context.Context) error {
	err := e.countDays(ctx)
	if err == nil || fatal(err) || ctx.Err() != nil {
		return err
	}
	e.log().Error("a day's statistics could not be counted, and will be", "err", err)
	return nil
}

// keepDay keeps a service's figures of a day. Of two engines that count it the one that is behind may find that marks have gone, as the other
// has closed the day: the larger figures are right.
func (e *Engine) keepDay(id ServiceID, day time.Time, figures *dayRecord) *op {
	key := dayKey(day)
	return &op{owner: statisticsOwner + store.Owner(id), keys: []store.Key{key}, apply: func(tx *draft) error {
		var was dayRecord
		if _, err := tx.read(key, &was); errors.Is(err, store.ErrCorrupt) {
			was = dayRecord{}
		} else if err != nil {
			return err
		}
		if planted == "tally-added" {
			figures.Processed += was.Processed
		}
		return tx.putSealed(store.Record{Key: key}, figures.atLeast(&was))
	}}
}

// atLeast is the larger of each two figures.
func (r *dayRecord) atLeast(o *dayRecord) *dayRecord {
	m := &dayRecord{max(r.Processed, o.Processed), max(r.Rejected, o.Rejected), maps.Clone(r.Delivered), max(r.Read, o.Read), max(r.Paid, o.Paid)}
	for channel, n := range o.Delivered {
		m.Delivered[channel] = max(m.Delivered[channel], n)
	}
	return m
}

func dayKey(day time.Time) store.Key { return store.Key(day.UTC().Format(dayFormat)) }

// keptDays are a service's figures of days that were counted for good.
func (e *Engine) keptDays(ctx context.Context, id ServiceID, from, to time.Time) (map[time.Time]*dayRecord, error) {
	rng := store.Range{From: dayKey(from), To: dayKey(to.AddDate(0, 0, 1)), Limit: maxStatisticsDays}
	d, err := e.view(ctx, statisticsOwner+store.Owner(id), rng, "")
	if err != nil {
		return nil, err
	}
	kept := map[time.Time]*dayRecord{}
	for i := range d.ranged {
		r := &dayRecord{}
		day, err := time.Parse(dayFormat, string(d.ranged[i].Key))
		if err != nil {
			return nil, errMalformed
		}
		if err := d.open(&d.ranged[i], r); err != nil {
			return nil, err
		}
		kept[day] = r
	}
	return kept, nil
}

// readClosed is up to when days are counted for good: before the first count, the first day of which there is something to count.
func (e *Engine) readClosed(ctx context.Context, now time.Time) (time.Time, error) {
	d, err := e.view(ctx, statisticsOwner, store.Range{}, "", keyClosed)
	if err != nil {
		return time.Time{}, err
	}
	var r closedRecord
	if found, err := d.read(keyClosed, &r); err != nil || found {
		return fromMicro(r.Until), err
	}
	first := now
	lanes := make([]store.Lane, 0, 2*deliveryLanes)
	for i := range store.Lane(2 * deliveryLanes) {
		lanes = append(lanes, laneDecided+i)
	}
	recs, err := e.store.Due(ctx, store.DueQuery{Lanes: lanes, Until: now, Limit: 1})
	if err != nil {
		return time.Time{}, err
	}
	for i := range recs {
		first = earlier(first, recs[i].Due)
	}
	for i := range store.Lane(cleanUpLanes) {
		// A mark that stands behind a decision is of later, too.
		err := e.eachIn(ctx, laneCleanUp+i, span{time.UnixMicro(2).UTC(), now.Add(keepRejected + time.Microsecond)}, 0, func(r *store.Record) error {
			at, ok := talliedAt(r)
			if ok {
				first = earlier(first, at)
			}
			if ok && strings.HasPrefix(string(r.Key), prefixDecision) {
				return errFound
			}
			return nil
		})
		if err != nil && err != errFound {
			return time.Time{}, err
		}
	}
	return utcDay(first), nil
}

// errFound ends a search.
var errFound = errors.New("appio: found")

func (e *Engine) putClosed(ctx context.Context, until time.Time) error {
	return e.do(ctx, &op{owner: statisticsOwner, keys: []store.Key{keyClosed}, apply: func(tx *draft) error {
		var r closedRecord
		if _, err := tx.read(keyClosed, &r); err != nil || r.Until >= toMicro(until) {
			return err
		}
		return tx.putSealed(store.Record{Key: keyClosed}, &closedRecord{toMicro(until)})
	}})
}

// counting counts days that are over, until ctx ends.
func (e *Engine) counting(ctx context.Context) {
	t := time.NewTicker(pollEvery)
	defer t.Stop()
	for {
		if err := e.countDays(ctx); err != nil && ctx.Err() == nil {
			e.log().Error("a day's statistics could not be counted, and will be", "err", err)
			pause(ctx, time.Minute)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// counted reports whether a record that perishes is no longer needed for statistics, or room is needed more.
func (e *Engine) counted(r *store.Record) bool {
	at, ok := talliedAt(r)
	return !ok || !e.opts.Statistics || at.Before(e.countedUntil()) || errors.Is(e.storeError(), store.ErrFull)
}

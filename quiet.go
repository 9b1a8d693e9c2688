package appio

import (
	"strings"
	"sync"
	"time"

	"github.com/appio-go/appio/internal/rome"
)

// QuietHours are times of day in which nothing interrupts a citizen: no delivery by a route with [Route.Interrupts] begins in them.
// It waits for their end, and its time to live with it. Zero: there are none.
//
// They begin when the clock first shows From, or what comes after it where that hour is left out, and end when it shows To for
// good. So an hour that comes twice, as a clock is put back, makes them longer and never shorter.
type QuietHours struct {
	From, To time.Duration // since midnight by the clock, in whole minutes below 24 h; over midnight where From is later; 20 h long at most
	Zone     string        // whose clock it is, as the tz database names it, "Europe/Rome"; empty: Italian time
}

const maxQuiet = 20 * time.Hour // so that each day leaves some hours for what waits

func (q QuietHours) validate() error {
	length := q.To - q.From
	if length < 0 {
		length += oneDay
	}
	switch {
	case min(q.From, q.To) < 0 || max(q.From, q.To) >= oneDay || q.From%time.Minute != 0 || q.To%time.Minute != 0:
		return invalid("Quiet", "From and To: whole minutes since midnight, below 24 hours")
	case length > maxQuiet:
		return invalid("Quiet", "at most 20 hours")
	case q.Zone == "":
		return nil
	case len(q.Zone) > 64 || q.Zone == "Local" || strings.Contains("/"+q.Zone+"/", "//") || strings.ContainsFunc(q.Zone, func(r rune) bool {
		return !strings.ContainsRune("/_+-", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}):
	default:
		if _, err := time.LoadLocation(q.Zone); err == nil {
			return nil
		}
	}
	return invalid("Quiet.Zone", "a time zone of the tz database that this system knows")
}

// Next is t, or, where that is in the quiet hours, when they are over.
func (q QuietHours) Next(t time.Time) time.Time {
	if q.From == q.To {
		return t
	}
	zone := zoneNamed(q.Zone)
	y, m, d := t.In(zone).Date()
	over := 0
	if q.To < q.From {
		over = 1
	}
	for day := d - 2; day <= d+1; day++ { // the end of one night may be in the next
		from, _ := clockShows(zone, y, m, day, q.From)
		if _, to := clockShows(zone, y, m, day+over, q.To); !t.Before(from) && t.Before(to) {
			t = to
		}
	}
	return t
}

// clockShows is when a zone's clock first shows a time of a day, or a later one, and when it shows an earlier one no more.
func clockShows(zone *time.Location, y int, m time.Month, d int, clock time.Duration) (first, last time.Time) {
	wall := time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Add(clock)
	const far = 36 * time.Hour // more than any zone is from UTC, and than a clock was ever put forward or back
	for at, end := wall.Add(-far), wall.Add(far); at.Before(end); {
		_, offset := at.In(zone).Zone()
		_, until := at.In(zone).ZoneBounds()
		if until.IsZero() || until.After(end) {
			until = end
		}
		shown := wall.Add(-time.Duration(offset) * time.Second)
		if first.IsZero() && shown.Before(until) {
			first = later(at, shown)
		}
		if shown.After(at) {
			last = earlier(until, shown)
		}
		at = until
	}
	return first.UTC(), last.UTC()
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// zones are those that citizens have named: at most as many as there are.
var zones sync.Map // a zoneSeen by name

// A zoneSeen is a zone as this system knew it, or, until it is looked for again, what stands in for it.
type zoneSeen struct {
	zone  *time.Location
	until time.Time // zero: for good
}

const lookForZone = time.Second

// zoneNamed is a zone that was known when it was chosen. Where it is not, as in a container without files, Italian time stands in, until
// it can be read.
func zoneNamed(name string) *time.Location {
	if name == "" {
		return rome.Location()
	}
	if v, ok := zones.Load(name); ok {
		if z := v.(*zoneSeen); z.until.IsZero() || time.Now().Before(z.until) {
			return z.zone
		}
	}
	seen := &zoneSeen{}
	var err error
	if seen.zone, err = time.LoadLocation(name); err != nil {
		seen.zone, seen.until = rome.Location(), time.Now().Add(lookForZone)
	}
	zones.Store(name, seen)
	return seen.zone
}

// quietUntil is when a route may deliver to a citizen, from a moment on: that moment, or the end of the quiet hours that it is in.
func (p *profileRecord) quietUntil(r *Route, now time.Time) time.Time {
	if p.Quiet == nil || !r.Interrupts {
		return now
	}
	return p.Quiet.hours().Next(now)
}

// quietFor reports whether a service must not deliver by a channel now, for the citizen's quiet hours.
func (e *Engine) quietFor(cs *consentState, s *serviceRecord, channel string) bool {
	r, now := e.route(channel), e.now()
	return cs.profile != nil && r != nil && s != nil && s.QuietBasis == "" && cs.profile.quietUntil(r, now).After(now)
}

// putOff moves when a delivery is tried, and the end of its time with it: it keeps what it has left. A reminder's time ends when what it
// is about is over.
func (w *workRecord) putOff(en *workEntry, next int64) {
	if en.Reminder == "" {
		en.Expires = w.expires(en) + next - en.Next
	}
	en.Next = next
}

// retime sets when a delivery that waits for the end of quiet hours is tried, as the citizen has chosen now. One whose turn has come looks for
// itself: the time that it has left runs.
func (e *Engine) retime(w *workRecord, en *workEntry, p *profileRecord, now time.Time) (changed bool) {
	r := e.route(en.Channel)
	if !en.Quiet || en.Held || en.Next <= toMicro(now) || p == nil || r == nil {
		return false
	}
	next := p.quietUntil(r, now)
	if toMicro(next) == en.Next || planted == "quiet-stale" {
		return false
	}
	w.putOff(en, toMicro(next))
	en.Quiet = next.After(now)
	e.putOffFallbacks(w, en)
	return true
}

// putOffFallbacks has what stands in for a delivery that was put off, and has not begun, wait as long after it as before.
func (e *Engine) putOffFallbacks(w *workRecord, of *workEntry) {
	for i := range w.Entries {
		en := &w.Entries[i]
		r := e.route(en.Channel)
		if en.Fallback != of.Channel || en.Held || en.Attempts > 0 || r == nil || r.Fallback.Of != of.Channel || planted == "fallback-first" {
			continue
		}
		if next := of.Next + r.Fallback.After.Microseconds(); next > en.Next {
			w.putOff(en, next)
			e.putOffFallbacks(w, en)
		}
	}
}

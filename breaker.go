package appio

import (
	"cmp"
	"context"
	"errors"
	"math"
	"sync"
	"time"
)

// A Breaker says when a channel is left alone for a while: where so many of its calls fail that it is the channel, or what is behind
// it, that is out of order, and not what it is given. Work then waits in the store and no attempt is spent, so that an outage parks
// nothing. After Open some calls are let through: where they fail too nothing is tried for twice as long, otherwise it goes
// on. The zero value has the defaults. What an engine has seen of a channel it keeps in memory, for itself.
//
// A call failed if it ended in errors that are not marked, a panic, or too late, and all in it were tried for the first time: so what
// fails whenever it is tried counts once, however often that is. Permanent and Gone are answers of a channel that works; RetryAfter
// is that too, and has a time of its own.
type Breaker struct {
	Share   float64       // of the calls in Window that fail, from which the channel is left alone: above 0, up to 1; 0: 0.5
	Least   int           // calls in Window, before which it is not judged; 0: 20
	Window  time.Duration // 0: a minute
	Open    time.Duration // for how long nothing is tried, the first time; 0: 30 s
	Longest time.Duration // the most that Open grows to; 0: 5 min
	Probes  int           // calls by which it is judged afterwards; 0: 3
	Off     bool          // the channel is never left alone
}

func (b *Breaker) complete() (ok bool) {
	b.Share, b.Least, b.Window = cmp.Or(b.Share, 0.5), cmp.Or(b.Least, 20), cmp.Or(b.Window, time.Minute)
	b.Open, b.Probes = cmp.Or(b.Open, 30*time.Second), cmp.Or(b.Probes, 3)
	b.Longest = cmp.Or(b.Longest, max(b.Open, 5*time.Minute))
	return b.Share > 0 && b.Share <= 1 && b.Least > 0 && b.Window >= breakerSlots && b.Open > 0 && b.Longest >= b.Open && b.Probes > 0
}

// breakerSlots are the parts of a window that are forgotten one by one.
const breakerSlots = 10

// A line is what an engine knows of a channel for as long as it lives, whichever Run or Flush delivers: its rate, and its breaker.
type line struct {
	e     *Engine
	route *Route

	mu     sync.Mutex
	bucket bucket

	state   breakerState
	slots   [breakerSlots]breakerSlot // of the window
	slot    int64                     // number of the latest
	since   time.Time                 // when the state began
	open    time.Duration             // how long nothing is tried
	probing int                       // probes under way
	good    int                       // probes that were answered
	bad     int                       // probes that failed
	end     func(Outcome)             // for the Observer, once it closes
	over    bool                      // the engine is closed
}

type breakerState uint8

const (
	breakerClosed breakerState = iota
	breakerOpen
	breakerHalf // some are let through
)

type breakerSlot struct{ good, bad int }

// A callVerdict is what a call says about its channel.
type callVerdict uint8

const (
	callNeutral callVerdict = iota
	callGood
	callBad
)

// take takes a token of the channel's rate, or says how long until there is one.
func (l *line) take() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bucket.take(time.Now())
}

// look brings the state up to now. It is called with l.mu held. A clock that was put back does not prolong a rest.
func (l *line) look(now time.Time) {
	if l.state != breakerOpen {
		return
	}
	if now.Before(l.since) {
		l.since = now
	}
	if now.Sub(l.since) >= l.open || planted == "breaker-restless" {
		l.state, l.since, l.probing, l.good, l.bad = breakerHalf, now, 0, 0, 0
	}
}

// rests says for how long nothing is to be tried.
func (l *line) rests(now time.Time) (wait time.Duration, open bool) {
	if l.route.Breaker.Off {
		return 0, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.look(now); l.state != breakerOpen {
		return 0, false
	}
	return max(0, l.open-now.Sub(l.since)), true
}

// room is how many items are worth having in memory.
func (l *line) room(now time.Time) int {
	if l.route.Breaker.Off {
		return math.MaxInt
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.look(now); l.state {
	case breakerOpen:
		return 0
	case breakerHalf:
		return l.route.Breaker.Probes
	}
	return math.MaxInt
}

// begin reports whether a call may be made. The answer yes has to be followed by ended.
func (l *line) begin(now time.Time) bool {
	if l.route.Breaker.Off {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.look(now); {
	case l.state == breakerOpen, l.state == breakerHalf && l.probing+l.good+l.bad >= l.route.Breaker.Probes:
		return false
	case l.state == breakerHalf:
		l.probing++
	}
	return true
}

// ended counts a call, by what it says about the channel; probe is what it says where anything that failed counts. It reports whether
// what failed is to be spared its attempt.
func (l *line) ended(now time.Time, verdict, probe callVerdict, cause string) (spare bool) {
	if l.route.Breaker.Off {
		return false
	}
	l.mu.Lock()
	was := l.state
	switch l.state {
	case breakerClosed:
		l.count(now, verdict)
	case breakerHalf:
		l.judge(now, probe)
	}
	is, end := l.state, l.end
	if was != breakerClosed && is == breakerClosed {
		l.end = nil
	}
	l.mu.Unlock()
	switch {
	case was == breakerClosed && is == breakerOpen:
		l.opened(cause)
	case was != breakerClosed && is == breakerClosed:
		l.e.log().Info("a channel answers again", "channel", l.route.Name)
		if end != nil {
			end(Outcome{})
		}
	}
	return was != breakerClosed
}

// count adds a call to the window, and opens the breaker if too many failed.
func (l *line) count(now time.Time, verdict callVerdict) {
	b := &l.route.Breaker
	slot := now.UnixNano() / int64(b.Window/breakerSlots)
	if slot < l.slot-breakerSlots { // the clock was far ahead
		l.slots, l.slot = [breakerSlots]breakerSlot{}, slot
	}
	for n := min(slot-l.slot, breakerSlots); n > 0; n-- {
		l.slots[((slot-n+1)%breakerSlots+breakerSlots)%breakerSlots] = breakerSlot{}
	}
	l.slot = max(l.slot, slot) // a clock that was put back adds to the latest
	s := &l.slots[(l.slot%breakerSlots+breakerSlots)%breakerSlots]
	switch verdict {
	case callGood:
		s.good++
		return
	case callNeutral:
		return
	}
	s.bad++
	var sum breakerSlot
	for _, s := range l.slots {
		sum.good, sum.bad = sum.good+s.good, sum.bad+s.bad
	}
	if n := sum.good + sum.bad; n >= b.Least && float64(sum.bad) >= b.Share*float64(n) {
		l.state, l.since, l.open = breakerOpen, now, b.Open
	}
}

// judge takes a probe into account, and decides by the last.
func (l *line) judge(now time.Time, probe callVerdict) {
	b := &l.route.Breaker
	if l.probing == 0 { // of a call that began before the channel was left alone
		return
	}
	l.probing--
	switch probe {
	case callGood:
		l.good++
	case callBad:
		l.bad++
	}
	switch n := l.good + l.bad; {
	case n < b.Probes && float64(l.bad) < b.Share*float64(b.Probes):
	case float64(l.bad) >= b.Share*float64(b.Probes), planted == "breaker-stuck":
		l.state, l.since, l.open = breakerOpen, now, min(2*l.open, b.Longest)
	default:
		l.state, l.since, l.slots = breakerClosed, now, [breakerSlots]breakerSlot{}
	}
}

// opened tells who wants to know.
func (l *line) opened(cause string) {
	l.e.log().Warn("too many calls of a channel fail: it is left alone for a while", "channel", l.route.Name)
	l.e.counts.opened.Add(1)
	ctx := context.Context(context.Background())
	end := l.e.observe(&ctx, Operation{Name: "outage", Channel: l.route.Name})
	done := func(o Outcome) {
		o.Err = errors.New(cause)
		end(o)
	}
	l.mu.Lock()
	over := l.over || l.state == breakerClosed // meanwhile
	if !over {
		l.end = done
	}
	l.mu.Unlock()
	if over {
		done(Outcome{})
	}
}

// close ends what is told of an outage: nobody learns of its end any more.
func (l *line) close() {
	l.mu.Lock()
	end := l.end
	l.end, l.over = nil, true
	l.mu.Unlock()
	if end != nil {
		end(Outcome{})
	}
}

// leftAlone are the channels whose breaker is not closed.
func (e *Engine) leftAlone() (names []string) {
	for i := range e.lines {
		l := &e.lines[i]
		l.mu.Lock()
		if l.look(e.now()); l.state != breakerClosed {
			names = append(names, l.route.Name)
		}
		l.mu.Unlock()
	}
	return names
}

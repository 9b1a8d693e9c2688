package appio

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/appio-go/appio/internal/chance"
	"github.com/appio-go/appio/internal/failpoint"
	"github.com/appio-go/appio/store"
)

// A dispatcher delivers for one Run or Flush: it claims due work, or is handed what was just accepted, and brings each item
// through the citizen's gate to its channel. Each channel has its own queue and workers, so that a sick one holds up
// nothing else. Workers exist while there is work.
type dispatcher struct {
	e      *Engine
	ctx    context.Context // of the channels' calls: ends when draining is over
	cancel context.CancelFunc

	mu       sync.Mutex
	queues   map[string]*channelQueue
	stopping bool // nothing more is taken
	pending  int  // items that are queued, under way, or whose outcome is not committed
	idle     chan struct{}
	wake     chan struct{} // to look for due work: room again, or a retry is due
	retry    *time.Timer   // until the next look for one; nil: none comes soon
	retryAt  time.Duration // when that is, on the monotonic clock
	failure  error         // of the store
	tried    atomic.Int64  // deliveries
	crowded  crowded
	whole    bool          // nothing is left to recover
	sweepAt  time.Duration // when sweep looks again, on the monotonic clock

	laneReader            // of deliveries, effects and clean-up
	reminders  laneReader // of reminders, which are looked for beside them
	paused     pausedReader
}

// A laneReader reads what is due, a page of each lane.
type laneReader struct {
	store store.Store
	after map[store.Lane]store.Position // where to go on in lanes whose head cannot be taken
	seen  map[store.Lane]bool           // lanes that were read to their end since again was called
}

func newLaneReader(s store.Store) laneReader {
	return laneReader{s, map[store.Lane]store.Position{}, map[store.Lane]bool{}}
}

// again has advance ask for every lane once more.
func (l *laneReader) again() { clear(l.seen) }

const (
	pageSize  = 64          // records of each lane in one look
	pollEvery = time.Second // without a reason to look sooner
)

func newDispatcher(e *Engine) *dispatcher {
	d := &dispatcher{e: e, queues: map[string]*channelQueue{}, wake: make(chan struct{}, 1),
		laneReader: newLaneReader(e.store), reminders: newLaneReader(e.store), paused: pausedReader{laneReader: newLaneReader(e.store)}}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	for i := range e.opts.Channels {
		r := &e.opts.Channels[i]
		d.queues[r.Name] = &channelQueue{d: d, route: r, line: &e.lines[i], average: firstAverage, shares: map[ServiceID]*share{}, tidyAt: usualShares}
	}
	return d
}

// look asks for a look at due work soon. It is called with d.mu held.
func (d *dispatcher) look() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// lookIn asks for a look once a time has passed, where that is before the next in any case. It is called with d.mu held.
func (d *dispatcher) lookIn(wait time.Duration) {
	now := d.e.mono()
	if wait >= pollEvery || d.stopping || d.retry != nil && d.retryAt <= now+wait {
		return
	}
	if d.retry != nil {
		d.retry.Stop()
	}
	var t *time.Timer
	t = time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.retry == t {
			d.retry = nil
		}
		d.look()
	})
	d.retry, d.retryAt = t, now+wait
}

// checkIdle is called with d.mu held.
func (d *dispatcher) checkIdle() {
	if d.idle != nil && d.pending == 0 && d.reservations() == 0 {
		close(d.idle)
		d.idle = nil
	}
}

func (d *dispatcher) reservations() (n int) {
	for _, q := range d.queues {
		n += q.reserved
	}
	return n
}

// whenIdle is closed once nothing is pending.
func (d *dispatcher) whenIdle() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.idle == nil {
		d.idle = make(chan struct{})
	}
	idle := d.idle
	d.checkIdle()
	return idle
}

// storeFailed keeps an error after which delivering makes no sense.
func (d *dispatcher) storeFailed(err error) {
	if err == nil || !fatal(err) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failure == nil {
		d.failure = err
		d.look()
	}
}

// refusal reports whether a change was not made, or not surely, because the store did not take it.
func refusal(err error) bool {
	return fatal(err) || errors.Is(err, store.ErrAborted) || errors.Is(err, ErrUnknown)
}

func fatal(err error) bool {
	return errors.Is(err, store.ErrFailed) || errors.Is(err, store.ErrClosed)
}

// poll claims what is due until a time, and what is not paused any more, and returns how much of it it took or moved out of the way,
// and whether there may be more.
func (d *dispatcher) poll(ctx context.Context, until time.Time) (taken int, more bool, err error) {
	if !d.e.fresh() {
		return 0, false, nil
	}
	resumed, going, err := d.resume(ctx)
	if err != nil {
		return resumed, false, err
	}
	lanes, err := d.read(ctx, laneDelivery, openLanes, until)
	if err != nil {
		return resumed, false, err
	}
	taken, moved, err := d.claim(ctx, laneDelivery, openLanes, lanes)
	return taken + resumed, d.advance(lanes, moved) || going, err
}

// claim claims what was read of lanes, in turn: the first of each lane, then the second of each.
func (d *dispatcher) claim(ctx context.Context, base store.Lane, n int, lanes map[store.Lane][]store.Record) (taken int, moved map[store.Lane]int, refused error) {
	moved = map[store.Lane]int{}
	var claims []*claim
	var ops []*op
	most := fewClaims
	together := func() {
		able := 0
		for i, err := range d.e.writer.do(ctx, ops...) {
			if err != nil {
				if refusal(err) {
					refused = err
				}
				continue // busy, or unreadable for now: it stays due
			}
			c := claims[i]
			if !c.moved && len(c.full) > 0 {
				d.crowded.remember(c)
			}
			if taken += c.gained; c.moved {
				able++
				moved[c.seen.Lane]++
				if c.gained == 0 {
					taken++
				}
			}
		}
		if len(ops) > 0 {
			_ = failpoint.Hit("dispatch/claimed")
		}
		if able > len(ops)/2 {
			most += fewClaims
		}
		claims, ops = nil, nil
	}
	first := int(chance.Int64N(int64(n)))
	for at, some := 0, true; some; at++ {
		some = false
		for i := range n {
			recs := lanes[base+store.Lane((first+i)%n)]
			if at >= len(recs) {
				continue
			}
			if some = true; d.crowdedOut(&recs[at]) {
				continue
			}
			c := &claim{e: d.e, d: d, seen: recs[at]}
			if claims, ops = append(claims, c), append(ops, c.op()); len(ops) >= most {
				together()
			}
		}
	}
	together()
	return taken, moved, refused
}

// fewClaims are how many the writer is given together at first, and how many more each time that most of them came to something: so what
// is accepted meanwhile does not wait for many, and where much is due it soon goes in large steps.
const fewClaims = 5

// read is a page of each of some lanes, from where advance left off.
func (l *laneReader) read(ctx context.Context, base store.Lane, n int, until time.Time) (map[store.Lane][]store.Record, error) {
	lanes := map[store.Lane][]store.Record{}
	var heads []store.Lane
	for i := range n {
		lane := base + store.Lane(i)
		after, ok := l.after[lane]
		if !ok {
			heads = append(heads, lane)
			continue
		}
		recs, err := l.store.Due(ctx, store.DueQuery{Lanes: []store.Lane{lane}, Until: until, After: after, Limit: pageSize})
		if err != nil {
			return nil, err
		}
		lanes[lane] = recs
	}
	recs, err := l.store.Due(ctx, store.DueQuery{Lanes: heads, Until: until, Limit: pageSize})
	for _, r := range recs {
		lanes[r.Lane] = append(lanes[r.Lane], r)
	}
	return lanes, err
}

// advance sets where the next look goes on: where nothing of a full page could be moved, behind it, so that what is stuck at the
// head of a lane does not hold up the rest; after the last page at the head. It reports whether there may be more that was not looked
// at yet.
func (l *laneReader) advance(lanes map[store.Lane][]store.Record, moved map[store.Lane]int) (more bool) {
	for lane, recs := range lanes {
		if len(recs) < pageSize {
			delete(l.after, lane)
			l.seen[lane] = true
			continue
		}
		if moved[lane] > 0 {
			more = true
			continue
		}
		last := recs[len(recs)-1]
		l.after[lane] = store.Position{Due: last.Due, Owner: last.Owner, Key: last.Key}
		more = more || !l.seen[lane]
	}
	return more
}

// recover claims what an earlier life of an exclusive store's engine had under leases: nobody else can hold them, also not those
// that were given while the clock was ahead. It does it once, or again where the store did not take it: where that has no room, a clean-up
// may make some.
func (d *dispatcher) recover(ctx context.Context) error {
	if d.whole {
		return nil
	}
	if _, _, err := d.effects(ctx); errors.Is(err, store.ErrFull) {
		return nil
	} else if err != nil { // what was paid since is not reminded of
		return err
	}
	left := false
	err := d.e.eachPage(ctx, laneDelivery, openLanes, farFuture, func(recs []store.Record) error {
		var ops []*op
		for _, r := range recs {
			if strings.HasPrefix(string(r.Key), prefixLeased) && (planted != "lane-forgotten" || r.Lane%2 == 0) {
				ops = append(ops, (&claim{e: d.e, d: d, seen: r}).op())
			}
		}
		for _, err := range d.e.writer.do(ctx, ops...) {
			if fatal(err) {
				return err
			}
			left = left || refusal(err)
		}
		return nil
	})
	d.whole = err == nil && !left
	return err
}

// stop takes nothing more and gives back what has not begun.
func (d *dispatcher) stop() {
	d.mu.Lock()
	d.stopping = true
	if d.retry != nil {
		d.retry.Stop()
	}
	var left []*item
	for _, q := range d.queues {
		for _, s := range q.shares {
			if s.resting != nil {
				s.resting.Stop()
			}
		}
		left = append(left, q.drop(func(*share, *item) bool { return true })...)
	}
	d.mu.Unlock()
	d.giveBack(left, 0)
}

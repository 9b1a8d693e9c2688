package appio

import (
	"cmp"
	"context"
	"time"

	"github.com/appio-go/appio/store"
)

// An Observer is told of the engine's work. One method serves traces and metrics; new operations and fields do not break it.
type Observer interface {
	// Observe is called as an operation begins. What it returns is the context that the operation, its store and its channel
	// get, and a function called once, as it ends; either may be nil. It is called concurrently and must not block.
	Observe(ctx context.Context, op Operation) (context.Context, func(Outcome))
}

// An Operation holds no personal data.
type Operation struct {
	Name    string // "send", "commit", "deliver", "revoke", "flush", "pause", "resume"; of the payment gateway "verify", "checkout"; "outage": as long as a channel is left alone, see [Breaker]
	Service ServiceID
	Channel string
	Count   int // messages, changes or deliveries
}

// An Outcome is how an operation ended.
type Outcome struct {
	Err       error // of "deliver": the first channel's error, as it is stored; of the gateway: a fault, or that it failed
	Processed int   // of "send"
	Rejected  int
}

func (e *Engine) observe(ctx *context.Context, op Operation) func(Outcome) {
	if e.opts.Observer == nil {
		return func(Outcome) {}
	}
	c, end := e.opts.Observer.Observe(*ctx, op)
	if c != nil {
		*ctx = c
	}
	if end == nil {
		return func(Outcome) {}
	}
	return end
}

// Health is what a gauge shows.
type Health struct {
	Waiting     int           // messages with deliveries due that nobody has taken; counting stops at 10,000
	OldestDue   time.Duration // how long the oldest of them has waited
	Parked      int           // deliveries that gave up, to be looked at; counting stops at 10,000
	Paused      int           // messages that wait for a resume; counting stops at 10,000
	Resting     []string      // channels that this engine leaves alone, as too many of their calls failed: see [Breaker]
	Quarantined int           // records that could not be read; counting stops at 10,000
	Size        store.Size    // of the store; zero if it does not tell
	Err         error         // why the store refused the last change; nil: it did not
}

// healthLimit is where counting stops: a gauge must not cost more than what it measures.
const healthLimit = 10000

// Health looks at the queues of the store, and opens no record. An error says that the store could not be read; what was seen until then is
// in Health.
func (e *Engine) Health(ctx context.Context) (Health, error) {
	if err := e.ready(ctx); err != nil {
		return Health{Err: err}, err
	}
	h := Health{Err: cmp.Or(e.storeError(), e.pausesError()), Size: e.size(), Resting: e.leftAlone()}
	now := e.now()
	for lane := range store.Lane(deliveryLanes) {
		n, _, err := e.countLane(ctx, lanePaused+lane, farFuture, healthLimit-h.Paused)
		if err != nil {
			return h, err
		}
		h.Paused += n
	}
	for lane := range store.Lane(openLanes) {
		n, oldest, err := e.countLane(ctx, laneDelivery+lane, now, healthLimit-h.Waiting)
		if err != nil {
			return h, err
		}
		h.Waiting += n
		if !oldest.IsZero() {
			h.OldestDue = max(h.OldestDue, now.Sub(oldest))
		}
	}
	var err error
	if h.Parked, _, err = e.countLane(ctx, laneParked, farFuture, healthLimit); err != nil {
		return h, err
	}
	h.Quarantined, _, err = e.countLane(ctx, laneQuarantined, farFuture, healthLimit)
	return h, err
}

var farFuture = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

func (e *Engine) countLane(ctx context.Context, lane store.Lane, until time.Time, most int) (n int, oldest time.Time, err error) {
	q := store.DueQuery{Lanes: []store.Lane{lane}, Until: until, Limit: 256}
	for n < most {
		recs, err := e.store.Due(ctx, q)
		if err != nil {
			return n, oldest, err
		}
		if n == 0 && len(recs) > 0 {
			oldest = recs[0].Due
		}
		n += len(recs)
		if len(recs) < q.Limit {
			break
		}
		last := recs[len(recs)-1]
		q.After = store.Position{Due: last.Due, Owner: last.Owner, Key: last.Key}
	}
	return min(n, most), oldest, nil
}

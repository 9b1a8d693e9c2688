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
	Err       error // what the call answers; of "deliver": the first channel's error, as it is stored; of the gateway: a fault, or that it failed
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
	var err error
	if h.Paused, _, err = e.countLanes(ctx, lanePaused, deliveryLanes, farFuture); err != nil {
		return h, err
	}
	var oldest time.Time
	h.Waiting, oldest, err = e.countLanes(ctx, laneDelivery, openLanes, now)
	if !oldest.IsZero() {
		h.OldestDue = now.Sub(oldest)
	}
	if err != nil {
		return h, err
	}
	if h.Parked, _, err = e.countLanes(ctx, laneParked, 1, farFuture); err != nil {
		return h, err
	}
	h.Quarantined, _, err = e.countLanes(ctx, laneQuarantined, 1, farFuture)
	return h, err
}

var farFuture = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// countLanes counts what is due by until in n lanes, and tells since when the oldest of it is; zero: nothing is.
func (e *Engine) countLanes(ctx context.Context, base store.Lane, n int, until time.Time) (count int, oldest time.Time, err error) {
	err = e.eachPage(ctx, base, n, until, func(recs []store.Record) error {
		for i := range recs {
			if count == 0 && i == 0 || recs[i].Due.Before(oldest) {
				oldest = recs[i].Due
			}
		}
		if count += len(recs); count >= healthLimit {
			return errFound
		}
		return nil
	})
	if err == errFound {
		err = nil
	}
	return min(count, healthLimit), oldest, err
}

package appio

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Limits are kept in memory, by each engine for itself, so that looking at one costs no read. What nobody knows after a start, how
// much was used up before it, counts as used up: what goes out begins with one delivery, not with a second's worth. Of a service whose
// record cannot be read nothing goes out at all.

// A bucket is a token bucket: it fills by rate a second, up to burst.
type bucket struct {
	rate, burst float64
	tokens      float64
	at          time.Time
}

// newPace is a bucket for what goes out: a second's worth, and one to begin with.
func newPace(rate float64, now time.Time) bucket {
	return bucket{rate: rate, burst: max(1, rate), tokens: 1, at: now}
}

func (b *bucket) fill(now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(b.burst, b.tokens+d.Seconds()*b.rate)
	}
	b.at = now
}

// wait says how long until there is a token.
func (b *bucket) wait(now time.Time) time.Duration {
	b.fill(now)
	if b.tokens >= 1 {
		return 0
	}
	return max(1, time.Duration(min((1-b.tokens)/b.rate*float64(time.Second), math.MaxInt64/2)))
}

// take takes a token, or says how long until there is one.
func (b *bucket) take(now time.Time) time.Duration {
	wait := b.wait(now)
	if wait == 0 {
		b.tokens--
	}
	return wait
}

// buckets is a bucket for each who asks. Full ones are forgotten, and where there are too many that are not, some of those, too.
type buckets[K comparable] struct {
	mu      sync.Mutex
	m       map[K]*bucket
	sweepAt int  // how many there are when full ones are looked for
	crowded bool // others were forgotten: who comes is no newcomer for sure
}

// From fewBuckets on full ones are forgotten; there are never more than mostBuckets.
const fewBuckets, mostBuckets = 10_000, 100_000

// makeRoom makes room for one more.
func (bs *buckets[K]) makeRoom(now time.Time) {
	if bs.sweepAt = max(bs.sweepAt, fewBuckets); len(bs.m) < bs.sweepAt {
		return
	}
	for k, b := range bs.m {
		if b.fill(now); b.tokens >= b.burst {
			delete(bs.m, k)
		}
	}
	bs.crowded = bs.crowded && len(bs.m) >= fewBuckets
	if len(bs.m) > mostBuckets*9/10 {
		bs.crowded = true
		for k := range bs.m {
			if delete(bs.m, k); len(bs.m) <= mostBuckets*9/10 {
				break
			}
		}
	}
	bs.sweepAt = min(2*max(len(bs.m), fewBuckets), mostBuckets) // so that a look at all of them is a seldom thing
}

// take takes one's token, or says how long until there is one. A bucket that is new, or has a new rate, has as many as start
// says at most.
func (bs *buckets[K]) take(id K, rate, burst, start float64, now time.Time) time.Duration {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	b := bs.m[id]
	if b == nil {
		if bs.makeRoom(now); bs.crowded {
			start = min(start, 1)
		}
		if bs.m == nil {
			bs.m = map[K]*bucket{}
		}
		b = &bucket{rate: rate, burst: burst, tokens: start, at: now}
		bs.m[id] = b
	}
	if b.rate != rate {
		b.fill(now)
		b.rate, b.burst, b.tokens = rate, burst, min(b.tokens, burst)
	}
	return b.take(now)
}

// leastAtOnce is how many may be asked for at once at the least, where a rate is low.
const leastAtOnce = 10

// ask takes one's token where ten times the rate may be asked for at once, and least at the least; or it is a [LimitedError].
func (bs *buckets[K]) ask(id K, rate, least float64, now time.Time) error {
	burst := max(10*rate, least)
	if wait := bs.take(id, rate, burst, burst, now); wait > 0 {
		return &LimitedError{After: wait}
	}
	return nil
}

// A pacing keeps the rates at which services' deliveries go out. What they are is learnt from the service's record, which each
// delivery is decided by; here it only spares what cannot go yet the way there.
type pacing struct {
	some atomic.Bool // a service has a rate
	buckets[ServiceID]
}

// take takes a token for one delivery of a service, or says how long until there is one. rate 0 is no limit.
func (p *pacing) take(id ServiceID, rate float64, now time.Time) time.Duration {
	if rate == 0 {
		if p.some.Load() {
			p.mu.Lock()
			delete(p.m, id)
			p.mu.Unlock()
		}
		return 0
	}
	p.some.Store(true)
	return p.buckets.take(id, rate, max(1, rate), 1, now)
}

// wait says how long until a service may deliver, as far as its rate is known.
func (p *pacing) wait(id ServiceID) time.Duration {
	if !p.some.Load() {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.m[id]; b != nil {
		return b.wait(time.Now())
	}
	return 0
}

// ready is how many deliveries of a service may go now, as far as its rate is known.
func (p *pacing) ready(id ServiceID) int {
	if !p.some.Load() {
		return math.MaxInt
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.m[id]
	if b == nil {
		return math.MaxInt
	}
	b.fill(time.Now())
	return int(b.tokens)
}

// room is how many items of a service are worth having in memory at one channel.
func (p *pacing) room(id ServiceID) int {
	if !p.some.Load() {
		return mostRoom
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.m[id]; b != nil {
		return max(1, int(min(b.rate*roomFor.Seconds(), mostRoom)))
	}
	return mostRoom
}

// A LimitedError is [ErrLimited] with a hint: one more is not accepted before After has passed.
type LimitedError struct{ After time.Duration }

func (e *LimitedError) Error() string {
	return fmt.Sprintf("%v: the next is accepted in %v", ErrLimited, e.After.Round(time.Millisecond))
}

// Is makes errors.Is(err, ErrLimited) true.
func (e *LimitedError) Is(target error) bool { return target == ErrLimited }

// limited counts a message that a service sends, or refuses it.
func (e *Engine) limited(r *serviceRecord) error {
	rate := rateOf(r.SendRate, e.opts.SendRate)
	if rate == 0 {
		return nil
	}
	if wait := e.sends.take(r.ID, rate, max(1, rate), max(1, rate), e.now()); wait > 0 {
		e.counts.limited.Add(1)
		return &LimitedError{After: wait}
	}
	return nil
}

func validRate(rate float64) bool { return rate >= 0 && rate <= 1e9 }

// rateOf is a service's own rate, or the one of all that have none.
func rateOf(own, usual float64) float64 {
	if own != 0 {
		return own
	}
	return usual
}

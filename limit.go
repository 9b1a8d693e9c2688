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

// buckets is a bucket for each who asks. Full ones are forgotten.
type buckets[K comparable] struct {
	mu sync.Mutex
	m  map[K]*bucket
}

// take takes one's token, or says how long until there is one. A bucket that is new, or has a new rate, has as many as start
// says at most.
func (bs *buckets[K]) take(id K, rate, burst, start float64, now time.Time) time.Duration {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	b := bs.m[id]
	if b == nil {
		if len(bs.m) >= 10_000 {
			for k, o := range bs.m {
				if o.fill(now); o.tokens >= o.burst {
					delete(bs.m, k)
				}
			}
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

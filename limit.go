package appio

import (
	"sync"
	"time"
)

// A bucket is a token bucket: it fills by rate a second, up to burst.
type bucket struct {
	rate, burst float64
	tokens      float64
	at          time.Time
}

func (b *bucket) fill(now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(b.burst, b.tokens+d.Seconds()*b.rate)
	}
	b.at = now
}

// take takes a token, or says how long until there is one.
func (b *bucket) take(now time.Time) time.Duration {
	b.fill(now)
	if b.tokens >= 1 {
		b.tokens--
		return 0
	}
	return time.Duration((1 - b.tokens) / b.rate * float64(time.Second))
}

// buckets is a bucket for each service that asks. Full ones are forgotten.
type buckets struct {
	rate, burst float64

	mu sync.Mutex
	m  map[ServiceID]*bucket
}

func (bs *buckets) allow(id ServiceID, now time.Time) bool {
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
			bs.m = map[ServiceID]*bucket{}
		}
		b = &bucket{rate: bs.rate, burst: bs.burst, tokens: bs.burst, at: now}
		bs.m[id] = b
	}
	return b.take(now) == 0
}

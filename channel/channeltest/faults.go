package channeltest

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/appio-go/appio"
)

// Faults is an [appio.Channel] that misbehaves at the rates given, and else does what Channel does. Which call meets with which
// fault depends on nothing but Seed and how many calls there were before, so that a test that calls one after the other sees
// the same each time. Its fields are set before the first call; it must not be copied.
//
//	f := &channeltest.Faults{Channel: &recorder, Seed: 1, Error: 0.2, Lost: 0.05, Panic: 0.01}
//	defer f.Release()
type Faults struct {
	Channel appio.Channel // nil: what meets with no fault is delivered to nowhere
	Seed    uint64

	// The rates, from 0 to 1 of all calls. Together they are 1 at most: what is beyond does not occur.
	Error      float64 // an error without a mark
	Permanent  float64 // an error marked so
	Gone       float64 // likewise
	RetryAfter float64 // likewise, with Pause
	Lost       float64 // Channel delivers, but the answer is an error: the caller cannot know
	Slow       float64 // Channel delivers, after Pause
	Hang       float64 // nothing happens until the context ends
	Stuck      float64 // nothing happens until Release, whatever the context says: this breaks the contract
	Panic      float64
	Goexit     float64 // the call ends its goroutine

	Pause time.Duration // 0: ten milliseconds

	mu      sync.Mutex
	random  *rand.Rand
	counts  [kinds]int
	release chan struct{}
	free    bool // Release was called
}

// FaultCounts says how many calls there were, and how many of them met with which fault. A call is counted as it begins.
type FaultCounts struct {
	Calls, None                              int
	Error, Permanent, Gone, RetryAfter, Lost int
	Slow, Hang, Stuck, Panic, Goexit         int
}

type kind int

const (
	kindNone kind = iota
	kindError
	kindPermanent
	kindGone
	kindRetryAfter
	kindLost
	kindSlow
	kindHang
	kindStuck
	kindPanic
	kindGoexit
	kinds
)

var errFault = errors.New("channeltest: failed on purpose")

// Deliver meets with a fault, or not.
func (f *Faults) Deliver(ctx context.Context, d appio.Delivery) error {
	what, release := f.next()
	switch what {
	case kindError:
		return errFault
	case kindPermanent:
		return appio.Permanent(errFault)
	case kindGone:
		return appio.Gone(errFault)
	case kindRetryAfter:
		return appio.RetryAfter(f.pause(), errFault)
	case kindLost:
		if err := f.deliver(ctx, d); err != nil {
			return err
		}
		return errFault
	case kindSlow:
		t := time.NewTimer(f.pause())
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	case kindHang:
		<-ctx.Done()
		return context.Cause(ctx)
	case kindStuck:
		<-release
		return errFault
	case kindPanic:
		panic(errFault)
	case kindGoexit:
		runtime.Goexit()
	}
	return f.deliver(ctx, d)
}

// next draws what a call meets with, and counts it.
func (f *Faults) next() (what kind, release <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.random == nil {
		f.random, f.release = rand.New(rand.NewPCG(f.Seed, 0)), make(chan struct{})
	}
	rates := [kinds]float64{
		kindError: f.Error, kindPermanent: f.Permanent, kindGone: f.Gone, kindRetryAfter: f.RetryAfter, kindLost: f.Lost,
		kindSlow: f.Slow, kindHang: f.Hang, kindStuck: f.Stuck, kindPanic: f.Panic, kindGoexit: f.Goexit,
	}
	at := f.random.Float64()
	for k := kindError; k < kinds && what == kindNone; k++ {
		if at < rates[k] {
			what = k
		}
		at -= rates[k]
	}
	if what == kindStuck && f.free {
		what = kindError
	}
	f.counts[what]++
	return what, f.release
}

func (f *Faults) deliver(ctx context.Context, d appio.Delivery) error {
	if f.Channel == nil {
		return context.Cause(ctx)
	}
	return f.Channel.Deliver(ctx, d)
}

func (f *Faults) pause() time.Duration {
	if f.Pause == 0 {
		return 10 * time.Millisecond
	}
	return f.Pause
}

// Release ends the calls that are stuck, and those that would be from now on, with an error. A test that uses Stuck releases
// before the engine is closed.
func (f *Faults) Release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.free && f.release != nil {
		close(f.release)
	}
	f.free = true
}

// Counts says what has happened so far.
func (f *Faults) Counts() FaultCounts {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := &f.counts
	n := FaultCounts{
		None: c[kindNone], Error: c[kindError], Permanent: c[kindPermanent], Gone: c[kindGone], RetryAfter: c[kindRetryAfter],
		Lost: c[kindLost], Slow: c[kindSlow], Hang: c[kindHang], Stuck: c[kindStuck], Panic: c[kindPanic], Goexit: c[kindGoexit],
	}
	for _, of := range c {
		n.Calls += of
	}
	return n
}

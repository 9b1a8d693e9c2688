package simulation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/alone"
	"github.com/appio-go/appio/store"
)

// A process is a place where engines live, one after the other, with a clock of its own.
type process struct {
	w     *world
	index int

	// Guarded by world.mu.
	life   *life // nil: down
	lives  int
	ahead  time.Duration // its clock is, of the true time
	turned time.Time     // when its clock was set last
	frozen time.Time     // until when the world does not answer it
	away   time.Time     // until when the store does not
	full   time.Time     // until when the store has no room
	asks   spin          // for the time
	looks  spin          // for due work
}

func (p *process) now() time.Time {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.asks.more(0, mostAsks) {
		p.w.failf("process %d asks for the time %d times at one moment", p.index, mostAsks)
	}
	return p.w.now().Add(p.ahead)
}

// A life is one engine of a process, from its start to a crash or an orderly end. What a crashed one still does is not seen by
// anybody: its store and its channels answer it no more.
type life struct {
	w      *world
	p      *process
	number int
	engine *appio.Engine
	gone   chan struct{} // closed by a crash
	stop   context.CancelFunc
	ended  chan struct{} // closed when all of it is over

	// Guarded by world.mu.
	crashed  bool
	closing  bool
	failed   bool      // the store is read-only until the next life
	troubled time.Time // until when its commits came to nothing, late, or may have
}

// start begins a life that delivers. It is called without world.mu.
func (p *process) start() {
	l := p.make()
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	p.w.mu.Lock()
	p.life = l
	p.w.lives = append(p.w.lives, l)
	p.w.mu.Unlock()
	go l.run(ctx)
}

// make makes a life that does nothing yet.
func (p *process) make() *life {
	w := p.w
	l := &life{w: w, p: p, gone: make(chan struct{}), ended: make(chan struct{})}
	var s store.Store = simulated{l}
	if w.plan.alone {
		s = alone.Store{Store: s}
	}
	engine, err := appio.New(s, w.options(l))
	if err != nil {
		panic(err)
	}
	l.engine = engine
	w.mu.Lock()
	p.lives++
	l.number = p.lives
	w.tracef(l, "starts")
	w.mu.Unlock()
	return l
}

// run delivers until the life ends; where the store has failed, the next life begins.
func (l *life) run(ctx context.Context) {
	defer close(l.ended)
	// The first call reads what kind of store it is, under a lock: until it is over nobody else may come. It is one that reads little
	// besides, or in bad weather nobody would ever come.
	for {
		if _, err := l.engine.Paused(ctx); err == nil || l.isGone() || ctx.Err() != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	l.w.mu.Lock()
	ready := !l.crashed && !l.closing
	if ready {
		l.w.open[l] = true
	}
	l.w.mu.Unlock()
	var err error
	if ready {
		err = l.engine.Run(ctx)
	}
	l.w.mu.Lock()
	orderly := l.closing || l.crashed
	delete(l.w.open, l)
	l.w.mu.Unlock()
	if err := l.engine.Close(); err != nil {
		l.w.fail("Close: %v", err)
	}
	if !orderly {
		l.trace("ended: %v", err)
		l.p.begin(time.Second)
	}
}

// begin starts the next life after a while, unless the world is over.
func (p *process) begin(after time.Duration) {
	w := p.w
	w.mu.Lock()
	p.life = nil
	over := w.healed
	w.mu.Unlock()
	if over {
		return
	}
	w.late.Go(func() {
		time.Sleep(after)
		w.mu.Lock()
		over := w.healed || p.life != nil
		w.mu.Unlock()
		if !over {
			p.start()
		}
	})
}

// crash ends a life at this moment, also one that is closing: then who closes it begins the next.
func (l *life) crash() {
	w := l.w
	w.mu.Lock()
	closing := l.closing
	if l.crashed || closing && l.hasEnded() {
		w.mu.Unlock()
		return
	}
	l.crashed = true
	w.counts["crashes"]++
	w.tracef(l, "crashes")
	w.lost(l)
	delete(w.open, l)
	close(l.gone)
	w.mu.Unlock()
	if closing {
		return
	}
	l.stop()
	l.p.begin(between(l.dice("downtime"), 10*time.Millisecond, time.Minute))
}

// end is an orderly end, waited for.
func (l *life) end() {
	w := l.w
	w.mu.Lock()
	if l.crashed || l.closing {
		w.mu.Unlock()
		<-l.ended
		return
	}
	l.closing = true
	w.tracef(l, "closes")
	delete(w.open, l)
	w.mu.Unlock()
	l.stop()
	<-l.ended
}

func (l *life) isGone() bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.crashed
}

// over reports whether the life has ended, in whichever way.
func (l *life) over() bool { return l.hasEnded() || l.isGone() }

func (l *life) hasEnded() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

func (l *life) fail() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.failed = true
	l.w.tracef(l, "its store has failed")
}

func (l *life) hasFailed() bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.failed
}

// isAway and isFull report that the store does not answer the process, or has no room. An outcome may be lost by it.
func (l *life) isAway() bool { return l.isUntil(&l.p.away) }
func (l *life) isFull() bool { return l.isUntil(&l.p.full) }

func (l *life) isUntil(until *time.Time) bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if !time.Now().Before(*until) {
		return false
	}
	l.troubled = time.Now()
	return true
}

// trouble remembers that commits come to nothing, or late, for a time from now.
func (l *life) trouble(d time.Duration) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if until := time.Now().Add(d); until.After(l.troubled) {
		l.troubled = until
	}
}

// sleep reports false if the process crashed meanwhile.
func (l *life) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return !l.isGone()
	case <-l.gone:
		return false
	}
}

// thaw waits while the world does not answer the process, which then comes to one thing after the other.
func (l *life) thaw(r *rand.Rand) bool {
	for frozen := false; ; frozen = true {
		l.w.mu.Lock()
		wait := time.Until(l.p.frozen)
		l.w.mu.Unlock()
		if wait <= 0 {
			return !frozen || l.sleep(between(r, time.Nanosecond, time.Millisecond))
		}
		if !l.sleep(wait) {
			return false
		}
	}
}

// looks is called as the engine looks for due work.
func (l *life) looks() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.p.looks.more(lookSpan, mostLooks) {
		l.w.failf("%v looks for due work %d times within %v", l, mostLooks, lookSpan)
	}
}

func (l *life) dice(what ...string) *rand.Rand {
	return l.w.dice.about(append([]string{strconv.Itoa(l.p.index)}, what...)...)
}

func (l *life) trace(format string, args ...any) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.w.tracef(l, format, args...)
}

func (l *life) String() string { return fmt.Sprintf("process %d.%d", l.p.index, l.number) }

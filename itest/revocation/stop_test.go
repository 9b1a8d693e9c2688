package revocation

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/appio-go/appio/store"
)

// A process is what one engine runs in, as far as an engine can tell: it can be made to stand still. Then no call of its store
// or clock goes on, in or out, nor does any of its channels; all go on when it does.
type process struct {
	stops atomic.Int64
	looks atomic.Uint64

	mu    sync.Mutex
	armed place         // where it will stop; "": nowhere
	after int           // so many more passes
	still chan struct{} // closed when it goes on; nil: it does not stand
	began chan struct{} // closed when it stops
}

// A place is where a process can stop.
type place string

const (
	beforeView   place = "before a View"
	afterView    place = "after a View"
	afterLook    place = "after the View before a delivery" // it saw consent, and is about to send
	beforeCommit place = "before a Commit"
	afterCommit  place = "after a Commit"
	beforeDue    place = "before a Due"
	afterDue     place = "after a Due"
	afterNow     place = "after a look at the clock"
	inDeliver    place = "in a Deliver"
)

var places = []place{afterLook, beforeView, afterView, afterLook, beforeCommit, afterCommit, beforeDue, afterDue, afterNow, inDeliver}

// stop lets the process stand still for a time, or until ctx ends, from when it passes a place. It returns when it goes on.
func (p *process) stop(ctx context.Context, at place, after int, pause time.Duration) {
	began := make(chan struct{})
	p.mu.Lock()
	p.armed, p.after, p.began = at, after, began
	p.mu.Unlock()
	select {
	case <-began:
		p.stops.Add(1)
		sleep(ctx, pause)
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = ""
	if p.still != nil {
		close(p.still)
		p.still = nil
	}
}

// pass is called at each place.
func (p *process) pass(at place) {
	p.mu.Lock()
	if p.armed == at {
		if p.after--; p.after < 0 {
			p.armed, p.still = "", make(chan struct{})
			close(p.began)
		}
	}
	still := p.still
	p.mu.Unlock()
	if still != nil {
		<-still
	}
}

// standing is closed when the process goes on; nil: it does not stand.
func (p *process) standing() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.still
}

// A stoppable store is one as a process sees it.
type stoppable struct {
	store.Store
	p *process
}

func (s *stoppable) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	s.p.pass(beforeView)
	snaps, err := s.Store.View(ctx, reads)
	if slices.ContainsFunc(reads[0].Keys, func(k store.Key) bool { return strings.HasPrefix(string(k), "m/") }) {
		// The answer is some time on its way, so that there is always somebody who has seen consent and not yet sent.
		n := s.p.looks.Add(1)
		time.Sleep(rand.N(time.Millisecond))
		if n%8 == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		s.p.pass(afterLook)
	}
	s.p.pass(afterView)
	return snaps, err
}

func (s *stoppable) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	s.p.pass(beforeCommit)
	errs, err := s.Store.Commit(ctx, changes)
	s.p.pass(afterCommit)
	return errs, err
}

func (s *stoppable) Due(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
	s.p.pass(beforeDue)
	recs, err := s.Store.Due(ctx, q)
	s.p.pass(afterDue)
	return recs, err
}

// clock is a clock of the process that is ahead of the others.
func (p *process) clock(ahead time.Duration) func() time.Time {
	return func() time.Time {
		now := time.Now().Add(ahead)
		p.pass(afterNow)
		return now
	}
}

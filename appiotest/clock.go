package appiotest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	_ "time/tzdata" // Rome, on any machine

	"github.com/appio-go/appio/store"
)

// start is when the clock of each kit begins.
var start = func() time.Time {
	rome, err := time.LoadLocation("Europe/Rome")
	if err != nil {
		panic(err)
	}
	return time.Date(2026, 1, 7, 10, 0, 0, 0, rome)
}()

// A clock stands still until it is set.
type clock struct{ at atomic.Pointer[time.Time] }

func (c *clock) now() time.Time  { return *c.at.Load() }
func (c *clock) set(t time.Time) { c.at.Store(&t) }

// Now is the kit's time.
func (k *Kit) Now() time.Time { return k.clock.now() }

// Advance moves the clock on by d, and delivers on the way: first what is due, and then at each moment at which something falls
// due, in order of time, attempts that failed included. It takes no longer for a year in which nothing happens than for a
// minute. In the end the clock is d later than it was. A channel that does not return holds it up for as long as the
// engine waits.
//
// Where Run is under way too, let it come to rest first, with synctest.Wait for example: time that jumps while an attempt is
// on its way looks to the engine like an attempt that takes too long.
func (k *Kit) Advance(d time.Duration) {
	k.t.Helper()
	if d < 0 {
		k.t.Fatalf("appiotest: time goes on, not back: Advance(%v)", d)
	}
	k.advancing.Lock()
	defer k.advancing.Unlock()
	end := k.Now().Add(d)
	for {
		if _, err := k.Flush(context.Background()); err != nil {
			k.t.Fatalf("appiotest: deliver at %v: %v", k.Now(), err)
		}
		next, ok, err := k.store.next(k.Now(), end)
		switch {
		case err != nil:
			k.t.Fatalf("appiotest: what is due by %v: %v", end, err)
		case !ok:
			k.clock.set(end)
			return
		}
		k.clock.set(next.In(end.Location()))
	}
}

// A schedule is a store that knows when something falls due in it.
type schedule struct {
	store.Store

	mu    sync.Mutex
	lanes []store.Lane // that something was put into
}

// Commit notes the lanes that are used.
func (s *schedule) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	s.mu.Lock()
	for i := range changes {
		for _, r := range changes[i].Put {
			if !r.Due.IsZero() && !slices.Contains(s.lanes, r.Lane) {
				s.lanes = append(s.lanes, r.Lane)
			}
		}
	}
	s.mu.Unlock()
	return s.Store.Commit(ctx, changes)
}

// Unwrap returns the store behind.
func (s *schedule) Unwrap() store.Store { return s.Store }

// next is the first moment after one time, up to another, at which something falls due.
func (s *schedule) next(after, until time.Time) (first time.Time, ok bool, err error) {
	s.mu.Lock()
	lanes := slices.Clone(s.lanes)
	s.mu.Unlock()
	from := store.Position{Due: store.Micro(after).Add(time.Microsecond)}
	for _, lane := range lanes {
		recs, err := s.Due(context.Background(), store.DueQuery{Lanes: []store.Lane{lane}, Until: until, After: from, Limit: 1})
		if err != nil {
			return time.Time{}, false, err
		}
		if len(recs) > 0 && (!ok || recs[0].Due.Before(first)) {
			first, ok = recs[0].Due, true
		}
	}
	return first, ok, nil
}

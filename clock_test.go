package appio_test

import (
	"sync"
	"sync/atomic"
	"time"
)

var rome = func() *time.Location {
	l, err := time.LoadLocation("Europe/Rome")
	if err != nil {
		panic(err)
	}
	return l
}()

const minutes = "2006-01-02 15:04"

// at is what a clock in Rome shows.
func at(text string) time.Time {
	t, err := time.ParseInLocation(minutes, text, rome)
	if err != nil {
		panic(err)
	}
	return t.UTC()
}

// A handClock is set by hand, while an engine's workers may still look at it.
type handClock struct{ nano atomic.Int64 }

func newHandClock(text string) *handClock {
	c := &handClock{}
	c.set(at(text))
	return c
}

func (c *handClock) now() time.Time  { return time.Unix(0, c.nano.Load()).UTC() }
func (c *handClock) set(t time.Time) { c.nano.Store(t.UnixNano()) }

// In a slow town time passes when a test says so.
type slowTown struct {
	*town
	mu    sync.Mutex // of clock, and of what a channel notes
	clock time.Time
}

func (w *slowTown) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *slowTown) set(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = at(text)
}

// until lets the time pass, in steps, and has what is due done at each.
func (w *slowTown) until(text string, step time.Duration) {
	w.t.Helper()
	for end := at(text); w.now().Before(end); {
		w.mu.Lock()
		w.clock = w.clock.Add(step)
		w.mu.Unlock()
		w.flush()
	}
}

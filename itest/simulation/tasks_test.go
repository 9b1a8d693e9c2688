package simulation

import "sync"

// Tasks are waited for like those of a sync.WaitGroup, but may begin while somebody waits for none to be left.
type tasks struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when none is left
}

func (t *tasks) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == 0 {
		t.none = make(chan struct{})
	}
	t.n++
}

func (t *tasks) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n--; t.n == 0 {
		close(t.none)
	}
}

func (t *tasks) Go(f func()) {
	t.begin()
	go func() {
		defer t.end()
		f()
	}()
}

// Wait returns when no task is left.
func (t *tasks) Wait() {
	for {
		t.mu.Lock()
		n, none := t.n, t.none
		t.mu.Unlock()
		if n == 0 {
			return
		}
		<-none
	}
}

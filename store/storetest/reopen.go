package storetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/appio-go/appio/store"
)

func reopenChecks() []reopenCheck {
	return []reopenCheck{
		{"everything is there after Close and open", keepsAll},
		{"what was acknowledged before Close is there, and what was refused is not", keepsAtClose},
		{"a store in use cannot be opened", locks},
		{"what was acknowledged survives kill -9, and no change is there by half", survivesKill},
	}
}

// reopened opens the store in dir, which must succeed.
func reopened(t tester, open opener, dir string) store.Store {
	t.Helper()
	s, err := open(dir)
	if err != nil {
		t.Fatalf("open: error %v; want nil", err)
	}
	return s
}

func closed(t tester, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: error %v; want nil", err)
	}
}

func keepsAll(t tester, open opener) {
	dir, m := t.TempDir(), newModel()
	for seed := range uint64(6) {
		s := reopened(t, open, dir)
		m.check(t, s)
		m.play(t, randomBytes(100+seed, 600), s)
		closed(t, s)
	}
	s := reopened(t, open, dir)
	defer s.Close()
	m.check(t, s)
}

func keepsAtClose(t tester, open opener) {
	dir := t.TempDir()
	const workers = 8
	var acknowledged [workers]uint64
	for range 3 {
		s := reopened(t, open, dir)
		var started, done sync.WaitGroup
		var over atomic.Bool
		started.Add(workers)
		for w := range workers {
			start := sync.OnceFunc(started.Done)
			done.Go(func() {
				defer start()
				for !over.Load() {
					n := acknowledged[w] + 1
					errs, err := s.Commit(t.Context(), []store.Change{{Owner: numbered(w), Rev: n - 1, Put: []store.Record{counted("a", n), counted("b", n)}}})
					if err == nil && errs != nil {
						err = errs[0]
					}
					if errors.Is(err, store.ErrClosed) {
						return
					}
					if err != nil {
						t.Errorf("Commit while the store was closed: error %v; want nil or ErrClosed", err)
						return
					}
					acknowledged[w] = n
					start()
				}
			})
		}
		started.Wait()
		err := s.Close()
		over.Store(true)
		done.Wait()
		if err != nil {
			t.Fatalf("Close while at work: error %v; want nil", err)
		}
		s = reopened(t, open, dir)
		for w := range workers {
			n := acknowledged[w]
			has(t, s, numbered(w), n, counted("a", n), counted("b", n))
		}
		closed(t, s)
	}
}

// lockedWithin bounds how long an open may wait for a store that another one holds.
const lockedWithin = 5 * time.Second

func locks(t tester, open opener) {
	dir := t.TempDir()
	first := reopened(t, open, dir)
	defer first.Close()
	commit(t, first, store.Change{Owner: "o", Put: []store.Record{put("k", "1")}})

	var answered atomic.Bool
	late := time.AfterFunc(lockedWithin, func() {
		if !answered.Load() {
			t.Errorf("open of a store in use has not answered for %v; want ErrLocked", lockedWithin)
		}
	})
	second, err := open(dir)
	answered.Store(true)
	late.Stop()
	if !errors.Is(err, store.ErrLocked) {
		t.Errorf("open of a store in use: error %v; want ErrLocked", err)
	}
	if err == nil {
		second.Close()
	}

	commit(t, first, store.Change{Owner: "o", Rev: 1, Put: []store.Record{put("k", "2")}})
	has(t, first, "o", 2, put("k", "2"))
	closed(t, first)
	again := reopened(t, open, dir)
	has(t, again, "o", 2, put("k", "2"))
	closed(t, again)
}

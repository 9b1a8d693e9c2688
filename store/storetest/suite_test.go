package storetest

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// The suite is right if a sound store passes all of it, and each rule is failed by a store that breaks that rule on purpose.

func TestSuitePassesASoundStore(t *testing.T) {
	Run(t, func(*testing.T) store.Store { return memstore.New() })
}

func TestSuiteFailsBrokenStores(t *testing.T) {
	for _, b := range bugs {
		t.Run(b.bug, func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(checks(), func(c check) bool { return c.rule == b.rule })
			if i < 0 {
				t.Fatalf("there is no rule %q", b.rule)
			}
			s := &broken{Store: memstore.New()}
			b.plant(s)
			failures := record(t, func(t tester) { checks()[i].run(t, s) })
			if len(failures) == 0 {
				t.Fatalf("a store with this bug passes %q", b.rule)
			}
			t.Log(failures[0])
		})
	}
}

func TestEveryRuleFailsSomeBrokenStore(t *testing.T) {
	for _, c := range checks() {
		if !slices.ContainsFunc(bugs, func(b bug) bool { return b.rule == c.rule }) {
			t.Errorf("no broken store shows that %q can fail", c.rule)
		}
	}
}

// A recorder is a tester that notes failures instead of failing.
type recorder struct {
	*testing.T
	mu       sync.Mutex
	failures []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// record runs a check and returns its failures; a panic is one.
func record(t *testing.T, check func(t tester)) []string {
	r := &recorder{T: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				r.Errorf("panic: %v", p)
			}
		}()
		check(r)
	}()
	<-done
	return r.failures
}

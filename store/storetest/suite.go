package storetest

import (
	"testing"

	"github.com/appio-go/appio/internal/conformance"
	"github.com/appio-go/appio/store"
)

// Run checks a store by all rules that can be seen from outside while it is open. open returns a new, empty store; Run
// closes it. It is called once for each check, with the subtest that the check is.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, c := range checks() {
		t.Run(c.rule, func(t *testing.T) {
			s := open(t)
			defer s.Close()
			c.run(t, s)
		})
	}
}

// Reopen checks a store that outlives its process: what it keeps over Close and over kill -9, and that no two have it open.
// open opens the store in dir, which exists, and makes it there if dir is empty; where it is in use, it fails with
// [store.ErrLocked] within some seconds.
func Reopen(t *testing.T, open func(dir string) (store.Store, error)) {
	for _, c := range reopenChecks() {
		t.Run(c.rule, func(t *testing.T) { c.run(t, open) })
	}
}

// A check is a rule of the contract, and what finds out whether a store keeps it.
type check struct {
	rule string
	run  func(t tester, s store.Store)
}

// checks returns what Run checks.
func checks() []check {
	var all []check
	for _, part := range [][]check{
		commitChecks, limitChecks, viewChecks, dueChecks, ownersChecks, copyChecks, endChecks, concurrentChecks, modelChecks,
	} {
		all = append(all, part...)
	}
	return all
}

// A reopenCheck is a check that opens its store itself, more than once.
type reopenCheck struct {
	rule string
	run  func(t tester, open opener)
}

type opener = func(dir string) (store.Store, error)

// A tester is what checks need of a *testing.T.
type tester = conformance.Tester

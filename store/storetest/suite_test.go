package storetest

import (
	"slices"
	"testing"

	"github.com/appio-go/appio/internal/conformance"
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
			failures := conformance.Record(t, func(t tester) { checks()[i].run(t, s) })
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

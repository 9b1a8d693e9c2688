package boltstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
)

// A lane tells what was due at one moment, whatever is changed while it is read: here between that moment and its looking below the
// first table, where the records are in memory still, or in the file. Once a record that was replaced just then was at neither place.
func TestLaneIsOfOneMoment(t *testing.T) {
	t.Parallel()
	const n = 12
	at := func(i int) time.Time { return time.UnixMicro(int64(100 + i)).UTC() }
	changes := map[string]func(i int) store.Change{
		"replaced": func(i int) store.Change {
			return store.Change{Put: []store.Record{{Key: "k", Due: at(i), Value: []byte("new")}}}
		},
		"put off":    func(i int) store.Change { return store.Change{Put: []store.Record{{Key: "k", Due: at(i + 500)}}} },
		"put before": func(i int) store.Change { return store.Change{Put: []store.Record{{Key: "k", Due: at(i - 50)}}} },
		"done":       func(int) store.Change { return store.Change{Delete: []store.Key{"k"}} },
	}
	below := map[string]func(t *testing.T, s *boltstore.Store, i int){
		"in the first table": func(*testing.T, *boltstore.Store, int) {},
		"in the file":        func(t *testing.T, s *boltstore.Store, _ int) { require.NoError(t, s.Compact(t.Context())) },
		"one of two": func(t *testing.T, s *boltstore.Store, i int) {
			if i == n/2 {
				require.NoError(t, s.Compact(t.Context()))
			}
		},
	}
	for how, change := range changes {
		for where, put := range below {
			t.Run(fmt.Sprint(how, ", ", where), func(t *testing.T) {
				t.Parallel()
				var meanwhile func()
				s := open(t, file(t), boltstore.Options{}.Looked(func() {
					if f := meanwhile; f != nil {
						meanwhile = nil
						f()
					}
				}))
				owner := func(i int) store.Owner { return store.Owner(fmt.Sprintf("o%02d", i)) }
				for i := range n {
					commit(t, s, store.Change{Owner: owner(i), Put: []store.Record{{Key: "k", Due: at(i), Value: []byte("old")}}})
					put(t, s, i)
				}
				lane := func() []store.Record {
					due, err := s.Due(t.Context(), store.DueQuery{Lanes: []store.Lane{0}, Until: at(n - 1), Limit: 2 * n})
					require.NoError(t, err)
					return due
				}
				before := lane()
				require.Len(t, before, n)
				meanwhile = func() {
					for i := range n {
						c := change(i)
						c.Owner, c.Rev = owner(i), 1
						commit(t, s, c)
					}
					lane() // who reads it now finds that nothing below the first table is true any more
				}
				require.Equal(t, before, lane())
				require.Nil(t, meanwhile)
				after := lane()
				require.NotEqual(t, before, after)
				if how == "replaced" || how == "put before" {
					require.Len(t, after, n)
				} else {
					require.Empty(t, after)
				}
			})
		}
	}
}

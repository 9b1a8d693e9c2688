package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/appio-go/appio/store"
)

var endChecks = []check{
	{"a call whose context has ended does nothing", func(t tester, s store.Store) {
		commit(t, s, store.Change{Owner: "o", Put: []store.Record{put("k", "v")}})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, c := range []store.Change{{Owner: "o", Rev: 1, Put: []store.Record{put("k", "w")}}, {Owner: "p"}, {Owner: "o"}} {
			_, err := s.Commit(ctx, []store.Change{c})
			if !errors.Is(err, store.ErrAborted) || !errors.Is(err, context.Canceled) {
				t.Errorf("Commit with a cancelled context: error %v; want one that is ErrAborted and context.Canceled", err)
			}
		}
		has(t, s, "o", 1, put("k", "v"))
		has(t, s, "p", 0)
		for name, err := range reads(ctx, s) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s with a cancelled context: error %v; want context.Canceled", name, err)
			}
		}
	}},

	{"a change is surely not applied when its call was aborted", func(t tester, s store.Store) {
		random := rand.New(rand.NewPCG(8, 0))
		type answer struct {
			errs []error
			err  error
		}
		answers := make([]answer, 200)
		var wait sync.WaitGroup
		for i := range answers {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(500))*time.Microsecond)
			wait.Go(func() {
				defer cancel()
				answers[i].errs, answers[i].err = s.Commit(ctx, []store.Change{{Owner: numbered(i), Put: []store.Record{put("k", "v")}}})
			})
		}
		wait.Wait()
		commit(t, s, store.Change{Owner: "last"}) // what was under way is over
		for i, a := range answers {
			got := view(t, s, store.Read{Owner: numbered(i), Range: all})
			switch {
			case a.err == nil && got.Rev != 1:
				t.Errorf("a change that was acknowledged is not there")
			case errors.Is(a.err, store.ErrAborted) && got.Rev != 0:
				t.Errorf("a change that was aborted (%v) is there", a.err)
			case uint64(len(got.Records)) != got.Rev:
				t.Errorf("half a change is there: revision %d, %d records", got.Rev, len(got.Records))
			}
		}
	}},

	{"after Close every call but Close is ErrClosed", func(t tester, s store.Store) {
		commit(t, s, store.Change{Owner: "o", Put: []store.Record{put("k", "v")}})
		if err := s.Close(); err != nil {
			t.Errorf("Close: error %v; want nil", err)
		}
		if _, err := s.Commit(t.Context(), []store.Change{{Owner: "o", Rev: 1}}); !errors.Is(err, store.ErrClosed) || !errors.Is(err, store.ErrAborted) {
			t.Errorf("Commit after Close: error %v; want ErrClosed, which is an ErrAborted too", err)
		}
		for name, err := range reads(t.Context(), s) {
			if !errors.Is(err, store.ErrClosed) {
				t.Errorf("%s after Close: error %v; want ErrClosed", name, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Errorf("second Close: error %v; want nil", err)
		}
	}},

	{"Close may come while the store is at work", func(t tester, s store.Store) {
		var started, done sync.WaitGroup
		var over atomic.Bool
		started.Add(8)
		for w := range 8 {
			start := sync.OnceFunc(started.Done)
			done.Go(func() {
				defer start()
				for rev := uint64(0); !over.Load(); rev++ {
					errs := reads(t.Context(), s)
					_, errs["Commit"] = s.Commit(t.Context(), []store.Change{{Owner: numbered(w), Rev: rev, Put: []store.Record{put("k", "v")}}})
					for name, err := range errs {
						if err != nil && !errors.Is(err, store.ErrClosed) {
							t.Errorf("%s while the store was closed: error %v; want nil or ErrClosed", name, err)
							return
						}
					}
					start()
				}
			})
		}
		started.Wait()
		if err := s.Close(); err != nil {
			t.Errorf("Close while at work: error %v; want nil", err)
		}
		over.Store(true)
		done.Wait()
	}},
}

// reads returns the error of each way to read.
func reads(ctx context.Context, s store.Store) map[string]error {
	_, view := s.View(ctx, []store.Read{{Owner: "o", Range: all}})
	_, due := s.Due(ctx, store.DueQuery{Lanes: []store.Lane{1}, Until: at(1), Limit: 1})
	_, owners := s.Owners(ctx, "", 1)
	return map[string]error{"View": view, "Due": due, "Owners": owners}
}

func numbered(n int) store.Owner { return store.Owner(fmt.Sprintf("owner %03d", n)) }

package storetest

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/appio-go/appio/store"
)

var concurrentChecks = []check{
	{"what was committed is seen by who asks next", func(t tester, s store.Store) {
		for rev := range uint64(100) {
			want := store.Record{Key: "k", Lane: 1, Due: at(1), Value: binary.BigEndian.AppendUint64(nil, rev)}
			commit(t, s, store.Change{Owner: "o", Rev: rev, Put: []store.Record{want}})
			done := make(chan store.Snapshot, 1)
			go func() {
				got, err := s.View(t.Context(), []store.Read{{Owner: "o", Range: all}})
				if err != nil || len(got) != 1 {
					got = make([]store.Snapshot, 1)
				}
				done <- got[0]
			}()
			same(t, "the lane", query(t, s, 10, 10, 1), of("o", want))
			got := <-done
			if got.Rev != rev+1 {
				t.Fatalf("View after a Commit had returned: revision %d; want %d", got.Rev, rev+1)
			}
			same(t, "View after a Commit had returned", got.Records, of("o", want))
		}
	}},

	{"of changes made from one revision one applies: no update is lost", func(t tester, s store.Store) {
		const workers = 32
		times := 100
		if testing.Short() {
			times = 10
		}
		group(workers, func(int) {
			for range times {
				increment(t, s, workers*times)
			}
		})
		got := view(t, s, store.Read{Owner: "o", Keys: []store.Key{"count"}})
		if n := count(got); n != uint64(workers*times) || got.Rev != n {
			t.Errorf("%d goroutines added 1 to a record, %d times each: it is %d, at revision %d; want %d", workers, times, n, got.Rev, workers*times)
		}
	}},

	{"of changes of many owners in calls that overlap, each counts once or not at all", func(t tester, s store.Store) {
		const some = 12
		var applied [some]atomic.Uint64
		group(8, func(w int) {
			random := rand.New(rand.NewPCG(9, uint64(w)))
			for range 60 {
				var reads []store.Read
				for _, o := range random.Perm(some)[:1+random.IntN(6)] {
					reads = append(reads, store.Read{Owner: numbered(o), Keys: []store.Key{"count"}})
				}
				got, err := s.View(t.Context(), reads)
				if err != nil {
					t.Errorf("View: %v", err)
					return
				}
				changes := make([]store.Change, len(reads))
				for i := range reads {
					changes[i] = store.Change{Owner: reads[i].Owner, Rev: got[i].Rev, Put: []store.Record{counted("count", count(got[i])+1)}}
				}
				errs, err := s.Commit(t.Context(), changes)
				if err != nil {
					t.Errorf("Commit: %v", err)
					return
				}
				for i := range changes {
					if errs == nil || errs[i] == nil {
						for o := range some {
							if changes[i].Owner == numbered(o) {
								applied[o].Add(1)
							}
						}
					}
				}
			}
		})
		for o := range some {
			got := view(t, s, store.Read{Owner: numbered(o), Keys: []store.Key{"count"}})
			if want := applied[o].Load(); got.Rev != want || count(got) != want {
				t.Errorf("%q was changed %d times, and is at revision %d with a count of %d", numbered(o), want, got.Rev, count(got))
			}
		}
	}},

	{"a snapshot is of one revision, and revisions never go back", func(t tester, s store.Store) {
		const some = 4
		var writing, reading sync.WaitGroup
		var over atomic.Bool
		var views atomic.Int64
		for o := range some {
			writing.Go(func() {
				for n := uint64(0); meets(n, &views); n++ {
					c := store.Change{Owner: numbered(o), Rev: n, Put: []store.Record{counted("a", n+1), counted("b", n+1), counted("z", n+1)}}
					if errs, err := s.Commit(t.Context(), []store.Change{c}); err != nil || errs != nil && errs[0] != nil {
						t.Errorf("Commit: %v, %v; want nil", errs, err)
						return
					}
				}
			})
		}
		for r := range 4 {
			reading.Go(func() {
				var last [some]uint64
				defer views.Add(leastReads) // who fails is not waited for
				for ; !over.Load(); views.Add(1) {
					reads := make([]store.Read, some)
					for o := range reads {
						reads[o] = store.Read{Owner: numbered(o), Keys: []store.Key{"a", "z"}, Range: store.Range{From: "a", Limit: 10, Descending: r%2 == 0}}
					}
					got, err := s.View(t.Context(), reads)
					if err != nil {
						t.Errorf("View: %v", err)
						return
					}
					for o := range got {
						if got[o].Rev < last[o] {
							t.Errorf("%q went from revision %d back to %d", numbered(o), last[o], got[o].Rev)
							return
						}
						last[o] = got[o].Rev
						for _, record := range got[o].Records {
							if n := number(record.Value); n != got[o].Rev {
								t.Errorf("a torn snapshot: its revision is %d, but key %q was written by change %d", got[o].Rev, record.Key, n)
								return
							}
						}
						if len(got[o].Records) != 5 && got[o].Rev > 0 {
							t.Errorf("a torn snapshot: %d records; want two keys and a range of three", len(got[o].Records))
							return
						}
					}
				}
			})
		}
		writing.Wait()
		over.Store(true)
		reading.Wait()
	}},

	{"of those who take one due record each from the same answer, one wins", func(t tester, s store.Store) {
		const jobs, workers = 20, 8
		for j := range jobs {
			commit(t, s, store.Change{Owner: numbered(j), Put: []store.Record{due("job", 1, j)}})
		}
		var won [jobs]atomic.Int32
		var asked sync.WaitGroup
		asked.Add(workers)
		group(workers, func(w int) {
			found, err := s.Due(t.Context(), store.DueQuery{Lanes: []store.Lane{1}, Until: at(jobs), Limit: jobs})
			asked.Done()
			asked.Wait()
			if err != nil || len(found) != jobs {
				t.Errorf("Due: %d records, error %v; want %d", len(found), err, jobs)
				return
			}
			for j, record := range found {
				leased := due("job", 1, 1e6+w)
				errs, err := s.Commit(t.Context(), []store.Change{{Owner: record.Owner, Rev: 1, Put: []store.Record{leased}}})
				switch {
				case err != nil:
					t.Errorf("Commit: %v", err)
				case errs == nil || errs[0] == nil:
					won[j].Add(1)
				case !errors.Is(errs[0], store.ErrConflict):
					t.Errorf("the answer of a change: %v; want nil or ErrConflict", errs[0])
				}
			}
		})
		for j := range won {
			if n := won[j].Load(); n != 1 {
				t.Errorf("a due record was taken by %d of %d who tried; want one", n, workers)
			}
		}
		same(t, "what is still due", query(t, s, jobs, jobs, 1), nil)
	}},

	{"a record that is replaced all the time is in its lane all the time, once", func(t tester, s store.Store) {
		commit(t, s, store.Change{Owner: "o", Put: []store.Record{due("k", 1, 0)}})
		var over atomic.Bool
		var reading sync.WaitGroup
		var reads atomic.Int64
		reading.Go(func() {
			defer reads.Add(leastReads)
			for ; !over.Load(); reads.Add(1) {
				got, err := s.Due(t.Context(), store.DueQuery{Lanes: []store.Lane{1}, Until: at(1000), Limit: 10})
				if err != nil || len(got) != 1 {
					t.Errorf("Due: %d records, error %v; want one", len(got), err)
					return
				}
			}
		})
		defer reading.Wait()
		defer over.Store(true)
		for rev := uint64(0); meets(rev, &reads); rev++ {
			commit(t, s, store.Change{Owner: "o", Rev: rev + 1, Put: []store.Record{due("k", 1, int(rev*7%150))}})
		}
	}},
}

// leastReads and leastWrites are how many there have to be at once before writers and readers can be said to have met.
const leastReads, leastWrites = 200, 150

// meets reports whether a writer that has made n writes has to go on, as there were too few of them, or of reads.
func meets(n uint64, reads *atomic.Int64) bool {
	return n < leastWrites || reads.Load() < leastReads && n < 1000*leastWrites
}

// group runs work n times at once, and waits.
func group(n int, work func(i int)) {
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { work(i) })
	}
	wait.Wait()
}

// increment adds 1 to a record, as often as it takes. Somebody succeeds whenever somebody fails, so that it is at most as
// often as all increments together.
func increment(t tester, s store.Store, atMost int) {
	for range atMost + 1 {
		got, err := s.View(t.Context(), []store.Read{{Owner: "o", Keys: []store.Key{"count"}}})
		if err != nil || len(got) != 1 {
			t.Errorf("View: %d snapshots, error %v; want one", len(got), err)
			return
		}
		c := store.Change{Owner: "o", Rev: got[0].Rev, Put: []store.Record{counted("count", count(got[0])+1)}}
		errs, err := s.Commit(t.Context(), []store.Change{c})
		if err != nil {
			t.Errorf("Commit: %v", err)
			return
		}
		if errs == nil || errs[0] == nil {
			return
		}
	}
	t.Errorf("a change conflicted more often than there are others: somebody must win each time")
}

// counted returns a record that holds a number.
func counted(key store.Key, n uint64) store.Record {
	return store.Record{Key: key, Value: binary.BigEndian.AppendUint64(nil, n)}
}

// count returns the number that the first record of a snapshot holds, 0 without one.
func count(s store.Snapshot) uint64 {
	if len(s.Records) == 0 {
		return 0
	}
	return number(s.Records[0].Value)
}

func number(value []byte) uint64 {
	if len(value) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

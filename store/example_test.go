package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// Read, decide, commit; and when somebody else was faster, read and decide again.
func Example() {
	ctx := context.Background()
	s := memstore.New()
	defer s.Close()

	visit := func(citizen store.Owner) error {
		for range 16 {
			got, err := s.View(ctx, []store.Read{{Owner: citizen, Keys: []store.Key{"visits"}}})
			if err != nil {
				return err
			}
			visits := []byte("|")
			for _, r := range got[0].Records {
				visits = append(visits, r.Value...)
			}
			change := store.Change{Owner: citizen, Rev: got[0].Rev, Put: []store.Record{{Key: "visits", Value: visits}}}
			errs, err := s.Commit(ctx, []store.Change{change})
			if err != nil {
				return err
			}
			if errs == nil || !errors.Is(errs[0], store.ErrConflict) {
				return nil
			}
		}
		return store.ErrConflict
	}

	for range 3 {
		if err := visit("citizen/anna"); err != nil {
			log.Fatal(err)
		}
	}
	got, err := s.View(ctx, []store.Read{{Owner: "citizen/anna", Keys: []store.Key{"visits"}}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("revision %d: %s\n", got[0].Rev, got[0].Records[0].Value)
	// Output: revision 3: |||
}

// Work is a record that is due in a lane. Whoever finds it puts it off before starting, and of two who do one has a conflict.
func ExampleStore_due() {
	ctx := context.Background()
	s := memstore.New()
	defer s.Close()

	const reminders store.Lane = 7
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	_, err := s.Commit(ctx, []store.Change{{
		Owner: "citizen/anna",
		Put:   []store.Record{{Key: "q/1", Lane: reminders, Due: noon, Value: []byte("pay the school meals")}},
	}})
	if err != nil {
		log.Fatal(err)
	}

	for _, now := range []time.Time{noon.Add(-time.Second), noon} {
		due, err := s.Due(ctx, store.DueQuery{Lanes: []store.Lane{reminders}, Until: now, Limit: 10})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(now.Format(time.TimeOnly), len(due))
		for _, work := range due {
			work.Due = now.Add(30 * time.Second)
			for range 2 {
				errs, err := s.Commit(ctx, []store.Change{{Owner: work.Owner, Rev: 1, Put: []store.Record{work}}})
				if err != nil {
					log.Fatal(err)
				}
				fmt.Println("taken:", errs == nil || errs[0] == nil)
			}
		}
	}
	// Output:
	// 11:59:59 0
	// 12:00:00 1
	// taken: true
	// taken: false
}

// A backup is a stream: to a file, through a compressor, over a network. It goes into any store that is empty.
func ExampleBackup() {
	ctx := context.Background()
	s := memstore.New()
	defer s.Close()
	if _, err := s.Commit(ctx, []store.Change{{Owner: "citizen/anna", Put: []store.Record{{Key: "profile", Value: []byte("auto")}}}}); err != nil {
		log.Fatal(err)
	}

	var stream bytes.Buffer
	if err := store.Backup(ctx, s, &stream); err != nil {
		log.Fatal(err)
	}
	other := memstore.New()
	defer other.Close()
	if err := store.Restore(ctx, &stream, other); err != nil {
		log.Fatal(err)
	}

	owners, err := other.Owners(ctx, "", 10)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(owners)
	// Output: [citizen/anna]
}

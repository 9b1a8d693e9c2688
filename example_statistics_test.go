package appio_test

import (
	"context"
	"fmt"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store/memstore"
)

// What became of a service's messages, by UTC day, and who became reachable for it: both once the day is over.
func ExampleEngine_Statistics() {
	ctx := context.Background()
	clock := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	eng, err := appio.New(memstore.New(), &appio.Options{
		Keys: appio.RandomKeys(), Now: func() time.Time { return clock }, Statistics: true, FeedDays: 30,
	})
	check(err)
	defer eng.Close()
	check(eng.PutService(ctx, appio.Service{ID: "mensa", Name: "Mensa scolastica", Organization: "01199250158", State: appio.Live}))
	check(eng.Citizen(appio.Identity{Code: mario}).SetMode(ctx, appio.Auto))
	mensa := eng.Sender("mensa")
	_, err = mensa.SendBatch(ctx, []appio.Message{fee(mario), fee(anna)}) // Anna is not known
	check(err)

	day := clock
	clock = clock.AddDate(0, 0, 1)
	_, err = eng.Flush(ctx) // counts the day for good, as Run does
	check(err)
	days, err := eng.Statistics(ctx, "mensa", day, day)
	check(err)
	for _, d := range days {
		fmt.Println(d.Day.Format(time.DateOnly), d.Accepted, d.Processed, d.Rejected, d.Final)
	}
	for entry, err := range mensa.SubscriptionsFeed(day).All(ctx) {
		check(err)
		fmt.Println(entry.Hash[:8], entry.Subscribed)
	}
	// Output:
	// 2026-03-02 2 1 1 true
	// 9bbd57b4 true
}

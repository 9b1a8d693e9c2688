package appio_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"
)

// All deadlines of a citizen, for the calendar programs that subscribe to them. A handler serves it as calendar.MediaType, at an address
// that nobody can guess.
func ExampleCitizen_CalendarFeed() {
	ctx := context.Background()
	eng := platform()
	defer eng.Close()
	citizen := enrol(eng, mario, "mario@example.org")
	m := fee(mario)
	m.Due = time.Date(2099, 11, 30, 22, 59, 59, 0, time.UTC) // the end of the day in Italy
	_, err := eng.Sender("mensa").Send(ctx, m)
	check(err)

	var feed bytes.Buffer
	check(citizen.CalendarFeed(ctx, &feed, nil))
	for line := range strings.Lines(feed.String()) {
		if strings.HasPrefix(line, "DTSTART") || strings.HasPrefix(line, "SUMMARY") || strings.HasPrefix(line, "TRIGGER") {
			fmt.Println(strings.TrimSpace(line))
		}
	}
	// Output:
	// DTSTART;VALUE=DATE:20991130
	// SUMMARY:Mensa: retta di ottobre
	// TRIGGER:-PT15H
}

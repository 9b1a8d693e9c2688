package appio_test

import (
	"context"
	"fmt"

	"github.com/appio-go/appio"
)

// A list is read by pages, with cursors that are safe in a URL: nobody can make one up, and none fits another list.
func ExampleList_Page() {
	ctx := context.Background()
	eng := platform()
	defer eng.Close()
	citizen := enrol(eng, mario, "mario@example.org")
	for _, month := range []string{"gennaio", "febbraio", "marzo", "aprile", "maggio"} {
		m := fee(mario)
		m.Subject = "Mensa: retta di " + month
		_, err := eng.Sender("mensa").Send(ctx, m)
		check(err)
	}

	inbox := citizen.Inbox(nil)
	show := func(c appio.Cursor) appio.Page[appio.InboxMessage] {
		page, err := inbox.Page(ctx, c, 2)
		check(err)
		for _, m := range page.Items {
			fmt.Println(m.Subject)
		}
		fmt.Println("--- newer:", page.Prev != "", "older:", page.Next != "")
		return page
	}
	first := show("")
	second := show(first.Next)
	show(second.Next)
	show(second.Prev)
	// Output:
	// Mensa: retta di maggio
	// Mensa: retta di aprile
	// --- newer: false older: true
	// Mensa: retta di marzo
	// Mensa: retta di febbraio
	// --- newer: true older: true
	// Mensa: retta di gennaio
	// --- newer: true older: false
	// Mensa: retta di maggio
	// Mensa: retta di aprile
	// --- newer: false older: true
}

// Whether a message was read is told to its sender where the citizen allows it.
func ExampleCitizen_MarkRead() {
	ctx := context.Background()
	eng := platform()
	defer eng.Close()
	citizen, mensa := enrol(eng, mario, "mario@example.org"), eng.Sender("mensa")
	res, err := mensa.Send(ctx, fee(mario))
	check(err)
	check(citizen.MarkRead(ctx, res.ID))

	for _, allowed := range []bool{true, false} {
		check(citizen.SetPreference(ctx, "mensa", appio.Preference{Inbox: true, ReadStatus: allowed}))
		status, err := mensa.Status(ctx, mario, res.ID)
		check(err)
		if status.Read == nil {
			fmt.Println(status.Status, "read: not for the service to know")
			continue
		}
		fmt.Println(status.Status, "read:", *status.Read)
	}
	// Output:
	// PROCESSED read: true
	// PROCESSED read: not for the service to know
}

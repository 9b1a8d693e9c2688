package appio_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store/memstore"
)

// All that is kept about a citizen, as one JSON document: the right of access, and to take it elsewhere.
func ExampleCitizen_Export() {
	ctx := context.Background()
	eng := platform()
	defer eng.Close()
	citizen := enrol(eng, mario, "mario@example.org")
	_, err := eng.Sender("mensa").Send(ctx, fee(mario))
	check(err)

	var file bytes.Buffer
	check(citizen.Export(ctx, &file))
	var doc struct {
		Format  string
		Version int
		Items   []struct {
			Kind    string
			Subject string            // of a message
			Reason  map[string]string // of a decision
			What    string            // of a change of consent
		}
	}
	check(json.Unmarshal(file.Bytes(), &doc))
	fmt.Println(doc.Format, doc.Version)
	for _, item := range doc.Items {
		fmt.Println(strings.TrimSpace(item.Kind + " " + item.Subject + item.Reason["en"] + item.What))
	}
	// Output:
	// appio.export 1
	// profile
	// consent profile
	// consent profile
	// open_deliveries
	// decision In automatic mode services that you have not refused may write to you.
	// message Mensa: retta di ottobre
}

// An export that was interrupted goes on from the last page that arrived.
func ExampleCitizen_ExportPage() {
	ctx := context.Background()
	eng := platform()
	defer eng.Close()
	citizen := enrol(eng, mario, "mario@example.org")
	for range 100 {
		_, err := eng.Sender("mensa").Send(ctx, fee(mario))
		check(err)
	}

	var place appio.Cursor // kept beside the items, by who fetches them
	items := 0
	for first := true; first || place != ""; first = false {
		page, err := citizen.ExportPage(ctx, place)
		check(err)
		items, place = items+len(page.Items), page.Next
	}
	fmt.Println(items, "items")
	// Output:
	// 303 items
}

// A citizen who asks to be deleted can think again for some days. Then the erasure begins by itself.
func ExampleCitizen_RequestData() {
	ctx := context.Background()
	clock := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	eng, err := appio.New(memstore.New(), &appio.Options{Keys: appio.RandomKeys(), Now: func() time.Time { return clock }})
	check(err)
	defer eng.Close()
	citizen := eng.Citizen(appio.Identity{Code: mario, Level: appio.L2})
	check(citizen.SetMode(ctx, appio.Auto))

	show := func(r appio.DataRequest, err error) {
		check(err)
		fmt.Println(r.Status, r.Due.Format(time.DateOnly))
	}
	show(citizen.RequestData(ctx, appio.DeleteData))
	show(citizen.AbortDeletion(ctx))
	show(citizen.RequestData(ctx, appio.DeleteData))
	clock = clock.Add(6*24*time.Hour + time.Minute)
	_, err = eng.Flush(ctx)
	check(err)
	show(citizen.DataRequest(ctx, appio.DeleteData))
	// Output:
	// PENDING 2026-03-08
	// ABORTED 0001-01-01
	// PENDING 2026-03-08
	// CLOSED 0001-01-01
}

// Downloads that citizens asked for are served when there is time: to a place where only they get them.
func ExampleEngine_ServeDownload() {
	ctx := context.Background()
	eng := platform()
	defer eng.Close()
	citizen := enrol(eng, mario, "mario@example.org")
	_, err := citizen.RequestData(ctx, appio.DownloadData)
	check(err)

	for {
		found, err := eng.ServeDownload(ctx, func(ctx context.Context, c *appio.Citizen) error {
			var file bytes.Buffer // a file of the host's, which it keeps for the citizen
			return c.Export(ctx, &file)
		})
		check(err)
		if !found {
			break
		}
	}
	r, err := citizen.DataRequest(ctx, appio.DownloadData)
	check(err)
	fmt.Println(r.Choice, r.Status)
	// Output:
	// DOWNLOAD CLOSED
}

package appio_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/appio-go/appio"
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

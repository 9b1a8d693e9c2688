package calendar_test

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/appio-go/appio/calendar"
)

// A file for one deadline, for the citizen to open or to download.
func ExampleCalendar_WriteTo() {
	due := time.Date(2026, 12, 16, 23, 59, 59, 0, time.FixedZone("CET", 3600))
	var file strings.Builder
	_, err := calendar.Calendar{
		ProductID: "-//Comune di Esempio//IO//IT",
		Events: calendar.Of(calendar.Event{
			UID:         "01HZY3V7K8QZ4M5N6P7R8S9T0V@io.comune.example",
			Stamp:       time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC),
			Due:         due,
			Summary:     "TARI 2026, prima rata",
			Description: "La rata scade il 16 dicembre.\nSi paga nell'app.",
			URL:         "https://io.comune.example/m/01HZY3V7K8QZ4M5N6P7R8S9T0V",
			Alarms:      []time.Duration{24 * time.Hour},
		}),
	}.WriteTo(&file)
	fmt.Println(strings.ReplaceAll(file.String(), "\r\n", "\n"), err)
	// Output:
	// BEGIN:VCALENDAR
	// VERSION:2.0
	// PRODID:-//Comune di Esempio//IO//IT
	// BEGIN:VEVENT
	// UID:01HZY3V7K8QZ4M5N6P7R8S9T0V@io.comune.example
	// DTSTAMP:20261122T090000Z
	// DTSTART:20261216T225959Z
	// SEQUENCE:0
	// STATUS:CONFIRMED
	// TRANSP:TRANSPARENT
	// SUMMARY:TARI 2026\, prima rata
	// DESCRIPTION:La rata scade il 16 dicembre.\nSi paga nell'app.
	// URL:https://io.comune.example/m/01HZY3V7K8QZ4M5N6P7R8S9T0V
	// BEGIN:VALARM
	// ACTION:DISPLAY
	// TRIGGER:-P1D
	// DESCRIPTION:TARI 2026\, prima rata
	// END:VALARM
	// END:VEVENT
	// END:VCALENDAR
	//  <nil>
}

// A feed is written as its events are read, and says when one of them cannot be.
func ExampleCalendar_feed() {
	read := func(yield func(calendar.Event, error) bool) {
		day := time.Date(2026, 12, 16, 0, 0, 0, 0, time.UTC)
		for i, paid := range []bool{false, true} {
			if !yield(calendar.Event{
				UID: fmt.Sprintf("rata-%d@io.comune.example", i+1), Sequence: i, Stamp: day, Cancelled: paid,
				Due: day.AddDate(0, i, 0), WholeDay: true, Summary: fmt.Sprintf("TARI, rata %d", i+1),
			}, nil) {
				return
			}
		}
		yield(calendar.Event{}, os.ErrDeadlineExceeded)
	}
	var feed strings.Builder
	_, err := calendar.Calendar{ProductID: "-//Comune di Esempio//IO//IT", Name: "Scadenze", Refresh: time.Hour, Events: read}.WriteTo(&feed)
	fmt.Println(err)
	// Output: calendar: event 2: i/o timeout
}

// Package icalendar lets a parser that others wrote read what package calendar writes of hostile texts.
package icalendar

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	ics "github.com/arran4/golang-ical"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/appio-go/appio/calendar"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/internal/mutate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	noon   = time.Date(2026, 12, 16, 12, 0, 0, 0, time.UTC)
	breaks = regexp.MustCompile(`\r\n|[\n\v\f\r\x{85}\x{2028}\x{2029}]`)
	others = regexp.MustCompile(`[\x00-\x08\x0E-\x1F\x7F-\x{9F}]`)
)

// normal is a text as a calendar can hold it.
func normal(s string) string {
	return others.ReplaceAllString(breaks.ReplaceAllString(string([]rune(s)), "\n"), "\uFFFD")
}

// seeds are texts that try to be more than a text.
var seeds = [][]byte{
	[]byte("Prima rata della tassa\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nUID:evil"),
	[]byte("Scade mercoledì: 150,00 €; paga\ncon l'app \\ allo sportello 😀, à è ì ò ù"),
	[]byte("\rATTACH:https://evil.example\u2028ATTENDEE;CN=\"x\":mailto:a@b.example\u0085\x00\x1b[31m"),
	[]byte(strings.Repeat("€", 60) + strings.Repeat(`\,;`, 20) + strings.Repeat("\r", 20)),
}

// properties are what they say, by name, values that stand there together with commas between them.
func properties(all []ics.IANAProperty) map[string][]string {
	m := map[string][]string{}
	for _, p := range all {
		m[p.IANAToken] = append(m[p.IANAToken], p.Value)
	}
	return m
}

// read says how what the parser reads differs from what was written.
func read(text string, event calendar.Event, name string) error {
	parsed, err := ics.ParseCalendar(strings.NewReader(text))
	if err != nil {
		return err
	}
	var head []ics.IANAProperty
	for _, p := range parsed.CalendarProperties {
		head = append(head, ics.IANAProperty(p))
	}
	if err := same("VCALENDAR", head, map[string]string{"VERSION": "2.0", "PRODID": name, "NAME": name, "X-WR-CALNAME": name}); err != nil {
		return err
	}
	events := parsed.Events()
	if len(events) != 1 || len(parsed.Components) != 1 {
		return fmt.Errorf("%d components, %d of them events", len(parsed.Components), len(events))
	}
	if err := same("VEVENT", events[0].Properties, map[string]string{
		"UID": event.UID, "DTSTAMP": "20261216T120000Z", "DTSTART": "20261216T120000Z", "SEQUENCE": "0", "STATUS": "CONFIRMED",
		"TRANSP": "TRANSPARENT", "SUMMARY": event.Summary, "DESCRIPTION": event.Description, "CATEGORIES": strings.Join(event.Categories, ","),
	}); err != nil {
		return err
	}
	alarms := events[0].Alarms()
	if len(alarms) != 1 || len(events[0].Components) != 1 {
		return fmt.Errorf("%d components in the event, %d of them alarms", len(events[0].Components), len(alarms))
	}
	if due, err := events[0].GetStartAt(); err != nil || !due.Equal(event.Due) {
		return fmt.Errorf("due %v: %w", due, err)
	}
	return same("VALARM", alarms[0].Properties, map[string]string{"ACTION": "DISPLAY", "TRIGGER": "-P1D", "DESCRIPTION": event.Summary})
}

// same compares the properties of a component with what they should be, each once.
func same(component string, got []ics.IANAProperty, want map[string]string) error {
	have := properties(got)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if values := have[name]; len(values) != 1 || values[0] != normal(want[name]) {
			return fmt.Errorf("%s of %s is %q, not %q", name, component, values, normal(want[name]))
		}
	}
	if len(have) > len(want) {
		return fmt.Errorf("%s has %q", component, slices.Sorted(maps.Keys(have)))
	}
	return nil
}

// write writes a text wherever there can be one.
func write(text string) (string, calendar.Event, error) {
	event := calendar.Event{
		UID: "1", Stamp: noon, Due: noon, Summary: text, Description: "." + text, Categories: []string{text, "Tributi"}, Alarms: []time.Duration{24 * time.Hour},
	}
	var b strings.Builder
	_, err := calendar.Calendar{ProductID: "-" + text, Name: "-" + text, Events: calendar.Of(event)}.WriteTo(&b)
	return b.String(), event, err
}

func TestAnotherParserReadsTheSame(t *testing.T) {
	const inRound = 500
	seed, texts := form.Seed(t), 0
	for more := form.Rounds(t, 0, 2, 1); more(); {
		for range inRound {
			text := string(mutate.Bytes(rand.New(rand.NewPCG(seed, uint64(texts))), seeds))
			written, event, err := write(text)
			if err == nil {
				err = read(written, event, "-"+text)
			}
			if err != nil {
				t.Fatalf("text %d, %q: %v", texts, text, err)
			}
			texts++
		}
	}
	form.Figures(t, map[string]float64{"texts": float64(texts)})
}

// TestPlantedBugs: what writers with a bug would write, as far as the other parser is strict enough to tell. The tests of package
// calendar know more of them.
func TestPlantedBugs(t *testing.T) {
	t.Parallel()
	right, event, err := write("a\nb\\nc,d;e" + strings.Repeat("x", 100))
	require.NoError(t, err)
	require.NoError(t, read(right, event, "-"+event.Summary))
	for name, replace := range map[string][2]string{
		"CR is not escaped":            {`a\n`, "a\r"},
		"CRLF is not escaped":          {`a\n`, "a\r\n"},
		"a text adds a property":       {`a\n`, "a\r\nATTACH:"},
		"a text ends its event":        {`.a\n`, ".a\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nUID:evil\r\nDESCRIPTION:"},
		"no backslash is escaped":      {`\\`, `\`},
		"folded without a blank":       {"\r\n ", "\r\n"},
		"folded with two blanks":       {"\r\n ", "\r\n  "},
		"an event has no end":          {"END:VEVENT\r\n", ""},
		"the zone is left out":         {"T120000Z", "T120000"},
		"the alarm comes after":        {"TRIGGER:-", "TRIGGER:"},
		"the summary is left out":      {"SUMMARY", "X-SUMMARY"},
		"a property stands twice":      {"SEQUENCE:0\r\n", "SEQUENCE:0\r\nSEQUENCE:0\r\n"},
		"an event stands twice":        {"END:VEVENT\r\n", "END:VEVENT\r\nBEGIN:VEVENT\r\nEND:VEVENT\r\n"},
		"an alarm is not in its event": {"BEGIN:VALARM\r\n", "END:VEVENT\r\nBEGIN:VALARM\r\n"},
	} {
		wrong := strings.ReplaceAll(right, replace[0], replace[1])
		require.NotEqual(t, right, wrong, name)
		err := read(wrong, event, "-"+event.Summary)
		require.Error(t, err, name)
		t.Logf("%s: %v", name, err)
	}
}

package calendar_test

import (
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/appio-go/appio/calendar"
)

// A line is a property as the parser of these tests reads it, which shares nothing with the writer: its name with the parameters, and
// its value, or its values if it is a list. Durations are read as seconds.
type line struct {
	name   string
	values []string
}

var (
	lineForm     = regexp.MustCompile(`(?s)^([A-Z-]+)((?:;[A-Z-]+=[A-Z-]+)?):(.*)$`)
	plainForm    = regexp.MustCompile(`^[!-~]*$`)
	durationForm = regexp.MustCompile(`^-?P(\d+D)?(?:T(?:(\d+H)(?:(\d+M)(\d+S)?)?|(\d+M)(\d+S)?|(\d+S)))?$`)
	forbidden    = regexp.MustCompile(`[\x00-\x08\x0A-\x1F\x7F-\x{9F}\x{2028}\x{2029}]`)

	isText     = map[string]bool{"PRODID": true, "NAME": true, "X-WR-CALNAME": true, "SUMMARY": true, "DESCRIPTION": true, "CATEGORIES": true}
	isDuration = map[string]bool{"REFRESH-INTERVAL": true, "X-PUBLISHED-TTL": true, "TRIGGER": true}
)

// parse reads a calendar and takes nothing that RFC 5545 forbids, nor what a program could take for the end of a line.
func parse(calendar string) (all []line, err error) {
	body, ended := strings.CutSuffix(calendar, "\r\n")
	if !ended {
		return nil, errors.New("the last line has no end")
	}
	var unfolded []string
	before := ""
	for n, s := range strings.Split(body, "\r\n") {
		switch {
		case s == "":
			return nil, fmt.Errorf("line %d is empty", n)
		case len(s) > 75:
			return nil, fmt.Errorf("line %d has %d octets", n, len(s))
		case !utf8.ValidString(s):
			return nil, fmt.Errorf("line %d is not UTF-8: %q", n, s)
		case forbidden.MatchString(s):
			return nil, fmt.Errorf("line %d has a control character: %q", n, s)
		case s[0] != ' ' && s[0] != '\t':
			unfolded = append(unfolded, s)
		case n == 0:
			return nil, errors.New("the first line continues another")
		case len(before) <= 75-utf8.UTFMax:
			return nil, fmt.Errorf("line %d is folded for nothing", n-1)
		default:
			unfolded[len(unfolded)-1] += s[1:]
		}
		before = s
	}

	var open []string
	for n, s := range unfolded {
		parts := lineForm.FindStringSubmatch(s)
		if parts == nil {
			return nil, fmt.Errorf("no property: %q", s)
		}
		name, value := parts[1], parts[3]
		if len(open) == 0 && (n > 0 || name != "BEGIN" || value != "VCALENDAR") {
			return nil, fmt.Errorf("outside of the calendar: %q", s)
		}
		switch name {
		case "BEGIN":
			open = append(open, value)
		case "END":
			if open[len(open)-1] != value {
				return nil, fmt.Errorf("%s ends in %s", value, open[len(open)-1])
			}
			open = open[:len(open)-1]
		}
		values := []string{value}
		switch {
		case isText[name]:
			if values, err = texts(value); err != nil {
				return nil, fmt.Errorf("%w: %q", err, s)
			}
		case !plainForm.MatchString(value):
			return nil, fmt.Errorf("not ASCII: %q", s)
		case isDuration[name]:
			if values[0], err = seconds(value); err != nil {
				return nil, fmt.Errorf("%w: %q", err, s)
			}
		}
		all = append(all, line{name + parts[2], values})
	}
	if len(open) > 0 {
		return nil, fmt.Errorf("%s has no end", open)
	}
	return all, nil
}

// texts undoes the escapes of a list of texts (3.3.11).
func texts(value string) (all []string, err error) {
	var text []byte
	for i := 0; i < len(value); i++ {
		switch c := value[i]; c {
		case '\\':
			i++
			switch {
			case i == len(value):
				return nil, errors.New("a backslash at the end")
			case value[i] == 'n':
				text = append(text, '\n')
			case strings.IndexByte(`\;,`, value[i]) >= 0:
				text = append(text, value[i])
			default:
				return nil, fmt.Errorf(`there is no escape \%c`, value[i])
			}
		case ';':
			return nil, errors.New("a semicolon is not escaped")
		case ',':
			all = append(all, string(text))
			text = nil
		default:
			text = append(text, c)
		}
	}
	return append(all, string(text)), nil
}

// seconds reads a duration (3.3.6).
func seconds(value string) (string, error) {
	parts := durationForm.FindStringSubmatch(value)
	if parts == nil {
		return "", errors.New("no duration")
	}
	sum, some := 0, false
	for _, p := range parts[1:] {
		if p == "" {
			continue
		}
		var n int
		var unit byte
		if _, err := fmt.Sscanf(p, "%d%c", &n, &unit); err != nil {
			return "", err
		}
		sum += n * map[byte]int{'D': 86400, 'H': 3600, 'M': 60, 'S': 1}[unit]
		some = true
	}
	if !some {
		return "", errors.New("a duration of nothing")
	}
	return fmt.Sprint(strings.Repeat("-", strings.Count(value, "-")), sum), nil
}

var (
	lineBreak = regexp.MustCompile(`\r\n|[\n\v\f\r\x{85}\x{2028}\x{2029}]`)
	control   = regexp.MustCompile(`[\x00-\x08\x0E-\x1F\x7F-\x{9F}]`)
)

// normal is a text as a calendar can hold it.
func normal(s string) string {
	s = string([]rune(s)) // a byte that is not UTF-8 becomes U+FFFD
	return control.ReplaceAllString(lineBreak.ReplaceAllString(s, "\n"), "\uFFFD")
}

// expected is what a calendar says: these properties and no others.
func expected(c calendar.Calendar, events ...calendar.Event) (all []line) {
	add := func(name string, values ...string) { all = append(all, line{name, values}) }
	text := func(name string, values ...string) {
		values = slices.Clone(values)
		for i := range values {
			values[i] = normal(values[i])
		}
		add(name, values...)
	}
	moment := func(t time.Time) string {
		t = t.UTC()
		return fmt.Sprintf("%04d%02d%02dT%02d%02d%02dZ", t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second())
	}
	whole := func(sign string, d time.Duration) string { return sign + fmt.Sprint(int64(d/time.Second)) }

	add("BEGIN", "VCALENDAR")
	add("VERSION", "2.0")
	text("PRODID", c.ProductID)
	if c.Method != "" {
		add("METHOD", string(c.Method))
	}
	if c.Name != "" {
		text("NAME", c.Name)
		text("X-WR-CALNAME", c.Name)
	}
	if c.Refresh != 0 {
		add("REFRESH-INTERVAL;VALUE=DURATION", whole("", c.Refresh))
		add("X-PUBLISHED-TTL", whole("", c.Refresh))
	}
	for _, e := range events {
		add("BEGIN", "VEVENT")
		add("UID", e.UID)
		add("DTSTAMP", moment(e.Stamp))
		if e.WholeDay {
			y, m, d := e.Due.Date()
			add("DTSTART;VALUE=DATE", fmt.Sprintf("%04d%02d%02d", y, m, d))
		} else {
			add("DTSTART", moment(e.Due))
		}
		add("SEQUENCE", fmt.Sprint(e.Sequence))
		add("STATUS", map[bool]string{false: "CONFIRMED", true: "CANCELLED"}[e.Cancelled])
		add("TRANSP", "TRANSPARENT")
		text("SUMMARY", e.Summary)
		if e.Description != "" {
			text("DESCRIPTION", e.Description)
		}
		if len(e.Categories) > 0 {
			text("CATEGORIES", e.Categories...)
		}
		if e.URL != "" {
			add("URL", e.URL)
		}
		if c.Method != "" {
			add("ORGANIZER", e.Organizer)
		}
		if !e.LastModified.IsZero() {
			add("LAST-MODIFIED", moment(e.LastModified))
		}
		for _, before := range e.Alarms {
			if e.Cancelled {
				break
			}
			add("BEGIN", "VALARM")
			add("ACTION", "DISPLAY")
			add("TRIGGER", whole("-", before))
			text("DESCRIPTION", e.Summary)
			add("END", "VALARM")
		}
		add("END", "VEVENT")
	}
	add("END", "VCALENDAR")
	return all
}

// judge says what a calendar that was written says beyond, or instead of, what it should.
func judge(written string, c calendar.Calendar, events ...calendar.Event) error {
	got, err := parse(written)
	if err != nil {
		return err
	}
	want := expected(c, events...)
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Errorf("%q is missing", want[i])
		case i >= len(want):
			return fmt.Errorf("%q is too much", got[i])
		case got[i].name != want[i].name || !slices.Equal(got[i].values, want[i].values):
			return fmt.Errorf("line %d is %q, not %q", i, got[i], want[i])
		}
	}
	return nil
}

// write writes a calendar with these events.
func write(c calendar.Calendar, events ...calendar.Event) (string, error) {
	return writeAll(c, calendar.Of(events...))
}

func writeAll(c calendar.Calendar, events iter.Seq2[calendar.Event, error]) (string, error) {
	var b strings.Builder
	c.Events = events
	n, err := c.WriteTo(&b)
	if int(n) != b.Len() {
		return "", fmt.Errorf("it says %d bytes, and wrote %d", n, b.Len())
	}
	return b.String(), err
}

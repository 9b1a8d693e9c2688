package calendar_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/calendar"
)

// crlf is text as it is in a source file, with the line ends of a calendar.
func crlf(s string) string { return strings.ReplaceAll(strings.TrimPrefix(s, "\n"), "\n", "\r\n") }

var rome = time.FixedZone("CET", 3600)

func TestFile(t *testing.T) {
	t.Parallel()
	got, err := write(calendar.Calendar{ProductID: product, Method: calendar.Publish}, calendar.Event{
		UID:          "01HZY3V7K8QZ4M5N6P7R8S9T0V@io.example",
		Sequence:     2,
		Stamp:        time.Date(2026, 11, 22, 9, 30, 15, 999, rome),
		Due:          time.Date(2026, 12, 16, 23, 59, 59, 0, rome),
		Summary:      "TARI 2026, prima rata; città di Esempio \\ Ufficio tributi: 150,00 € entro mercoledì",
		Description:  "Gentile cittadina,\r\nla rata scade.\n\nUfficio tributi",
		URL:          "https://io.comune.example/m/01HZY3V7K8QZ4M5N6P7R8S9T0V?da=calendario;versione=1,2#pagamento",
		Categories:   []string{"Tributi", "Rifiuti, TARI"},
		LastModified: time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC),
		Organizer:    "mailto:tributi@comune.example",
		Alarms:       []time.Duration{7 * 24 * time.Hour, 36 * time.Hour, time.Hour + 5*time.Second, 0},
	})
	require.NoError(t, err)
	require.Equal(t, crlf(`
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Comune di Esempio//IO//IT
METHOD:PUBLISH
BEGIN:VEVENT
UID:01HZY3V7K8QZ4M5N6P7R8S9T0V@io.example
DTSTAMP:20261122T083015Z
DTSTART:20261216T225959Z
SEQUENCE:2
STATUS:CONFIRMED
TRANSP:TRANSPARENT
SUMMARY:TARI 2026\, prima rata\; città di Esempio \\ Ufficio tributi: 150
 \,00 € entro mercoledì
DESCRIPTION:Gentile cittadina\,\nla rata scade.\n\nUfficio tributi
CATEGORIES:Tributi,Rifiuti\, TARI
URL:https://io.comune.example/m/01HZY3V7K8QZ4M5N6P7R8S9T0V?da=calendario;ve
 rsione=1,2#pagamento
ORGANIZER:mailto:tributi@comune.example
LAST-MODIFIED:20261121T080000Z
BEGIN:VALARM
ACTION:DISPLAY
TRIGGER:-P7D
DESCRIPTION:TARI 2026\, prima rata\; città di Esempio \\ Ufficio tributi: 
 150\,00 € entro mercoledì
END:VALARM
BEGIN:VALARM
ACTION:DISPLAY
TRIGGER:-P1DT12H
DESCRIPTION:TARI 2026\, prima rata\; città di Esempio \\ Ufficio tributi: 
 150\,00 € entro mercoledì
END:VALARM
BEGIN:VALARM
ACTION:DISPLAY
TRIGGER:-PT1H0M5S
DESCRIPTION:TARI 2026\, prima rata\; città di Esempio \\ Ufficio tributi: 
 150\,00 € entro mercoledì
END:VALARM
BEGIN:VALARM
ACTION:DISPLAY
TRIGGER:-PT0S
DESCRIPTION:TARI 2026\, prima rata\; città di Esempio \\ Ufficio tributi: 
 150\,00 € entro mercoledì
END:VALARM
END:VEVENT
END:VCALENDAR
`), got)
}

func TestFeed(t *testing.T) {
	t.Parallel()
	due := time.Date(2026, 12, 17, 0, 0, 0, 0, rome) // the 16th in UTC
	got, err := write(calendar.Calendar{ProductID: product, Name: "Scadenze, IO", Refresh: 90 * time.Minute},
		calendar.Event{UID: "1", Stamp: noon, Due: due, WholeDay: true, Summary: "Mensa"},
		calendar.Event{UID: "2", Stamp: noon, Due: due, Sequence: 1, Cancelled: true, Alarms: []time.Duration{time.Hour}, Organizer: "mailto:a@b.example"},
	)
	require.NoError(t, err)
	require.Equal(t, crlf(`
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Comune di Esempio//IO//IT
NAME:Scadenze\, IO
X-WR-CALNAME:Scadenze\, IO
REFRESH-INTERVAL;VALUE=DURATION:PT1H30M
X-PUBLISHED-TTL:PT1H30M
BEGIN:VEVENT
UID:1
DTSTAMP:20261216T120000Z
DTSTART;VALUE=DATE:20261217
SEQUENCE:0
STATUS:CONFIRMED
TRANSP:TRANSPARENT
SUMMARY:Mensa
END:VEVENT
BEGIN:VEVENT
UID:2
DTSTAMP:20261216T120000Z
DTSTART:20261216T230000Z
SEQUENCE:1
STATUS:CANCELLED
TRANSP:TRANSPARENT
SUMMARY:
END:VEVENT
END:VCALENDAR
`), got)
}

func TestWithoutEvents(t *testing.T) {
	t.Parallel()
	want := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:" + product + "\r\nEND:VCALENDAR\r\n"
	for name, events := range map[string]iter.Seq2[calendar.Event, error]{"nil": nil, "empty": calendar.Of()} {
		got, err := writeAll(calendar.Calendar{ProductID: product}, events)
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`a\b`:                   `a\\b`,
		`a;b`:                   `a\;b`,
		`a,b`:                   `a\,b`,
		`a:b"c'd`:               `a:b"c'd`,
		`\n`:                    `\\n`,
		"a\nb":                  `a\nb`,
		"a\rb":                  `a\nb`,
		"a\r\nb":                `a\nb`,
		"a\n\rb":                `a\n\nb`,
		"a\r\r\nb":              `a\n\nb`,
		"a\r":                   `a\n`,
		"a\vb\fc":               `a\nb\nc`,
		"a\u0085b":              `a\nb`,
		"a\u2028b\u2029c":       `a\nb\nc`,
		"a\tb":                  "a\tb",
		"a\x00b":                "a\uFFFDb",
		"a\x1b[1m":              "a\uFFFD[1m",
		"a\x7fb\u0080c\u009fd":  "a\uFFFDb\uFFFDc\uFFFDd",
		"a\xffb":                "a\uFFFDb",
		"a\xe2\x80b":            "a\uFFFD\uFFFDb",
		"a\xed\xa0\x80b":        "a\uFFFD\uFFFD\uFFFDb", // half of a surrogate pair
		"a\uFFFDb":              "a\uFFFDb",
		"😀 à €":                 "😀 à €",
		"\u202eabc\u00a0\u200d": "\u202eabc\u00a0\u200d", // what stands in real texts stays
		" a ":                   " a ",
	} {
		got, err := write(calendar.Calendar{ProductID: product}, calendar.Event{UID: "1", Stamp: noon, Due: noon, Summary: text})
		require.NoError(t, err, "%q", text)
		_, after, _ := strings.Cut(got, "SUMMARY:")
		line, _, _ := strings.Cut(after, "\r\n")
		require.Equal(t, want, line, "%q", text)
	}
}

func TestFolding(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{ // after "SUMMARY:", of 8 octets
		"up to the end":                 {strings.Repeat("a", 67), strings.Repeat("a", 67)},
		"one too many":                  {strings.Repeat("a", 68), strings.Repeat("a", 67) + "\r\n a"},
		"up to the second end":          {strings.Repeat("a", 67+74), strings.Repeat("a", 67) + "\r\n " + strings.Repeat("a", 74)},
		"into a third line":             {strings.Repeat("a", 67+75), strings.Repeat("a", 67) + "\r\n " + strings.Repeat("a", 74) + "\r\n a"},
		"two octets for one place":      {strings.Repeat("a", 66) + "à", strings.Repeat("a", 66) + "\r\n à"},
		"two octets for two places":     {strings.Repeat("a", 65) + "à", strings.Repeat("a", 65) + "à"},
		"three octets for two places":   {strings.Repeat("a", 65) + "€", strings.Repeat("a", 65) + "\r\n €"},
		"four octets for three places":  {strings.Repeat("a", 64) + "😀", strings.Repeat("a", 64) + "\r\n 😀"},
		"four octets for four places":   {strings.Repeat("a", 63) + "😀", strings.Repeat("a", 63) + "😀"},
		"an escape stays together":      {strings.Repeat("a", 66) + ",", strings.Repeat("a", 66) + "\r\n \\,"},
		"a blank at the fold stays":     {strings.Repeat("a", 67) + " b", strings.Repeat("a", 67) + "\r\n  b"},
		"a blank before the fold stays": {strings.Repeat("a", 66) + " b", strings.Repeat("a", 66) + " \r\n b"},
		"a tab at the fold stays":       {strings.Repeat("a", 67) + "\tb", strings.Repeat("a", 67) + "\r\n \tb"},
	} {
		got, err := write(calendar.Calendar{ProductID: product}, calendar.Event{UID: "1", Stamp: noon, Due: noon, Summary: c.text})
		require.NoError(t, err, name)
		require.Contains(t, got, "\r\nSUMMARY:"+c.want+"\r\nEND:VEVENT\r\n", name)
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	const s, m, h, d = time.Second, time.Minute, time.Hour, 24 * time.Hour
	for duration, want := range map[time.Duration]string{
		0:                     "-PT0S",
		s:                     "-PT1S",
		m:                     "-PT1M",
		m + s:                 "-PT1M1S",
		h:                     "-PT1H",
		h + s:                 "-PT1H0M1S",
		h + m:                 "-PT1H1M",
		23*h + 59*m + 59*s:    "-PT23H59M59S",
		d:                     "-P1D",
		d + s:                 "-P1DT1S",
		d + 15*h:              "-P1DT15H",
		30 * d:                "-P30D",
		math.MaxInt64 / s * s: "-P106751DT23H47M16S",
	} {
		got, err := write(calendar.Calendar{ProductID: product}, calendar.Event{UID: "1", Stamp: noon, Due: noon, Alarms: []time.Duration{duration}})
		require.NoError(t, err, duration)
		require.Contains(t, got, "\r\nTRIGGER:"+want+"\r\n", duration)
	}
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	const secret = "SEGRETO"
	year10000 := time.Date(9999, 12, 31, 23, 30, 0, 0, time.FixedZone("", -3600)) // in UTC
	for name, c := range map[string]struct {
		says   string
		change func(c *calendar.Calendar, e *calendar.Event)
	}{
		"no product":                {"ProductID", func(c *calendar.Calendar, _ *calendar.Event) { c.ProductID = "" }},
		"a method of another kind":  {"Method", func(c *calendar.Calendar, _ *calendar.Event) { c.Method = "REQUEST" + secret }},
		"a method in lower case":    {"Method", func(c *calendar.Calendar, _ *calendar.Event) { c.Method = "publish" }},
		"a method that ends a line": {"Method", func(c *calendar.Calendar, _ *calendar.Event) { c.Method = "PUBLISH\r\nX:1" }},
		"refresh below zero":        {"Refresh", func(c *calendar.Calendar, _ *calendar.Event) { c.Refresh = -time.Second }},
		"refresh in fractions":      {"Refresh", func(c *calendar.Calendar, _ *calendar.Event) { c.Refresh = time.Second + 1 }},
		"published by nobody":       {"Organizer", func(c *calendar.Calendar, _ *calendar.Event) { c.Method = calendar.Publish }},
		"cancel what is not": {"Cancelled", func(c *calendar.Calendar, e *calendar.Event) {
			c.Method, e.Organizer = calendar.Cancel, "mailto:a@b.example"
		}},
		"no UID":                     {"UID", func(_ *calendar.Calendar, e *calendar.Event) { e.UID = "" }},
		"a UID that ends a line":     {"UID", func(_ *calendar.Calendar, e *calendar.Event) { e.UID = secret + "\r\nEND:VEVENT" }},
		"a UID with a line end last": {"UID", func(_ *calendar.Calendar, e *calendar.Event) { e.UID = secret + "\n" }},
		"a UID with a blank":         {"UID", func(_ *calendar.Calendar, e *calendar.Event) { e.UID = "a b" }},
		"a UID to be escaped":        {"UID", func(_ *calendar.Calendar, e *calendar.Event) { e.UID = "a,b" }},
		"a UID that is not ASCII":    {"UID", func(_ *calendar.Calendar, e *calendar.Event) { e.UID = "à" }},
		"a long UID":                 {"UID", func(_ *calendar.Calendar, e *calendar.Event) { e.UID = strings.Repeat("a", 256) }},
		"a sequence below zero":      {"Sequence", func(_ *calendar.Calendar, e *calendar.Event) { e.Sequence = -1 }},
		"a sequence of 32 bits":      {"Sequence", func(_ *calendar.Calendar, e *calendar.Event) { e.Sequence = math.MaxInt32; e.Sequence++ }},
		"no stamp":                   {"Stamp", func(_ *calendar.Calendar, e *calendar.Event) { e.Stamp = time.Time{} }},
		"a stamp of five digits":     {"Stamp", func(_ *calendar.Calendar, e *calendar.Event) { e.Stamp = year10000 }},
		"no time":                    {"Due", func(_ *calendar.Calendar, e *calendar.Event) { e.Due = time.Time{} }},
		"the year 10000":             {"Due", func(_ *calendar.Calendar, e *calendar.Event) { e.Due = year10000 }},
		"the year 0":                 {"Due", func(_ *calendar.Calendar, e *calendar.Event) { e.Due = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC) }},
		"a day of the year 10000": {"Due", func(_ *calendar.Calendar, e *calendar.Event) {
			e.Due, e.WholeDay = time.Date(9999, 12, 31, 23, 30, 0, 0, time.UTC).In(rome), true
		}},
		"changed in the year 10000":     {"LastModified", func(_ *calendar.Calendar, e *calendar.Event) { e.LastModified = year10000 }},
		"a URL that ends a line":        {"URL", func(_ *calendar.Calendar, e *calendar.Event) { e.URL = "https://a.example/" + secret + "\r\nX:1" }},
		"a URL with a blank":            {"URL", func(_ *calendar.Calendar, e *calendar.Event) { e.URL = "https://a.example/a b" }},
		"a URL that is not ASCII":       {"URL", func(_ *calendar.Calendar, e *calendar.Event) { e.URL = "https://città.example" }},
		"a URL with a quote":            {"URL", func(_ *calendar.Calendar, e *calendar.Event) { e.URL = `https://a.example/"` }},
		"a URL that is a program":       {"URL", func(_ *calendar.Calendar, e *calendar.Event) { e.URL = "javascript:alert(1)" }},
		"a URL that is a file":          {"URL", func(_ *calendar.Calendar, e *calendar.Event) { e.URL = "file:///etc/passwd" }},
		"a URL without a scheme":        {"URL", func(_ *calendar.Calendar, e *calendar.Event) { e.URL = "//a.example/" }},
		"a URL without a host":          {"URL", func(_ *calendar.Calendar, e *calendar.Event) { e.URL = "https:///a" }},
		"a URL with a port alone":       {"URL", func(_ *calendar.Calendar, e *calendar.Event) { e.URL = "https://:443/" }},
		"a URL with a user":             {"URL", func(_ *calendar.Calendar, e *calendar.Event) { e.URL = "https://banca.example@evil.example/" }},
		"a URL with half an escape":     {"URL", func(_ *calendar.Calendar, e *calendar.Event) { e.URL = "https://a.example/%4" }},
		"an organizer's name":           {"Organizer", func(_ *calendar.Calendar, e *calendar.Event) { e.Organizer = "Ufficio tributi" }},
		"an organizer's address alone":  {"Organizer", func(_ *calendar.Calendar, e *calendar.Event) { e.Organizer = "a@b.example" }},
		"an organizer on the web":       {"Organizer", func(_ *calendar.Calendar, e *calendar.Event) { e.Organizer = "https://a.example" }},
		"an organizer of two":           {"Organizer", func(_ *calendar.Calendar, e *calendar.Event) { e.Organizer = "mailto:a@b.example,c@d.example" }},
		"an organizer with a subject":   {"Organizer", func(_ *calendar.Calendar, e *calendar.Event) { e.Organizer = "mailto:a@b.example?subject=" + secret }},
		"an organizer that ends a line": {"Organizer", func(_ *calendar.Calendar, e *calendar.Event) { e.Organizer = "mailto:a@b.example\r\nX:1" }},
		"an organizer without a domain": {"Organizer", func(_ *calendar.Calendar, e *calendar.Event) { e.Organizer = "mailto:a@" }},
		"an organizer without a name":   {"Organizer", func(_ *calendar.Calendar, e *calendar.Event) { e.Organizer = "mailto:@b.example" }},
		"an alarm afterwards":           {"Alarms", func(_ *calendar.Calendar, e *calendar.Event) { e.Alarms = []time.Duration{time.Hour, -time.Hour} }},
		"an alarm in fractions":         {"Alarms", func(_ *calendar.Calendar, e *calendar.Event) { e.Alarms = []time.Duration{time.Millisecond} }},
	} {
		cal := calendar.Calendar{ProductID: product}
		e := calendar.Event{UID: "1", Stamp: noon, Due: noon}
		require.NoError(t, e.Validate())
		c.change(&cal, &e)
		got, err := write(cal, e)
		require.ErrorIs(t, err, calendar.ErrInvalid, name)
		require.ErrorContains(t, err, "invalid: "+c.says+": ", name)
		require.NotContains(t, err.Error(), secret, name)
		require.Empty(t, got, "%s: so little is not given to the writer before all of it is known to be right", name)
	}
}

func TestLimitsAreAllowed(t *testing.T) {
	t.Parallel()
	c := calendar.Calendar{ProductID: product, Method: calendar.Cancel}
	e := calendar.Event{
		UID: strings.Repeat("a", 255), Sequence: math.MaxInt32, Stamp: time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC),
		Due: time.Date(9999, 12, 31, 23, 59, 59, 999, time.UTC), LastModified: noon, Cancelled: true,
		URL: "HTTP://[2001:db8::1]:8080/a%20b?c=d&e=(f)*!$'+,;:@~_-.[]#g", Organizer: "mailto:a%2Cb+c@d.example",
	}
	got, err := write(c, e)
	require.NoError(t, err)
	require.NoError(t, judge(got, c, e))
}

// What has been read of a feed has been written, but for some kilobytes.
func TestStream(t *testing.T) {
	t.Parallel()
	const events, atHand = 20_000, 8 << 10
	event := calendar.Event{UID: "1", Stamp: noon, Due: noon, Summary: "Mensa"}
	none, err := write(calendar.Calendar{ProductID: product})
	require.NoError(t, err)
	one, err := write(calendar.Calendar{ProductID: product}, event)
	require.NoError(t, err)
	size := len(one) - len(none)

	var b bytes.Buffer
	n, err := calendar.Calendar{ProductID: product, Events: func(yield func(calendar.Event, error) bool) {
		for i := range events {
			if b.Len() < i*size-atHand {
				t.Errorf("of %d events only %d bytes are written", i, b.Len())
				return
			}
			yield(event, nil)
		}
	}}.WriteTo(&b)
	require.NoError(t, err)
	require.Equal(t, int64(len(none)+events*size), n)
	require.Equal(t, int64(b.Len()), n)
}

// failing is a writer that takes so many bytes.
type failing struct{ room int }

var errFull = errors.New("full")

func (f *failing) Write(p []byte) (int, error) {
	n := min(len(p), f.room)
	f.room -= n
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

func TestAFailingWriterIsSeen(t *testing.T) {
	t.Parallel()
	event := calendar.Event{UID: "1", Stamp: noon, Due: noon, Summary: "Mensa"}
	whole, err := write(calendar.Calendar{ProductID: product}, event)
	require.NoError(t, err)
	for room := range len(whole) {
		n, err := calendar.Calendar{ProductID: product, Events: calendar.Of(event)}.WriteTo(&failing{room})
		require.ErrorIs(t, err, errFull)
		require.Equal(t, int64(room), n)
	}
	n, err := calendar.Calendar{ProductID: product, Events: calendar.Of(event)}.WriteTo(&failing{len(whole)})
	require.NoError(t, err)
	require.Equal(t, int64(len(whole)), n)

	asked := 0
	_, err = calendar.Calendar{ProductID: product, Events: func(yield func(calendar.Event, error) bool) {
		for asked = 0; yield(event, nil); asked++ {
			require.Less(t, asked, 1000, "it goes on although nothing is taken")
		}
	}}.WriteTo(&failing{10_000})
	require.ErrorIs(t, err, errFull)
	require.Greater(t, asked, 10)
}

func TestASequenceThatFails(t *testing.T) {
	t.Parallel()
	event := calendar.Event{UID: "1", Stamp: noon, Due: noon}
	for name, last := range map[string]struct {
		event calendar.Event
		err   error
		is    error
	}{
		"its own error":    {event, io.ErrUnexpectedEOF, io.ErrUnexpectedEOF},
		"an invalid event": {calendar.Event{}, nil, calendar.ErrInvalid},
	} {
		for _, before := range []int{0, 2, 500} {
			got, err := writeAll(calendar.Calendar{ProductID: product}, func(yield func(calendar.Event, error) bool) {
				for range before {
					require.True(t, yield(event, nil))
				}
				require.False(t, yield(last.event, last.err), "nothing more is asked for")
			})
			require.ErrorIs(t, err, last.is, name)
			require.ErrorContains(t, err, fmt.Sprintf("calendar: event %d: ", before), name)
			require.NotContains(t, got, "END:VCALENDAR", "%s: what was written is no whole calendar", name)
		}
	}
}

func BenchmarkWriteTo(b *testing.B) {
	e := calendar.Event{
		UID: "01HZY3V7K8QZ4M5N6P7R8S9T0V@io.example", Stamp: noon, Due: noon, Summary: "TARI 2026, prima rata",
		Description: strings.Repeat("La rata scade mercoledì.\n", 20), URL: "https://io.comune.example/m/01HZY3V7K8QZ4M5N6P7R8S9T0V",
		Alarms: []time.Duration{24 * time.Hour},
	}
	c := calendar.Calendar{ProductID: product, Events: func(yield func(calendar.Event, error) bool) {
		for range 1000 {
			if !yield(e, nil) {
				return
			}
		}
	}}
	b.ReportAllocs()
	for b.Loop() {
		n, err := c.WriteTo(io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(n)
	}
}

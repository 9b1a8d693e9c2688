package calendar_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/calendar"
)

const product = "-//Comune di Esempio//IO//IT"

var noon = time.Date(2026, 12, 16, 12, 0, 0, 0, time.UTC)

// hostile are texts that try to be more than a text, or that are awkward to fold.
var hostile = []string{
	"", " ", "\t", `\`, `\\`, `\n`, `\N`, `\,`, ";", ",", ",,", ":", `"`, `a;b:c,d\e"f`, "a\tb",
	"\r", "\n", "\r\n", "\n\r", "\r\r\n\n", "\v\f", "\u0085", "\u2028\u2029", "a\r b", "a\r\n b", "a\r\n\tb",
	"x\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nUID:evil\r\n", "x\rATTACH:https://evil.example\r", "x\nEND:VCALENDAR\n", "x\u2028ATTENDEE:mailto:a@b.example",
	"\x00", "\x07\x1b[31m", "\x7f", "\u0080\u009f", "\r\x00\n", "\ufeffBOM", "\ufffe\uffff", "\u202etxt", "\u200d",
	"\x80", "\xff\xfe", "\xc3", "\xc3(", "\xe2\x80", "\xe2\x80\r\n\xa8", "\xf0\x9f\x98", "\xed\xa0\x80", "\xc0\x8a", "\xf4\x90\x80\x80",
	strings.Repeat("a", 200), strings.Repeat("à", 200), strings.Repeat("€", 200), strings.Repeat("😀", 200), strings.Repeat(`\`, 200),
	strings.Repeat("\n", 200), strings.Repeat(" ", 200), strings.Repeat("\x00", 200), strings.Repeat("e\u0301", 200), strings.Repeat("👩‍👩‍👧", 40),
}

// calendarOf has the texts wherever there can be a text.
func calendarOf(a, b, c, d string) (calendar.Calendar, []calendar.Event) {
	return calendar.Calendar{ProductID: product + a, Name: b, Refresh: time.Hour}, []calendar.Event{
		{UID: "1@comune.example", Stamp: noon, Due: noon, Summary: a, Description: b, Categories: []string{c, d}, Alarms: []time.Duration{time.Hour}},
		{UID: "2@comune.example", Stamp: noon, Due: noon, WholeDay: true, Summary: c, Description: d, Categories: []string{a}},
	}
}

func TestAnyTextComesBackAndNothingElse(t *testing.T) {
	t.Parallel()
	for i, a := range hostile {
		for _, step := range []int{0, 1, 7} {
			b := hostile[(i+step)%len(hostile)]
			c, events := calendarOf(a, b, a+b, b+a)
			got, err := write(c, events...)
			require.NoError(t, err)
			require.NoError(t, judge(got, c, events...), "%q, %q", a, b)
		}
	}
}

// Each kind of character, wherever in the line it stands.
func TestFoldingAtEachPlace(t *testing.T) {
	t.Parallel()
	c := calendar.Calendar{ProductID: product}
	for _, piece := range []string{"a", ",", "\n", "à", "€", "😀", "\x00", " ", "\t", "aà€😀;"} {
		for n := range 75 {
			e := calendar.Event{UID: "1", Stamp: noon, Due: noon, Summary: strings.Repeat("x", n) + strings.Repeat(piece, 75)}
			got, err := write(c, e)
			require.NoError(t, err)
			require.NoError(t, judge(got, c, e), "%q after %d", piece, n)
		}
	}
}

// Bugs that were made in other writers, or that a hurried change could make. Each is what such a writer would have written.
func TestPlantedBugsAreSeen(t *testing.T) {
	t.Parallel()
	replace := func(old, new string) func(string) string {
		return func(s string) string { return strings.ReplaceAll(s, old, new) }
	}
	unfold := replace("\r\n ", "")
	refold := func(most int, whole bool) func(string) string {
		return func(s string) string {
			var b strings.Builder
			for l := range strings.Lines(unfold(s)) {
				l = strings.TrimSuffix(l, "\r\n")
				for room := most; len(l) > room; room = most - 1 {
					cut := room
					for whole && !utf8.RuneStart(l[cut]) {
						cut--
					}
					b.WriteString(l[:cut] + "\r\n ")
					l = l[cut:]
				}
				b.WriteString(l + "\r\n")
			}
			return b.String()
		}
	}
	unfolded := func(old, new string) func(string) string {
		return func(s string) string { return refold(75, true)(replace(old, new)(unfold(s))) }
	}
	c, events := calendarOf("a\\b;c,d\x00e\xff\nf", strings.Repeat("aà€😀", 30), strings.Repeat("x", 100), "d")
	c.ProductID, c.Method = product, calendar.Publish
	for i := range events {
		events[i].Organizer, events[i].URL = "mailto:tributi@comune.example", "https://comune.example/"+strings.Repeat("y", 100)
		events[i].LastModified, events[i].Sequence = noon, 1
	}
	right, err := write(c, events...)
	require.NoError(t, err)
	require.NoError(t, judge(right, c, events...))
	require.NoError(t, judge(refold(75, true)(right), c, events...), "folded by another hand it is as right")

	for name, bug := range map[string]func(string) string{
		"CR is not escaped":                          unfolded(`\n`, "\r"),
		"LF is not escaped":                          unfolded(`\n`, "\n"),
		"CRLF is not escaped":                        replace(`\n`, "\r\n"),
		"CRLF is not escaped, and what follows fits": replace(`\n`, "\r\nX-EVIL:"),
		"a text ends its event":                      replace(`\n`, "\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nX-EVIL:"),
		"NEL is not escaped":                         unfolded(`\n`, "\u0085"),
		"U+2028 is not escaped":                      unfolded(`\n`, "\u2028"),
		"a line break is lost":                       unfolded(`\n`, ""),
		"a line break is doubled":                    unfolded(`\n`, `\n\n`),
		"a backslash is not escaped":                 unfolded(`\\`, `\`),
		"a comma is not escaped":                     unfolded(`\,`, ","),
		"a semicolon is not escaped":                 unfolded(`\;`, ";"),
		"a colon is escaped":                         unfolded("https:", `https\:`),
		"a URL is escaped as text":                   unfolded("https://comune.example/", `https://comune.example\,/`),
		"controls pass":                              unfolded("\uFFFD", "\x00"),
		"what is no UTF-8 passes":                    unfolded("\uFFFD", "\xff"),
		"what is no UTF-8 is left out":               unfolded("\uFFFD", ""),
		"lines end in LF":                            replace("\r\n", "\n"),
		"the last line has no end":                   func(s string) string { return strings.TrimSuffix(s, "\r\n") },
		"folded in the midst of a character":         refold(75, false),
		"lines of 76 octets":                         refold(76, true),
		"folded with two blanks":                     replace("\r\n ", "\r\n  "),
		"not folded":                                 unfold,
		"folded without a blank":                     replace("\r\n ", "\r\n"),
		"folded where there is room":                 refold(40, true),
		"the alarm comes after":                      replace("TRIGGER:-", "TRIGGER:"),
		"the alarm has no text":                      replace("TRIGGER:-PT1H\r\nDESCRIPTION:", "TRIGGER:-PT1H\r\nX-DESCRIPTION:"),
		"a time without its zone":                    replace("T120000Z", "T120000"),
		"a day as a moment":                          replace(";VALUE=DATE:20261216", ":20261216T000000Z"),
		"a sequence is left out":                     replace("SEQUENCE:1\r\n", ""),
		"a status is left out":                       replace("STATUS:CONFIRMED\r\n", ""),
		"a property twice":                           replace("SEQUENCE:1\r\n", "SEQUENCE:1\r\nSEQUENCE:1\r\n"),
		"an event has no end":                        replace("END:VEVENT\r\n", ""),
		"an alarm stands beside its event":           replace("BEGIN:VALARM\r\n", "END:VEVENT\r\nBEGIN:VALARM\r\n"),
		"the calendar has no end":                    replace("END:VCALENDAR\r\n", ""),
		"something after the end":                    func(s string) string { return s + "X-EVIL:1\r\n" },
		"one event is forgotten": func(s string) string {
			return s[:strings.LastIndex(s, "BEGIN:VEVENT")] + "END:VCALENDAR\r\n"
		},
	} {
		wrong := bug(right)
		require.NotEqual(t, right, wrong, name)
		err := judge(wrong, c, events...)
		require.Error(t, err, name)
		t.Logf("%s: %v", name, err)
	}
}

func FuzzTexts(f *testing.F) {
	for i := range hostile {
		f.Add(hostile[i], hostile[(i+7)%len(hostile)], hostile[(i+13)%len(hostile)], hostile[(i+29)%len(hostile)])
	}
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		cal, events := calendarOf(a, b, c, d)
		got, err := write(cal, events...)
		if err != nil {
			t.Fatal(err)
		}
		if err := judge(got, cal, events...); err != nil {
			t.Fatal(err)
		}
	})
}

// What is not text is written as it is, or not at all.
func FuzzEvent(f *testing.F) {
	f.Add("1@comune.example", "https://comune.example/a;b,c?d=e#f", "mailto:tributi@comune.example", "PUBLISH", 1, int64(0), int64(0), 0, int64(time.Hour), byte(0))
	f.Add("01HZY3V7K8QZ4M5N6P7R8S9T0V", "http://[::1]:80/", "mailto:a%2Cb@c.example", "CANCEL", 0, int64(1<<40), int64(-1<<40), 3600, int64(25*time.Hour+time.Second), byte(255))
	f.Add("a\r\nb", "https://a@b/\r\nEND:VEVENT", "mailto:a@b?subject=x", "REQUEST", -1, int64(253402300799), int64(-62135596801), -86400, int64(time.Millisecond), byte(3))
	uid := regexp.MustCompile(`^[A-Za-z0-9@:/+=._~-]{1,255}$`)
	web := regexp.MustCompile(`^(?i:https?)://[^/?#@]+([/?#][!-~]*)?$`)
	mailto := regexp.MustCompile(`^mailto:[^@?#,;<>"\\]+@[^@?#,;<>"\\]+$`)
	f.Fuzz(func(t *testing.T, id, url, organizer, method string, sequence int, due, stamp int64, offset int, duration int64, flags byte) {
		if offset < -86400 || offset > 86400 {
			return
		}
		c := calendar.Calendar{ProductID: product, Method: calendar.Method(method), Refresh: time.Duration(duration)}
		e := calendar.Event{
			UID: id, Sequence: sequence, Stamp: time.Unix(stamp, 999), Due: time.Unix(due, 1).In(time.FixedZone("", offset)), WholeDay: flags&1 != 0,
			URL: url, Organizer: organizer, Cancelled: flags&2 != 0, Alarms: []time.Duration{time.Duration(duration), 0},
		}
		if flags&4 != 0 {
			e.LastModified = e.Due
		}
		got, err := write(c, e)
		if err != nil {
			if !errors.Is(err, calendar.ErrInvalid) {
				t.Fatal(err)
			}
			if e.Validate() == nil && (method == "" || method == "PUBLISH" && organizer != "") && duration >= 0 && duration%int64(time.Second) == 0 {
				t.Fatalf("it is valid, and then not: %v", err)
			}
			if len(id) > 20 && strings.Contains(err.Error(), id) {
				t.Fatalf("the error quotes: %v", err)
			}
			return
		}
		if !uid.MatchString(id) || url != "" && !web.MatchString(url) || organizer != "" && !mailto.MatchString(organizer) {
			t.Fatalf("taken: %q, %q, %q", id, url, organizer)
		}
		if err := judge(got, c, e); err != nil {
			t.Fatal(err)
		}
		if again, _ := write(c, e); again != got {
			t.Fatalf("%q, and again %q", got, again)
		}
	})
}

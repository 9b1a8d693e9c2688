package calendar

import (
	"bufio"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxOctets is how long a line may be, without its end (3.1).
const maxOctets = 75

// lines writes content lines (3.1). An error of the writer underneath stays with it, and all later calls return it.
type lines struct {
	w      *bufio.Writer
	octets int // in the line so far
}

// put adds to the line what must not be torn apart, at most 74 octets, and folds the line in front of it if it has no room.
func (l *lines) put(piece string) {
	if l.octets+len(piece) > maxOctets {
		l.w.WriteString("\r\n ")
		l.octets = 1
	}
	l.w.WriteString(piece)
	l.octets += len(piece)
}

// end ends the line.
func (l *lines) end() error {
	l.octets = 0
	_, err := l.w.WriteString("\r\n")
	return err
}

// property writes a property whose value needs no escapes and is ASCII. Its name may have parameters.
func (l *lines) property(name, value string) error {
	l.put(name)
	l.put(":")
	for i := range len(value) {
		l.put(value[i : i+1])
	}
	return l.end()
}

// text writes a property whose value is text, or a list of texts (3.3.11, 3.1.1).
func (l *lines) text(name string, values ...string) error {
	l.put(name)
	l.put(":")
	for i, s := range values {
		if i > 0 {
			l.put(",")
		}
		for s != "" {
			piece, n := escape(s)
			l.put(piece)
			s = s[n:]
		}
	}
	return l.end()
}

// escape returns what the first character of s, of n bytes, is written as.
func escape(s string) (piece string, n int) {
	r, n := utf8.DecodeRuneInString(s)
	switch r {
	case '\\':
		return `\\`, n
	case ';':
		return `\;`, n
	case ',':
		return `\,`, n
	case '\r':
		if len(s) > 1 && s[1] == '\n' {
			n = 2
		}
		return `\n`, n
	case '\n', '\v', '\f', 0x85, 0x2028, 0x2029: // the other ends of lines in Unicode: some programs split there
		return `\n`, n
	case utf8.RuneError: // of a byte that is not UTF-8, too
		return "\uFFFD", n
	}
	if r != '\t' && unicode.IsControl(r) {
		return "\uFFFD", n
	}
	return s[:n], n
}

// instant is the form of a time in UTC (3.3.5).
func instant(t time.Time) string { return t.UTC().Format("20060102T150405Z") }

// duration is the form of whole seconds that are not negative (3.3.6). Hours may be followed by minutes and these by seconds, so
// that 1 hour and 5 seconds are PT1H0M5S.
func duration(d time.Duration) string {
	const day = 24 * time.Hour
	text := "P"
	if d >= day {
		text += strconv.Itoa(int(d/day)) + "D"
	}
	h, m, s := int(d%day/time.Hour), int(d%time.Hour/time.Minute), int(d%time.Minute/time.Second)
	if h+m+s == 0 && d > 0 {
		return text
	}
	text += "T"
	if h > 0 {
		text += strconv.Itoa(h) + "H"
	}
	if m > 0 || h > 0 && s > 0 {
		text += strconv.Itoa(m) + "M"
	}
	if s > 0 || h+m == 0 {
		text += strconv.Itoa(s) + "S"
	}
	return text
}

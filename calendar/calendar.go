// Package calendar writes deadlines as iCalendar (RFC 5545): one as a file, or many as a feed that calendar programs subscribe to.
//
// It is useful without the engine, and reads no clock: the same input gives the same bytes. Numbers such as 3.3.11 are sections of
// RFC 5545.
//
// Texts may hold anything, as they come from whoever writes messages. What ends a line anywhere (CR, LF, CRLF, VT, FF, NEL, U+2028,
// U+2029) becomes the \n of the format; other control characters but the tab, which it forbids, and bytes that are not UTF-8 become
// U+FFFD. So no text can end its own line and begin a property or a component. What is not text (ids, addresses, times) is checked
// instead: see [Event.Validate].
//
// # Changes
//
// Programs know an event by its UID. What has changed is written again with the same UID, a greater Sequence and a later Stamp; what
// is settled, with Cancelled as well. Who subscribes to a feed has that at the next look; who took a file, with the next file.
package calendar

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// MediaType is what a calendar is served as (8.1). In a mail that carries one with a Method the name of that follows, as
// "; method=CANCEL" (RFC 6047, 2.4). Files end in ".ics".
const MediaType = "text/calendar; charset=utf-8"

// ErrInvalid is returned for what the format does not allow. No error of this package quotes a value.
var ErrInvalid = errors.New("calendar: invalid")

// A Method says what who receives a calendar is to do with it (3.7.2; RFC 5546). With none it is only looked at or kept: right for
// feeds and for files to download.
type Method string

const (
	Publish Method = "PUBLISH" // add the events, or replace older ones (RFC 5546, 3.2.1)
	Cancel  Method = "CANCEL"  // take them out (RFC 5546, 3.2.5)
)

// A Calendar is a stream of events and what is said of all of them (3.4, 3.6).
type Calendar struct {
	ProductID string // what wrote it, as "-//Comune di Esempio//IO//IT" (3.7.3); not empty
	Method    Method // empty: none

	Name    string        // shown for a feed (RFC 7986, 5.1); empty: none
	Refresh time.Duration // how often to look at a feed again, in whole seconds (RFC 7986, 5.7); 0: left to the program

	// Events are written as they come, and not kept: see [Of] for a few. An error ends the calendar. Nil and an empty sequence give a
	// calendar without events, which programs read, although the grammar of 3.6 asks for one at least.
	Events iter.Seq2[Event, error]
}

// Of is a sequence of these events.
func Of(events ...Event) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// WriteTo writes the calendar, and returns how many bytes w has taken. It holds one event at a time, and some kilobytes that w has
// not been given yet. After an error, be it w's, that of Events or [ErrInvalid], what w has is no whole calendar: its end is
// missing.
func (c Calendar) WriteTo(w io.Writer) (int64, error) {
	if err := c.validate(); err != nil {
		return 0, err
	}
	taken := &counter{w: w}
	l := &lines{w: bufio.NewWriter(taken)}
	err := c.write(l)
	if err == nil {
		err = l.w.Flush()
	}
	return taken.n, err
}

// write begins with the version, since old programs look there for it.
func (c Calendar) write(l *lines) error {
	l.property("BEGIN", "VCALENDAR")
	l.property("VERSION", "2.0") // 3.7.4
	l.text("PRODID", c.ProductID)
	if c.Method != "" {
		l.property("METHOD", string(c.Method))
	}
	if c.Name != "" {
		l.text("NAME", c.Name)
		l.text("X-WR-CALNAME", c.Name) // for programs that are older than RFC 7986
	}
	if c.Refresh > 0 {
		l.property("REFRESH-INTERVAL;VALUE=DURATION", duration(c.Refresh))
		l.property("X-PUBLISHED-TTL", duration(c.Refresh)) // the same, for Outlook
	}
	if c.Events != nil {
		n := 0
		for e, err := range c.Events {
			if err == nil {
				err = c.allows(e)
			}
			if err != nil {
				return fmt.Errorf("calendar: event %d: %w", n, err)
			}
			if err := e.write(l, c.Method); err != nil {
				return err
			}
			n++
		}
	}
	return l.property("END", "VCALENDAR")
}

// A counter counts what a writer has taken.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

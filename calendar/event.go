package calendar

import (
	"strconv"
	"time"
)

// An Event is a deadline (3.6.1): a moment or a day, which takes no time of whoever has it (TRANSP, 3.8.2.7).
type Event struct {
	// UID names the event for ever and everywhere (3.8.4.7): 1 to 255 letters, digits or any of -._~@:/+=. Others see it, so it
	// should say nothing of a person (RFC 7986, 5.3). No two events of a calendar have the same.
	UID      string
	Sequence int       // how often it has changed (3.8.7.4): 0 to 2147483647
	Stamp    time.Time // when it last changed; with a Method, when this calendar was made (DTSTAMP, 3.8.7.2)

	Due      time.Time // written in UTC, without fractions of a second (DTSTART, 3.8.2.4)
	WholeDay bool      // Due is a day: the one that it has in its own location, so bring it there first with In

	Summary      string    // 3.8.1.12
	Description  string    // 3.8.1.5; empty: none
	URL          string    // where there is more about it, http or https (3.8.4.6); empty: none
	Categories   []string  // 3.8.1.2
	LastModified time.Time // 3.8.7.3; zero: not said

	// Organizer is whom the event is from: "mailto:" and one address (3.8.4.3). It is written with a Method, which demands it
	// (RFC 5546, 3.2), and only so: a calendar of one's own has no organizers.
	Organizer string

	Cancelled bool // it has no alarms then (STATUS, 3.8.1.11)

	// Alarms are how long before Due to show the summary, in whole seconds (VALARM, 3.6.6): before midnight, if Due is a day.
	// 24 hours of it are written as a day, which may have 23 or 25 (3.3.6).
	Alarms []time.Duration
}

// write writes an event that is valid. Its error is that of the writer underneath.
func (e Event) write(l *lines, m Method) error {
	l.property("BEGIN", "VEVENT")
	l.property("UID", e.UID)
	l.property("DTSTAMP", instant(e.Stamp))
	if e.WholeDay {
		l.property("DTSTART;VALUE=DATE", e.Due.Format("20060102")) // 3.3.4
	} else {
		l.property("DTSTART", instant(e.Due))
	}
	l.property("SEQUENCE", strconv.Itoa(e.Sequence))
	l.property("STATUS", e.status())
	l.property("TRANSP", "TRANSPARENT")
	l.text("SUMMARY", e.Summary)
	if e.Description != "" {
		l.text("DESCRIPTION", e.Description)
	}
	if len(e.Categories) > 0 {
		l.text("CATEGORIES", e.Categories...)
	}
	if e.URL != "" {
		l.property("URL", e.URL)
	}
	if m != "" {
		l.property("ORGANIZER", e.Organizer)
	}
	if !e.LastModified.IsZero() {
		l.property("LAST-MODIFIED", instant(e.LastModified))
	}
	if !e.Cancelled {
		for _, before := range e.Alarms {
			l.property("BEGIN", "VALARM")
			l.property("ACTION", "DISPLAY")             // 3.8.6.1
			l.property("TRIGGER", "-"+duration(before)) // 3.8.6.3
			l.text("DESCRIPTION", e.Summary)
			l.property("END", "VALARM")
		}
	}
	return l.property("END", "VEVENT")
}

func (e Event) status() string {
	if e.Cancelled {
		return "CANCELLED"
	}
	return "CONFIRMED"
}

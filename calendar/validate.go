package calendar

import (
	"fmt"
	"math"
	"net/url"
	"strings"
	"time"
)

const (
	alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	uidBytes     = alphanumeric + "-._~@:/+="               // nothing that is escaped in text: not all programs undo that in an id
	uriBytes     = alphanumeric + "-._~:/?#[]@!$&'()*+,;=%" // RFC 3986, 2
	addressBytes = alphanumeric + "-._~!$'*+%"              // RFC 6068, 2
	maxUID       = 255                                      // RFC 7986, 5.3
)

func invalid(field, rule string) error { return fmt.Errorf("%w: %s: %s", ErrInvalid, field, rule) }

// only reports whether all bytes of s are among those.
func only(s, bytes string) bool { return strings.Trim(s, bytes) == "" }

func (c Calendar) validate() error {
	switch {
	case c.ProductID == "":
		return invalid("ProductID", "not empty")
	case c.Method != "" && c.Method != Publish && c.Method != Cancel:
		return invalid("Method", "PUBLISH, CANCEL or none")
	case !whole(c.Refresh):
		return invalid("Refresh", "whole seconds, not negative")
	}
	return nil
}

// allows says what is wrong with an event in this calendar.
func (c Calendar) allows(e Event) error {
	switch {
	case c.Method != "" && e.Organizer == "":
		return invalid("Organizer", "not empty where there is a Method")
	case c.Method == Cancel && !e.Cancelled:
		return invalid("Cancelled", "true where the Method is CANCEL")
	}
	return e.Validate()
}

// Validate reports what [Calendar.WriteTo] would, without what a Method demands. Texts are always valid.
func (e Event) Validate() error {
	switch {
	case len(e.UID) < 1 || len(e.UID) > maxUID || !only(e.UID, uidBytes):
		return invalid("UID", "1 to 255 letters, digits or any of -._~@:/+=")
	case e.Sequence < 0 || e.Sequence > math.MaxInt32:
		return invalid("Sequence", "0 to 2147483647")
	case !inYears(e.Stamp.UTC()):
		return invalid("Stamp", "a time in the years 1 to 9999")
	case !inYears(e.Due.UTC()) || !inYears(e.Due):
		return invalid("Due", "a time in the years 1 to 9999")
	case !e.LastModified.IsZero() && !inYears(e.LastModified.UTC()):
		return invalid("LastModified", "a time in the years 1 to 9999, or none")
	case e.URL != "" && !isWeb(e.URL):
		return invalid("URL", "http or https with a host and without a user, in ASCII")
	case e.Organizer != "" && !isMailto(e.Organizer):
		return invalid("Organizer", `"mailto:" and one address, in ASCII`)
	}
	for _, before := range e.Alarms {
		if !whole(before) {
			return invalid("Alarms", "whole seconds, not negative")
		}
	}
	return nil
}

func whole(d time.Duration) bool { return d >= 0 && d%time.Second == 0 }

// inYears reports whether the year of t can be written, and t is set.
func inYears(t time.Time) bool { return !t.IsZero() && t.Year() >= 1 && t.Year() <= 9999 }

// isWeb reports whether a browser can go there, and sees the host that a person sees.
func isWeb(s string) bool {
	u, err := url.Parse(s)
	return err == nil && only(s, uriBytes) && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil
}

// isMailto reports whether s is "mailto:" and one address, without a subject or other things (RFC 6068, 2).
func isMailto(s string) bool {
	address, mailto := strings.CutPrefix(s, "mailto:")
	local, domain, _ := strings.Cut(address, "@")
	return mailto && local != "" && domain != "" && only(local+domain, addressBytes)
}

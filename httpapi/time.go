package httpapi

import (
	"errors"
	"time"
)

// A Timestamp is a moment as IO has them: an ISO 8601 date and time with seconds, in UTC and with milliseconds where it is answered.
// What is read may have another offset, and is of UTC where it has none.
type Timestamp time.Time

var errTimestamp = errors.New("a date and time with seconds, as 2018-10-13T00:00:00.000Z")

// UnmarshalText reads a moment. A date alone is refused.
func (t *Timestamp) UnmarshalText(b []byte) error {
	const least = len("2006-01-02T15:04:05")
	if len(b) < least || len(b) > 40 || b[10] != 'T' || b[13] != ':' || b[16] != ':' {
		return errTimestamp
	}
	for _, layout := range []string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05"} {
		if at, err := time.Parse(layout, string(b)); err == nil && !at.IsZero() { // which would be no moment at all
			*t = Timestamp(at.UTC())
			return nil
		}
	}
	return errTimestamp
}

// MarshalText writes it in UTC.
func (t Timestamp) MarshalText() ([]byte, error) {
	return time.Time(t).UTC().AppendFormat(nil, "2006-01-02T15:04:05.000Z"), nil
}

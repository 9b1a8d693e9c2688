package appio

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/internal/rome"
)

// TestNextHour goes through the minutes of the days around the changes of the clock and compares with what the clock shows.
func TestNextHour(t *testing.T) {
	t.Parallel()
	zone := rome.Location()
	for _, day := range []time.Time{time.Date(2026, 3, 27, 0, 0, 0, 0, zone), time.Date(2026, 10, 23, 0, 0, 0, 0, zone), time.Date(2026, 12, 30, 0, 0, 0, 0, zone)} {
		for _, hour := range []int{1, 2, 3, 8, 23} {
			next := time.Time{}
			for at := day.Add(5 * 24 * time.Hour); !at.Before(day); at = at.Add(-10 * time.Minute) {
				if !next.IsZero() {
					require.True(t, next.Equal(nextHour(zone, hour, at)), "%d after %s: %s", hour, at, nextHour(zone, hour, at))
				}
				// The clock comes to the hour, or past it, for the first time on its day.
				y, m, d := at.In(zone).Date()
				midnight := time.Date(y, m, d, 0, 0, 0, 0, zone)
				comes := at.In(zone).Hour() >= hour
				for before := midnight; before.Before(at); before = before.Add(10 * time.Minute) {
					comes = comes && before.In(zone).Hour() < hour
				}
				if comes {
					next = at
				}
			}
		}
	}
}

package rome

import (
	"testing"
	"time"
	_ "time/tzdata" // what own is compared with, on systems that know no zones too

	"github.com/stretchr/testify/require"
)

func TestOwnDataAreThoseOfTheSystem(t *testing.T) {
	t.Parallel()
	system, err := time.LoadLocation("Europe/Rome")
	require.NoError(t, err)
	require.Equal(t, "Europe/Rome", own().String())
	require.Equal(t, "Europe/Rome", Location().String())
	const layout = time.RFC3339 + " MST"
	for at := time.Date(1970, 1, 1, 0, 30, 0, 0, time.UTC); at.Year() < 2100; at = at.Add(31 * time.Hour) {
		if want, got := at.In(system).Format(layout), at.In(own()).Format(layout); want != got {
			t.Fatalf("%s is %s, not %s", at.Format(layout), want, got)
		}
	}
}

func TestSummerTime(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]string{
		"2026-03-29T00:59:59Z": "01:59:59 CET", "2026-03-29T01:00:00Z": "03:00:00 CEST",
		"2026-10-25T00:59:59Z": "02:59:59 CEST", "2026-10-25T01:00:00Z": "02:00:00 CET",
	} {
		utc, err := time.Parse(time.RFC3339, at)
		require.NoError(t, err)
		require.Equal(t, want, utc.In(own()).Format("15:04:05 MST"))
	}
}

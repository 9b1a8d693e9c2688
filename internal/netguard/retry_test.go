package netguard

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 12, 16, 12, 0, 0, 500, time.UTC)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0": 0, "1": time.Second, "120": 2 * time.Minute, " 120 ": 2 * time.Minute, "00120": 2 * time.Minute, "86400": LongestPause,
		"86401": LongestPause, "4294967296": LongestPause, "99999999999999999999999999": LongestPause,
		"Wed, 16 Dec 2026 12:02:00 GMT": 2*time.Minute - 500, "Wednesday, 16-Dec-26 12:02:00 GMT": 2*time.Minute - 500, "Wed Dec 16 12:02:00 2026": 2*time.Minute - 500,
		"Wed, 16 Dec 2026 11:59:59 GMT": 0, "Thu, 01 Jan 1970 00:00:00 GMT": 0, "Fri, 31 Dec 9999 23:59:59 GMT": LongestPause,
		"": 0, "-1": 0, "+1": 0, "1.5": 0, "1e3": 0, "0x10": 0, "120 s": 0, "soon": 0, "120, 240": 0, "Wed, 16 Dec 2026 12:02:00": 0, "٣": 0,
	} {
		require.Equal(t, want, RetryAfter(text, noon), text)
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, text := range []string{"120", "86401", "Wed, 16 Dec 2026 12:02:00 GMT", "-1", "99999999999999999999999999", " 1 "} {
		f.Add(text, noon.Unix())
	}
	f.Fuzz(func(t *testing.T, text string, now int64) {
		pause := RetryAfter(text, time.Unix(now, 0))
		require.True(t, pause >= 0 && pause <= LongestPause, pause)
		if at, err := http.ParseTime(text); err == nil && pause > 0 && pause < LongestPause {
			require.True(t, time.Unix(now, 0).Add(pause).Equal(at))
		}
	})
}

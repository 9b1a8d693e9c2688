package netguard

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// LongestPause is the most of a Retry-After that counts: a wrong date must not stop who is told for good.
const LongestPause = 24 * time.Hour

// RetryAfter reads a header of that name, which has seconds or a date: from 0, also for what is neither, to [LongestPause].
func RetryAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if text != "" && strings.Trim(text, "0123456789") == "" {
		seconds, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return LongestPause // too many digits
		}
		return min(time.Duration(seconds)*time.Second, LongestPause)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), LongestPause)
}

package webhook

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/appio-go/appio"
)

// maxDrained is how much of a body is read so that the connection can be used again. What it says does not count.
const maxDrained = 4 << 10

// longestPause is the most of Retry-After that counts: a wrong date must not stop an endpoint for good.
const longestPause = 24 * time.Hour

// answer says what a status means. An endpoint that is an address of the citizen can be gone; one that all deliveries go to is put
// right by its operator while they wait.
func answer(resp *http.Response, now time.Time, address bool) error {
	status := resp.StatusCode
	if status >= 200 && status <= 299 {
		return nil
	}
	err := fmt.Errorf("webhook: the endpoint answered %d", status)
	switch {
	case status == http.StatusGone && address:
		return appio.Gone(err)
	case status == http.StatusRequestEntityTooLarge, status == http.StatusUnprocessableEntity:
		return appio.Permanent(err)
	case status == http.StatusTooManyRequests, status >= 500:
		if pause := retryAfter(resp.Header.Get("Retry-After"), now); pause > 0 {
			return appio.RetryAfter(pause, err)
		}
	}
	return err
}

// retryAfter reads the header of that name, which has seconds or a date: from 0, also for what is neither, to a day.
func retryAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if text != "" && strings.Trim(text, "0123456789") == "" {
		seconds, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return longestPause // too many digits
		}
		return min(time.Duration(seconds)*time.Second, longestPause)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), longestPause)
}

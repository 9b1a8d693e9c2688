package webhook

import (
	"fmt"
	"net/http"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/netguard"
)

// maxDrained is how much of a body is read so that the connection can be used again. What it says does not count.
const maxDrained = 4 << 10

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
		if pause := netguard.RetryAfter(resp.Header.Get("Retry-After"), now); pause > 0 {
			return appio.RetryAfter(pause, err)
		}
	}
	return err
}

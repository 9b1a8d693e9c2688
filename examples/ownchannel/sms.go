// Package ownchannel is a channel of the host's own: text messages, through the HTTP interface of a provider.
package ownchannel

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/appio-go/appio"
)

// SMS sends through one provider. It keeps no state, so it may be used concurrently.
type SMS struct {
	Client *http.Client
	URL    string
	Token  string
}

// Deliver tries once; the engine does the rest.
func (s *SMS) Deliver(ctx context.Context, d appio.Delivery) error {
	number := d.Address.Value
	if !strings.HasPrefix(number, "+") || strings.Trim(number[1:], "0123456789") != "" {
		return appio.Permanent(errors.New("sms: the address is not a number in international form"))
	}
	text := fmt.Sprintf("%s: c'è un messaggio per te", d.ServiceName)
	if d.Content == appio.Full {
		text = fmt.Sprintf("%s: %s", d.ServiceName, d.Subject)
	}
	form := url.Values{"to": {number}, "text": {text}, "ref": {string(d.ID)}} // ref: the provider drops what it has had
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+s.Token)
	resp, err := s.Client.Do(req)
	if err != nil {
		return err // it names the provider's URL, and nobody's number
	}
	defer resp.Body.Close()

	err = fmt.Errorf("sms: the provider answered %s", resp.Status)
	switch resp.StatusCode {
	case http.StatusOK, http.StatusAccepted:
		return nil
	case http.StatusGone: // the number is nobody's any more
		return appio.Gone(err)
	case http.StatusTooManyRequests:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return appio.RetryAfter(time.Duration(seconds)*time.Second, err)
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return appio.Permanent(err)
	}
	return err
}

// Route is how a platform offers it: off until it is chosen, only to a number that was proved to be the citizen's, and nothing of
// a secure service. The provider takes 50 a second.
func (s *SMS) Route() appio.Route { return appio.Route{Name: "sms", Channel: s, Rate: 50} }

// Choose switches text messages on for a citizen who has typed the code that was sent to the number. They say that there is a
// message, and no more.
func Choose(ctx context.Context, c *appio.Citizen, number string, proved time.Time) error {
	return c.UpdateProfile(ctx, func(p *appio.Profile) error {
		p.Addresses = append(p.Addresses, appio.Address{Channel: "sms", Value: number, ValidatedAt: proved})
		p.Channels["sms"] = appio.Generic
		return nil
	})
}

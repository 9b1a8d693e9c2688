package channeltest

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/conformance"
)

// A subject is the channel that is checked, and its far end.
type subject struct {
	appio.Channel
	got func() []appio.DeliveryID
}

// What the deliveries are about. Nobody has this code.
const (
	address = "maria.bianchi@example.org"
	code    = fiscalcode.Person("BNCMRA80A41H501F")
	title   = "Mensa scolastica: retta di ottobre"
	text    = "Gentile cittadina, la retta della mensa di ottobre è di 84,50 euro. "
	token   = "withdraw-4Zt1b0PpLqkW8d3"
)

// generic returns a delivery, with an id of its own, that says no more than that there is a message.
func generic() appio.Delivery {
	return appio.Delivery{
		ID: appio.DeliveryID(rand.Text()), Channel: "test", Attempt: 1, Content: appio.Generic, Language: "it", Withdraw: token,
		Address: appio.Address{ID: "a1", Channel: "test", Value: address, ValidatedAt: time.Date(2026, 1, 7, 9, 0, 0, 0, time.UTC)},
		Message: "01KEAF3V4N5W7Q0Z8X2C6B1M9D", Service: "mensa", ServiceName: "Mensa scolastica",
		OrganizationName: "Comune di Esempio",
		Due:              time.Date(2026, 11, 30, 22, 59, 59, 0, time.UTC), ExpiresAt: time.Now().Add(time.Hour),
	}
}

// full returns a delivery that shows the whole message.
func full() appio.Delivery {
	d := generic()
	d.Content, d.Subject, d.Markdown = appio.Full, title, strings.Repeat(text, 3)
	d.Payment = &appio.Notice{Number: "302032002700000251", Amount: 84_50, Payee: "01199250158"}
	return d
}

// byCode returns a delivery of a route with ByCode.
func byCode() appio.Delivery {
	d := full()
	d.Address, d.To = appio.Address{}, code
	return d
}

// many returns n deliveries, of which each second one is generic.
func many(n int) []appio.Delivery {
	ds := make([]appio.Delivery, n)
	for i := range ds {
		if ds[i] = full(); i%2 == 1 {
			ds[i] = generic()
		}
	}
	return ds
}

// deliver makes one call, and ends the check if it does not return an answer.
func (s *subject) deliver(t tester, ctx context.Context, what string, d appio.Delivery) error {
	t.Helper()
	problem, err := s.try(ctx, d)
	if problem != "" {
		t.Fatalf("%s: %s", what, problem)
	}
	return err
}

// deliverBatch makes one call of a BatchChannel, ends the check if it does not return an answer, and returns an error, or
// nil, for each delivery.
func (s *subject) deliverBatch(t tester, ctx context.Context, ds []appio.Delivery) []error {
	t.Helper()
	problem, errs := s.tryBatch(ctx, ds)
	if problem != "" {
		t.Fatalf("%s", problem)
	}
	return errs
}

// try makes one call, from any goroutine. A problem is why there is no answer.
func (s *subject) try(ctx context.Context, d appio.Delivery) (problem string, err error) {
	return conformance.Guard(ctx, "Deliver", func() error { return s.Deliver(ctx, d) })
}

// tryBatch is try for DeliverBatch.
func (s *subject) tryBatch(ctx context.Context, ds []appio.Delivery) (problem string, errs []error) {
	problem, errs = conformance.Guard(ctx, "DeliverBatch", func() []error { return s.Channel.(appio.BatchChannel).DeliverBatch(ctx, ds) })
	switch {
	case problem != "":
		return problem, nil
	case errs == nil:
		return "", make([]error, len(ds))
	case len(errs) != len(ds):
		return fmt.Sprintf("DeliverBatch of %d deliveries answered with %d errors; want nil, or an error or nil for each: "+
			"the engine takes any other number as a failure of all", len(ds), len(errs)), nil
	}
	return "", errs
}

// accepted delivers what the channel has no reason to refuse.
func (s *subject) accepted(t tester, what string, d appio.Delivery) {
	t.Helper()
	if err := s.deliver(t, t.Context(), what, d); err != nil {
		t.Errorf("Deliver of %s: error %q; want nil, for the engine makes such deliveries and the provider takes them", what, err)
		return
	}
	s.arrived(t, what, d)
}

// acceptedOrRefused delivers what the channel may refuse; then it says so.
func (s *subject) acceptedOrRefused(t tester, what string, d appio.Delivery) {
	t.Helper()
	if s.deliver(t, t.Context(), what, d) == nil {
		s.arrived(t, what, d)
	}
}

// arrived checks that deliveries that were answered with nil are with the provider.
func (s *subject) arrived(t tester, what string, ds ...appio.Delivery) {
	t.Helper()
	got := s.got()
	seen := make(map[appio.DeliveryID]bool, len(got))
	for _, id := range got {
		seen[id] = true
	}
	missing := 0
	for _, d := range ds {
		if !seen[d.ID] {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("after %s: %d of %d deliveries that were answered with nil are not with the provider, which got %d ids. nil means "+
			"that the provider has taken the message: it must not wait in the channel, and its ID must be passed on unchanged",
			what, missing, len(ds), len(got))
	}
}

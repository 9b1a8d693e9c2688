package channeltest

import (
	"context"
	"testing"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/conformance"
)

// Run checks a channel by all rules that can be seen from outside. open makes a new channel, with a provider that takes
// whatever it is sent, and a function that returns the ids of the deliveries that this provider has got so far, in any order;
// it must be safe to call while deliveries arrive. open is called once for each check, with the subtest that the check is:
// what is to be closed goes into its Cleanup.
//
// Deliveries have the e-mail address maria.bianchi@example.org and no fiscal code, but for some whose address is no e-mail
// address, which may be refused, and some as with Route.ByCode, which may be refused as well. See [Adapt].
func Run(t *testing.T, open func(t *testing.T) (appio.Channel, func() []appio.DeliveryID)) {
	for _, c := range checks() {
		t.Run(c.rule, func(t *testing.T) {
			ch, got := open(t)
			if _, batch := ch.(appio.BatchChannel); c.batch && !batch {
				t.Skip("the channel takes deliveries one by one")
			}
			c.run(t, &subject{Channel: ch, got: got})
		})
	}
}

// A check is a rule of the contract, and what finds out whether a channel keeps it.
type check struct {
	rule  string
	batch bool // for a BatchChannel only
	run   func(t tester, s *subject)
}

// checks returns what Run checks.
func checks() []check {
	var all []check
	for _, part := range [][]check{deliverChecks, contentChecks, errorChecks, endChecks, batchChecks} {
		all = append(all, part...)
	}
	return all
}

// A tester is what checks need of a *testing.T.
type tester = conformance.Tester

// Adapt returns a channel that changes each delivery before c gets it; it is a [appio.BatchChannel] if c is one. It makes the
// deliveries of [Run] fit a channel that reads addresses of its own kind, or that is meant for Route.ByCode:
//
//	channeltest.Adapt(sms, func(d *appio.Delivery) { d.Address.Value = "+390612345678" })
func Adapt(c appio.Channel, change func(d *appio.Delivery)) appio.Channel {
	a := &adapted{c, change}
	if b, ok := c.(appio.BatchChannel); ok {
		return &adaptedBatch{a, b}
	}
	return a
}

type adapted struct {
	appio.Channel
	change func(d *appio.Delivery)
}

func (a *adapted) Deliver(ctx context.Context, d appio.Delivery) error {
	a.change(&d)
	return a.Channel.Deliver(ctx, d)
}

type adaptedBatch struct {
	*adapted
	batch appio.BatchChannel
}

func (a *adaptedBatch) DeliverBatch(ctx context.Context, ds []appio.Delivery) []error {
	changed := make([]appio.Delivery, len(ds))
	for i, d := range ds {
		a.change(&d)
		changed[i] = d
	}
	return a.batch.DeliverBatch(ctx, changed)
}

package channeltest

import (
	"testing"
	"time"

	"github.com/appio-go/appio"
)

// A Provider is the far end of a channel, played by a test, that can be told to fail. Its functions must be safe to call while
// deliveries arrive. See [RunFaults].
type Provider struct {
	// Got returns the ids of the deliveries that it has taken so far, in any order.
	Got func() []appio.DeliveryID
	// Asked returns how often it was sent a delivery so far, taken or not.
	Asked func() int
	// Meet makes deliveries that arrive from now on meet with a fault: those with the ids given, or all if there is none. The others
	// are taken. It reports whether there is such a fault in the provider's protocol; where there is not, the check is skipped.
	Meet func(f Fault, only ...appio.DeliveryID) bool
}

// A Fault is what a provider does instead of taking a delivery. Where its protocol lets it say something, a provider quotes the address
// that it was given and the text, as many do, so that it shows whether the channel passes that on.
type Fault string

// The faults of providers.
const (
	Works       Fault = "works"               // none
	Hangs       Fault = "hangs"               // it says nothing until the channel goes away, nor then
	Breaks      Fault = "breaks off"          // it ends the connection in the middle of an answer
	Lost        Fault = "loses its answer"    // it takes the delivery and ends the connection before it has said so
	Garbage     Fault = "speaks another way"  // it answers what is not its protocol
	Endless     Fault = "does not stop"       // it refuses the delivery, in a text without end
	Busy        Fault = "is out of order"     // it says that it cannot now, and not until when
	Pauses      Fault = "asks for a pause"    // it says that it cannot now, nor before PauseOf has passed
	Credentials Fault = "rejects credentials" // those of the host
	Refuses     Fault = "refuses"             // this very delivery, in words that mean for good
	Gone        Fault = "knows no address"    // it says that the address does not exist any more
)

// PauseOf is the pause that a provider asks for with [Pauses].
const PauseOf = 2 * time.Minute

// RunFaults checks what a channel makes of a provider that fails: which errors are marked, by [appio.Permanent], [appio.RetryAfter] and
// [appio.Gone], and which are not; that nothing is tried twice in one call; that a provider which hangs, or breaks off, or talks nonsense
// holds up neither the call nor other deliveries. open makes a new channel and its provider, as for [Run], whose deliveries it uses.
func RunFaults(t *testing.T, open func(t *testing.T) (appio.Channel, *Provider)) {
	for _, c := range faultChecks {
		t.Run(c.rule, func(t *testing.T) {
			ch, p := open(t)
			if _, batch := ch.(appio.BatchChannel); c.batch && !batch {
				t.Skip("the channel takes deliveries one by one")
			}
			s := &faulty{subject{ch, p.Got}, p}
			if !c.run(t, s) {
				t.Skip("the provider's protocol has nothing like it")
			}
		})
	}
}

// A faultCheck is a rule, and what finds out whether a channel keeps it; false: the provider has not the fault that it takes.
type faultCheck struct {
	rule  string
	batch bool // for a BatchChannel only
	run   func(t tester, s *faulty) bool
}

// A faulty subject is one whose provider can fail.
type faulty struct {
	subject
	provider *Provider
}

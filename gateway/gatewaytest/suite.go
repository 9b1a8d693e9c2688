package gatewaytest

import (
	"testing"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/conformance"
)

// Run checks a gateway by all rules that can be seen from outside. open makes a new one, which asks the service that stands for
// creditors: most times a server of the test that calls creditors.Verify and creditors.Start, with a context that ends when the
// caller has gone, and passes on what they return. open is called once for each check, with the subtest that the check is: what
// is to be closed goes into its Cleanup.
//
// Debts are of the years 2026 and 2027, notices and creditors invented. A fault of the creditors may have any Detail; a gateway may
// leave it away, but not change it.
func Run(t *testing.T, open func(t *testing.T, creditors *Gateway) appio.PaymentGateway) {
	for _, c := range checks() {
		t.Run(c.rule, func(t *testing.T) {
			creditors := newCreditors()
			c.run(t, &subject{open(t, creditors), creditors})
		})
	}
}

// A check is a rule of the contract, and what finds out whether a gateway keeps it.
type check struct {
	rule string
	run  func(t tester, s *subject)
}

// checks returns what Run checks.
func checks() []check {
	var all []check
	for _, part := range [][]check{verifyChecks, faultChecks, startChecks, concurrentChecks, endChecks, errorChecks} {
		all = append(all, part...)
	}
	return all
}

// A tester is what checks need of a *testing.T.
type tester = conformance.Tester

// Package gatewaytest checks that an [appio.PaymentGateway] keeps its contract, and has one in memory ([Gateway]) for the tests of
// what uses gateways.
//
// A gateway's own test lets it ask a service that the test plays; behind that service stands a [Gateway] in memory, which the
// suite fills, changes and makes fail:
//
//	func TestGateway(t *testing.T) {
//		gatewaytest.Run(t, func(t *testing.T, creditors *gatewaytest.Gateway) appio.PaymentGateway {
//			server := httptest.NewServer(service{creditors}) // answers with what creditors.Verify and creditors.Start return
//			t.Cleanup(server.Close)
//			return mygateway.New(server.URL)
//		})
//	}
//
// Every check is a subtest named by the rule that it checks, and says what the gateway did instead. There are no exceptions to
// switch on.
package gatewaytest

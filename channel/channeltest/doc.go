// Package channeltest checks that an [appio.Channel] keeps the contract, which package channel tells. It also has a channel
// that records ([Recorder]) and one that misbehaves ([Faults]), for tests of what uses channels.
//
// A channel's own test opens the channel against a provider that the test plays, and says which deliveries that provider got:
//
//	func TestSMS(t *testing.T) {
//		channeltest.Run(t, func(t *testing.T) (appio.Channel, func() []appio.DeliveryID) {
//			p := newProvider(t) // a httptest.Server that keeps the references it is sent
//			return &SMS{Client: p.Client(), URL: p.URL}, p.References
//		})
//	}
//
// A provider that can be told to fail shows what the channel makes of that; [RunFaults] checks it.
//
// Every check is a subtest named by the rule that it checks, and says what the channel did instead. There are no exceptions
// to switch on. A channel that reads another kind of address than e-mail addresses is opened through [Adapt].
package channeltest

// Package appiotest is for the tests of programs that embed appio: an engine in memory, a clock that stands still, and a
// record of what went out.
//
//	k := appiotest.New(t, nil)
//	tax := k.Service("tari")
//	k.Person(appiotest.Mario, appio.Auto)
//	res, err := tax.Send(ctx, appiotest.Message(appiotest.Mario))
//	k.Advance(time.Hour)
//	k.Push.Deliveries() // one, that shows no text
//
// Nothing runs in the background: [Kit.Advance] and [appio.Engine.Flush] deliver. A test that wants [appio.Engine.Run] starts
// it, best within testing/synctest, where its pauses take no time. A Kit is made and used inside one bubble.
package appiotest

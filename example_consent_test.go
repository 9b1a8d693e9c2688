package appio_test

import (
	"context"
	"fmt"

	"github.com/appio-go/appio"
)

// Nobody is written to before they have chosen a mode. Auto lets services write unless they are refused, Manual only those
// that are chosen. A change of mode starts afresh.
func ExampleCitizen_SetMode() {
	ctx := context.Background()
	eng := platform()
	defer eng.Close()
	mensa, citizen := eng.Sender("mensa"), eng.Citizen(appio.Identity{Code: mario})

	for _, m := range []appio.Mode{appio.Undecided, appio.Manual, appio.Auto} {
		if m != appio.Undecided {
			check(citizen.SetMode(ctx, m))
		}
		res, err := mensa.Send(ctx, fee(mario))
		check(err)
		fmt.Printf("%q: %s\n", m, res.Status)
	}
	// Output:
	// "": REJECTED
	// "MANUAL": REJECTED
	// "AUTO": PROCESSED
}

// A preference is what one service may do, whatever the mode. The sender learns no more than Rejected.
func ExampleCitizen_SetPreference() {
	ctx := context.Background()
	eng := platform()
	defer eng.Close()
	mensa, citizen := eng.Sender("mensa"), enrol(eng, mario, "mario@example.org")

	for _, p := range []appio.Preference{
		{Inbox: true, Channels: appio.On(appio.Email)},
		{Inbox: true}, // no e-mail
		{},            // refused
	} {
		check(citizen.SetPreference(ctx, "mensa", p))
		res, err := mensa.Send(ctx, fee(mario))
		check(err)
		fmt.Println(res.Status)
		_, err = eng.Flush(ctx)
		check(err)
	}
	// Output:
	// PROCESSED
	// e-mail to mario@example.org
	// PROCESSED
	// REJECTED
}

// When a choice that takes something away has returned, it holds: also for what was accepted before and has not gone out.
func ExampleCitizen_SetPreference_revocation() {
	ctx := context.Background()
	eng := platform()
	defer eng.Close()
	citizen := enrol(eng, mario, "mario@example.org")
	res, err := eng.Sender("mensa").Send(ctx, fee(mario))
	check(err)

	check(citizen.SetPreference(ctx, "mensa", appio.Preference{Inbox: true}))
	tried, err := eng.Flush(ctx)
	check(err)

	record, err := citizen.Explain(ctx, res.ID)
	check(err)
	for _, o := range record.Outcomes {
		fmt.Println(tried, "tried,", o.Channel, o.Result, "by", o.Cause)
	}
	// Output:
	// 0 tried, email void by channel-refused
}

// A channel puts the token of a delivery behind the link "no more e-mails of this service". Who has the message can use it,
// without a login.
func ExampleEngine_Withdraw() {
	ctx := context.Background()
	var link string
	eng := platformWith(appio.ChannelFunc(func(ctx context.Context, d appio.Delivery) error {
		link = d.Withdraw
		return nil
	}))
	defer eng.Close()
	citizen := enrol(eng, mario, "mario@example.org")
	_, err := eng.Sender("mensa").Send(ctx, fee(mario))
	check(err)
	_, err = eng.Flush(ctx)
	check(err)

	check(eng.Withdraw(ctx, link))
	p, err := citizen.Preference(ctx, "mensa")
	check(err)
	fmt.Println("inbox:", p.Inbox, "e-mail:", p.Channels[appio.Email])
	// Output:
	// inbox: true e-mail: none
}

// Each decision is stored with all that it was made from, and no code, address or text: it can be made again at any time, and so
// can what would have followed from other facts.
func ExampleDecide_replay() {
	ctx := context.Background()
	eng := platform()
	defer eng.Close()
	enrol(eng, mario, "mario@example.org")
	res, err := eng.Sender("mensa").Send(ctx, fee(mario))
	check(err)

	record, err := eng.Explain(ctx, mario, res.ID)
	check(err)
	fmt.Println(record.Decision.Status, record.Decision.Rule, record.Decision.Content(appio.Email))
	fmt.Println("replayed, it is the same:", appio.Decide(record.Facts).Equal(record.Decision))

	facts := record.Facts
	facts.Secure = true
	d := appio.Decide(facts)
	fmt.Println(d.Status, d.Content(appio.Email), d.Channels[0].Rule)
	// Output:
	// PROCESSED mode-auto full
	// replayed, it is the same: true
	// PROCESSED none secure-channels
}

// The history of what a citizen chose is a chain: no link can be changed or left out without a trace.
func ExampleCitizen_Consents() {
	ctx := context.Background()
	eng := platform()
	defer eng.Close()
	citizen := eng.Citizen(appio.Identity{Code: mario, Level: appio.L2, Provider: "cie", Text: "privacy-2026-1"})
	check(citizen.SetMode(ctx, appio.Auto))
	check(citizen.SetPreference(ctx, "mensa", appio.Preference{}))

	for c, err := range citizen.Consents().All(ctx) {
		check(err)
		fmt.Println(c.Number, c.What, c.Service, c.Before.Inbox, "->", c.After.Inbox, "by", c.By, c.Provider, c.Text)
	}
	// Output:
	// 2 preference mensa true -> false by citizen cie privacy-2026-1
	// 1 profile  false -> true by citizen cie privacy-2026-1
}

// When Erase returns nothing about the citizen can be read any more, and nothing is sent. What stays is the proof that earlier
// messages were lawful, which names nobody.
func ExampleCitizen_Erase() {
	ctx := context.Background()
	eng := platform()
	defer eng.Close()
	citizen := enrol(eng, mario, "mario@example.org")
	res, err := eng.Sender("mensa").Send(ctx, fee(mario))
	check(err)

	check(citizen.Erase(ctx))
	tried, err := eng.Flush(ctx) // the records go, in pages
	check(err)
	fmt.Println("tried:", tried)

	_, err = citizen.Message(ctx, res.ID)
	fmt.Println("message:", err)
	p, err := citizen.Profile(ctx)
	check(err)
	fmt.Println("addresses:", len(p.Addresses))
	record, err := eng.Explain(ctx, mario, res.ID)
	check(err)
	fmt.Println("proof:", record.Decision.Status, record.Decision.Rule)
	// Output:
	// tried: 0
	// message: appio: not found
	// addresses: 0
	// proof: PROCESSED mode-auto
}

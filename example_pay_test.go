package appio_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/gateway/gatewaytest"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store/memstore"
)

// A citizen pays a notice that a message came with. The host's gateway asks the creditor, and says where the payment goes on; that it was
// paid is heard of later, by Settle.
func ExampleCitizen_Pay() {
	ctx := context.Background()
	creditors := &gatewaytest.Gateway{} // in memory; a host has one of its own
	eng, err := appio.New(memstore.New(), &appio.Options{Keys: appio.RandomKeys(), Payments: creditors})
	check(err)
	defer eng.Close()
	check(eng.PutService(ctx, appio.Service{
		ID: "mensa", Name: "Mensa scolastica", Organization: "01199250158", State: appio.Live, MaxPayment: 500_00,
	}))
	citizen := enrol(eng, mario, "mario@example.it")
	m := fee(mario)
	m.Payment = &appio.Notice{Number: "302032002700000251", Amount: 84_50}
	_, err = eng.Sender("mensa").Send(ctx, m)
	check(err)

	bills, err := citizen.Bills(ctx)
	check(err)
	bill := bills[0]
	fmt.Println(bill.State, bill.Amount)
	creditors.Put(appio.Debt{RPTID: bill.RPTID, Amount: 86_00}) // what is to be paid today, only the creditor can tell
	checkout, err := citizen.Pay(ctx, bill.RPTID)
	fmt.Println(checkout.URL != "", err)

	paid := appio.PaymentEvent{ID: "payment-7", RPTID: bill.RPTID, State: appio.Paid, At: time.Now()}
	check(eng.Settle(ctx, paid))
	_, err = eng.Flush(ctx) // brings the news to the citizen, as Run does
	check(err)
	for r, err := range citizen.Payments().All(ctx) {
		check(err)
		fmt.Println("paid:", r.Amount)
	}
	_, err = citizen.Pay(ctx, bill.RPTID)
	var fault *pagopa.Fault
	fmt.Println(errors.As(err, &fault), err)
	// Output:
	// unpaid 84.50
	// true <nil>
	// paid: 86.00
	// true pagopa: PAYMENT_DUPLICATED
}

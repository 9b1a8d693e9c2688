package gatewaytest_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/gateway/gatewaytest"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store/memstore"
)

// A citizen pays what a message asks for, by what the creditor says now, and the news comes back.
func ExampleGateway() {
	ctx := context.Background()
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	creditors := &gatewaytest.Gateway{}
	eng, err := appio.New(memstore.New(), &appio.Options{Keys: appio.RandomKeys(), Payments: creditors})
	check(err)
	defer eng.Close()
	creditors.OnEvent = func(ev appio.PaymentEvent) { check(eng.Settle(ctx, ev)) }

	check(eng.PutService(ctx, appio.Service{
		ID: "tari", Name: "Tassa rifiuti", Organization: "01199250158", State: appio.Live, MaxPayment: 500_00,
	}))
	mario := eng.Citizen(appio.Identity{Code: "RSSMRA85M10H501S", Level: appio.L2, Provider: "cie"})
	check(mario.SetMode(ctx, appio.Auto))
	_, err = eng.Sender("tari").Send(ctx, appio.Message{
		To: "RSSMRA85M10H501S", Subject: "TARI 2026, prima rata", Markdown: strings.Repeat("Gentile cittadino, la prima rata è da pagare. ", 2),
		Payment: &appio.Notice{Number: "302032002700000251", Amount: 150_00},
	})
	check(err)

	id := pagopa.RPTID{Creditor: "01199250158", Notice: "302032002700000251"}
	creditors.Put(appio.Debt{RPTID: id, Amount: 153_20, Payee: "Comune di Esempio"}) // there is interest on it meanwhile
	checkout, err := mario.Pay(ctx, id)
	fmt.Println(strings.HasPrefix(checkout.URL, "https://"), err)

	creditors.Pay(id) // at that address, or at a bank: the creditor does not mind
	_, err = eng.Flush(ctx)
	check(err)
	bill, err := mario.Bill(ctx, id)
	fmt.Println(bill.Payee, bill.Amount, bill.State, err)
	// Output:
	// true <nil>
	// Comune di Esempio 153.20 paid <nil>
}

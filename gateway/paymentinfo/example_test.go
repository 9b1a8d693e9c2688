package paymentinfo_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/gateway/gatewaytest"
	"github.com/appio-go/appio/gateway/paymentinfo"
	"github.com/appio-go/appio/pagopa"
)

// A notice is looked up at a payment-info service; where it is paid, the host says.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/payment-requests/01199250158302032002700000251" {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"faultCodeCategory": "PAYMENT_UNKNOWN", "faultCodeDetail": "PAA_PAGAMENTO_SCONOSCIUTO"}`)
			return
		}
		_, _ = io.WriteString(w, `{"amount": 15000, "paName": "Comune di Esempio", "description": "TARI 2026", "dueDate": "2026-11-30"}`)
	}))
	defer server.Close()
	ctx := context.Background()

	gateway, err := paymentinfo.New(server.URL+"/payment-requests", &paymentinfo.Options{
		Header: func(context.Context) (http.Header, error) {
			return http.Header{"Authorization": {"Bearer token"}}, nil
		},
		Start: func(_ context.Context, _ appio.Debt, key string) (appio.Checkout, error) {
			return appio.Checkout{URL: "https://checkout.example.org/" + key}, nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	d, err := gateway.Verify(ctx, pagopa.RPTID{Creditor: "01199250158", Notice: "302032002700000251"})
	fmt.Println(d.Payee, d.Description, d.Amount, d.Due.Format("2006-01-02"), err)
	c, err := gateway.Start(ctx, d, "01KEAF3V4N5W7Q0Z8X2C6B1M9D")
	fmt.Println(c.URL, err)

	_, err = gateway.Verify(ctx, pagopa.RPTID{Creditor: "01199250158", Notice: "302032002700000252"})
	var fault *pagopa.Fault
	fmt.Println(errors.As(err, &fault), err)
	// Output:
	// Comune di Esempio TARI 2026 150.00 2026-11-30 <nil>
	// https://checkout.example.org/01KEAF3V4N5W7Q0Z8X2C6B1M9D <nil>
	// true pagopa: PAYMENT_UNKNOWN (PAA_PAGAMENTO_SCONOSCIUTO)
}

// A service of one's own says where payments go on; here creditors in memory stand behind it.
func ExampleOptions_checkout() {
	creditors := &gatewaytest.Gateway{}
	d := appio.Debt{RPTID: pagopa.RPTID{Creditor: "01199250158", Notice: "302032002700000251"}, Amount: 150_00}
	creditors.Put(d)
	server := httptest.NewServer(service{creditors})
	defer server.Close()
	ctx := context.Background()

	gateway, err := paymentinfo.New(server.URL+"/payment-requests", &paymentinfo.Options{CheckoutURL: server.URL + "/checkout"})
	if err != nil {
		fmt.Println(err)
		return
	}
	first, err := gateway.Start(ctx, d, "k-1")
	fmt.Println(first.URL != "", err)
	again, err := gateway.Start(ctx, d, "k-1")
	fmt.Println(again.URL == first.URL, err)
	creditors.Pay(d.RPTID)
	_, err = gateway.Start(ctx, d, "k-2")
	fmt.Println(err)
	// Output:
	// true <nil>
	// true <nil>
	// pagopa: PAYMENT_DUPLICATED (PAA_PAGAMENTO_DUPLICATO)
}

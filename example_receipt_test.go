package appio_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/pagopa"
)

var paidReceipt = appio.Receipt{
	RPTID:  pagopa.RPTID{Creditor: "01199250158", Notice: "302032002700000251"},
	Amount: 1150_00, Payee: "Comune di Esempio", Description: "TARI 2026, prima rata",
	PaidAt: time.Date(2026, 4, 30, 21, 59, 0, 0, time.UTC), Event: "b4d7c1",
}

// A receipt for programs.
func ExampleReceipt_MarshalJSON() {
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	check(out.Encode(paidReceipt))
	// Output:
	// {
	//   "creditor_fiscal_code": "01199250158",
	//   "notice_number": "302032002700000251",
	//   "iuv": "02032002700000251",
	//   "amount": 115000,
	//   "payee": "Comune di Esempio",
	//   "description": "TARI 2026, prima rata",
	//   "paid_at": "2026-04-30T21:59:00Z",
	//   "event": "b4d7c1"
	// }
}

// A receipt to print. Amounts and times are as the language writes them, in Italian time.
func ExampleReceipt_WriteHTML() {
	var page strings.Builder
	check(paidReceipt.WriteHTML(&page, "it"))
	for line := range strings.Lines(page.String()) {
		if strings.Contains(line, "Importo") || strings.Contains(line, "Pagato il") {
			fmt.Print(strings.ReplaceAll(line, "\u00a0", " ")) // which keeps amount and sign together
		}
	}
	// Output:
	// <tr><th scope="row">Importo</th><td><bdi>1.150,00 €</bdi></td></tr>
	// <tr><th scope="row">Pagato il</th><td><time datetime="2026-04-30T23:59:00&#43;02:00">30 aprile 2026, ore 23:59 (ora italiana)</time></td></tr>
}

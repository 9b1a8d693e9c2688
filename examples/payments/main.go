// Payments follows two notices, one that comes with a message and one on paper, from the first look to the receipt; of a third, which is
// not paid, the citizen is reminded.
//
//	payments
//
// What stands for pagoPA is an HTTP server on this machine, and nothing else is asked.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/gateway/paymentinfo"
	"github.com/appio-go/appio/pagopa"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := payments(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "payments:", err)
		os.Exit(1)
	}
}

const (
	town  fiscalcode.Organization = "01199250158"
	mario fiscalcode.Person       = "RSSMRA85M10H501S"
	paper                         = "PAGOPA|002|301202400000000164|01199250158|4250" // what the QR code of a notice on paper says
)

var (
	tari   = pagopa.RPTID{Creditor: town, Notice: "302032002700000251"}
	second = pagopa.RPTID{Creditor: town, Notice: "300715700000000032"}
)

func payments(ctx context.Context, out io.Writer) (err error) {
	// pagoPA: what is owed, and where it is paid.
	node := newNode(
		debt{RPTID: tari.String(), Amount: 150_00, Payee: "Comune di Esempio", Description: "TARI 2026, prima rata"},
		debt{RPTID: second.String(), Amount: 150_00, Payee: "Comune di Esempio", Description: "TARI 2026, seconda rata"},
		debt{RPTID: "01199250158301202400000000164", Amount: 42_50, Payee: "Comune di Esempio", Description: "Sanzione per sosta vietata"},
	)
	address, stop, err := serve(node.routes())
	if err != nil {
		return err
	}
	defer stop()

	// The engine, which asks pagoPA through a gateway.
	gateway, err := paymentinfo.New(address+"/payment-requests", &paymentinfo.Options{CheckoutURL: address + "/checkout"})
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "payments-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var later atomic.Int64 // nanoseconds by which the clock is put forward, to see reminders
	subjects := map[appio.MessageID]string{}
	push := appio.ChannelFunc(func(_ context.Context, d appio.Delivery) error {
		if d.Reminder != "" {
			fmt.Fprintf(out, "a reminder, %s: %s\n", d.Reminder, subjects[d.Message])
		}
		return nil
	})
	eng, err := appio.Open(filepath.Join(dir, "payments.db"), &appio.Options{
		Payments: gateway, Reminders: &appio.ReminderSchedule{}, Now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) },
		Channels: []appio.Route{{Name: appio.Push, Channel: push, Default: appio.Generic, Unvalidated: true, Reminders: true, Interrupts: true}},
	})
	if err != nil {
		return err
	}
	defer func() {
		if e := eng.Close(); err == nil {
			err = e
		}
	}()

	// What is paid is told to a handler of the host, which hands it to the engine. Where Settle fails the handler does, and it is told
	// again: the same event twice is one.
	hook, stop, err := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ev appio.PaymentEvent
		if err := readEvent(r.Body, &ev); err != nil {
			w.WriteHeader(http.StatusBadRequest)
		} else if err := eng.Settle(r.Context(), ev); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	if err != nil {
		return err
	}
	defer stop()
	node.tell = hook

	// A service and a citizen.
	if err := eng.PutOrganization(ctx, appio.Organization{Code: town, Name: "Comune di Esempio"}); err != nil {
		return err
	}
	if err := eng.PutService(ctx, appio.Service{
		ID: "tari", Name: "Tassa rifiuti", Organization: town, State: appio.Live, MaxPayment: 500_00,
	}); err != nil {
		return err
	}
	citizen := eng.Citizen(appio.Identity{Code: mario, Level: appio.L2, Provider: "cie"})
	if err := citizen.SetMode(ctx, appio.Auto); err != nil {
		return err
	}

	if err := citizen.UpdateProfile(ctx, func(p *appio.Profile) error {
		p.Addresses = []appio.Address{{Channel: appio.Push, Value: "this phone"}}
		p.Reminders.Unpaid = true
		return nil
	}); err != nil {
		return err
	}

	// pay is what a citizen does in an app and a browser, until the engine has heard of it.
	pay := func(id pagopa.RPTID) error {
		checkout, err := citizen.Pay(ctx, id)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, "to pay at", checkout.URL)
		if err := node.pay(ctx, checkout.URL); err != nil {
			return err
		}
		_, err = eng.Flush(ctx) // a program that stays has eng.Run(ctx) beside its own work
		return err
	}

	// Two notices come with messages. The first is opened, and paid.
	yearsEnd := time.Date(time.Now().Year()+1, 12, 31, 22, 59, 59, 0, time.UTC) // the end of the day in Italy
	for subject, id := range map[string]pagopa.RPTID{"TARI 2026, prima rata": tari, "TARI 2026, seconda rata": second} {
		res, err := eng.Sender("tari").Send(ctx, appio.Message{
			To: mario, Subject: subject, Markdown: strings.Repeat("Puoi pagare entro fine anno. ", 4), Due: yearsEnd,
			Payment: &appio.Notice{Number: id.Notice, Amount: 150_00},
		})
		if err != nil {
			return err
		}
		subjects[res.ID] = subject
	}
	bill, err := citizen.Bill(ctx, tari)
	if err != nil {
		return err
	}
	message := bill.Messages[0]
	if err := citizen.MarkRead(ctx, message); err != nil {
		return err
	}
	show := func() error {
		m, err := citizen.Message(ctx, message)
		if err == nil {
			_, err = fmt.Fprintf(out, "%s: %s euros, %s\n", m.Subject, m.Payment.Amount, m.PaymentState)
		}
		return err
	}
	if err := show(); err != nil {
		return err
	}
	if err := pay(tari); err != nil {
		return err
	}
	if err := show(); err != nil {
		return err
	}

	// A notice on paper is scanned, and paid.
	scanned, err := citizen.ScanNotice(ctx, paper)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %s euros, from paper\n", scanned.Description, scanned.Amount)
	if err := pay(scanned.RPTID); err != nil {
		return err
	}

	// What is left of it: the receipts, which WriteHTML prints as pages, and the deadline, which is met.
	lines := json.NewEncoder(out)
	lines.SetIndent("", "  ")
	for receipt, err := range citizen.Payments().All(ctx) {
		if err == nil {
			err = lines.Encode(receipt)
		}
		if err != nil {
			return err
		}
	}
	if err := citizen.Calendar(ctx, message, out, nil); err != nil {
		return err
	}

	// The day before, at noon: a reminder of each notice was due, and only the one that is not paid is sent.
	later.Store(int64(time.Until(yearsEnd.Add(-35 * time.Hour))))
	_, err = eng.Flush(ctx)
	return err
}

package appio

import (
	"context"
	"time"
	"unicode/utf8"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
)

// A Notice is something to pay: a pagoPA notice (avviso di pagamento) that comes with a message.
type Notice struct {
	Number          pagopa.NoticeNumber
	Amount          pagopa.Amount           // 1 to 9,999,999,999 euro cents, and no more than the service's MaxPayment
	Payee           fiscalcode.Organization // empty: the sender's organization
	InvalidAfterDue bool                    // it cannot be paid after Message.Due
}

// maxAmount is the most that a notice may ask for, as in the real system.
const maxAmount pagopa.Amount = 9_999_999_999

func (n *Notice) validate() error {
	if _, err := pagopa.ParseNoticeNumber(string(n.Number)); err != nil {
		return invalid("Payment.Number", "18 digits, the first of them 0 to 3")
	}
	if n.Amount < 1 || n.Amount > maxAmount {
		return invalid("Payment.Amount", "1 to 9999999999 euro cents")
	}
	if n.Payee != "" {
		if _, err := fiscalcode.ParseOrganization(string(n.Payee)); err != nil {
			return invalid("Payment.Payee", "11 digits")
		}
	}
	return nil
}

// payee is whom the notice of a service's message is of.
func (n *Notice) payee(s *serviceRecord) fiscalcode.Organization {
	if n.Payee != "" {
		return n.Payee
	}
	return fiscalcode.Organization(s.Organization)
}

// permitsNotice reports what is wrong with a service's notice; nil is none.
func (r *serviceRecord) permitsNotice(n *Notice) error {
	switch {
	case n == nil:
	case int64(n.Amount) > r.MaxPayment:
		return invalid("Payment.Amount", "no more than the service may ask for")
	case string(n.payee(r)) != r.Organization && !r.OtherPayees:
		return invalid("Payment.Payee", "the sender's organization: the service may not name another")
	}
	return nil
}

// A PaymentGateway is the host's side of pagoPA: what a debt is today, and where it is paid. It is called concurrently, and should
// neither retry nor keep anything: the engine tries again what failed for a moment. It returns as soon as its context ends. Its errors
// hold no notice number, no code and nothing of what the debt is for: they are logged.
// Package gateway/gatewaytest shows whether an implementation does so, and has one for tests.
type PaymentGateway interface {
	// Verify asks the creditor for a debt as it is now: amount and due date may differ from those in a message. What cannot be paid is a
	// *[pagopa.Fault]; one of category GenericError or PaymentUnavailable is tried again, and so is any other error.
	Verify(ctx context.Context, id pagopa.RPTID) (Debt, error)

	// Start begins a payment of a debt that Verify returned, and says where the citizen goes on with it. A key is 1 to 64 ASCII letters,
	// digits and hyphens, and says nothing about anybody. With one that was there before, also at the same time or in a call that
	// failed, it is the same payment, and the same checkout, however often it is asked for; another key asks for another checkout.
	// Faults are those of Verify.
	Start(ctx context.Context, d Debt, key string) (Checkout, error)
}

// A Debt is what a creditor says of a notice.
type Debt struct {
	RPTID       pagopa.RPTID
	Amount      pagopa.Amount // 1 to pagopa.MaxAmount
	Payee       string        // the creditor's name; "": not said
	Description string        // what it is for (causale); "": not said
	Due         time.Time     // the last day, at 00:00 UTC; zero: not said
}

// A Checkout is where a payment goes on.
type Checkout struct {
	URL       string    // absolute, https
	ExpiresAt time.Time // zero: not said
}

// PaymentState is where the payment of a notice stands.
type PaymentState string

const (
	Unpaid    PaymentState = "unpaid"    // also where nothing was heard
	Paying    PaymentState = "paying"    // begun, and not over yet
	Paid      PaymentState = "paid"      // for good
	Expired   PaymentState = "expired"   // its due date has passed, and it is not valid any more
	Cancelled PaymentState = "cancelled" // by the creditor
)

// A PaymentEvent is news of a notice, from the gateway's side.
type PaymentEvent struct {
	ID    string // names the event: the same twice is one; 1 to 200 bytes of UTF-8
	RPTID pagopa.RPTID
	State PaymentState
	At    time.Time // when it was so
}

func (ev *PaymentEvent) validate() error {
	switch {
	case ev.ID == "" || len(ev.ID) > 200 || !utf8.ValidString(ev.ID):
		return invalid("ID", "1 to 200 bytes of UTF-8")
	case !ev.RPTID.Valid():
		return invalid("RPTID", "a creditor's code and a notice number")
	case ev.State != Unpaid && ev.State != Paying && ev.State != Paid && ev.State != Expired && ev.State != Cancelled:
		return invalid("State", "one of the constants")
	case micro(ev.At).UnixMicro() <= 0 || ev.At.UTC().Year() > 9999:
		return invalid("At", "a time after 1970 whose year has at most four digits")
	}
	return nil
}

// A Bill is a notice that a citizen has: of one or several messages, or from paper.
type Bill struct {
	RPTID       pagopa.RPTID
	Amount      pagopa.Amount // as the creditor last said, or the message
	Payee       string        // the creditor's name; "": not known
	Description string        // "": not known
	Due         time.Time     // zero: none
	State       PaymentState
	StateAt     time.Time // when it became so; zero: nothing was heard
	AddedAt     time.Time
	Paper       bool        // the citizen scanned it
	Messages    []MessageID // that it came with, oldest first; the last 100
}

// A Receipt is what is kept of a payment, for the citizen. See [Receipt.MarshalJSON] and [Receipt.WriteHTML] for what can be taken
// away.
type Receipt struct {
	RPTID       pagopa.RPTID
	Amount      pagopa.Amount // the last that was known before the payment
	Payee       string        // the creditor's name; "": not known
	Description string        // "": not known
	PaidAt      time.Time
	Event       string    // ID of the event that told
	Message     MessageID // the last it came with; empty: it was paid from paper
}

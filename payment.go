package appio

import (
	"context"
	"time"

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

// A PaymentGateway is the host's side of pagoPA: what a debt is today, and where it is paid. It is called concurrently, and should
// neither retry nor keep anything: the engine tries again what failed for a moment. It returns as soon as its context ends.
// Package gateway/gatewaytest shows whether an implementation does so, and has one for tests.
type PaymentGateway interface {
	// Verify asks the creditor for a debt as it is now: amount and due date may differ from those in a message. What cannot be paid is a
	// *[pagopa.Fault]; one of category GenericError or PaymentUnavailable is tried again, and so is any other error.
	Verify(ctx context.Context, id pagopa.RPTID) (Debt, error)

	// Start begins a payment of a debt that Verify returned, and says where the citizen goes on with it. With a key that was there
	// before it is the same payment, and the same checkout, however often it is asked for. Faults are those of Verify.
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

package appio

import (
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

package httpapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/pagopa"
)

var paymentRoutes = []route{
	{"GET /api/communication/v1/payment/info/{rpt_id}", citizen, 0, paymentInfo},
}

// A PaymentInfo is what is to be paid of a notice now, as the creditor says.
type PaymentInfo struct {
	RPTID       string `json:"rptId"`
	PayeeCode   string `json:"paFiscalCode"`
	PayeeName   string `json:"paName,omitempty"`      // at most 140 characters
	Description string `json:"description,omitempty"` // likewise
	Amount      int64  `json:"amount"`                // in euro cents
	DueDate     string `json:"dueDate,omitempty"`     // YYYY-MM-DD
}

// A PaymentFault says why a notice cannot be paid now.
type PaymentFault struct {
	Title    string `json:"title"`
	Category string `json:"faultCodeCategory"` // as package pagopa has them
	Detail   string `json:"faultCodeDetail"`   // the code that pagoPA or the creditor gave, or one that stands for the category
}

// faultDetails stand for categories of which no code is known: IO's document wants one of those that belong to it.
var faultDetails = map[string]string{
	pagopa.PaymentUnknown: "PAA_PAGAMENTO_SCONOSCIUTO", pagopa.PaymentDataError: "PPT_SINTASSI_EXTRAXSD", pagopa.PaymentOngoing: "PPT_PAGAMENTO_IN_CORSO",
	pagopa.PaymentExpired: "PAA_PAGAMENTO_SCADUTO", pagopa.PaymentCanceled: "PAA_PAGAMENTO_ANNULLATO", pagopa.PaymentDuplicated: "PPT_PAGAMENTO_DUPLICATO",
	pagopa.PaymentUnavailable: "PPT_SYSTEM_ERROR", pagopa.DomainUnknown: "PPT_STAZIONE_INT_PA_IRRAGGIUNGIBILE", pagopa.GenericError: "GENERIC_ERROR",
}

func faultAnswer(f *pagopa.Fault) answer {
	w := PaymentFault{http.StatusText(f.Status()), f.Category, f.Detail}
	if !f.Valid() {
		w.Category, w.Detail = pagopa.GenericError, ""
	}
	if w.Detail == "" {
		w.Detail = faultDetails[w.Category]
	}
	return answer{status: f.Status(), body: w}
}

// paymentInfo asks the engine's gateway about any notice. What is no RPT id nobody answers for.
func paymentInfo(c *call) (answer, error) {
	test, err := c.flag("test")
	if err != nil {
		return answer{}, err
	}
	if test { // the gateway is the platform's one, and its answers are real
		return answer{}, appio.ErrUnsupported
	}
	id, err := pagopa.ParseRPTID(c.r.PathValue("rpt_id"))
	if err != nil {
		return faultAnswer(&pagopa.Fault{Category: pagopa.PaymentDataError}), nil
	}
	d, err := c.citizen.Debt(c.ctx, id)
	var fault *pagopa.Fault
	switch {
	case errors.As(err, &fault):
		return faultAnswer(fault), nil
	case errors.Is(err, appio.ErrGateway):
		c.o.Logger.Error("the payment gateway failed", "err", err)
		return faultAnswer(&pagopa.Fault{Category: pagopa.GenericError}), nil
	case err != nil:
		return answer{}, err
	}
	w := PaymentInfo{
		RPTID: d.RPTID.String(), PayeeCode: string(d.RPTID.Creditor), PayeeName: first(d.Payee, 140), Description: first(d.Description, 140),
		Amount: int64(d.Amount),
	}
	if !d.Due.IsZero() {
		w.DueDate = d.Due.Format(time.DateOnly)
	}
	return ok(w), nil
}

// first is the beginning of a text, in characters.
func first(s string, most int) string {
	for i := range s {
		if most--; most < 0 {
			return s[:i]
		}
	}
	return s
}

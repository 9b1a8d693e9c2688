package pagopa

// A Fault is the answer to a notice that cannot be paid now. As an error it says no more than what is known of its category
// and detail: of a text from outside it prints nothing.
type Fault struct {
	Category string // one of the constants, for the program
	Detail   string // the code that pagoPA (PPT_...) or the creditor (PAA_...) gave, for its support
}

// Categories of faults, as IO names them.
const (
	PaymentUnknown     = "PAYMENT_UNKNOWN"     // the creditor does not know the notice
	PaymentDataError   = "PAYMENT_DATA_ERROR"  // nobody answers for such a notice: mistyped, most times
	PaymentOngoing     = "PAYMENT_ONGOING"     // somebody is paying it
	PaymentExpired     = "PAYMENT_EXPIRED"     // the creditor no longer takes it
	PaymentCanceled    = "PAYMENT_CANCELED"    // the creditor has withdrawn it
	PaymentDuplicated  = "PAYMENT_DUPLICATED"  // it is paid already
	PaymentUnavailable = "PAYMENT_UNAVAILABLE" // pagoPA refused the request
	DomainUnknown      = "DOMAIN_UNKNOWN"      // the creditor's system fails or is not set up
	GenericError       = "GENERIC_ERROR"       // anything else
)

// statuses are the categories, with the HTTP status of each.
var statuses = map[string]int{
	PaymentUnknown:     404,
	PaymentDataError:   404,
	PaymentOngoing:     409,
	PaymentExpired:     409,
	PaymentCanceled:    409,
	PaymentDuplicated:  409,
	PaymentUnavailable: 502,
	DomainUnknown:      503,
	GenericError:       502,
}

// categories has the category of each detail that is not a generic error.
var categories = map[string]string{
	"PAA_PAGAMENTO_SCONOSCIUTO": PaymentUnknown,

	"PPT_SINTASSI_EXTRAXSD":           PaymentDataError,
	"PPT_SINTASSI_XSD":                PaymentDataError,
	"PPT_DOMINIO_SCONOSCIUTO":         PaymentDataError,
	"PPT_STAZIONE_INT_PA_SCONOSCIUTA": PaymentDataError,

	"PPT_PAGAMENTO_IN_CORSO": PaymentOngoing,
	"PAA_PAGAMENTO_IN_CORSO": PaymentOngoing,

	"PAA_PAGAMENTO_SCADUTO": PaymentExpired,

	"PAA_PAGAMENTO_ANNULLATO": PaymentCanceled,

	"PAA_PAGAMENTO_DUPLICATO": PaymentDuplicated,
	"PPT_PAGAMENTO_DUPLICATO": PaymentDuplicated,

	"PPT_PSP_SCONOSCIUTO":                PaymentUnavailable,
	"PPT_PSP_DISABILITATO":               PaymentUnavailable,
	"PPT_INTERMEDIARIO_PSP_SCONOSCIUTO":  PaymentUnavailable,
	"PPT_INTERMEDIARIO_PSP_DISABILITATO": PaymentUnavailable,
	"PPT_CANALE_SCONOSCIUTO":             PaymentUnavailable,
	"PPT_CANALE_DISABILITATO":            PaymentUnavailable,
	"PPT_AUTENTICAZIONE":                 PaymentUnavailable,
	"PPT_AUTORIZZAZIONE":                 PaymentUnavailable,
	"PPT_DOMINIO_DISABILITATO":           PaymentUnavailable,
	"PPT_INTERMEDIARIO_PA_DISABILITATO":  PaymentUnavailable,
	"PPT_STAZIONE_INT_PA_DISABILITATA":   PaymentUnavailable,
	"PPT_CODIFICA_PSP_SCONOSCIUTA":       PaymentUnavailable,
	"PPT_SEMANTICA":                      PaymentUnavailable,
	"PPT_SYSTEM_ERROR":                   PaymentUnavailable,
	"PAA_SEMANTICA":                      PaymentUnavailable,

	"PPT_STAZIONE_INT_PA_IRRAGGIUNGIBILE": DomainUnknown,
	"PPT_STAZIONE_INT_PA_TIMEOUT":         DomainUnknown,
	"PPT_STAZIONE_INT_PA_ERRORE_RESPONSE": DomainUnknown,
	"PPT_IBAN_NON_CENSITO":                DomainUnknown,
	"PAA_SINTASSI_EXTRAXSD":               DomainUnknown,
	"PAA_SINTASSI_XSD":                    DomainUnknown,
	"PAA_ID_DOMINIO_ERRATO":               DomainUnknown,
	"PAA_ID_INTERMEDIARIO_ERRATO":         DomainUnknown,
	"PAA_STAZIONE_INT_ERRATA":             DomainUnknown,
	"PAA_ATTIVA_RPT_IMPORTO_NON_VALIDO":   DomainUnknown,
	"PPT_ERRORE_EMESSO_DA_PAA":            DomainUnknown,
	"PAA_SYSTEM_ERROR":                    DomainUnknown,
}

// NewFault is the fault with this detail, in the category that IO gives it; [GenericError] if IO gives it none.
func NewFault(detail string) *Fault {
	if category, ok := categories[detail]; ok {
		return &Fault{category, detail}
	}
	return &Fault{GenericError, detail}
}

// Valid reports whether the category is one of the constants. A text from outside can be anything.
func (f *Fault) Valid() bool {
	_, ok := statuses[f.Category]
	return ok
}

// Paid reports whether the notice cannot be paid because it is paid already.
func (f *Fault) Paid() bool { return f.Category == PaymentDuplicated }

// Status is the HTTP status that IO answers with: 404, 409, 502 or 503. It is that of [GenericError], 502, if the category is none
// of the constants.
func (f *Fault) Status() int {
	if status, ok := statuses[f.Category]; ok {
		return status
	}
	return statuses[GenericError]
}

func (f *Fault) Error() string {
	text := "pagopa: "
	if f.Valid() {
		text += f.Category
	} else {
		text += "another category of fault"
	}
	if _, ok := categories[f.Detail]; ok {
		text += " (" + f.Detail + ")"
	}
	return text
}

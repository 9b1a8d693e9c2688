package httpapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
)

var messageRoutes = []route{
	{"POST /api/v1/messages", service, 0, submit},
	{"POST /api/v1/messages/{fiscal_code}", service, 0, submit},
	{"GET /api/v1/messages/{fiscal_code}/{id}", service, 0, sent},
}

// A NewMessage is what a service sends. IO's default_addresses is passed over, as IO does.
type NewMessage struct {
	FiscalCode       *string        `json:"fiscal_code,omitempty"`  // here or in the path, not in both
	TimeToLive       *int           `json:"time_to_live,omitempty"` // in seconds, 3600 to 604800; not given: 3600
	FeatureLevelType *string        `json:"feature_level_type,omitempty"`
	Content          MessageContent `json:"content"`
}

// The values of feature_level_type.
const (
	levelStandard = "STANDARD"
	levelAdvanced = "ADVANCED" // premium: only services with appio.Service.Premium
)

// A MessageContent is what a message says, with IO's limits in UTF-16 units.
type MessageContent struct {
	Subject        string            `json:"subject"`
	Markdown       string            `json:"markdown"`
	SecureChannels *bool             `json:"require_secure_channels,omitempty"` // true tightens what the service says; false changes nothing
	Due            *Timestamp        `json:"due_date,omitempty"`
	Payment        *PaymentData      `json:"payment_data,omitempty"`
	Prescription   *PrescriptionData `json:"prescription_data,omitempty"`

	// What needs a permission that services of this platform cannot have.
	Legal      *struct{} `json:"legal_data,omitempty"`
	CovidCert  *struct{} `json:"eu_covid_cert,omitempty"`
	ThirdParty *struct{} `json:"third_party_data,omitempty"`
}

// PaymentData is a payment notice. The payee is the sender's organization where it is not given; in an answer it always is.
type PaymentData struct {
	Amount          int64  `json:"amount"` // in euro cents
	NoticeNumber    string `json:"notice_number"`
	InvalidAfterDue bool   `json:"invalid_after_due_date,omitempty"`
	Payee           *Payee `json:"payee,omitempty"`
}

// A Payee is the creditor of a notice.
type Payee struct {
	FiscalCode string `json:"fiscal_code"`
}

// PrescriptionData is an electronic prescription.
type PrescriptionData struct {
	NRE        string  `json:"nre"`
	IUP        *string `json:"iup,omitempty"`
	Prescriber *string `json:"prescriber_fiscal_code,omitempty"`
}

// A CreatedMessage is the answer to a message that was accepted, whatever became of it.
type CreatedMessage struct {
	ID appio.MessageID `json:"id"`
}

// invalidMessage is IO's title of what is wrong with a message.
const invalidMessage = "Invalid message structure"

// submit answers 201 whether the recipient is known and agrees or not, as IO does.
func submit(c *call) (answer, error) {
	var n NewMessage
	if err := c.body(&n); err != nil {
		return answer{}, titled(err, invalidMessage)
	}
	to, inPath := c.r.PathValue("fiscal_code"), c.r.PathValue("fiscal_code") != ""
	if inPath == (n.FiscalCode != nil) {
		return answer{}, badParameters("fiscal_code: in the path or in the body, and not in both")
	}
	if !inPath {
		to = *n.FiscalCode
	}
	code, err := person("fiscal_code", to)
	if err != nil {
		return answer{}, err
	}
	m, err := n.message(code, c.r.Header.Get("Idempotency-Key"))
	if err != nil {
		return answer{}, err
	}
	res, err := c.sender.Send(c.ctx, m)
	if err != nil {
		return answer{}, c.unsent(&m, err)
	}
	return answer{status: http.StatusCreated, body: CreatedMessage{res.ID},
		header: map[string]string{"Location": "/api/v1/messages/" + string(m.To) + "/" + string(res.ID)}}, nil
}

// message is what the engine is to send. What is wrong with it the engine says, but for what it has no word for.
func (n *NewMessage) message(to fiscalcode.Person, key string) (appio.Message, error) {
	c := &n.Content
	m := appio.Message{To: to, Subject: c.Subject, Markdown: c.Markdown, SecureChannels: c.SecureChannels != nil && *c.SecureChannels, Key: key}
	if c.Legal != nil || c.CovidCert != nil || c.ThirdParty != nil {
		return m, notAllowed()
	}
	if n.FeatureLevelType != nil {
		m.Premium = *n.FeatureLevelType == levelAdvanced
		if !m.Premium && *n.FeatureLevelType != levelStandard {
			return m, problem(http.StatusBadRequest, invalidMessage, "feature_level_type: must be STANDARD or ADVANCED")
		}
	}
	if n.TimeToLive != nil {
		m.TimeToLive = -1 // which the engine refuses, as it does not an absent one
		if s := *n.TimeToLive; s > 0 && s < 1<<30 {
			m.TimeToLive = time.Duration(s) * time.Second
		}
	}
	if c.Due != nil {
		m.Due = time.Time(*c.Due)
	}
	if p := c.Payment; p != nil {
		m.Payment = &appio.Notice{Number: pagopa.NoticeNumber(p.NoticeNumber), Amount: pagopa.Amount(p.Amount), InvalidAfterDue: p.InvalidAfterDue}
		if p.Payee != nil {
			code, err := fiscalcode.ParseOrganization(p.Payee.FiscalCode)
			if err != nil {
				return m, problem(http.StatusBadRequest, invalidMessage, "content.payment_data.payee.fiscal_code: 11 digits")
			}
			m.Payment.Payee = code
		}
	}
	if p := c.Prescription; p != nil {
		m.Prescription = &appio.Prescription{NRE: p.NRE}
		for name, text := range map[string]*string{"iup": p.IUP, "prescriber_fiscal_code": p.Prescriber} {
			if text != nil && *text == "" {
				return m, problem(http.StatusBadRequest, invalidMessage, "content.prescription_data."+name+": must not be empty")
			}
		}
		if p.IUP != nil {
			m.Prescription.IUP = *p.IUP
		}
		if p.Prescriber != nil {
			m.Prescription.Prescriber = fiscalcode.Person(*p.Prescriber)
		}
	}
	return m, nil
}

// wireNames are what the members are called that the engine may refuse.
var wireNames = map[string]string{
	"To": "fiscal_code", "Subject": "content.subject", "Markdown": "content.markdown", "Due": "content.due_date", "TimeToLive": "time_to_live",
	"Key": "Idempotency-Key", "Payment.Number": "content.payment_data.notice_number", "Payment.Amount": "content.payment_data.amount",
	"Payment.Payee": "content.payment_data.payee.fiscal_code", "Prescription.NRE": "content.prescription_data.nre",
	"Prescription.IUP": "content.prescription_data.iup", "Prescription.Prescriber": "content.prescription_data.prescriber_fiscal_code",
}

// unsent says in IO's words why a message was not accepted.
func (c *call) unsent(m *appio.Message, err error) error {
	var field *appio.FieldError
	switch {
	case errors.As(err, &field) && m.Validate() != nil:
		return problem(http.StatusBadRequest, invalidMessage, wireNames[field.Field]+": "+field.Rule)
	case errors.As(err, &field) && field.Field == "Payment.Payee": // the service's own limits
		return notAllowed()
	case errors.As(err, &field):
		return problem(http.StatusBadRequest, "Error while sending payment metadata", wireNames[field.Field]+": "+field.Rule)
	case errors.Is(err, appio.ErrConflict):
		return problem(http.StatusConflict, "", "The Idempotency-Key was used for another message.")
	case errors.Is(err, appio.ErrForbidden):
		return c.forbidden(m.Premium)
	}
	return err
}

// forbidden says in IO's words what a service may not do that wants to write to somebody, or asks about them.
func (c *call) forbidden(premium bool) error {
	s, err := c.e.Service(c.ctx, c.sender.ID())
	switch {
	case err != nil:
		return err
	case s.State == appio.Stopped:
		return problem(http.StatusForbidden, "Production call forbidden", "You are not allowed to issue production calls at this time.")
	case premium && !s.Premium || s.State == appio.Live:
		return notAllowed()
	}
	return problem(http.StatusForbidden, "Recipient forbidden", "You are not allowed to issue requests for the recipient.")
}

// A MessageResponse is what became of a message. A sender is told that it was rejected, and never why.
type MessageResponse struct {
	Message       SentMessage  `json:"message"`
	Status        appio.Status `json:"status"`
	ReadStatus    string       `json:"read_status,omitempty"`    // of ADVANCED messages
	PaymentStatus string       `json:"payment_status,omitempty"` // likewise, where there is a notice
}

// A SentMessage is a message as its sender sees it. Of a rejected one, or one that the citizen has no more, there is no content, nor what
// is kept with it.
type SentMessage struct {
	ID               appio.MessageID `json:"id"`
	FiscalCode       string          `json:"fiscal_code"`
	TimeToLive       int             `json:"time_to_live,omitempty"`
	CreatedAt        Timestamp       `json:"created_at"`
	FeatureLevelType string          `json:"feature_level_type"`
	SenderServiceID  appio.ServiceID `json:"sender_service_id"`
	Content          *MessageContent `json:"content,omitempty"`
}

// sent answers what became of a message: 403 for another service's, 404 on another recipient's path.
func sent(c *call) (answer, error) {
	to, err := c.person("fiscal_code")
	if err != nil {
		return answer{}, err
	}
	id := appio.MessageID(c.r.PathValue("id"))
	m, err := c.sender.Message(c.ctx, to, id)
	if errors.Is(err, appio.ErrNotFound) {
		return answer{}, notFound("Message not found")
	}
	if err != nil {
		return answer{}, err
	}
	r := MessageResponse{
		Message: SentMessage{ID: id, FiscalCode: string(to), CreatedAt: Timestamp(m.At), SenderServiceID: c.sender.ID()},
		Status:  m.Status,
	}
	r.Message.FeatureLevelType = levelStandard
	if m.Premium {
		r.Message.FeatureLevelType = levelAdvanced
	}
	if m.Premium && m.Status == appio.Processed {
		r.ReadStatus = choose(m.Read, "READ", "UNREAD", "UNAVAILABLE")
		r.PaymentStatus = choose(m.Paid, "PAID", "NOT_PAID", "")
	}
	if m.Message != nil {
		r.Message.TimeToLive = int(m.Message.TimeToLive / time.Second)
		r.Message.Content = contentOf(m.Message)
	}
	return ok(r), nil
}

func choose(b *bool, yes, no, unknown string) string {
	switch {
	case b == nil:
		return unknown
	case *b:
		return yes
	}
	return no
}

// contentOf is what a message says.
func contentOf(m *appio.Message) *MessageContent {
	c := &MessageContent{Subject: m.Subject, Markdown: m.Markdown}
	if m.SecureChannels {
		c.SecureChannels = &m.SecureChannels
	}
	if !m.Due.IsZero() {
		due := Timestamp(m.Due)
		c.Due = &due
	}
	if n := m.Payment; n != nil {
		c.Payment = &PaymentData{int64(n.Amount), string(n.Number), n.InvalidAfterDue, &Payee{string(n.Payee)}}
	}
	if p := m.Prescription; p != nil {
		c.Prescription = &PrescriptionData{NRE: p.NRE}
		if p.IUP != "" {
			c.Prescription.IUP = &p.IUP
		}
		if code := string(p.Prescriber); code != "" {
			c.Prescription.Prescriber = &code
		}
	}
	return c
}

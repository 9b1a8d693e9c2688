package httpapi

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/punctual"
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

	ThirdParty *ThirdPartyData `json:"third_party_data,omitempty"`

	// What needs a permission that services of this platform cannot have.
	Legal     *struct{} `json:"legal_data,omitempty"`
	CovidCert *struct{} `json:"eu_covid_cert,omitempty"`
}

// ThirdPartyData says that a message goes on in a system of its sender: see appio.RemoteContent.
type ThirdPartyData struct {
	ID               string     `json:"id"`
	OriginalSender   *string    `json:"original_sender,omitempty"`
	OriginalReceipt  *Timestamp `json:"original_receipt_date,omitempty"`
	HasAttachments   *bool      `json:"has_attachments,omitempty"` // only in ADVANCED messages; not given: false
	HasRemoteContent *bool      `json:"has_remote_content,omitempty"`
	HasPrecondition  *string    `json:"has_precondition,omitempty"` // ALWAYS, ONCE or NEVER; not given: as the configuration says
	Summary          *string    `json:"summary,omitempty"`
	ConfigurationID  *string    `json:"configuration_id,omitempty"` // without one it is 403
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
	c.evenOut()
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
	if c.Legal != nil || c.CovidCert != nil {
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
		if err := notEmpty("content.prescription_data.", map[string]*string{"iup": p.IUP, "prescriber_fiscal_code": p.Prescriber}); err != nil {
			return m, err
		}
		m.Prescription.IUP = deref(p.IUP)
		m.Prescription.Prescriber = fiscalcode.Person(deref(p.Prescriber))
	}
	if c.ThirdParty != nil {
		return m, c.ThirdParty.into(&m)
	}
	return m, nil
}

func (p *ThirdPartyData) into(m *appio.Message) error {
	err := notEmpty("content.third_party_data.", map[string]*string{
		"original_sender": p.OriginalSender, "has_precondition": p.HasPrecondition, "summary": p.Summary, "configuration_id": p.ConfigurationID})
	if err != nil {
		return err
	}
	m.Remote = &appio.RemoteContent{
		ID: p.ID, Configuration: appio.ConfigurationID(deref(p.ConfigurationID)), OriginalSender: deref(p.OriginalSender),
		ReceivedAt: time.Time(deref(p.OriginalReceipt)), Attachments: deref(p.HasAttachments), Text: deref(p.HasRemoteContent),
		Precondition: appio.Precondition(deref(p.HasPrecondition)), Summary: deref(p.Summary),
	}
	switch {
	case p.ConfigurationID == nil:
		return problem(http.StatusForbidden, "No configuration id for remote content", "")
	case m.Remote.Attachments && !m.Premium:
		return problem(http.StatusForbidden, "Attachments call forbidden", "Only ADVANCED messages have attachments.")
	}
	return nil
}

// notEmpty refuses texts that are given and empty, which the engine would take for none.
func notEmpty(path string, texts map[string]*string) error {
	for name, text := range texts {
		if text != nil && *text == "" {
			return problem(http.StatusBadRequest, invalidMessage, path+name+": must not be empty")
		}
	}
	return nil
}

// deref is what p points to; nil: the zero value.
func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// given is a pointer to v; nil: it is the zero value.
func given[T comparable](v T) *T {
	if v == *new(T) {
		return nil
	}
	return &v
}

// wireNames are what the members are called that the engine may refuse.
var wireNames = map[string]string{
	"To": "fiscal_code", "Subject": "content.subject", "Markdown": "content.markdown", "Due": "content.due_date", "TimeToLive": "time_to_live",
	"Key": "Idempotency-Key", "Payment.Number": "content.payment_data.notice_number", "Payment.Amount": "content.payment_data.amount",
	"Payment.Payee": "content.payment_data.payee.fiscal_code", "Prescription.NRE": "content.prescription_data.nre",
	"Remote.ID": "content.third_party_data.id", "Remote.Configuration": "content.third_party_data.configuration_id",
	"Remote.Precondition": "content.third_party_data.has_precondition", "Remote.ReceivedAt": "content.third_party_data.original_receipt_date",
	"Remote.OriginalSender": "content.third_party_data.original_sender", "Remote.Summary": "content.third_party_data.summary",
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
		need := []appio.Scope{appio.WriteMessages}
		if m.Remote != nil {
			need = append(need, appio.WriteRemote)
		}
		return c.forbidden(m, need...)
	}
	return err
}

// forbidden says in IO's words why a service may not write to somebody, or ask about them: of a question m has only To.
func (c *call) forbidden(m *appio.Message, need ...appio.Scope) error {
	for _, scope := range need {
		if err := c.sender.Allowed(c.ctx, scope); err != nil {
			return err
		}
	}
	s, err := c.serviceOf(c.sender.ID())
	switch {
	case err != nil:
		return err
	case s.State == appio.Stopped:
		return problem(http.StatusForbidden, "Production call forbidden", "You are not allowed to issue production calls at this time.")
	case s.State == appio.Trial && m.To != fiscalcode.Sandbox && !slices.Contains(s.Trial, m.To):
		return problem(http.StatusForbidden, "Recipient forbidden", "You are not allowed to issue requests for the recipient.")
	case m.Remote != nil && (s.Premium || !m.Premium):
		return problem(http.StatusForbidden, "Not your configuration", "")
	}
	return notAllowed()
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

// Who is not known and who refused take times that are apart by some 30 µs, since their records are elsewhere. So an answer to either leaves
// at a moment that is set when the request begins: evenTime later, or the first multiple of it by which there is an answer. That costs
// neither work nor throughput. What reading takes is hidden; of what writing takes, there is left how often 30 µs decide between two
// multiples.
const evenTime = 5 * time.Millisecond

func (c *call) evenOut() {
	punctual.Wait(c.ctx, c.began.Add(time.Since(c.began).Truncate(evenTime)+evenTime))
}

// sent answers what became of a message: 403 for another service's, 404 on another recipient's path.
func sent(c *call) (answer, error) {
	to, err := c.person("fiscal_code")
	if err != nil {
		return answer{}, err
	}
	id := appio.MessageID(c.r.PathValue("id"))
	m, err := c.sender.Message(c.ctx, to, id)
	c.evenOut()
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
	if m.Premium && m.Status == appio.Processed && c.sender.Allowed(c.ctx, appio.ReadAdvanced) == nil {
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
	c.SecureChannels, c.Due = given(m.SecureChannels), given(Timestamp(m.Due))
	if n := m.Payment; n != nil {
		c.Payment = &PaymentData{int64(n.Amount), string(n.Number), n.InvalidAfterDue, &Payee{string(n.Payee)}}
	}
	if p := m.Prescription; p != nil {
		c.Prescription = &PrescriptionData{NRE: p.NRE, IUP: given(p.IUP), Prescriber: given(string(p.Prescriber))}
	}
	if r := m.Remote; r != nil {
		c.ThirdParty = &ThirdPartyData{
			ID: r.ID, OriginalSender: given(r.OriginalSender), OriginalReceipt: given(Timestamp(r.ReceivedAt)), HasAttachments: &r.Attachments,
			HasRemoteContent: &r.Text, HasPrecondition: given(string(r.Precondition)), Summary: given(r.Summary),
			ConfigurationID: given(string(r.Configuration)),
		}
	}
	return c
}

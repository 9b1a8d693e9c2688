package webhook

import (
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
)

// The types of events. Data of one type keeps its form, to which members may be added; another form has another type.
const (
	TypeMessage  = "appio.message.v1"  // there is a message
	TypeReminder = "appio.reminder.v1" // of a message; Data.Reminder says what it is about
)

// An Event is the body of a webhook.
type Event struct {
	Type string `json:"type"`
	Data Data   `json:"data"`
}

// String has the type alone: an event that is printed shows nothing of a person.
func (e Event) String() string { return "event " + e.Type }

// Data is what an event is about. Of members after Content only those stand there that the delivery has; with [Options.Thin] none does.
type Data struct {
	Message  appio.MessageID    `json:"message"`
	Service  appio.ServiceID    `json:"service"`
	Reminder appio.ReminderKind `json:"reminder,omitempty"` // unread, deadline, unpaid
	Digest   int                `json:"digest,omitempty"`   // messages that it stands for, of which Message is none; 0: it is of one
	To       fiscalcode.Person  `json:"to,omitempty"`       // with Route.ByCode
	Address  string             `json:"address,omitempty"`  // the citizen's, where the endpoint is not itself that address
	Content  string             `json:"content"`            // generic: no text may be shown; full

	ServiceName      string    `json:"serviceName,omitempty"`
	OrganizationName string    `json:"organizationName,omitempty"`
	Language         string    `json:"language,omitempty"`     // the citizen's first
	TextLanguage     string    `json:"textLanguage,omitempty"` // of subject and markdown, where the sender said it
	Subject          string    `json:"subject,omitempty"`
	Markdown         string    `json:"markdown,omitempty"`
	Due              time.Time `json:"due,omitzero"` // UTC
	Payment          *Payment  `json:"payment,omitempty"`
	Withdraw         string    `json:"withdraw,omitempty"` // a token: see appio.Delivery
}

// String has what is of no person.
func (d Data) String() string { return "data of service " + string(d.Service) }

// Payment is a notice to pay.
type Payment struct {
	Notice          pagopa.NoticeNumber     `json:"notice"`
	Amount          int64                   `json:"amount"` // euro cents
	Payee           fiscalcode.Organization `json:"payee"`
	InvalidAfterDue bool                    `json:"invalidAfterDue,omitempty"`
}

// event is what a delivery says. Which attempt it is makes no difference to a receiver, and is not in it.
func event(d *appio.Delivery, fixed, thin bool) Event {
	e := Event{Type: TypeMessage, Data: Data{
		Message: d.Message, Service: d.Service, Reminder: d.Reminder, To: d.To, Content: d.Content.String(),
	}}
	if d.Reminder != "" {
		e.Type = TypeReminder
	}
	if d.Digest != nil {
		e.Data.Digest = d.Digest.Count
	}
	if fixed {
		e.Data.Address = d.Address.Value
	}
	if thin {
		return e
	}
	e.Data.ServiceName, e.Data.OrganizationName, e.Data.Language = d.ServiceName, d.OrganizationName, d.Language
	e.Data.TextLanguage, e.Data.Subject, e.Data.Markdown, e.Data.Withdraw = d.TextLanguage, d.Subject, d.Markdown, d.Withdraw
	if !d.Due.IsZero() {
		e.Data.Due = d.Due.UTC()
	}
	if n := d.Payment; n != nil {
		e.Data.Payment = &Payment{Notice: n.Number, Amount: int64(n.Amount), Payee: n.Payee, InvalidAfterDue: n.InvalidAfterDue}
	}
	return e
}

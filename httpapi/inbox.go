package httpapi

import (
	"errors"
	"strings"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
)

var inboxRoutes = []route{
	{"GET /api/communication/v1/messages", citizen, 0, inbox},
	{"GET /api/communication/v1/messages/{id}", citizen, 0, received},
	{"PUT /api/communication/v1/messages/{id}/status", citizen, 0, changeState},
	{"PUT /api/v1/messages/{id}/message-status", citizen, 0, changeState}, // where earlier apps have it
}

// A PublicMessage is a message in a citizen's list: where enrich_result_data asks for it, with what the list shows.
type PublicMessage struct {
	ID              appio.MessageID `json:"id"`
	FiscalCode      string          `json:"fiscal_code"`
	TimeToLive      int             `json:"time_to_live"` // in seconds
	CreatedAt       Timestamp       `json:"created_at"`
	SenderServiceID appio.ServiceID `json:"sender_service_id"`
	*Enrichment
}

// An Enrichment is what a list shows of a message. The names of a service, or of an organization, that is not known are its id and its
// fiscal code.
type Enrichment struct {
	ServiceName          string          `json:"service_name"`
	OrganizationName     string          `json:"organization_name"`
	OrganizationCode     string          `json:"organization_fiscal_code"`
	MessageTitle         string          `json:"message_title"`
	Category             MessageCategory `json:"category"`
	HasAttachments       bool            `json:"has_attachments"`
	HasPrecondition      bool            `json:"has_precondition"` // it has to be accepted before the message is opened now
	MessageStatusChanged                 // its members are the message's
}

// A MessageCategory says what kind of message it is. One that goes on in its sender's system is GENERIC, also with a notice, or PN where
// the service is Options.Send or SendTest.
type MessageCategory struct {
	Tag   string `json:"tag"`             // GENERIC, PAYMENT or PN
	RPTID string `json:"rptId,omitempty"` // of a PAYMENT

	// Of PN, what the message says of the act.
	ID             string     `json:"id,omitempty"`
	OriginalSender string     `json:"original_sender,omitempty"`
	ReceivedAt     *Timestamp `json:"original_receipt_date,omitempty"`
	Summary        string     `json:"summary,omitempty"`
}

func (c *call) categoryOf(m *appio.InboxMessage) MessageCategory {
	switch r := m.Remote; {
	case r != nil && (m.Service == c.o.Send || m.Service == c.o.SendTest):
		is := MessageCategory{Tag: "PN", ID: r.ID, OriginalSender: r.OriginalSender, Summary: r.Summary}
		if !r.ReceivedAt.IsZero() {
			at := Timestamp(r.ReceivedAt)
			is.ReceivedAt = &at
		}
		return is
	case r == nil && m.Payment != nil:
		return MessageCategory{Tag: "PAYMENT", RPTID: pagopa.RPTID{Creditor: m.Payment.Payee, Notice: m.Payment.Number}.String()}
	}
	return MessageCategory{Tag: "GENERIC"}
}

// MessageStatusChanged is what the citizen did with a message (IO's MessageStatusAttributes).
type MessageStatusChanged struct {
	IsRead     bool `json:"is_read"`
	IsArchived bool `json:"is_archived"`
}

// A MessagePage is a part of a citizen's list, newest first.
type MessagePage struct {
	Items []PublicMessage `json:"items"`
	Prev  appio.MessageID `json:"prev,omitempty"` // the first of the items: as minimum_id it asks for what has come since
	Next  appio.MessageID `json:"next,omitempty"` // where there may be more: the last that was looked at, as maximum_id it asks for these
}

const mostMessages = 100 // of a page

// mostInboxPages is how many pages of the engine's one answer is made of: a few among very many that are elsewhere are found by several, and
// some answers may have none.
const mostInboxPages = 8

// inbox lists what is in the inbox, or in the archive.
func inbox(c *call) (answer, error) {
	size, err := c.number("page_size", 1, mostMessages, mostMessages)
	if err != nil {
		return answer{}, err
	}
	enrich, err := c.flag("enrich_result_data")
	if err != nil {
		return answer{}, err
	}
	var o appio.InboxOptions
	if o.Archived, err = c.flag("archived"); err != nil {
		return answer{}, err
	}
	if o.Before, err = c.messageID("maximum_id"); err != nil {
		return answer{}, err
	}
	if o.After, err = c.messageID("minimum_id"); err != nil {
		return answer{}, err
	}
	page := MessagePage{Items: []PublicMessage{}}
	senders := senders{c: c}
	list, next := c.citizen.Inbox(&o), appio.Cursor("")
	for range mostInboxPages {
		// A page of the engine's ends early where a filter leaves much out.
		p, err := list.Page(c.ctx, next, size-len(page.Items))
		if err != nil {
			return answer{}, err
		}
		for i := range p.Items {
			m := publicMessage(&p.Items[i])
			if enrich {
				if m.Enrichment, err = senders.enrich(&p.Items[i]); err != nil {
					return answer{}, err
				}
			}
			page.Items = append(page.Items, m)
		}
		if next = p.Next; next == "" || len(page.Items) == size {
			break
		}
	}
	if len(page.Items) > 0 {
		page.Prev = page.Items[0].ID
	}
	if next != "" {
		if page.Next, err = c.citizen.InboxPassed(&o, next); err != nil {
			return answer{}, err
		}
	}
	return ok(page), nil
}

// messageID is a message's id in the query, in either case; empty: it is not given.
func (c *call) messageID(name string) (appio.MessageID, error) {
	s, given, err := c.query(name)
	if err != nil || !given {
		return "", err
	}
	id := messageID(s)
	if id == "" {
		return "", badParameters(name + ": an id of 26 letters and digits")
	}
	return id, nil
}

// messageID is a message's id as the engine writes it; empty: it is none.
func messageID(s string) appio.MessageID {
	const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	s = strings.ToUpper(s)
	if len(s) != 26 || strings.Trim(s, digits) != "" {
		return ""
	}
	return appio.MessageID(s)
}

func publicMessage(m *appio.InboxMessage) PublicMessage {
	return PublicMessage{
		ID: m.ID, FiscalCode: string(m.To), TimeToLive: int(m.TimeToLive / time.Second), CreatedAt: Timestamp(m.SentAt), SenderServiceID: m.Service,
	}
}

// senders are the services of a page's messages, each read once.
type senders struct {
	c    *call
	read map[appio.ServiceID]sender
}

type sender struct {
	name, organization string
	code               fiscalcode.Organization
}

func (s *senders) of(id appio.ServiceID) (sender, error) {
	if got, known := s.read[id]; known {
		return got, nil
	}
	got := sender{name: string(id)}
	service, err := s.c.citizen.Service(s.c.ctx, id)
	if err == nil {
		got = sender{service.Name, string(service.Organization), service.Organization}
		var o appio.Organization
		if o, err = s.c.e.Organization(s.c.ctx, got.code); err == nil {
			got.organization = o.Name
		}
	}
	if err != nil && !errors.Is(err, appio.ErrNotFound) {
		return sender{}, err
	}
	if s.read == nil {
		s.read = map[appio.ServiceID]sender{}
	}
	s.read[id] = got
	return got, nil
}

func (s *senders) enrich(m *appio.InboxMessage) (*Enrichment, error) {
	from, err := s.of(m.Service)
	if err != nil {
		return nil, err
	}
	return &Enrichment{
		ServiceName: from.name, OrganizationName: from.organization, OrganizationCode: string(from.code), MessageTitle: m.Subject,
		Category: s.c.categoryOf(m), HasAttachments: len(m.Documents) > 0 || m.Remote != nil && m.Remote.Attachments,
		HasPrecondition: m.PreconditionDue(), MessageStatusChanged: MessageStatusChanged{m.Read, m.Archived},
	}, nil
}

// A ReceivedMessage is a message whole; with public_message, also with what a list shows of it. The text is the translation that suits
// the citizen. IO's attachments of prescriptions, pictures of their codes, are left to the app.
type ReceivedMessage struct {
	PublicMessage
	Content *MessageContent `json:"content"`
}

func received(c *call) (answer, error) {
	public, err := c.flag("public_message")
	if err != nil {
		return answer{}, err
	}
	m, err := c.citizen.Message(c.ctx, messageID(c.r.PathValue("id")))
	if err != nil {
		return answer{}, c.noMessage(err)
	}
	r := ReceivedMessage{publicMessage(&m), attached(&m, contentOf(&m.Message))}
	if public {
		if r.Enrichment, err = (&senders{c: c}).enrich(&m); err != nil {
			return answer{}, err
		}
	}
	return ok(r), nil
}

func (c *call) noMessage(err error) error {
	if errors.Is(err, appio.ErrNotFound) {
		return notFound("Message not found")
	}
	return err
}

// A MessageStatusChange is what the citizen does with a message: by "reading" it is read, for good; by "archiving" it goes to the archive or
// back; by "bulk" both at once, where is_read may be left out.
type MessageStatusChange struct {
	ChangeType string `json:"change_type"`
	IsRead     *bool  `json:"is_read,omitempty"`
	IsArchived *bool  `json:"is_archived,omitempty"`
}

func changeState(c *call) (answer, error) {
	var b MessageStatusChange
	if err := c.body(&b); err != nil {
		return answer{}, err
	}
	change, err := b.change()
	if err != nil {
		return answer{}, err
	}
	is, err := c.citizen.ChangeState(c.ctx, messageID(c.r.PathValue("id")), change)
	if err != nil {
		return answer{}, c.noMessage(err)
	}
	return ok(MessageStatusChanged{is.Read, is.Archived}), nil
}

func (b *MessageStatusChange) change() (change appio.StateChange, err error) {
	reading, archiving := b.ChangeType == "reading", b.ChangeType == "archiving"
	bulk := b.ChangeType == "bulk"
	switch {
	case !reading && !archiving && !bulk:
		return change, badParameters("change_type: must be reading, archiving or bulk")
	case reading && b.IsRead == nil, (reading || bulk) && b.IsRead != nil && !*b.IsRead:
		return change, badParameters("is_read: must be true")
	case (archiving || bulk) && b.IsArchived == nil:
		return change, badParameters("is_archived: must be there")
	}
	change.Read = !archiving && b.IsRead != nil
	if !reading {
		change.Archived = b.IsArchived
	}
	return change, nil
}

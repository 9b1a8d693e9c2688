package appio

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/text"
	"github.com/appio-go/appio/template"
)

// A MessageID is a ULID: ids of later messages are greater.
type MessageID string

// A Message is what a service writes to a citizen.
type Message struct {
	To       fiscalcode.Person
	Subject  string // 10 to 120 UTF-16 units
	Markdown string // 80 to 10,000 UTF-16 units

	// Language is that of Subject and Markdown, as "it" (BCP 47); empty: not said. Translations are the same text in others, at most 9,
	// each language once, within the same limits; they need Language. What a citizen is shown of them, [Message.In] says. Bills and
	// receipts go by Subject.
	Language     string
	Translations []Translation

	Template TemplateRef // that the texts were made from: see Use; zero: none

	Due            time.Time      // deadline; zero: none
	Payment        *Notice        // nil: nothing to pay
	Prescription   *Prescription  // nil: it is about none
	Remote         *RemoteContent // that the message goes on elsewhere; nil: it does not
	Documents      []Document     // that it carries, from PutDocument; at most 10
	SecureChannels bool           // as for the service; can only tighten
	Premium        bool           // IO's ADVANCED: over IO's API its sender is told whether it was read and paid. For services with Service.Premium.
	TimeToLive     time.Duration  // of its deliveries, from when each may first go, 1 h to 7 days; 0: 1 h. The inbox keeps it in any case.

	// Key makes sending repeatable: the same key and the same message is the same message, the same key and another is
	// ErrConflict. It counts per service and recipient, for 30 days. Empty: every Send is a new message. At most 200 bytes.
	Key string
}

// A Prescription is an electronic prescription of medicine (ricetta) that a message is about.
type Prescription struct {
	NRE        string            // its number in the whole country: 15 UTF-16 units
	IUP        string            // its number in the region: at most 16 UTF-16 units; empty: it has none
	Prescriber fiscalcode.Person // who prescribed it; empty: not said
}

func (p *Prescription) validate() error {
	if err := validText("Prescription.NRE", p.NRE, 15, 15); err != nil {
		return err
	}
	if err := validText("Prescription.IUP", p.IUP, 0, 16); err != nil {
		return err
	}
	if _, err := fiscalcode.ParsePerson(string(p.Prescriber)); err != nil && p.Prescriber != "" {
		return invalid("Prescription.Prescriber", "a fiscal code")
	}
	return nil
}

// A Translation is a message's text in another language.
type Translation = template.Text

// A TemplateRef names one version of a template; see package template.
type TemplateRef = template.Ref

// The limits of the real system's NewMessage are in package text, and these.
const (
	minTTL, maxTTL  = time.Hour, 7 * 24 * time.Hour
	maxKey          = 200
	maxTranslations = 9
)

// Use gives m the texts that a template was rendered to, and the template's name.
func (m *Message) Use(r template.Rendering) {
	m.Language, m.Subject, m.Markdown, m.Translations, m.Template = "", "", "", nil, r.Template
	if len(r.Texts) > 0 {
		m.Language, m.Subject, m.Markdown = r.Texts[0].Language, r.Texts[0].Subject, r.Texts[0].Markdown
		m.Translations = slices.Clone(r.Texts[1:])
	}
}

// In is m as it is shown to a reader who prefers these languages, in order: Subject, Markdown and Language are the best translation's,
// and the text that stood there before is one of the Translations. For each language preferred that is the one with the very tag, else
// the one with the longest tag that it begins with ("de" for "de-AT"), else one of another tag of the same language ("de-CH" for
// "de-AT"). Where none fits, m is as it was. In is how [Citizen.Inbox] and deliveries choose, by Profile.Languages.
func (m Message) In(languages ...string) Message {
	if len(m.Translations) == 0 {
		return m
	}
	best := text.Choose(languages, 1+len(m.Translations), func(i int) string {
		if i == 0 {
			return m.Language
		}
		return m.Translations[i-1].Language
	})
	if best <= 0 {
		return m
	}
	main := Translation{Language: m.Language, Subject: m.Subject, Markdown: m.Markdown}
	m.Translations = slices.Clone(m.Translations)
	shown := &m.Translations[best-1]
	m.Language, m.Subject, m.Markdown = shown.Language, shown.Subject, shown.Markdown
	*shown = main
	sortTranslations(m.Translations)
	return m
}

func sortTranslations(ts []Translation) {
	slices.SortFunc(ts, func(a, b Translation) int { return cmp.Compare(a.Language, b.Language) })
}

// Validate reports what [Sender.Send] would, without the service's own limits.
func (m Message) Validate() error {
	if _, err := fiscalcode.ParsePerson(string(m.To)); err != nil {
		return invalid("To", "a fiscal code")
	}
	if err := validText("Subject", m.Subject, text.MinSubject, text.MaxSubject); err != nil {
		return err
	}
	if err := validText("Markdown", m.Markdown, text.MinMarkdown, text.MaxMarkdown); err != nil {
		return err
	}
	if err := m.validLanguages(); err != nil {
		return err
	}
	if m.Template != (TemplateRef{}) && !m.Template.Valid() {
		return invalid("Template", "an id of [a-z][a-z0-9-]*, at most 64 bytes, and a version of 1 to 999999")
	}
	if !validTime(m.Due) {
		return invalid("Due", "a time whose year has at most four digits")
	}
	if m.Payment != nil {
		if err := m.Payment.validate(); err != nil {
			return err
		}
	}
	if m.Prescription != nil {
		if err := m.Prescription.validate(); err != nil {
			return err
		}
	}
	if m.Remote != nil {
		if err := m.Remote.validate(); err != nil {
			return err
		}
	}
	if err := validDocuments(m.Documents); err != nil {
		return err
	}
	if m.TimeToLive != 0 && (m.TimeToLive < minTTL || m.TimeToLive > maxTTL) {
		return invalid("TimeToLive", "1 hour to 7 days")
	}
	if len(m.Key) > maxKey || !utf8.ValidString(m.Key) {
		return invalid("Key", "at most 200 bytes of UTF-8")
	}
	return nil
}

func (m *Message) validLanguages() error {
	if m.Language == "" && len(m.Translations) == 0 {
		return nil
	}
	if !text.ValidTag(m.Language) {
		return invalid("Language", text.TagRule)
	}
	if len(m.Translations) > maxTranslations {
		return invalid("Translations", "at most 9")
	}
	for i := range m.Translations {
		t, field := &m.Translations[i], fmt.Sprintf("Translations[%d].", i)
		if !text.ValidTag(t.Language) {
			return invalid(field+"Language", text.TagRule)
		}
		if strings.EqualFold(t.Language, m.Language) || slices.ContainsFunc(m.Translations[:i], func(o Translation) bool {
			return strings.EqualFold(o.Language, t.Language)
		}) {
			return invalid(field+"Language", "each language once")
		}
		if err := validText(field+"Subject", t.Subject, text.MinSubject, text.MaxSubject); err != nil {
			return err
		}
		if err := validText(field+"Markdown", t.Markdown, text.MinMarkdown, text.MaxMarkdown); err != nil {
			return err
		}
	}
	return nil
}

// normal is m as it is compared and stored: times with microseconds, translations in the order of their languages.
func (m Message) normal() Message {
	m.Due = micro(m.Due)
	if m.Remote != nil {
		r := *m.Remote
		r.ReceivedAt, r.Organization = micro(r.ReceivedAt), ""
		m.Remote = &r
	}
	if len(m.Translations) > 0 {
		m.Translations = slices.Clone(m.Translations)
		sortTranslations(m.Translations)
	}
	if m.TimeToLive == 0 {
		m.TimeToLive = minTTL
	}
	return m
}

// LogValue has no code or text.
func (m Message) LogValue() slog.Value {
	return slog.GroupValue(slog.Any("to", m.To), slog.Bool("payment", m.Payment != nil), slog.Time("due", m.Due))
}

// Status is what a sender may know of a message.
type Status string

const (
	Processed Status = "PROCESSED" // in the inbox
	Rejected  Status = "REJECTED"  // not: the citizen did not agree, or is not known; the sender is not told which
)

// A Result is what became of one message.
type Result struct {
	ID       MessageID
	Status   Status
	Repeated bool  // Key was used before: this is that message
	Err      error // of SendBatch: why there is no such message
}

// MessageStatus is what became of a message since.
type MessageStatus struct {
	Status Status
	Read   *bool     // nil: not for the service to know
	Paid   *bool     // likewise, of a message with a notice; nil also where notices are not followed: see Options.Payments
	At     time.Time // of the decision

	Premium bool // it was sent as such: see Message.Premium

	// Template is what the message's texts were made from; zero: from none, or, wherever Read is nil, not for the service to know. It goes
	// with the message, and must not tell that the citizen has erased it.
	Template TemplateRef
}

// A SentMessage is a message as its sender sees it.
type SentMessage struct {
	MessageStatus
	Message *Message // as it was sent, with the payee of its notice; nil: it was rejected, or the citizen has it no longer
}

// A Recipient is a citizen as a sender of IO sees them.
type Recipient struct {
	Allowed   bool     // a message would be processed now
	Languages []string // that the citizen prefers, in order
}

// An InboxMessage is a message as its citizen has it: by [Message.In] in the language that suits them, with the others beside it.
type InboxMessage struct {
	Message
	ID       MessageID
	Service  ServiceID
	SentAt   time.Time
	ReadAt   time.Time // zero: not read
	Read     bool
	Archived bool

	PaymentState PaymentState // empty: there is nothing to pay, or notices are not followed
	PaymentAt    time.Time    // when it became so; zero: nothing was heard

	Opening Opening // of Remote, where it has a precondition
}

// LogValue has no code or text.
func (m InboxMessage) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", string(m.ID)), slog.String("service", string(m.Service)), slog.Any("message", m.Message))
}

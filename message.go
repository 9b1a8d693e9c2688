package appio

import (
	"log/slog"
	"time"
	"unicode/utf8"

	"github.com/appio-go/appio/fiscalcode"
)

// A MessageID is a ULID: ids of later messages are greater.
type MessageID string

// A Message is what a service writes to a citizen.
type Message struct {
	To       fiscalcode.Person
	Subject  string // 10 to 120 UTF-16 units
	Markdown string // 80 to 10,000 UTF-16 units

	Due            time.Time     // deadline; zero: none
	Payment        *Notice       // nil: nothing to pay
	SecureChannels bool          // as for the service; can only tighten
	TimeToLive     time.Duration // of its deliveries, 1 h to 7 days; 0: 1 h. The inbox keeps it in any case.

	// Key makes sending repeatable: the same key and the same message is the same message, the same key and another is
	// ErrConflict. It counts per service and recipient, for 30 days. Empty: every Send is a new message. At most 200 bytes.
	Key string
}

// The limits of the real system's NewMessage.
const (
	minSubject, maxSubject   = 10, 120
	minMarkdown, maxMarkdown = 80, 10000
	minTTL, maxTTL           = time.Hour, 7 * 24 * time.Hour
	maxKey                   = 200
)

// Validate reports what [Sender.Send] would, without the service's own limits.
func (m Message) Validate() error {
	if _, err := fiscalcode.ParsePerson(string(m.To)); err != nil {
		return invalid("To", "a fiscal code")
	}
	if err := validText("Subject", m.Subject, minSubject, maxSubject); err != nil {
		return err
	}
	if err := validText("Markdown", m.Markdown, minMarkdown, maxMarkdown); err != nil {
		return err
	}
	if !m.Due.IsZero() && (m.Due.UTC().Year() < 1 || m.Due.UTC().Year() > 9999 || micro(m.Due).UnixMicro() == 0) {
		return invalid("Due", "a time whose year has at most four digits")
	}
	if m.Payment != nil {
		if err := m.Payment.validate(); err != nil {
			return err
		}
	}
	if m.TimeToLive != 0 && (m.TimeToLive < minTTL || m.TimeToLive > maxTTL) {
		return invalid("TimeToLive", "1 hour to 7 days")
	}
	if len(m.Key) > maxKey || !utf8.ValidString(m.Key) {
		return invalid("Key", "at most 200 bytes of UTF-8")
	}
	return nil
}

// normal is m as it is compared and stored: times with microseconds.
func (m Message) normal() Message {
	m.Due = micro(m.Due)
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
}

// An InboxMessage is a message as its citizen has it.
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
}

// LogValue has no code or text.
func (m InboxMessage) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", string(m.ID)), slog.String("service", string(m.Service)), slog.Any("message", m.Message))
}

package appio

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
)

// What each record is in an export. The names of members are what export.schema.json says they mean; a member that says nothing is left
// out.

type exportedProfile struct {
	Kind            string            `json:"kind"`
	Code            string            `json:"fiscal_code"`
	Mode            Mode              `json:"mode"`
	Inbox           bool              `json:"inbox"`
	Channels        map[string]string `json:"channels"`
	Addresses       []exportedAddress `json:"addresses"`
	Languages       []string          `json:"languages"`
	Reminders       exportedReminders `json:"reminders"`
	Quiet           *exportedQuiet    `json:"quiet_hours,omitempty"`
	App             *exportedApp      `json:"app,omitempty"`
	SettingsVersion int               `json:"settings_version"`
	Version         int               `json:"version"`
	Moves           int               `json:"moves,omitempty"`
}

type exportedAddress struct {
	ID          string    `json:"id"`
	Channel     string    `json:"channel"`
	Value       string    `json:"value"`
	SetAt       time.Time `json:"set_at,omitzero"`
	ValidatedAt time.Time `json:"validated_at,omitzero"`
	AskedAt     time.Time `json:"validation_asked_at,omitzero"`
}

type exportedApp struct {
	Terms          string            `json:"terms,omitempty"`
	Version        string            `json:"version,omitempty"`
	RemindersAsked bool              `json:"reminders_asked,omitempty"`
	Shown          map[string]string `json:"shown,omitempty"`
}

type exportedReminders struct {
	Unread   bool `json:"unread"`
	Deadline bool `json:"deadline"`
	Unpaid   bool `json:"unpaid"`
}

type exportedQuiet struct {
	From string `json:"from"`
	To   string `json:"to"`
	Zone string `json:"zone,omitempty"`
}

func exportProfile(d *draft, _ *profileRecord, r, _ *store.Record) (any, error) {
	var p profileRecord
	if err := d.open(r, &p); err != nil {
		return nil, err
	}
	x := exportedProfile{
		Kind: "profile", Code: p.Code, Mode: p.Mode, Inbox: p.Inbox, Channels: exportChannels(p.Channels), Addresses: []exportedAddress{},
		Languages: append([]string{}, p.Languages...), Reminders: exportedReminders(p.reminders()), Quiet: exportQuiet(p.Quiet),
		SettingsVersion: p.SettingsVersion, Version: p.Version, Moves: p.Moves,
	}
	if a := p.App; a != nil {
		x.App = &exportedApp{a.Terms, a.Version, a.RemindersAsked, exportChannels(a.Shown)}
	}
	for _, a := range p.Addresses {
		x.Addresses = append(x.Addresses, exportedAddress{a.ID, a.Channel, a.Value, fromMicro(a.SetAt), fromMicro(a.ValidatedAt), fromMicro(a.ProofAt)})
	}
	return x, nil
}

func exportChannels(cs Channels) map[string]string {
	x := make(map[string]string, len(cs))
	for name, content := range cs {
		x[name] = content.String()
	}
	return x
}

func exportQuiet(q *quietRecord) *exportedQuiet {
	if q == nil {
		return nil
	}
	clock := func(d time.Duration) string { return time.Time{}.Add(d).Format("15:04:05") }
	return &exportedQuiet{clock(q.From), clock(q.To), q.Zone}
}

// exportedChoice is what a citizen, or the mode, says of a service or of all of them.
type exportedChoice struct {
	Inbox           bool              `json:"inbox"`
	Channels        map[string]string `json:"channels"`
	ReadStatus      bool              `json:"read_status"`
	SettingsVersion int               `json:"settings_version"`
	Digest          bool              `json:"digest,omitempty"`
}

func exportChoice(p *preferenceRecord) exportedChoice {
	return exportedChoice{p.Inbox, exportChannels(p.Channels), p.ReadStatus, p.SettingsVersion, p.Digest}
}

type exportedPreference struct {
	Kind    string    `json:"kind"`
	Service ServiceID `json:"service"`
	Current bool      `json:"current"`
	exportedChoice
}

func exportPreference(d *draft, profile *profileRecord, r, _ *store.Record) (any, error) {
	var p preferenceRecord
	if err := d.open(r, &p); err != nil {
		return nil, err
	}
	current := profile != nil && profile.SettingsVersion == p.SettingsVersion
	return exportedPreference{"preference", p.Service, current, exportChoice(&p)}, nil
}

type exportedActivation struct {
	Kind    string    `json:"kind"`
	Service ServiceID `json:"service"`
	Status  string    `json:"status"`
	Since   time.Time `json:"since"`
}

func exportActivation(d *draft, _ *profileRecord, r, _ *store.Record) (any, error) {
	var a activationRecord
	if err := d.open(r, &a); err != nil {
		return nil, err
	}
	status := string(a.Activation)
	if a.Activation == Inactive {
		status = "INACTIVE"
	}
	return exportedActivation{"activation", a.Service, status, fromMicro(a.Since)}, nil
}

type exportedConsent struct {
	Kind     string         `json:"kind"`
	Number   uint64         `json:"number"`
	ID       string         `json:"id"`
	At       time.Time      `json:"at"`
	What     string         `json:"what"`
	By       string         `json:"by"`
	Service  ServiceID      `json:"service,omitempty"`
	Before   exportedChoice `json:"before"`
	After    exportedChoice `json:"after"`
	Mode     Mode           `json:"mode"`
	Quiet    *exportedQuiet `json:"quiet_hours,omitempty"`
	Level    Level          `json:"login_level,omitempty"`
	Provider string         `json:"login_provider,omitempty"`
	Text     string         `json:"consent_text,omitempty"`
	Prev     string         `json:"previous_sha256,omitempty"`
	Hash     string         `json:"sha256"`
	Record   []byte         `json:"record"`
}

// exportConsent has the bytes that the chain is made of, so that whoever has an export can follow it without the store.
func exportConsent(d *draft, _ *profileRecord, r, _ *store.Record) (any, error) {
	payload, err := d.payload(r)
	if err != nil {
		return nil, err
	}
	var ev consentEvent
	if err := decode(payload, &ev); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(payload)
	return exportedConsent{
		"consent", ev.Number, ev.ID, fromMicro(ev.At), ev.What, ev.By, ev.Service, exportChoice(&ev.Before), exportChoice(&ev.After), ev.Mode,
		exportQuiet(ev.Quiet), ev.Level, ev.Provider, ev.Text, hex.EncodeToString(ev.Prev), hex.EncodeToString(sum[:]), payload,
	}, nil
}

type exportedOutcomes struct {
	Kind       string            `json:"kind"`
	Message    MessageID         `json:"message_id"`
	Service    ServiceID         `json:"service"`
	Deliveries []exportedOutcome `json:"deliveries"`
}

type exportedOutcome struct {
	ID         DeliveryID    `json:"id"`
	Channel    string        `json:"channel"`
	Result     OutcomeResult `json:"result"`
	At         time.Time     `json:"at"`
	Attempts   int           `json:"attempts"`
	Cause      string        `json:"cause,omitempty"`
	Late       bool          `json:"late,omitempty"`
	QuietBasis string        `json:"quiet_basis,omitempty"`
	Without    *[]MessageID  `json:"without,omitempty"`
}

func exportOutcomes(items []outcomeItem) []exportedOutcome {
	x := []exportedOutcome{}
	for _, o := range items {
		x = append(x, exportedOutcome{o.ID, o.Channel, o.Result, fromMicro(o.At), o.Attempts, o.Cause, o.Late, o.Basis, o.Without})
	}
	return x
}

func exportOutcome(d *draft, _ *profileRecord, r, _ *store.Record) (any, error) {
	var o outcomeRecord
	if err := d.open(r, &o); err != nil {
		return nil, err
	}
	return exportedOutcomes{"outcomes", messageIDOf(r.Key), o.Service, exportOutcomes(o.Items)}, nil
}

type exportedDelivery struct {
	ID        DeliveryID   `json:"id"`
	Channel   string       `json:"channel"`
	Address   string       `json:"address_id,omitempty"`
	Attempts  int          `json:"attempts"`
	Next      time.Time    `json:"next_at,omitzero"`
	ExpiresAt time.Time    `json:"expires_at,omitzero"`
	Cause     string       `json:"cause,omitempty"`
	Reminder  ReminderKind `json:"reminder,omitempty"`
	Fallback  string       `json:"stands_in_for,omitempty"`
	Quiet     bool         `json:"waits_for_quiet_hours,omitempty"`
	PausedAt  time.Time    `json:"paused_at,omitzero"`
	Replayed  bool         `json:"replayed,omitempty"`
}

func exportDelivery(en *workEntry, expires int64) exportedDelivery {
	return exportedDelivery{
		en.ID, en.Channel, en.Address, en.Attempts, fromMicro(en.Next), fromMicro(expires), en.Cause, en.Reminder, en.Fallback, en.Quiet, fromMicro(en.Paused),
		en.Replayed,
	}
}

type exportedOpen struct {
	Kind       string             `json:"kind"`
	Message    MessageID          `json:"message_id"`
	Service    ServiceID          `json:"service"`
	Deliveries []exportedDelivery `json:"deliveries"`
	Over       []exportedOutcome  `json:"over"`
	Gathered   []MessageID        `json:"gathered,omitempty"`
}

// exportWork leaves out which process holds the work: it says nothing of the person.
func exportWork(d *draft, _ *profileRecord, r, _ *store.Record) (any, error) {
	var w workRecord
	if err := d.open(r, &w); err != nil {
		return nil, err
	}
	x := exportedOpen{"open_deliveries", messageIDOf(r.Key), w.Service, []exportedDelivery{}, exportOutcomes(w.Done), w.Digest.messages()}
	for i := range w.Entries {
		x.Deliveries = append(x.Deliveries, exportDelivery(&w.Entries[i], w.expires(&w.Entries[i])))
	}
	return x, nil
}

// messages are those that a digest has; of nil, which is none: nil.
func (g *gathered) messages() []MessageID {
	if g == nil {
		return nil
	}
	return g.Messages
}

type exportedParked struct {
	Kind     string           `json:"kind"`
	Message  MessageID        `json:"message_id"`
	Service  ServiceID        `json:"service"`
	At       time.Time        `json:"at"`
	Delivery exportedDelivery `json:"delivery"`
	Gathered []MessageID      `json:"gathered,omitempty"`
}

func exportParked(d *draft, _ *profileRecord, r, _ *store.Record) (any, error) {
	var p parkedRecord
	if err := d.open(r, &p); err != nil {
		return nil, err
	}
	x := exportDelivery(&p.Entry, 0) // when a replay would end is not said yet
	x.Next = time.Time{}
	return exportedParked{"parked_delivery", p.Message, p.Service, fromMicro(p.At), x, p.Digest.messages()}, nil
}

type exportedMessage struct {
	Kind         string         `json:"kind"`
	ID           MessageID      `json:"id"`
	Service      ServiceID      `json:"service"`
	SentAt       time.Time      `json:"sent_at"`
	Language     string         `json:"language,omitempty"`
	Subject      string         `json:"subject"`
	Markdown     string         `json:"markdown"`
	Translations []exportedText `json:"translations,omitempty"`
	Template     *exportedRef   `json:"template,omitempty"`
	Due          time.Time      `json:"due,omitzero"`
	Payment      *exportedDebt  `json:"payment,omitempty"`
	Prescription *exportedRx    `json:"prescription,omitempty"`
	Secure       bool           `json:"secure_channels"`
	Premium      bool           `json:"premium"`
	TimeToLive   float64        `json:"time_to_live_seconds"`
	Read         bool           `json:"read"`
	ReadAt       time.Time      `json:"read_at,omitzero"`
	Archived     bool           `json:"archived"`

	Remote  *exportedRemote  `json:"remote_content,omitempty"`
	Opening *exportedOpening `json:"precondition,omitempty"`

	Documents []exportedDocument `json:"documents,omitempty"`
}

type exportedDocument struct {
	ID     DocumentID `json:"id"`
	Name   string     `json:"name"`
	Type   string     `json:"content_type"`
	Size   int64      `json:"size"`
	SHA256 string     `json:"sha256"`
}

type exportedRemote struct {
	ID            string                  `json:"id"`
	Organization  fiscalcode.Organization `json:"organization_fiscal_code"`
	Configuration ConfigurationID         `json:"configuration_id"`
	Precondition  Precondition            `json:"precondition"`
	Sender        string                  `json:"original_sender,omitempty"`
	ReceivedAt    time.Time               `json:"original_receipt_date,omitzero"`
	Summary       string                  `json:"summary,omitempty"`
	Attachments   bool                    `json:"attachments"`
	Text          bool                    `json:"text"`
}

type exportedOpening struct {
	ShownAt    time.Time `json:"shown_at"`
	SHA256     string    `json:"shown_sha256"`
	AcceptedAt time.Time `json:"accepted_at,omitzero"`
	Level      Level     `json:"login_level,omitempty"`
	Provider   string    `json:"login_provider,omitempty"`
}

type exportedText struct {
	Language string `json:"language"`
	Subject  string `json:"subject"`
	Markdown string `json:"markdown"`
}

type exportedRx struct {
	NRE        string `json:"nre"`
	IUP        string `json:"iup,omitempty"`
	Prescriber string `json:"prescriber_fiscal_code,omitempty"`
}

type exportedRef struct {
	ID      string `json:"id"`
	Version int    `json:"version"`
}

type exportedDebt struct {
	Number          string `json:"notice_number"`
	Amount          int64  `json:"amount_cents"`
	Payee           string `json:"payee_fiscal_code,omitempty"`
	InvalidAfterDue bool   `json:"invalid_after_due"`
}

func exportMessage(d *draft, _ *profileRecord, r, state *store.Record) (any, error) {
	var m messageRecord
	if recordKind(d.owner, r.Key) != "message" { // a state whose message is missing
		return nil, errFields
	}
	if err := d.open(r, &m); err != nil {
		return nil, err
	}
	var s stateRecord
	if state != nil {
		if err := d.open(state, &s); err != nil {
			return nil, err
		}
	}
	x := exportedMessage{
		Kind: "message", ID: messageIDOf(r.Key), Service: m.Service, SentAt: fromMicro(m.At), Language: m.Language, Subject: m.Subject,
		Markdown: m.Markdown, Due: fromMicro(m.Due), Secure: m.Secure, Premium: m.Premium, TimeToLive: m.TTL.Seconds(),
		Read: s.ReadAt != 0, ReadAt: fromMicro(s.ReadAt), Archived: s.Archived,
	}
	for _, t := range m.Translations {
		x.Translations = append(x.Translations, exportedText(t))
	}
	if m.Template != "" {
		x.Template = &exportedRef{m.Template, m.TemplateVersion}
	}
	if n := m.Payment; n != nil {
		x.Payment = &exportedDebt{n.Number, n.Amount, n.Payee, n.Invalid}
	}
	if p := m.Prescription; p != nil {
		x.Prescription = &exportedRx{p.NRE, p.IUP, p.Prescriber}
	}
	if c := m.remote().content(); c != nil {
		x.Remote = &exportedRemote{c.ID, c.Organization, c.Configuration, c.Precondition, c.OriginalSender, c.ReceivedAt, c.Summary, c.Attachments, c.Text}
	}
	for _, r := range m.documents() {
		d := r.document()
		x.Documents = append(x.Documents, exportedDocument{d.ID, d.Name, d.Type, d.Size, d.SHA256})
	}
	if s.Opening != nil {
		o := s.Opening.opening()
		x.Opening = &exportedOpening{o.ShownAt, o.SHA256, o.AcceptedAt, o.Level, o.Provider}
	}
	return x, nil
}

type exportedBill struct {
	Kind            string       `json:"kind"`
	Creditor        string       `json:"creditor_fiscal_code"`
	Notice          string       `json:"notice_number"`
	Amount          int64        `json:"amount_cents"`
	Payee           string       `json:"payee,omitempty"`
	Description     string       `json:"description,omitempty"`
	Due             time.Time    `json:"due,omitzero"`
	InvalidAfterDue bool         `json:"invalid_after_due"`
	State           PaymentState `json:"state"`
	StateAt         time.Time    `json:"state_at,omitzero"`
	Event           string       `json:"event,omitempty"`
	AddedAt         time.Time    `json:"added_at"`
	Paper           bool         `json:"from_paper"`
	Messages        []MessageID  `json:"message_ids"`
	Attempt         string       `json:"payment_key,omitempty"`
	BegunAt         time.Time    `json:"payment_begun_at,omitzero"`
	Until           time.Time    `json:"payment_until,omitzero"`
}

// exportBill has what was heard of the notice, not what follows from the time at which it is read.
func exportBill(d *draft, _ *profileRecord, r, _ *store.Record) (any, error) {
	var b billRecord
	if err := d.open(r, &b); err != nil {
		return nil, err
	}
	x := exportedBill{
		Kind: "bill", Creditor: b.Creditor, Notice: b.Notice, Amount: b.Amount, Payee: b.Payee, Description: b.Text, Due: fromMicro(b.Due),
		InvalidAfterDue: b.Invalid, State: Unpaid, AddedAt: fromMicro(b.Added), Paper: b.Paper, Messages: append([]MessageID{}, b.Messages...),
		Attempt: b.Attempt, BegunAt: fromMicro(b.Begun), Until: fromMicro(b.Until),
	}
	if n := b.News; n != nil {
		x.State, x.StateAt, x.Event = n.State, fromMicro(n.At), n.Event
	}
	return x, nil
}

type exportedReceipt struct {
	Kind string `json:"kind"`
	receiptJSON
}

func exportReceipt(d *draft, _ *profileRecord, r, _ *store.Record) (any, error) {
	var y receiptRecord
	if err := d.open(r, &y); err != nil {
		return nil, err
	}
	return exportedReceipt{"receipt", y.receipt().json()}, nil
}

type exportedReminder struct {
	Kind     string    `json:"kind"`
	Service  ServiceID `json:"service"`
	Message  MessageID `json:"message_id"`
	Unpaid   bool      `json:"of_a_bill"`
	Next     time.Time `json:"next_at,omitzero"`
	LastSlot time.Time `json:"last_at,omitzero"`
	Since    time.Time `json:"since"`
	Due      time.Time `json:"due,omitzero"`
}

func exportReminder(d *draft, _ *profileRecord, r, _ *store.Record) (any, error) {
	var m reminderRecord
	if err := d.open(r, &m); err != nil {
		return nil, err
	}
	return exportedReminder{"reminder", m.Service, m.Message, m.Bill != "", r.Due.UTC(), fromMicro(m.Last), fromMicro(m.Since), fromMicro(m.Due)}, nil
}

type exportedRequest struct {
	Kind      string        `json:"kind"`
	Choice    DataChoice    `json:"choice"`
	Status    RequestStatus `json:"status"`
	Version   int           `json:"version"`
	AskedAt   time.Time     `json:"asked_at"`
	ChangedAt time.Time     `json:"changed_at"`
	Due       time.Time     `json:"due,omitzero"`
	Reason    string        `json:"reason,omitempty"`
	Level     Level         `json:"login_level,omitempty"`
	Provider  string        `json:"login_provider,omitempty"`
	Text      string        `json:"consent_text,omitempty"`
}

func exportRequest(d *draft, _ *profileRecord, r, _ *store.Record) (any, error) {
	var q requestRecord
	if err := d.open(r, &q); err != nil {
		return nil, err
	}
	choice := DownloadData
	if r.Key == keyDeletion {
		choice = DeleteData
	}
	return exportedRequest{
		"request", choice, q.Status, q.Version, fromMicro(q.Asked), fromMicro(q.Changed), fromMicro(q.Due), q.Reason, q.Level, q.Provider, q.Text,
	}, nil
}

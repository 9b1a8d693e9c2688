package appio

import (
	"encoding/hex"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
)

type noticeRecord struct {
	Number  string `msgpack:"n"`
	Amount  int64  `msgpack:"a"`
	Payee   string `msgpack:"p,omitempty"`
	Invalid bool   `msgpack:"i,omitempty"`
}

// A messageRecord is what was written. It is never changed.
type messageRecord struct {
	Service  ServiceID     `msgpack:"n"`
	At       int64         `msgpack:"t"`
	Subject  string        `msgpack:"s"`
	Markdown string        `msgpack:"b"`
	Due      int64         `msgpack:"d,omitempty"`
	Payment  *noticeRecord `msgpack:"p,omitempty"`
	Secure   bool          `msgpack:"c,omitempty"`
	TTL      time.Duration `msgpack:"l,omitempty"`

	Language        string              `msgpack:"g,omitempty"`
	Translations    []translationRecord `msgpack:"x,omitempty"`
	Template        string              `msgpack:"m,omitempty"`
	TemplateVersion int                 `msgpack:"v,omitempty"`

	Premium      bool                `msgpack:"e,omitempty"`
	Prescription *prescriptionRecord `msgpack:"r,omitempty"`
	Attached     *attachedRecord     `msgpack:"a,omitempty"`
}

type prescriptionRecord struct {
	NRE        string `msgpack:"n"`
	IUP        string `msgpack:"i,omitempty"`
	Prescriber string `msgpack:"p,omitempty"`
}

// An attachedRecord is what a message has beside its texts: one field, as a record has fifteen at most.
type attachedRecord struct {
	Remote    *remoteRecord    `msgpack:"r,omitempty"`
	Documents []documentRecord `msgpack:"f,omitempty"`
}

// attach adds to what the message has.
func (r *messageRecord) attach(remote *remoteRecord, docs []documentRecord) {
	if remote != nil || len(docs) > 0 {
		r.Attached = &attachedRecord{remote, docs}
	}
}

func (r *messageRecord) remote() *remoteRecord {
	if r.Attached == nil {
		return nil
	}
	return r.Attached.Remote
}

func (r *messageRecord) documents() []documentRecord {
	if r.Attached == nil {
		return nil
	}
	return r.Attached.Documents
}

// A documentRecord is of a document that is kept elsewhere, sealed under Key.
type documentRecord struct {
	ID   DocumentID `msgpack:"i"`
	Name string     `msgpack:"n"`
	Type string     `msgpack:"t"`
	Size int64      `msgpack:"z"`
	Sum  []byte     `msgpack:"s"` // SHA-256 of its content
	Key  []byte     `msgpack:"k"`
}

func (r *documentRecord) document() Document {
	return Document{ID: r.ID, Name: r.Name, Type: r.Type, Size: r.Size, SHA256: hex.EncodeToString(r.Sum)}
}

// A documentUseRecord is what a service has put of documents on a day.
type documentUseRecord struct {
	Day    int64  `msgpack:"d"`
	Bytes  int64  `msgpack:"b"`
	Change uint64 `msgpack:"c"` // random
}

// An ownedRecord says which message has a document.
type ownedRecord struct {
	Message MessageID `msgpack:"m"`
}

type translationRecord struct {
	Language string `msgpack:"g"`
	Subject  string `msgpack:"s"`
	Markdown string `msgpack:"b"`
}

func newMessageRecord(service ServiceID, m *Message, at int64) *messageRecord {
	r := &messageRecord{
		Service: service, At: at, Subject: m.Subject, Markdown: m.Markdown,
		Due: toMicro(m.Due), Secure: m.SecureChannels, TTL: m.TimeToLive,
		Language: m.Language, Template: m.Template.ID, TemplateVersion: m.Template.Version, Premium: m.Premium,
	}
	for _, t := range m.Translations {
		r.Translations = append(r.Translations, translationRecord(t))
	}
	if n := m.Payment; n != nil {
		r.Payment = &noticeRecord{string(n.Number), int64(n.Amount), string(n.Payee), n.InvalidAfterDue}
	}
	if p := m.Prescription; p != nil {
		r.Prescription = &prescriptionRecord{p.NRE, p.IUP, string(p.Prescriber)}
	}
	if m.Remote != nil {
		r.attach(newRemoteRecord(m.Remote), nil)
	}
	return r
}

func (r *messageRecord) template() TemplateRef {
	return TemplateRef{ID: r.Template, Version: r.TemplateVersion}
}

// size is how many bytes of text it has.
func (r *messageRecord) size() int {
	n := len(r.Markdown)
	for i := range r.Translations {
		n += len(r.Translations[i].Markdown)
	}
	return n
}

func (r *messageRecord) message(to fiscalcode.Person) Message {
	m := Message{
		To: to, Subject: r.Subject, Markdown: r.Markdown, Due: fromMicro(r.Due),
		SecureChannels: r.Secure, TimeToLive: r.TTL, Language: r.Language, Template: r.template(),
		Premium: r.Premium, Remote: r.remote().content(),
	}
	for _, t := range r.Translations {
		m.Translations = append(m.Translations, Translation(t))
	}
	for _, d := range r.documents() {
		m.Documents = append(m.Documents, d.document())
	}
	if n := r.Payment; n != nil {
		m.Payment = &Notice{pagopa.NoticeNumber(n.Number), pagopa.Amount(n.Amount), fiscalcode.Organization(n.Payee), n.Invalid}
	}
	if p := r.Prescription; p != nil {
		m.Prescription = &Prescription{p.NRE, p.IUP, fiscalcode.Person(p.Prescriber)}
	}
	return m
}

type stateRecord struct {
	ReadAt   int64          `msgpack:"r,omitempty"`
	Archived bool           `msgpack:"a,omitempty"`
	Opening  *openingRecord `msgpack:"o,omitempty"`
}

// An openingRecord is what the citizen has seen and accepted of a precondition.
type openingRecord struct {
	ShownAt    int64  `msgpack:"t"`
	Text       []byte `msgpack:"x"` // SHA-256 of what was shown
	AcceptedAt int64  `msgpack:"a,omitempty"`
	Level      Level  `msgpack:"l,omitempty"`
	Provider   string `msgpack:"o,omitempty"`
}

// A repeatRecord settles an idempotency key.
type repeatRecord struct {
	ID     MessageID `msgpack:"i"`
	Status Status    `msgpack:"s"`
	Body   []byte    `msgpack:"b"`
}

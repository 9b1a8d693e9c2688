package appio

import (
	"time"

	"github.com/appio-go/appio/fiscalcode"
)

type dataKeyRecord struct {
	ID  uint32 `msgpack:"i"`
	Key []byte `msgpack:"k"`
}

type addressRecord struct {
	ID          string `msgpack:"i"`
	Channel     string `msgpack:"c"`
	Value       string `msgpack:"v"`
	ValidatedAt int64  `msgpack:"t,omitempty"`
	SetAt       int64  `msgpack:"s,omitempty"` // when Value became what it is
	Proof       []byte `msgpack:"p,omitempty"` // SHA-256 of the token that validates it; nil: none was asked for
	ProofAt     int64  `msgpack:"q,omitempty"` // when it was
}

type profileRecord struct {
	Code            string          `msgpack:"f"` // for routes that find people by it
	Mode            Mode            `msgpack:"m,omitempty"`
	SettingsVersion int             `msgpack:"s,omitempty"`
	Inbox           bool            `msgpack:"i,omitempty"`
	Channels        Channels        `msgpack:"c,omitempty"`
	Addresses       []addressRecord `msgpack:"a,omitempty"`
	Languages       []string        `msgpack:"l,omitempty"`
	Version         int             `msgpack:"v"`
	Reminders       uint8           `msgpack:"r,omitempty"`
	Quiet           *quietRecord    `msgpack:"q,omitempty"` // nil: none
	App             *appRecord      `msgpack:"x,omitempty"` // nil: nothing
	Moves           int             `msgpack:"h,omitempty"`
}

// An appRecord is what an app keeps with the profile.
type appRecord struct {
	Terms          string   `msgpack:"t,omitempty"`
	Version        string   `msgpack:"v,omitempty"`
	RemindersAsked bool     `msgpack:"r,omitempty"`
	Shown          Channels `msgpack:"c,omitempty"`
}

func newAppRecord(a AppSettings) *appRecord {
	if a.Terms == "" && a.Version == "" && !a.RemindersAsked && len(a.Shown) == 0 {
		return nil
	}
	return &appRecord{a.Terms, a.Version, a.RemindersAsked, a.Shown}
}

// settings is zero of nil.
func (r *appRecord) settings() AppSettings {
	if r == nil {
		return AppSettings{}
	}
	return AppSettings{r.Terms, r.Version, r.RemindersAsked, r.Shown}
}

type quietRecord struct {
	From time.Duration `msgpack:"f,omitempty"`
	To   time.Duration `msgpack:"t,omitempty"`
	Zone string        `msgpack:"z,omitempty"`
}

func newQuietRecord(q QuietHours) *quietRecord {
	if q == (QuietHours{}) {
		return nil
	}
	return &quietRecord{q.From, q.To, q.Zone}
}

// hours is zero of nil.
func (r *quietRecord) hours() QuietHours {
	if r == nil {
		return QuietHours{}
	}
	return QuietHours{r.From, r.To, r.Zone}
}

func newProfileRecord(code fiscalcode.Person, p *Profile) *profileRecord {
	r := &profileRecord{string(code), p.Mode, p.SettingsVersion, p.Inbox, p.Channels, nil, p.Languages, p.Version,
		bits(p.Reminders.Unread, p.Reminders.Deadline, p.Reminders.Unpaid), newQuietRecord(p.Quiet), newAppRecord(p.App), p.Moves}
	for _, a := range p.Addresses {
		r.Addresses = append(r.Addresses, addressRecord{ID: a.ID, Channel: a.Channel, Value: a.Value, ValidatedAt: toMicro(a.ValidatedAt)})
	}
	return r
}

func (r *profileRecord) profile() *Profile {
	p := &Profile{r.Mode, r.SettingsVersion, r.Inbox, r.Channels, nil, r.Languages, r.reminders(), r.Quiet.hours(), r.App.settings(), r.Version, r.Moves}
	for _, a := range r.Addresses {
		p.Addresses = append(p.Addresses, Address{a.ID, a.Channel, a.Value, fromMicro(a.ValidatedAt)})
	}
	return p
}

// languages are those of the profile; none if there is no profile.
func (r *profileRecord) languages() []string {
	if r == nil {
		return nil
	}
	return r.Languages
}

type preferenceRecord struct {
	Service         ServiceID `msgpack:"n"`
	Inbox           bool      `msgpack:"i,omitempty"`
	Channels        Channels  `msgpack:"c,omitempty"`
	ReadStatus      bool      `msgpack:"r,omitempty"`
	SettingsVersion int       `msgpack:"s"`
	Digest          bool      `msgpack:"d,omitempty"`
}

type activationRecord struct {
	Service    ServiceID  `msgpack:"n"`
	Activation Activation `msgpack:"a,omitempty"`
	Since      int64      `msgpack:"s"`
	Version    int        `msgpack:"v,omitempty"` // how often it was said before
}

// A takenRecord names the citizen who has proved an address, or is about to. It is a hint: an erasure leaves it behind.
type takenRecord struct {
	Citizen string `msgpack:"c"` // name of the owner
	At      int64  `msgpack:"t"`
}

// A consentEvent is one link of a person's chain of choices.
type consentEvent struct {
	Number   uint64           `msgpack:"i"`
	Prev     []byte           `msgpack:"p,omitempty"` // SHA-256 of the payload before
	ID       string           `msgpack:"x"`           // random
	At       int64            `msgpack:"t"`
	What     string           `msgpack:"w"`
	Service  ServiceID        `msgpack:"n,omitempty"`
	Before   preferenceRecord `msgpack:"b"`
	After    preferenceRecord `msgpack:"a"`
	Mode     Mode             `msgpack:"m,omitempty"`
	Level    Level            `msgpack:"l,omitempty"`
	Provider string           `msgpack:"o,omitempty"`
	Text     string           `msgpack:"v,omitempty"`
	By       string           `msgpack:"y"`
	Quiet    *quietRecord     `msgpack:"q,omitempty"` // of the profile, after the change
}

// A requestRecord is the last request of a kind that a citizen made about their data, by which login.
type requestRecord struct {
	Status   RequestStatus `msgpack:"s"`
	Version  int           `msgpack:"v"`
	Asked    int64         `msgpack:"t"`
	Changed  int64         `msgpack:"c"`
	Due      int64         `msgpack:"d,omitempty"` // of a deletion that is pending
	Waited   int           `msgpack:"w,omitempty"` // how often the deletion has waited for a download
	Reason   string        `msgpack:"e,omitempty"`
	Level    Level         `msgpack:"l,omitempty"`
	Provider string        `msgpack:"o,omitempty"`
	Text     string        `msgpack:"x,omitempty"`
}

type tombstoneRecord struct {
	At int64 `msgpack:"t"`
}

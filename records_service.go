package appio

import (
	"slices"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
)

type organizationRecord struct {
	Code     string `msgpack:"c"`
	Name     string `msgpack:"n"`
	SignedAt int64  `msgpack:"s,omitempty"`
	At       int64  `msgpack:"t"`

	DraftedAt   int64    `msgpack:"d,omitempty"`
	WithdrawnAt int64    `msgpack:"w,omitempty"`
	Aggregators []string `msgpack:"a,omitempty"`
	Turns       uint64   `msgpack:"g,omitempty"` // how often an agreement began or ended
}

// A memberRecord is who may act for an organization.
type memberRecord struct {
	ID       string `msgpack:"i"`
	Role     Role   `msgpack:"r"`
	Delegate bool   `msgpack:"d,omitempty"`
	From     int64  `msgpack:"f,omitempty"`
	Until    int64  `msgpack:"u,omitempty"`
	At       int64  `msgpack:"t"`
}

type serviceRecord struct {
	ID           ServiceID    `msgpack:"i"`
	Name         string       `msgpack:"n"`
	Organization string       `msgpack:"o"`
	OrgName      string       `msgpack:"on,omitempty"`
	State        ServiceState `msgpack:"st,omitempty"`
	Category     Category     `msgpack:"c,omitempty"`
	Basis        LegalBasis   `msgpack:"b,omitempty"`
	Secure       bool         `msgpack:"sc,omitempty"`
	MaxPayment   int64        `msgpack:"mp,omitempty"`
	OtherPayees  bool         `msgpack:"py,omitempty"`
	Trial        []string     `msgpack:"tr,omitempty"` // see listed.go
	Prefixes     []string     `msgpack:"px,omitempty"`
	Texts        []string     `msgpack:"tx,omitempty"` // in the order of texts, up to the last that is not empty
	Keys         [][]byte     `msgpack:"k,omitempty"`  // SHA-256, by KeySlot; empty: none
	At           int64        `msgpack:"t"`
	LoweredAt    int64        `msgpack:"lo,omitempty"` // when it last lost something
	QuietBasis   string       `msgpack:"qb,omitempty"`
	SendRate     float64      `msgpack:"rs,omitempty"`
	DeliveryRate float64      `msgpack:"rd,omitempty"`
	Premium      bool         `msgpack:"pm,omitempty"`
	Reach        Reach        `msgpack:"re,omitempty"`
	Scopes       []Scope      `msgpack:"ks,omitempty"` // of its keys; empty: all
	Held         bool         `msgpack:"hd,omitempty"` // stopped, and by the operator
}

// texts are a service's, in the order in which they are kept. It only grows.
func (s *Service) texts() []*string {
	return []*string{
		&s.Description, &s.Privacy, &s.Web, &s.Email, &s.Phone, &s.PEC, &s.Support, &s.Topic, &s.Assessment,
		&s.Department, &s.Address, &s.Terms, &s.AppleApp, &s.AndroidApp, &s.CallToAction, &s.TokenName,
	}
}

// newServiceRecord is a service without its Trial.
func newServiceRecord(s *Service, at int64) *serviceRecord {
	r := &serviceRecord{
		ID: s.ID, Name: s.Name, Organization: string(s.Organization), State: s.State, Category: s.Category, Basis: s.Basis,
		Secure: s.SecureChannels, QuietBasis: s.QuietBasis, MaxPayment: int64(s.MaxPayment), OtherPayees: s.OtherPayees, At: at,
		SendRate: s.SendRate, DeliveryRate: s.DeliveryRate, Premium: s.Premium, Reach: s.Reach, Scopes: s.Scopes, Prefixes: prefixTexts(s.Prefixes),
	}
	for i, text := range s.texts() {
		if *text != "" {
			r.Texts = append(append(r.Texts, make([]string, i-len(r.Texts))...), *text)
		}
	}
	return r
}

// service is the service without its Trial: see Engine.show.
func (r *serviceRecord) service() (Service, error) {
	s := Service{
		ID: r.ID, Name: r.Name, Organization: fiscalcode.Organization(r.Organization), State: r.State, Category: r.Category,
		Basis: r.Basis, SecureChannels: r.Secure, QuietBasis: r.QuietBasis, MaxPayment: pagopa.Amount(r.MaxPayment), OtherPayees: r.OtherPayees,
		SendRate: r.SendRate, DeliveryRate: r.DeliveryRate, Premium: r.Premium, Reach: r.Reach, Scopes: slices.Clone(r.Scopes),
	}
	var err error
	if s.Prefixes, err = parsePrefixes(r.Prefixes); err != nil {
		return s, err
	}
	for i, text := range s.texts() {
		if i < len(r.Texts) {
			*text = r.Texts[i]
		}
	}
	return s, nil
}

// A draftRecord is the next version of a service, and where it stands.
type draftRecord struct {
	Data        serviceRecord `msgpack:"d"` // without keys
	Stage       Stage         `msgpack:"st,omitempty"`
	Publish     bool          `msgpack:"p,omitempty"` // once it is approved
	Reason      string        `msgpack:"r,omitempty"`
	Version     uint64        `msgpack:"v"` // edits
	Changes     uint64        `msgpack:"n"` // of the history
	At          int64         `msgpack:"t"`
	SubmittedAt int64         `msgpack:"su,omitempty"`
	ApprovedAt  int64         `msgpack:"ap,omitempty"` // 0: no version ever was
	Agreement   uint64        `msgpack:"ag,omitempty"` // that it was last published under
	Barred      uint64        `msgpack:"ba,omitempty"` // the last agreement that it may not be published under
	Group       string        `msgpack:"g,omitempty"`
	Offered     string        `msgpack:"of,omitempty"` // to which organization
	Edited      uint64        `msgpack:"ed,omitempty"` // number of the entry that has Data as it is
	Released    uint64        `msgpack:"rl,omitempty"` // and of that which has what was last approved
}

// A changeRecord is one entry of a service's history.
type changeRecord struct {
	ID          []byte         `msgpack:"i"` // random
	At          int64          `msgpack:"t"`
	What        ServiceChange  `msgpack:"w"`
	By          ServiceActor   `msgpack:"b"`
	Who         string         `msgpack:"u,omitempty"`
	Stage       Stage          `msgpack:"st,omitempty"`
	Publication Publication    `msgpack:"pb,omitempty"`
	Version     uint64         `msgpack:"v"`
	Reason      string         `msgpack:"r,omitempty"`
	Data        *serviceRecord `msgpack:"d,omitempty"`  // of an edit, without keys and recipients
	Of          uint64         `msgpack:"of,omitempty"` // number of the entry that has the Data which this one is about; 0: not known
}

type logoRecord struct {
	PNG []byte `msgpack:"p"`
	At  int64  `msgpack:"t"`
}

// A preparedRecord is a service that an organization may have prepared.
type preparedRecord struct {
	Service ServiceID `msgpack:"s"`
}

func (r *serviceRecord) withoutKeys() serviceRecord {
	c := *r
	c.Keys, c.LoweredAt = nil, 0
	return c
}

// A derivedRecord is what a service's keys are derived from, by KeySlot; the keys themselves are nowhere.
type derivedRecord struct {
	Slots []derivedSlot `msgpack:"s"`
}

type derivedSlot struct {
	Generation uint64 `msgpack:"g,omitempty"` // 0: the slot never had a derived key
	Key        uint32 `msgpack:"k,omitempty"` // number of the engine key
	Hash       []byte `msgpack:"h,omitempty"` // of the API key
}

type keyUseRecord struct {
	At int64 `msgpack:"t"`
}

// An apiKeyRecord is whose a key is: a service's, or an organization's.
type apiKeyRecord struct {
	Service      ServiceID `msgpack:"s"`
	Organization string    `msgpack:"o,omitempty"`
	Record       store.Key `msgpack:"r,omitempty"` // of the organization, that has it
}

// A manageKeyRecord is a key by which an organization is managed.
type manageKeyRecord struct {
	ID       string   `msgpack:"i"`
	Role     Role     `msgpack:"r"`
	Group    string   `msgpack:"g,omitempty"`
	Prefixes []string `msgpack:"px,omitempty"`
	Via      string   `msgpack:"v,omitempty"` // the aggregator whose it is; empty: none
	Keys     [][]byte `msgpack:"k,omitempty"` // as of a service
	At       int64    `msgpack:"t"`
}

package appio

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
)

// Keys of a citizen's records. Those marked E are sealed under the engine key and outlive an erasure, which destroys the
// person's data key and so the others at once.
const (
	keyTombstone store.Key = "!" // E: an erasure is under way
	keyDataKey   store.Key = "K" // E: the person's data key; destroyed by erasure
	keyProfile   store.Key = "P"

	prefixPreference    = "c/" // + pseudonym of the service
	prefixActivation    = "s/" // + pseudonym of the service; E
	prefixDecision      = "d/" // + message id; E
	prefixHistory       = "h/" // + number of the event; E
	prefixRepeat        = "i/" // + pseudonym of service and idempotency key; E
	prefixMessage       = "m/" // + message id: what was written; + "+": whether it was read, archived
	prefixOutcome       = "o/" // + message id; E
	prefixWork          = "q/"
	prefixWaiting       = "q/w/" // + message id: open work that nobody holds; E
	prefixLeased        = "q/l/" // + message id: open work under a lease; E
	prefixParked        = "x/"   // + delivery id; E
	prefixBill          = "b/"   // + pseudonym of the RPT id
	prefixReceipt       = "y/"   // + when it was paid, and the same pseudonym
	prefixEffect        = "e/"   // + the same pseudonym: the notice is to be told of the citizen; E
	prefixDigest        = "g/"   // + pseudonym of the service, and of secrecy: the digest that its messages are gathered in; E
	prefixDocument      = "f/"   // + id of a document: which message has it
	prefixReminder      = "r/"
	prefixRemindMessage = "r/m/" // + message id: when it is reminded of; E
	prefixRemindBill    = "r/b/" // + the pseudonym of a bill, likewise; E
	prefixFeed          = "w/"   // + number of a consent event: the subscriptions feed is to be told of it; E
	prefixTally         = "n/"   // + kind and what it is of: a mark for statistics; E
	prefixRequest       = "u/"   // + what the citizen asked for; E
	prefixCleanUp       = "z/"   // + task; E
	prefixQuarantine    = "?/"   // + lane, due and key of a record that could not be read

	stateSuffix = "+"
)

// Keys of a citizen's requests.
const (
	keyDownload store.Key = prefixRequest + "download"
	keyDeletion store.Key = prefixRequest + "delete"
)

// Keys of other owners' records.
const (
	keyService      store.Key = "S"
	keyOrganization store.Key = "O"
	keyAPIKey       store.Key = "A"
	keyNews         store.Key = "N"  // of a notice: what the gateway's side said last
	keySpread       store.Key = "T"  // of a notice: its debtors are to be told
	prefixDebtor              = "c/" // of a notice; + name of a citizen who has it
	keyDerived      store.Key = "G"  // of a service: which of its keys are derived
	keyUse          store.Key = "U"  // of an API key: when it was used last
	keyLogo         store.Key = "I"  // of a service, or of an organization
	keyDraft        store.Key = "D"  // of a service: its next version
	prefixChange              = "L/" // of a service; + number: what happened to it
	prefixMember              = "u/" // of an organization; + pseudonym of a member
	prefixManageKey           = "k/" // of an organization; + pseudonym of a key by which it is managed
	prefixPrepared            = "s/" // of an organization; + id of a service that it may have prepared: a hint
	keyTaken        store.Key = "C"  // of an address: who has proved it
	prefixRemote              = "x/" // of an organization; + id of a remote-content configuration
	keyFormat       store.Key = "format"
	keyRoot         store.Key = "root"
	keyRestored     store.Key = "restored" // the store is a restored backup that no engine has used yet
	keyPaused       store.Key = "paused"
)

// keyClosed is of statistics: up to when days are counted for good.
const keyClosed store.Key = "C"

// Keys of records of a part of a day's feed: see feed.go.
const (
	prefixFeedPerson  = "i/" // + pseudonym of a person: what was said of them
	prefixFeedAll     = "p/" // + pseudonym of a person: what was said of all services, for who reads
	prefixFeedService = "s/" // + pseudonyms of a service and of a person: what was said of the service
)

// The kinds of lanes. A delivery lane is a kind and a hash of the service. Services whose hash is the same have a lane in common, in
// which the work of one must not stand before another's: so what a service sends in great number, and what of it
// there was no room for when its turn came, stands in another, behind; and what is paused in a third.
const (
	laneDelivery    store.Lane = 0x0100 // to 0x013f
	laneBacklog     store.Lane = 0x0140 // to 0x017f
	lanePaused      store.Lane = 0x0180 // to 0x01bf
	laneCleanUp     store.Lane = 0x0300 // to 0x030f
	laneParked      store.Lane = 0x0400
	laneQuarantined store.Lane = 0x0500

	laneEffect   store.Lane = 0x0200 // to 0x020f
	laneReminder store.Lane = 0x0600 // to 0x060f
	laneDownload store.Lane = 0x0700
	laneReview   store.Lane = 0x0a00 // drafts that are submitted

	// Nobody looks for work in these: they are records in the order of time, by a hash of the service.
	laneDecided store.Lane = 0x0800 // to 0x083f: decisions to process
	laneOver    store.Lane = 0x0840 // to 0x087f: outcomes

	deliveryLanes = 64                // of each of the three kinds
	openLanes     = 2 * deliveryLanes // those that are looked at for due work
	workLanes     = 3 * deliveryLanes
	effectLanes   = 16
	reminderLanes = 16
	cleanUpLanes  = 16
)

func deliveryLane(id ServiceID) store.Lane {
	return laneDelivery + store.Lane(hash32(string(id))%deliveryLanes)
}

func backlogLane(id ServiceID) store.Lane { return deliveryLane(id) - laneDelivery + laneBacklog }
func pausedLane(id ServiceID) store.Lane  { return deliveryLane(id) - laneDelivery + lanePaused }

func cleanUpLane(owner store.Owner) store.Lane {
	return laneCleanUp + store.Lane(hash32(string(owner))%cleanUpLanes)
}

func effectLane(owner store.Owner) store.Lane {
	return laneEffect + store.Lane(hash32(string(owner))%effectLanes)
}

func reminderLane(owner store.Owner) store.Lane {
	return laneReminder + store.Lane(hash32(string(owner))%reminderLanes)
}

func hash32(s string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(s))
	return h.Sum32()
}

// isConsent reports whether a citizen's consent depends on the record; isMessage, whether it is a message.
func isConsent(k store.Key) bool {
	return k == keyTombstone || k == keyDataKey || k == keyProfile || strings.HasPrefix(string(k), prefixPreference) ||
		strings.HasPrefix(string(k), prefixActivation)
}

func isMessage(k store.Key) bool { return strings.HasPrefix(string(k), prefixMessage) }

func messageKey(id MessageID) store.Key  { return prefixMessage + store.Key(id) }
func stateKey(id MessageID) store.Key    { return prefixMessage + store.Key(id) + stateSuffix }
func decisionKey(id MessageID) store.Key { return prefixDecision + store.Key(id) }
func outcomeKey(id MessageID) store.Key  { return prefixOutcome + store.Key(id) }
func waitingKey(id MessageID) store.Key  { return prefixWaiting + store.Key(id) }
func leasedKey(id MessageID) store.Key   { return prefixLeased + store.Key(id) }

// workKeys are where open work of a message stands, and what became of it. Each delivery asks for them many times.
type workKeys [3]store.Key

func keysOfWork(id MessageID) workKeys {
	all := store.Key(prefixLeased + id + prefixWaiting + id + prefixOutcome + id)
	leased, rest := all[:len(prefixLeased)+len(id)], all[len(prefixLeased)+len(id):]
	return workKeys{leased, rest[:len(prefixWaiting)+len(id)], rest[len(prefixWaiting)+len(id):]}
}

func (k workKeys) leased() store.Key  { return k[0] }
func (k workKeys) waiting() store.Key { return k[1] }
func (k workKeys) outcome() store.Key { return k[2] }

// digestKey is of a service's digests; what asks for secure channels is gathered for itself.
func (c *ownerCodec) digestKey(id ServiceID, secure bool) store.Key {
	k := prefixDigest + store.Key(c.serviceAlias(id))
	if secure {
		k += stateSuffix
	}
	return k
}

func historyKey(n uint64) store.Key { return store.Key(fmt.Sprintf("%s%016x", prefixHistory, n)) }

func (c *ownerCodec) preferenceKey(id ServiceID) store.Key {
	return prefixPreference + store.Key(c.serviceAlias(id))
}

func (c *ownerCodec) activationKey(id ServiceID) store.Key {
	return prefixActivation + store.Key(c.serviceAlias(id))
}

// serviceAlias is the pseudonym of a service among the owner's records.
func (c *ownerCodec) serviceAlias(id ServiceID) string {
	if c.aliased != id || c.alias == "" {
		c.aliased, c.alias = id, c.short(c.owner, "service", string(id))
	}
	return c.alias
}

func (c *ownerCodec) repeatKey(id ServiceID, key string) store.Key {
	return prefixRepeat + store.Key(c.short(c.owner, "key", string(id)+"\x00"+key))
}

// quarantineKey keeps where a record stood beside its bytes, which are not changed.
func quarantineKey(r *store.Record) store.Key {
	var at [10]byte
	binary.BigEndian.PutUint16(at[:], uint16(r.Lane))
	binary.BigEndian.PutUint64(at[2:], uint64(r.Due.UnixMicro()))
	return prefixQuarantine + store.Key(at[:]) + r.Key
}

// all is the range of the keys with a prefix.
func all(prefix string, limit int) store.Range {
	return store.Range{From: store.Key(prefix), To: store.Key(prefixEnd(prefix)), Limit: limit}
}

// prefixEnd is the first string after all those with the prefix.
func prefixEnd(prefix string) string {
	b := []byte(prefix)
	b[len(b)-1]++
	return string(b)
}

func messageIDOf(k store.Key) MessageID {
	return MessageID(k[strings.LastIndexByte(string(k), '/')+1:])
}

// Times are kept as microseconds since 1970; 0 is none.

func toMicro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicro(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

type formatRecord struct {
	Format   int    `msgpack:"f"`
	Instance []byte `msgpack:"i"` // 16 random bytes
	Key      uint32 `msgpack:"k"` // number of the engine key that seals the root secret; 0: none
	Check    []byte `msgpack:"c"` // tells a wrong engine key from damage
}

type rootRecord struct {
	Secret []byte `msgpack:"s"`
}

type restoredRecord struct {
	At int64 `msgpack:"t"`
}

// A pauseRecord is what is paused, and since when.
type pauseRecord struct {
	Version  int64               `msgpack:"v"` // grows with each change
	Channels map[string]int64    `msgpack:"c,omitempty"`
	Services map[ServiceID]int64 `msgpack:"s,omitempty"`
}

type dataKeyRecord struct {
	ID  uint32 `msgpack:"i"`
	Key []byte `msgpack:"k"`
}

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
	Trial        []string     `msgpack:"tr,omitempty"`
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
	for _, p := range s.Trial {
		r.Trial = append(r.Trial, string(p))
	}
	return r
}

func (r *serviceRecord) service() (Service, error) {
	s := Service{
		ID: r.ID, Name: r.Name, Organization: fiscalcode.Organization(r.Organization), State: r.State, Category: r.Category,
		Basis: r.Basis, SecureChannels: r.Secure, QuietBasis: r.QuietBasis, MaxPayment: pagopa.Amount(r.MaxPayment), OtherPayees: r.OtherPayees,
		SendRate: r.SendRate, DeliveryRate: r.DeliveryRate, Premium: r.Premium, Reach: r.Reach, Scopes: slices.Clone(r.Scopes),
	}
	for _, p := range r.Trial {
		s.Trial = append(s.Trial, fiscalcode.Person(p))
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

func (c *ownerCodec) memberKey(id string) store.Key {
	return prefixMember + store.Key(c.short(c.owner, "member", id))
}

func changeKey(n uint64) store.Key { return store.Key(fmt.Sprintf("%s%016x", prefixChange, n)) }

func preparedKey(id ServiceID) store.Key { return prefixPrepared + store.Key(id) }

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

func (c *ownerCodec) manageKeyKey(via, id string) store.Key {
	return prefixManageKey + store.Key(c.short(c.owner, "manage key", via+"\x00"+id))
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

// An ownedRecord says which message has a document.
type ownedRecord struct {
	Message MessageID `msgpack:"m"`
}

// A remoteRecord is of content elsewhere.
type remoteRecord struct {
	ID            string          `msgpack:"i"`
	Organization  string          `msgpack:"o"` // whose configuration it is
	Configuration ConfigurationID `msgpack:"c"`
	Precondition  Precondition    `msgpack:"p"`
	Sender        string          `msgpack:"s,omitempty"`
	Received      int64           `msgpack:"t,omitempty"`
	Summary       string          `msgpack:"b,omitempty"`
	Attachments   bool            `msgpack:"a,omitempty"`
	Text          bool            `msgpack:"x,omitempty"`
}

func newRemoteRecord(r *RemoteContent) *remoteRecord {
	return &remoteRecord{
		ID: r.ID, Configuration: r.Configuration, Precondition: r.Precondition, Sender: r.OriginalSender, Received: toMicro(r.ReceivedAt),
		Summary: r.Summary, Attachments: r.Attachments, Text: r.Text,
	}
}

func (r *remoteRecord) content() *RemoteContent {
	if r == nil {
		return nil
	}
	return &RemoteContent{
		ID: r.ID, Configuration: r.Configuration, Precondition: r.Precondition, OriginalSender: r.Sender, ReceivedAt: fromMicro(r.Received),
		Summary: r.Summary, Attachments: r.Attachments, Text: r.Text, Organization: fiscalcode.Organization(r.Organization),
	}
}

// A remoteConfigurationRecord is how an organization's system is reached.
type remoteConfigurationRecord struct {
	ID           string        `msgpack:"i"`
	Name         string        `msgpack:"n"`
	Text         string        `msgpack:"d"`
	Precondition Precondition  `msgpack:"p"`
	Production   *systemRecord `msgpack:"u,omitempty"`
	Test         *systemRecord `msgpack:"v,omitempty"`
	TestUsers    []string      `msgpack:"w,omitempty"`
	Signed       bool          `msgpack:"s,omitempty"`
	Unsigned     []string      `msgpack:"x,omitempty"`
	At           int64         `msgpack:"t"`
}

type systemRecord struct {
	URL         string `msgpack:"u"`
	Header      string `msgpack:"h"`
	Key         string `msgpack:"k"`
	Type        string `msgpack:"t"`
	Certificate string `msgpack:"c,omitempty"`
	PrivateKey  string `msgpack:"p,omitempty"`
	Roots       string `msgpack:"r,omitempty"`
}

func newRemoteConfigurationRecord(c *RemoteConfiguration) *remoteConfigurationRecord {
	return &remoteConfigurationRecord{
		ID: string(c.ID), Name: c.Name, Text: c.Description, Precondition: c.Precondition, Production: (*systemRecord)(c.Production).clone(),
		Test: (*systemRecord)(c.Test).clone(), TestUsers: codes[string](c.TestUsers), Signed: c.Signed, Unsigned: codes[string](c.Unsigned),
	}
}

func (r *remoteConfigurationRecord) configuration(of fiscalcode.Organization) RemoteConfiguration {
	return RemoteConfiguration{
		ID: ConfigurationID(r.ID), Name: r.Name, Description: r.Text, Precondition: r.Precondition, Production: (*RemoteSystem)(r.Production),
		Test: (*RemoteSystem)(r.Test), TestUsers: codes[fiscalcode.Person](r.TestUsers), Signed: r.Signed,
		Unsigned: codes[fiscalcode.Person](r.Unsigned), Organization: of, UpdatedAt: fromMicro(r.At),
	}
}

func (r *systemRecord) clone() *systemRecord {
	if r == nil {
		return nil
	}
	c := *r
	return &c
}

func codes[To, From ~string](from []From) (to []To) {
	for _, c := range from {
		to = append(to, To(c))
	}
	return to
}

func remoteConfigurationKey(id ConfigurationID) store.Key { return prefixRemote + store.Key(id) }

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

// A newsRecord is what was said last of a notice.
type newsRecord struct {
	State PaymentState `msgpack:"s"`
	At    int64        `msgpack:"t"`
	Event string       `msgpack:"i"`
}

// A billRecord is a citizen's notice.
type billRecord struct {
	Creditor string      `msgpack:"c"`
	Notice   string      `msgpack:"n"`
	Amount   int64       `msgpack:"a"`
	Payee    string      `msgpack:"p,omitempty"` // name
	Text     string      `msgpack:"x,omitempty"`
	Due      int64       `msgpack:"d,omitempty"`
	Invalid  bool        `msgpack:"i,omitempty"` // after Due
	Added    int64       `msgpack:"t"`
	News     *newsRecord `msgpack:"s,omitempty"`
	Paper    bool        `msgpack:"r,omitempty"`
	Messages []MessageID `msgpack:"m,omitempty"`
	Attempt  string      `msgpack:"k,omitempty"` // key of the payment that was begun last
	Begun    int64       `msgpack:"b,omitempty"` // when
	Until    int64       `msgpack:"u,omitempty"` // when its checkout ends
	Service  ServiceID   `msgpack:"v,omitempty"` // of the latest message; empty: there is none
}

// A receiptRecord is of a bill at the moment at which it was learnt that it is paid.
type receiptRecord struct {
	Creditor string    `msgpack:"c"`
	Notice   string    `msgpack:"n"`
	Amount   int64     `msgpack:"a"`
	Payee    string    `msgpack:"p,omitempty"`
	Text     string    `msgpack:"x,omitempty"`
	At       int64     `msgpack:"t"`
	Event    string    `msgpack:"i"`
	Message  MessageID `msgpack:"m,omitempty"`
}

// An effectRecord is for the owner of a notice, who is to know of the citizen's bill.
type effectRecord struct {
	Notice string `msgpack:"n"` // name of the owner
	Bill   string `msgpack:"b"` // key among the citizen's records
}

// A debtorRecord is a citizen's bill, as its notice knows it. It is a hint: an erasure leaves it behind. It is due when it is looked
// whether the bill is still there.
type debtorRecord struct {
	Citizen string `msgpack:"c"` // name of the owner
	Bill    string `msgpack:"b"`
}

// A takenRecord names the citizen who has proved an address, or is about to. It is a hint: an erasure leaves it behind.
type takenRecord struct {
	Citizen string `msgpack:"c"` // name of the owner
	At      int64  `msgpack:"t"`
}

// A feedRecord is for the subscriptions feed, which is to know of a consent event.
type feedRecord struct {
	Hash    []byte    `msgpack:"h"` // of the person's code
	At      int64     `msgpack:"t"`
	Number  uint64    `msgpack:"i"`           // of the event
	Service ServiceID `msgpack:"n,omitempty"` // that it is about; empty: all
	Op      feedOp    `msgpack:"o,omitempty"`
	List    bool      `msgpack:"l,omitempty"` // the person's choices count anew
	Erase   bool      `msgpack:"e,omitempty"`
}

// A feedPersonRecord is what was said of a person on a day, by the numbers of the consent events.
type feedPersonRecord struct {
	Op       feedOp              `msgpack:"o,omitempty"` // of all services
	Number   uint64              `msgpack:"i,omitempty"`
	Services []feedServiceRecord `msgpack:"s,omitempty"`
}

type feedServiceRecord struct {
	Service ServiceID `msgpack:"n"`
	Op      feedOp    `msgpack:"o"`
	Number  uint64    `msgpack:"i"`
}

// A feedLineRecord is what a service reads of a person.
type feedLineRecord struct {
	Hash []byte `msgpack:"h"`
	Op   feedOp `msgpack:"o"`
}

// A reminderRecord is when a message, or a bill, is reminded of. It is due with the next reminder; that of a bill stays when there is none.
type reminderRecord struct {
	Service ServiceID `msgpack:"n"`
	Message MessageID `msgpack:"m"`
	Secure  bool      `msgpack:"c,omitempty"`
	Since   int64     `msgpack:"t"` // when it came
	Due     int64     `msgpack:"d,omitempty"`
	Bill    string    `msgpack:"b,omitempty"` // its key; empty: the message is reminded of
	Last    int64     `msgpack:"l,omitempty"` // the last reminder that was dealt with, as scheduled
	Work    MessageID `msgpack:"w,omitempty"` // of a bill: in whose open work the last reminder is, if it still is
}

// A spreadRecord is how far the debtors of a notice have been told.
type spreadRecord struct {
	From string `msgpack:"f,omitempty"`
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

type decisionRecord struct {
	Service  ServiceID          `msgpack:"n"`
	At       int64              `msgpack:"t"`
	RuleSet  int                `msgpack:"v"`
	Facts    factsRecord        `msgpack:"f"`
	Status   Status             `msgpack:"s"`
	Rule     Rule               `msgpack:"r"`
	Channels []channelRuleEntry `msgpack:"c,omitempty"`
	Digest   MessageID          `msgpack:"g,omitempty"` // in whose open work it was gathered; empty: in none
	Premium  bool               `msgpack:"e,omitempty"` // the message was; for its sender, also where there is no message
}

// A digestRecord names the digest that a service's messages are gathered in. It is a hint: the digest may have gone.
type digestRecord struct {
	Service ServiceID `msgpack:"n"`
	Digest  MessageID `msgpack:"g"`
}

type channelRuleEntry struct {
	Name    string  `msgpack:"n"`
	Content Content `msgpack:"c,omitempty"`
	Digest  bool    `msgpack:"d,omitempty"`
	Rule    Rule    `msgpack:"r,omitempty"`

	After time.Duration `msgpack:"a,omitempty"`
	For   string        `msgpack:"f,omitempty"`
}

type factsRecord struct {
	Flags      uint8             `msgpack:"f,omitempty"`
	Mode       Mode              `msgpack:"m,omitempty"`
	Category   Category          `msgpack:"c,omitempty"`
	Activation Activation        `msgpack:"a,omitempty"`
	Age        time.Duration     `msgpack:"g,omitempty"`
	QuietBasis string            `msgpack:"q,omitempty"`
	Due        time.Duration     `msgpack:"u,omitempty"`
	Channels   []channelFactsRec `msgpack:"n,omitempty"`
}

type channelFactsRec struct {
	Name       string  `msgpack:"n"`
	Switch     Content `msgpack:"w,omitempty"`
	Preference Content `msgpack:"p,omitempty"`
	Secure     Content `msgpack:"s,omitempty"`
	Flags      uint8   `msgpack:"f,omitempty"`

	Quiet  time.Duration `msgpack:"q,omitempty"`
	Digest time.Duration `msgpack:"d,omitempty"`
	Of     string        `msgpack:"o,omitempty"`
	After  time.Duration `msgpack:"a,omitempty"`
}

func newDecisionRecord(service ServiceID, at int64, f *Facts, d *Decision) *decisionRecord {
	r := &decisionRecord{Service: service, At: at, RuleSet: RuleSet, Status: d.Status, Rule: d.Rule, Facts: factsRecord{
		Flags: bits(f.Known, f.Inbox, f.HasPreference, f.InboxPreference, f.Secure),
		Mode:  f.Mode, Category: f.Category, Activation: f.Activation, Age: f.Age, QuietBasis: f.QuietBasis, Due: f.Due,
	}}
	r.Facts.Channels = make([]channelFactsRec, len(f.Channels))
	for i, c := range f.Channels {
		r.Facts.Channels[i] = channelFactsRec{c.Name, c.Switch, c.Preference, c.Secure, bits(c.Address, c.Validated), c.Quiet, c.Digest, c.Fallback.Of, c.Fallback.After}
	}
	r.Channels = make([]channelRuleEntry, len(d.Channels))
	for i, c := range d.Channels {
		r.Channels[i] = channelRuleEntry(c)
	}
	return r
}

func (r *decisionRecord) facts() Facts {
	f := Facts{Mode: r.Facts.Mode, Category: r.Facts.Category, Activation: r.Facts.Activation, Age: r.Facts.Age, QuietBasis: r.Facts.QuietBasis, Due: r.Facts.Due}
	unbits(r.Facts.Flags, &f.Known, &f.Inbox, &f.HasPreference, &f.InboxPreference, &f.Secure)
	for _, c := range r.Facts.Channels {
		e := ChannelFacts{Name: c.Name, Switch: c.Switch, Preference: c.Preference, Secure: c.Secure, Quiet: c.Quiet, Digest: c.Digest, Fallback: Fallback{c.Of, c.After}}
		unbits(c.Flags, &e.Address, &e.Validated)
		f.Channels = append(f.Channels, e)
	}
	return f
}

func (r *decisionRecord) decision() Decision {
	d := Decision{Status: r.Status, Rule: r.Rule}
	for _, c := range r.Channels {
		d.Channels = append(d.Channels, ChannelDecision(c))
	}
	return d
}

func bits(bs ...bool) (v uint8) {
	for i, b := range bs {
		if b {
			v |= 1 << i
		}
	}
	return v
}

func unbits(v uint8, bs ...*bool) {
	for i, b := range bs {
		*b = v&(1<<i) != 0
	}
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

// A workRecord is what is left to do for a message, or for a digest: all its deliveries, and who holds them.
type workRecord struct {
	Service ServiceID     `msgpack:"n"`
	Secure  bool          `msgpack:"s,omitempty"` // by the message
	Expires int64         `msgpack:"e"`
	Lease   *leaseRecord  `msgpack:"l,omitempty"`
	Entries []workEntry   `msgpack:"d"`
	Done    []outcomeItem `msgpack:"o,omitempty"`
	Digest  *gathered     `msgpack:"g,omitempty"` // nil: it is of one message
}

// gathered is what a digest is of. It never changes: another takes its place.
type gathered struct {
	Messages []MessageID   `msgpack:"m"`
	Longest  time.Duration `msgpack:"l"` // of their times to live, by which the digest's own ends
}

type leaseRecord struct {
	Process string `msgpack:"p"` // for the operator's eye
	Boot    string `msgpack:"b"` // random, of one engine's life
	Number  uint64 `msgpack:"n"`
	Until   int64  `msgpack:"u"`
}

// A workEntry is one delivery: of one message, by one channel, to one address.
type workEntry struct {
	ID       DeliveryID `msgpack:"i"`
	Channel  string     `msgpack:"c"`
	Address  string     `msgpack:"a,omitempty"` // its id, not its value
	Attempts int        `msgpack:"n,omitempty"` // that failed
	Claims   int        `msgpack:"k,omitempty"` // since the last outcome
	Next     int64      `msgpack:"t"`           // when it may be tried
	Held     bool       `msgpack:"h,omitempty"` // claimed under the lease
	Cause    string     `msgpack:"e,omitempty"` // of the last failure

	Reminder ReminderKind `msgpack:"r,omitempty"` // that it is; empty: it is the message itself
	Bill     string       `msgpack:"b,omitempty"` // that it is about: its key
	Expires  int64        `msgpack:"x,omitempty"` // 0: as the record
	Quiet    bool         `msgpack:"q,omitempty"` // Next is when quiet hours end
	Fallback string       `msgpack:"f,omitempty"` // the channel that it stands in for while the message is not read; empty: none
	Paused   int64        `msgpack:"p,omitempty"` // since when it waits for a resume; 0: it does not
	Replayed bool         `msgpack:"y,omitempty"` // by the operator
}

// conditional reports whether what the citizen does with the message decides whether it is delivered.
func (en *workEntry) conditional() bool { return en.Reminder != "" || en.Fallback != "" }

type outcomeItem struct {
	ID       DeliveryID    `msgpack:"i"`
	Channel  string        `msgpack:"c"`
	Result   OutcomeResult `msgpack:"r"`
	At       int64         `msgpack:"t"`
	Attempts int           `msgpack:"n,omitempty"`
	Cause    string        `msgpack:"e,omitempty"`
	Late     bool          `msgpack:"l,omitempty"`
	Basis    string        `msgpack:"q,omitempty"` // by which it was delivered in quiet hours
	Without  *[]MessageID  `msgpack:"w,omitempty"` // of a digest that was delivered: the messages that it left out; nil: none
}

type outcomeRecord struct {
	Service ServiceID     `msgpack:"n"`
	Items   []outcomeItem `msgpack:"o"`
	First   int           `msgpack:"f,omitempty"` // of Items, those that were there from the first; 0: all
}

// A talliedDecision is what statistics want to know of a decision.
type talliedDecision struct {
	Service ServiceID `msgpack:"n"`
}

// A tallyRecord marks something that is to be counted.
type tallyRecord struct {
	Kind    tallyKind `msgpack:"k"`
	Service ServiceID `msgpack:"n"`
	Channel string    `msgpack:"c,omitempty"`
}

// A dayRecord is the figures of a service on a day.
type dayRecord struct {
	Processed int64            `msgpack:"p,omitempty"`
	Rejected  int64            `msgpack:"j,omitempty"`
	Delivered map[string]int64 `msgpack:"d,omitempty"`
	Read      int64            `msgpack:"r,omitempty"`
	Paid      int64            `msgpack:"m,omitempty"`
}

// A closedRecord is how far days are counted.
type closedRecord struct {
	Until int64 `msgpack:"u"`
}

type parkedRecord struct {
	Service  ServiceID `msgpack:"n"`
	Message  MessageID `msgpack:"m"`
	Secure   bool      `msgpack:"s,omitempty"`
	At       int64     `msgpack:"t"`
	Lifetime int64     `msgpack:"l"` // microseconds that a replay may go on for
	Entry    workEntry `msgpack:"e"`
	Digest   *gathered `msgpack:"g,omitempty"` // nil: it is of one message
}

// A cleanUpRecord is a task that goes on in pages; From is where the next one starts.
type cleanUpRecord struct {
	From string `msgpack:"f,omitempty"`
	Step int    `msgpack:"s,omitempty"`
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

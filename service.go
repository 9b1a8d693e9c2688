package appio

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/text"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
)

// A ServiceID names a service: 1 to 200 bytes of text without control characters. It is public.
type ServiceID string

// An Organization is an authority (ente) that uses the platform.
type Organization struct {
	Code      fiscalcode.Organization
	Name      string    // 1 to 200 UTF-16 units
	SignedAt  time.Time // of the agreement; zero: none is recorded
	UpdatedAt time.Time // set by the engine

	DraftedAt   time.Time                 // of the agreement, before it is signed; zero: not recorded
	WithdrawnAt time.Time                 // of the agreement; what was signed later stands; zero: it was not. It never goes back
	Aggregators []fiscalcode.Organization // that act for it: see Authority.For; at most 100
}

// A Service is what citizens say yes or no to.
type Service struct {
	ID           ServiceID // chosen by the caller
	Name         string    // 1 to 200 UTF-16 units
	Organization fiscalcode.Organization
	State        ServiceState
	Category     Category
	Basis        LegalBasis

	SecureChannels bool                // no e-mail, push without text: see Route.Secure
	QuietBasis     string              // the law by which its messages come in quiet hours, too, as citizens are shown it; at most 200 UTF-16 units; empty: they wait
	MaxPayment     pagopa.Amount       // the most that a payment notice may ask for; 0: no payment notices
	OtherPayees    bool                // its notices may name a payee other than its organization
	Premium        bool                // it may send premium messages: see Message.Premium
	Trial          []fiscalcode.Person // whom it may write to while in trial, beside the sandbox; at most 1,000
	Prefixes       []netip.Prefix      // where its keys may be used from; empty: anywhere; at most 1,000

	SendRate     float64 // messages a second that it may send: above it Send is a [LimitedError]; 0: Options.SendRate
	DeliveryRate float64 // deliveries a second of its messages, by all channels: what is above waits; 0: Options.DeliveryRate

	Description, Privacy, Web, Email, Phone, PEC, Support string // shown to citizens; at most 1,000 UTF-16 units each
	Topic                                                 string // IO's are those of [Topics]
	Assessment                                            string // of what it means for personal data (GDPR art. 35), or where it is; likewise

	Reach                       Reach
	Department, Address         string // shown to citizens, as Description is, and as long at most; so is what follows
	Terms, AppleApp, AndroidApp string // links: conditions of use, and apps of the service's own
	CallToAction, TokenName     string // what IO's app offers beside the service, in IO's words for it; nothing is done with it here

	Scopes []Scope // what its API keys are for; empty: all. The operator's to give. Who has the service in-process may do all
}

// Reach says for whom a service is.
type Reach string

const (
	AnyReach Reach = ""         // not said
	National Reach = "national" // the whole country
	Local    Reach = "local"    // a part of it
)

// ServiceState is where a service stands with citizens.
type ServiceState string

const (
	Trial   ServiceState = ""        // sends to its authorised recipients only
	Live    ServiceState = "live"    // sends to who consents
	Stopped ServiceState = "stopped" // sends to nobody
)

// LegalBasis is what the processing rests on (GDPR art. 6). It is recorded and shown; it never overrides a choice. What may be sent in quiet
// hours says Service.QuietBasis.
type LegalBasis string

const (
	Consent         LegalBasis = ""                 // art. 6(1)(a)
	PublicTask      LegalBasis = "public-task"      // art. 6(1)(e)
	LegalObligation LegalBasis = "legal-obligation" // art. 6(1)(c)
)

// KeySlot is one of the two API keys that a service has at a time, so that one can be changed while the other is used.
type KeySlot int

const (
	Primary KeySlot = iota
	Secondary
)

// Validate reports what [Engine.PutOrganization] would.
func (o Organization) Validate() error {
	if _, err := fiscalcode.ParseOrganization(string(o.Code)); err != nil {
		return invalid("Code", "11 digits")
	}
	if len(o.Aggregators) > 100 {
		return invalid("Aggregators", "at most 100 organizations")
	}
	for i, c := range o.Aggregators {
		if _, err := fiscalcode.ParseOrganization(string(c)); err != nil {
			return invalid(fmt.Sprintf("Aggregators[%d]", i), "11 digits")
		}
	}
	return validText("Name", o.Name, 1, 200)
}

// Validate reports what [Engine.PutService] would.
func (s Service) Validate() error {
	if err := s.ID.validate(); err != nil {
		return err
	}
	if err := validText("Name", s.Name, 1, 200); err != nil {
		return err
	}
	if _, err := fiscalcode.ParseOrganization(string(s.Organization)); err != nil {
		return invalid("Organization", "11 digits")
	}
	switch {
	case s.State != Trial && s.State != Live && s.State != Stopped:
		return invalid("State", "Trial, Live or Stopped")
	case s.Category != Standard && s.Category != Special:
		return invalid("Category", "Standard or Special")
	case s.Basis != Consent && s.Basis != PublicTask && s.Basis != LegalObligation:
		return invalid("Basis", "Consent, PublicTask or LegalObligation")
	case s.MaxPayment < 0 || s.MaxPayment > maxAmount:
		return invalid("MaxPayment", "0 to 9999999999 euro cents")
	case !validRate(s.SendRate):
		return invalid("SendRate", "0 to 1e9")
	case !validRate(s.DeliveryRate):
		return invalid("DeliveryRate", "0 to 1e9")
	case s.Reach != AnyReach && s.Reach != National && s.Reach != Local:
		return invalid("Reach", "empty, National or Local")
	case len(s.Trial) > 1000:
		return invalid("Trial", "at most 1000 recipients")
	}
	if err := validText("QuietBasis", s.QuietBasis, 0, 200); err != nil {
		return err
	}
	for i, p := range s.Trial {
		if _, err := fiscalcode.ParsePerson(string(p)); err != nil {
			return invalid(fmt.Sprintf("Trial[%d]", i), "a fiscal code")
		}
	}
	if err := validPrefixes(s.Prefixes); err != nil {
		return err
	}
	for i, c := range s.Scopes {
		if !slices.Contains(scopes, c) {
			return invalid(fmt.Sprintf("Scopes[%d]", i), "one of the scopes")
		}
	}
	for _, f := range []struct{ name, text string }{
		{"Description", s.Description}, {"Privacy", s.Privacy}, {"Web", s.Web}, {"Email", s.Email}, {"Phone", s.Phone},
		{"PEC", s.PEC}, {"Support", s.Support}, {"Topic", s.Topic}, {"Assessment", s.Assessment}, {"Department", s.Department},
		{"Address", s.Address}, {"Terms", s.Terms}, {"AppleApp", s.AppleApp}, {"AndroidApp", s.AndroidApp},
		{"CallToAction", s.CallToAction}, {"TokenName", s.TokenName},
	} {
		if err := validText(f.name, f.text, 0, 1000); err != nil {
			return err
		}
	}
	return nil
}

func (id ServiceID) validate() error {
	if len(id) < 1 || len(id) > 200 || !utf8.ValidString(string(id)) || strings.ContainsFunc(string(id), unicode.IsControl) {
		return invalid("ID", "1 to 200 bytes of text without control characters")
	}
	return nil
}

// PutService creates or replaces a service as it is given, its state too: fit for start-up code. Its keys stay. What is put as Stopped
// its organization cannot publish, as after [Engine.StopService]; any other state lifts that. What PutService takes away, a stop, a smaller
// trial, secure channels, is in force when PutService returns: see [InFlightError]. Another process on the same store may still accept,
// though not deliver, a message that it had begun to decide.
func (e *Engine) PutService(ctx context.Context, s Service) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if err := e.ready(ctx); err != nil {
		return err
	}
	s.Prefixes, s.Scopes = slices.Clone(s.Prefixes), slices.Clone(s.Scopes)
	org, err := e.Organization(ctx, s.Organization)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	trial, err := e.list(ctx, listRef{string(service(s.ID)), keyService}, s.Trial)
	if err != nil {
		return err
	}
	return e.changeService(ctx, s.ID, func(old *serviceRecord) (*serviceRecord, error) {
		r := newServiceRecord(&s, toMicro(e.now()))
		r.Trial = trial
		r.OrgName, r.Held = org.Name, r.State == Stopped
		if old != nil {
			r.Keys = old.Keys
		}
		return r, nil
	})
}

// changeService writes a service's record through the service's gate.
func (e *Engine) changeService(ctx context.Context, id ServiceID, change func(old *serviceRecord) (*serviceRecord, error)) error {
	return e.changeServiceWith(ctx, id, nil, func(_ *draft, old *serviceRecord) (*serviceRecord, error) { return change(old) })
}

// changeServiceWith is changeService in one change with other records of the service, of which it reads some. A change to nil leaves the
// service's record as it is.
func (e *Engine) changeServiceWith(ctx context.Context, id ServiceID, more []store.Key, change func(tx *draft, old *serviceRecord) (*serviceRecord, error)) error {
	c := e.serviceChange(id, more, change)
	return e.revoke(ctx, service(id), func() error { return e.do(ctx, c.op) }, c.refused, c.foreign)
}

// A serviceChange is what changes a service, and what a revocation has to know of it.
type serviceChange struct {
	op      *op
	refused judge
	foreign func(context.Context) (*foreignWork, error)
}

func (e *Engine) serviceChange(id ServiceID, more []store.Key, change func(tx *draft, old *serviceRecord) (*serviceRecord, error)) serviceChange {
	var before, after *serviceRecord
	o := &op{
		owner: service(id), keys: append([]store.Key{keyService}, more...), urgent: true,
		apply: func(tx *draft) error {
			before = nil
			if r := tx.get(keyService); r != nil {
				var err error
				if before, err = e.decodeService(tx.owner, r); err != nil {
					return err
				}
			}
			var err error
			if after, err = change(tx, before); err != nil {
				return err
			}
			if after == nil {
				after = before
				return nil
			}
			if before != nil {
				after.LoweredAt = before.LoweredAt
				if !before.permissive(after) || !before.sameKeys(after) {
					after.LoweredAt = toMicro(e.now())
				}
			}
			return tx.putSealed(store.Record{Key: keyService}, after)
		},
	}
	foreign := func(ctx context.Context) (*foreignWork, error) {
		if before == nil || before.permissive(after) && !e.recent(fromMicro(before.LoweredAt)) {
			return nil, nil
		}
		return e.foreignOfService(ctx, before)
	}
	refused := func(ctx context.Context, s sending) (bool, error) {
		if s.ID == "" { // messages being accepted: awaited where they might be refused now
			return before != nil && e.recent(fromMicro(after.LoweredAt)), nil
		}
		return e.refusedNow(ctx, s)
	}
	return serviceChange{o, refused, foreign}
}

func (r *serviceRecord) sameKeys(after *serviceRecord) bool {
	return slices.EqualFunc(r.Keys, after.Keys, bytes.Equal) && slices.Equal(r.Prefixes, after.Prefixes) && slices.Equal(r.Scopes, after.Scopes)
}

// permissive reports whether a service may do after a change whatever it could before.
func (r *serviceRecord) permissive(after *serviceRecord) bool {
	return r.State == after.State && r.Secure == after.Secure && r.Category == after.Category && slices.Equal(r.Trial, after.Trial) &&
		r.MaxPayment <= after.MaxPayment && (!r.OtherPayees || after.OtherPayees) &&
		(!r.Premium || after.Premium) && (r.QuietBasis == "" || after.QuietBasis != "")
}

// Service is the service with this id, or ErrNotFound. With ErrIncomplete it comes without whom of Trial nothing can be read.
func (e *Engine) Service(ctx context.Context, id ServiceID) (Service, error) {
	if err := e.ready(ctx); err != nil {
		return Service{}, err
	}
	r, err := e.readService(ctx, id)
	if err != nil {
		return Service{}, err
	}
	s, err := r.service()
	if err != nil {
		return Service{}, err
	}
	return s, e.show(ctx, listing{r.Trial, &s.Trial})
}

// Service is the service with this id as a citizen may see it, live or not: without Trial, which is other people's; or ErrNotFound.
func (c *Citizen) Service(ctx context.Context, id ServiceID) (Service, error) {
	if err := c.e.ready(ctx); err != nil {
		return Service{}, err
	}
	r, err := c.e.readService(ctx, id)
	if err != nil {
		return Service{}, err
	}
	return r.service()
}

// readService is the record of a service, or ErrNotFound.
func (e *Engine) readService(ctx context.Context, id ServiceID) (*serviceRecord, error) {
	if id.validate() != nil {
		return nil, errNoService
	}
	d, err := e.view(ctx, service(id), store.Range{}, "", keyService)
	if err != nil {
		return nil, err
	}
	r := d.get(keyService)
	if r == nil {
		return nil, errNoService
	}
	return e.decodeService(d.owner, r)
}

// currentService is readService, from memory where the service is known to be as it is there.
func (e *Engine) currentService(ctx context.Context, id ServiceID) (*serviceRecord, error) {
	now := e.services.now(service(id))
	if now == nil {
		return e.readService(ctx, id)
	}
	if now.err != nil || now.record == nil {
		return nil, cmp.Or(now.err, errNoService)
	}
	return now.record, nil
}

// decodeService opens a service's record. Nobody changes what it returns: it is kept for as long as the record has the same bytes.
func (e *Engine) decodeService(owner store.Owner, r *store.Record) (*serviceRecord, error) {
	if s := e.services.get(owner, r); s != nil {
		return s, nil
	}
	s := &serviceRecord{}
	if err := e.codec.of(owner).open(r, s); err != nil {
		return nil, err
	}
	e.services.put(owner, r, s)
	return s, nil
}

// serviceOf is what a snapshot of a service has.
func (e *Engine) serviceOf(owner store.Owner, s *store.Snapshot) *serviceEntry {
	entry := &serviceEntry{}
	for i := range s.Records {
		if r := &s.Records[i]; r.Key == keyService {
			entry.record, entry.err = e.decodeService(owner, r)
		}
	}
	return entry
}

// openServices are services' records as they were last opened. Where no other engine can be on the store they are as they are now
// until this engine changes them.
type openServices struct {
	mu      sync.RWMutex
	m       map[store.Owner]openService
	current map[store.Owner]*serviceEntry
	changes uint64
}

type openService struct {
	sealed store.Record
	record *serviceRecord
}

// now is a service as it is now; nil: it has to be read.
func (o *openServices) now(owner store.Owner) *serviceEntry {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.current[owner]
}

func (o *openServices) change() uint64 {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.changes
}

// remember keeps a service as it was read after a change, unless there was another since.
func (o *openServices) remember(owner store.Owner, s *serviceEntry, change uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changes != change || s.err != nil {
		return
	}
	if o.current == nil || len(o.current) >= maxOpenServices {
		o.current = map[store.Owner]*serviceEntry{}
	}
	o.current[owner] = s
}

// changed says that a service has been changed, or may have been, before anybody is told.
func (o *openServices) changed(owner store.Owner) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changes++
	delete(o.current, owner)
}

// maxOpenServices is where all are forgotten, to begin again.
const maxOpenServices = 4096

func (o *openServices) get(owner store.Owner, r *store.Record) *serviceRecord {
	o.mu.RLock()
	defer o.mu.RUnlock()
	s, ok := o.m[owner]
	if !ok || s.sealed.Key != r.Key || s.sealed.Lane != r.Lane || !s.sealed.Due.Equal(r.Due) || !bytes.Equal(s.sealed.Value, r.Value) {
		return nil
	}
	return s.record
}

func (o *openServices) put(owner store.Owner, r *store.Record, s *serviceRecord) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.m == nil || len(o.m) >= maxOpenServices {
		o.m = map[store.Owner]openService{}
	}
	o.m[owner] = openService{*r, s}
}

// Services lists all services, by id, forwards only: a Prev cursor is ErrInvalid.
func (e *Engine) Services() List[Service] {
	return newList(e, "services", e.listServices)
}

func (e *Engine) listServices(ctx context.Context, p position, limit int) (f found[Service], err error) {
	if p.before { // owners are listed forwards only
		return f, invalid("Cursor", "services are listed forwards only")
	}
	after := service(ServiceID(p.key))
	var trials []listing
	var incomplete error
	for len(f.items) < limit {
		owners, err := e.store.Owners(ctx, after, limit-len(f.items))
		if err != nil {
			return f, err
		}
		if len(owners) == 0 {
			break
		}
		after = owners[len(owners)-1]
		owners = slices.DeleteFunc(owners, func(o store.Owner) bool { return !strings.HasPrefix(string(o), serviceOwner) })
		if len(owners) == 0 {
			break
		}
		reads := make([]store.Read, len(owners))
		for i, o := range owners {
			reads[i] = store.Read{Owner: o, Keys: []store.Key{keyService}}
		}
		snaps, err := e.store.View(ctx, reads)
		if err != nil {
			return f, err
		}
		for i, s := range snaps {
			if len(s.Records) == 0 {
				continue
			}
			r, err := e.decodeService(owners[i], &s.Records[0])
			if errors.Is(err, store.ErrCorrupt) {
				incomplete = ErrIncomplete
				continue
			}
			if err != nil {
				return f, err
			}
			s, err := r.service()
			if err != nil {
				return f, err
			}
			f.add(s, string(s.ID))
			trials = append(trials, listing{list: r.Trial})
		}
	}
	for i := range trials {
		trials[i].into = &f.items[i].Trial
	}
	if err := e.show(ctx, trials...); err != nil {
		return f, err
	}
	return f, incomplete
}

// NewKey makes a key for the slot, ends the one before at once, and returns it: it is not shown again.
func (e *Engine) NewKey(ctx context.Context, id ServiceID, k KeySlot) (string, error) {
	key := newAPIKey()
	return key, e.PutKey(ctx, id, k, key)
}

// PutKey sets a key made elsewhere, of 16 to 200 bytes that nobody can guess; it is kept hashed. The key that the slot had
// before ends at once, but for what another process has begun to decide. A key of another service, or of the other slot, is ErrConflict.
func (e *Engine) PutKey(ctx context.Context, id ServiceID, k KeySlot, key string) error {
	if err := validKey(k, key); err != nil {
		return err
	}
	if err := e.ready(ctx); err != nil {
		return err
	}
	if _, err := e.readService(ctx, id); err != nil {
		return err
	}
	return e.setKey(ctx, id, key, nil, func(_ *draft, r *serviceRecord, hash []byte) (*serviceRecord, []byte, error) {
		if r == nil {
			return nil, nil, errNoService
		}
		return r.withKey(k, hash)
	})
}

// setKey writes a key's index, changes the service, and deletes the index of the key that was there before.
func (e *Engine) setKey(ctx context.Context, id ServiceID, key string, more []store.Key, change func(tx *draft, r *serviceRecord, hash []byte) (*serviceRecord, []byte, error)) error {
	hash := keyHash(key)
	// The index first: an entry without its service's key is a hint that leads nowhere, the other way round a key would not work.
	if err := e.putKeyIndex(ctx, hash, apiKeyRecord{Service: id}); err != nil {
		return err
	}
	var old []byte
	err := e.changeServiceWith(ctx, id, more, func(tx *draft, r *serviceRecord) (s *serviceRecord, err error) {
		s, old, err = change(tx, r, hash)
		return s, err
	})
	if err == nil {
		err = e.dropKeyIndex(ctx, old, hash)
	}
	return err
}

// withKey is the service with another key in a slot, and the hash of the one before.
func (r *serviceRecord) withKey(k KeySlot, hash []byte) (s *serviceRecord, old []byte, err error) {
	next := *r
	next.Keys, old, err = withKey(r.Keys, k, hash)
	return &next, old, err
}

// hasKey reports whether the hash is one of the service's keys.
func (r *serviceRecord) hasKey(hash []byte) bool { return hasKey(r.Keys, hash) }

// permits reports whether the service may write to this person at all, whatever the person chose: a stopped one to nobody, one
// in trial to its authorised recipients and the sandbox.
func (r *serviceRecord) permits(c *codec, who store.Owner) error {
	switch r.State {
	case Live:
		return nil
	case Trial:
		if who == c.citizen(fiscalcode.Sandbox) || c.names(r.Trial, who) {
			return nil
		}
		return fmt.Errorf("%w: the service is in trial, and the recipient is not one of its authorised recipients", ErrForbidden)
	}
	return fmt.Errorf("%w: the service is stopped", ErrForbidden)
}

// permitsPremium reports whether the service may send a message with the features of premium ones.
func (r *serviceRecord) permitsPremium(m *Message) error {
	if m.Premium && !r.Premium {
		return fmt.Errorf("%w: the service may not send premium messages", ErrForbidden)
	}
	return nil
}

// validText checks a text's length in UTF-16 units, as the real system counts, and that it is text.
func validText(field, s string, least, most int) error {
	n := text.Units(s)
	switch {
	case !utf8.ValidString(s):
		return invalid(field, "UTF-8")
	case n < least || n > most:
		return invalid(field, fmt.Sprintf("%d to %d UTF-16 units", least, most))
	}
	return nil
}

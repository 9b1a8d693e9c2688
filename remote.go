package appio

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
)

// A RemoteContent says that a message goes on in a system of its sender: text, documents, or both, which are fetched there each time that
// the citizen opens the message, and never stored. Package remotecontent fetches them. In IO's API document it is third_party_data.
type RemoteContent struct {
	ID             string          // by which the sender's system knows it; 1 to 200 UTF-16 units
	Configuration  ConfigurationID // where that system is; one of the organization's
	OriginalSender string          // a service's id or a name, where the message was somebody else's first; at most 200 UTF-16 units
	ReceivedAt     time.Time       // by the original sender; zero: not said
	Attachments    bool            // it has documents
	Text           bool            // it has a subject and a text, which take the place of the message's own
	Precondition   Precondition    // to be shown before it is opened; empty: that of the configuration when the message is sent
	Summary        string          // at most 1,000 UTF-16 units

	Organization fiscalcode.Organization // whose Configuration it is; set by the engine
}

// A Precondition says when a citizen is shown what it means to open a message, before it is opened: of a notification with legal
// effect, that it counts as delivered then.
type Precondition string

const (
	Always Precondition = "ALWAYS" // each time
	Once   Precondition = "ONCE"   // until the citizen has accepted it
	Never  Precondition = "NEVER"
)

// A ConfigurationID is a ULID.
type ConfigurationID string

// A RemoteConfiguration says how an organization's system that has [RemoteContent] is reached.
type RemoteConfiguration struct {
	ID           ConfigurationID // empty in PutRemoteConfiguration: a new one
	Name         string          // 1 to 200 UTF-16 units
	Description  string          // 1 to 1,000
	Precondition Precondition    // of messages that do not say
	Production   *RemoteSystem   // nil: there is none yet
	Test         *RemoteSystem   // asked in place of Production for TestUsers; nil: Production is for all
	TestUsers    []fiscalcode.Person

	// Signed says that the system asks for requests that are signed by a key of the citizen's app (IO's Lollipop), but for those of Unsigned.
	Signed   bool
	Unsigned []fiscalcode.Person

	Organization fiscalcode.Organization // set by the engine
	UpdatedAt    time.Time               // likewise
}

// A RemoteSystem is one that answers for an organization. Key and PrivateKey are its secrets: they are stored sealed, and neither printed nor
// logged.
type RemoteSystem struct {
	URL    string // of http or https, without query, which paths are added to; at most 1,000 bytes
	Header string // that Key is sent in
	Key    string // printable ASCII; 1 to 4,096 bytes
	Type   string // what the organization calls Key's kind, as "API_KEY"; 1 to 100 UTF-16 units

	// Certificate and PrivateKey are the client's, and Roots those that the system's own certificate is from, in PEM, of at most 16 KiB each;
	// empty: none, and the roots of this machine.
	Certificate, PrivateKey, Roots string
}

// String and LogValue have no secret.
func (s RemoteSystem) String() string { return "{" + s.Header + " " + s.Type + "}" }

// GoString is String.
func (s RemoteSystem) GoString() string { return "appio.RemoteSystem" + s.String() }

// LogValue has no secret, and no URL, which may hold one.
func (s RemoteSystem) LogValue() slog.Value {
	return slog.GroupValue(slog.String("header", s.Header), slog.String("type", s.Type))
}

// The most that an organization may have.
const (
	maxConfigurations = 100
	maxRemoteUsers    = 1000
)

func (p Precondition) valid() bool { return p == Always || p == Once || p == Never }

func (r *RemoteContent) validate() error {
	if err := validText("Remote.ID", r.ID, 1, 200); err != nil {
		return err
	}
	switch {
	case r.ID == "." || r.ID == ".." || strings.ContainsFunc(r.ID, isControl):
		return invalid("Remote.ID", "a name that can be in a path, without control characters")
	case !validULID(string(r.Configuration)):
		return invalid("Remote.Configuration", "the id of a configuration")
	case r.Precondition != "" && !r.Precondition.valid():
		return invalid("Remote.Precondition", "Always, Once or Never")
	case !validTime(r.ReceivedAt):
		return invalid("Remote.ReceivedAt", "a time whose year has at most four digits")
	}
	if err := validText("Remote.OriginalSender", r.OriginalSender, 0, 200); err != nil {
		return err
	}
	return validText("Remote.Summary", r.Summary, 0, 1000)
}

func isControl(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }

// validTime is of a time that is kept; zero is none.
func validTime(t time.Time) bool {
	return t.IsZero() || t.UTC().Year() >= 1 && t.UTC().Year() <= 9999 && micro(t).UnixMicro() != 0
}

// Validate reports what [Authority.PutRemoteConfiguration] would.
func (c RemoteConfiguration) Validate() error {
	if c.ID != "" && !validULID(string(c.ID)) {
		return invalid("ID", "a ULID")
	}
	if err := validText("Name", c.Name, 1, 200); err != nil {
		return err
	}
	if err := validText("Description", c.Description, 1, 1000); err != nil {
		return err
	}
	if !c.Precondition.valid() {
		return invalid("Precondition", "Always, Once or Never")
	}
	for field, list := range map[string][]fiscalcode.Person{"TestUsers": c.TestUsers, "Unsigned": c.Unsigned} {
		if len(list) > maxRemoteUsers {
			return invalid(field, fmt.Sprintf("at most %d persons", maxRemoteUsers))
		}
		for i, p := range list {
			if _, err := fiscalcode.ParsePerson(string(p)); err != nil {
				return invalid(fmt.Sprintf("%s[%d]", field, i), "a fiscal code")
			}
		}
	}
	if err := c.Production.validate("Production"); err != nil {
		return err
	}
	return c.Test.validate("Test")
}

func (s *RemoteSystem) validate(field string) error {
	if s == nil {
		return nil
	}
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || len(s.URL) > 1000 || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil ||
		u.RawQuery != "" || u.ForceQuery || strings.Contains(s.URL, "#"):
		return invalid(field+".URL", "an absolute URL of https, or http, without user, query and fragment, of at most 1000 bytes")
	case !validHeader(s.Header):
		return invalid(field+".Header", "the name of a header, at most 100 bytes, and none that says something else")
	case len(s.Key) < 1 || len(s.Key) > 4096 || strings.ContainsFunc(s.Key, func(r rune) bool { return r < 0x20 || r > 0x7e }):
		return invalid(field+".Key", "1 to 4096 printable ASCII characters")
	case (s.Certificate == "") != (s.PrivateKey == ""):
		return invalid(field+".Certificate", "with a private key, or neither")
	}
	for name, pem := range map[string]string{".Certificate": s.Certificate, ".PrivateKey": s.PrivateKey, ".Roots": s.Roots} {
		if len(pem) > 16<<10 || strings.ContainsFunc(pem, func(r rune) bool { return r > 0x7e }) {
			return invalid(field+name, "PEM of at most 16 KiB")
		}
	}
	return validText(field+".Type", s.Type, 1, 100)
}

// otherHeaders are those of a request that mean something else, and must not be a key's.
var otherHeaders = []string{"accept", "accept-encoding", "connection", "content-length", "content-type", "cookie", "expect", "fiscal_code",
	"host", "keep-alive", "proxy-authorization", "proxy-connection", "range", "te", "trailer", "transfer-encoding", "upgrade", "user-agent"}

func validHeader(name string) bool {
	for _, c := range []byte(name) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && !(c >= '0' && c <= '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return len(name) >= 1 && len(name) <= 100 && !slices.Contains(otherHeaders, strings.ToLower(name))
}

// System is the one that is asked for a citizen; nil: there is none.
func (c *RemoteConfiguration) System(of fiscalcode.Person) *RemoteSystem {
	if c.Test != nil && slices.Contains(c.TestUsers, of) {
		return c.Test
	}
	return c.Production
}

// PutRemoteConfiguration creates a configuration, where ID is empty, or replaces one: one that the organization does not have is
// ErrNotFound. It has at most 100. It is for who may administer, as keys are, and not for a group's key.
func (a *Authority) PutRemoteConfiguration(ctx context.Context, c RemoteConfiguration) (RemoteConfiguration, error) {
	if err := c.Validate(); err != nil {
		return RemoteConfiguration{}, err
	}
	if err := a.e.ready(ctx); err != nil {
		return RemoteConfiguration{}, err
	}
	if err := a.checkRemote(ctx); err != nil {
		return RemoteConfiguration{}, err
	}
	fresh := c.ID == ""
	if fresh {
		c.ID = ConfigurationID(a.e.ulids.next(a.e.now()))
	}
	r := newRemoteConfigurationRecord(&c)
	r.At = toMicro(micro(a.e.now()))
	owner, key := a.e.codec.organization(a.code), remoteConfigurationKey(c.ID)
	if !fresh { // before its persons are written down
		if _, err := a.e.readRemoteConfiguration(ctx, a.code, c.ID); err != nil {
			return RemoteConfiguration{}, err
		}
	}
	var err error
	if r.TestUsers, err = a.e.list(ctx, listRef{string(owner), key}, c.TestUsers); err != nil {
		return RemoteConfiguration{}, err
	}
	if r.Unsigned, err = a.e.list(ctx, listRef{string(owner), key}, c.Unsigned); err != nil {
		return RemoteConfiguration{}, err
	}
	o := &op{owner: owner, keys: []store.Key{key}}
	if fresh {
		o.rng = all(prefixRemote, maxConfigurations)
		o.rng.KeysOnly = true
	}
	o.apply = func(tx *draft) error {
		switch {
		case !fresh && tx.get(key) == nil:
			return ErrNotFound
		case fresh && len(tx.ranged) == maxConfigurations && tx.get(key) == nil:
			return invalid("ID", fmt.Sprintf("that of a configuration there is: there are %d", maxConfigurations))
		}
		return tx.putSealed(store.Record{Key: key}, r)
	}
	if err := a.e.do(ctx, o); err != nil {
		return RemoteConfiguration{}, err
	}
	shown, err := a.e.shownConfiguration(ctx, a.code, r)
	return shown, butIncomplete(err)
}

// shownConfiguration is a configuration with its persons.
func (e *Engine) shownConfiguration(ctx context.Context, of fiscalcode.Organization, r *remoteConfigurationRecord) (RemoteConfiguration, error) {
	c := r.configuration(of)
	return c, e.show(ctx, listing{r.TestUsers, &c.TestUsers}, listing{r.Unsigned, &c.Unsigned})
}

// checkRemote refuses the key of a group, too: configurations are the whole organization's.
func (a *Authority) checkRemote(ctx context.Context) error {
	who, err := a.check(ctx, toHoldKeys)
	if err == nil && who.group != "" {
		err = errOtherGroup
	}
	return err
}

// RemoteConfiguration is one of the organization's, with its secrets; ErrNotFound: it has none of this id. With ErrIncomplete it comes without
// the persons of whom nothing can be read.
func (a *Authority) RemoteConfiguration(ctx context.Context, id ConfigurationID) (RemoteConfiguration, error) {
	if err := a.e.ready(ctx); err != nil {
		return RemoteConfiguration{}, err
	}
	if err := a.checkRemote(ctx); err != nil {
		return RemoteConfiguration{}, err
	}
	return a.e.remoteConfiguration(ctx, a.code, id)
}

// RemoteConfigurations lists the organization's, oldest first, with their secrets.
func (a *Authority) RemoteConfigurations() List[RemoteConfiguration] {
	return newList(a.e, "remote\x00"+string(a.code), func(ctx context.Context, p position, limit int) (f found[RemoteConfiguration], err error) {
		if err := a.checkRemote(ctx); err != nil {
			return f, err
		}
		d, err := a.e.view(ctx, a.e.codec.organization(a.code), p.rangeOf(prefixRemote, limit, false), "")
		if err != nil {
			return f, err
		}
		var incomplete error
		for i := range d.ranged {
			var r remoteConfigurationRecord
			if err := d.open(&d.ranged[i], &r); errors.Is(err, store.ErrCorrupt) {
				incomplete = ErrIncomplete
				continue
			} else if err != nil {
				return f, err
			}
			c, err := a.e.shownConfiguration(ctx, a.code, &r)
			if errors.Is(err, ErrIncomplete) {
				incomplete = err
			} else if err != nil {
				return f, err
			}
			f.add(c, r.ID)
		}
		if len(d.ranged) == limit {
			f.resume = strings.TrimPrefix(string(d.ranged[limit-1].Key), prefixRemote)
		}
		if p.before {
			slices.Reverse(f.items)
			slices.Reverse(f.keys)
		}
		return f, incomplete
	})
}

// RemoteConfiguration is where a message's content is fetched, as it is now, with its secrets: for who fetches it. A message
// without any is ErrNotFound.
func (e *Engine) RemoteConfiguration(ctx context.Context, m *RemoteContent) (RemoteConfiguration, error) {
	if err := e.ready(ctx); err != nil {
		return RemoteConfiguration{}, err
	}
	if m == nil {
		return RemoteConfiguration{}, ErrNotFound
	}
	return e.remoteConfiguration(ctx, m.Organization, m.Configuration)
}

// RemoteConfigurationFor is RemoteConfiguration for one citizen, who alone is in TestUsers and Unsigned, where these have them. It reads nothing of
// the others.
func (e *Engine) RemoteConfigurationFor(ctx context.Context, m *RemoteContent, of fiscalcode.Person) (RemoteConfiguration, error) {
	if err := e.ready(ctx); err != nil {
		return RemoteConfiguration{}, err
	}
	if m == nil {
		return RemoteConfiguration{}, ErrNotFound
	}
	r, err := e.readRemoteConfiguration(ctx, m.Organization, m.Configuration)
	if err != nil {
		return RemoteConfiguration{}, err
	}
	c := r.configuration(m.Organization)
	who := e.codec.citizen(of)
	if e.codec.names(r.TestUsers, who) {
		c.TestUsers = []fiscalcode.Person{of}
	}
	if e.codec.names(r.Unsigned, who) {
		c.Unsigned = []fiscalcode.Person{of}
	}
	return c, nil
}

func (e *Engine) remoteConfiguration(ctx context.Context, code fiscalcode.Organization, id ConfigurationID) (RemoteConfiguration, error) {
	r, err := e.readRemoteConfiguration(ctx, code, id)
	if err != nil {
		return RemoteConfiguration{}, err
	}
	return e.shownConfiguration(ctx, code, r)
}

// readRemoteConfiguration is the record of an organization's configuration, or ErrNotFound.
func (e *Engine) readRemoteConfiguration(ctx context.Context, code fiscalcode.Organization, id ConfigurationID) (*remoteConfigurationRecord, error) {
	if !validULID(string(id)) {
		return nil, ErrNotFound
	}
	key := remoteConfigurationKey(id)
	d, err := e.view(ctx, e.codec.organization(code), store.Range{}, "", key)
	if err != nil {
		return nil, err
	}
	var r remoteConfigurationRecord
	found, err := d.read(key, &r)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, ErrNotFound
	}
	return &r, nil
}

// remotes are the configurations that messages name, of the service's organization, and what it is. Configurations are never
// deleted: what was there before a message is decided is there then.
func (s *Sender) remotes(ctx context.Context, ms []Message) (organization string, of map[ConfigurationID]*remoteConfigurationRecord, err error) {
	var keys []store.Key
	for i := range ms {
		if r := ms[i].Remote; r != nil && validULID(string(r.Configuration)) {
			keys = append(keys, remoteConfigurationKey(r.Configuration))
		}
	}
	if keys == nil {
		return "", nil, nil
	}
	svc, err := s.e.readService(ctx, s.id)
	if err != nil {
		return "", nil, err
	}
	of = map[ConfigurationID]*remoteConfigurationRecord{}
	slices.Sort(keys)
	for keys := range slices.Chunk(slices.Compact(keys), store.MaxRange/2) {
		d, err := s.e.view(ctx, s.e.codec.organization(fiscalcode.Organization(svc.Organization)), store.Range{}, "", keys...)
		if err != nil {
			return "", nil, err
		}
		for _, k := range keys {
			var r remoteConfigurationRecord
			if found, err := d.read(k, &r); err != nil {
				return "", nil, err
			} else if found {
				of[ConfigurationID(r.ID)] = &r
			}
		}
	}
	return svc.Organization, of, nil
}

var errNotItsConfiguration = fmt.Errorf("%w: the service's organization has no such remote-content configuration", ErrForbidden)

// settle is what is stored of a message's remote content: what the configuration says of the precondition counts from then on.
func (r *RemoteContent) settle(organization string, of map[ConfigurationID]*remoteConfigurationRecord) (*remoteRecord, error) {
	c := of[r.Configuration]
	if c == nil {
		return nil, errNotItsConfiguration
	}
	stored := newRemoteRecord(r)
	stored.Organization = organization
	if stored.Precondition == "" {
		stored.Precondition = c.Precondition
	}
	return stored, nil
}

// PreconditionShown notes that the citizen was shown a precondition of a message's remote content, and its text.
func (c *Citizen) PreconditionShown(ctx context.Context, id MessageID, text string) error {
	return c.changeOpening(ctx, id, func(_ *messageRecord, o *openingRecord) (bool, error) {
		sum := sha256.Sum256([]byte(text))
		o.ShownAt, o.Text = toMicro(micro(c.e.now())), sum[:]
		return true, nil
	})
}

// AcceptPrecondition notes that the citizen, who was shown the precondition of a message's remote content, goes on to open it: when, and by
// which login. It is to return before the content is given. A citizen who was not shown it is ErrForbidden; a message that has none changes
// nothing. What is noted goes with the message: an erasure ends it.
func (c *Citizen) AcceptPrecondition(ctx context.Context, id MessageID) error {
	return c.changeOpening(ctx, id, func(m *messageRecord, o *openingRecord) (bool, error) {
		switch r := m.remote(); {
		case r == nil || r.Precondition == Never:
			return false, nil
		case o.ShownAt == 0 && planted != "opening-unshown":
			return false, errNotShown
		case o.AcceptedAt >= o.ShownAt:
			return false, nil
		}
		o.AcceptedAt = max(toMicro(micro(c.e.now())), o.ShownAt)
		o.Level, o.Provider = c.id.Level, c.id.Provider
		return true, nil
	})
}

// changeOpening changes what is known of a message's precondition; change says whether it did.
func (c *Citizen) changeOpening(ctx context.Context, id MessageID, change func(*messageRecord, *openingRecord) (bool, error)) error {
	owner, err := c.begin(ctx)
	if err != nil {
		return err
	}
	if !validULID(string(id)) {
		return ErrNotFound
	}
	return c.e.do(ctx, &op{
		owner: owner, urgent: true, keys: append([]store.Key{messageKey(id), stateKey(id)}, profileKeys...),
		apply: func(tx *draft) error {
			if tx.get(keyTombstone) != nil {
				return ErrErasing
			}
			if _, err := tx.readProfile(); err != nil {
				return err
			}
			var m messageRecord
			found, err := tx.read(messageKey(id), &m)
			if errors.Is(err, errShredded) || err == nil && !found {
				return ErrNotFound
			}
			if err != nil {
				return err
			}
			var s stateRecord
			if _, err := tx.read(stateKey(id), &s); err != nil {
				return err
			}
			if s.Opening == nil {
				s.Opening = &openingRecord{}
			}
			if changed, err := change(&m, s.Opening); err != nil || !changed {
				return err
			}
			return tx.putPersonal(store.Record{Key: stateKey(id)}, &s)
		},
	})
}

var errNotShown = fmt.Errorf("%w: the message has a precondition that the citizen was not shown", ErrForbidden)

// An Opening is what a citizen has seen of a message's precondition, and accepted.
type Opening struct {
	ShownAt    time.Time // last; zero: never
	AcceptedAt time.Time // last; zero: never
	Level      Level     // of the login by which it was accepted
	Provider   string    // likewise
	SHA256     string    // of the text that was shown last, in hex
}

// PreconditionDue reports whether the citizen is to be shown a precondition before the message's remote content is opened.
func (m *InboxMessage) PreconditionDue() bool {
	if m.Remote == nil {
		return false
	}
	return m.Remote.Precondition == Always || m.Remote.Precondition == Once && m.Opening.AcceptedAt.IsZero()
}

func (r *openingRecord) opening() Opening {
	if r == nil {
		return Opening{}
	}
	return Opening{fromMicro(r.ShownAt), fromMicro(r.AcceptedAt), r.Level, r.Provider, hex.EncodeToString(r.Text)}
}

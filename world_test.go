package appio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// A world is a store after a scripted run, and what a test needs to know to ask about it.
type world struct {
	Now      time.Time
	Citizens []fiscalcode.Person
	Services []ServiceID
	APIKeys  []string
	Token    string // withdraws Anna's e-mail for the school canteen
	Messages []worldMessage

	dump []store.Record
	ring Keyring
}

type worldMessage struct {
	To      fiscalcode.Person
	Service ServiceID
	ID      MessageID
	Key     string
}

// The people of the world, and what is special about them.
const (
	anna    = fiscalcode.Person("NNANNA80A41H501A") // AUTO: e-mail and push in full, choices, activations, work under a lease
	bruno   = fiscalcode.Person("BRNBRN75B15F205B") // MANUAL: chose one service; a delivery of it waits for its next attempt
	carla   = fiscalcode.Person("CRLCRL90C50L219C") // undecided, with an address
	dario   = fiscalcode.Person("DRADRA60D20H501D") // closed the inbox
	elena   = fiscalcode.Person("LNELNE85E65F839E") // being erased
	fabio   = fiscalcode.Person("FBAFBA88H30H501F") // never came
	gino    = fiscalcode.Person("GNIGNI70L10H501G") // one address refuses, one is gone, one record is damaged
	sandbox = fiscalcode.Sandbox
)

const (
	worldKey      = "tari-primary-0123456789abcdef0123456789abcdef"
	worldOtherKey = "tari-secondary-0123456789abcdef0123456789abcd"
	worldMensaKey = "mensa-primary-0123456789abcdef0123456789abcdef"
)

type worldClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *worldClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *worldClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// worldOptions are those of every engine on the world's store. Without a ring it is plain.
func worldOptions(ring Keyring, now func() time.Time, deliver func(context.Context, Delivery) error) *Options {
	return &Options{
		Keys: ring, Plain: ring == nil, Now: now, Statistics: true, ContactRate: 1e9, FeedRate: 1e9, ManageRate: 1e9, DebtRate: 1e9, AddressRate: 1e9, Backoff: func(int) time.Duration { return 10 * time.Minute },
		Channels: []Route{
			{Name: Email, Channel: ChannelFunc(deliver)},
			{Name: Push, Channel: ChannelFunc(deliver), Default: Generic, Secure: Generic, Unvalidated: true, ByCode: true},
		},
	}
}

// newWorld runs the script. It touches every kind of record and leaves some of each behind.
func newWorld(t testing.TB, ring Keyring) *world {
	t.Helper()
	ctx := t.Context()
	clock := &worldClock{now: goldenTime.Truncate(time.Second)}
	s := memstore.New()
	var mu sync.Mutex
	tokens := map[ServiceID]string{}
	e, err := New(s, worldOptions(ring, clock.Now, func(_ context.Context, d Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		if d.Channel == Email && d.Address.Value == "anna@example.it" {
			tokens[d.Service] = d.Withdraw
		}
		switch d.Address.Value {
		case "bruno@example.it", "elena@example.it":
			return fmt.Errorf("451 <%s> later", d.Address.Value)
		case "gino@example.it":
			return Permanent(fmt.Errorf("550 <%s> refused", d.Address.Value))
		case "gino.old@example.it":
			return Gone(errors.New("550 no such user"))
		}
		return nil
	}))
	require.NoError(t, err)
	defer e.Close()
	must := func(err error) {
		t.Helper()
		require.NoError(t, err)
	}
	w := &world{
		Citizens: []fiscalcode.Person{anna, bruno, carla, dario, elena, fabio, gino, sandbox},
		Services: []ServiceID{"tari", "mensa", "invalidi", "fse", "vecchio"},
		APIKeys:  []string{worldKey, worldOtherKey, worldMensaKey}, ring: ring,
	}

	must(e.PutOrganization(ctx, Organization{Code: goldenOrg, Name: "Comune di Esempio", SignedAt: clock.Now().AddDate(-1, 0, 0)}))
	must(e.PutService(ctx, Service{
		ID: "tari", Name: "Tassa rifiuti", Organization: goldenOrg, State: Live, Basis: PublicTask, MaxPayment: 5000_00,
		Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Description: "La tassa sui rifiuti", Web: "https://example.it", Topic: "ambiente",
	}))
	must(e.PutService(ctx, Service{ID: "mensa", Name: "Mensa scolastica", Organization: goldenOrg, Trial: []fiscalcode.Person{anna, bruno}}))
	must(e.PutService(ctx, Service{ID: "invalidi", Name: "Invalidità civile", Organization: "80078750587", State: Live, Category: Special, Basis: LegalObligation}))
	must(e.PutService(ctx, Service{ID: "fse", Name: "Fascicolo sanitario", Organization: "80078750587", State: Live, SecureChannels: true}))
	must(e.PutService(ctx, Service{ID: "vecchio", Name: "Servizio cessato", Organization: goldenOrg, State: Live}))
	must(e.PutKey(ctx, "tari", Primary, worldKey))
	must(e.PutKey(ctx, "tari", Secondary, worldOtherKey))
	must(e.PutKey(ctx, "mensa", Primary, worldMensaKey))

	citizen := func(code fiscalcode.Person) *Citizen {
		return e.Citizen(Identity{Code: code, Level: L2, Provider: "cie", Text: "2026-01"})
	}
	come := func(code fiscalcode.Person, mode Mode, change func(*Profile)) {
		if mode != Undecided {
			must(citizen(code).SetMode(ctx, mode))
		}
		must(citizen(code).UpdateProfile(ctx, func(p *Profile) error { change(p); return nil }))
	}
	at := func(address string) Address {
		return Address{ID: address[:6], Channel: Email, Value: address, ValidatedAt: clock.Now()}
	}
	come(anna, Auto, func(p *Profile) {
		p.Channels = Channels{Email: Full, Push: Full}
		p.Addresses, p.Languages = []Address{at("anna@example.it")}, []string{"it", "de"}
	})
	come(bruno, Auto, func(p *Profile) { p.Channels[Email] = Full; p.Addresses = []Address{at("bruno@example.it")} })
	must(citizen(bruno).SetPreference(ctx, "fse", Preference{Inbox: true}))
	must(citizen(bruno).SetMode(ctx, Manual)) // the choice for fse counts no longer
	must(citizen(bruno).SetPreference(ctx, "tari", Preference{Inbox: true, Channels: On(Email), ReadStatus: true}))
	come(carla, Undecided, func(p *Profile) { p.Addresses = []Address{at("carla@example.it")} })
	come(dario, Auto, func(p *Profile) { p.Inbox = false })
	come(elena, Auto, func(p *Profile) { p.Channels[Email] = Full; p.Addresses = []Address{at("elena@example.it")} })
	must(citizen(elena).SetPreference(ctx, "fse", Preference{Inbox: true}))
	come(gino, Auto, func(p *Profile) {
		p.Channels[Email] = Full
		p.Addresses = []Address{at("gino@example.it"), at("gino.old@example.it")}
		p.Addresses[1].ID = "old"
	})
	come(sandbox, Auto, func(*Profile) {})
	must(e.Sender("invalidi").Activate(ctx, anna, Active, clock.Now().Add(-time.Hour)))
	must(e.Sender("invalidi").Activate(ctx, fabio, Pending, time.Time{}))

	send := func(from ServiceID, m Message) MessageID {
		t.Helper()
		m.Markdown, m.TimeToLive = strings.Repeat(m.Subject+". ", 5), maxTTL
		clock.Advance(time.Second)
		r, err := e.Sender(from).Send(ctx, m)
		must(err)
		w.Messages = append(w.Messages, worldMessage{m.To, from, r.ID, m.Key})
		return r.ID
	}
	for _, code := range []fiscalcode.Person{anna, bruno, carla, dario, elena, fabio, gino} {
		send("tari", Message{To: code, Subject: "Prima rata della tassa sui rifiuti", Due: clock.Now().AddDate(0, 1, 0), Key: "2026/0001",
			Payment: &Notice{Number: "301000000000000123", Amount: 123_45, InvalidAfterDue: true}})
	}
	send("mensa", Message{To: anna, Subject: "Retta di marzo della mensa", Key: "marzo"})
	send("mensa", Message{To: sandbox, Subject: "Una prova di messaggio"})
	send("invalidi", Message{To: anna, Subject: "Convocazione a visita medica", SecureChannels: true})
	send("invalidi", Message{To: gino, Subject: "Convocazione a visita medica"})
	send("fse", Message{To: anna, Subject: "Il tuo referto è pronto"})
	read := send("vecchio", Message{To: anna, Subject: "Ultimo avviso del servizio"})
	_, err = e.Flush(ctx)
	must(err)
	require.Eventually(t, func() bool { // the address that is gone is removed a moment after
		p, err := citizen(gino).Profile(ctx)
		return err == nil && len(p.Addresses) == 1
	}, 10*time.Second, time.Millisecond)

	clock.Advance(time.Minute)
	must(citizen(anna).MarkRead(ctx, read))
	must(citizen(anna).Archive(ctx, read, true))
	must(citizen(bruno).MarkRead(ctx, w.Messages[1].ID))
	must(e.Withdraw(ctx, tokens["tari"]))
	w.Token = tokens["mensa"]

	// A record that is damaged, and is put aside when its turn comes.
	broken := send("tari", Message{To: gino, Subject: "Avviso che si danneggia sul disco"})
	snap, err := s.View(ctx, []store.Read{{Owner: e.codec.citizen(gino), Keys: []store.Key{waitingKey(broken)}}})
	must(err)
	snap[0].Records[0].Value[20] ^= 4
	_, err = s.Commit(ctx, []store.Change{{Owner: e.codec.citizen(gino), Rev: snap[0].Rev, Put: snap[0].Records}})
	must(err)
	_, err = e.Flush(ctx)
	must(err)

	// Work that another process has under a lease, and choices that do not touch it.
	clock.Advance(time.Minute)
	leased := send("tari", Message{To: anna, Subject: "Avviso che è in consegna"})
	must(e.do(ctx, &op{owner: e.codec.citizen(anna), keys: []store.Key{waitingKey(leased)}, apply: func(tx *draft) error {
		work := &workRecord{}
		if _, err := tx.read(waitingKey(leased), work); err != nil {
			return err
		}
		work.Lease = &leaseRecord{Process: "4711", Boot: "00112233445566778899aabbccddeeff", Number: 7, Until: toMicro(clock.Now().Add(30 * time.Second))}
		for i := range work.Entries {
			work.Entries[i].Held, work.Entries[i].Claims = true, 1
		}
		return tx.putWork(keysOfWork(leased), work, waitingKey(leased))
	}}))
	send("tari", Message{To: anna, Subject: "Avviso che aspetta in coda"})
	send("mensa", Message{To: sandbox, Subject: "Un'altra prova di messaggio"})
	must(citizen(anna).SetPreference(ctx, "fse", Preference{Channels: Channels{}}))
	must(citizen(elena).Erase(ctx))
	must(e.PutService(ctx, Service{ID: "vecchio", Name: "Servizio cessato", Organization: goldenOrg, State: Stopped}))
	clock.Advance(time.Second)
	w.Now, w.dump = clock.Now(), dumpStore(t, s)
	return w
}

// dumpStore is all records of a store, by owner and key.
func dumpStore(t testing.TB, s store.Store) (records []store.Record) {
	t.Helper()
	owners, err := s.Owners(t.Context(), "", store.MaxRange)
	require.NoError(t, err)
	for _, o := range owners {
		snaps, err := s.View(t.Context(), []store.Read{{Owner: o, Range: store.Range{Limit: store.MaxRange}}})
		require.NoError(t, err)
		records = append(records, snaps[0].Records...)
	}
	return records
}

// undumpStore is a new store with the records.
func undumpStore(t testing.TB, records []store.Record) store.Store {
	t.Helper()
	by := map[store.Owner]*store.Change{}
	for _, r := range records {
		c := by[r.Owner]
		if c == nil {
			c = &store.Change{Owner: r.Owner}
			by[r.Owner] = c
		}
		c.Put = append(c.Put, r)
	}
	var changes []store.Change
	for _, c := range by {
		changes = append(changes, *c)
	}
	s := memstore.New()
	errs, err := s.Commit(t.Context(), changes)
	require.NoError(t, err)
	for _, err := range errs {
		require.NoError(t, err)
	}
	return s
}

// A question is one read through the public API.
type question struct {
	name string
	ask  func(context.Context, *Engine) (any, error)
}

func gather[T any](ctx context.Context, l List[T]) ([]T, error) {
	all := []T{}
	for v, err := range l.All(ctx) {
		if err != nil {
			return all, err
		}
		all = append(all, v)
	}
	return all, nil
}

// questions are all that can be asked of the world without changing it.
func (w *world) questions() (qs []question) {
	add := func(name string, ask func(context.Context, *Engine) (any, error)) {
		qs = append(qs, question{name, ask})
	}
	person := func(e *Engine, code fiscalcode.Person) *Citizen { return e.Citizen(Identity{Code: code, Level: L2}) }
	for _, code := range w.Citizens {
		of := " of " + string(code)
		add("profile"+of, func(ctx context.Context, e *Engine) (any, error) { return person(e, code).Profile(ctx) })
		add("inbox"+of, func(ctx context.Context, e *Engine) (any, error) { return gather(ctx, person(e, code).Inbox(nil)) })
		add("archive"+of, func(ctx context.Context, e *Engine) (any, error) {
			return gather(ctx, person(e, code).Inbox(&InboxOptions{Archived: true}))
		})
		add("consents"+of, func(ctx context.Context, e *Engine) (any, error) { return gather(ctx, person(e, code).Consents()) })
		for _, id := range w.Services {
			add("preference"+of+" for "+string(id), func(ctx context.Context, e *Engine) (any, error) { return person(e, code).Preference(ctx, id) })
			add("may contact"+of+" by "+string(id), func(ctx context.Context, e *Engine) (any, error) { return e.Sender(id).CanContact(ctx, code) })
		}
	}
	for i, m := range w.Messages {
		of := fmt.Sprintf(" %02d of %s", i, string(m.To))
		add("message"+of, func(ctx context.Context, e *Engine) (any, error) { return person(e, m.To).Message(ctx, m.ID) })
		add("status"+of, func(ctx context.Context, e *Engine) (any, error) { return e.Sender(m.Service).Status(ctx, m.To, m.ID) })
		add("explain"+of, func(ctx context.Context, e *Engine) (any, error) {
			r, err := e.Explain(ctx, m.To, m.ID)
			slices.SortFunc(r.Outcomes, func(a, b DeliveryOutcome) int { return cmp.Compare(a.ID, b.ID) })
			return r, err
		})
	}
	for _, id := range w.Services {
		add("service "+string(id), func(ctx context.Context, e *Engine) (any, error) { return e.Service(ctx, id) })
	}
	for i, key := range w.APIKeys {
		add(fmt.Sprintf("sender by key %d", i), func(ctx context.Context, e *Engine) (any, error) {
			s, err := e.SenderByKey(ctx, key, netip.MustParseAddr("192.0.2.7"))
			if err != nil {
				return nil, err
			}
			return s.ID(), nil
		})
	}
	add("services", func(ctx context.Context, e *Engine) (any, error) { return gather(ctx, e.Services()) })
	add("organization", func(ctx context.Context, e *Engine) (any, error) { return e.Organization(ctx, goldenOrg) })
	add("parked", func(ctx context.Context, e *Engine) (any, error) { return gather(ctx, e.Parked()) })
	return qs
}

// answer is what was said, as JSON, or which error it was.
func answer(v any, err error) any {
	if err == nil {
		return asJSON(v)
	}
	return map[string]any{"error": errorName(err)}
}

func errorName(err error) string {
	for name, sentinel := range map[string]error{
		"ErrInvalid": ErrInvalid, "ErrUnauthorized": ErrUnauthorized, "ErrForbidden": ErrForbidden, "ErrNotFound": ErrNotFound,
		"ErrConflict": ErrConflict, "ErrErasing": ErrErasing, "store.ErrCorrupt": store.ErrCorrupt, "store.ErrKey": store.ErrKey,
		"store.ErrNewer": store.ErrNewer,
	} {
		if errors.Is(err, sentinel) {
			return name
		}
	}
	return err.Error()
}

func (w *world) answers(ctx context.Context, e *Engine) map[string]any {
	all := map[string]any{}
	for _, q := range w.questions() {
		all[q.name] = answer(q.ask(ctx, e))
	}
	h, err := e.Health(ctx)
	all["health"] = answer(h, err)
	return all
}

// The golden store: its records, one a line, what to ask, and the answers, at once and after the work that was left was done.
type goldenAnswers struct {
	Answers map[string]any
	Later   map[string]any // those that are others then
	Sent    []goldenDelivery
}

type goldenDelivery struct {
	ID      DeliveryID
	Channel string
	Attempt int
	Content Content
	Address string
	Message MessageID
	Subject string
}

// ask opens the world's store, asks everything, lets two hours pass, delivers, and asks again.
func (w *world) ask(t *testing.T) (got goldenAnswers) {
	t.Helper()
	ctx := t.Context()
	clock := &worldClock{now: w.Now}
	var mu sync.Mutex
	e, err := New(undumpStore(t, w.dump), worldOptions(w.ring, clock.Now, func(_ context.Context, d Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		got.Sent = append(got.Sent, goldenDelivery{d.ID, d.Channel, d.Attempt, d.Content, d.Address.Value, d.Message, d.Subject})
		return nil
	}))
	require.NoError(t, err)
	defer e.Close()
	got.Answers = w.answers(ctx, e)
	clock.Advance(2 * time.Hour)
	_, err = e.Flush(ctx)
	require.NoError(t, err)
	got.Later = w.answers(ctx, e)
	maps.DeleteFunc(got.Later, func(name string, a any) bool { return reflect.DeepEqual(a, got.Answers[name]) })
	slices.SortFunc(got.Sent, func(a, b goldenDelivery) int { return cmp.Compare(a.ID, b.ID) })
	return got
}

func readWorld(t testing.TB) *world {
	t.Helper()
	ring, _ := goldenRing(t)
	w := &world{ring: ring}
	readGolden(t, "store/world.json", w)
	var rs []storedRecord
	readGolden(t, "store/records.json", &rs)
	for i := range rs {
		w.dump = append(w.dump, rs[i].record(t))
	}
	return w
}

package appio_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

const (
	giuseppe fiscalcode.Person       = "GRBGPP87L04L741X"
	matteo   fiscalcode.Person       = "BSCMTT83A12L719R"
	comune   fiscalcode.Organization = "01199250158"
	mensa    appio.ServiceID         = "mensa"

	subject = "La mensa riapre lunedì"
)

var markdown = "La mensa riapre lunedì, e con lei il menù della settimana: " + strings.Repeat("pasta, ", 10)

// personNumber is a fiscal code for each number below a million.
func personNumber(n int) fiscalcode.Person {
	return fiscalcode.Person(fmt.Sprintf("RSSMR%c%02dA%02dH%03dS", 'A'+n%10, n/10%100, n/1000%10, n/10_000))
}

// A town is an engine in memory, two channels that keep what they are given, and a live service.
type town struct {
	*appio.Engine
	t           *testing.T
	store       store.Store
	ahead       atomic.Int64 // of the engine's clock
	email, push *postbox
}

// newTown closes the engine when the test ends.
func newTown(t *testing.T, changes ...func(*appio.Options)) *town {
	t.Helper()
	return newTownOn(t, memstore.New(), changes...)
}

func newTownOn(t *testing.T, s store.Store, changes ...func(*appio.Options)) *town {
	t.Helper()
	w := &town{t: t, store: s, email: &postbox{}, push: &postbox{}}
	o := &appio.Options{
		Keys: townKeys, Now: w.now, Backoff: func(int) time.Duration { return time.Minute },
		Channels: []appio.Route{
			{Name: appio.Email, Channel: w.email},
			{Name: appio.Push, Channel: w.push, Default: appio.Generic, Secure: appio.Generic, Unvalidated: true},
		},
	}
	for _, change := range changes {
		change(o)
	}
	var err error
	w.Engine, err = appio.New(s, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	return w
}

var townKeys = appio.RandomKeys()

func (w *town) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

// advance moves the engine's clock, and no timer.
func (w *town) advance(d time.Duration) { w.ahead.Add(int64(d)) }

func (w *town) put(changes ...func(*appio.Service)) *appio.Sender {
	w.t.Helper()
	s := newService(changes...)
	require.NoError(w.t, w.PutService(w.t.Context(), s))
	return w.Sender(s.ID)
}

func newService(changes ...func(*appio.Service)) appio.Service {
	s := appio.Service{ID: mensa, Name: "Mensa scolastica", Organization: comune, State: appio.Live, MaxPayment: 100_00}
	for _, change := range changes {
		change(&s)
	}
	return s
}

func (w *town) person(code fiscalcode.Person) *appio.Citizen {
	return w.Citizen(appio.Identity{Code: code, Level: appio.L2, Provider: "cie", Text: "3"})
}

// enrol makes a citizen in a mode who takes everything, by both channels.
func (w *town) enrol(code fiscalcode.Person, m appio.Mode) *appio.Citizen {
	w.t.Helper()
	c := w.person(code)
	require.NoError(w.t, join(w.t.Context(), c, m))
	return c
}

func join(ctx context.Context, c *appio.Citizen, m appio.Mode) error {
	if err := c.SetMode(ctx, m); err != nil {
		return err
	}
	return c.UpdateProfile(ctx, func(p *appio.Profile) error {
		p.Channels = appio.On(appio.Email, appio.Push)
		p.Addresses = []appio.Address{
			{ID: "home", Channel: appio.Email, Value: "casa@example.it", ValidatedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
			{ID: "phone", Channel: appio.Push, Value: "token-7"},
		}
		return nil
	})
}

func messageTo(to fiscalcode.Person, changes ...func(*appio.Message)) appio.Message {
	m := appio.Message{To: to, Subject: subject, Markdown: markdown}
	for _, change := range changes {
		change(&m)
	}
	return m
}

func withKey(key string) func(*appio.Message) { return func(m *appio.Message) { m.Key = key } }

// send sends a message that must be processed.
func (w *town) send(s *appio.Sender, m appio.Message) appio.MessageID {
	w.t.Helper()
	r, err := s.Send(w.t.Context(), m)
	require.NoError(w.t, err)
	require.Equal(w.t, appio.Processed, r.Status)
	return r.ID
}

func (w *town) flush() int {
	w.t.Helper()
	n, err := w.Flush(w.t.Context())
	require.NoError(w.t, err)
	return n
}

// run delivers in the background; the function it returns ends that.
func (w *town) run() (end func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return func() {
		w.t.Helper()
		cancel()
		require.NoError(w.t, <-done)
	}
}

// outcomes are the results of a message's deliveries by channel, in the order in which they were recorded.
func (w *town) outcomes(to fiscalcode.Person, id appio.MessageID, channel string) (results []appio.OutcomeResult) {
	w.t.Helper()
	for _, o := range w.explain(to, id).Outcomes {
		if o.Channel == channel {
			results = append(results, o.Result)
		}
	}
	return results
}

func (w *town) explain(to fiscalcode.Person, id appio.MessageID) appio.DecisionRecord {
	w.t.Helper()
	r, err := w.Explain(w.t.Context(), to, id)
	require.NoError(w.t, err)
	return r
}

func (w *town) parked() []appio.ParkedDelivery {
	w.t.Helper()
	return collect(w.t, w.Parked())
}

func collect[T any](t *testing.T, l appio.List[T]) (items []T) {
	t.Helper()
	for item, err := range l.All(t.Context()) {
		require.NoError(t, err)
		items = append(items, item)
	}
	return items
}

// keysOf lists the keys of the store's records, of all owners with the prefix.
func keysOf(t *testing.T, s store.Store, prefix string) (keys []store.Key) {
	t.Helper()
	for _, r := range recordsOf(t, s, prefix) {
		keys = append(keys, r.Key)
	}
	return keys
}

func recordsOf(t *testing.T, s store.Store, prefix string) (recs []store.Record) {
	t.Helper()
	ctx := context.Background()
	var after store.Owner
	for {
		owners, err := s.Owners(ctx, after, 100)
		require.NoError(t, err)
		for _, o := range owners {
			r := store.Range{Limit: 1000}
			for strings.HasPrefix(string(o), prefix) {
				snaps, err := s.View(ctx, []store.Read{{Owner: o, Range: r}})
				require.NoError(t, err)
				recs = append(recs, snaps[0].Records...)
				if len(snaps[0].Records) < r.Limit {
					break
				}
				r.From = snaps[0].Records[r.Limit-1].Key + "\x00"
			}
		}
		if len(owners) < 100 {
			return recs
		}
		after = owners[len(owners)-1]
	}
}

const citizens = "c/" // prefix of the owners that are citizens

// A postbox is a channel that keeps what it is given, once answer, if set, agreed.
type postbox struct {
	answer func(ctx context.Context, d appio.Delivery) error

	mu   sync.Mutex
	kept []appio.Delivery
}

func (p *postbox) Deliver(ctx context.Context, d appio.Delivery) error {
	p.mu.Lock()
	answer := p.answer
	p.mu.Unlock()
	if answer != nil {
		if err := answer(ctx, d); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = append(p.kept, d)
	return nil
}

// answers sets answer where deliveries may be under way.
func (p *postbox) answers(f func(ctx context.Context, d appio.Delivery) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = f
}

func (p *postbox) deliveries() []appio.Delivery {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]appio.Delivery(nil), p.kept...)
}

// requireField requires an ErrInvalid about a field that does not tell the value.
func requireField(t *testing.T, err error, field, value string) {
	t.Helper()
	require.ErrorIs(t, err, appio.ErrInvalid)
	var f *appio.FieldError
	require.ErrorAs(t, err, &f)
	require.Equal(t, field, f.Field)
	require.NotEmpty(t, f.Rule)
	if value != "" {
		require.NotContains(t, err.Error(), value)
	}
}

func TestService(t *testing.T) {
	t.Parallel()
	whole := appio.Service{
		ID: "anagrafe", Name: "Anagrafe", Organization: comune, State: appio.Trial, Category: appio.Special, Basis: appio.PublicTask,
		SecureChannels: true, MaxPayment: 9_999_999_999, Trial: []fiscalcode.Person{giuseppe, matteo},
		Prefixes:    []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		Description: "Certificati", Privacy: "https://example.it/privacy", Web: "https://example.it", Email: "a@example.it",
		Phone: "+39 02 0202", PEC: "pec@example.it", Support: "https://example.it/aiuto", Topic: "11",
	}

	t.Run("is what was put", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		require.NoError(t, w.PutService(ctx, whole))
		got, err := w.Service(ctx, whole.ID)
		require.NoError(t, err)
		require.Equal(t, whole, got)

		require.NoError(t, w.PutService(ctx, whole), "twice is the same")
		got, err = w.Service(ctx, whole.ID)
		require.NoError(t, err)
		require.Equal(t, whole, got)

		other := appio.Service{ID: whole.ID, Name: "Anagrafe e stato civile", Organization: comune, State: appio.Live}
		require.NoError(t, w.PutService(ctx, other), "it is replaced whole")
		got, err = w.Service(ctx, whole.ID)
		require.NoError(t, err)
		require.Equal(t, other, got)
	})

	t.Run("one that was never put is not found", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		for _, id := range []appio.ServiceID{"nobody", "", "a\nb", appio.ServiceID(strings.Repeat("a", 201))} {
			_, err := w.Service(ctx, id)
			require.ErrorIs(t, err, appio.ErrNotFound)
			_, err = w.Sender(id).Send(ctx, messageTo(giuseppe))
			require.ErrorIs(t, err, appio.ErrNotFound)
			_, err = w.Sender(id).CanContact(ctx, giuseppe)
			require.ErrorIs(t, err, appio.ErrNotFound)
			_, err = w.Sender(id).Status(ctx, giuseppe, "01ARZ3NDEKTSV4RRFFQ69G5FAV")
			require.ErrorIs(t, err, appio.ErrNotFound)
			require.ErrorIs(t, w.Sender(id).Activate(ctx, giuseppe, appio.Active, time.Time{}), appio.ErrNotFound)
			_, err = w.NewKey(ctx, id, appio.Primary)
			require.ErrorIs(t, err, appio.ErrNotFound)
		}
	})

	t.Run("what the caller does with its slices afterwards changes nothing", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := whole
		s.Trial = []fiscalcode.Person{giuseppe}
		require.NoError(t, w.PutService(ctx, s))
		s.Trial[0] = matteo
		got, err := w.Service(ctx, s.ID)
		require.NoError(t, err)
		require.Equal(t, []fiscalcode.Person{giuseppe}, got.Trial)
	})

	t.Run("services are listed by id, in pages, forwards", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		require.NoError(t, w.PutOrganization(ctx, appio.Organization{Code: comune, Name: "Comune"}))
		for _, id := range []appio.ServiceID{"c", "a", "e", "b", "d"} {
			w.put(func(s *appio.Service) { s.ID = id })
		}
		w.enrol(giuseppe, appio.Auto)
		var ids []appio.ServiceID
		for _, s := range collect(t, w.Services()) {
			ids = append(ids, s.ID)
		}
		require.Equal(t, []appio.ServiceID{"a", "b", "c", "d", "e"}, ids)

		var cursor appio.Cursor
		var sizes []int
		ids = nil
		for {
			page, err := w.Services().Page(ctx, cursor, 2)
			require.NoError(t, err)
			sizes = append(sizes, len(page.Items))
			for _, s := range page.Items {
				ids = append(ids, s.ID)
			}
			if page.Prev != "" {
				_, err := w.Services().Page(ctx, page.Prev, 2)
				require.ErrorIs(t, err, appio.ErrInvalid)
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		require.Equal(t, []int{2, 2, 1}, sizes)
		require.Equal(t, []appio.ServiceID{"a", "b", "c", "d", "e"}, ids)
	})
}

func TestServiceLimits(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("è", n) }
	many := func(n int) []fiscalcode.Person {
		ps := make([]fiscalcode.Person, n)
		for i := range ps {
			ps[i] = personNumber(i)
		}
		return ps
	}
	prefixes := func(n int) []netip.Prefix {
		ps := make([]netip.Prefix, n)
		for i := range ps {
			ps[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
		}
		return ps
	}
	for _, c := range []struct {
		field string // empty: it is valid
		value string
		set   func(*appio.Service)
	}{
		{"ID", "", func(s *appio.Service) { s.ID = "" }},
		{"", "", func(s *appio.Service) { s.ID = appio.ServiceID(strings.Repeat("a", 200)) }},
		{"ID", "aaaa", func(s *appio.Service) { s.ID = appio.ServiceID(strings.Repeat("a", 201)) }},
		{"ID", "xyzzy", func(s *appio.Service) { s.ID = "xyzzy\x00" }},
		{"ID", "xyzzy", func(s *appio.Service) { s.ID = "xyzzy\xff" }},
		{"Name", "", func(s *appio.Service) { s.Name = "" }},
		{"", "", func(s *appio.Service) { s.Name = long(200) }},
		{"Name", "èè", func(s *appio.Service) { s.Name = long(201) }},
		{"", "", func(s *appio.Service) { s.Name = strings.Repeat("😀", 100) }},
		{"Name", "😀", func(s *appio.Service) { s.Name = strings.Repeat("😀", 100) + "a" }},
		{"Name", "xyzzy", func(s *appio.Service) { s.Name = "xyzzy\xff" }},
		{"Organization", "", func(s *appio.Service) { s.Organization = "" }},
		{"Organization", "1234567890", func(s *appio.Service) { s.Organization = "1234567890" }},
		{"State", "sleeping", func(s *appio.Service) { s.State = "sleeping" }},
		{"Category", "extra", func(s *appio.Service) { s.Category = "extra" }},
		{"Basis", "whim", func(s *appio.Service) { s.Basis = "whim" }},
		{"", "", func(s *appio.Service) { s.MaxPayment = 9_999_999_999 }},
		{"MaxPayment", "10000000000", func(s *appio.Service) { s.MaxPayment = 10_000_000_000 }},
		{"MaxPayment", "-1", func(s *appio.Service) { s.MaxPayment = -1 }},
		{"", "", func(s *appio.Service) { s.Trial = many(1000) }},
		{"Trial", "RSSMR", func(s *appio.Service) { s.Trial = many(1001) }},
		{"Trial[1]", "xyzzy", func(s *appio.Service) { s.Trial = []fiscalcode.Person{giuseppe, "xyzzy"} }},
		{"", "", func(s *appio.Service) { s.Prefixes = prefixes(1000) }},
		{"Prefixes", "10.0", func(s *appio.Service) { s.Prefixes = prefixes(1001) }},
		{"Prefixes[0]", "", func(s *appio.Service) { s.Prefixes = make([]netip.Prefix, 1) }},
		{"", "", func(s *appio.Service) { s.Description = long(1000) }},
		{"Description", "èè", func(s *appio.Service) { s.Description = long(1001) }},
		{"Privacy", "èè", func(s *appio.Service) { s.Privacy = long(1001) }},
		{"Web", "èè", func(s *appio.Service) { s.Web = long(1001) }},
		{"Email", "èè", func(s *appio.Service) { s.Email = long(1001) }},
		{"Phone", "èè", func(s *appio.Service) { s.Phone = long(1001) }},
		{"PEC", "èè", func(s *appio.Service) { s.PEC = long(1001) }},
		{"Support", "èè", func(s *appio.Service) { s.Support = long(1001) }},
		{"Topic", "èè", func(s *appio.Service) { s.Topic = long(1001) }},
		{"Department", "èè", func(s *appio.Service) { s.Department = long(1001) }},
		{"Address", "èè", func(s *appio.Service) { s.Address = long(1001) }},
		{"Terms", "èè", func(s *appio.Service) { s.Terms = long(1001) }},
		{"AppleApp", "èè", func(s *appio.Service) { s.AppleApp = long(1001) }},
		{"AndroidApp", "èè", func(s *appio.Service) { s.AndroidApp = long(1001) }},
		{"CallToAction", "èè", func(s *appio.Service) { s.CallToAction = long(1001) }},
		{"TokenName", "èè", func(s *appio.Service) { s.TokenName = long(1001) }},
		{"Reach", "everywhere", func(s *appio.Service) { s.Reach = "everywhere" }},
	} {
		w, ctx := newTown(t), t.Context()
		s := newService(c.set)
		err := w.PutService(ctx, s)
		require.Equal(t, s.Validate(), err)
		_, found := w.Service(ctx, s.ID)
		if c.field == "" {
			require.NoError(t, err)
			require.NoError(t, found)
			continue
		}
		requireField(t, err, c.field, c.value)
		require.ErrorIs(t, found, appio.ErrNotFound)
	}
}

// Each text is kept by itself, wherever it stands among the others.
func TestTextsOfAService(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	fields := func(s *appio.Service) []*string {
		return []*string{&s.Description, &s.Privacy, &s.Web, &s.Email, &s.Phone, &s.PEC, &s.Support, &s.Topic, &s.Assessment, &s.Department,
			&s.Address, &s.Terms, &s.AppleApp, &s.AndroidApp, &s.CallToAction, &s.TokenName}
	}
	for i := -1; i <= len(fields(&appio.Service{})); i++ {
		s := newService(func(s *appio.Service) { s.Reach = appio.Local })
		for j, f := range fields(&s) {
			*f = ""
			if i < 0 || i == j { // all, one, none
				*f = fmt.Sprint("testo ", j)
			}
		}
		require.NoError(t, w.PutService(ctx, s))
		got, err := w.Service(ctx, s.ID)
		require.NoError(t, err)
		require.Equal(t, s, got)
	}
}

func TestOrganization(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	signed := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

	_, err := w.Organization(ctx, comune)
	require.ErrorIs(t, err, appio.ErrNotFound)

	require.NoError(t, w.PutOrganization(ctx, appio.Organization{Code: comune, Name: "Comune di Milano", SignedAt: signed}))
	got, err := w.Organization(ctx, comune)
	require.NoError(t, err)
	require.Equal(t, "Comune di Milano", got.Name)
	require.Equal(t, signed, got.SignedAt)
	require.WithinDuration(t, w.now(), got.UpdatedAt, time.Minute)

	requireField(t, w.PutOrganization(ctx, appio.Organization{Code: "1", Name: "Comune"}), "Code", "")
	requireField(t, w.PutOrganization(ctx, appio.Organization{Code: comune}), "Name", "")
	requireField(t, w.PutOrganization(ctx, appio.Organization{Code: comune, Name: strings.Repeat("a", 201)}), "Name", "aaa")

	w.put()
	w.enrol(giuseppe, appio.Auto)
	w.send(w.Sender(mensa), messageTo(giuseppe))
	w.flush()
	require.Equal(t, "Comune di Milano", w.email.deliveries()[0].OrganizationName)
	require.Equal(t, "Mensa scolastica", w.email.deliveries()[0].ServiceName)
}

func TestServiceState(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	for _, code := range []fiscalcode.Person{giuseppe, matteo, fiscalcode.Sandbox} {
		w.enrol(code, appio.Auto)
	}
	in := func(state appio.ServiceState, trial ...fiscalcode.Person) func(*appio.Service) {
		return func(s *appio.Service) { s.State, s.Trial = state, trial }
	}
	for _, c := range []struct {
		name    string
		service func(*appio.Service)
		to      fiscalcode.Person
		allowed bool
	}{
		{"in trial, an authorised recipient", in(appio.Trial, giuseppe), giuseppe, true},
		{"in trial, somebody else", in(appio.Trial, giuseppe), matteo, false},
		{"in trial, the sandbox", in(appio.Trial), fiscalcode.Sandbox, true},
		{"live, anybody", in(appio.Live, giuseppe), matteo, true},
		{"stopped, an authorised recipient", in(appio.Stopped, giuseppe), giuseppe, false},
		{"stopped, the sandbox", in(appio.Stopped), fiscalcode.Sandbox, false},
	} {
		s := w.put(c.service)
		before := len(keysOf(t, w.store, citizens))
		r, err := s.Send(ctx, messageTo(c.to))
		may, mayErr := s.CanContact(ctx, c.to)
		if c.allowed {
			require.NoError(t, err, c.name)
			require.Equal(t, appio.Processed, r.Status, c.name)
			require.NoError(t, mayErr, c.name)
			require.True(t, may, c.name)
			continue
		}
		require.ErrorIs(t, err, appio.ErrForbidden, c.name)
		require.Equal(t, appio.Result{Err: r.Err}, r, c.name)
		require.ErrorIs(t, mayErr, appio.ErrForbidden, c.name)
		require.False(t, may, c.name)
		require.Len(t, keysOf(t, w.store, citizens), before, "%s: nothing is kept", c.name)
	}

	t.Run("being an authorised recipient is no consent", func(t *testing.T) {
		s := w.put(func(s *appio.Service) { s.State, s.Trial = appio.Trial, []fiscalcode.Person{personNumber(1)} })
		r, err := s.Send(ctx, messageTo(personNumber(1)))
		require.NoError(t, err)
		require.Equal(t, appio.Rejected, r.Status)
	})

	t.Run("another recipient of a trial looks the same, known or not", func(t *testing.T) {
		s := w.put(func(s *appio.Service) { s.State = appio.Trial })
		_, known := s.Send(ctx, messageTo(matteo))
		_, unknown := s.Send(ctx, messageTo(personNumber(2)))
		require.Equal(t, unknown, known)
	})
}

func TestServiceMaxPayment(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	w.enrol(giuseppe, appio.Auto)
	pay := func(cents pagopa.Amount) appio.Message {
		return messageTo(giuseppe, func(m *appio.Message) {
			m.Payment = &appio.Notice{Number: "302032002700000251", Amount: cents}
		})
	}
	s := w.put(func(s *appio.Service) { s.MaxPayment = 50_00 })
	id := w.send(s, pay(50_00))
	m, err := w.person(giuseppe).Message(ctx, id)
	require.NoError(t, err)
	require.EqualValues(t, 50_00, m.Payment.Amount)
	require.Equal(t, comune, m.Payment.Payee, "the payee is the sender's organization, if none was named")

	_, err = s.Send(ctx, pay(50_01))
	requireField(t, err, "Payment.Amount", "5001")

	s = w.put(func(s *appio.Service) { s.MaxPayment = 0 })
	_, err = s.Send(ctx, pay(1))
	requireField(t, err, "Payment.Amount", "")
	w.send(s, messageTo(giuseppe))
}

func TestSecureChannels(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name             string
		service, message bool
		email, push      appio.Content
	}{
		{"neither", false, false, appio.Full, appio.Full},
		{"the service", true, false, appio.None, appio.Generic},
		{"the message tightens", false, true, appio.None, appio.Generic},
		{"both", true, true, appio.None, appio.Generic},
	} {
		w := newTown(t)
		w.enrol(giuseppe, appio.Auto)
		s := w.put(func(s *appio.Service) { s.SecureChannels = c.service })
		id := w.send(s, messageTo(giuseppe, func(m *appio.Message) { m.SecureChannels = c.message }))
		d := w.explain(giuseppe, id).Decision
		require.Equal(t, c.email, d.Content(appio.Email), c.name)
		require.Equal(t, c.push, d.Content(appio.Push), c.name)
		w.flush()
		require.Len(t, w.email.deliveries(), int(c.email)/2, c.name)
		require.Len(t, w.push.deliveries(), 1, c.name)
		require.Equal(t, c.push, w.push.deliveries()[0].Content, c.name)
		m, err := w.person(giuseppe).Message(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, markdown, m.Markdown, "the inbox has it whole")
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	nowhere := netip.Addr{}

	t.Run("a service has two, and each works", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		w.enrol(giuseppe, appio.Auto)
		primary, err := w.NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		secondary, err := w.NewKey(ctx, mensa, appio.Secondary)
		require.NoError(t, err)
		require.NotEqual(t, primary, secondary)
		for _, key := range []string{primary, secondary} {
			require.GreaterOrEqual(t, len(key), 32)
			s, err := w.SenderByKey(ctx, key, nowhere)
			require.NoError(t, err)
			require.Equal(t, mensa, s.ID())
			w.send(s, messageTo(giuseppe))
		}
		_, err = w.NewKey(ctx, mensa, 2)
		requireField(t, err, "KeySlot", "")
		_, err = w.NewKey(ctx, mensa, -1)
		requireField(t, err, "KeySlot", "")
	})

	t.Run("an unknown one is unauthorized", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		for _, key := range []string{"", "short", strings.Repeat("0", 64), strings.Repeat("x", 10_000)} {
			_, err := w.SenderByKey(ctx, key, nowhere)
			require.ErrorIs(t, err, appio.ErrUnauthorized)
		}
	})

	t.Run("a new one ends the one before at once, and not the other", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		w.enrol(giuseppe, appio.Auto)
		old, err := w.NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		other, err := w.NewKey(ctx, mensa, appio.Secondary)
		require.NoError(t, err)
		before, err := w.SenderByKey(ctx, old, nowhere)
		require.NoError(t, err)
		beside, err := w.SenderByKey(ctx, other, nowhere)
		require.NoError(t, err)
		id := w.send(before, messageTo(giuseppe))

		fresh, err := w.NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		_, err = w.SenderByKey(ctx, old, nowhere)
		require.ErrorIs(t, err, appio.ErrUnauthorized)
		_, err = w.SenderByKey(ctx, fresh, nowhere)
		require.NoError(t, err)
		w.send(beside, messageTo(giuseppe))

		_, err = before.Send(ctx, messageTo(giuseppe))
		require.ErrorIs(t, err, appio.ErrUnauthorized, "a sender made before")
		_, err = before.Status(ctx, giuseppe, id)
		require.ErrorIs(t, err, appio.ErrUnauthorized)
		_, err = before.CanContact(ctx, giuseppe)
		require.ErrorIs(t, err, appio.ErrUnauthorized)
		require.ErrorIs(t, before.Activate(ctx, giuseppe, appio.Active, time.Time{}), appio.ErrUnauthorized)
	})

	t.Run("putting the service again leaves them", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		key, err := w.NewKey(ctx, mensa, appio.Secondary)
		require.NoError(t, err)
		w.put(func(s *appio.Service) { s.Name = "Mensa e merende" })
		_, err = w.SenderByKey(ctx, key, nowhere)
		require.NoError(t, err)
	})

	t.Run("one made elsewhere can be put, again too, but is one service's and one slot's", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		w.put(func(s *appio.Service) { s.ID = "tari" })
		key := strings.Repeat("k", 16)
		require.NoError(t, w.PutKey(ctx, mensa, appio.Primary, key))
		require.NoError(t, w.PutKey(ctx, mensa, appio.Primary, key))
		require.ErrorIs(t, w.PutKey(ctx, mensa, appio.Secondary, key), appio.ErrConflict)
		require.ErrorIs(t, w.PutKey(ctx, "tari", appio.Primary, key), appio.ErrConflict)
		s, err := w.SenderByKey(ctx, key, nowhere)
		require.NoError(t, err)
		require.Equal(t, mensa, s.ID())

		require.NoError(t, w.PutKey(ctx, mensa, appio.Primary, strings.Repeat("n", 200)))
		require.NoError(t, w.PutKey(ctx, "tari", appio.Secondary, key), "it was given up")
		s, err = w.SenderByKey(ctx, key, nowhere)
		require.NoError(t, err)
		require.Equal(t, appio.ServiceID("tari"), s.ID())

		requireField(t, w.PutKey(ctx, mensa, appio.Primary, strings.Repeat("s", 15)), "Key", "sss")
		requireField(t, w.PutKey(ctx, mensa, appio.Primary, strings.Repeat("s", 201)), "Key", "sss")
	})

	t.Run("is not in the store", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, func(o *appio.Options) { o.Plain = true }), t.Context()
		w.put()
		key := "a-key-that-can-be-found"
		require.NoError(t, w.PutKey(ctx, mensa, appio.Primary, key))
		for _, r := range recordsOf(t, w.store, "") {
			require.NotContains(t, string(r.Owner)+string(r.Key)+string(r.Value), key)
		}
	})

	t.Run("works from the service's prefixes only", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.enrol(giuseppe, appio.Auto)
		w.put(func(s *appio.Service) {
			s.Prefixes = []netip.Prefix{
				netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.7/32"), netip.MustParsePrefix("2001:db8::/32"),
				netip.MustParsePrefix("::ffff:203.0.113.0/120"), // 203.0.113.0/24
			}
		})
		key, err := w.NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		for addr, allowed := range map[string]bool{
			"192.0.2.1": true, "192.0.2.255": true, "192.0.3.1": false, "::ffff:192.0.2.1": true, "::ffff:192.0.3.1": false,
			"198.51.100.7": true, "198.51.100.8": false, "2001:db8::1": true, "2001:db8::1%eth0": true, "2001:db9::1": false,
			"127.0.0.1": false, "::1": false, "203.0.113.9": true, "::ffff:203.0.113.9": true, "203.0.114.9": false,
		} {
			s, err := w.SenderByKey(ctx, key, netip.MustParseAddr(addr))
			if !allowed {
				require.ErrorIs(t, err, appio.ErrForbidden, addr)
				continue
			}
			require.NoError(t, err, addr)
			w.send(s, messageTo(giuseppe))
		}
		inside, err := w.SenderByKey(ctx, key, netip.MustParseAddr("192.0.2.1"))
		require.NoError(t, err)
		_, err = w.SenderByKey(ctx, key, nowhere)
		require.NoError(t, err, "an address that is not given is not checked")

		w.put(func(s *appio.Service) { s.Prefixes = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
		_, err = inside.Send(ctx, messageTo(giuseppe))
		require.ErrorIs(t, err, appio.ErrForbidden, "the prefixes are read again")
		w.send(w.Sender(mensa), messageTo(giuseppe))

		w.put(func(s *appio.Service) { s.Prefixes = nil })
		w.send(inside, messageTo(giuseppe))
	})

	t.Run("only one of many set at once is left in the slot", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		keys := make([]string, 8)
		errs := make([]error, len(keys))
		var wg sync.WaitGroup
		for i := range keys {
			wg.Go(func() { keys[i], errs[i] = w.NewKey(ctx, mensa, appio.Primary) })
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
		valid := 0
		for _, key := range keys {
			if _, err := w.SenderByKey(ctx, key, nowhere); err == nil {
				valid++
			} else {
				require.ErrorIs(t, err, appio.ErrUnauthorized)
			}
		}
		require.Equal(t, 1, valid)
	})
}

// enrolled enrols a person in AUTO.
func (w *town) enrolled(code fiscalcode.Person) fiscalcode.Person {
	w.t.Helper()
	w.enrol(code, appio.Auto)
	return code
}

package appio_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
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

// hang has both channels hold what they are given until they are told to give up; begun tells of each, and underWay how many do.
func (w *town) hang() (begun chan struct{}, underWay *atomic.Int64) {
	begun, underWay = make(chan struct{}, 10), &atomic.Int64{}
	w.push.answer = func(ctx context.Context, _ appio.Delivery) error {
		underWay.Add(1)
		defer underWay.Add(-1)
		begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	w.email.answer = w.push.answer
	return begun, underWay
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

// enrolled enrols a person in AUTO.
func (w *town) enrolled(code fiscalcode.Person) fiscalcode.Person {
	w.t.Helper()
	w.enrol(code, appio.Auto)
	return code
}

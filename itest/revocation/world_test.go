package revocation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// A plan is how large a test is and what its engines are set to.
type plan struct {
	citizens, senders, batch, revokers int
	operations                         int // after which it ends
	time                               time.Duration

	engines                                    int
	lease, timeout, margin, skew, ahead, await time.Duration // ahead: each engine's clock, of the one before
	deaf                                       time.Duration // the longest that the deaf channel sleeps
	pause                                      time.Duration // of an engine that stands still; 0: none does
	stopEvery                                  time.Duration // at most, between two stops
	inspect                                    time.Duration // on average, between two stops of a service
}

// A world is engines on one store, citizens who change their minds, services that write to them, and a history of it all.
type world struct {
	plan
	t    *testing.T
	seed uint64
	ctx  context.Context // ends when the test is to end

	began    time.Time
	stamps   atomic.Int64
	calls    atomic.Uint64
	messages atomic.Int64
	ops      atomic.Int64
	busy     atomic.Int64
	inFlight atomic.Int64
	backlog  atomic.Int64
	under    atomic.Int64 // attempts under way
	finish   context.CancelFunc

	watcher *appio.Engine // sets things up and looks at the queues
	nodes   []*node
	people  []*person
	offices []*office
	regrant chan *person // who refused from inside a channel

	mu     sync.Mutex
	failed []string
}

// A node is one engine and the process that it believes to be in.
type node struct {
	w      *world
	index  int
	engine *appio.Engine
	process
}

// A person is a citizen and how this one changes their mind.
type person struct {
	index   int
	code    fiscalcode.Person
	service appio.ServiceID
	mind    *mind
	history
}

// An office is a service that is stopped at times, and what happened to it: a stop is a revocation by all its citizens at once.
type office struct {
	id appio.ServiceID
	history
}

// A mind is one way of allowing and of refusing. Attempts that concern it are held against it; so are acceptances, if it is
// about the inbox.
type mind struct {
	name     string
	inbox    bool
	concerns func(p *person, d *appio.Delivery) bool // nil: every attempt
	set      func(ctx context.Context, c *appio.Citizen, p *person, allow bool, r *rand.Rand) error
}

const (
	fast   = "fast"   // at times it fails
	inside = "inside" // at times it refuses for the citizen, with the context that it was given
	deaf   = "deaf"   // at times it sleeps, whatever its context says; it has addresses
	batch  = "batch"  // a BatchChannel
)

var channels = []string{fast, inside, deaf, batch}

func (p *person) address() string { return fmt.Sprintf("%d@posta.example", p.index) }

func update(f func(p *appio.Profile)) func(*appio.Profile) error {
	return func(p *appio.Profile) error {
		f(p)
		return nil
	}
}

var minds = []*mind{
	{name: "preference", inbox: true, set: func(ctx context.Context, c *appio.Citizen, p *person, allow bool, _ *rand.Rand) error {
		return c.SetPreference(ctx, p.service, appio.Preference{Inbox: allow, Channels: appio.On(channels...)})
	}},
	{name: "channels of a preference", set: func(ctx context.Context, c *appio.Citizen, p *person, allow bool, _ *rand.Rand) error {
		pref := appio.Preference{Inbox: true}
		if allow {
			pref.Channels = appio.On(channels...)
		}
		return c.SetPreference(ctx, p.service, pref)
	}},
	{name: "inbox", inbox: true, set: func(ctx context.Context, c *appio.Citizen, p *person, allow bool, _ *rand.Rand) error {
		return c.UpdateProfile(ctx, update(func(p *appio.Profile) { p.Inbox = allow }))
	}},
	{name: "mode", inbox: true, set: func(ctx context.Context, c *appio.Citizen, p *person, allow bool, _ *rand.Rand) error {
		if allow {
			return c.SetMode(ctx, appio.Auto)
		}
		return c.SetMode(ctx, appio.Manual)
	}},
	{name: "master switches", set: func(ctx context.Context, c *appio.Citizen, p *person, allow bool, _ *rand.Rand) error {
		return c.UpdateProfile(ctx, update(func(p *appio.Profile) {
			p.Channels = appio.Channels{}
			if allow {
				p.Channels = appio.On(channels...)
			}
		}))
	}},
	{name: "the whole message", concerns: func(_ *person, d *appio.Delivery) bool { return d.Content == appio.Full },
		set: func(ctx context.Context, c *appio.Citizen, p *person, allow bool, _ *rand.Rand) error {
			content := appio.Generic
			if allow {
				content = appio.Full
			}
			return c.UpdateProfile(ctx, update(func(p *appio.Profile) {
				for _, name := range channels {
					p.Channels[name] = content
				}
			}))
		}},
	{name: "address", concerns: func(p *person, d *appio.Delivery) bool { return d.Address.Value == p.address() },
		set: func(ctx context.Context, c *appio.Citizen, p *person, allow bool, r *rand.Rand) error {
			other := r.IntN(2) == 0
			return c.UpdateProfile(ctx, update(func(profile *appio.Profile) {
				a := appio.Address{ID: "home", Channel: deaf, Value: p.address()}
				switch {
				case allow:
					profile.Addresses = []appio.Address{a}
				case other:
					a.Value = fmt.Sprintf("%d@altrove.example", p.index)
					profile.Addresses = []appio.Address{a}
				default:
					profile.Addresses = nil
				}
			}))
		}},
}

func newWorld(t *testing.T, p plan, seed uint64) *world {
	w := &world{plan: p, t: t, seed: seed, began: time.Now(), regrant: make(chan *person, p.citizens)}
	w.ctx, w.finish = context.WithTimeout(t.Context(), p.time)
	s, keys := memstore.New(), appio.RandomKeys()
	var err error
	w.watcher, err = appio.New(s, w.options(nil, keys))
	require.NoError(t, err)
	for i := range p.engines {
		n := &node{w: w, index: i}
		st := s
		if p.pause > 0 {
			st = &stoppable{s, &n.process}
		}
		n.engine, err = appio.New(st, w.options(n, keys))
		require.NoError(t, err)
		w.nodes = append(w.nodes, n)
	}
	t.Cleanup(func() {
		w.finish()
		for _, n := range w.nodes {
			require.NoError(t, n.engine.Close())
		}
		require.NoError(t, w.watcher.Close())
		require.NoError(t, s.Close())
	})
	for i := range p.senders {
		o := &office{id: service(i)}
		require.NoError(t, o.put(t.Context(), w.watcher, true))
		w.offices = append(w.offices, o)
	}
	for i := range p.citizens {
		c := &person{index: i, code: fiscalcode.Person(fmt.Sprintf("RSSMRA85M10H%03dS", i)), service: service(i % p.senders), mind: minds[i%len(minds)]}
		w.people = append(w.people, c)
		citizen := w.watcher.Citizen(appio.Identity{Code: c.code})
		require.NoError(t, citizen.SetMode(t.Context(), appio.Auto))
		require.NoError(t, citizen.UpdateProfile(t.Context(), update(func(p *appio.Profile) {
			p.Addresses = []appio.Address{{ID: "home", Channel: deaf, Value: c.address()}}
		})))
	}
	return w
}

// put opens or stops the service.
func (o *office) put(ctx context.Context, e *appio.Engine, live bool) error {
	s := appio.Service{ID: o.id, Name: "Avvisi", Organization: "01199250158", State: appio.Stopped}
	if live {
		s.State = appio.Live
	}
	return e.PutService(ctx, s)
}

func service(i int) appio.ServiceID { return appio.ServiceID(fmt.Sprintf("service-%d", i)) }

// options are those of one node; nil: of the watcher, which delivers nothing.
func (w *world) options(n *node, keys appio.Keyring) *appio.Options {
	o := &appio.Options{
		Keys: keys, Lease: w.lease, DeliverTimeout: w.timeout, Margin: w.margin, MaxSkew: w.skew, RevokeWait: w.await,
		MaxAttempts: 1000,
		Backoff:     func(int) time.Duration { return rand.N(5 * time.Millisecond) },
	}
	if n != nil {
		o.Now = n.clock(time.Duration(n.index) * w.ahead)
	}
	for _, name := range channels {
		o.Channels = append(o.Channels, appio.Route{
			Name: name, Default: appio.Full, Secure: appio.Full, ByCode: name != deaf, Unvalidated: name == deaf, Channel: n.channel(name),
		})
	}
	return o
}

func (n *node) channel(name string) appio.Channel {
	one := appio.ChannelFunc(func(ctx context.Context, d appio.Delivery) error {
		r := n.w.random()
		a := n.begin(&d)
		n.pass(inDeliver)
		defer n.end(a)
		switch name {
		case inside:
			if r.IntN(40) == 0 && a.concerned {
				_ = n.w.choose(ctx, n, a.person, false, a.attempt, r)
				select {
				case n.w.regrant <- a.person:
				default:
				}
			}
		case deaf:
			if r.IntN(30) == 0 {
				time.Sleep(n.w.deaf/2 + time.Duration(r.Int64N(int64(n.w.deaf/2))))
			}
		}
		if r.IntN(20) == 0 {
			return errors.New("try again")
		}
		return n.w.linger(ctx, r)
	})
	if name == batch {
		return &batchChannel{one, n}
	}
	return one
}

// A batchChannel takes many at once; their attempts begin and end together.
type batchChannel struct {
	appio.ChannelFunc
	n *node
}

func (b *batchChannel) DeliverBatch(ctx context.Context, ds []appio.Delivery) []error {
	as := make([]running, len(ds))
	for i := range ds {
		as[i] = b.n.begin(&ds[i])
		defer b.n.end(as[i])
	}
	b.n.pass(inDeliver)
	err := b.n.w.linger(ctx, b.n.w.random())
	if err == nil {
		return nil
	}
	return slices.Repeat([]error{err}, len(ds))
}

// linger is how long a provider takes.
func (w *world) linger(ctx context.Context, r *rand.Rand) error {
	t := time.NewTimer(time.Duration(r.IntN(500)) * time.Microsecond)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A running attempt.
type running struct {
	*attempt
	person    *person
	concerned bool // the attempt concerns the person's mind
}

func (n *node) begin(d *appio.Delivery) running {
	w := n.w
	text := strings.TrimPrefix(string(d.To), "RSSMRA85M10H")
	if d.Channel == deaf {
		text = d.Address.Value
	}
	var index int
	if _, err := fmt.Sscanf(text, "%d", &index); err != nil || index >= len(w.people) {
		w.fail("a delivery to nobody")
		index = 0
	}
	p, o := w.people[index], w.offices[index%w.senders]
	a := &attempt{id: d.ID, channel: d.Channel, engine: n.index, number: d.Attempt, limit: w.timeout, end: never}
	concerned := p.mind.concerns == nil || p.mind.concerns(p, d)
	w.ops.Add(1)
	w.under.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	a.begin, a.started = w.stamp(), time.Since(w.began)
	o.attempts = append(o.attempts, a)
	if concerned {
		p.attempts = append(p.attempts, a)
	}
	return running{a, p, concerned}
}

func (n *node) end(a running) {
	n.pass(inDeliver)
	defer n.w.under.Add(-1)
	a.person.mu.Lock()
	defer a.person.mu.Unlock()
	a.attempt.end, a.ended = n.w.stamp(), time.Since(n.w.began)
}

func (w *world) stamp() stamp { return stamp(w.stamps.Add(1)) }

// random is the seed's, for one caller.
func (w *world) random() *rand.Rand { return rand.New(rand.NewPCG(w.seed, w.calls.Add(1))) }

func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = append(w.failed, fmt.Sprintf(format, args...))
}

// choose changes a person's mind and keeps what came of it.
func (w *world) choose(ctx context.Context, n *node, p *person, allow bool, from *attempt, r *rand.Rand) error {
	return w.keep(ctx, n, &p.history, &choice{allow: allow, inside: from}, p.mind.name, func() error {
		return p.mind.set(ctx, n.engine.Citizen(appio.Identity{Code: p.code}), p, allow, r)
	})
}

// keep makes a choice and keeps it.
func (w *world) keep(ctx context.Context, n *node, h *history, c *choice, what string, set func() error) error {
	c.engine, c.begin = n.index, w.stamp()
	err := set()
	c.end, c.returned = w.stamp(), time.Since(w.began)
	var left *appio.InFlightError
	switch {
	case err == nil:
	case errors.As(err, &left):
		w.inFlight.Add(1)
		c.named = map[appio.DeliveryID]bool{}
		for _, id := range left.Deliveries {
			c.named[id] = true
		}
		c.unsure = len(left.Deliveries) == 0
		err = nil
	case errors.Is(err, appio.ErrUnknown):
		c.end = never
	case errors.Is(err, appio.ErrBusy) || errors.Is(err, store.ErrAborted) || ctx.Err() != nil:
		w.busy.Add(1)
		return err // nothing was changed
	default:
		w.fail("a choice (%s): %v", what, err)
		c.end = never
	}
	w.ops.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.choices = append(h.choices, c)
	return err
}

// inspector stops services for a moment until the end.
func (w *world) inspector() {
	r := w.random()
	ctx := context.WithoutCancel(w.ctx)
	for sleep(w.ctx, w.inspect); w.going(); sleep(w.ctx, time.Duration(r.Int64N(int64(2*w.inspect)))) {
		o := w.offices[r.IntN(len(w.offices))]
		put := func(n *node, live bool) error {
			return w.keep(ctx, n, &o.history, &choice{allow: live}, "service", func() error { return o.put(ctx, n.engine, live) })
		}
		n, still := w.running(r)
		_ = put(n, false)
		if still != nil {
			select {
			case <-still:
			case <-w.ctx.Done():
			}
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(time.Duration(r.IntN(2000)) * time.Microsecond)
		for range 20 {
			if n, _ := w.running(r); put(n, true) == nil {
				break
			}
		}
	}
}

// mostOwed is how many citizens one revoker refuses for while an engine stands still.
const mostOwed = 12

// revoker changes people's minds until the end. While an engine stands still it only refuses, on another one, and allows a
// moment after the first goes on: what that one then sends is too late.
func (w *world) revoker() {
	r := w.random()
	// Not the test's context: what is under way at the end is ended properly.
	ctx := context.WithoutCancel(w.ctx)
	var owed []*person
	for w.going() {
		n, still := w.running(r)
		if still == nil && len(owed) > 0 {
			time.Sleep(20 * time.Millisecond)
			for _, p := range owed {
				w.allow(ctx, p, r)
			}
			owed = nil
			continue
		}
		select {
		case p := <-w.regrant:
			w.allow(ctx, p, r)
			continue
		default:
		}
		p := w.people[r.IntN(len(w.people))]
		if still != nil && len(owed) == mostOwed {
			<-still
			continue
		}
		_ = w.choose(ctx, n, p, false, nil, r)
		if still != nil {
			owed = append(owed, p)
			continue
		}
		time.Sleep(time.Duration(r.IntN(4000)) * time.Microsecond)
		w.allow(ctx, p, r)
		time.Sleep(time.Duration(r.IntN(4000)) * time.Microsecond)
	}
}

// running is an engine that does not stand still, and until when another one does; nil: none does.
func (w *world) running(r *rand.Rand) (n *node, still <-chan struct{}) {
	n = w.nodes[r.IntN(len(w.nodes))]
	for _, other := range w.nodes {
		if at := other.standing(); at != nil {
			still = at
		} else if n.standing() != nil {
			n = other
		}
	}
	return n, still
}

// allow is tried until it is done: a citizen who stays refusing tells little.
func (w *world) allow(ctx context.Context, p *person, r *rand.Rand) {
	for range 20 {
		n, _ := w.running(r)
		if w.choose(ctx, n, p, true, nil, r) == nil {
			return
		}
	}
}

const rate = 2500

// sender writes to the citizens of its service until the end.
func (w *world) sender(i int) {
	r := w.random()
	ctx := context.WithoutCancel(w.ctx)
	var mine []*person
	for _, p := range w.people {
		if p.service == service(i) {
			mine = append(mine, p)
		}
	}
	// All senders together write so many messages a second that most are delivered at once, where there is a core or two.
	every := time.Duration(w.senders*w.batch) * time.Second / rate
	for sleep(w.ctx, time.Duration(r.Int64N(int64(every)))); w.going(); sleep(w.ctx, time.Duration(r.Int64N(int64(2*every)))) {
		if w.backlog.Load() > 300 {
			continue
		}
		ms := make([]appio.Message, w.batch)
		to := make([]*person, w.batch)
		for j := range ms {
			to[j] = mine[r.IntN(len(mine))]
			ms[j] = appio.Message{
				To: to[j].code, Subject: "Avviso del Comune", Markdown: "La informiamo che il servizio di raccolta cambia orario dal prossimo mese, come da calendario.",
			}
		}
		n := w.nodes[r.IntN(len(w.nodes))]
		begin := w.stamp()
		results, _ := n.engine.Sender(service(i)).SendBatch(ctx, ms)
		end := w.stamp()
		for j, res := range results {
			if res.Err != nil {
				if !errors.Is(res.Err, appio.ErrBusy) && !errors.Is(res.Err, appio.ErrUnknown) && !errors.Is(res.Err, appio.ErrForbidden) {
					w.fail("a message: %v", res.Err)
				}
				if !errors.Is(res.Err, appio.ErrForbidden) {
					w.busy.Add(1)
				}
				continue
			}
			w.messages.Add(1)
			if p := to[j]; p.mind.inbox {
				p.mu.Lock()
				p.acceptances = append(p.acceptances, &acceptance{res.Status == appio.Processed, begin, end})
				p.mu.Unlock()
			}
		}
	}
}

func (w *world) going() bool {
	if w.ctx.Err() != nil {
		return false
	}
	if w.ops.Load() >= int64(w.operations) {
		w.finish()
		return false
	}
	return true
}

// stopper lets engines stand still, one at a time, at random places.
func (w *world) stopper() {
	r := w.random()
	wait := w.stopEvery / 8
	at := afterLook // the most telling one
	for w.ctx.Err() == nil {
		sleep(w.ctx, wait)
		wait = w.stopEvery/4 + time.Duration(r.Int64N(int64(w.stopEvery)*3/4))
		after := r.IntN(20)
		if at == beforeDue || at == afterDue {
			after %= 2 // there are few
		}
		w.nodes[r.IntN(len(w.nodes))].stop(w.ctx, at, after, w.pause)
		at = places[r.IntN(len(places))]
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// run lets it all happen and returns when nothing does any more.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.ctx))
	defer cancel()
	var engines, workers sync.WaitGroup
	for _, n := range w.nodes {
		engines.Go(func() {
			if err := n.engine.Run(ctx); err != nil {
				w.fail("Run: %v", err)
			}
		})
	}
	for i := range w.senders {
		workers.Go(func() { w.sender(i) })
	}
	for range w.revokers {
		workers.Go(w.revoker)
	}
	workers.Go(w.inspector)
	if w.pause > 0 {
		workers.Go(w.stopper)
	}
	workers.Go(func() {
		for w.ctx.Err() == nil {
			if h, err := w.watcher.Health(ctx); err == nil {
				w.backlog.Store(int64(h.Waiting))
			}
			sleep(w.ctx, 20*time.Millisecond)
		}
	})
	workers.Wait()
	cancel()
	engines.Wait()
	require.Eventually(w.t, w.quiet, 10*time.Second, 10*time.Millisecond, "calls of channels that never end")
}

// quiet reports whether no call of a channel is under way.
func (w *world) quiet() bool {
	return w.under.Load() == 0
}

// judge holds what happened against the model, and demands that enough did.
func (w *world) judge() {
	var hs []*history
	attempts, choices, refused, overlapping := 0, 0, 0, 0
	for _, p := range w.people {
		hs = append(hs, &p.history)
	}
	for _, o := range w.offices {
		hs = append(hs, &o.history)
		attempts += len(o.attempts)
	}
	for _, h := range hs {
		choices += len(h.choices)
		for _, c := range h.choices {
			if !c.allow {
				refused++
				if slices.ContainsFunc(h.attempts, func(a *attempt) bool { return a.begin < c.end && a.end > c.begin }) {
					overlapping++
				}
			}
		}
	}
	stops := int64(0)
	for _, n := range w.nodes {
		stops += n.stops.Load()
	}
	began := time.Now()
	v := judge(hs)
	w.t.Logf("%d operations in %v: %d messages, %d attempts, %d choices, %d of them refusals, %d of those with an attempt under way; "+
		"%d named deliveries in flight, %d were busy, %d stops; judged in %v: %d violations",
		w.ops.Load(), began.Sub(w.began).Round(time.Millisecond), w.messages.Load(), attempts, choices, refused, overlapping,
		w.inFlight.Load(), w.busy.Load(), stops, time.Since(began).Round(time.Millisecond), len(v.violations)+len(v.doubled))
	form.Figures(w.t, map[string]float64{
		"rounds": 1, "operations": float64(w.ops.Load()), "refusals": float64(refused), "attempts": float64(attempts), "stops": float64(stops),
		"violations": float64(len(v.violations) + len(v.doubled)),
	})
	if len(v.violations) > 0 {
		w.t.Errorf("violations in %d histories; one:\n%s", len(v.violations), v.violations[0])
	}
	if len(v.doubled) > 0 {
		w.t.Errorf("violations: %d deliveries were made twice at once; one:\n%s", len(v.doubled), v.doubled[0])
	}
	if len(w.failed) > 0 {
		w.t.Errorf("%d calls failed that should not; one:\n%s", len(w.failed), w.failed[0])
	}
	require.Zero(w.t, v.undecided, "histories that were too much for the model")
	require.Greater(w.t, attempts, 100)
	require.Positive(w.t, overlapping)
	if w.pause > 0 {
		require.Positive(w.t, stops)
	}
}

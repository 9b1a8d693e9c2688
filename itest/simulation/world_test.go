package simulation

import (
	"context"
	"fmt"
	"hash"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// A world is one run of a plan.
type world struct {
	plan   plan
	dice   *dice
	disk   store.Store   // what is durable
	oracle *appio.Engine // reads the disk as it is
	began  time.Time
	origin time.Time // the true time when the world began
	called map[store.Owner]string
	late   tasks          // what the world itself is still to do
	busy   sync.WaitGroup // steps under way
	calls  tasks          // of channels

	mu     sync.Mutex
	healed bool // nothing goes wrong any more
	open   map[*life]bool
	places []*process
	lives  []*life
	court
	counts   map[string]float64
	failures []string
	hash     hash.Hash64
	lines    []string // of the trace; nil: only its hash is wanted
	keep     bool
}

// keyring is one key for all of them.
type keyring struct{}

func (keyring) Current() (uint32, []byte, error) {
	return 1, []byte("0123456789abcdef0123456789abcdef"), nil
}

func (k keyring) Key(id uint32) ([]byte, error) {
	if id != 1 {
		return nil, store.ErrKey
	}
	_, key, err := k.Current()
	return key, err
}

// newWorld makes the world as it is before its first step: services are live, and nobody has come yet.
func newWorld(p plan, keep bool) *world {
	w := &world{
		plan: p, dice: &dice{seed: p.seed}, disk: memstore.New(), began: time.Now(),
		origin: time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC), called: map[store.Owner]string{}, open: map[*life]bool{},
		counts: map[string]float64{}, hash: fnv.New64a(), keep: keep,
	}
	w.court = newCourt(w)
	return w
}

// now is the true time.
func (w *world) now() time.Time { return w.origin.Add(time.Since(w.began)) }

func (w *world) weather() weather {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.healed {
		return weather{}
	}
	return w.plan.weather
}

// tell counts what happens.
func (w *world) tell(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

// count counts what goes wrong.
func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
	if !w.healed {
		w.counts["faults"]++
	}
}

// options are those of a life; nil: of the oracle.
func (w *world) options(l *life) *appio.Options {
	o := &appio.Options{
		Keys: keyring{}, Plain: w.plan.plain, MaxSkew: w.plan.skew, MaxAttempts: w.plan.attempts, ContactRate: 1e6, DigestHour: digestHour,
		Now: func() time.Time { return w.now() },
		Backoff: func(attempt int) time.Duration {
			return between(w.dice.about("backoff", fmt.Sprint(attempt, time.Now().UnixNano())), 100*time.Millisecond, mostBackoff)
		},
	}
	if l != nil {
		o.Now = l.p.now
	}
	o.Channels = []appio.Route{
		{Name: byCode, Default: appio.Generic, Secure: appio.Generic, ByCode: true, Channel: channel{l, byCode}, Workers: w.plan.workers},
		{Name: byAddress, Default: appio.Full, Secure: appio.None, Unvalidated: true, Channel: channel{l, byAddress}, Workers: w.plan.workers},
		{Name: batch, Default: appio.Full, Secure: appio.Full, ByCode: true, Channel: batchChannel{channel{l, batch}}, Workers: w.plan.workers, Rate: w.plan.rate},
	}
	o.Channels[0].Interrupts, o.Channels[2].Interrupts = w.plan.quiet, w.plan.quiet
	o.Channels[1].Fallback = w.plan.fallsBack(byAddress)
	return o
}

const mostBackoff = time.Minute

// fallsBack is what a route stands in for.
func (p *plan) fallsBack(channel string) appio.Fallback {
	if channel == byAddress && p.fallback > 0 {
		return appio.Fallback{Of: byCode, After: p.fallback}
	}
	return appio.Fallback{}
}

const digestHour = 10 // an hour after a world begins

const (
	byCode    = "push"
	byAddress = "email"
	batch     = "letter"
)

func serviceID(i int) appio.ServiceID { return appio.ServiceID(fmt.Sprintf("service-%d", i)) }

func citizenCode(i int) fiscalcode.Person {
	return fiscalcode.Person(fmt.Sprintf("RSSMRA85M10H%03dS", i))
}

// prepare lets everybody be there.
func (w *world) prepare(ctx context.Context) error {
	spy := &spy{Store: w.disk}
	oracle, err := appio.New(spy, w.options(nil))
	if err != nil {
		return err
	}
	w.oracle = oracle
	for i := range w.plan.services {
		s := w.service(i, appio.Live)
		if err := oracle.PutService(ctx, s); err != nil {
			return err
		}
		w.called["s/"+store.Owner(s.ID)] = fmt.Sprintf("s%d", i)
		w.serviceTruths[i] = []serviceTruth{{service: s}}
	}
	for i := range w.plan.citizens {
		if _, err := oracle.Citizen(appio.Identity{Code: citizenCode(i)}).Profile(ctx); err != nil {
			return err
		}
		w.called[spy.last] = fmt.Sprintf("c%d", i)
		w.owners[spy.last] = i
		w.citizenTruths[i] = []citizenTruth{{}}
		if i > 0 { // the first has not come yet
			if err := w.enrol(ctx, i); err != nil {
				return err
			}
		}
	}
	for i := range w.plan.processes {
		w.places = append(w.places, &process{w: w, index: i, ahead: w.plan.ahead[i]})
	}
	return nil
}

// enrol lets a citizen come who wants to be reached by whatever there is.
func (w *world) enrol(ctx context.Context, i int) error {
	c := w.oracle.Citizen(appio.Identity{Code: citizenCode(i)})
	err := c.SetMode(ctx, appio.Auto)
	if err == nil {
		w.sawConsent(ctx, i)
		err = c.UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Channels = appio.On(byCode, byAddress, batch)
			p.Addresses = []appio.Address{{ID: "home", Channel: byAddress, Value: fmt.Sprintf("%d@example.org", i)}}
			return nil
		})
	}
	if err == nil {
		w.sawConsent(ctx, i)
	}
	return err
}

// service is the i-th, in a state. The last one is Special.
func (w *world) service(i int, state appio.ServiceState) appio.Service {
	s := appio.Service{ID: serviceID(i), Name: "Servizio", Organization: "01199250158", State: state}
	if i == w.plan.services-1 && i > 1 {
		s.Category = appio.Special
	}
	if i == 1 {
		s.QuietBasis = "d.lgs. 1/2018"
	}
	return s
}

// A spy remembers whose records were read last.
type spy struct {
	store.Store
	last store.Owner
}

func (s *spy) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	s.last = reads[0].Owner
	return s.Store.View(ctx, reads)
}

// play lets all steps happen, each at its time.
func (w *world) play() {
	for _, p := range w.places {
		p.start()
	}
	for _, s := range w.plan.steps {
		time.Sleep(s.at - time.Since(w.began))
		w.busy.Go(func() { w.take(s) })
	}
	time.Sleep(w.plan.length - time.Since(w.began))
}

// fail keeps what is wrong.
func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failf(format, args...)
}

// failf is called with w.mu held.
func (w *world) failf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.tracef(nil, "WRONG: %s", text)
	if len(w.failures) < 20 {
		w.failures = append(w.failures, fmt.Sprintf("%v: %s", time.Since(w.began), text))
	}
}

// tracef is called with w.mu held.
func (w *world) tracef(l *life, format string, args ...any) {
	who := ""
	if l != nil {
		who = l.String() + ": "
	}
	line := fmt.Sprintf("%15v %s%s", time.Since(w.began), who, fmt.Sprintf(format, args...))
	w.hash.Write([]byte(line))
	if w.keep {
		w.lines = append(w.lines, line)
	}
}

// keysOf are the keys that a change puts, and, with a minus, those that it deletes, in order, as text.
func keysOf(c *store.Change) []string {
	var keys []string
	for i := range c.Put {
		keys = append(keys, fmt.Sprintf("%q", c.Put[i].Key))
	}
	for _, k := range c.Delete {
		keys = append(keys, fmt.Sprintf("-%q", k))
	}
	slices.SortFunc(keys, strings.Compare)
	return keys
}

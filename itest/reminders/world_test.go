package reminders

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/alone"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// A world is one store for eleven years, the engines that come and go on it, and what the oracle knows. What happens is up to a seed;
// while an engine works nothing else does.
type world struct {
	t testing.TB
	r *rand.Rand
	u rules

	keys      appio.Keyring
	disk      store.Store
	exclusive bool // each engine has the store to itself
	shaky     *shaky
	engine    *appio.Engine

	mu       sync.Mutex // of what engines reach
	clock    time.Time
	flushing bool
	away     bool                         // the channel's provider is
	heard    func(d appio.Delivery) error // in the judge's place

	high         time.Time // the furthest that the clock has been
	ahead        time.Duration
	faults       int // of the store
	faultAt      time.Time
	faultsBefore int

	people    []*person
	services  []*service
	notices   []*notice
	things    []*thing
	byMessage map[appio.MessageID]*thing
	billOf    map[appio.MessageID]*thing
	born      int // people
	messages  int
	events    int

	seen       map[string]float64
	violations []string
	story      []string // what happened last
}

type person struct {
	code    fiscalcode.Person
	wants   map[appio.ReminderKind]bool
	refuses map[appio.ServiceID]bool
	pushOff bool
	erased  bool
}

type service struct {
	id      appio.ServiceID
	stopped bool
}

type notice struct {
	id       pagopa.RPTID
	state    appio.PaymentState // as it was said to Settle last
	newsAt   time.Time
	unspread bool      // what was said may not have reached all yet
	desk     bool      // paid, and only the gateway knows
	stale    bool      // the gateway does not know
	away     bool      // the gateway does not answer
	due      time.Time // as the creditor says; zero: not said
	shared   bool      // several people have it
	bills    []*thing
}

const (
	comune     = fiscalcode.Organization("01199250158")
	lifeOfWork = 40 * time.Second // longer than a lease that a dead engine leaves behind
)

var (
	begin = time.Date(2026, 1, 1, 0, 0, 0, 0, rome).UTC()
	end   = time.Date(2037, 1, 1, 0, 0, 0, 0, rome).UTC()
)

// madeUp is a world whose rules are up to the seed, too.
func madeUp(t testing.TB, seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 7))
	u := io
	if r.IntN(3) == 0 {
		hours := [][2]int{{0, 24}, {0, 2}, {3, 5}, {22, 24}, {9, 13}}[r.IntN(5)]
		u.from, u.to = hours[0], hours[1]
	}
	return newWorld(t, seed, u, r.IntN(2) == 0)
}

func newWorld(t testing.TB, seed uint64, u rules, exclusive bool) *world {
	w := &world{
		t: t, r: rand.New(rand.NewPCG(seed, 5)), u: u, keys: appio.RandomKeys(), disk: memstore.New(), exclusive: exclusive, clock: begin, high: begin,
		byMessage: map[appio.MessageID]*thing{}, billOf: map[appio.MessageID]*thing{}, seen: map[string]float64{},
	}
	w.open()
	for _, id := range []appio.ServiceID{"tari", "mensa"} {
		s := &service{id: id}
		w.services = append(w.services, s)
		w.putService(s)
	}
	for range 4 {
		w.enrol()
	}
	return w
}

func (w *world) chance(of int) bool { return w.r.IntN(of) == 0 }

func one[T any](w *world, all []T) T { return all[w.r.IntN(len(all))] }

// open begins a life of an engine.
func (w *world) open() {
	w.shaky = &shaky{Store: w.disk, r: rand.New(rand.NewPCG(w.r.Uint64(), 6)), fault: w.fault}
	var s store.Store = w.shaky
	if w.exclusive {
		s = alone.Store{Store: s}
	}
	l := &life{w, w.shaky}
	e, err := appio.New(s, &appio.Options{
		Keys: w.keys, Now: w.now, Payments: l, Reminders: w.u.schedule(), MaxAttempts: 1e6,
		Backoff: func(int) time.Duration { return backoff },
		Channels: []appio.Route{
			{Name: appio.Email, Default: appio.Full, ByCode: true, Channel: l},
			{Name: appio.Push, Default: appio.Full, ByCode: true, Reminders: true, Channel: l},
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.engine = e
}

// reopen ends one life, and begins the next.
func (w *world) reopen() {
	w.seen["engines"]++
	if err := w.engine.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) set(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock, w.high = t, later(w.high, t)
}

// fault notes that the store has failed.
func (w *world) fault() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults++
	w.faultAt = w.high
	w.seen["faults"]++
	w.tell("fault of the store")
}

func (w *world) failed() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.faults
}

// A life is what one engine has of the world around it.
type life struct {
	w     *world
	shaky *shaky
}

func (l *life) Deliver(_ context.Context, d appio.Delivery) error {
	if l.shaky.isDead() {
		return errAway // the process is no more
	}
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case d.Reminder != "" && d.Channel != appio.Push:
		w.violate("a reminder by a route that takes none")
	case d.Reminder != "" && w.heard != nil:
		return w.heard(d)
	case d.Reminder != "":
		return w.judge(d)
	case w.away:
		return errAway
	}
	return nil
}

func (l *life) Verify(_ context.Context, id pagopa.RPTID) (appio.Debt, error) {
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.notice(id)
	switch {
	case n.away:
		for _, x := range n.bills {
			x.askAt = later(x.askAt, w.clock.Add(pause))
		}
		return appio.Debt{}, errAway
	case n.desk || n.state == appio.Paid && !n.stale:
		return appio.Debt{}, pagopa.NewFault("PAA_PAGAMENTO_DUPLICATO")
	case n.state == appio.Cancelled:
		return appio.Debt{}, pagopa.NewFault("PAA_PAGAMENTO_ANNULLATO")
	case n.state == appio.Paying: // the engine takes it as news, and asks again later
		n.newsAt = w.clock
		for _, x := range n.bills {
			x.askAt = later(x.askAt, w.clock.Add(pause))
		}
		return appio.Debt{}, pagopa.NewFault("PAA_PAGAMENTO_IN_CORSO")
	}
	if !n.due.IsZero() && w.flushing {
		x := n.bills[len(n.bills)-1]
		due := time.Date(n.due.Year(), n.due.Month(), n.due.Day(), 23, 59, 59, 0, rome)
		if x.said.In(rome).Format(time.DateOnly) == n.due.Format(time.DateOnly) {
			due = x.said // of a day only the message says the hour
		}
		if !due.Equal(x.due) {
			x.due, x.kept, x.owed = due.UTC(), nil, ""
			x.maybe = later(x.maybe, w.faultAt)
			w.seen["moved by the creditor"]++
		}
	}
	return appio.Debt{RPTID: id, Amount: 10_00, Due: n.due}, nil
}

func (l *life) Start(_ context.Context, d appio.Debt, key string) (appio.Checkout, error) {
	return appio.Checkout{URL: "https://paga.example.it/" + key, ExpiresAt: l.w.now().Add(30 * time.Minute)}, nil
}

func (w *world) notice(id pagopa.RPTID) *notice {
	for _, n := range w.notices {
		if n.id == id {
			return n
		}
	}
	panic("the engine asks for a notice that nobody has")
}

// A shaky store fails one commit, if it is told to, or is no more from then on.
type shaky struct {
	store.Store
	fault func()

	mu   sync.Mutex
	r    *rand.Rand
	dead bool
	left int // commits until it fails; 0: it does not
	how  failure
	last func(changes []store.Change) bool // of this one nothing comes any more, after it is made
}

type failure int

const (
	deadBefore failure = iota // the commit is not made, and the process dies
	deadAfter
	lost       // the commit is not made, nor known
	lostAnswer // it is made, and not known
	aborted
	failures
)

var errLost = errors.New("connection lost")

func (s *shaky) isDead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead
}

func (s *shaky) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
}

// fail has one of the next commits fail.
func (s *shaky) fail(after int, how failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.how = after, how
}

// travel takes some time, in which other goroutines go on.
func (s *shaky) travel() error {
	s.mu.Lock()
	dead, takes := s.dead, time.Duration(s.r.IntN(1000))*time.Microsecond
	s.mu.Unlock()
	time.Sleep(takes)
	if dead {
		return store.ErrClosed
	}
	return nil
}

func (s *shaky) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	if err := s.travel(); err != nil {
		return nil, err
	}
	return s.Store.View(ctx, reads)
}

func (s *shaky) Due(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
	if err := s.travel(); err != nil {
		return nil, err
	}
	return s.Store.Due(ctx, q)
}

func (s *shaky) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	if err := s.travel(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	fails := s.left == 1
	s.left = max(s.left-1, 0)
	how, last := s.how, s.last
	s.mu.Unlock()
	if last != nil && last(changes) {
		_, _ = s.Store.Commit(ctx, changes)
		s.kill()
		return nil, store.ErrClosed
	}
	if !fails {
		return s.Store.Commit(ctx, changes)
	}
	if how == deadAfter || how == lostAnswer {
		_, _ = s.Store.Commit(ctx, changes)
	}
	s.fault()
	switch how {
	case deadBefore, deadAfter:
		s.kill()
		return nil, store.ErrClosed
	case aborted:
		return nil, fmt.Errorf("%w: deadlock", store.ErrAborted)
	}
	return nil, errLost
}

// do is something that somebody asks of the engine, now and then while the store fails: then it is asked again.
func (w *world) do(what func(e *appio.Engine) error) error {
	if w.chance(40) {
		w.shaky.fail(1+w.r.IntN(2), failure(w.r.IntN(int(failures))))
	}
	for try := 0; ; try++ {
		faults := w.failed()
		err := what(w.engine)
		w.shaky.fail(0, 0)
		var under *appio.InFlightError
		if errors.As(err, &under) {
			w.violate("a change that is not in force: %v", err)
		}
		if w.shaky.isDead() {
			w.reopen()
		}
		if err == nil || faults == w.failed() || try == 3 {
			return err
		}
	}
}

// flush lets the engine do what is due, by Flush or by Run, which may be cut short by a fault. Then a new engine, or the same, goes on.
func (w *world) flush() {
	faulty := w.chance(25)
	for {
		w.before()
		faults := w.failed()
		if faulty {
			w.shaky.fail(1+w.r.IntN(4), failure(w.r.IntN(int(failures))))
		}
		w.seen["flushes"]++
		w.tell("flush")
		err := w.work()
		w.shaky.fail(0, 0)
		if w.failed() == faults {
			w.tell("flushed")
			if err != nil {
				w.violate("an engine that does not work: %v", err)
			}
			w.after()
			return
		}
		if w.shaky.isDead() || w.chance(2) {
			w.seen["crashes"]++
			w.reopen()
		}
		faulty = false
		w.set(w.clock.Add(lifeOfWork))
	}
}

func (w *world) work() error {
	w.mu.Lock()
	w.flushing = true
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.flushing = false
	}()
	if !w.chance(20) {
		_, err := w.engine.Flush(context.Background())
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return w.engine.Run(ctx)
}

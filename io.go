// Package appio is an embeddable, consent-aware messaging engine for public services: services send messages, citizens
// choose which services may reach them and how, and the engine decides, stores, delivers and proves it.
//
// Authority lies in the handle one holds:
//
//	[Engine]    the platform's operator: organizations, services, keys, health
//	[Authority] one organization: prepare, publish and stop its services
//	[Sender]    one service: send, status, may-I-contact
//	[Citizen]   one person: profile, preferences, inbox, erasure
//
// Handles are cheap, hold no state, never fail to be made in-process, and are safe for concurrent use. Who may get one is the
// host's affair, except where a key is given: [Engine.SenderByKey], [Engine.AuthorityByKey].
//
// # Sending
//
// [Sender.Send] reads the service and the citizen's consent, decides by [Decide], and stores the message, the decision and the
// work that follows from it in one change; it is on disk when Send returns. A citizen who does not agree, or is not known, is
// [Rejected]: the sender is not told which. [Engine.Run] takes the work to the channels, looking at consent again before each
// attempt, at the citizen's gate, so that a revocation that has returned is final.
//
// # Storage
//
// Records are sealed (AES-256-GCM), each person's with a key of their own, which an erasure destroys. [Open] keeps them in one
// bbolt file; [New] takes any [store.Store].
package appio

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/appio-go/appio/blob"
	"github.com/appio-go/appio/blob/fileblob"
	"github.com/appio-go/appio/internal/alone"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
)

// An Engine decides, stores and delivers. Make one with [Open] or [New]; it delivers in [Engine.Run] and [Engine.Flush] only.
type Engine struct {
	opts      Options
	store     store.Store
	owned     bool // Open made the store
	exclusive bool // no other engine can be on the store
	fallbacks bool // some route has one
	codec     *codec
	writer    *writer
	gates     gates
	services  openServices
	flows     flows
	pauses    pauses
	lines     []line // by Options.Channels
	contacts  buckets[ServiceID]
	sends     buckets[ServiceID]
	asks      buckets[store.Owner] // of citizens, for validations
	fronts    buckets[ServiceID]   // of what stands in front of other work
	pacing    pacing
	counts    counts
	ulids     ulids
	keyHints  keyHints
	decoys    decoys
	uses      keyUses
	asking    chan struct{} // a place for each call of the gateway
	now       func() time.Time

	countedDays  atomic.Int64 // up to when statistics are counted for good, as far as this engine knows
	countingDays sync.Mutex

	process string
	boot    string // random, of this engine's life
	leases  atomic.Uint64
	held    heldLeases
	started time.Time // origin of the monotonic clock
	running atomic.Pointer[dispatcher]
	failure atomic.Pointer[error] // of the last Commit

	life context.Context // ends when the engine is closed and everything is done
	end  context.CancelFunc

	state    atomic.Int32 // an engineState
	mu       sync.Mutex
	closing  bool
	closed   bool
	stopRun  context.CancelFunc // of the Run under way
	flushes  int
	runsDone *sync.Cond
}

// Options configures an [Engine]. A nil *Options is a zero one: messages reach the inbox and nothing else.
type Options struct {
	// Channels lists how citizens can be reached beside the inbox. Names must be unique.
	Channels []Route

	// Payments follows payment notices: what is sent, scanned and paid from then on. Nil: messages may have notices, and
	// [Engine.Settle], [Citizen.Pay] and [Citizen.ScanNotice] are ErrUnsupported.
	Payments PaymentGateway

	// Reminders reminds citizens who want it of what they have not read or paid, and of deadlines. Nil: nobody is reminded.
	Reminders *ReminderSchedule

	// DigestHour is the hour at which digests go out, in Italian time: see Preference.Digest. From 1 to 23; 0: 8.
	DigestHour int

	// PaymentTimeout bounds one call of Payments; 0: 10 s. There are 256 calls at a time; more wait within their own time.
	PaymentTimeout time.Duration

	// Observer is told of each operation, for traces and metrics. Nil: nobody is.
	Observer Observer

	// Logger gets what no caller can be told. Nil: slog.DiscardHandler. Codes, addresses and texts are never logged.
	Logger *slog.Logger

	// Now is the clock. Nil: time.Now.
	Now func() time.Time

	// Keys gives the engine keys that seal records and make pseudonyms. Nil: Open makes one in the file's name + ".key",
	// with a new file only (an old file without its key is store.ErrKey); New answers ErrInvalid. See FileKeys, RandomKeys.
	Keys Keyring

	// Documents keeps what messages carry: see [Document]. Nil: Open makes a directory, the file's name + ".documents", when there is
	// something to keep; with New there are none.
	Documents blob.Store

	// MaxDocument is the most bytes of a document; 0: 10 MiB.
	MaxDocument int64

	// Plain leaves records unsealed, with checksums: for tests and comparisons. A store is plain or sealed for good.
	Plain bool

	// Backoff is the delay before the next attempt of a delivery, from 1. Nil: exponential to an hour, with full jitter.
	Backoff func(attempt int) time.Duration

	// DeletionGrace is how long a deletion that a citizen asks for can be taken back: see [Citizen.RequestData]. 0: 6 days; negative: it
	// begins at once.
	DeletionGrace time.Duration

	// FeedDays is for how many days after its end a day of the subscriptions feed is kept, at most 90: see [Sender.SubscriptionsFeed].
	// 0: there is no feed, and nothing is kept for it; days of an earlier engine that had one are deleted at their time.
	FeedDays int

	// Statistics counts what becomes of each service's messages: see [Engine.Statistics]. It takes a few percent of CPU time, and of the file,
	// for each message. What was sent without it is not counted.
	Statistics bool

	// MaxAttempts is how often a delivery is tried before it is parked. 0: 10.
	MaxAttempts int

	// Lease is how long work is claimed; 0: 30 s. DeliverTimeout bounds one Deliver; 0: 20 s. Margin is kept between them; 0: 2 s.
	// DeliverTimeout and Margin together are at most nine tenths of Lease: the rest is for waiting until a worker is free.
	// MaxSkew is how far clocks of processes on one store may differ; 0: 2 s.
	Lease, DeliverTimeout, Margin, MaxSkew time.Duration

	// RevokeWait bounds how long a revocation waits for deliveries under way. 0: five seconds.
	RevokeWait time.Duration

	// Drain bounds how long Run waits for deliveries under way after its context ended. 0: twenty seconds.
	Drain time.Duration

	// ContactRate is how often a second one service may ask CanContact; ten times as many at once. 0: 20.
	ContactRate float64

	// SendRate is how many messages a second a service may send that has no SendRate of its own, and DeliveryRate how many of its
	// deliveries a second go out, likewise; 0: no limit. As many as in a second at once. Each engine counts for itself. What is above
	// SendRate is refused with a [LimitedError]; what is above DeliveryRate waits.
	SendRate, DeliveryRate float64
}

func (o *Options) complete() error {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&o.Lease, 30*time.Second)
	set(&o.DeliverTimeout, 20*time.Second)
	set(&o.Margin, 2*time.Second)
	set(&o.MaxSkew, 2*time.Second)
	set(&o.RevokeWait, 5*time.Second)
	set(&o.Drain, 20*time.Second)
	set(&o.PaymentTimeout, 10*time.Second)
	set(&o.DeletionGrace, 6*24*time.Hour)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Backoff == nil {
		o.Backoff = defaultBackoff
	}
	if o.MaxAttempts == 0 {
		o.MaxAttempts = 10
	}
	if o.DigestHour == 0 {
		o.DigestHour = 8
	}
	if o.ContactRate == 0 {
		o.ContactRate = 20
	}
	if o.MaxDocument == 0 {
		o.MaxDocument = documentSize
	}
	o.Channels = slices.Clone(o.Channels)
	switch {
	case o.MaxDocument < 0 || o.MaxDocument > mostDocument:
		return invalid("Options.MaxDocument", "0 to 1 GiB")
	case min(o.Lease, o.DeliverTimeout, o.Margin, o.MaxSkew, o.RevokeWait, o.Drain, o.PaymentTimeout) < 0:
		return invalid("Options", "durations of 0 or more")
	case o.DeliverTimeout > o.longest():
		return invalid("Options.DeliverTimeout", "at most nine tenths of Lease, less Margin")
	case o.DigestHour < 0 || o.DigestHour > 23:
		return invalid("Options.DigestHour", "1 to 23")
	case o.FeedDays < 0 || o.FeedDays > maxFeedDays:
		return invalid("Options.FeedDays", "0 to 90")
	case o.MaxAttempts < 0:
		return invalid("Options.MaxAttempts", "0 or more")
	case !(o.ContactRate > 0 && o.ContactRate <= 1e9):
		return invalid("Options.ContactRate", "0 to 1e9")
	case !validRate(o.SendRate):
		return invalid("Options.SendRate", "0 to 1e9")
	case !validRate(o.DeliveryRate):
		return invalid("Options.DeliveryRate", "0 to 1e9")
	}
	var err error
	if o.Reminders, err = o.Reminders.complete(); err != nil {
		return err
	}
	return validRoutes(o.Channels, o)
}

// longest is how long a delivery may take: a lease holds it, with the margin, and some time to wait for a worker.
func (o *Options) longest() time.Duration { return o.Lease - o.Lease/10 - o.Margin }

// Open opens the bbolt file at path, made if missing, as an engine. Close the engine to close it. A file that another process
// has open is store.ErrLocked, one whose key is missing or another's store.ErrKey, and one of a later version store.ErrNewer.
func Open(path string, opts *Options) (*Engine, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Keys == nil {
		info, err := os.Stat(path)
		fresh := errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0
		o.Keys = &fileKeys{path: path + ".key", make: fresh}
	}
	if o.Documents == nil {
		o.Documents = fileblob.New(path + ".documents")
	}
	if err := o.complete(); err != nil { // before a file is made
		return nil, err
	}
	if o.Keys != nil && !o.Plain { // the key first: a file without it would be of no use
		if _, _, err := o.Keys.Current(); err != nil {
			return nil, fmt.Errorf("appio: open: %w", err)
		}
	}
	s, err := boltstore.Open(path, nil)
	if err != nil {
		return nil, fmt.Errorf("appio: open: %w", err)
	}
	e, err := New(alone.Store{Store: s}, &o)
	if err == nil {
		e.owned = true
		err = e.ready(context.Background())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("appio: open: %w", err), s.Close())
	}
	return e, nil
}

// New makes an engine on any store, which stays the caller's to close, after the engine. It does no I/O: a key that is not
// the store's shows at the first call, as store.ErrKey.
func New(s store.Store, opts *Options) (*Engine, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if err := o.complete(); err != nil {
		return nil, err
	}
	if s == nil {
		return nil, invalid("store", "not nil")
	}
	if o.Keys == nil && !o.Plain {
		return nil, invalid("Options.Keys", "needed to seal records: FileKeys, or RandomKeys in tests")
	}
	if o.Keys == nil {
		o.Keys = RandomKeys() // nothing is sealed with it
	}
	only, exclusive := s.(alone.Store)
	if exclusive {
		s = only.Store
	}
	e := &Engine{
		opts: o, store: s, exclusive: exclusive, fallbacks: slices.ContainsFunc(o.Channels, func(r Route) bool { return r.Fallback.Of != "" }), now: o.Now, started: time.Now(), process: strconv.Itoa(os.Getpid()), boot: randomHex(),
		codec:  &codec{ring: o.Keys, plain: o.Plain, maxSkew: o.MaxSkew, tallies: o.Statistics},
		asking: make(chan struct{}, gatewayCalls),
	}
	e.gates.pauses = &e.pauses
	e.lines = make([]line, len(o.Channels))
	for i := range e.lines {
		r := &e.opts.Channels[i]
		e.lines[i].e, e.lines[i].route, e.lines[i].bucket = e, r, newPace(r.Rate, time.Now())
	}
	e.life, e.end = context.WithCancel(context.Background())
	e.runsDone = sync.NewCond(&e.mu)
	e.writer = newWriter(e)
	return e, nil
}

func randomHex() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// mono is the monotonic clock. It is never Options.Now: leases must not depend on what that says.
func (e *Engine) mono() time.Duration { return time.Since(e.started) }

func (e *Engine) log() *slog.Logger { return e.opts.Logger }

// ready makes sure that the store has been made out: its format, its instance, and that the engine key is its own.
func (e *Engine) ready(ctx context.Context) error {
	switch engineState(e.state.Load()) {
	case engineReady:
		return nil
	case engineClosing:
		return store.ErrClosed
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return store.ErrClosed
	}
	if engineState(e.state.Load()) == engineNew {
		if err := e.makeOut(ctx); err != nil {
			return err
		}
		if err := e.readPauses(ctx); err != nil {
			return err
		}
		e.state.Store(int32(engineReady))
	}
	return nil
}

type engineState int32

const (
	engineNew engineState = iota
	engineReady
	engineClosing
)

// do runs one operation.
func (e *Engine) do(ctx context.Context, o *op) error {
	return e.writer.do(ctx, o)[0]
}

// view reads records of one owner, and the service record of another if also is set.
func (e *Engine) view(ctx context.Context, owner store.Owner, rng store.Range, also store.Owner, keys ...store.Key) (*draft, error) {
	d := &draft{ownerCodec: *e.codec.of(owner)}
	reads := make([]store.Read, 1, 2)
	reads[0] = store.Read{Owner: owner, Range: rng}
	for _, k := range keys {
		d.want(k, &reads[0])
	}
	if also != "" {
		reads = append(reads, store.Read{Owner: also, Keys: serviceKeys})
	}
	snaps, err := e.store.View(ctx, reads)
	if err != nil {
		return nil, err
	}
	d.load(&reads[0], &snaps[0])
	if also != "" {
		d.services = services{also: e.serviceOf(also, &snaps[1])}
	}
	return d, nil
}

// saw keeps what Commit last answered, for Health. A store that has failed stays so.
func (e *Engine) saw(err error) {
	switch p := e.failure.Load(); {
	case p != nil && errors.Is(*p, store.ErrFailed):
	case errors.Is(err, store.ErrFailed) || errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrCorrupt):
		e.failure.Store(&err)
	case p != nil:
		e.failure.Store(nil)
	}
}

func (e *Engine) storeError() error {
	if p := e.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// enterWait takes a pass of a service's gate for accepting messages. The gate is closed only while the service is written.
func (e *Engine) enterWait(ctx context.Context, p *pass) bool {
	for try := range 1000 {
		if e.gates.enter(p) {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		pause(ctx, jitter(try, 100*time.Microsecond, 10*time.Millisecond))
	}
	return false
}

// Run delivers until ctx ends, waits at most Options.Drain for what is under way, ends the contexts of the channels' calls, waits
// at most Options.Margin for them, and returns nil; an error is what stopped it earlier: a store that has failed, or a second Run
// of the same engine (ErrConflict). Sending works without Run: deliveries then wait in the store. Several processes may Run on
// one store. A channel that does not return keeps its goroutine; none else outlives Run.
func (e *Engine) Run(ctx context.Context) error {
	if err := e.ready(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		return store.ErrClosed
	}
	if e.stopRun != nil {
		e.mu.Unlock()
		return fmt.Errorf("%w: the engine runs already", ErrConflict)
	}
	e.stopRun = cancel
	e.mu.Unlock()
	d := newDispatcher(e)
	e.running.Store(d)
	defer func() {
		e.running.Store(nil)
		e.mu.Lock()
		e.stopRun = nil
		e.mu.Unlock()
		e.runsDone.Broadcast()
	}()
	var reminding sync.WaitGroup
	reminding.Go(func() { e.watchPauses(ctx) })
	if e.opts.Statistics {
		reminding.Go(func() { e.counting(ctx) })
	}
	if e.opts.Reminders != nil {
		reminding.Go(func() { d.reminding(ctx) })
	}
	if e.opts.Documents != nil {
		reminding.Go(func() { e.collecting(ctx) })
	}
	err := d.run(ctx)
	cancel()
	reminding.Wait()
	e.running.Store(nil)
	d.drain(e.opts.Drain)
	return err
}

// run looks for due work until ctx ends or the store fails.
func (d *dispatcher) run(ctx context.Context) error {
	e := d.e
	recovered := !e.exclusive
	failures := 0
	for ctx.Err() == nil {
		more, err := false, error(nil)
		if !recovered {
			if err = d.recover(ctx); err == nil {
				recovered = true
			}
		}
		begun := e.mono()
		d.sweep()
		now := e.now()
		var taken int
		var cleaned bool
		if err == nil {
			taken, cleaned, more, err = d.turn(ctx, now)
		}
		d.mu.Lock()
		if err == nil {
			err = d.failure
		}
		d.mu.Unlock()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if fatal(err) {
				return err
			}
			failures++
			e.log().Error("due work could not be read, and will be tried again", "err", err)
			pause(ctx, jitter(failures, 10*time.Millisecond, pollEvery))
			continue
		}
		failures = 0
		wait := pollEvery
		switch {
		case taken > 0 || cleaned:
			continue
		case more: // behind what cannot be taken now, for a tenth of the time
			wait = min(max(backAfter, 9*(e.mono()-begun)), pollEvery)
		default:
			d.again()
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-d.wake: // a moment more, so that what comes together is taken together
			pause(ctx, backAfter)
		}
		t.Stop()
	}
	return nil
}

// turn passes on news of payments, so that no reminder is sent of what is known to be paid, claims what is due, and cleans up. In a store without room a claim may fail where a clean-up, which deletes, does not, and
// makes the room: then there is more to do, and no error.
func (d *dispatcher) turn(ctx context.Context, until time.Time) (taken int, cleaned, more bool, err error) {
	told, moreToTell, refused := d.effects(ctx)
	taken, more, err = d.poll(ctx, until)
	if err != nil && !errors.Is(err, store.ErrFull) {
		return taken, false, more, err
	}
	err = cmp.Or(err, refused)
	cleaned, rest, refused := d.cleanUp(ctx, until)
	cleaned, rest = cleaned || told, rest || moreToTell
	if err = cmp.Or(err, refused); cleaned && errors.Is(err, store.ErrFull) {
		return taken, true, true, nil
	}
	return taken, cleaned || rest, more, err
}

// await waits until nothing is pending.
func (d *dispatcher) await(ctx context.Context) error {
	t := time.NewTicker(backAfter * 10)
	defer t.Stop()
	for {
		select {
		case <-d.whenIdle():
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.C:
			d.sweep()
		}
	}
}

// drain stops taking work and waits for what is under way, then ends the channels' contexts.
func (d *dispatcher) drain(most time.Duration) {
	d.stop()
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-d.whenIdle():
		if planted != "worker-left" {
			d.cancel()
		}
		return
	case <-t.C:
	}
	d.cancel()
	grace := time.NewTimer(d.e.opts.Margin)
	defer grace.Stop()
	if planted == "drain-endless" {
		grace.Stop()
	}
	select {
	case <-d.whenIdle():
	case <-grace.C:
	}
}

// Flush delivers what is due now, once, and returns how many deliveries it tried. For jobs that send and exit, and for tests.
// As ctx ends, so do the contexts of the channels' calls.
func (e *Engine) Flush(ctx context.Context) (tried int, err error) {
	if err := e.ready(ctx); err != nil {
		return 0, err
	}
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		return 0, store.ErrClosed
	}
	e.flushes++
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		e.flushes--
		e.mu.Unlock()
		e.runsDone.Broadcast()
	}()
	end := e.observe(&ctx, Operation{Name: "flush"})
	defer func() { end(Outcome{Err: err}) }()
	d := newDispatcher(e)
	if !e.exclusive {
		if err := e.readPauses(ctx); err != nil {
			return 0, err
		}
		watch, stop := context.WithCancel(ctx)
		var watching sync.WaitGroup
		watching.Go(func() { e.watchPauses(watch) })
		defer watching.Wait()
		defer stop()
	}
	defer context.AfterFunc(ctx, d.cancel)()
	defer func() {
		d.drain(e.opts.Drain)
		tried = int(d.tried.Load())
	}()
	for some := e.opts.Reminders != nil; some; {
		if some, err = d.remind(ctx, e.now()); err != nil {
			return 0, err
		}
	}
	if err := e.tryCountDays(ctx); err != nil {
		return 0, err
	}
	until := e.now()
	if e.exclusive && e.running.Load() == nil {
		if err := d.recover(ctx); err != nil {
			return 0, err
		}
	}
	for {
		taken, cleaned, more, err := d.turn(ctx, until)
		if err != nil {
			return 0, err
		}
		if err := d.await(ctx); err != nil {
			return 0, err
		}
		d.mu.Lock()
		failure := d.failure
		d.mu.Unlock()
		if failure != nil {
			return 0, failure
		}
		if taken > 0 || cleaned {
			d.again()
		} else if !more {
			return 0, e.tryCountDays(ctx)
		}
	}
}

// Close ends Run, refuses further calls with store.ErrClosed, waits for what is under way, and closes the store if [Open]
// opened it. A second Close does nothing.
func (e *Engine) Close() error {
	e.mu.Lock()
	if e.closing {
		for !e.closed {
			e.runsDone.Wait()
		}
		e.mu.Unlock()
		return nil
	}
	e.closing = true
	e.state.Store(int32(engineClosing))
	if e.stopRun != nil {
		e.stopRun()
	}
	for e.stopRun != nil || e.flushes > 0 {
		e.runsDone.Wait()
	}
	e.mu.Unlock()
	last, cancel := context.WithTimeout(context.Background(), time.Second)
	e.writeUses(last)
	cancel()
	e.writer.close()
	for i := range e.lines {
		e.lines[i].close()
	}
	e.end()
	var err error
	if e.owned {
		err = e.store.Close()
	}
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.runsDone.Broadcast()
	return err
}

// Parked lists deliveries that gave up, oldest first, forwards only: a Prev cursor is ErrInvalid.
func (e *Engine) Parked() List[ParkedDelivery] { return newList(e, "parked", e.listParked) }

// Compact rewrites the store without the space, and the bytes, of what was deleted: to be done now and then where people are
// erased. A store that cannot is ErrUnsupported.
func (e *Engine) Compact(ctx context.Context) error {
	if err := e.ready(ctx); err != nil {
		return err
	}
	for s := e.store; ; {
		if c, ok := s.(interface{ Compact(context.Context) error }); ok {
			return c.Compact(ctx)
		}
		w, ok := s.(interface{ Unwrap() store.Store })
		if !ok {
			return ErrUnsupported
		}
		s = w.Unwrap()
	}
}

// Backup writes a copy of the store to w while the engine works. Of a bbolt file it is a bbolt file; the engine keys are not in it.
func (e *Engine) Backup(ctx context.Context, w io.Writer) error {
	if err := e.ready(ctx); err != nil {
		return err
	}
	return store.Backup(ctx, e.store, w)
}

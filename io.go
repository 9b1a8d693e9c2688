// Package appio is an embeddable, consent-aware messaging engine for public services: services send messages, citizens
// choose which services may reach them and how, and the engine decides, stores, delivers and proves it.
//
// Authority lies in the handle one holds:
//
//   - [Engine] is the platform's operator: organizations, services, keys, health;
//   - [Authority] is one organization: it prepares, publishes and stops its services;
//   - [Sender] is one service: send, status, may-I-contact;
//   - [Citizen] is one person: profile, preferences, inbox, bills, export, erasure.
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
// # Running
//
// Nothing goes out by itself: [Engine.Run] delivers until its context ends, and sees to all that is due; [Engine.Flush] does it once. Without
// either, messages wait in the store. What can be set, and what is meant where it is not, is in [Options].
//
// # Storage
//
// Records are sealed (AES-256-GCM), each person's with a key of their own, which an erasure destroys. [Open] keeps them in one
// bbolt file; [New] takes any [store.Store].
//
// # Errors
//
// Errors are told apart with errors.Is: those of this package, and for failures of storage those of package store: [store.ErrFull],
// ErrFailed, ErrCorrupt, ErrClosed, ErrLocked, ErrKey and ErrNewer. An [InFlightError] is no failure: what was asked for is stored.
package appio

import (
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
	feeds     buckets[ServiceID]
	manages   buckets[apiKeyRecord]
	debts     buckets[store.Owner] // of citizens
	checks    buckets[store.Owner] // of citizens, for addresses
	changes   buckets[store.Owner] // of citizens
	serves    buckets[ServiceID]   // of activations
	sends     buckets[ServiceID]
	documents underWay
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

	process  string
	boot     string // random, of this engine's life
	leases   atomic.Uint64
	held     heldLeases
	started  time.Time // origin of the monotonic clock
	running  atomic.Pointer[dispatcher]
	removals atomic.Int64          // when documents may be removed again, on the monotonic clock
	failure  atomic.Pointer[error] // of the last Commit

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

// Open opens the bbolt file at path, made if missing, as an engine. Close the engine to close it. A file that another process
// has open is store.ErrLocked, one whose key is missing or another's store.ErrKey, and one of a later version store.ErrNewer.
func Open(path string, opts *Options) (*Engine, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	info, err := os.Stat(path)
	fresh := errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0
	own := o.Keys == nil
	if own {
		o.Keys = &fileKeys{path: path + ".key", make: fresh}
	}
	if o.Documents == nil {
		o.Documents = fileblob.New(path + ".documents")
	}
	if err := o.complete(); err != nil { // before a file is made
		return nil, err
	}
	if o.File != nil && o.File.ReadOnly {
		return nil, invalid("Options.File.ReadOnly", "false: an engine writes")
	}
	if (fresh || own) && !o.Plain { // the key first: a file without it would be of no use
		if _, _, err := o.Keys.Current(); err != nil {
			return nil, fmt.Errorf("appio: open: %w", err)
		}
	}
	s, err := boltstore.Open(path, o.File)
	if err != nil {
		return nil, fmt.Errorf("appio: open: %w", err)
	}
	o.File = nil
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
// the store's shows at the first call, as store.ErrKey. Other engines may be on the store, also where it is a file that this process
// has opened: so a pause takes five seconds, what a process that died was delivering waits for Options.Lease, and services are read
// for each message. On a file of its own Open does without all that.
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
	if o.File != nil {
		return nil, invalid("Options.File", "only for Open")
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

// eachPage calls f with what is due by until in n lanes: with the heads of all, which are one read of the store, and then with what is
// behind those that are full. An error of f ends it.
func (e *Engine) eachPage(ctx context.Context, base store.Lane, n int, until time.Time, f func([]store.Record) error) error {
	lanes := make([]store.Lane, n)
	for i := range lanes {
		lanes[i] = base + store.Lane(i)
	}
	heads, err := e.store.Due(ctx, store.DueQuery{Lanes: lanes, Until: until, Limit: headSize})
	if err != nil {
		return err
	}
	if err := f(heads); err != nil {
		return err
	}
	for i := 0; i < len(heads); {
		first := i
		for i < len(heads) && heads[i].Lane == heads[first].Lane {
			i++
		}
		q := store.DueQuery{Lanes: []store.Lane{heads[first].Lane}, Until: until, Limit: 256}
		last, full := &heads[i-1], i-first == headSize
		for full {
			q.After = store.Position{Due: last.Due, Owner: last.Owner, Key: last.Key}
			recs, err := e.store.Due(ctx, q)
			if err != nil {
				return err
			}
			if err := f(recs); err != nil {
				return err
			}
			if full = len(recs) == q.Limit; full {
				last = &recs[len(recs)-1]
			}
		}
	}
	return nil
}

// headSize is how many records of each of many lanes are read at once.
const headSize = 16

// eachDue does what change says of each record that is due by until in n lanes, by pages; nil: nothing.
func (e *Engine) eachDue(ctx context.Context, lanes store.Lane, n int, until time.Time, change func(store.Record) *op) error {
	return e.eachPage(ctx, lanes, n, until, func(recs []store.Record) error {
		var ops []*op
		for i := range recs {
			if o := change(recs[i]); o != nil {
				ops = append(ops, o)
			}
		}
		for _, err := range e.writer.do(ctx, ops...) {
			if err != nil {
				return err
			}
		}
		return nil
	})
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
			return unsupported("a store that has a method Compact")
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

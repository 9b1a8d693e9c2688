package appio

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/appio-go/appio/internal/chance"
	"github.com/appio-go/appio/internal/failpoint"
	"github.com/appio-go/appio/store"
)

// The writer takes all changes to the store. It merges what waits for one owner into one change, has one change of an owner
// under way at a time, puts many owners into one Commit, and is the only place that retries: after a conflict, after an
// aborted commit, and after one whose outcome is not known. Its goroutines exist while there is work.
type writer struct {
	e      *Engine
	room   *semaphore.Weighted // operations waiting: back-pressure for senders
	mu     sync.Mutex
	owned  map[store.Owner]*ownerQueue
	ready  []*ownerQueue
	busy   int // goroutines
	left   int // operations submitted and not done, and those that follow later
	closed bool
	idle   chan struct{}
}

const (
	maxWaiting    = 16384    // operations
	maxWriters    = 2        // commits under way
	batchOwners   = 1024     // owners in one commit
	batchServices = 2048     // services read for one commit
	ownerOps      = 128      // operations merged into one change
	ownerBytes    = 2 << 20  // of one change, before the next operation is added
	batchBytes    = 32 << 20 // of one commit, likewise
	conflictTries = 16
	abortTries    = 4
	unknownTries  = 8
)

// An op is work on one owner's records.
type op struct {
	owner  store.Owner
	urgent bool        // a citizen's choice: before other work on the same owner
	keys   []store.Key // read for apply
	flow   *flow       // what may be known of the owner; keys are then those of a delivery's outcome
	rng    store.Range // likewise; two operations with a range are not merged
	most   int         // records that apply puts and deletes, if more than 16
	also   store.Owner // another owner whose service record is read in the same View; "": none

	// apply puts and deletes records through tx, or refuses with an error before it did. It runs again after a conflict, so
	// it keeps nothing. The first record it puts must be one that no other operation would write with the same bytes.
	apply func(tx *draft) error
	work  work // has its own apply, which is then taken; nil: what becomes of the operation matters to nobody but the caller

	wait   *waiter     // who waits, for the at-th of its operations
	at     int         // likewise
	finish func(error) // where nobody waits: called once, last; it must not block
	taken  bool
	dead   bool // the caller has gone, and the operation was not taken

	answer error        // apply's, where it waits for the commit of what it was made from
	own    store.Record // apply's first record; without a key: it put none
	maybe  bool         // own may have been committed
}

// work is what an operation does that has something to keep or to give back.
type work interface {
	apply(tx *draft) error
	// committed is called after apply's records are durable, before the caller is told, with the draft that they are of; nil: apply
	// put none, or an earlier attempt turns out to have put them. It must not block.
	committed(by *draft)
	// failed is called instead where they are not, or may not be. It must not block.
	failed()
}

func (o *op) run(tx *draft) error {
	if o.work != nil {
		return o.work.apply(tx)
	}
	return o.apply(tx)
}

type waiter struct {
	mu   sync.Mutex
	left int
	errs []error // errWaiting: the operation is not done
	done chan struct{}
}

var errWaiting = errors.New("appio: not done yet")

func (w *waiter) finish(i int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errs[i] = err
	if w.left--; w.left == 0 {
		close(w.done)
	}
}

type ownerQueue struct {
	owner store.Owner
	ops   []*op
	one   [1]*op // room for ops, until there are more
	state queueState
	tries int // conflicts in a row
	timer *time.Timer
}

type queueState uint8

const (
	queueIdle  queueState = iota
	queueReady            // in writer.ready
	queueBusy             // in a batch
	queueTimed            // waits before it is tried again
)

func newWriter(e *Engine) *writer {
	return &writer{e: e, room: semaphore.NewWeighted(maxWaiting), owned: map[store.Owner]*ownerQueue{}}
}

// do runs the operations and waits for all: errs[i] is of ops[i]. Operations that were not taken when ctx ends are not done;
// one that was is ErrUnknown, if it does not end at once.
func (w *writer) do(ctx context.Context, ops ...*op) (errs []error) {
	if len(ops) == 0 {
		return nil
	}
	wait := &waiter{left: len(ops), errs: make([]error, len(ops)), done: make(chan struct{})}
	for i, o := range ops {
		o.wait, o.at, wait.errs[i] = wait, i, errWaiting
	}
	if err := context.Cause(ctx); err != nil {
		for i := range wait.errs {
			wait.errs[i] = err
		}
		return wait.errs
	}
	if !ops[0].urgent || planted == "choice-crowded" {
		n := min(int64(len(ops)), maxWaiting)
		if err := w.room.Acquire(ctx, n); err != nil {
			for i := range wait.errs {
				wait.errs[i] = err
			}
			return wait.errs
		}
		defer w.room.Release(n)
	}
	w.submit(ops)
	select {
	case <-wait.done:
		return wait.errs
	case <-ctx.Done():
	}
	taken := w.abandon(ops, context.Cause(ctx))
	if !taken {
		<-wait.done
		return wait.errs
	}
	// What was taken is in a commit that serves others too and cannot be called back. It is given a moment.
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-wait.done:
		return wait.errs
	case <-t.C:
	}
	wait.mu.Lock()
	defer wait.mu.Unlock()
	errs = append(errs, wait.errs...)
	for i := range ops {
		if errs[i] == errWaiting {
			errs[i] = fmt.Errorf("%w: %w", ErrUnknown, context.Cause(ctx))
		}
	}
	return errs
}

// start runs an operation without waiting for it.
func (w *writer) start(o *op, finish func(error)) {
	o.finish = finish
	w.submit([]*op{o})
}

// later calls f after a pause, for which close waits too. It is called from an operation's finish, and so with w.mu held.
func (w *writer) later(pause time.Duration, f func()) {
	w.left++
	time.AfterFunc(pause, func() {
		f()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.less()
	})
}

// tell says something to the host's logger, by whom no commit waits for: it may take long, or call the engine. It is called without w.mu.
func (w *writer) tell(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.later(0, f)
}

func (o *op) end(err error) {
	if err != nil && o.work != nil {
		o.work.failed()
	}
	switch {
	case o.wait != nil:
		o.wait.finish(o.at, err)
	case o.finish != nil:
		o.finish(err)
	}
}

func (w *writer) submit(ops []*op) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range ops {
		if w.closed {
			o.end(store.ErrClosed)
			continue
		}
		w.left++
		q := w.owned[o.owner]
		if q == nil {
			q = &ownerQueue{owner: o.owner}
			q.ops = q.one[:0]
			w.owned[o.owner] = q
		}
		at := len(q.ops)
		if o.urgent && planted != "choice-last" {
			for at = 0; at < len(q.ops) && q.ops[at].urgent; at++ {
			}
		}
		q.ops = append(q.ops, nil)
		copy(q.ops[at+1:], q.ops[at:])
		q.ops[at] = o
		if q.state == queueIdle || q.state == queueTimed && o.urgent && q.timer.Stop() {
			w.makeReady(q)
		}
	}
	w.spawn()
}

// makeReady and spawn are called with w.mu held.
func (w *writer) makeReady(q *ownerQueue) {
	q.state = queueReady
	w.ready = append(w.ready, q)
}

func (w *writer) spawn() {
	if w.busy < maxWriters && len(w.ready) > 0 {
		w.busy++
		go w.work()
	}
}

// abandon takes out what no commit has taken yet, and reports whether something else is left.
func (w *writer) abandon(ops []*op, cause error) (taken bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range ops {
		if o.taken || o.maybe {
			taken = true
		} else if !o.dead {
			o.dead = true
		}
	}
	for _, o := range ops {
		if !o.dead {
			continue
		}
		if q := w.owned[o.owner]; q != nil {
			for i, p := range q.ops {
				if p == o {
					q.ops = append(q.ops[:i:i], q.ops[i+1:]...)
					w.done(o, fmt.Errorf("%w: %w", store.ErrAborted, cause))
					break
				}
			}
		}
	}
	return taken
}

// done is called with w.mu held.
func (w *writer) done(o *op, err error) {
	o.end(err)
	w.less()
}

// less is called with w.mu held.
func (w *writer) less() {
	if w.left--; w.left == 0 && w.idle != nil {
		close(w.idle)
		w.idle = nil
	}
}

// close refuses what is submitted from now on and waits until nothing is under way.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	if w.left == 0 || planted == "close-early" {
		w.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	w.idle = idle
	w.mu.Unlock()
	<-idle
}

func (w *writer) work() {
	b := batches.Get().(*batch)
	for w.take(b) {
		w.process(b)
		b.clear()
	}
	batches.Put(b)
}

// A batch is what goes into one commit. It is used again: nothing of it is kept by an operation beyond its end.
type batch struct {
	views
	groups  []group
	drafts  []draft
	entries []draftEntry // of the drafts
	changes []store.Change
	changed []*group // that the changes are of
}

var batches = sync.Pool{New: func() any {
	return &batch{views: views{services: services{}, own: map[store.Owner]int{}}}
}}

func (b *batch) clear() {
	b.views.clear()
	b.groups, b.drafts, b.entries = empty(b.groups), empty(b.drafts), empty(b.entries)
	b.changes, b.changed = empty(b.changes), empty(b.changed)
}

// A group is the operations on one owner that go into one change.
type group struct {
	q     *ownerQueue
	ops   []*op
	draft *draft
}

// take fills a batch, or reports that nothing is ready.
func (w *writer) take(b *batch) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.ready) > 0 {
		if w.takeReady(b); len(b.groups) > 0 {
			w.spawn() // another may take what is left
			return true
		}
	}
	w.busy--
	return false
}

func (w *writer) takeReady(b *batch) {
	n := min(len(w.ready), batchOwners)
	for _, q := range w.ready[:n] {
		g := group{q: q}
		q.state = queueBusy
		ranged := false
		rest := q.ops[:0:0]
		for i, o := range q.ops {
			if len(g.ops) == ownerOps || o.rng.Limit > 0 && ranged || o.also != "" && len(b.services) >= batchServices {
				rest = append(rest, q.ops[i:]...)
				break
			}
			o.taken = true
			if o.also != "" {
				b.services[o.also] = nil
			}
			if len(q.ops) == 1 {
				g.ops = q.ops
				break
			}
			if o.rng.Limit > 0 { // it sees the records as they are in the store: before the others
				ranged = true
				g.ops = append([]*op{o}, g.ops...)
				continue
			}
			g.ops = append(g.ops, o)
		}
		q.ops = rest
		if len(g.ops) == 0 { // all were abandoned, or wait for another batch
			w.release(q)
			continue
		}
		b.groups = append(b.groups, g)
	}
	w.ready = append(w.ready[:0], w.ready[n:]...)
}

// release is called with w.mu held.
func (w *writer) release(q *ownerQueue) {
	if len(q.ops) > 0 {
		w.makeReady(q)
		return
	}
	q.state = queueIdle
	delete(w.owned, q.owner)
}

// process reads, applies and commits one batch.
func (w *writer) process(b *batch) {
	ctx := w.e.life
	if err := w.view(ctx, b); err != nil {
		for i := range b.groups {
			w.finish(&b.groups[i], err)
		}
		return
	}
	size := 0
	for i := range b.groups {
		g := &b.groups[i]
		if size > batchBytes {
			w.putBack(g, g.ops, 0, false)
			continue
		}
		if err := w.apply(g); err != nil {
			w.finish(g, err)
			continue
		}
		if !g.draft.changed() {
			w.finish(g, nil)
			continue
		}
		size += g.draft.size
		b.changes = append(b.changes, g.draft.change())
		b.changed = append(b.changed, g)
	}
	if len(b.changes) > 0 && !w.commit(ctx, b.changed, b.changes) {
		b.changes = nil // a commit whose outcome is not known may still be under way, as on a network: its changes are left alone
	}
}

// view reads what the operations of a batch ask for, and makes the drafts of its groups.
func (w *writer) view(ctx context.Context, b *batch) error {
	n := len(b.groups)
	b.drafts, b.known, b.reads = slices.Grow(b.drafts, n)[:n], slices.Grow(b.known, n)[:n], slices.Grow(b.reads, n)[:n]
	b.entries = slices.Grow(b.entries, usualEntries*n)[:usualEntries*n]
	for i := range b.groups {
		w.prepare(b, i)
	}
	for owner, i := range b.own {
		if _, ok := b.services[owner]; ok { // the service itself is in the batch
			b.drafts[i].want(keyService, &b.reads[i])
		} else {
			delete(b.own, owner)
		}
	}
	if err := w.e.see(ctx, &b.views, func(int) {}); err != nil {
		return err
	}
	for i := range b.drafts {
		if k := b.known[i]; k != nil {
			b.drafts[i].loadKnown(b.groups[i].ops[0].flow.keys, k)
		} else {
			b.drafts[i].load(&b.reads[i], &b.snaps[i])
		}
	}
	return nil
}

// prepare makes the draft of a group, and its read.
func (w *writer) prepare(b *batch, i int) {
	g, d, r := &b.groups[i], &b.drafts[i], &b.reads[i]
	at := usualEntries * i
	*d = draft{services: b.services, entries: b.entries[at : at : at+usualEntries]}
	*r = store.Read{Owner: g.q.owner}
	g.draft = d
	d.ownerCodec = ownerCodec{codec: w.e.codec, owner: g.q.owner}
	for _, o := range g.ops {
		if len(r.Keys) == 0 {
			r.Keys = slices.Clip(o.keys)
			for _, k := range o.keys {
				d.at(k)
			}
		} else {
			for _, k := range o.keys {
				d.want(k, r)
			}
		}
		if o.maybe {
			d.want(o.own.Key, r)
		}
		if o.rng.Limit > 0 {
			r.Range = o.rng
		}
	}
	b.known[i] = g.known()
	if strings.HasPrefix(string(g.q.owner), serviceOwner) {
		b.own[g.q.owner] = i
	}
}

// usualEntries is how many records most changes read and write.
const usualEntries = 10

var serviceKeys = []store.Key{keyService}

// known is what is known of the owner, where all of the group's operations are on deliveries of one message.
func (g *group) known() *knowledge {
	f := g.ops[0].flow
	for _, o := range g.ops {
		if o.flow == nil || o.flow != f || o.maybe {
			return nil
		}
	}
	if k := f.known.Load(); k != nil && k.work != nil {
		return k
	}
	return nil
}

// apply runs the group's operations on its draft. What does not fit goes back; what is refused is finished. An error is of
// an operation that failed half-way: then nothing of the group may be written.
func (w *writer) apply(g *group) error {
	kept := g.ops[:0]
	// Operations that may have been committed were in one change: it is there whole if one of their own records is.
	landed := slices.ContainsFunc(g.ops, func(o *op) bool { return o.maybe && g.draft.has(o.own) })
	for i, o := range g.ops {
		if i > 0 && (g.draft.size > ownerBytes || g.draft.count()+max(o.most, 16) > store.MaxRecords) {
			w.putBack(g, g.ops[i:], 0, true)
			break
		}
		if o.maybe && landed && planted != "landed-again" {
			w.finishOp(o, nil, nil)
			continue
		}
		o.maybe = false
		g.draft.first, o.own = store.Record{}, store.Record{}
		o.answer = o.run(g.draft)
		switch put := g.draft.first.Key != ""; {
		case put && o.answer != nil:
			g.ops = append(kept, g.ops[i:]...)
			return o.answer
		case put:
			o.own = g.draft.first
			kept = append(kept, o)
		case g.draft.changed(): // its answer comes from what is not durable yet
			kept = append(kept, o)
		default: // its answer comes from what was read
			w.finishOp(o, nil, o.answer)
		}
	}
	g.ops = kept
	return nil
}

// commit reports whether the store has answered for each change.
func (w *writer) commit(ctx context.Context, groups []*group, changes []store.Change) bool {
	end := w.e.observe(&ctx, Operation{Name: "commit", Count: len(changes)})
	unknown := false
	var errs []error
	var err error
	for try := 0; ; try++ {
		_ = failpoint.Hit("writer/commit")
		errs, err = w.e.store.Commit(ctx, changes)
		_ = failpoint.Hit("writer/committed")
		if err == nil {
			break
		}
		definite := errors.Is(err, store.ErrAborted) || planted == "unknown-is-failed"
		if !definite {
			unknown = true
		}
		final := errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrInvalid) || errors.Is(err, store.ErrClosed) ||
			errors.Is(err, store.ErrFailed) || errors.Is(err, store.ErrCorrupt) || ctx.Err() != nil
		limit := abortTries
		if unknown {
			limit = unknownTries
		}
		if final || try+1 >= limit {
			break
		}
		pause(ctx, jitter(try, 2*time.Millisecond, 500*time.Millisecond))
	}
	end(Outcome{Err: err})
	if errors.Is(err, store.ErrFull) && !unknown && len(changes) > 1 {
		return w.commitLess(ctx, groups, changes)
	}
	w.e.saw(err)
	if err != nil {
		if unknown { // some earlier attempt, or this one, may have been applied
			err = fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		for _, g := range groups {
			w.e.changed(g.q.owner, nil)
			w.finish(g, err)
		}
		return false
	}
	for i, g := range groups {
		switch {
		case errs == nil || errs[i] == nil:
			w.e.changed(g.q.owner, g.draft)
			w.finish(g, nil)
		case !errors.Is(errs[i], store.ErrConflict):
			w.finish(g, errs[i])
		default:
			// Somebody else changed the owner, or an attempt of ours with an unknown outcome did: then the operation's own
			// record is there when it is read again.
			for _, o := range g.ops {
				o.maybe = o.maybe || unknown && o.own.Key != ""
			}
			w.e.changed(g.q.owner, nil)
			w.retry(g)
		}
	}
	return !unknown
}

// commitLess commits in two parts what a full store has not taken at once: there may be room for less, and what only deletes goes first.
func (w *writer) commitLess(ctx context.Context, groups []*group, changes []store.Change) bool {
	deletes := 0
	for i := range changes {
		if len(changes[i].Put) == 0 {
			groups[deletes], groups[i] = groups[i], groups[deletes]
			changes[deletes], changes[i] = changes[i], changes[deletes]
			deletes++
		}
	}
	if deletes == 0 || deletes == len(changes) {
		deletes = len(changes) / 2
	}
	first := w.commit(ctx, groups[:deletes], changes[:deletes])
	return w.commit(ctx, groups[deletes:], changes[deletes:]) && first
}

// retry puts a group back after a conflict, to be tried after a random pause that grows.
func (w *writer) retry(g *group) {
	w.mu.Lock()
	tries := g.q.tries + 1
	w.mu.Unlock()
	if tries > conflictTries {
		w.finish(g, ErrBusy)
		return
	}
	w.putBack(g, g.ops, tries, false)
}

// putBack returns operations to their queue, before what came meanwhile but after more urgent work. With keep the group
// goes on without them.
func (w *writer) putBack(g *group, ops []*op, tries int, keep bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	q := g.q
	var urgent, rest []*op
	for _, o := range append(append([]*op(nil), ops...), q.ops...) {
		o.taken = o.maybe
		if o.urgent {
			urgent = append(urgent, o)
		} else {
			rest = append(rest, o)
		}
	}
	q.ops = append(urgent, rest...)
	if keep {
		return
	}
	q.tries = tries
	if tries == 0 {
		w.makeReady(q)
		return
	}
	q.state = queueTimed
	pause := jitter(tries-1, time.Millisecond, 100*time.Millisecond)
	q.timer = time.AfterFunc(pause, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if q.state == queueTimed {
			w.makeReady(q)
			w.spawn()
		}
	})
}

func (w *writer) finishOp(o *op, by *draft, err error) {
	if err == nil && o.work != nil {
		o.work.committed(by)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done(o, err)
}

// finish ends a group's operations and lets its owner's next ones go.
func (w *writer) finish(g *group, err error) {
	for _, o := range g.ops {
		switch {
		case err == nil:
			w.finishOp(o, g.draft, o.answer)
		case o.maybe && !errors.Is(err, ErrUnknown):
			w.finishOp(o, nil, fmt.Errorf("%w: %w", ErrUnknown, err))
		default:
			w.finishOp(o, nil, err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	g.q.tries = 0
	w.release(g.q)
}

// jitter is full jitter: anything up to base doubled try times, at most most.
func jitter(try int, base, most time.Duration) time.Duration {
	d := most
	if try < 30 && base<<try < most {
		d = base << try
	}
	return time.Duration(chance.Int64N(int64(d) + 1))
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

package simulation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio/store"
)

// A simulated store is the disk as one life of a process reaches it: late, or not at all.
type simulated struct{ l *life }

var errReset = errors.New("simulated: connection reset")

// travel is the time that a call, or its answer, takes on its way. It reports false if the process did not live to see the end.
func (s simulated) travel(r *rand.Rand) bool {
	l := s.l
	d := between(r, 20*time.Microsecond, 3*time.Millisecond)
	if r.IntN(1000) < l.w.weather().slow {
		d = between(r, 10*time.Millisecond, 45*time.Second)
		l.w.count("slow")
		l.trouble(d)
	}
	return l.sleep(d) && l.thaw(r)
}

// read is what all readings begin with.
func (s simulated) read(ctx context.Context, r *rand.Rand, what string) error {
	if !s.travel(r) {
		return store.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	away := s.l.isAway()
	unread := r.IntN(1000) < s.l.w.weather().unread
	if unread {
		s.l.w.count("unread")
	}
	if away || unread {
		s.l.trace("%s cannot be read", what)
		return errReset
	}
	return nil
}

func (s simulated) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	if err := store.CheckReads(reads); err != nil {
		return nil, err
	}
	what := s.l.w.names(len(reads), func(i int) store.Owner { return reads[i].Owner })
	r := s.l.dice("view", what)
	if err := s.read(ctx, r, what); err != nil {
		return nil, err
	}
	snaps := make([]store.Snapshot, 0, len(reads))
	for i := range reads {
		if i > 0 && r.IntN(1000) < s.l.w.weather().torn {
			s.l.w.count("torn")
			if !s.l.sleep(between(r, 10*time.Microsecond, 50*time.Millisecond)) {
				return nil, store.ErrClosed
			}
		}
		one, err := s.l.w.disk.View(context.Background(), reads[i:i+1])
		if err != nil {
			return nil, err
		}
		snaps = append(snaps, one...)
	}
	if !s.travel(r) {
		return nil, store.ErrClosed
	}
	return snaps, nil
}

func (s simulated) Due(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
	if err := store.CheckDue(q); err != nil {
		return nil, err
	}
	s.l.looks()
	r := s.l.dice("due", fmt.Sprint(q.Lanes[0], len(q.Lanes)))
	if err := s.read(ctx, r, "due"); err != nil {
		return nil, err
	}
	recs, err := s.l.w.disk.Due(context.Background(), q)
	if err != nil {
		return nil, err
	}
	if !s.travel(r) {
		return nil, store.ErrClosed
	}
	// Of the heads of many lanes some may be left out; of one lane, that is read through, a part would be taken for the whole.
	if len(q.Lanes) > 1 && len(recs) > 0 && r.IntN(1000) < s.l.w.weather().partial {
		s.l.w.count("partial")
		recs = recs[:r.IntN(len(recs))]
	}
	return recs, nil
}

func (s simulated) Owners(ctx context.Context, after store.Owner, limit int) ([]store.Owner, error) {
	if err := s.read(ctx, s.l.dice("owners"), "owners"); err != nil {
		return nil, err
	}
	return s.l.w.disk.Owners(context.Background(), after, limit)
}

func (s simulated) Close() error { return nil }

// Commit is where most goes wrong: before the commit, after it, or in between, where some owners are changed and others are not,
// or only a moment later.
func (s simulated) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	if err := store.Check(changes); err != nil {
		return nil, err
	}
	l, w := s.l, s.l.w
	what := w.names(len(changes), func(i int) store.Owner { return changes[i].Owner })
	r := l.dice("commit", what)
	if !s.travel(r) {
		return nil, store.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrAborted, err)
	}
	weather := w.weather()
	fate := r.IntN(1000)
	strikes := func(n int) bool { fate -= n; return fate < 0 }
	trouble := func(what string) { w.count(what); l.trace("commit %s: %s", w.describe(changes), what) }
	switch {
	case l.hasFailed():
		return nil, store.ErrFailed
	case l.isAway():
		return nil, fmt.Errorf("%w: simulated: away", store.ErrAborted)
	case l.isFull():
		return nil, store.ErrFull
	case strikes(weather.aborted):
		trouble("aborted")
		return nil, fmt.Errorf("%w: simulated", store.ErrAborted)
	case strikes(weather.crash):
		trouble("crash")
		if r.IntN(2) == 0 {
			w.land(l, changes)
		}
		l.crash()
		return nil, store.ErrClosed
	case strikes(weather.failed):
		trouble("failed")
		s.scatter(r, changes)
		l.fail()
		return nil, fmt.Errorf("%w: simulated", store.ErrFailed)
	case strikes(weather.unknown):
		trouble("unknown")
		l.trouble(0)
		s.scatter(r, changes)
		if !s.travel(r) {
			return nil, store.ErrClosed
		}
		return nil, errReset
	case strikes(weather.conflict):
		w.count("conflict")
		w.touch(changes[w.order(changes)[r.IntN(len(changes))]].Owner)
	}
	errs := w.land(l, changes)
	if !s.travel(r) {
		return nil, store.ErrClosed
	}
	return errs, nil
}

// scatter commits each change at once, a moment later, or not at all.
func (s simulated) scatter(r *rand.Rand, changes []store.Change) {
	for _, i := range s.l.w.order(changes) {
		switch r.IntN(3) {
		case 0:
			s.l.w.land(s.l, changes[i:i+1])
		case 1:
			c, wait := clone(changes[i]), between(r, time.Millisecond, 3*time.Second)
			s.l.w.late.Go(func() {
				time.Sleep(wait)
				if !s.l.w.plan.alone || !s.l.over() { // nothing comes late to a file that another process has opened
					s.l.w.land(s.l, []store.Change{c})
				}
			})
		}
	}
}

// clone is a change that the caller may go on to use.
func clone(c store.Change) store.Change {
	c.Put = append([]store.Record(nil), c.Put...)
	for i := range c.Put {
		c.Put[i].Value = append([]byte(nil), c.Put[i].Value...)
	}
	c.Delete = append([]store.Key(nil), c.Delete...)
	return c
}

// land makes changes durable, and lets the court see them at that moment.
func (w *world) land(l *life, changes []store.Change) []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	errs, err := w.disk.Commit(context.Background(), changes)
	if err != nil {
		w.failf("the disk: %v", err)
		return errs
	}
	for _, i := range w.order(changes) {
		if errs == nil || errs[i] == nil {
			w.tracef(l, "committed %s", w.describe(changes[i:i+1]))
			w.saw(l, &changes[i])
		}
	}
	return errs
}

// touch changes an owner's revision, as somebody else would.
func (w *world) touch(o store.Owner) {
	w.mu.Lock()
	defer w.mu.Unlock()
	snaps, err := w.disk.View(context.Background(), []store.Read{{Owner: o}})
	if err == nil {
		_, err = w.disk.Commit(context.Background(), []store.Change{{Owner: o, Rev: snaps[0].Rev}})
	}
	if err != nil {
		w.failf("the disk: %v", err)
	}
}

// order is that of the changes' owners: in which order an engine names them does not matter.
func (w *world) order(changes []store.Change) []int {
	order := make([]int, len(changes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return strings.Compare(w.name(changes[i].Owner), w.name(changes[j].Owner)) })
	return order
}

// name is how an owner is called in this world.
func (w *world) name(o store.Owner) string {
	if name, ok := w.called[o]; ok {
		return name
	}
	return string(o)
}

// names are the owners of a call.
func (w *world) names(n int, owner func(int) store.Owner) string {
	all := make([]string, n)
	for i := range all {
		all[i] = w.name(owner(i))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func (w *world) describe(changes []store.Change) string {
	var b strings.Builder
	for _, i := range w.order(changes) {
		c := &changes[i]
		fmt.Fprintf(&b, "[%s %d:", w.name(c.Owner), c.Rev)
		for _, k := range keysOf(c) {
			b.WriteString(" " + k)
		}
		b.WriteString("]")
	}
	return b.String()
}

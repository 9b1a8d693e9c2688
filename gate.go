package appio

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/appio-go/appio/store"
)

// Gates make a revocation final: looking at consent once more before sending is not enough, since the citizen may withdraw
// between the look and the send. Whoever sends holds a pass of the citizen's gate, and of the service's, from before it
// reads consent until the channel has returned. A revocation closes the gate, commits, and then deals with the passes that
// it finds: those that have not begun to send are told not to, and those that send what is now refused are cancelled and
// awaited. A sender never waits at a gate: if it is closed the work goes back.
//
// Gates are per owner, exist while somebody is at them, and know only this process; see lease.go for the others.
type gates struct {
	mu     sync.Mutex
	m      map[store.Owner]*gate
	pauses *pauses // of the engine
}

type gate struct {
	closed int
	since  time.Time // when it was closed first, of those that have it closed
	passes []*pass
}

// A pass is one sender's place at its gates.
type pass struct {
	owners [2]store.Owner // the citizen and the service; "": none

	// Guarded by gates.mu.
	at      [2]int // where it stands among the passes of each gate
	sending bool   // begin was called
	stopped bool   // it may not begin

	delivery sending // what is sent, from begin on
	cancel   func()
	group    *passGroup    // the others of the same call of a channel
	done     chan struct{} // closed by leave; made for who waits
}

// A passGroup is the passes of one call of a channel: a revocation from inside does not wait for its own call.
type passGroup struct{ _ byte }

// sending is what a pass is about, for a revocation to judge.
type sending struct {
	ID      DeliveryID // empty: no delivery, but the acceptance of messages
	Citizen store.Owner
	Service ServiceID
	Channel string
	Address Address // as it was read; ID empty: none
	Content Content
	Secure  bool // by the message

	Reminder ReminderKind // that it is; empty: none
}

// enter takes a pass, or reports false if a gate is closed, and for how long it has been.
func (g *gates) enter(p *pass) (shut time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, o := range p.owners {
		if t := g.m[o]; o != "" && t != nil && t.closed > 0 {
			return time.Since(t.since), false
		}
	}
	for i, o := range p.owners {
		if o != "" {
			t := g.at(o)
			p.at[i] = len(t.passes)
			t.passes = append(t.passes, p)
		}
	}
	return 0, true
}

// at is called with g.mu held.
func (g *gates) at(o store.Owner) *gate {
	t := g.m[o]
	if t == nil {
		t = &gate{}
		if g.m == nil {
			g.m = map[store.Owner]*gate{}
		}
		g.m[o] = t
	}
	return t
}

// begin turns a pass from reading to sending, or reports false if a revocation or a pause came between.
func (g *gates) begin(p *pass, what sending, group *passGroup, cancel func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.stopped || what.ID != "" && g.pauses.since(what.Channel, what.Service) != 0 {
		return false
	}
	p.sending, p.delivery, p.group, p.cancel = true, what, group, cancel
	return true
}

func (g *gates) leave(p *pass) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, o := range p.owners {
		if t := g.m[o]; o != "" && t != nil {
			t.remove(p.at[i], o)
			g.drop(o, t)
		}
	}
	if p.done != nil {
		close(p.done)
	}
}

// remove takes out the pass at i, in whose place the last one comes.
func (t *gate) remove(i int, o store.Owner) {
	n := len(t.passes) - 1
	last := t.passes[n]
	t.passes[i], t.passes[n] = last, nil
	t.passes = t.passes[:n]
	for j := range last.owners {
		if last.owners[j] == o {
			last.at[j] = i
		}
	}
}

// drop forgets a gate at which nobody is. It is called with g.mu held.
func (g *gates) drop(o store.Owner, t *gate) {
	if t.closed == 0 && len(t.passes) == 0 {
		delete(g.m, o)
	}
}

func (g *gates) close(o store.Owner) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.at(o)
	if t.closed == 0 {
		t.since = time.Now()
	}
	t.closed++
}

// open ends a close. With stop, passes that have not begun to send are told not to; those that send are returned.
func (g *gates) open(o store.Owner, stop bool) (sending []*pass) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.m[o]
	t.closed--
	if stop {
		for _, p := range t.passes {
			if p.sending {
				if p.done == nil {
					p.done = make(chan struct{})
				}
				sending = append(sending, p)
			} else {
				p.stopped = true
			}
		}
	}
	g.drop(o, t)
	return sending
}

type groupKey struct{}

// A judge says whether what is being sent would be refused, or shown less of, now that a revocation is stored.
type judge func(ctx context.Context, s sending) (refused bool, err error)

// revoke closes the owner's gate, commits, and returns when nothing that is now refused is being sent any more, or, after
// Options.RevokeWait, an *InFlightError with what still is. foreign, if set, lists what other processes may be sending.
func (e *Engine) revoke(ctx context.Context, owner store.Owner, commit func() error, refused judge, foreign func(context.Context) (*foreignWork, error)) error {
	end := e.observe(&ctx, Operation{Name: "revoke", Count: 1})
	e.gates.close(owner)
	err := commit()
	unsure := errors.Is(err, ErrUnknown)
	passes := e.gates.open(owner, (err == nil || unsure) && planted != "no-gate")
	if err == nil && planted != "no-gate" {
		err = e.awaitRevoked(ctx, passes, refused, foreign)
	}
	end(Outcome{Err: err})
	return err
}

func (e *Engine) awaitRevoked(ctx context.Context, passes []*pass, refused judge, foreign func(context.Context) (*foreignWork, error)) error {
	// From here on the choice is stored; what is asked of the store now only tells how long to wait.
	own, _ := ctx.Value(groupKey{}).(*passGroup)
	limit := time.NewTimer(e.opts.RevokeWait)
	defer limit.Stop()
	read, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.opts.RevokeWait)
	defer cancel()
	var wait []*pass
	for _, p := range passes {
		if own != nil && p.group == own {
			continue
		}
		no, err := refused(read, p.delivery)
		if no || err != nil { // not to know is to wait
			wait = append(wait, p)
			if p.cancel != nil {
				p.cancel()
			}
		}
	}
	var others *foreignWork
	if foreign != nil && !e.exclusive && planted != "no-foreign-wait" {
		var err error
		if others, err = foreign(read); err != nil {
			return errors.Join(&InFlightError{}, err)
		}
	}
	left := &InFlightError{}
	expired, some := false, false
	for _, p := range wait {
		if !expired {
			select {
			case <-p.done:
				continue
			case <-limit.C:
				expired = true
			case <-ctx.Done():
				expired = true
			}
		}
		select {
		case <-p.done:
		default:
			some = true
			if p.delivery.ID != "" {
				left.Deliveries = append(left.Deliveries, p.delivery.ID)
			}
		}
	}
	for others.pending() && !expired {
		tick := time.NewTimer(5 * time.Millisecond)
		select {
		case <-tick.C:
			others.refresh(read, e)
		case <-limit.C:
			expired = true
		case <-ctx.Done():
			expired = true
		}
		tick.Stop()
	}
	if others.pending() {
		some = true
		left.Deliveries = append(left.Deliveries, others.deliveries()...)
	}
	if some {
		return left
	}
	return nil
}

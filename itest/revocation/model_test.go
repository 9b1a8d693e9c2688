package revocation

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

// A stamp is a moment in the one order of all that was seen: greater is later.
type stamp int64

// never is the end of what may still happen after everything else.
const never = stamp(math.MaxInt64 / 8)

// A choice is a citizen allowing or refusing to be written to. If its outcome is not known, it may take effect at any time from
// begin on, or not at all: end is never.
type choice struct {
	allow      bool
	engine     int
	begin, end stamp
	returned   time.Duration

	named  map[appio.DeliveryID]bool // by its InFlightError
	unsure bool                      // it could not tell what is under way
	inside *attempt                  // it was made from inside this one
}

// An attempt is one call of a channel for one delivery. end is never while it runs.
type attempt struct {
	id         appio.DeliveryID
	channel    string
	engine     int
	number     int // of the delivery's attempts
	begin, end stamp
	started    time.Duration
	ended      time.Duration
	limit      time.Duration // of one call
}

// An acceptance is one message of a call of SendBatch.
type acceptance struct {
	processed  bool
	begin, end stamp
}

// A history is what happened to one citizen, or to one service, for which a choice is that of its operator.
type history struct {
	mu          sync.Mutex
	choices     []*choice
	attempts    []*attempt
	acceptances []*acceptance
}

// A look is the register of a citizen, seen at a moment: by an attempt, which needs it to be allowed, or to be refused by a
// choice that excepts the attempt; or by an acceptance, which says what it saw.
type look struct {
	begin, end stamp
	attempt    *attempt // nil: an acceptance
	running    bool     // the attempt had begun before
	excepted   []int    // choices
	processed  bool
}

// looks are what the rule says about the attempts and acceptances of a history:
//
//   - An attempt does not begin once a revocation has returned, and does not go on when one returns, unless a later choice
//     allows it.
//   - A revocation excepts the attempt that it was made from inside of, and those that its InFlightError names.
//   - An engine knows what another one is sending by the lease only: so its revocations do not wait for an attempt of the other
//     that has outrun its time.
//   - A message is accepted or rejected by what holds at one moment of the call.
//
// The last is held against the choices by itself: acceptances see a revocation from its commit on, while attempts may still
// begin that saw consent before; it is for these that the revocation does not return yet.
func (h *history) looks() (attempts, acceptances []look) {
	for _, a := range h.attempts {
		var excepted []int
		for i, c := range h.choices {
			outrun := c.engine != a.engine && a.begin < c.end && c.returned-a.started > a.limit
			if !c.allow && (c.inside == a || c.unsure || outrun || c.named[a.id] && h.first(a, c)) {
				excepted = append(excepted, i)
			}
		}
		attempts = append(attempts, look{begin: a.begin, end: a.begin, attempt: a, excepted: excepted})
		for _, c := range h.choices {
			if !c.allow && a.begin < c.end && c.end < a.end {
				attempts = append(attempts, look{begin: c.end, end: c.end, attempt: a, running: true, excepted: excepted})
			}
		}
	}
	for _, a := range h.acceptances {
		acceptances = append(acceptances, look{begin: a.begin, end: a.end, processed: a.processed})
	}
	return attempts, acceptances
}

// first reports whether a is the attempt that a choice meant by naming its delivery: the first that was not over.
func (h *history) first(a *attempt, c *choice) bool {
	for _, b := range h.attempts {
		if b.id == a.id && b.end > c.end && b.begin < a.begin {
			return false
		}
	}
	return a.end > c.end
}

// allowed is the state of the model when the last choice allowed; otherwise it is the number of the choice that refused.
const allowed = -1

// operations are a history as the model takes it: choices are writes, looks are reads. A look at a moment is after everything
// that has that stamp.
func (h *history) operations(looks []look) (ops []porcupine.Operation) {
	for i, c := range h.choices {
		state := allowed
		if !c.allow {
			state = i
		}
		ops = append(ops, porcupine.Operation{Input: write{i, state}, Call: int64(c.begin) * 4, Return: int64(c.end) * 4})
	}
	for _, l := range looks {
		op := porcupine.Operation{Input: read{l}, Call: int64(l.begin) * 4, Return: int64(l.end) * 4}
		if l.attempt != nil {
			op.Call, op.Return = op.Call+1, op.Return+2
		}
		ops = append(ops, op)
	}
	return ops
}

type write struct{ choice, state int }

type read struct{ look look }

// register is the model of one citizen, allowed at first.
var register = porcupine.Model{
	Init: func() any { return allowed },
	Step: func(state, input, _ any) (bool, any) {
		switch in := input.(type) {
		case write:
			return true, in.state
		case read:
			if in.look.attempt == nil {
				return in.look.processed == (state == allowed), state
			}
			return state == allowed || slices.Contains(in.look.excepted, state.(int)), state
		}
		return false, state
	},
}

// A verdict is what the model says of histories.
type verdict struct {
	violations []string
	undecided  int      // histories that the model could not judge in time
	doubled    []string // deliveries that two engines made at once
}

// judge holds each history against the model.
func judge(hs []*history) (v verdict) {
	for i, h := range hs {
		h.mu.Lock()
		attempts, acceptances := h.looks()
		for _, looks := range [][]look{attempts, acceptances} {
			ops := h.operations(looks)
			switch porcupine.CheckOperationsTimeout(register, ops, 10*time.Second) {
			case porcupine.Illegal:
				v.violations = append(v.violations, h.explain(i, ops))
			case porcupine.Unknown:
				v.undecided++
			}
		}
		v.doubled = append(v.doubled, h.doubled()...)
		h.mu.Unlock()
	}
	return v
}

// explain says where the model found no way on, and what happened just before.
func (h *history) explain(number int, ops []porcupine.Operation) string {
	_, info := porcupine.CheckOperationsVerbose(register, ops, 10*time.Second)
	longest := map[int64]bool{} // by when they began, which is unique but for looks
	most := 0
	for _, part := range info.PartialLinearizationsOperations()[0] {
		if len(part) <= most {
			continue
		}
		most = len(part)
		clear(longest)
		for _, op := range part {
			longest[op.Call] = true
		}
	}
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	stuck := slices.IndexFunc(ops, func(op porcupine.Operation) bool { return !longest[op.Call] })
	if stuck < 0 {
		return "no order of what happened obeys the rule"
	}
	end := ops[stuck].Return
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	ops = slices.DeleteFunc(ops, func(op porcupine.Operation) bool { return op.Call > end })
	var b strings.Builder
	for _, op := range ops[max(0, len(ops)-30):] {
		mark := "   "
		if !longest[op.Call] {
			mark = " ! "
		}
		fmt.Fprintf(&b, "%s%d to %d: %s\n", mark, op.Call/4, op.Return/4, h.line(op.Input))
	}
	return fmt.Sprintf("history %d; what has no place in any order is marked:\n%s", number, b.String())
}

// line prints one operation.
func (h *history) line(in any) string {
	if w, ok := in.(write); ok {
		c := h.choices[w.choice]
		text := fmt.Sprintf("engine %d: refuse", c.engine)
		if c.allow {
			text = fmt.Sprintf("engine %d: allow", c.engine)
		}
		if c.inside != nil {
			text += fmt.Sprintf(", inside %.8s", c.inside.id)
		}
		for id := range c.named {
			text += fmt.Sprintf(", in flight %.8s", id)
		}
		return text + fmt.Sprintf(" (%v)", c.returned)
	}
	l := in.(read).look
	a := l.attempt
	switch {
	case a == nil && l.processed:
		return "a message was accepted"
	case a == nil:
		return "a message was rejected"
	case l.running:
		return fmt.Sprintf("engine %d: attempt %d of %.8s by %s runs (%v to %v)", a.engine, a.number, a.id, a.channel, a.started, a.ended)
	}
	return fmt.Sprintf("engine %d: attempt %d of %.8s by %s begins (%v to %v)", a.engine, a.number, a.id, a.channel, a.started, a.ended)
}

// doubled finds deliveries that two engines made at the same time, none of them having outrun its time.
func (h *history) doubled() (found []string) {
	by := map[appio.DeliveryID][]*attempt{}
	for _, a := range h.attempts {
		by[a.id] = append(by[a.id], a)
	}
	for id, as := range by {
		slices.SortFunc(as, func(a, b *attempt) int { return cmp.Compare(a.begin, b.begin) })
		for i, a := range as {
			for _, b := range as[i+1:] {
				if b.begin < a.end && b.started-a.started <= a.limit {
					found = append(found, fmt.Sprintf("%.8s: by engines %d and %d at once", id, a.engine, b.engine))
				}
			}
		}
	}
	return found
}

func TestTheModel(t *testing.T) {
	t.Parallel()
	const long = time.Hour
	refuse := func(begin, end stamp) *choice { return &choice{begin: begin, end: end} }
	allow := func(begin, end stamp) *choice { return &choice{allow: true, begin: begin, end: end} }
	send := func(begin, end stamp) *attempt { return &attempt{id: "a", begin: begin, end: end, limit: long} }
	of := func(cs ...*choice) func(...*attempt) *history {
		return func(as ...*attempt) *history { return &history{choices: cs, attempts: as} }
	}
	named := func(c *choice) *choice {
		c.named = map[appio.DeliveryID]bool{"a": true}
		return c
	}
	within := send(1, 9)
	inside := refuse(2, 3)
	inside.inside = within
	foreign := refuse(2, 5)
	foreign.engine, foreign.returned = 1, 2*long
	accepted := func(h *history, processed bool, begin, end stamp) *history {
		h.acceptances = append(h.acceptances, &acceptance{processed, begin, end})
		return h
	}
	tests := map[string]struct {
		h    *history
		good bool
	}{
		"a send before a revocation":                               {of(refuse(5, 6))(send(1, 2)), true},
		"a send that ends while a revocation waits":                {of(refuse(2, 9))(send(1, 8)), true},
		"a send that begins while a revocation is under way":       {of(refuse(2, 9))(send(3, 8)), true},
		"a send that begins after a revocation returned":           {of(refuse(2, 3))(send(4, 5)), false},
		"a send that runs on when a revocation returns":            {of(refuse(2, 5))(send(1, 8)), false},
		"a send that outran its time, and another's revocation":    {of(foreign)(send(1, 8)), true},
		"a send that runs on, named":                               {of(named(refuse(2, 5)))(send(1, 8)), true},
		"a send that begins after it was named":                    {of(named(refuse(2, 5)))(send(7, 8)), true},
		"its second attempt":                                       {of(named(refuse(2, 5)))(send(1, 8), send(9, 10)), false},
		"a send that runs on, named, and a second revocation":      {of(named(refuse(2, 5)), refuse(6, 7))(send(1, 8)), false},
		"a send that runs on after a revocation from inside":       {of(inside)(within), true},
		"another send after a revocation from inside":              {of(inside)(within, send(4, 5)), false},
		"a send after a later choice":                              {of(refuse(2, 3), allow(4, 5))(send(6, 7)), true},
		"a send while a later choice is under way":                 {of(refuse(2, 3), allow(4, 9))(send(6, 7)), true},
		"a send after a choice of the same time":                   {of(refuse(2, 5), allow(3, 4))(send(6, 7)), true},
		"a send before a later choice":                             {of(refuse(2, 3), allow(6, 7))(send(4, 5)), false},
		"a send after a later choice whose outcome is not known":   {of(refuse(2, 3), allow(4, never))(send(6, 7)), true},
		"a send after a revocation whose outcome is not known":     {of(refuse(2, never))(send(6, 7)), true},
		"two sends between which a revocation must have been":      {of(refuse(1, 9), allow(2, 3))(send(4, 5)), true},
		"a message accepted after a revocation returned":           {accepted(of(refuse(2, 3))(), true, 4, 5), false},
		"a message accepted while a revocation is under way":       {accepted(of(refuse(2, 5))(), true, 3, 4), true},
		"a message refused for no reason":                          {accepted(of(refuse(4, 5))(), false, 2, 3), false},
		"a message accepted, then one refused, before it returned": {accepted(accepted(of(refuse(1, 9))(), true, 2, 3), false, 4, 5), true},
		"a message refused, then one accepted, before it returned": {accepted(accepted(of(refuse(1, 9))(), false, 2, 3), true, 4, 5), false},
	}
	for name, test := range tests {
		v := judge([]*history{test.h})
		require.Zero(t, v.undecided, name)
		require.Equal(t, test.good, len(v.violations) == 0, "%s: %v", name, v.violations)
	}
	second := send(2, 3)
	require.NotEmpty(t, of()(send(1, 4), second).doubled())
	second.started = 2 * long
	require.Empty(t, of()(send(1, 4), second).doubled())
}

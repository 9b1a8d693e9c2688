package appio

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/appio-go/appio/store"
)

// rules are those that a message is decided by, in the order in which they are counted; results likewise.
var rules = [...]Rule{
	RuleUnknown, RuleUndecided, RuleInboxOff, RuleServiceRefused, RuleServiceChosen, RuleModeAuto, RuleModeManual, RuleActivated, RuleNotActivated,
}

// An AttemptResult is how a delivery that was taken from its queue ended, for [Counts]: "delivered"; "failed", to be tried again;
// "permanent", parked by the channel's word; "gone", the address was removed; "void", no longer allowed when its turn came; "expired", too
// late; or "returned", not tried, or not counted.
type AttemptResult string

// What came of attempts. Those of failed and returned are tried again, unless a failed one was the last: that is parked, or
// expired.
var results = [...]AttemptResult{
	resultDelivered: "delivered",
	resultFailed:    "failed",    // the channel's error may pass
	resultPermanent: "permanent", // the channel's error will not: parked
	resultGone:      "gone",      // the address does not exist any more
	resultVoid:      "void",      // no longer allowed when its turn came
	resultExpired:   "expired",   // too late
	resultBack:      "returned",  // not tried, for want of time, quiet hours, a revocation or a pause; or not counted, as its channel is out of order
}

// counts costs an addition for each message and one for each attempt.
type counts struct {
	decided  [len(rules)]atomic.Uint64
	attempts [len(results)]atomic.Uint64
	limited  atomic.Uint64
	opened   atomic.Uint64
}

func (c *counts) decide(rule Rule) {
	for i := range rules {
		if rules[i] == rule {
			c.decided[i].Add(1)
			return
		}
	}
}

func (c *counts) attempt(kind resultKind) { c.attempts[kind].Add(1) }

// Counts is what an engine did since it was made. A message that was sent again with its key counts once.
type Counts struct {
	Decided  map[Rule]uint64          // messages, by the rule that decided them
	Attempts map[AttemptResult]uint64 // deliveries that were taken from their queue, by what came of it
	Limited  uint64                   // messages that were refused, as their service sent too fast
	Outages  uint64                   // how often a channel was left alone: see [Breaker]
}

// Counts returns the counters, all of them, also those that are zero.
func (e *Engine) Counts() Counts {
	c := Counts{Decided: make(map[Rule]uint64, len(rules)), Attempts: make(map[AttemptResult]uint64, len(results))}
	for i, r := range rules {
		c.Decided[r] = e.counts.decided[i].Load()
	}
	for i, r := range results {
		c.Attempts[r] = e.counts.attempts[i].Load()
	}
	c.Limited, c.Outages = e.counts.limited.Load(), e.counts.opened.Load()
	return c
}

// Vars returns a variable as package expvar has them:
//
//	expvar.Publish("appio", eng.Vars())
//
// Its value is a JSON object of [Engine.Health] and [Engine.Counts], under the names that docs/operations.md lists. To read it
// looks at the queues, for two seconds at most; what could not be read is left out.
func (e *Engine) Vars() fmt.Stringer { return vars{e} }

type vars struct{ e *Engine }

func (v vars) String() string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	h, err := v.e.Health(ctx)
	c := v.e.Counts()
	m := map[string]any{
		"appio_up":              number(err == nil && h.Err == nil),
		"appio_decisions_total": c.Decided,
		"appio_attempts_total":  c.Attempts,
		"appio_limited_total":   c.Limited,
		"appio_outages_total":   c.Outages,
	}
	if err == nil {
		m["appio_deliveries_waiting"] = h.Waiting
		m["appio_deliveries_oldest_due_seconds"] = h.OldestDue.Seconds()
		m["appio_deliveries_parked"] = h.Parked
		m["appio_deliveries_paused"] = h.Paused
		m["appio_channels_resting"] = len(h.Resting)
		m["appio_records_quarantined"] = h.Quarantined
	}
	if h.Size.Bytes > 0 {
		m["appio_store_bytes"] = h.Size.Bytes
		m["appio_store_free_bytes"] = h.Size.Free
	}
	b, err := json.Marshal(m)
	if err != nil {
		return "null" // nothing here cannot be encoded
	}
	return string(b)
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// size is that of the store; zero if it does not tell.
func (e *Engine) size() store.Size {
	size, _, err := store.SizeOf(e.store)
	if err != nil {
		return store.Size{}
	}
	return size
}

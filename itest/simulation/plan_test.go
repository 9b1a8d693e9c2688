package simulation

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// A plan is all that is drawn before a world begins.
type plan struct {
	seed      uint64
	processes int
	citizens  int
	services  int
	plain     bool          // records with checksums: what is left of an erased person shows in the store
	workers   int           // of each channel
	rate      float64       // of the batch channel; 0: none
	attempts  int           // before a delivery is parked
	alone     bool          // the one process knows that no other is on the store
	dies      bool          // the part with faults ends with a crash
	skew      time.Duration // by which the clocks of processes may differ
	patience  time.Duration // of a provider that works: the most that it takes
	leaps     bool          // the clock leaps by hours: with one process only, since two may differ by MaxSkew
	quiet     bool          // push and letters interrupt, and citizens choose quiet hours
	fallback  time.Duration // after which e-mail stands in for push; 0: it goes in any case
	digests   bool          // citizens choose digests
	weather   weather
	ahead     []time.Duration // each process's clock, of the true time, at first
	steps     []step
	length    time.Duration // of the part with faults
}

// weather is how often, in a thousand calls, something goes wrong.
type weather struct {
	aborted, unknown, conflict, failed, crash int // of commits
	unread                                    int // of reads
	torn                                      int // of reads: the owners of one call are of different moments
	partial                                   int // of looks at the queues of due work
	slow                                      int // of all of them
	channel                                   int // of a channel's calls
}

// A step is what somebody does, or what befalls somebody, at a time.
type step struct {
	number  int
	at      time.Duration
	kind    string
	citizen int
	service int
	process int
}

func (s step) String() string {
	return fmt.Sprintf("step %d at %v: %s, citizen %d, service %d, process %d", s.number, s.at, s.kind, s.citizen, s.service, s.process)
}

// kinds are drawn as often as they stand here.
var kinds = []string{
	"send", "send", "send", "send", "send", "send", "send", "send", "batch", "batch", "repeat", "repeat",
	"mode", "preference", "preference", "preference", "switches", "switches", "address", "withdraw", "withdraw",
	"read", "archive", "inbox", "inbox", "backwards", "consents", "status", "contact", "erase",
	"stop", "start", "start", "secure", "activate", "key", "usekey", "replay", "health",
	"pause", "resume", "resume",
}

// mishaps befall processes and the store.
var mishaps = []string{"crash", "crash", "restart", "freeze", "freeze", "clock", "clock", "clock", "clock", "away", "full", "failed"}

// drift is how far a clock is ahead that is as good as it has to be.
func (p *plan) drift(r *rand.Rand) time.Duration {
	return chosen(r, -p.skew/2, p.skew/2, time.Duration(r.Int64N(int64(p.skew)))-p.skew/2)
}

// newPlan is a plan in whose world citizens may have quiet hours and digests, and e-mail may stand in for push.
func newPlan(seed uint64) plan {
	p, r := basicPlan(seed)
	if p.quiet = r.IntN(2) == 0; p.quiet {
		for i := range p.steps {
			if r.IntN(10) == 0 {
				p.steps[i].kind = "quiet"
			}
		}
	}
	if r.IntN(2) == 0 {
		p.fallback = between(r, time.Second, 10*time.Minute)
	}
	if p.digests = r.IntN(2) == 0; p.digests {
		for i := range p.steps {
			if r.IntN(8) == 0 {
				p.steps[i].kind = "digest"
			}
		}
	}
	return p
}

// basicPlan is one without, and what the rest of it may be drawn from.
func basicPlan(seed uint64) (plan, *rand.Rand) {
	r := rand.New(rand.NewPCG(seed, 1))
	p := plan{
		seed: seed, processes: chosen(r, 1, 2, 2), citizens: 2 + r.IntN(4), services: 2 + r.IntN(2), plain: r.IntN(2) == 0,
		workers: chosen(r, 1, 1, 2, 16), rate: chosen(r, 0.0, 0, 5), attempts: chosen(r, 3, 5, 10),
		length: between(r, 20*time.Second, 20*time.Minute),
	}
	p.alone = p.processes == 1 && r.IntN(2) == 0
	p.leaps = p.processes == 1 && r.IntN(2) == 0
	p.skew = chosen(r, 2*time.Second, 6*time.Second, 16*time.Second)
	for range p.processes {
		p.ahead = append(p.ahead, p.drift(r))
	}
	p.patience = chosen(r, 50*time.Millisecond, 3*time.Second, 19*time.Second)
	p.dies = r.IntN(2) == 0
	p.weather = weather{
		aborted: chosen(r, 0, 0, 20, 200), unknown: chosen(r, 0, 0, 20, 100), conflict: chosen(r, 0, 20, 200),
		failed: chosen(r, 0, 0, 0, 2), crash: chosen(r, 0, 0, 2, 10), unread: chosen(r, 0, 0, 20, 100), torn: chosen(r, 0, 100, 500),
		partial: chosen(r, 0, 100, 500), slow: chosen(r, 0, 10, 100), channel: chosen(r, 0, 100, 400, 700),
	}
	troubled := r.IntN(8) > 0
	if !troubled {
		p.weather = weather{}
	}
	n := 30 + r.IntN(70)
	at := time.Duration(0)
	mean := p.length / time.Duration(n)
	for i := range n {
		at += between(r, mean/50+1, 3*mean)
		s := step{number: i, at: at, kind: chosen(r, kinds...), citizen: r.IntN(p.citizens), service: r.IntN(p.services), process: r.IntN(p.processes)}
		if troubled && r.IntN(10) == 0 {
			s.kind = chosen(r, mishaps...)
		}
		p.steps = append(p.steps, s)
	}
	p.length = at + between(r, time.Second, 2*time.Minute)
	return p, r
}

package workload

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store"
)

// Options say what a [Run] is of.
type Options struct {
	Store    store.Store // nil: a bbolt file in Dir
	Dir      string      // of the file; it may have one of an earlier run
	Citizens int         // up to MaxCitizens
	Plain    bool        // checksums instead of sealing
}

// Path is where the file is.
func (o Options) Path() string { return filepath.Join(o.Dir, "bench.db") }

// A Run is an engine with what was sent through it. It is for one goroutine.
type Run struct {
	Options
	eng                *appio.Engine
	delivered          atomic.Int64 // what the channels got
	accepted, outcomes int          // of all Sends
}

// A Load is what one call of [Run.Send] sends.
type Load struct {
	Messages int
	Senders  int // goroutines
	Batch    int // messages in one call
	Services int // that send; 0: all

	// Watch, if set, is called as each call begins, and what it returns with how long the call took, by many goroutines.
	Watch func() (ended func(took time.Duration))
}

// Sent is what came of a load.
type Sent struct {
	Took      time.Duration   // from the first call to the last outcome committed
	Latencies []time.Duration // of one Send or SendBatch each, shortest first
	Accepted  int
	Refused   int
	Outcomes  int // deliveries done, and committed as such
}

// Percentile is the latency that p hundredths of the calls did not exceed.
func (s Sent) Percentile(p int) time.Duration {
	return s.Latencies[min(len(s.Latencies)*p/100, len(s.Latencies)-1)]
}

// Open opens the engine of a run.
func Open(o Options) (*Run, error) {
	r := &Run{Options: o}
	return r, r.open()
}

func (r *Run) open() (err error) {
	deliver := appio.ChannelFunc(func(context.Context, appio.Delivery) error {
		r.delivered.Add(1)
		return nil
	})
	o := &appio.Options{Plain: r.Plain, Channels: []appio.Route{
		{Name: appio.Email, Channel: deliver},
		{Name: appio.Push, Channel: deliver, Default: appio.Generic, Secure: appio.Generic, Unvalidated: true},
	}}
	if r.Store != nil {
		o.Keys = appio.RandomKeys()
		r.eng, err = appio.New(r.Store, o)
		return err
	}
	r.eng, err = appio.Open(r.Path(), o)
	return err
}

// Reopen closes the engine and opens it again, where there is a file.
func (r *Run) Reopen() error {
	if r.Store != nil {
		return nil
	}
	if err := r.eng.Close(); err != nil {
		return err
	}
	return r.open()
}

// Close closes the engine.
func (r *Run) Close() error { return r.eng.Close() }

// Preload makes the services, and citizens of whom a fifth refuses: those chose MANUAL.
func (r *Run) Preload(ctx context.Context) error {
	for n := range Services {
		if err := r.eng.PutService(ctx, Service(n)); err != nil {
			return err
		}
	}
	p := NewProgress("citizens", r.Citizens)
	defer p.End()
	return Parallel(ctx, 1024, r.Citizens, 1, func(n, _ int) error {
		c := r.eng.Citizen(appio.Identity{Code: Person(n), Level: appio.L2, Provider: "cie"})
		err := c.UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Mode, p.Inbox, p.Languages = appio.Auto, true, []string{"it"}
			if Refuses(n) {
				p.Mode = appio.Manual
			}
			p.Channels[appio.Push] = appio.Generic
			if Channels(n) == 2 {
				p.Channels[appio.Email] = appio.Full
			}
			p.Addresses = Addresses(n)
			return nil
		})
		for i := range Preferences {
			if err == nil {
				err = c.SetPreference(ctx, ServiceID(PreferenceFor(n, i)), appio.Preference{
					Inbox: !Refuses(n), Channels: appio.On(appio.Email, appio.Push),
				})
			}
		}
		p.Add(1)
		return err
	})
}

// Send sends everything and waits for the last outcome.
func (r *Run) Send(ctx context.Context, l Load) (Sent, error) {
	if l.Services == 0 {
		l.Services = Services
	}
	runCtx, stop := context.WithCancel(ctx)
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- r.eng.Run(runCtx) }()
	p := NewProgress("messages", l.Messages)
	var mu sync.Mutex
	var sent Sent
	var expected atomic.Int64 // outcomes
	before := r.delivered.Load()
	start := time.Now()
	err := Parallel(ctx, l.Senders, l.Messages, l.Batch, func(from, to int) error {
		ms := make([]appio.Message, to-from)
		who := make([]int, to-from)
		for i := range ms {
			who[i] = rand.IntN(r.Citizens)
			ms[i] = Message(Person(who[i]), from+i)
		}
		s := r.eng.Sender(ServiceID(rand.IntN(l.Services)))
		ended := func(time.Duration) {}
		if l.Watch != nil {
			ended = l.Watch()
		}
		at := time.Now()
		var rs []appio.Result
		var err error
		if len(ms) == 1 {
			var r appio.Result
			r, err = s.Send(ctx, ms[0])
			rs = []appio.Result{r}
		} else {
			rs, err = s.SendBatch(ctx, ms)
		}
		d := time.Since(at)
		ended(d)
		if err != nil {
			return err
		}
		refused := 0
		for i, r := range rs {
			if r.Status == appio.Rejected {
				refused++
			} else {
				expected.Add(int64(Channels(who[i])))
			}
		}
		mu.Lock()
		sent.Latencies = append(sent.Latencies, d)
		sent.Refused += refused
		mu.Unlock()
		p.Add(to - from)
		return nil
	})
	p.End()
	for err == nil && r.delivered.Load()-before < expected.Load() && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	stop() // Run drains: it returns when every outcome is committed
	if e := <-ran; err == nil {
		err = e
	}
	sent.Took = time.Since(start)
	if err == nil {
		err = ctx.Err()
	}
	sent.Accepted = l.Messages - sent.Refused
	r.accepted += sent.Accepted
	sent.Outcomes = int(expected.Load())
	r.outcomes += sent.Outcomes
	slices.Sort(sent.Latencies)
	return sent, err
}

// Count is what the store holds.
type Count struct {
	Inbox    int // messages in the citizens' inboxes
	Outcomes int // deliveries recorded as done
	Health   appio.Health
}

// Count reads every citizen's inbox.
func (r *Run) Count(ctx context.Context) (Count, error) {
	p := NewProgress("verified", r.Citizens)
	defer p.End()
	var inbox, outcomes atomic.Int64
	err := Parallel(ctx, 8, r.Citizens, 1, func(n, _ int) error {
		c := r.eng.Citizen(appio.Identity{Code: Person(n), Level: appio.L2})
		for m, err := range c.Inbox(nil).All(ctx) {
			if err != nil {
				return err
			}
			inbox.Add(1)
			d, err := c.Explain(ctx, m.ID)
			if err != nil {
				return err
			}
			for _, o := range d.Outcomes {
				if o.Result == appio.OutcomeDelivered {
					outcomes.Add(1)
				}
			}
		}
		p.Add(1)
		return nil
	})
	h, err2 := r.eng.Health(ctx)
	if err == nil {
		err = err2
	}
	return Count{int(inbox.Load()), int(outcomes.Load()), h}, err
}

// Verify counts what the store holds: every accepted message in an inbox, every outcome recorded, and nothing left to deliver.
// ok is false, and stderr says what differs, if that is not so.
func (r *Run) Verify(ctx context.Context) (c Count, ok bool, err error) {
	c, err = r.Count(ctx)
	ok = c.Inbox == r.accepted && c.Outcomes == r.outcomes && c.Health.Waiting == 0 && c.Health.Parked == 0 && c.Health.Quarantined == 0
	if !ok {
		fmt.Fprintf(os.Stderr, "sent: %d accepted, %d outcomes; stored: %d and %d; %+v\n", r.accepted, r.outcomes, c.Inbox, c.Outcomes, c.Health)
	}
	return c, ok, err
}

// FileBytes is how long the store's files are.
func (r *Run) FileBytes() (n int64) {
	if r.Store != nil {
		return 0
	}
	_ = filepath.WalkDir(r.Dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

// Engine is the engine of the run.
func (r *Run) Engine() *appio.Engine { return r.eng }

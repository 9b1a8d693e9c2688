package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/appio-go/appio/internal/workload"
)

// size is how much work there is.
type size struct {
	Citizens int `json:"citizens"`
	Messages int `json:"messages"`
	Senders  int `json:"senders"`
}

// result is what one contender did in one round. Zero fields were not measured, or have no meaning for it.
type result struct {
	Contender string `json:"contender"`
	Round     int    `json:"round"`
	size
	DeliveriesPerS float64 `json:"deliveries_per_s"` // all messages, refused or accepted, from the first call to the last outcome
	AcceptedPerS   float64 `json:"accepted_per_s"`   // those not refused, over the same time
	SendP50        int64   `json:"send_p50_us,omitempty"`
	SendP99        int64   `json:"send_p99_us,omitempty"`
	SendMax        int64   `json:"send_max_us,omitempty"`
	Refused        int     `json:"refused"`
	Outcomes       int     `json:"outcomes"`
	CPUPer         float64 `json:"cpu_us_per_delivery,omitempty"`        // of this process and a server's
	FaultsPer      float64 `json:"major_faults_per_delivery,omitempty"`  // likewise: pages that were waited for until the disk had read them
	WrittenPer     float64 `json:"written_bytes_per_delivery,omitempty"` // to files; of a server, its log alone
	FilePer        float64 `json:"file_bytes_per_message,omitempty"`
	RSSBytes       int64   `json:"rss_bytes"`                  // the peak of this process, without a server's
	SyncP50        int64   `json:"fdatasync_p50_us,omitempty"` // of 4 KiB overwritten, measured beside it
	SendP50PerSync float64 `json:"send_p50_in_fdatasyncs,omitempty"`
	Verified       bool    `json:"verified"` // what is stored is what was sent
}

// A request is one message to accept.
type request struct {
	id      int64 // rises with time
	citizen int
	service int
	n       int
	answer  chan answer
}

type answer struct {
	channels int // 0: refused
	err      error
}

// counts is what a store holds, or should.
type counts struct {
	Accepted int // messages with content, decision, status and an inbox entry
	Refused  int // decisions that refuse
	Outcomes int // deliveries recorded as done
	Left     int // deliveries not done
}

// A contender does whole deliveries its own way.
type contender interface {
	// preload stores services, citizens and their preferences.
	preload(ctx context.Context, citizens int) error
	// start begins to accept and to deliver.
	start(ctx context.Context) error
	// accept decides and returns when what follows from it is durable.
	accept(ctx context.Context, r request) answer
	// finish returns when that many outcomes are durable, and ends what start began.
	finish(ctx context.Context, outcomes int) error
	// count counts what the store holds, by reading it.
	count(ctx context.Context) (counts, error)
	close() error
}

// deliver puts a contender through the work and checks what it stored.
func deliver(ctx context.Context, c contender, s size) (res result, err error) {
	res.size = s
	note("preloading")
	if err := c.preload(ctx, s.Citizens); err != nil {
		return res, err
	}
	logged := func() (int64, error) { return 0, nil }
	if s, ok := c.(interface {
		logged(context.Context) (int64, error)
	}); ok {
		logged = func() (int64, error) { return s.logged(ctx) }
	}
	logBefore, err := logged()
	if err != nil {
		return res, err
	}
	before := used()
	start := time.Now()
	if err := c.start(ctx); err != nil {
		return res, err
	}
	var mu sync.Mutex
	latencies := make([]time.Duration, 0, s.Messages)
	var sent counts
	var id atomic.Int64
	p := workload.NewProgress("messages", s.Messages)
	err = workload.Parallel(ctx, s.Senders, s.Messages, 1, func(n, _ int) error {
		at := time.Now()
		a := c.accept(ctx, request{
			id: id.Add(1), citizen: rand.IntN(s.Citizens), service: rand.IntN(workload.Services), n: n, answer: make(chan answer, 1),
		})
		if a.err != nil {
			return a.err
		}
		d := time.Since(at)
		mu.Lock()
		latencies = append(latencies, d)
		sent.Outcomes += a.channels
		if a.channels == 0 {
			sent.Refused++
		} else {
			sent.Accepted++
		}
		mu.Unlock()
		p.Add(1)
		return nil
	})
	p.End()
	if err == nil {
		err = c.finish(ctx, sent.Outcomes)
	}
	if err != nil {
		return res, err
	}
	took := time.Since(start)
	res.use(before)
	logAfter, err := logged()
	if err != nil {
		return res, err
	}
	if logAfter > 0 {
		res.WrittenPer = float64(logAfter-logBefore) / float64(s.Messages)
	}
	slices.Sort(latencies)
	res.DeliveriesPerS = float64(s.Messages) / took.Seconds()
	res.AcceptedPerS = float64(sent.Accepted) / took.Seconds()
	res.SendP50 = latencies[len(latencies)/2].Microseconds()
	res.SendP99 = latencies[len(latencies)*99/100].Microseconds()
	res.SendMax = latencies[len(latencies)-1].Microseconds()
	note("counting")
	stored, err := c.count(ctx)
	if err != nil {
		return res, err
	}
	res.Refused, res.Outcomes = stored.Refused, stored.Outcomes
	return res, res.compare(sent, stored)
}

// errLoss says that a store does not hold what was sent.
var errLoss = errors.New("the store does not hold what was sent")

func (r *result) compare(sent, stored counts) error {
	r.Verified = sent == stored
	if !r.Verified {
		return fmt.Errorf("%w: sent %+v, stored %+v", errLoss, sent, stored)
	}
	return nil
}

// queue joins what many senders ask for into batches: what came while the last one was committed is the next.
type queue chan request

// take waits for a request and takes it with those that wait already, up to max. It is empty when ctx ends.
func (q queue) take(ctx context.Context, max int) []request {
	select {
	case r := <-q:
		return append([]request{r}, q.poll(max-1)...)
	case <-ctx.Done():
		return nil
	}
}

// poll takes what waits already, up to max.
func (q queue) poll(max int) (rs []request) {
	for len(rs) < max {
		select {
		case r := <-q:
			rs = append(rs, r)
		default:
			return rs
		}
	}
	return rs
}

// ask puts a request and waits for its answer.
func (q queue) ask(ctx context.Context, r request) answer {
	select {
	case q <- r:
	case <-ctx.Done():
		return answer{err: ctx.Err()}
	}
	select {
	case a := <-r.answer:
		return a
	case <-ctx.Done():
		return answer{err: ctx.Err()}
	}
}

func fail(rs []request, err error) {
	for _, r := range rs {
		r.answer <- answer{err: err}
	}
}

func note(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

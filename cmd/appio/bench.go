package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"

	"github.com/appio-go/appio/internal/workload"
	"github.com/appio-go/appio/store/memstore"
)

// report is the line that bench prints. Its names are a stable format.
type report struct {
	Store               string  `json:"store"`
	Citizens            int     `json:"citizens"`
	Messages            int     `json:"messages"`
	Senders             int     `json:"senders"`
	Batch               int     `json:"batch"`
	DeliveriesPerS      float64 `json:"deliveries_per_s"` // all messages, refused or accepted, over the time from the first Send to the last outcome
	AcceptedPerS        float64 `json:"accepted_per_s"`   // those stored as PROCESSED, over the same time
	SendP50             int64   `json:"send_p50_us"`      // of one Send or SendBatch
	SendP99             int64   `json:"send_p99_us"`
	SendMax             int64   `json:"send_max_us"`
	Refused             int     `json:"refused"`
	Outcomes            int     `json:"outcomes"`
	FileBytesPerMessage float64 `json:"file_bytes_per_message"`
	RSSBytes            int64   `json:"rss_bytes"`
	Recovered           bool    `json:"recovered"`
}

func bench(ctx context.Context, args []string) error {
	var rep report
	var o workload.Options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&rep.Store, "store", "bolt", "bolt or mem")
	f.StringVar(&o.Dir, "dir", "", "where the file is made; empty: a temporary folder")
	f.IntVar(&rep.Citizens, "citizens", 100_000, "citizens with a profile and three preferences, before the clock starts")
	f.IntVar(&rep.Messages, "messages", 100_000, "messages to send")
	f.IntVar(&rep.Senders, "senders", 64, "goroutines that send")
	f.IntVar(&rep.Batch, "batch", 1, "messages in one call")
	f.BoolVar(&o.Plain, "plain", false, "checksums instead of sealing, for comparison")
	if err := f.Parse(args); err != nil {
		return err
	}
	if rep.Store != "bolt" && rep.Store != "mem" {
		return errors.New("bench: -store is bolt or mem")
	}
	if rep.Citizens < 1 || rep.Citizens > workload.MaxCitizens || rep.Messages < 1 || rep.Senders < 1 || rep.Batch < 1 {
		return errors.New("bench: -citizens (at most 11,881,376), -messages, -senders and -batch are 1 or more")
	}
	o.Citizens = rep.Citizens
	if rep.Store == "mem" {
		o.Store = memstore.New()
	}
	if o.Dir == "" {
		dir, err := os.MkdirTemp("", "appio-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.Dir = dir
	}
	if _, err := os.Stat(o.Path()); o.Store == nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.New("bench: the folder has a bench.db already")
	}
	return rep.measure(ctx, o)
}

func (rep *report) measure(ctx context.Context, o workload.Options) error {
	r, err := workload.Open(o)
	if err != nil {
		return err
	}
	if err := r.Preload(ctx); err != nil {
		return err
	}
	before := r.FileBytes()
	sent, err := r.Send(ctx, workload.Load{Messages: rep.Messages, Senders: rep.Senders, Batch: rep.Batch})
	if err != nil {
		return err
	}
	if err := r.Reopen(); err != nil { // what the file is once everything is in its place
		return err
	}
	rep.FileBytesPerMessage = float64(r.FileBytes()-before) / float64(rep.Messages)
	rep.DeliveriesPerS = float64(rep.Messages) / sent.Took.Seconds()
	rep.AcceptedPerS = float64(sent.Accepted) / sent.Took.Seconds()
	rep.SendP50 = sent.Percentile(50).Microseconds()
	rep.SendP99 = sent.Percentile(99).Microseconds()
	rep.SendMax = sent.Percentile(100).Microseconds()
	rep.Refused = sent.Refused
	count, ok, err := r.Verify(ctx)
	if err != nil {
		return err
	}
	rep.Outcomes, rep.Recovered = count.Outcomes, ok
	rep.RSSBytes = workload.PeakRSS()
	if err := r.Close(); err != nil {
		return err
	}
	line, err := json.Marshal(rep)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	if !rep.Recovered {
		return errors.New("bench: the store does not hold what was sent")
	}
	return nil
}

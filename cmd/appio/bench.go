package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"runtime/pprof"

	"golang.org/x/sync/errgroup"

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

	*backups // with -backup
}

var benchCommand = &command{
	name: "bench", args: "[flags]", what: "measures whole deliveries, and verifies the result",
	about: `bench has services send to citizens: the engine decides, stores, delivers by channels that do nothing, and records
the outcome. It prints one JSON line and exits with 1 if the store's counts are not those sent. "appio bench -h"
lists its flags.`,
	run: func(ctx context.Context, c *call) error { return bench(ctx, c.rest) },
}

func bench(ctx context.Context, args []string) error {
	workload.CollectRarely()
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
	backup := f.Bool("backup", false, "make backups while sending, and compare; needs -store bolt")
	profile := f.String("cpuprofile", "", "a file that gets a profile of the processor's time while sending")
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return &usageError{"bench: " + err.Error()}
	}
	if rep.Store != "bolt" && rep.Store != "mem" {
		return &usageError{"bench: -store is bolt or mem"}
	}
	if *backup && rep.Store != "bolt" {
		return &usageError{"bench: -backup needs -store bolt"}
	}
	if *backup {
		rep.backups = &backups{}
	}
	if rep.Citizens < 1 || rep.Citizens > workload.MaxCitizens || rep.Messages < 1 || rep.Senders < 1 || rep.Batch < 1 {
		return &usageError{"bench: -citizens (at most 11,881,376), -messages, -senders and -batch are 1 or more"}
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
	return rep.measure(ctx, o, *profile)
}

func (rep *report) measure(ctx context.Context, o workload.Options, profile string) error {
	r, err := workload.Open(o)
	if err != nil {
		return err
	}
	if err := r.Preload(ctx); err != nil {
		return err
	}
	before := r.FileBytes()
	sent, err := rep.send(ctx, r, profile)
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

// send sends, with a profile and backups if they were asked for.
func (rep *report) send(ctx context.Context, r *workload.Run, profile string) (sent workload.Sent, err error) {
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return sent, err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return sent, err
		}
		defer pprof.StopCPUProfile()
	}
	l := workload.Load{Messages: rep.Messages, Senders: rep.Senders, Batch: rep.Batch}
	if rep.backups == nil {
		return r.Send(ctx, l)
	}
	l.Watch = rep.watch
	running, stop := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error { return rep.run(running, r.Engine(), r.Dir) })
	sent, err = r.Send(ctx, l)
	stop()
	if e := g.Wait(); err == nil {
		err = e
	}
	rep.SendP99Backup, rep.SendP99Otherwise = p99(rep.during), p99(rep.between)
	return sent, err
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
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

// backups is what bench saw of backups that were made while it sent.
type backups struct {
	Backups          int     `json:"backups"`  // that ended before sending did
	BackupS          float64 `json:"backup_s"` // of one
	BackupBytes      int64   `json:"backup_bytes"`
	SendP99Backup    int64   `json:"send_p99_backup_us"`    // of a Send or SendBatch that began and ended during a backup
	SendP99Otherwise int64   `json:"send_p99_no_backup_us"` // of one that was at no moment during a backup

	underWay atomic.Int64 // odd: a backup is under way; counts their beginnings and ends
	during   []time.Duration
	between  []time.Duration
}

// saw takes the latency of a send that began when underWay was before.
func (b *backups) saw(before int64, d time.Duration) {
	switch {
	case b.underWay.Load() != before:
	case before%2 == 1:
		b.during = append(b.during, d)
	default:
		b.between = append(b.between, d)
	}
}

// run makes backups, with pauses as long as they took, until ctx ends.
func (b *backups) run(ctx context.Context, eng *appio.Engine, dir string) error {
	pause := time.Second
	for {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		f, err := os.Create(filepath.Join(dir, "bench.backup"))
		if err != nil {
			return err
		}
		start := time.Now()
		b.underWay.Add(1)
		err = eng.Backup(ctx, f)
		b.underWay.Add(1)
		pause = time.Since(start)
		info, err2 := f.Stat()
		err = errors.Join(err, err2, f.Close(), os.Remove(f.Name()))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		b.BackupS = (b.BackupS*float64(b.Backups) + pause.Seconds()) / float64(b.Backups+1)
		b.BackupBytes = info.Size()
		b.Backups++
	}
}

func p99(ds []time.Duration) int64 {
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return ds[len(ds)*99/100].Microseconds()
}

const benchServices = 200

type benchmark struct {
	report
	dir   string
	plain bool
	eng   *appio.Engine
	count atomic.Int64 // deliveries that the channels got
}

var benchCommand = &command{
	name: "bench", args: "[flags]", what: "measures whole deliveries, and verifies the result",
	about: `bench has services send to citizens: the engine decides, stores, delivers by channels that do nothing, and records
the outcome. It prints one JSON line and exits with 1 if the store's counts are not those sent. "appio bench -h"
lists its flags.`,
	run: func(ctx context.Context, c *call) error { return bench(ctx, c.rest) },
}

func bench(ctx context.Context, args []string) error {
	b := &benchmark{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&b.Store, "store", "bolt", "bolt or mem")
	f.StringVar(&b.dir, "dir", "", "where the file is made; empty: a temporary folder")
	f.IntVar(&b.Citizens, "citizens", 100_000, "citizens with a profile and three preferences, before the clock starts")
	f.IntVar(&b.Messages, "messages", 100_000, "messages to send")
	f.IntVar(&b.Senders, "senders", 64, "goroutines that send")
	f.IntVar(&b.Batch, "batch", 1, "messages in one call")
	backup := f.Bool("backup", false, "make backups while sending, and compare; needs -store bolt")
	f.BoolVar(&b.plain, "plain", false, "checksums instead of sealing, for comparison")
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return &usageError{"bench: " + err.Error()}
	}
	if b.Store != "bolt" && b.Store != "mem" {
		return &usageError{"bench: -store is bolt or mem"}
	}
	if b.Citizens < 1 || b.Citizens > 26*26*26*26*26 || b.Messages < 1 || b.Senders < 1 || b.Batch < 1 {
		return &usageError{"bench: -citizens (at most 11,881,376), -messages, -senders and -batch are 1 or more"}
	}
	if *backup && b.Store != "bolt" {
		return &usageError{"bench: -backup needs -store bolt"}
	}
	if *backup {
		b.backups = &backups{}
	}
	if b.dir == "" {
		dir, err := os.MkdirTemp("", "appio-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		b.dir = dir
	}
	return b.run(ctx)
}

func (b *benchmark) path() string { return filepath.Join(b.dir, "bench.db") }

func (b *benchmark) open() (err error) {
	deliver := appio.ChannelFunc(func(context.Context, appio.Delivery) error {
		b.count.Add(1)
		return nil
	})
	o := &appio.Options{Plain: b.plain, Channels: []appio.Route{
		{Name: appio.Email, Channel: deliver},
		{Name: appio.Push, Channel: deliver, Default: appio.Generic, Secure: appio.Generic, Unvalidated: true},
	}}
	if b.Store == "mem" {
		if b.eng == nil {
			o.Keys = appio.RandomKeys()
			b.eng, err = appio.New(memstore.New(), o)
		}
		return err
	}
	b.eng, err = appio.Open(b.path(), o)
	return err
}

func (b *benchmark) run(ctx context.Context) error {
	if _, err := os.Stat(b.path()); b.Store == "bolt" && !errors.Is(err, fs.ErrNotExist) {
		return errors.New("bench: the folder has a bench.db already")
	}
	if err := b.open(); err != nil {
		return err
	}
	if err := b.preload(ctx); err != nil {
		return err
	}
	before := b.fileBytes()
	took, latencies, err := b.send(ctx)
	if err != nil {
		return err
	}
	if b.Store == "bolt" { // what the file is once everything is in its place
		if err := b.eng.Close(); err != nil {
			return err
		}
		if err := b.open(); err != nil {
			return err
		}
	}
	accepted := b.Messages - b.Refused
	b.FileBytesPerMessage = float64(b.fileBytes()-before) / float64(b.Messages)
	b.DeliveriesPerS = float64(b.Messages) / took.Seconds()
	b.AcceptedPerS = float64(accepted) / took.Seconds()
	slices.Sort(latencies)
	b.SendP50 = latencies[len(latencies)/2].Microseconds()
	b.SendP99 = latencies[len(latencies)*99/100].Microseconds()
	b.SendMax = latencies[len(latencies)-1].Microseconds()
	if b.backups != nil {
		b.SendP99Backup, b.SendP99Otherwise = p99(b.during), p99(b.between)
	}
	b.Recovered, err = b.verify(ctx, accepted)
	if err != nil {
		return err
	}
	b.RSSBytes = peakRSS()
	if err := b.eng.Close(); err != nil {
		return err
	}
	line, err := json.Marshal(b.report)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	if !b.Recovered {
		return errors.New("bench: the store does not hold what was sent")
	}
	return nil
}

// person is a well-formed code for each number.
func person(n int) fiscalcode.Person {
	c := []byte("AAAAAA80A01H501A")
	for i := 4; i >= 0; i-- {
		c[i] = 'A' + byte(n%26)
		n /= 26
	}
	return fiscalcode.Person(c)
}

func serviceID(n int) appio.ServiceID { return appio.ServiceID(fmt.Sprintf("service-%03d", n)) }

// preload makes the services, and citizens of whom a fifth refuses: those chose MANUAL.
func (b *benchmark) preload(ctx context.Context) error {
	for n := range benchServices {
		err := b.eng.PutService(ctx, appio.Service{
			ID: serviceID(n), Name: fmt.Sprintf("Servizio %d", n), Organization: "01199250158", State: appio.Live, MaxPayment: 1000_00,
		})
		if err != nil {
			return err
		}
	}
	p := newProgress("citizens", b.Citizens)
	defer p.end()
	proved := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return parallel(ctx, 1024, b.Citizens, 1, func(from, to int) error {
		c := b.eng.Citizen(appio.Identity{Code: person(from), Level: appio.L2, Provider: "cie"})
		err := c.UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Mode, p.Inbox, p.Languages = appio.Auto, true, []string{"it"}
			if from%5 == 0 {
				p.Mode = appio.Manual
			}
			p.Channels[appio.Push] = appio.Generic
			if from%2 == 0 { // half have e-mail too: one delivery and a half for each message
				p.Channels[appio.Email] = appio.Full
			}
			p.Addresses = []appio.Address{
				{Channel: appio.Email, Value: fmt.Sprintf("cittadino.%d@posta.example.it", from), ValidatedAt: proved},
				{Channel: appio.Push, Value: strings.Repeat("0123456789abcdef", 4)},
			}
			return nil
		})
		for i := range 3 { // services beyond those that send, so that the mode decides
			if err == nil {
				err = c.SetPreference(ctx, serviceID((from+i*67)%benchServices), appio.Preference{
					Inbox: from%5 != 0, Channels: appio.On(appio.Email, appio.Push),
				})
			}
		}
		p.add(1)
		return err
	})
}

func message(to fiscalcode.Person, n int) appio.Message {
	m := appio.Message{
		To:       to,
		Subject:  "Avviso numero " + fmt.Sprintf("%09d", n) + " del servizio, con i dettagli",
		Markdown: strings.Repeat("Gentile cittadino, questo avviso riguarda il servizio. ", 11),
	}
	if n%2 == 0 {
		m.Payment = &appio.Notice{Number: "302032002700000251", Amount: 150_00}
	}
	return m
}

// send sends everything and waits for the last outcome.
func (b *benchmark) send(ctx context.Context) (took time.Duration, latencies []time.Duration, err error) {
	runCtx, stop := context.WithCancel(ctx)
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- b.eng.Run(runCtx) }()
	var copying errgroup.Group
	copyCtx, endCopying := context.WithCancel(ctx)
	defer endCopying()
	if b.backups != nil {
		copying.Go(func() error { return b.backups.run(copyCtx, b.eng, b.dir) })
	}
	p := newProgress("messages", b.Messages)
	var mu sync.Mutex
	var expected atomic.Int64
	start := time.Now()
	err = parallel(ctx, b.Senders, b.Messages, b.Batch, func(from, to int) error {
		ms := make([]appio.Message, to-from)
		who := make([]int, to-from)
		for i := range ms {
			who[i] = rand.IntN(b.Citizens)
			ms[i] = message(person(who[i]), from+i)
		}
		s := b.eng.Sender(serviceID(rand.IntN(benchServices)))
		var copies int64
		if b.backups != nil {
			copies = b.backups.underWay.Load()
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
		refused := 0
		for i, r := range rs {
			if r.Status == appio.Rejected {
				refused++
			} else if who[i]%2 == 0 {
				expected.Add(2)
			} else {
				expected.Add(1)
			}
		}
		mu.Lock()
		latencies = append(latencies, d)
		if b.backups != nil {
			b.backups.saw(copies, d)
		}
		b.Refused += refused
		mu.Unlock()
		p.add(to - from)
		return err
	})
	p.end()
	endCopying()
	if e := copying.Wait(); err == nil {
		err = e
	}
	for err == nil && b.count.Load() < expected.Load() && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	stop() // Run drains: it returns when every outcome is committed
	if e := <-ran; err == nil {
		err = e
	}
	took = time.Since(start)
	b.Outcomes = int(expected.Load())
	if err == nil {
		err = ctx.Err()
	}
	return took, latencies, err
}

// verify counts what the store holds, for every citizen: messages in inboxes, and nothing left to deliver.
func (b *benchmark) verify(ctx context.Context, accepted int) (bool, error) {
	p := newProgress("verified", b.Citizens)
	defer p.end()
	var inbox, outcomes atomic.Int64
	err := parallel(ctx, 8, b.Citizens, 1, func(from, to int) error {
		c := b.eng.Citizen(appio.Identity{Code: person(from), Level: appio.L2})
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
		p.add(1)
		return nil
	})
	h, err2 := b.eng.Health(ctx)
	if err == nil {
		err = err2
	}
	got := int(outcomes.Load())
	ok := int(inbox.Load()) == accepted && got == b.Outcomes && h.Waiting == 0 && h.Parked == 0 && h.Quarantined == 0
	if !ok {
		fmt.Fprintf(os.Stderr, "sent: %d accepted, %d outcomes; stored: %d and %d; %+v\n", accepted, b.Outcomes, inbox.Load(), got, h)
	}
	b.Outcomes = got
	return ok, err
}

func (b *benchmark) fileBytes() (n int64) {
	if b.Store != "bolt" {
		return 0
	}
	_ = filepath.WalkDir(b.dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

// parallel calls f for parts of [0, n) from some goroutines, until one fails.
func parallel(ctx context.Context, goroutines, n, part int, f func(from, to int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, goroutines)
	stop := make(chan struct{})
	var once sync.Once
	for range goroutines {
		wg.Go(func() {
			for {
				from := int(next.Add(int64(part))) - part
				if from >= n || ctx.Err() != nil {
					return
				}
				select {
				case <-stop:
					return
				default:
				}
				if err := f(from, min(from+part, n)); err != nil {
					errs <- err
					once.Do(func() { close(stop) })
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

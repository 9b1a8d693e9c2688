package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/workload"
)

// growth measures appio with few citizens and with many, and with few messages stored and with many.
func growth(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("bench growth", flag.ContinueOnError)
	few := f.Int("few", 100_000, "citizens that the rate is compared with")
	many := f.Int("many", 5_000_000, "citizens")
	messages := f.Int("messages", 300_000, "messages to send to few and to many citizens; 0: that is not measured")
	citizens := f.Int("citizens", 1_000_000, "citizens of the file that grows")
	low := f.Int("low", 250_000, "messages stored that the rate is compared with")
	high := f.Int("high", 2_000_000, "messages stored; 0: that is not measured")
	window := f.Int("window", 200_000, "messages whose sending is measured when so many are stored")
	senders := f.Int("senders", 1024, "goroutines that send")
	rounds := f.Int("rounds", 1, "rounds")
	dir := f.String("dir", "", "where temporary folders are made; empty: the system's")
	if err := f.Parse(args); err != nil {
		return err
	}
	var grown, filled []float64
	for round := range *rounds {
		if *messages > 0 {
			var rates []float64
			for _, n := range []int{*few, *many} {
				t := task{Contender: "appio", size: size{Citizens: n, Messages: *messages, Senders: *senders}}
				err := errors.Join(t.check())
				if err == nil {
					err = t.run(ctx, *dir, func(line []byte) error {
						var r result
						if err := json.Unmarshal(line, &r); err != nil {
							return err
						}
						r.Round = round + 1
						rates = append(rates, r.DeliveriesPerS)
						return printJSON(out, r)
					})
				}
				if err != nil {
					return err
				}
			}
			grown = append(grown, rates[1]/rates[0])
		}
		if *high > 0 {
			ws, err := runWindows(ctx, *dir, out, task{
				size: size{Citizens: *citizens, Senders: *senders}, Stored: []int{*low, *high}, Window: *window,
			})
			if err != nil {
				return err
			}
			filled = append(filled, ws[1].DeliveriesPerS/ws[0].DeliveriesPerS)
		}
	}
	var gs []goal
	if len(grown) > 0 {
		gs = append(gs, goal{Goal: fmt.Sprintf("rate with %s citizens, against %s", thousands(float64(*many)), thousands(float64(*few))), Floor: 0.7, Aim: 0.9}.judge(grown))
	}
	if len(filled) > 0 {
		gs = append(gs, goal{Goal: fmt.Sprintf("rate with %s messages stored, against %s", thousands(float64(*high)), thousands(float64(*low))), Floor: 0.6, Aim: 0.8}.judge(filled))
	}
	return conclude(out, gs)
}

// history measures how long an accept takes when one service has sent few messages and when it has sent many.
func history(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("bench history", flag.ContinueOnError)
	citizens := f.Int("citizens", 100_000, "citizens")
	low := f.Int("low", 10_000, "messages of the service that the time is compared with")
	high := f.Int("high", 1_000_000, "messages of the service")
	window := f.Int("window", 50_000, "messages that are timed when it has so many")
	senders := f.Int("senders", 64, "goroutines that send")
	rounds := f.Int("rounds", 1, "rounds")
	dir := f.String("dir", "", "where temporary folders are made; empty: the system's")
	if err := f.Parse(args); err != nil {
		return err
	}
	var slower []float64
	for range *rounds {
		ws, err := runWindows(ctx, *dir, out, task{
			size: size{Citizens: *citizens, Senders: *senders}, Stored: []int{*low, *high}, Window: *window, Service: true,
		})
		if err != nil {
			return err
		}
		slower = append(slower, float64(ws[1].SendP99)/float64(ws[0].SendP99))
	}
	g := goal{
		Goal:  fmt.Sprintf("Send p99 with %s messages of one service, against %s", thousands(float64(*high)), thousands(float64(*low))),
		Floor: 1.5, Aim: 1.5, AtMost: true,
	}
	return conclude(out, []goal{g.judge(slower)})
}

// conclude prints goals as JSON lines and as a table.
func conclude(out io.Writer, gs []goal) error {
	for _, g := range gs {
		if err := printJSON(out, g); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "\n%s\n\n", machine())
	verdicts(out, gs)
	return nil
}

// A windowResult is what a window of messages took when some were stored already.
type windowResult struct {
	Stored int `json:"stored"`
	result
}

func runWindows(ctx context.Context, dir string, out io.Writer, t task) (ws []windowResult, err error) {
	t.Contender, t.Messages = "windows", t.Stored[len(t.Stored)-1]+t.Window
	if err := t.check(); err != nil {
		return nil, err
	}
	err = t.run(ctx, dir, func(line []byte) error {
		var w windowResult
		if err := json.Unmarshal(line, &w); err != nil {
			return err
		}
		ws = append(ws, w)
		return printJSON(out, w)
	})
	if err == nil && len(ws) != len(t.Stored) {
		err = errors.New("windows: results are missing")
	}
	return ws, err
}

// windows is the child that sends until as many messages are stored as t.Stored says, measures a window, and goes on.
func windows(ctx context.Context, t task, emit func(any) error) error {
	r, err := workload.Open(workload.Options{Dir: t.Dir, Citizens: t.Citizens})
	if err != nil {
		return err
	}
	defer r.Close()
	if err := r.Preload(ctx); err != nil {
		return err
	}
	load := workload.Load{Senders: t.Senders, Batch: 1}
	if t.Service {
		load.Services = 1
	}
	var ws []windowResult
	sent := 0
	for _, stored := range t.Stored {
		if load.Messages = stored - sent; load.Messages > 0 {
			if _, err := r.Send(ctx, load); err != nil {
				return err
			}
			sent = stored
		}
		load.Messages = t.Window
		before := used()
		s, err := r.Send(ctx, load)
		if err != nil {
			return err
		}
		w := windowResult{Stored: sent}
		w.Contender, w.size = "appio", size{Citizens: t.Citizens, Messages: t.Window, Senders: t.Senders}
		w.use(before)
		w.fill(s)
		w.RSSBytes = workload.PeakRSS()
		sent += t.Window
		ws = append(ws, w)
	}
	_, ok, err := r.Verify(ctx)
	if err != nil {
		return err
	}
	for _, w := range ws {
		w.Verified = ok
		if err := emit(w); err != nil {
			return err
		}
	}
	if !ok {
		return errLoss
	}
	return nil
}

// open measures how long it takes until a file of a process that was killed accepts again.
func open(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("bench open", flag.ContinueOnError)
	t := task{}
	f.IntVar(&t.Citizens, "citizens", 1_000_000, "citizens")
	f.IntVar(&t.Messages, "messages", 2_000_000, "messages stored when the process is killed, still sending")
	f.IntVar(&t.Senders, "senders", 1024, "goroutines that send")
	times := f.Int("rounds", 3, "how often it is killed and opened")
	dir := f.String("dir", "", "where temporary folders are made; empty: the system's")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := t.check(); err != nil || *times < 1 {
		return errors.Join(err, positive("-rounds", *times))
	}
	own, err := folder(*dir)
	if err != nil {
		return err
	}
	defer os.RemoveAll(own)
	t.Dir = own
	var seconds []float64
	accepted := 0
	for round := range *times {
		t.Contender = "fill"
		if round > 0 {
			t.Messages = 1 // it is full
		}
		acknowledged, err := t.killed(ctx)
		if err != nil {
			return err
		}
		accepted += acknowledged
		t.Contender = "reopen"
		t.Stored = []int{accepted}
		_, wait, err := t.start(ctx, func(line []byte) error {
			var o opened
			if err := json.Unmarshal(line, &o); err != nil {
				return err
			}
			seconds = append(seconds, o.ReadyS)
			accepted = o.Accepted
			return printJSON(out, o)
		})
		if err != nil {
			return err
		}
		if err := wait(); err != nil {
			return err
		}
	}
	g := goal{Goal: fmt.Sprintf("seconds until a file with %s messages accepts again after kill -9", thousands(float64(accepted))), Floor: 5, Aim: 1, AtMost: true}
	return conclude(out, []goal{g.judge(seconds)})
}

// killed runs a child that fills the file, kills it a second after it says that it did, while it sends on, and answers how many
// messages it said were accepted.
func (t task) killed(ctx context.Context) (accepted int, err error) {
	note("filling: %d messages", t.Messages)
	said := false
	var kill func() error
	cmd, wait, err := t.start(ctx, func(line []byte) error {
		var f filled
		if err := json.Unmarshal(line, &f); err != nil {
			return err
		}
		said, accepted = true, f.Accepted
		time.AfterFunc(time.Second, func() { _ = kill() })
		return nil
	})
	if err != nil {
		return 0, err
	}
	kill = cmd.Process.Kill
	if err := wait(); !said || ctx.Err() != nil {
		return 0, errors.Join(err, ctx.Err())
	}
	return accepted, nil
}

type filled struct {
	Accepted int `json:"accepted"`
}

// fill is the child that sends what it is told, says so, and sends on until it is killed.
func fill(ctx context.Context, t task, emit func(any) error) error {
	o := workload.Options{Dir: t.Dir, Citizens: t.Citizens}
	_, err := os.Stat(o.Path())
	fresh := err != nil
	r, err := workload.Open(o)
	if err != nil {
		return err
	}
	defer r.Close()
	if fresh {
		if err := r.Preload(ctx); err != nil {
			return err
		}
	}
	load := workload.Load{Messages: t.Messages, Senders: t.Senders, Batch: 1}
	sent, err := r.Send(ctx, load)
	if err != nil {
		return err
	}
	if err := emit(filled{sent.Accepted}); err != nil {
		return err
	}
	load.Messages = 1 << 40
	_, err = r.Send(ctx, load)
	return err
}

// opened is what opening took.
type opened struct {
	OpenS    float64 `json:"open_s"`
	ReadyS   float64 `json:"ready_s"`  // until a Send was answered
	Accepted int     `json:"accepted"` // messages in inboxes
	RSSBytes int64   `json:"rss_bytes"`
	Verified bool    `json:"verified"` // no fewer than were acknowledged
}

// reopen is the child that opens what a killed one left. The file is in the page cache, as after the end of a process.
func reopen(ctx context.Context, t task, emit func(any) error) error {
	start := time.Now()
	r, err := workload.Open(workload.Options{Dir: t.Dir, Citizens: t.Citizens})
	if err != nil {
		return err
	}
	defer r.Close()
	o := opened{OpenS: time.Since(start).Seconds()}
	res, err := r.Engine().Sender(workload.ServiceID(0)).Send(ctx, workload.Message(workload.Person(1), 0))
	if err != nil {
		return err
	}
	o.ReadyS = time.Since(start).Seconds()
	o.RSSBytes = workload.PeakRSS()
	c, err := r.Count(ctx)
	if err != nil {
		return err
	}
	o.Accepted = c.Inbox
	o.Verified = res.Status != appio.Rejected && c.Inbox > t.Stored[0]
	if err := emit(o); err != nil {
		return err
	}
	if !o.Verified {
		return fmt.Errorf("%w: %d acknowledged, %d stored", errLoss, t.Stored[0]+1, c.Inbox)
	}
	return nil
}

func (s size) check() error {
	for _, v := range []struct {
		name string
		n    int
	}{{"citizens", s.Citizens}, {"messages", s.Messages}, {"senders", s.Senders}} {
		if err := positive("the number of "+v.name, v.n); err != nil {
			return err
		}
	}
	if s.Citizens > workload.MaxCitizens {
		return fmt.Errorf("citizens: at most %d", workload.MaxCitizens)
	}
	return nil
}

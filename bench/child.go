package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/appio-go/appio/internal/workload"
)

// childMode is the mode in which the program starts itself again: one contender, one round.
const childMode = "child"

// A task is what a child is told to do.
type task struct {
	Contender string `json:"contender"`
	Dir       string `json:"dir"` // its own, empty but for what an earlier child left on purpose
	size
	From    string `json:"from"`    // appio: a folder with a preloaded file, to copy; empty: preload
	Single  int    `json:"single"`  // appio: messages that one sender sends afterwards
	Stored  []int  `json:"stored"`  // growth and history: how many messages are stored when a window begins, rising
	Window  int    `json:"window"`  // growth and history: messages whose sending is measured
	Service bool   `json:"service"` // all from one service
}

// contenders are what a child can do. Each prints its results by emit.
var contenders = map[string]func(ctx context.Context, t task, emit func(any) error) error{
	"raw-bbolt": func(ctx context.Context, t task, emit func(any) error) error {
		r, err := raw(ctx, t.Dir, t.size)
		return report(emit, t, r, err)
	},
	"appio": func(ctx context.Context, t task, emit func(any) error) error {
		many, one, err := engine(ctx, t)
		if err := report(emit, t, many, err); err != nil || t.Single == 0 {
			return err
		}
		one.Contender = singleName
		return report(emit, t, one, nil)
	},
	"river":  whole(newRiver),
	"outbox": whole(newOutbox),
	"goqite": whole(newLite),
	"river-noop": func(ctx context.Context, t task, emit func(any) error) error {
		r, err := riverNoop(ctx, t.Dir, t.size)
		return report(emit, t, r, err)
	},
	"preload": preload,
	"windows": windows,
	"fill":    fill,
	"reopen":  reopen,
}

// singleName is the contender whose figures come from appio's child, after its own.
const singleName = "appio, one sender"

// whole is a child that puts one contender through whole deliveries.
func whole(make func(ctx context.Context, dir string) (contender, error)) func(context.Context, task, func(any) error) error {
	return func(ctx context.Context, t task, emit func(any) error) error {
		c, err := make(ctx, t.Dir)
		if err != nil {
			return err
		}
		r, err := deliver(ctx, c, t.size)
		return errors.Join(report(emit, t, r, err), c.close())
	}
}

// report emits a result, also one that is not what was sent, so that it can be looked at.
func report(emit func(any) error, t task, r result, err error) error {
	if err != nil && !errors.Is(err, errLoss) {
		return err
	}
	if r.Contender == "" {
		r.Contender = t.Contender
	}
	r.RSSBytes = workload.PeakRSS()
	return errors.Join(err, emit(r))
}

func child(ctx context.Context, args []string, out io.Writer) error {
	var t task
	if len(args) != 1 {
		return errors.New("child: one task")
	}
	if err := json.Unmarshal([]byte(args[0]), &t); err != nil {
		return err
	}
	workload.CollectRarely()
	f := contenders[t.Contender]
	if f == nil {
		return fmt.Errorf("unknown contender %q", t.Contender)
	}
	return f(ctx, t, func(v any) error {
		line, err := json.Marshal(v)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s\n", line)
		return err
	})
}

// start starts a child. Each line that it prints goes to line; wait returns when it has ended.
func (t task) start(ctx context.Context, line func([]byte) error) (cmd *exec.Cmd, wait func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	arg, err := json.Marshal(t)
	if err != nil {
		return nil, nil, err
	}
	cmd = exec.CommandContext(ctx, self, childMode, string(arg))
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends what it has started
	cmd.WaitDelay = 30 * time.Second
	cmd.Env = append(os.Environ(), childVariable+"=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	return cmd, func() error {
		var bad error
		s := bufio.NewScanner(stdout)
		for s.Scan() {
			if err := line(s.Bytes()); err != nil && bad == nil {
				bad = err
			}
		}
		if err := cmd.Wait(); err != nil {
			bad = errors.Join(fmt.Errorf("%s: %w", t.Contender, err), bad)
		}
		return bad
	}, nil
}

// childVariable is set in a child's environment, so that a test program knows that it is one.
const childVariable = "APPIO_BENCH_CHILD"

// run runs a child in a folder of its own below dir.
func (t task) run(ctx context.Context, dir string, line func([]byte) error) error {
	own, err := folder(dir)
	if err != nil {
		return err
	}
	defer os.RemoveAll(own)
	t.Dir = own
	note("%s: %d citizens, %d messages, %d senders", t.Contender, t.Citizens, t.Messages, t.Senders)
	_, wait, err := t.start(ctx, line)
	if err != nil {
		return err
	}
	return wait()
}

// folder makes a temporary folder that another user may pass through, as PostgreSQL runs as one.
func folder(dir string) (string, error) {
	own, err := os.MkdirTemp(dir, "appio-bench-")
	if err != nil {
		return "", err
	}
	return own, os.Chmod(own, 0o711)
}

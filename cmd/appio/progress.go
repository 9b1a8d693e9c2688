package main

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// progress tells on stderr how far something is: with a bar on a terminal, with a line every ten seconds elsewhere.
type progress struct {
	what  string
	total int
	done  atomic.Int64
	quit  chan struct{}
	ended chan struct{}
}

func newProgress(what string, total int) *progress {
	p := &progress{what: what, total: total, quit: make(chan struct{}), ended: make(chan struct{})}
	info, err := os.Stderr.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	go p.show(terminal)
	return p
}

func (p *progress) add(n int) { p.done.Add(int64(n)) }

func (p *progress) end() {
	close(p.quit)
	<-p.ended
}

func (p *progress) show(terminal bool) {
	defer close(p.ended)
	every := 10 * time.Second
	if terminal {
		every = 200 * time.Millisecond
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			p.print(terminal)
		case <-p.quit:
			p.print(terminal)
			if terminal {
				fmt.Fprintln(os.Stderr)
			}
			return
		}
	}
}

func (p *progress) print(terminal bool) {
	n := int(p.done.Load())
	if !terminal {
		fmt.Fprintf(os.Stderr, "%s: %d of %d\n", p.what, n, p.total)
		return
	}
	const width = 40
	full := width * n / max(p.total, 1)
	fmt.Fprintf(os.Stderr, "\r%-9s [%s%s] %d of %d", p.what, strings.Repeat("=", full), strings.Repeat(" ", width-full), n, p.total)
}

package workload

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// Progress tells on stderr how far something is: with a bar on a terminal, with a line every ten seconds elsewhere.
type Progress struct {
	what  string
	total int
	done  atomic.Int64
	quit  chan struct{}
	ended chan struct{}
}

// NewProgress begins to tell; End ends it.
func NewProgress(what string, total int) *Progress {
	p := &Progress{what: what, total: total, quit: make(chan struct{}), ended: make(chan struct{})}
	info, err := os.Stderr.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	go p.show(terminal)
	return p
}

// Add says that n more are done.
func (p *Progress) Add(n int) { p.done.Add(int64(n)) }

// End tells a last time.
func (p *Progress) End() {
	close(p.quit)
	<-p.ended
}

func (p *Progress) show(terminal bool) {
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

func (p *Progress) print(terminal bool) {
	n := int(p.done.Load())
	if !terminal {
		fmt.Fprintf(os.Stderr, "%s: %d of %d\n", p.what, n, p.total)
		return
	}
	const width = 40
	full := width * n / max(p.total, 1)
	fmt.Fprintf(os.Stderr, "\r%-9s [%s%s] %d of %d", p.what, strings.Repeat("=", full), strings.Repeat(" ", width-full), n, p.total)
}

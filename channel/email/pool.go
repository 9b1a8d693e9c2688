package email

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A pool has the connections that wait for the next message, and bounds how many there are.
type pool struct {
	places chan struct{} // one for each that is in use
	wait   time.Duration // until one that is not used is closed

	mu     sync.Mutex
	idle   []*conn // the one that was used last is the last
	closed bool
}

// enter waits for a place.
func (p *pool) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("email: %w", context.Cause(ctx))
	}
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return errClosed
	}
	select {
	case p.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("email: %w", context.Cause(ctx))
	}
}

func (p *pool) leave() { <-p.places }

// take is the connection that was used last; nil: none waits.
func (p *pool) take() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle) - 1
	if n < 0 {
		return nil
	}
	k := p.idle[n]
	p.idle[n] = nil
	p.idle = p.idle[:n]
	k.idle.Stop()
	return k
}

// put has a connection wait for the next message.
func (p *pool) put(k *conn) {
	p.mu.Lock()
	full := p.closed || k.sent >= mostPerConnection
	if !full {
		k.idle = time.AfterFunc(p.wait, func() { p.end(k) })
		p.idle = append(p.idle, k)
	}
	p.mu.Unlock()
	if full {
		k.quit()
	}
}

// end closes a connection that has waited long enough, unless it was taken meanwhile.
func (p *pool) end(k *conn) {
	p.mu.Lock()
	i := slices.Index(p.idle, k)
	if i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
	}
	p.mu.Unlock()
	if i >= 0 {
		k.quit()
	}
}

func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, k := range idle {
		k.idle.Stop()
		k.quit()
	}
}

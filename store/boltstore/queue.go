package boltstore

import (
	"slices"
	"sync"
	"sync/atomic"
)

// A request is what the writer is asked for: changes, or other work on the file.
type request struct {
	changes []change
	frames  *[]byte      // that all their frames are in
	work    func() error // if there are no changes
	taken   atomic.Bool  // by the writer, or by who asked and no longer waits
	errs    []error
	err     error
	done    chan error
}

// size returns how many bytes the changes take.
func (r *request) size() int {
	if r.frames == nil {
		return 0
	}
	return len(*r.frames)
}

// answer ends the request, with its error, and gives back the memory of its frames.
func (r *request) answer() {
	if r.frames != nil && cap(*r.frames) <= maxFrames {
		frames.Put(r.frames)
	}
	r.changes, r.frames = nil, nil
	r.done <- r.err
}

// The bounds of what is written together; a request may be above them alone.
const (
	maxBatchChanges = 4096
	maxBatchBytes   = 8 << 20
)

// A queue is what waits for the writer.
type queue struct {
	mu     sync.Mutex
	waits  []*request
	closed bool
	wake   chan struct{}
}

// add reports false if the queue is closed.
func (q *queue) add(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.waits = append(q.waits, r)
	signal(q.wake)
	return true
}

// take moves to batch the next requests that are written together: those with changes up to the first with work, or that one
// alone. If no changes may be made, it is the first with work.
func (q *queue) take(batch []*request, onlyWork bool) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	if onlyWork {
		for i := 0; i < len(q.waits) && len(batch) == 0; i++ {
			r := q.waits[i]
			if r.work == nil {
				continue
			}
			if r.taken.CompareAndSwap(false, true) { // otherwise who asked has gone, and the next one may be there since
				batch = append(batch, r)
			}
			q.waits = slices.Delete(q.waits, i, i+1)
			i--
		}
		return batch
	}
	changes, size, n := 0, 0, 0
	for _, r := range q.waits {
		if len(batch) > 0 && (r.work != nil || changes+len(r.changes) > maxBatchChanges || size+r.size() > maxBatchBytes) {
			break
		}
		n++
		if !r.taken.CompareAndSwap(false, true) {
			continue
		}
		batch = append(batch, r)
		if r.work != nil {
			break
		}
		changes += len(r.changes)
		size += r.size()
	}
	q.waits = slices.Delete(q.waits, 0, n)
	return batch
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	signal(q.wake)
}

// rest returns what waits in a closed queue.
func (q *queue) rest() (waits []*request, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		return nil, false
	}
	waits, q.waits = q.waits, nil
	return waits, true
}

// signal wakes who waits on c, now or later.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

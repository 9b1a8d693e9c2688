// Package punctual waits until a moment that was chosen before, so that when a waiter goes on does not tell what it did until it waited.
//
// A timer of Go's does tell on Linux: a thread with nothing else to do sleeps for whole milliseconds from when it had nothing to do, so
// that what took 30 µs longer before a timer goes on 30 µs later after it, to the same moment of the clock or not.
package punctual

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// Wait returns at until, or when ctx ends, or at once if until has passed. It may be called by many at a time; nothing is left behind
// when the last moment has passed, also of whose ctx ended before, but one file descriptor, where the system needs one.
func Wait(ctx context.Context, until time.Time) {
	if !time.Now().Before(until) || ctx.Err() != nil {
		return
	}
	select {
	case <-all.add(until):
	case <-ctx.Done():
	}
}

var all waiters

// waiters wait for one alarm, which one goroutine looks after as long as there are any.
type waiters struct {
	mu      sync.Mutex
	queue   queue
	alarm   alarm
	running bool
}

func (w *waiters) add(until time.Time) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := waiter{until, make(chan struct{})}
	heap.Push(&w.queue, one)
	switch {
	case !w.running:
		if w.alarm == nil {
			w.alarm = newAlarm()
		}
		w.running = true
		go w.run()
	case w.queue[0] == one:
		w.alarm.set(time.Until(until))
	}
	return one.done
}

func (w *waiters) run() {
	for w.wake() {
		w.alarm.wait()
	}
}

// wake lets go whose time has come, and sets the alarm for the next; false: nobody waits.
func (w *waiters) wake() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 {
		if d := time.Until(w.queue[0].until); d > 0 {
			w.alarm.set(d)
			return true
		}
		close(heap.Pop(&w.queue).(waiter).done)
	}
	w.running = false
	return false
}

type waiter struct {
	until time.Time
	done  chan struct{}
}

type queue []waiter

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].until.Before(q[j].until) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(waiter)) }
func (q *queue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

package simulation

import (
	"context"
	"errors"

	"github.com/appio-go/appio"
)

// A pausing is what is known of pauses of one service. Where calls overlap, or one ended without an answer, nothing is.
type pausing struct {
	paused   bool // since a pause returned; no resume has begun since
	resumes  int  // that have begun
	resuming int  // that are under way
	unsure   bool // one may still take effect
}

func (w *world) pausingOf(service int) *pausing {
	if w.pausings[service] == nil {
		w.pausings[service] = &pausing{}
	}
	return w.pausings[service]
}

func (w *world) pauseService(ctx context.Context, l *life, service int) {
	w.mu.Lock()
	p := w.pausingOf(service)
	began, under := p.resumes, p.resuming
	w.mu.Unlock()
	err := l.engine.PauseService(ctx, serviceID(service))
	var late *appio.InFlightError
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tracef(l, "pause of service %d: %v", service, err)
	if (err == nil || errors.As(err, &late) && ctx.Err() == nil) && under == 0 && p.resumes == began && !p.unsure {
		p.paused = true
		w.counts["pauses"]++
	}
}

func (w *world) resumeService(ctx context.Context, l *life, service int) {
	w.mu.Lock()
	p := w.pausingOf(service)
	p.paused = false
	p.resumes++
	p.resuming++
	w.mu.Unlock()
	err := l.engine.ResumeService(ctx, serviceID(service))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tracef(l, "resume of service %d: %v", service, err)
	p.resuming--
	p.unsure = p.unsure || err != nil
}

// judgePaused demands that nothing begins that is paused.
func (w *world) judgePaused(a *attempt) {
	if p := w.pausings[a.service]; p != nil && p.paused {
		w.failf("%s begins although service %d is paused", a.d.ID, a.service)
	}
}

// resumeAll ends all pauses.
func (w *world) resumeAll(l *life) {
	for service := range w.plan.services {
		w.mu.Lock()
		w.pausingOf(service).paused = false
		w.mu.Unlock()
		if err := l.engine.ResumeService(context.Background(), serviceID(service)); err != nil {
			w.fail("resume: %v", err)
		}
	}
}

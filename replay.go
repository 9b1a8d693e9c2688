package appio

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/appio-go/appio/store"
)

// A ParkedReplay says which parked deliveries are to be due again. The zero value is all that are parked.
type ParkedReplay struct {
	Channel string    // empty: any
	Service ServiceID // empty: any
	Cause   string    // how the cause begins, for example "panic: "; empty: any
	From    time.Time // parked then or later; zero: whenever
	Until   time.Time // parked before then; zero: whenever
	Limit   int       // at most so many; 0: no limit
	DryRun  bool      // they are counted, and stay parked
	After   Cursor    // Replayed.Next, to go on from where a replay with the same filter stopped; empty: from the oldest
}

// Replayed is how far a replay came.
type Replayed struct {
	Count int    // deliveries that are due again, or with DryRun would be
	Next  Cursor // where it stopped, for its limit or an error; empty: there is no more
}

// ReplayParked is [Engine.Replay] for the deliveries that a filter describes, oldest first. It may be stopped, and begun anew, at any
// point: what is due again is parked no longer, and what is parked again meanwhile, or until it goes on from After, is not replayed by
// it again, by whichever replay it was put back: so nothing is replayed twice. With an error, what Replayed says has been done. It reads
// through what is parked from From, or After, on.
func (e *Engine) ReplayParked(ctx context.Context, r ParkedReplay) (done Replayed, err error) {
	if r.Limit < 0 {
		return done, invalid("Limit", "0 or more")
	}
	if err := e.ready(ctx); err != nil {
		return done, err
	}
	q := store.DueQuery{Lanes: []store.Lane{laneParked}, Until: farFuture, Limit: 256}
	run := e.newReplay()
	if !r.From.IsZero() {
		q.After = store.Position{Due: micro(r.From)}
	}
	if !r.Until.IsZero() {
		q.Until = micro(r.Until).Add(-time.Microsecond)
	}
	if r.After != "" {
		if run, q.Until, q.After, err = e.openReplay(r.After); err != nil {
			return done, err
		}
	}
	defer func() {
		if done.Count > 0 && !r.DryRun {
			e.lookSoon()
		}
	}()
	for {
		recs, err := e.store.Due(ctx, q)
		if err != nil {
			done.Next = e.sealReplay(run, q)
			return done, err
		}
		page := q
		var ops []*op
		full := false
		for i := range recs {
			if full = r.Limit > 0 && done.Count+len(ops) == r.Limit; full {
				break
			}
			page.After = store.Position{Due: recs[i].Due, Owner: recs[i].Owner, Key: recs[i].Key}
			yes, err := e.describes(&r, run, &recs[i])
			if err != nil {
				done.Next = e.sealReplay(run, q)
				return done, err
			}
			if yes {
				ops = append(ops, e.replayOp(recs[i], run))
			}
		}
		if !r.DryRun {
			for _, refused := range e.writer.do(ctx, ops...) {
				if refused != nil {
					err = refused
				} else {
					done.Count++
				}
			}
		} else {
			done.Count += len(ops)
		}
		if err != nil { // the page once more: what of it was replayed is not found again
			done.Next = e.sealReplay(run, q)
			return done, err
		}
		if q = page; full {
			done.Next = e.sealReplay(run, q)
			return done, nil
		}
		if len(recs) < q.Limit {
			return done, nil
		}
	}
}

// describes reports whether a parked delivery is meant. One that cannot be read is not: Replay puts it aside.
func (e *Engine) describes(r *ParkedReplay, run replayRun, rec *store.Record) (bool, error) {
	var p parkedRecord
	if err := e.codec.of(rec.Owner).open(rec, &p); errors.Is(err, store.ErrCorrupt) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return !e.replayed(&p, run) && (r.Channel == "" || p.Entry.Channel == r.Channel) && (r.Service == "" || p.Service == r.Service) &&
		strings.HasPrefix(p.Entry.Cause, r.Cause), nil
}

const replayCursor = "replay of parked since"

func (e *Engine) sealReplay(run replayRun, q store.DueQuery) Cursor {
	at := formatPosition(&store.Record{Due: q.After.Due, Owner: q.After.Owner, Key: q.After.Key})
	b := binary.BigEndian.AppendUint32(nil, run.number)
	b = binary.BigEndian.AppendUint64(b, uint64(run.began))
	b = binary.BigEndian.AppendUint64(b, uint64(q.Until.UnixMicro()))
	return e.codec.sealCursor(replayCursor, position{key: string(b) + at})
}

func (e *Engine) openReplay(c Cursor) (run replayRun, until time.Time, after store.Position, err error) {
	p, err := e.codec.openCursor(replayCursor, c)
	if err != nil {
		return run, until, after, err
	}
	const head = 4 + 8 + 8
	if len(p.key) < head {
		return run, until, after, invalid("After", "what a replay returned")
	}
	b := []byte(p.key)
	after, err = parsePosition(p.key[head:])
	run = replayRun{binary.BigEndian.Uint32(b), int64(binary.BigEndian.Uint64(b[4:]))}
	return run, time.UnixMicro(int64(binary.BigEndian.Uint64(b[12:]))).UTC(), after, err
}

// lookSoon has Run look at due work.
func (e *Engine) lookSoon() {
	if d := e.running.Load(); d != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.look()
	}
}

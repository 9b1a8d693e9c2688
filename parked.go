package appio

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/appio-go/appio/store"
)

// Parked lists deliveries that gave up, oldest first, forwards only: a Prev cursor is ErrInvalid.
func (e *Engine) Parked() List[ParkedDelivery] { return newList(e, "parked", e.listParked) }

func (e *Engine) listParked(ctx context.Context, p position, limit int) (f found[ParkedDelivery], err error) {
	recs, err := e.duePage(ctx, laneParked, p, limit)
	if err != nil {
		return f, err
	}
	for i := range recs {
		r := &recs[i]
		key := formatPosition(r)
		var parked parkedRecord
		err := e.codec.of(r.Owner).open(r, &parked)
		if errors.Is(err, store.ErrCorrupt) {
			continue // Replay puts it aside; the others are still worth seeing
		}
		if err != nil {
			return f, err
		}
		en := parked.Entry
		f.add(ParkedDelivery{
			ID: en.ID, Channel: en.Channel, Service: parked.Service, Message: parked.Message, Attempts: en.Attempts,
			Cause: en.Cause, At: fromMicro(parked.At),
		}, key)
	}
	if len(recs) == limit {
		f.resume = formatPosition(&recs[limit-1])
	}
	return f, nil
}

// duePage is a page of what stands in a lane, by when it is due; formatPosition of its last is where the next begins.
func (e *Engine) duePage(ctx context.Context, lane store.Lane, p position, limit int) ([]store.Record, error) {
	if p.before {
		return nil, invalid("Cursor", "one that leads forwards")
	}
	q := store.DueQuery{Lanes: []store.Lane{lane}, Until: farFuture, Limit: limit}
	if p.key != "" {
		var err error
		if q.After, err = parsePosition(p.key); err != nil {
			return nil, err
		}
	}
	return e.store.Due(ctx, q)
}

func formatPosition(r *store.Record) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(r.Due.UnixMicro()))
	b = binary.AppendUvarint(b, uint64(len(r.Owner)))
	return string(b) + string(r.Owner) + string(r.Key)
}

// parsePosition reads what formatPosition wrote; the cursor it was in is authenticated.
func parsePosition(s string) (store.Position, error) {
	bad := invalid("Cursor", "one that this list gave")
	if len(s) < 9 {
		return store.Position{}, bad
	}
	due := time.UnixMicro(int64(binary.BigEndian.Uint64([]byte(s[:8])))).UTC()
	n, used := binary.Uvarint([]byte(s[8:]))
	rest := s[8+max(used, 0):]
	if used <= 0 || n > uint64(len(rest)) {
		return store.Position{}, bad
	}
	return store.Position{Due: due, Owner: store.Owner(rest[:n]), Key: store.Key(rest[n:])}, nil
}

// Replay makes parked deliveries due again, with as much time as they had left when they were parked and an hour at least;
// consent is read again too. What stands in for another route and was parked before its time, as in a restored store, keeps it.
// Without ids it is all of them, each once, whenever the clock says that they were parked; what another replay put back meanwhile, and is
// parked again, is not replayed. An id that is not parked is ErrNotFound, after the others were replayed. It reads through all that is parked.
func (e *Engine) Replay(ctx context.Context, ids ...DeliveryID) error {
	if err := e.ready(ctx); err != nil {
		return err
	}
	missing := make(map[DeliveryID]bool, len(ids))
	for _, id := range ids {
		missing[id] = true
	}
	run := e.newReplay()
	err := e.eachDue(ctx, laneParked, 1, farFuture, func(rec store.Record) *op {
		id := DeliveryID(strings.TrimPrefix(string(rec.Key), prefixParked))
		if len(ids) > 0 && !missing[id] {
			return nil
		}
		delete(missing, id)
		return e.replayOp(rec, run)
	})
	if err != nil {
		return err
	}
	e.lookSoon()
	if len(missing) > 0 {
		return fmt.Errorf("%w: %d of the deliveries are not parked", ErrNotFound, len(missing))
	}
	return nil
}

// A replayRun is what tells a replay from others, so that what is parked again while it goes on is not replayed again.
type replayRun struct {
	number uint32
	began  int64
}

func (e *Engine) newReplay() replayRun {
	run := replayRun{began: toMicro(micro(e.now()))}
	for run.number == 0 {
		run.number = rand.Uint32()
	}
	return run
}

// replayed reports whether a delivery was parked again since a replay began. Of what the replay itself put back its number tells; the time
// would not, since a clock may be put back. Of what another did, which could go on with this one's for ever, as this one with the other's,
// the time must do: what is parked in the future was so by a clock that was ahead, before.
func (e *Engine) replayed(p *parkedRecord, run replayRun) bool {
	if p.Replay == run.number {
		return true
	}
	return p.Replay != 0 && p.At > run.began && p.At <= toMicro(micro(e.now().Add(e.opts.MaxSkew)))
}

// replayOp puts a parked delivery back into its message's open work, unless a replay has done so since this one began.
func (e *Engine) replayOp(rec store.Record, run replayRun) *op {
	o := &op{owner: rec.Owner, keys: []store.Key{rec.Key}}
	var seen parkedRecord
	if e.codec.of(rec.Owner).open(&rec, &seen) == nil {
		o.keys = append(o.keys, waitingKey(seen.Message), leasedKey(seen.Message))
	}
	o.apply = func(tx *draft) error {
		now := tx.get(rec.Key)
		if now == nil || !strings.HasPrefix(string(rec.Key), prefixParked) {
			return nil // no parked delivery: who reads it learns that it is damaged
		}
		var p parkedRecord
		if err := tx.open(now, &p); errors.Is(err, store.ErrCorrupt) {
			tx.quarantine(now)
			return nil
		} else if err != nil {
			return err
		}
		if p.Message != seen.Message {
			return ErrBusy // it is another one now
		}
		if e.replayed(&p, run) {
			return nil
		}
		at := toMicro(micro(e.now()))
		en := p.Entry
		en.Claims, en.Held, en.Attempts, en.Replayed = 0, false, 0, true
		if en.Fallback == "" || en.Next < at {
			en.Next = at
		}
		w := &workRecord{Service: p.Service, Secure: p.Secure, Expires: at + p.Lifetime, Digest: p.Digest}
		from, err := tx.openWork(p.Message, w)
		if err != nil {
			return err
		}
		if en.Expires != 0 {
			en.Expires = at + p.Lifetime
		} else {
			w.Expires = max(w.Expires, at+p.Lifetime)
		}
		w.Entries = append(w.Entries, en)
		w.Replay = run.number
		if err := tx.putWork(keysOfWork(p.Message), w, from); err != nil {
			return err
		}
		tx.del(rec.Key)
		return nil
	}
	return o
}

package appio

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/appio-go/appio/store"
)

// What a service may put of documents on a day is counted in the store, for all engines on it. A place for a document is taken before
// it is read, as large as it may be, and what it did not need is given back: so services that put many at a time stay within it, and what
// a crash leaves taken is free again the next day. The record is of the owner of the service's figures, not of the service itself, which
// is read with each message.

// leastDocument is what a document counts as at least, since each is a file.
const leastDocument = 4 << 10

func documentUser(id ServiceID) store.Owner { return statisticsOwner + store.Owner(id) }

// A documentRoom is what was taken for one document.
type documentRoom struct {
	most int64     // bytes that the document may have
	day  time.Time // on which it counts
	less bool      // than Options.MaxDocument
}

// takeRoom takes a place for a document of a service.
func (e *Engine) takeRoom(ctx context.Context, id ServiceID) (room documentRoom, err error) {
	room.most = e.opts.MaxDocument
	if e.opts.DocumentQuota == 0 {
		return room, nil
	}
	err = e.changeUse(ctx, id, func(now time.Time, r *documentUseRecord) error {
		day := utcDay(now)
		// An engine whose clock is ahead may have begun the next day, on which this one counts too; what is later was a wrong clock.
		if r.Day < toMicro(day) || r.Day > toMicro(day.AddDate(0, 0, 1)) {
			r.Day, r.Bytes = toMicro(day), 0
		}
		room.day = fromMicro(r.Day)
		room.most = min(e.opts.MaxDocument, e.opts.DocumentQuota-r.Bytes)
		room.less = room.most < e.opts.MaxDocument
		if room.most < leastDocument {
			return fullDay(now)
		}
		if planted != "document-over" {
			r.Bytes += room.most
		}
		return nil
	})
	return room, err
}

// fullDay is for who may put no more until the next day.
func fullDay(now time.Time) error {
	return &LimitedError{After: utcDay(now).AddDate(0, 0, 1).Sub(now)}
}

// giveBack gives back what a document of some size did not need; 0: it was not put. Where that fails it is taken until the day is over.
func (e *Engine) giveBack(ctx context.Context, id ServiceID, room documentRoom, size int64) {
	if room.day.IsZero() {
		return
	}
	if size > 0 {
		size = max(size, leastDocument)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.opts.RevokeWait)
	defer cancel()
	err := e.changeUse(ctx, id, func(_ time.Time, r *documentUseRecord) error {
		if r.Day == toMicro(room.day) {
			r.Bytes = max(0, r.Bytes-room.most+size)
		}
		return nil
	})
	if err != nil {
		e.log().Error("what a document did not need of a service's quota counts until the day is over", "err", err)
	}
}

func (e *Engine) changeUse(ctx context.Context, id ServiceID, change func(now time.Time, r *documentUseRecord) error) error {
	return e.do(ctx, &op{owner: documentUser(id), keys: []store.Key{keyDocumentUse}, apply: func(tx *draft) error {
		var r documentUseRecord
		if _, err := tx.read(keyDocumentUse, &r); err != nil {
			return err
		}
		if err := change(e.now(), &r); err != nil {
			return err
		}
		r.Change = rand.Uint64() // two that take the same are two
		return tx.putSealed(store.Record{Key: keyDocumentUse}, &r)
	}})
}

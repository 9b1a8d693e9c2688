package appio

import (
	"context"
	"math/rand/v2"
	"sync"
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
	soon bool      // there may be more room soon: this engine is reading others of the service's
}

// soonMore is how soon documents that are being read may leave room.
const soonMore = time.Second

// underWay is what documents have taken that this engine is reading, of each service.
type underWay struct {
	mu sync.Mutex
	m  map[ServiceID]int64
}

func (u *underWay) add(id ServiceID, bytes int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.m == nil {
		u.m = map[ServiceID]int64{}
	}
	if u.m[id] += bytes; u.m[id] <= 0 {
		delete(u.m, id)
	}
}

func (u *underWay) of(id ServiceID) int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.m[id]
}

// takeRoom takes a place for a document of a service.
func (e *Engine) takeRoom(ctx context.Context, id ServiceID) (room documentRoom, err error) {
	room.most = e.opts.MaxDocument
	if e.opts.DocumentQuota == 0 {
		return room, nil
	}
	taken := int64(0) // told at once: another may be refused in the same commit
	err = e.changeUse(ctx, id, func(now time.Time, r *documentUseRecord) error {
		e.documents.add(id, -taken)
		taken = 0
		day := utcDay(now)
		// An engine whose clock is ahead may have begun the next day, on which this one counts too; what is later was a wrong clock.
		if r.Day < toMicro(day) || r.Day > toMicro(day.AddDate(0, 0, 1)) {
			r.Day, r.Bytes = toMicro(day), 0
		}
		room.day = fromMicro(r.Day)
		room.most = min(e.opts.MaxDocument, e.opts.DocumentQuota-r.Bytes)
		room.less = room.most < e.opts.MaxDocument
		back := e.documents.of(id)
		room.soon = back > 0
		if room.most < leastDocument {
			room.soon = room.most+back >= leastDocument
			return room.full(now)
		}
		if planted != "document-over" {
			r.Bytes += room.most
		}
		taken = room.most
		e.documents.add(id, taken)
		return nil
	})
	if err != nil {
		e.documents.add(id, -taken)
	}
	return room, err
}

// full is for who may put no more until the next day, or until others are read.
func (room *documentRoom) full(now time.Time) error {
	if room.soon {
		return &LimitedError{After: soonMore}
	}
	return &LimitedError{After: utcDay(now).AddDate(0, 0, 1).Sub(now)}
}

// giveBack gives back what a document of some size did not need; 0: it was not put. Where that fails it is taken until the day is over.
func (e *Engine) giveBack(ctx context.Context, id ServiceID, room documentRoom, size int64) {
	if room.day.IsZero() {
		return
	}
	defer e.documents.add(id, -room.most)
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

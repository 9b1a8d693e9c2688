package appio

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
)

// A backup knows of work that was open when it was made, and not what became of it since: it may have been delivered, on this
// store's other course. So a restored store is marked, and the first engine on it parks all open work, with the cause
// "outcome unknown", before it does anything else, and gives the store a new instance. What the operator then replays is
// delivered; what nobody replays is sent to nobody twice.

// unknownOutcome is the cause of what was parked because its store was restored.
const unknownOutcome = "outcome unknown: the store was restored from a backup"

// Restore makes the file at path out of a backup of a bbolt file, as [Engine.Backup] writes it. A file that is there already is
// fs.ErrExist, and left alone; a backup that is damaged in any of its records is store.ErrCorrupt, one of a later version
// store.ErrNewer. Nothing has the name path before everything is on disk. The engine keys are not in a backup: they must be at
// path + ".key", or wherever Options.Keys finds them, before the file is opened.
//
// The next [Open] parks all deliveries that were open in the backup: see [MarkRestored].
func Restore(ctx context.Context, backup io.Reader, path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("appio: restore: %w", err)
		}
	}()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		if err == nil {
			err = os.ErrExist
		}
		return err
	}
	made, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".restore-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(made.Name())
	_, err = io.Copy(made, contextReader{ctx, backup})
	if err = errors.Join(err, made.Close()); err != nil {
		return err
	}
	if err := verifyFile(ctx, made.Name()); err != nil {
		return err
	}
	s, err := boltstore.Open(made.Name(), nil)
	if err != nil {
		return err
	}
	if err := errors.Join(MarkRestored(ctx, s), s.Close()); err != nil {
		return err
	}
	if made, err = os.Open(made.Name()); err != nil {
		return err
	}
	if err := errors.Join(made.Sync(), made.Close()); err != nil {
		return err
	}
	if err := os.Link(made.Name(), path); err != nil { // unlike a rename, it does not replace
		return err
	}
	return syncDir(filepath.Dir(path))
}

// verifyFile reads all of a file, without keys.
func verifyFile(ctx context.Context, path string) (err error) {
	s, err := boltstore.Open(path, &boltstore.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer s.Close()
	var first *Finding
	_, err = Inspect(ctx, s, nil, func(f Finding) {
		if first == nil {
			first = &f
		}
	})
	if err == nil && first != nil {
		err = fmt.Errorf("%w: %s", store.ErrCorrupt, first)
	}
	return err
}

// A contextReader reads until its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// syncDir makes what was made in a directory durable, where a system can.
func syncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	_ = dir.Sync()
	return nil
}

// MarkRestored says of a store that it was just restored from a backup, by store.Restore or by the means of its database, and
// that no engine is on it. The next engine that is asked anything first parks every delivery that was open in the backup, as
// "outcome unknown", for [Engine.Replay]: it may have gone out after the backup was made. It does not need the engine keys. A
// store that no engine has ever used is ErrNotFound.
func MarkRestored(ctx context.Context, s store.Store) error {
	c := (&codec{}).of(ownerMeta)
	mark, err := c.sealWith(&sealer{}, store.Record{Key: keyRestored}, &restoredRecord{toMicro(time.Now())})
	if err != nil {
		return err
	}
	for range conflictTries {
		snaps, err := s.View(ctx, []store.Read{{Owner: ownerMeta, Keys: []store.Key{keyFormat}}})
		if err != nil {
			return err
		}
		if len(snaps[0].Records) == 0 {
			return fmt.Errorf("%w: no engine's store", ErrNotFound)
		}
		errs, err := s.Commit(ctx, []store.Change{{Owner: ownerMeta, Rev: snaps[0].Rev, Put: []store.Record{mark}}})
		if err != nil || errs == nil || errs[0] == nil {
			return err
		}
	}
	return ErrBusy
}

// afterRestore parks what was open, and then takes the mark off with a new instance. It begins anew if it was not finished.
func (e *Engine) afterRestore(ctx context.Context, rev uint64, f formatRecord, r rootRecord) error {
	parked := 0
	err := e.eachDue(ctx, laneDelivery, workLanes, farFuture, func(rec store.Record) *op {
		parked++
		return e.parkUnknownOp(rec)
	})
	if err != nil {
		return err
	}
	if err := e.skipReminders(ctx); err != nil {
		return err
	}
	if err := e.delayDeletions(ctx); err != nil {
		return err
	}
	rand.Read(f.Instance)
	if err := e.writeInstance(ctx, rev, f, r, keyRestored); err != nil {
		return err
	}
	e.log().Warn("the store was restored from a backup: what was to be delivered is parked, as its outcome is not known", "messages", parked)
	return nil
}

// skipReminders leaves out the reminders that have become due since the backup was made: they may have been sent.
func (e *Engine) skipReminders(ctx context.Context) error {
	return e.eachDue(ctx, laneReminder, reminderLanes, e.now(), e.skipReminderOp)
}

func (e *Engine) skipReminderOp(rec store.Record) *op {
	return &op{owner: rec.Owner, keys: []store.Key{rec.Key}, apply: func(tx *draft) error {
		if !tx.has(rec) {
			return nil
		}
		var r reminderRecord
		if err := tx.open(tx.get(rec.Key), &r); errors.Is(err, store.ErrCorrupt) {
			return nil // its turn will show it
		} else if err != nil {
			return err
		}
		r.Last = max(r.Last, toMicro(e.now()))
		return tx.putSealed(store.Record{Key: rec.Key, Lane: rec.Lane, Due: rec.Due}, &r)
	}}
}

// parkUnknownOp parks all deliveries of one record of open work.
func (e *Engine) parkUnknownOp(rec store.Record) *op {
	id := messageIDOf(rec.Key)
	return &op{
		owner: rec.Owner, most: maxRoutes + maxAddresses + 8, keys: []store.Key{rec.Key, outcomeKey(id)},
		apply: func(tx *draft) error {
			now := tx.get(rec.Key)
			if now == nil {
				return nil
			}
			w := &workRecord{}
			if err := tx.open(now, w); errors.Is(err, store.ErrCorrupt) {
				tx.quarantine(now)
				return nil
			} else if err != nil {
				return err
			}
			for len(w.Entries) > 0 {
				w.Entries[0].Cause = unknownOutcome
				if err := e.park(tx, id, w, 0, micro(e.now())); err != nil {
					return err
				}
			}
			return tx.putWork(keysOfWork(id), w, rec.Key)
		},
	}
}

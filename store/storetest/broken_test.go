package storetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// A broken store is a sound one, behind a bug in some of its methods.
type broken struct {
	store.Store
	commit func(context.Context, []store.Change) ([]error, error)
	view   func(context.Context, []store.Read) ([]store.Snapshot, error)
	due    func(context.Context, store.DueQuery) ([]store.Record, error)
	owners func(context.Context, store.Owner, int) ([]store.Owner, error)
	close  func() error
}

func (b *broken) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	if b.commit != nil {
		return b.commit(ctx, changes)
	}
	return b.Store.Commit(ctx, changes)
}

func (b *broken) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	if b.view != nil {
		return b.view(ctx, reads)
	}
	return b.Store.View(ctx, reads)
}

func (b *broken) Due(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
	if b.due != nil {
		return b.due(ctx, q)
	}
	return b.Store.Due(ctx, q)
}

func (b *broken) Owners(ctx context.Context, after store.Owner, limit int) ([]store.Owner, error) {
	if b.owners != nil {
		return b.owners(ctx, after, limit)
	}
	return b.Store.Owners(ctx, after, limit)
}

func (b *broken) Close() error {
	if b.close != nil {
		return b.close()
	}
	return b.Store.Close()
}

// read returns what the sound store holds of an owner.
func (b *broken) read(o store.Owner) store.Snapshot {
	got, err := b.Store.View(context.Background(), []store.Read{{Owner: o, Range: all}})
	if err != nil {
		return store.Snapshot{}
	}
	return got[0]
}

// changing makes Commit change what it was asked.
func (b *broken) changing(change func(c *store.Change)) {
	b.commit = func(ctx context.Context, changes []store.Change) ([]error, error) {
		changes = slices.Clone(changes)
		for i := range changes {
			changes[i].Put, changes[i].Delete = slices.Clone(changes[i].Put), slices.Clone(changes[i].Delete)
			change(&changes[i])
		}
		return b.Store.Commit(ctx, changes)
	}
}

// asking makes View change what it was asked, before it looks, and answering what it answers.
func (b *broken) asking(change func(r *store.Read)) {
	b.view = func(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
		reads = slices.Clone(reads)
		for i := range reads {
			change(&reads[i])
		}
		return b.Store.View(ctx, reads)
	}
}

func (b *broken) answering(change func(r store.Read, s *store.Snapshot)) {
	b.view = func(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
		got, err := b.Store.View(ctx, reads)
		for i := range got {
			change(reads[i], &got[i])
		}
		return got, err
	}
}

// ignoringRevisions makes Commit compare the revision, if it does at all, and write some time later.
func (b *broken) ignoringRevisions(compare bool, pause time.Duration) {
	var mu sync.Mutex
	b.commit = func(ctx context.Context, changes []store.Change) ([]error, error) {
		changes, errs := slices.Clone(changes), make([]error, len(changes))
		for i, c := range changes {
			if compare && b.read(c.Owner).Rev != c.Rev {
				errs[i] = store.ErrConflict
			}
		}
		time.Sleep(pause)
		mu.Lock()
		defer mu.Unlock()
		for i := range changes {
			if errs[i] == nil {
				changes[i].Rev = b.read(changes[i].Owner).Rev
				if _, err := b.Store.Commit(ctx, changes[i:i+1]); err != nil {
					return nil, err
				}
			}
		}
		return errs, nil
	}
}

// shadow makes Due and Owners answer from another store, to which changes go as they are after change.
func (b *broken) shadow(change func(c *store.Change)) {
	other := memstore.New()
	b.due, b.owners = other.Due, other.Owners
	b.commit = func(ctx context.Context, changes []store.Change) ([]error, error) {
		errs, err := b.Store.Commit(ctx, changes)
		changed := slices.Clone(changes)
		for i := range changed {
			changed[i].Put = slices.Clone(changed[i].Put)
			change(&changed[i])
		}
		other.Commit(ctx, changed)
		return errs, err
	}
}

// A bug is a way to break a rule, and the rule that must find it.
type bug struct {
	bug, rule string
	plant     func(b *broken)
}

var bugs = slices.Concat(commitBugs, limitBugs, viewBugs, dueBugs, copyBugs, endBugs, concurrentBugs)

var commitBugs = []bug{
	{"unknown owners have revision 1", "an owner never changed has revision 0 and no records", func(b *broken) {
		b.answering(func(_ store.Read, s *store.Snapshot) { s.Rev = max(s.Rev, 1) })
	}},
	{"updates are lost", "a change applies only at the revision that it names", func(b *broken) { b.ignoringRevisions(false, 0) }},
	{"revision 0 means any", "a change applies only at the revision that it names", func(b *broken) {
		b.changing(func(c *store.Change) {
			if c.Rev == 0 {
				c.Rev = b.read(c.Owner).Rev
			}
		})
	}},
	{"deleting what is not there is a conflict", "put creates and replaces, delete deletes what is there", func(b *broken) {
		b.changing(func(c *store.Change) {
			for _, k := range c.Delete {
				if !slices.Contains(keys(b.read(c.Owner).Records), k) {
					c.Rev = 1 << 60
				}
			}
		})
	}},
	{"put replaces nothing", "put creates and replaces, delete deletes what is there", func(b *broken) {
		b.changing(func(c *store.Change) {
			there := keys(b.read(c.Owner).Records)
			c.Put = slices.DeleteFunc(c.Put, func(r store.Record) bool { return slices.Contains(there, r.Key) })
		})
	}},
	{"records may not name their owner", "a record put may name its owner", func(b *broken) {
		b.changing(func(c *store.Change) {
			for i := range c.Put {
				if c.Put[i].Owner != "" {
					c.Put[i].Owner += "?"
				}
			}
		})
	}},
	{"an empty change does not count", "every change adds one to the revision, an empty one too", func(b *broken) {
		b.commit = func(ctx context.Context, changes []store.Change) ([]error, error) {
			changes = slices.DeleteFunc(slices.Clone(changes), func(c store.Change) bool { return len(c.Put)+len(c.Delete) == 0 })
			return b.Store.Commit(ctx, changes)
		}
	}},
	{"an owner without records is forgotten", "an owner without records keeps its revision", func(b *broken) {
		b.answering(func(r store.Read, s *store.Snapshot) {
			if len(b.read(r.Owner).Records) == 0 {
				s.Rev = 0
			}
		})
	}},
	{"an owner without records may be made anew", "an owner without records keeps its revision", func(b *broken) {
		b.changing(func(c *store.Change) {
			if got := b.read(c.Owner); len(got.Records) == 0 && c.Rev == 0 {
				c.Rev = got.Rev
			}
		})
	}},
	{"a conflict refuses the whole call", "a conflict leaves the other changes of the call alone", func(b *broken) {
		b.commit = func(ctx context.Context, changes []store.Change) ([]error, error) {
			for _, c := range changes {
				if b.read(c.Owner).Rev != c.Rev {
					return slices.Repeat([]error{store.ErrConflict}, len(changes)), nil
				}
			}
			return b.Store.Commit(ctx, changes)
		}
	}},
	{"answers are in the order of owners", "a conflict leaves the other changes of the call alone", func(b *broken) {
		b.commit = func(ctx context.Context, changes []store.Change) ([]error, error) {
			return b.Store.Commit(ctx, slices.SortedFunc(slices.Values(changes), func(a, b store.Change) int { return cmp.Compare(a.Owner, b.Owner) }))
		}
	}},
	{"a refused change deletes all the same", "a change is applied whole or not at all", func(b *broken) {
		b.changing(func(c *store.Change) {
			if got := b.read(c.Owner); got.Rev != c.Rev && len(c.Delete) > 0 {
				c.Put, c.Rev = nil, got.Rev
			}
		})
	}},
	{"a change is cut after 64 records", "a change is applied whole or not at all", func(b *broken) {
		b.changing(func(c *store.Change) { c.Put = c.Put[:min(len(c.Put), 64)] })
	}},
	{"a call without changes is refused", "no changes are no error", func(b *broken) {
		b.commit = func(ctx context.Context, changes []store.Change) ([]error, error) {
			if len(changes) == 0 {
				return nil, store.ErrInvalid
			}
			return b.Store.Commit(ctx, changes)
		}
	}},
	{"values are cut at 65535 bytes", "values have any size up to the limit", func(b *broken) {
		b.changing(func(c *store.Change) {
			for i := range c.Put {
				c.Put[i].Value = c.Put[i].Value[:min(len(c.Put[i].Value), 65535)]
			}
		})
	}},
	{"keys are text", "owners and keys have any bytes, up to the limit", func(b *broken) {
		b.answering(func(_ store.Read, s *store.Snapshot) {
			for i := range s.Records {
				s.Records[i].Key = store.Key(strings.ToValidUTF8(string(s.Records[i].Key), "?"))
			}
		})
	}},
}

var limitBugs = []bug{
	{"what comes before an invalid change is applied", "changes outside the limits are invalid, and nothing of their call is applied", func(b *broken) {
		b.commit = func(ctx context.Context, changes []store.Change) ([]error, error) {
			for i := range changes {
				if _, err := b.Store.Commit(ctx, changes[i:i+1]); err != nil {
					return nil, err
				}
			}
			return nil, nil
		}
	}},
	{"a key named twice is put once", "changes outside the limits are invalid, and nothing of their call is applied", func(b *broken) {
		b.changing(func(c *store.Change) {
			c.Put = slices.CompactFunc(slices.SortedFunc(slices.Values(c.Put), func(a, b store.Record) int { return cmp.Compare(a.Key, b.Key) }),
				func(a, b store.Record) bool { return a.Key == b.Key })
		})
	}},
	{"a large value is cut", "changes outside the limits are invalid, and nothing of their call is applied", func(b *broken) {
		b.changing(func(c *store.Change) {
			for i := range c.Put {
				c.Put[i].Value = c.Put[i].Value[:min(len(c.Put[i].Value), store.MaxValue)]
			}
		})
	}},
	{"times before 1970 are taken for none", "changes outside the limits are invalid, and nothing of their call is applied", func(b *broken) {
		b.changing(func(c *store.Change) {
			for i := range c.Put {
				if c.Put[i].Due.UnixMicro() <= 0 {
					c.Put[i].Due = time.Time{}
				}
			}
		})
	}},
	{"what is invalid has an error of its own", "changes outside the limits are invalid, and nothing of their call is applied", func(b *broken) {
		b.commit = func(ctx context.Context, changes []store.Change) ([]error, error) {
			errs, err := b.Store.Commit(ctx, changes)
			if errors.Is(err, store.ErrInvalid) {
				err = errors.New("key too long")
			}
			return errs, err
		}
	}},
	{"a call may have 1,000 changes", "changes within the limits are made", func(b *broken) {
		b.commit = func(ctx context.Context, changes []store.Change) ([]error, error) {
			if len(changes) > 1000 {
				return nil, store.ErrInvalid
			}
			return b.Store.Commit(ctx, changes)
		}
	}},
	{"a limit too high is lowered", "reads outside the limits are invalid", func(b *broken) {
		b.asking(func(r *store.Read) { r.Range.Limit = min(r.Range.Limit, store.MaxRange) })
	}},
	{"no limit is a hundred", "queries of lanes outside the limits are invalid", func(b *broken) {
		b.due = func(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
			q.Limit = cmp.Or(q.Limit, 100)
			return b.Store.Due(ctx, q)
		}
	}},
	{"no limit of owners is a hundred", "a page of owners outside the limits is invalid", func(b *broken) {
		b.owners = func(ctx context.Context, after store.Owner, limit int) ([]store.Owner, error) {
			return b.Store.Owners(ctx, after, cmp.Or(limit, 100))
		}
	}},
}

var copyBugs = []bug{
	{"values are kept as they were given", "arguments may be changed after the call", func(b *broken) {
		kept := map[store.Key][]byte{}
		b.changing(func(c *store.Change) {
			for _, r := range c.Put {
				kept[r.Key] = r.Value
			}
		})
		b.answering(func(_ store.Read, s *store.Snapshot) {
			for i := range s.Records {
				s.Records[i].Value = bytes.Clone(kept[s.Records[i].Key])
			}
		})
	}},
	{"changes are sorted where they are", "arguments are not changed by the call", func(b *broken) {
		b.commit = func(ctx context.Context, changes []store.Change) ([]error, error) {
			slices.SortFunc(changes, func(a, b store.Change) int { return cmp.Compare(a.Owner, b.Owner) })
			return b.Store.Commit(ctx, changes)
		}
	}},
	{"an answer is kept for who asks again", "answers may be changed by who asked", func(b *broken) {
		kept := map[string][]store.Snapshot{}
		b.view = func(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
			question := fmt.Sprint(reads)
			if kept[question] == nil {
				kept[question], _ = b.Store.View(ctx, reads)
			}
			return kept[question], nil
		}
	}},
	{"values are cut from one buffer, with what follows in reach", "the values of an answer do not touch each other", func(b *broken) {
		b.answering(func(_ store.Read, s *store.Snapshot) {
			var buffer []byte
			for _, r := range s.Records {
				buffer = append(buffer, r.Value...)
			}
			for i, r := range s.Records {
				s.Records[i].Value, buffer = buffer[:len(r.Value)], buffer[len(r.Value):]
			}
		})
	}},
}

var endBugs = []bug{
	{"the context is ignored", "a call whose context has ended does nothing", func(b *broken) {
		b.commit = func(ctx context.Context, changes []store.Change) ([]error, error) {
			return b.Store.Commit(context.WithoutCancel(ctx), changes)
		}
	}},
	{"a cancelled Commit is a plain error", "a call whose context has ended does nothing", func(b *broken) {
		b.commit = func(ctx context.Context, changes []store.Change) ([]error, error) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return b.Store.Commit(ctx, changes)
		}
	}},
	{"aborted is what was not waited for", "a change is surely not applied when its call was aborted", func(b *broken) {
		b.commit = func(ctx context.Context, changes []store.Change) ([]error, error) {
			errs, err := b.Store.Commit(context.WithoutCancel(ctx), changes)
			if ctx.Err() != nil {
				return nil, fmt.Errorf("%w: %w", store.ErrAborted, ctx.Err())
			}
			return errs, err
		}
	}},
	{"Close closes nothing", "after Close every call but Close is ErrClosed", func(b *broken) { b.close = func() error { return nil } }},
	{"a second Close is an error", "after Close every call but Close is ErrClosed", func(b *broken) {
		closed := false
		b.close = func() error {
			if closed {
				return store.ErrClosed
			}
			closed = true
			return b.Store.Close()
		}
	}},
	{"what Close interrupts has another error", "Close may come while the store is at work", func(b *broken) {
		b.commit = func(ctx context.Context, changes []store.Change) ([]error, error) {
			errs, err := b.Store.Commit(ctx, changes)
			if errors.Is(err, store.ErrClosed) {
				err = errors.New("file already closed")
			}
			return errs, err
		}
		b.close = func() error {
			err := b.Store.Close()
			time.Sleep(10 * time.Millisecond)
			return err
		}
	}},
}

var concurrentBugs = []bug{
	{"Commit answers before it is done", "what was committed is seen by who asks next", func(b *broken) {
		b.commit = func(ctx context.Context, changes []store.Change) ([]error, error) {
			time.AfterFunc(100*time.Microsecond, func() { b.Store.Commit(ctx, changes) })
			return nil, nil
		}
	}},
	{"revisions are compared, and then written, not at once", "of changes made from one revision one applies: no update is lost", func(b *broken) {
		b.ignoringRevisions(true, 50*time.Microsecond)
	}},
	{"a batch is not protected from other batches", "of changes of many owners in calls that overlap, each counts once or not at all", func(b *broken) {
		b.ignoringRevisions(true, 50*time.Microsecond)
	}},
	{"a lease is not protected from others", "of those who take one due record each from the same answer, one wins", func(b *broken) {
		b.ignoringRevisions(true, 50*time.Microsecond)
	}},
	{"each key is read on its own", "a snapshot is of one revision, and revisions never go back", func(b *broken) {
		b.view = func(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
			first, err := b.Store.View(ctx, reads)
			if err != nil {
				return nil, err
			}
			time.Sleep(50 * time.Microsecond)
			second, err := b.Store.View(ctx, reads)
			for i := range second {
				second[i].Rev = first[i].Rev
			}
			return second, err
		}
	}},
	{"a read may be answered from a copy left behind", "a snapshot is of one revision, and revisions never go back", func(b *broken) {
		var mu sync.Mutex
		var old []store.Snapshot
		b.view = func(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
			mu.Lock()
			defer mu.Unlock()
			got, err := b.Store.View(ctx, reads)
			if old != nil {
				got, old = old, nil
			} else {
				old = got
				time.Sleep(50 * time.Microsecond)
				got, err = b.Store.View(ctx, reads)
			}
			return got, err
		}
	}},
	{"replacing deletes first", "a record that is replaced all the time is in its lane all the time, once", func(b *broken) {
		b.commit = func(ctx context.Context, changes []store.Change) ([]error, error) {
			for _, c := range changes {
				b.Store.Commit(ctx, []store.Change{{Owner: c.Owner, Rev: 2 * c.Rev, Delete: keys(c.Put)}})
				time.Sleep(50 * time.Microsecond)
				b.Store.Commit(ctx, []store.Change{{Owner: c.Owner, Rev: 2*c.Rev + 1, Put: c.Put}})
			}
			return nil, nil
		}
	}},
	{"From is forgotten when keys are read downwards", "all answers are those of a plain map", func(b *broken) {
		b.asking(func(r *store.Read) {
			if r.Range.KeysOnly && r.Range.Descending {
				r.Range.From = ""
			}
		})
	}},
}

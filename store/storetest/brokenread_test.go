package storetest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio/store"
)

var viewBugs = []bug{
	{"keys are answered in order", "keys are answered in the order asked, absent ones left out", func(b *broken) {
		b.asking(func(r *store.Read) { r.Keys = slices.Sorted(slices.Values(r.Keys)) })
	}},
	{"absent keys are answered", "keys are answered in the order asked, absent ones left out", func(b *broken) {
		b.answering(func(r store.Read, s *store.Snapshot) {
			for len(s.Records) < len(r.Keys) {
				s.Records = append(s.Records, store.Record{})
			}
		})
	}},
	{"To is in the range", "a range begins at From and ends before To", func(b *broken) {
		b.asking(func(r *store.Read) {
			if r.Range.To != "" {
				r.Range.To += "\x00"
			}
		})
	}},
	{"From is not in the range", "a range begins at From and ends before To", func(b *broken) {
		b.asking(func(r *store.Read) {
			if r.Range.From != "" {
				r.Range.From += "\x00"
			}
		})
	}},
	{"descending turns the first ones round", "a limit keeps the first of a range, in its direction", func(b *broken) {
		b.view = func(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
			asked := slices.Clone(reads)
			for i := range asked {
				asked[i].Range.Descending = false
			}
			got, err := b.Store.View(ctx, asked)
			for i := range got {
				if reads[i].Range.Descending {
					slices.Reverse(got[i].Records)
				}
			}
			return got, err
		}
	}},
	{"keys only has values", "keys only has all but the value", func(b *broken) {
		b.asking(func(r *store.Read) { r.Range.KeysOnly = false })
	}},
	{"keys only has no Due", "keys only has all but the value", func(b *broken) {
		b.answering(func(r store.Read, s *store.Snapshot) {
			for i := range s.Records {
				s.Records[i].Due = time.Time{}
			}
		})
	}},
	{"a record is answered once", "the records of Keys come before those of Range", func(b *broken) {
		b.answering(func(_ store.Read, s *store.Snapshot) {
			seen := map[store.Key]bool{}
			s.Records = slices.DeleteFunc(s.Records, func(r store.Record) bool {
				defer func() { seen[r.Key] = true }()
				return seen[r.Key]
			})
		})
	}},
	{"short keys come first", "keys are in byte order", func(b *broken) {
		b.answering(func(_ store.Read, s *store.Snapshot) {
			slices.SortStableFunc(s.Records, func(a, b store.Record) int { return cmp.Compare(len(a.Key), len(b.Key)) })
		})
	}},
	{"an owner's name ends at a zero byte", "owners do not see each other's records", func(b *broken) {
		b.answering(func(r store.Read, s *store.Snapshot) {
			s.Records = append(s.Records, b.read(r.Owner+"\x00").Records...)
		})
	}},
	{"unknown owners have no snapshot", "there is one snapshot per read, in the order of reads", func(b *broken) {
		b.view = func(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
			got, err := b.Store.View(ctx, reads)
			return slices.DeleteFunc(got, func(s store.Snapshot) bool { return s.Rev == 0 }), err
		}
	}},
	{"snapshots are in the order of owners", "there is one snapshot per read, in the order of reads", func(b *broken) {
		b.view = func(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
			return b.Store.View(ctx, slices.SortedFunc(slices.Values(reads), func(a, b store.Read) int { return cmp.Compare(a.Owner, b.Owner) }))
		}
	}},
	{"a range has 1,000 records at most", "a long range is read in pages, from either end", func(b *broken) {
		b.asking(func(r *store.Read) { r.Range.Limit = min(r.Range.Limit, 1000) })
	}},
	{"64 keys are deleted at most", "an owner of many records keeps them while others come and go", func(b *broken) {
		b.changing(func(c *store.Change) { c.Delete = c.Delete[:min(len(c.Delete), 64)] })
	}},
	{"a range ends at a key", "a range may begin and end just after the longest key", func(b *broken) {
		b.view = func(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
			for _, r := range reads {
				if len(r.Range.From) > store.MaxKey || len(r.Range.To) > store.MaxKey {
					return nil, store.ErrInvalid
				}
			}
			return b.Store.View(ctx, reads)
		}
	}},
	{"times are of the place", "times come back in UTC, cut to microseconds", func(b *broken) {
		b.answering(func(_ store.Read, s *store.Snapshot) {
			for i := range s.Records {
				s.Records[i].Due = s.Records[i].Due.In(time.FixedZone("Rome", 3600))
			}
		})
	}},
	{"times are rounded", "times come back in UTC, cut to microseconds", func(b *broken) {
		b.changing(func(c *store.Change) {
			for i := range c.Put {
				if due := c.Put[i].Due; !due.IsZero() && due.Year() < 9999 {
					c.Put[i].Due = due.Round(time.Microsecond)
				}
			}
		})
	}},
}

// resorting makes Due answer in another order.
func (b *broken) resorting(compare func(a, b store.Record) int) {
	b.due = func(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
		got, err := b.Store.Due(ctx, q)
		slices.SortStableFunc(got, compare)
		return got, err
	}
}

// querying makes Due change what it was asked.
func (b *broken) querying(change func(q *store.DueQuery)) {
	b.due = func(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
		change(&q)
		return b.Store.Due(ctx, q)
	}
}

var dueBugs = []bug{
	{"ties are in the order of keys", "due records come oldest first, ties by owner and then by key", func(b *broken) {
		b.resorting(func(a, b store.Record) int { return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.Key, b.Key)) })
	}},
	{"the latest come first", "due records come oldest first, ties by owner and then by key", func(b *broken) {
		b.resorting(func(a, b store.Record) int { return b.Due.Compare(a.Due) })
	}},
	{"a record is due after its time", "a record is due at its time, not before, and never without one", func(b *broken) {
		b.querying(func(q *store.DueQuery) {
			if !q.Until.IsZero() {
				q.Until = q.Until.Add(-time.Microsecond)
			}
		})
	}},
	{"a record is due in the same second", "a record is due at its time, not before, and never without one", func(b *broken) {
		b.querying(func(q *store.DueQuery) { q.Until = q.Until.Truncate(time.Second).Add(time.Second) })
	}},
	{"lanes are merged", "lanes stand together, in the order asked, each with its own limit", func(b *broken) { b.resorting(comparePlace) }},
	{"lanes are in their own order", "lanes stand together, in the order asked, each with its own limit", func(b *broken) {
		b.querying(func(q *store.DueQuery) { q.Lanes = slices.Sorted(slices.Values(q.Lanes)) })
	}},
	{"the limit is that of all lanes", "lanes stand together, in the order asked, each with its own limit", func(b *broken) {
		b.due = func(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
			got, err := b.Store.Due(ctx, q)
			return got[:min(len(got), q.Limit)], err
		}
	}},
	{"lanes are cut together, oldest first", "10,000 stuck records delay no other lane, and are stepped over with After", func(b *broken) {
		b.due = func(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
			got, err := b.Store.Due(ctx, q)
			slices.SortStableFunc(got, comparePlace)
			return got[:min(len(got), q.Limit)], err
		}
	}},
	{"After is ignored", "10,000 stuck records delay no other lane, and are stepped over with After", func(b *broken) {
		b.querying(func(q *store.DueQuery) { q.After = store.Position{} })
	}},
	{"After is a time only", "After is a place, whether a record is there or not", func(b *broken) {
		b.querying(func(q *store.DueQuery) { q.After.Owner, q.After.Key = "", "" })
	}},
	{"After must be there", "After is a place, whether a record is there or not", func(b *broken) {
		b.due = func(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
			if q.After.Owner != "" && !slices.Contains(keys(b.read(q.After.Owner).Records), q.After.Key) {
				return nil, errors.New("no such position")
			}
			return b.Store.Due(ctx, q)
		}
	}},
	{"a record stays in its lane when its Due is cleared", "a record leaves its lane when its Due or Lane changes, or it is deleted", func(b *broken) {
		b.shadow(func(c *store.Change) {
			c.Put = slices.DeleteFunc(c.Put, func(r store.Record) bool { return r.Due.IsZero() })
		})
	}},
	{"a record stays in its lane when it is deleted", "a record leaves its lane when its Due or Lane changes, or it is deleted", func(b *broken) {
		b.shadow(func(c *store.Change) { c.Delete = nil })
	}},
	{"a record stays in its lane when it moves to another", "a record leaves its lane when its Due or Lane changes, or it is deleted", func(b *broken) {
		b.shadow(func(c *store.Change) {
			for _, r := range c.Put {
				r.Key += store.Key(rune(r.Lane))
				c.Put = append(c.Put, r)
			}
		})
	}},
	{"due records have no value", "a due record has its value and its owner", func(b *broken) {
		b.due = func(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
			got, err := b.Store.Due(ctx, q)
			for i := range got {
				got[i].Value = nil
			}
			return got, err
		}
	}},
	{"owners are listed without regard to case", "owners are listed in byte order, in pages", func(b *broken) {
		b.owners = func(ctx context.Context, after store.Owner, limit int) ([]store.Owner, error) {
			got, err := b.Store.Owners(ctx, after, limit)
			slices.SortStableFunc(got, func(a, b store.Owner) int {
				return cmp.Compare(strings.ToLower(string(a)), strings.ToLower(string(b)))
			})
			return got, err
		}
	}},
	{"a page of owners begins with the one it is after", "owners are listed in byte order, in pages", func(b *broken) {
		b.owners = func(ctx context.Context, after store.Owner, limit int) ([]store.Owner, error) {
			got, err := b.Store.Owners(ctx, after, limit)
			if after != "" && err == nil {
				got = slices.Insert(got, 0, after)[:min(limit, len(got)+1)]
			}
			return got, err
		}
	}},
	{"owners without records are listed", "owners without records are not listed", func(b *broken) {
		b.shadow(func(c *store.Change) { c.Put = append(c.Put, put("always", "v")) })
	}},
}

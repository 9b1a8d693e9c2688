package appio

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"iter"
	"slices"

	"github.com/appio-go/appio/store"
)

// A List is read whole, as an iterator, or by pages. Making one does no I/O.
type List[T any] struct {
	e    *Engine
	name string // what it is a list of, for its cursors
	read func(ctx context.Context, p position, limit int) (found[T], error)
}

// found is what a list's read came upon: at most limit items in the list's order, each with its key. resume is the key to go
// on from if reading stopped before limit and before the end.
type found[T any] struct {
	items  []T
	keys   []string
	resume string
}

func (f *found[T]) add(item T, key string) {
	f.items, f.keys = append(f.items, item), append(f.keys, key)
}

// maxPage is the most items of a page.
const maxPage = 100

func newList[T any](e *Engine, name string, read func(context.Context, position, int) (found[T], error)) List[T] {
	return List[T]{e, name, read}
}

// A Page is a part of a [List].
type Page[T any] struct {
	Items      []T
	Prev, Next Cursor // empty: nothing there
}

// A Cursor is opaque, authenticated, bound to its list, and safe in a URL.
type Cursor string

// A position is where a page starts: after the item with this key in the list's order, or, with before, before it.
type position struct {
	key    string
	before bool
}

// rangeOf is the range of the keys with a prefix from a position on, in a list of falling or growing keys.
func (p position) rangeOf(prefix string, limit int, falling bool) store.Range {
	r := all(prefix, limit)
	r.Descending = falling != p.before
	switch {
	case p.key == "":
	case r.Descending:
		r.To = store.Key(prefix + p.key)
	default:
		r.From = store.Key(prefix + p.key + "\x7f") // after what hangs on the key, too
	}
	return r
}

// All yields the items, and at most one error, last: all that can be read come before ErrIncomplete. It reads in pages and holds nothing open
// between them.
func (l List[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var c Cursor
		var zero T
		var incomplete error
		for {
			page, err := l.Page(ctx, c, 0)
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if errors.Is(err, ErrIncomplete) {
				incomplete = err
			} else if err != nil {
				yield(zero, err)
				return
			}
			if page.Next == "" {
				break
			}
			c = page.Next
		}
		if incomplete != nil {
			yield(zero, incomplete)
		}
	}
}

// Page is one page after (or, for a Prev cursor, before) the cursor; an empty cursor is the start. limit 0 means 100, the
// most; more is cut to it. A page may have fewer items than limit although Next is set, where a filter leaves many out. A
// cursor that is not from this list is ErrInvalid. With ErrIncomplete it is the page as far as it can be read.
func (l List[T]) Page(ctx context.Context, c Cursor, limit int) (Page[T], error) {
	var page Page[T]
	if limit < 0 {
		return page, invalid("limit", "0 to 100")
	}
	if limit == 0 || limit > maxPage {
		limit = maxPage
	}
	if err := l.e.ready(ctx); err != nil {
		return page, err
	}
	p, err := l.e.codec.openCursor(l.name, c)
	if err != nil {
		return page, err
	}
	r, incomplete := l.read(ctx, p, limit+1)
	if err := butIncomplete(incomplete); err != nil {
		return page, err
	}
	cut := len(r.items) > limit // in the direction of reading
	if cut && p.before {
		r.items, r.keys, r.resume = r.items[1:], r.keys[1:], r.keys[1]
	} else if cut {
		r.items, r.keys, r.resume = r.items[:limit], r.keys[:limit], r.keys[limit-1]
		if planted == "cursor-skips" {
			r.resume = r.keys[:limit+1][limit]
		}
	}
	page.Items = r.items
	ahead := l.cursor(r.resume, p.before)
	var behind Cursor
	switch {
	case c == "":
	case len(r.keys) == 0: // back from beyond the end is all there is on that side
		behind = l.e.codec.sealCursor(l.name, position{before: !p.before})
	case p.before:
		behind = l.cursor(r.keys[len(r.keys)-1], false)
	default:
		behind = l.cursor(r.keys[0], true)
	}
	if p.before {
		page.Prev, page.Next = ahead, behind
	} else {
		page.Prev, page.Next = behind, ahead
	}
	return page, incomplete
}

// Reversed is the list in the other order. One that is read forwards only cannot be: its pages are ErrInvalid.
func (l List[T]) Reversed() List[T] {
	return newList(l.e, l.name+"\x00reversed", func(ctx context.Context, p position, limit int) (found[T], error) {
		f, err := l.read(ctx, position{p.key, !p.before}, limit)
		slices.Reverse(f.items)
		slices.Reverse(f.keys)
		return f, err
	})
}

func (l List[T]) cursor(key string, before bool) Cursor {
	if key == "" {
		return ""
	}
	return l.e.codec.sealCursor(l.name, position{key, before})
}

// sealCursor seals a position for one list: it says nothing, and fits no other.
func (c *codec) sealCursor(list string, p position) Cursor {
	b := []byte{0}
	if p.before {
		b[0] = 1
	}
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	out := c.cursor.Seal(nonce, nonce, append(b, p.key...), []byte(list))
	return Cursor(base64.RawURLEncoding.EncodeToString(out))
}

func (c *codec) openCursor(list string, cur Cursor) (position, error) {
	if cur == "" {
		return position{}, nil
	}
	bad := invalid("Cursor", "one that this list gave")
	b, err := decodeText(string(cur))
	if err != nil || len(b) < nonceSize+tagSize+1 {
		return position{}, bad
	}
	b, err = c.cursor.Open(nil, b[:nonceSize], b[nonceSize:], []byte(list))
	if err != nil {
		return position{}, bad
	}
	return position{string(b[1:]), b[0] == 1}, nil
}

func reversed(rs []store.Record) []store.Record {
	rs = slices.Clone(rs)
	slices.Reverse(rs)
	return rs
}

package memstore

import (
	"iter"
	"slices"
	"sort"
)

// chunkLen is the length at which a chunk of a list is cut in two: moving that many is still faster than following
// the pointers of a tree.
const chunkLen = 512

// A list holds items in order, in chunks, so that putting one anywhere into a million moves a few hundred. It does not know
// the order: who searches gives it. No chunk is empty.
type list[T any] struct {
	chunks [][]T
}

// A place is that of an item of a list, or just after the last one.
type place struct{ chunk, item int }

// seek returns the place of the first item that is not before what is sought.
func (l *list[T]) seek(before func(T) bool) place {
	c := sort.Search(len(l.chunks), func(i int) bool {
		chunk := l.chunks[i]
		return !before(chunk[len(chunk)-1])
	})
	if c == len(l.chunks) {
		return place{c, 0}
	}
	chunk := l.chunks[c]
	return place{c, sort.Search(len(chunk), func(i int) bool { return !before(chunk[i]) })}
}

// at returns the item at p, false after the last.
func (l *list[T]) at(p place) (item T, ok bool) {
	if p.chunk == len(l.chunks) {
		return item, false
	}
	return l.chunks[p.chunk][p.item], true
}

// insert puts item before the one at p.
func (l *list[T]) insert(p place, item T) {
	if p.chunk == len(l.chunks) { // after all others: fill the last chunk, and start a new one rather than cut it
		if n := len(l.chunks); n > 0 && len(l.chunks[n-1]) < chunkLen {
			l.chunks[n-1] = append(l.chunks[n-1], item)
		} else {
			l.chunks = append(l.chunks, []T{item})
		}
		return
	}
	chunk := slices.Insert(l.chunks[p.chunk], p.item, item)
	if len(chunk) > chunkLen {
		half := len(chunk) / 2
		l.chunks = slices.Insert(l.chunks, p.chunk+1, slices.Clone(chunk[half:]))
		clear(chunk[half:])
		chunk = chunk[:half]
	}
	l.chunks[p.chunk] = chunk
}

// replace puts item in the place of the one at p.
func (l *list[T]) replace(p place, item T) { l.chunks[p.chunk][p.item] = item }

// remove takes out the item at p. Chunks that became small are joined.
func (l *list[T]) remove(p place) {
	c := p.chunk
	l.chunks[c] = slices.Delete(l.chunks[c], p.item, p.item+1)
	if c+1 < len(l.chunks) && len(l.chunks[c])+len(l.chunks[c+1]) <= chunkLen/2 {
		l.chunks[c] = append(l.chunks[c], l.chunks[c+1]...)
		l.chunks = slices.Delete(l.chunks, c+1, c+2)
	} else if len(l.chunks[c]) == 0 {
		l.chunks = slices.Delete(l.chunks, c, c+1)
	}
}

// empty reports whether there is no item.
func (l *list[T]) empty() bool { return len(l.chunks) == 0 }

// from yields the item at p and all after it.
func (l *list[T]) from(p place) iter.Seq[T] {
	return func(yield func(T) bool) {
		for ; p.chunk < len(l.chunks); p = (place{p.chunk + 1, 0}) {
			for _, item := range l.chunks[p.chunk][p.item:] {
				if !yield(item) {
					return
				}
			}
		}
	}
}

// before yields the items before p, the last one first.
func (l *list[T]) before(p place) iter.Seq[T] {
	return func(yield func(T) bool) {
		for {
			for p.item > 0 {
				p.item--
				if !yield(l.chunks[p.chunk][p.item]) {
					return
				}
			}
			if p.chunk == 0 {
				return
			}
			p = place{p.chunk - 1, len(l.chunks[p.chunk-1])}
		}
	}
}

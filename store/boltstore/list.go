package boltstore

import "sort"

// A list keeps items in order, in chunks short enough that an insertion moves little.
type list[T any] struct{ chunks [][]T }

// maxChunk items are the most in a chunk.
const maxChunk = 128

// A spot is where an item of a list is.
type spot struct{ chunk, item int }

// seek returns the spot of the first item that is not before the one sought, which may be that of no item.
func (l *list[T]) seek(before func(*T) bool) spot {
	c := sort.Search(len(l.chunks), func(i int) bool {
		chunk := l.chunks[i]
		return !before(&chunk[len(chunk)-1])
	})
	if c == len(l.chunks) {
		return l.end()
	}
	chunk := l.chunks[c]
	return spot{c, sort.Search(len(chunk), func(i int) bool { return !before(&chunk[i]) })}
}

// end returns the spot after the last item.
func (l *list[T]) end() spot { return spot{len(l.chunks), 0} }

// at returns the item at p, nil at the end.
func (l *list[T]) at(p spot) *T {
	if p.chunk >= len(l.chunks) {
		return nil
	}
	return &l.chunks[p.chunk][p.item]
}

// after returns the spot of the item that follows p.
func (l *list[T]) after(p spot) spot {
	if p.item++; p.item == len(l.chunks[p.chunk]) {
		return spot{p.chunk + 1, 0}
	}
	return p
}

// before returns the spot of the item that p follows, and false if it is none.
func (l *list[T]) before(p spot) (spot, bool) {
	if p.item > 0 {
		return spot{p.chunk, p.item - 1}, true
	}
	if p.chunk == 0 {
		return p, false
	}
	return spot{p.chunk - 1, len(l.chunks[p.chunk-1]) - 1}, true
}

// insert puts an item where seek found its spot; an empty list makes room for n.
func (l *list[T]) insert(p spot, item T, n int) {
	if p.chunk == len(l.chunks) { // after the last item: into the last chunk
		if p.chunk == 0 {
			l.chunks = [][]T{append(make([]T, 0, min(n, maxChunk)), item)}
			return
		}
		p = spot{p.chunk - 1, len(l.chunks[p.chunk-1])}
	}
	chunk := l.chunks[p.chunk]
	if len(chunk) == maxChunk {
		half := maxChunk / 2
		if p.item == maxChunk { // in order, as most are: leave full chunks behind
			half = maxChunk - 1
		}
		second := append(make([]T, 0, maxChunk), chunk[half:]...)
		clear(chunk[half:])
		l.chunks = append(l.chunks, nil)
		copy(l.chunks[p.chunk+2:], l.chunks[p.chunk+1:])
		l.chunks[p.chunk], l.chunks[p.chunk+1] = chunk[:half], second
		if p.item > half {
			p = spot{p.chunk + 1, p.item - half}
		}
		chunk = l.chunks[p.chunk]
	}
	var zero T
	chunk = append(chunk, zero)
	copy(chunk[p.item+1:], chunk[p.item:])
	chunk[p.item] = item
	l.chunks[p.chunk] = chunk
}

// remove takes the item at p out.
func (l *list[T]) remove(p spot) {
	chunk := l.chunks[p.chunk]
	copy(chunk[p.item:], chunk[p.item+1:])
	clear(chunk[len(chunk)-1:])
	if chunk = chunk[:len(chunk)-1]; len(chunk) > 0 {
		l.chunks[p.chunk] = chunk
		return
	}
	l.chunks = append(l.chunks[:p.chunk], l.chunks[p.chunk+1:]...)
}

package boltstore

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"io"
	"os"

	"go.etcd.io/bbolt"
)

// bbolt has no checksum on its pages. A damaged one can send it in circles, or to memory that is not there; and unless its
// last Close wrote which pages are free, Open looks at all pages in a goroutine of its own, where a panic ends the process, as
// does any fault that it finds. So before bbolt opens a file, an inspector looks at all that bbolt will: what it then does with
// the file may fail, but where it can be contained.
//
// The inspector knows how bbolt, version 2 of its format, lays out pages. Numbers are in the order of bytes of the machine.
type inspector struct {
	file     io.ReaderAt
	pageSize uint64
	pages    uint64   // below this number pages are in use, or free
	seen     []uint64 // bits: pages that belong to something
	whole    bool     // leaves and the order of keys are looked at too, as bbolt will
	used     uint64   // pages that belong to something
	buf, key []byte
}

const (
	pageHead    = 16 // number 8, kind 2, count of elements 2, count of pages that follow and belong to it 4
	elementSize = 16 // of a leaf: kind 4, where the key is 4, size of the key 4, and of the value 4
	bucketHead  = 16 // root page 8, sequence 8; an inline page follows if the root is 0

	kindBranch   = 1
	kindLeaf     = 2
	kindFreelist = 0x10

	boltMagic  = 0xED0CDAED
	metaSize   = 64
	noFreelist = ^uint64(0)
)

// inspect checks the file at path, unless it may be made and there is none, or an empty one. The file is locked meanwhile, but
// not any more when inspect returns. If the file is only to be read, idle is how many of its bytes are free.
func inspect(path string, opts *Options) (idle int64, err error) {
	info, err := os.Stat(path)
	switch {
	case os.IsNotExist(err) && !opts.ReadOnly:
		return 0, nil
	case err != nil:
		return 0, err
	case info.Size() == 0 && opts.ReadOnly:
		return 0, damaged("the file is empty")
	case info.Size() == 0:
		return 0, nil
	}
	var file *os.File
	db, err := bbolt.Open(path, 0, &bbolt.Options{
		ReadOnly: true, // so that bbolt looks at nothing but the meta pages
		Timeout:  opts.LockTimeout,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			var err error
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		},
	})
	defer func() { // bbolt does not if it panics
		if file != nil {
			unlock(file)
			file.Close()
		}
	}()
	if err != nil {
		return 0, err
	}
	defer db.Close()
	if info, err = file.Stat(); err != nil {
		return 0, err
	}
	n := &inspector{file: file, whole: opts.ReadOnly}
	if err := n.inspect(uint64(info.Size())); err != nil || !opts.ReadOnly {
		return 0, err
	}
	return info.Size() - int64(n.used*n.pageSize), nil
}

var native = binary.NativeEndian

func (n *inspector) inspect(size uint64) error {
	meta, err := n.meta()
	if err != nil {
		return err
	}
	n.pageSize = uint64(native.Uint32(meta[8:]))
	root, free := native.Uint64(meta[16:]), native.Uint64(meta[32:])
	n.pages = native.Uint64(meta[40:])
	if n.pageSize < 1024 || n.pages > size/n.pageSize {
		return damaged("the file is too short")
	}
	n.seen = make([]uint64, n.pages/64+1)
	n.mark(0, 2)
	if free != noFreelist {
		if err := n.freelist(free); err != nil {
			return err
		}
	}
	n.whole = n.whole || free == noFreelist
	_, err = n.tree(root, bounds{}, true, 0)
	return err
}

// meta returns the newer of the two meta pages that are in order.
func (n *inspector) meta() (newest []byte, err error) {
	for at := int64(0); at <= 16<<20; at = max(2*at, 1024) { // the second one follows the first page, of unknown size
		b := make([]byte, pageHead+metaSize)
		if _, err := n.file.ReadAt(b, at); err != nil {
			break
		}
		b = b[pageHead:]
		h := fnv.New64a()
		h.Write(b[:metaSize-8])
		switch {
		case native.Uint32(b) != boltMagic || native.Uint64(b[metaSize-8:]) != h.Sum64():
		case at > 0 && at != int64(native.Uint32(b[8:])):
		case newest == nil || native.Uint64(b[48:]) > native.Uint64(newest[48:]):
			newest = b
		}
	}
	if newest == nil {
		return nil, damaged("the meta pages")
	}
	return newest, nil
}

// A page is the first page of some that belong together, and as much more as their elements take. It is valid until the next
// one is read.
type page struct {
	id, room uint64 // room is how many bytes all pages have
	b        []byte
	count    int // of elements
}

func (n *inspector) page(id uint64) (p page, err error) {
	if id < 2 || id >= n.pages {
		return p, damaged("a page that is not there")
	}
	if n.buf == nil {
		n.buf = make([]byte, n.pageSize)
	}
	p = page{id: id, b: n.buf}
	if _, err := n.file.ReadAt(p.b, int64(id*n.pageSize)); err != nil {
		return p, err
	}
	more := uint64(native.Uint32(p.b[12:]))
	if native.Uint64(p.b) != id || !n.mark(id, more+1) {
		return p, damaged("a page")
	}
	p.count, p.room = int(native.Uint16(p.b[10:])), (more+1)*n.pageSize
	if p.kind() == kindFreelist {
		return p, nil
	}
	need := pageHead + elementSize*uint64(p.count)
	if need > p.room {
		return p, damaged("a page")
	}
	if need > n.pageSize {
		p.b = make([]byte, need)
		if _, err := n.file.ReadAt(p.b, int64(id*n.pageSize)); err != nil {
			return p, err
		}
	}
	return p, nil
}

func (p *page) kind() uint16 { return native.Uint16(p.b[8:]) }

// element returns the i-th element, and where it is: its key is counted from there.
func (p *page) element(i int) (b []byte, at uint64) {
	at = pageHead + elementSize*uint64(i)
	return p.b[at:][:elementSize], at
}

// mark notes that pages belong to something, and reports false if some do already, or are not there.
func (n *inspector) mark(id, count uint64) bool {
	if count > n.pages-id {
		return false
	}
	n.used += count
	for ; count > 0; count, id = count-1, id+1 {
		bit := uint64(1) << (id % 64)
		if n.seen[id/64]&bit != 0 {
			return false
		}
		n.seen[id/64] |= bit
	}
	return true
}

// maxDepth is above the depth of any tree.
const maxDepth = 64

// A bounds is between what the keys of a page must be: min <= key < max. nil is no bound.
type bounds struct{ min, max []byte }

// tree checks the pages of a tree from a page on, and returns its last key. Buckets are in the first tree only.
func (n *inspector) tree(id uint64, keys bounds, buckets bool, depth int) (last []byte, err error) {
	p, err := n.page(id)
	switch {
	case err != nil:
		return nil, err
	case p.kind() == kindLeaf:
		if buckets {
			p.b = bytes.Clone(p.b)
		}
		return n.leaf(&p, keys, buckets)
	case p.kind() != kindBranch || p.count == 0 || depth == maxDepth:
		return nil, damaged("a page")
	}
	p.b = bytes.Clone(p.b)
	below := make([]uint64, p.count)
	names := make([][]byte, p.count+1)
	for i := range p.count {
		e, at := p.element(i)
		below[i] = native.Uint64(e[8:])
		if names[i], err = n.name(&p, at+uint64(native.Uint32(e)), uint64(native.Uint32(e[4:]))); err != nil {
			return nil, err
		}
		names[i] = bytes.Clone(names[i])
	}
	names[p.count] = keys.max
	if !n.whole && !buckets {
		if leaves, err := n.leaves(below); leaves || err != nil {
			return nil, err
		}
	}
	last = keys.min
	for i, id := range below {
		if n.whole && !follows(last, names[i], i == 0, keys.max) {
			return nil, damaged("the order of keys")
		}
		if last, err = n.tree(id, bounds{names[i], names[i+1]}, buckets, depth+1); err != nil {
			return nil, err
		}
	}
	return last, nil
}

// follows reports whether key may come after another one, or be the same if it is the first of a page, and is below max.
func follows(before, key []byte, first bool, max []byte) bool {
	order := bytes.Compare(before, key)
	return (order < 0 || order == 0 && first || before == nil) && (max == nil || bytes.Compare(key, max) < 0)
}

// leaves reports whether the pages are leaves, as all are if one is, and marks them.
func (n *inspector) leaves(below []uint64) (bool, error) {
	var head [pageHead]byte
	if id := below[0]; id < 2 || id >= n.pages {
		return false, damaged("a page that is not there")
	} else if _, err := n.file.ReadAt(head[:], int64(id*n.pageSize)); err != nil {
		return false, err
	}
	if native.Uint16(head[8:]) == kindBranch {
		return false, nil
	}
	for _, id := range below {
		if id < 2 || id >= n.pages || !n.mark(id, 1) {
			return false, damaged("a page")
		}
	}
	return true, nil
}

// name returns the key of an element, which is somewhere in the pages of p. It is valid until the next one is read.
func (n *inspector) name(p *page, at, size uint64) ([]byte, error) {
	switch {
	case at+size > p.room || size == 0:
		return nil, damaged("a page")
	case at+size <= uint64(len(p.b)):
		return p.b[at:][:size], nil
	case size > bbolt.MaxKeySize:
		return nil, damaged("a page")
	}
	n.key = append(n.key[:0], make([]byte, size)...)
	_, err := n.file.ReadAt(n.key, int64(p.id*n.pageSize+at))
	return n.key, err
}

// leaf checks the elements of a leaf, and returns its last key.
func (n *inspector) leaf(p *page, keys bounds, buckets bool) (last []byte, err error) {
	for i := range p.count {
		e, at := p.element(i)
		at += uint64(native.Uint32(e[4:]))
		kind, keySize, valueSize := native.Uint32(e), uint64(native.Uint32(e[8:])), uint64(native.Uint32(e[12:]))
		if at+keySize+valueSize > p.room {
			return nil, damaged("a page")
		}
		if n.whole {
			name, err := n.name(p, at, keySize)
			switch {
			case err != nil:
				return nil, err
			case i == 0 && !follows(keys.min, name, true, keys.max), i > 0 && !follows(last, name, false, keys.max):
				return nil, damaged("the order of keys")
			}
			last = append(last[:0], name...)
		}
		switch {
		case kind == 0:
		case kind != 1 || !buckets || valueSize < bucketHead:
			return nil, damaged("a page")
		default:
			if err := n.bucket(p.id*n.pageSize+at+keySize, valueSize); err != nil {
				return nil, err
			}
		}
	}
	return last, nil
}

// bucket checks the bucket whose head is at some place of the file.
func (n *inspector) bucket(at, size uint64) error {
	b := make([]byte, size)
	if _, err := n.file.ReadAt(b, int64(at)); err != nil {
		return err
	}
	if root := native.Uint64(b); root != 0 {
		_, err := n.tree(root, bounds{}, false, 0)
		return err
	}
	b = b[bucketHead:]
	if len(b) < pageHead || native.Uint16(b[8:]) != kindLeaf {
		return damaged("a bucket")
	}
	p := page{b: b, room: uint64(len(b)), count: int(native.Uint16(b[10:]))}
	if pageHead+elementSize*p.count > len(b) {
		return damaged("a bucket")
	}
	_, err := n.leaf(&p, bounds{}, false)
	return err
}

// freelist checks the list of free pages, so that none is in use.
func (n *inspector) freelist(id uint64) error {
	p, err := n.page(id)
	if err != nil {
		return err
	}
	if p.kind() != kindFreelist || p.room > n.pages*8+2*n.pageSize {
		return damaged("the free list")
	}
	b := make([]byte, p.room)
	if _, err := n.file.ReadAt(b, int64(id*n.pageSize)); err != nil {
		return err
	}
	count, at := uint64(p.count), uint64(pageHead)
	if count == 0xffff {
		count, at = native.Uint64(b[at:]), at+8
	}
	if count > (p.room-at)/8 {
		return damaged("the free list")
	}
	for range count {
		free := native.Uint64(b[at:])
		if at += 8; free < 2 || free >= n.pages || !n.mark(free, 1) {
			return damaged("the free list")
		}
	}
	n.used -= count
	return nil
}

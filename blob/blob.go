// Package blob keeps documents that messages carry: bytes of some megabytes, beside the records of a [store.Store], which are small.
//
// A document is put whole, is never changed, and is deleted. The engine seals it before it is put, under a key of its own that is kept with
// the message; so a Store sees no content, and one that is read by others shows none. It names documents by random ids.
//
// Package fileblob keeps them in files, memblob in memory; package blobtest checks any other.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/appio-go/appio/store"
)

// An ID names a document: 1 to 100 bytes of small ASCII letters, digits, "_" and "-", which every file system can tell apart.
type ID string

// Info is what a Store says of a document without reading it.
type Info struct {
	ID   ID
	Size int64 // of what was put, in bytes
}

// A Store keeps documents. It is used concurrently, also by several processes where it says so, and never retries. It does not keep or change
// its arguments. A call whose context ends returns soon.
type Store interface {
	// Put keeps what r has up to its end. When it returns nil, all of it is durable: it is there after a crash of the process or the
	// machine. Where r fails, or ctx ends, Put answers with that error and nothing is there; after any other error it may be. Nobody sees a
	// document before it is whole. An id that is taken is ErrExists, and what it has stays as it is.
	Put(ctx context.Context, id ID, r io.Reader) error

	// Open reads a document, or answers ErrNotFound. What its Read has given is what was put if it ends with io.EOF: damage is
	// ErrCorrupt instead, from Open or from a Read, and may be found only at the end. The reader is closed by the caller.
	Open(ctx context.Context, id ID) (io.ReadCloser, error)

	// Delete removes a document, durably; one that is not there is no error. Who has it open may read it to its end, or gets an error.
	Delete(ctx context.Context, id ID) error

	// All yields every document once, in any order, and at most one error, last. One that is put or deleted meanwhile is there or
	// not. The caller may call other methods between two of them.
	All(ctx context.Context) iter.Seq2[Info, error]
}

var (
	// ErrInvalid is returned for an id that is none.
	ErrInvalid = errors.New("blob: invalid id")
	// ErrNotFound is returned for a document that is not there.
	ErrNotFound = errors.New("blob: not found")
	// ErrExists is returned for an id that is taken.
	ErrExists = errors.New("blob: the id is taken")
	// ErrCorrupt is returned for a document that is not what was put. It is a [store.ErrCorrupt].
	ErrCorrupt = fmt.Errorf("%w: a document is not what was put", store.ErrCorrupt)
)

const idChars = "abcdefghijklmnopqrstuvwxyz0123456789_-"

// Valid reports whether id has the form of one.
func (id ID) Valid() bool {
	return len(id) >= 1 && len(id) <= 100 && strings.Trim(string(id), idChars) == ""
}

// A Reader reads from R until its context ends. It is for who writes a Store: r of Put may be endless.
type Reader struct {
	Context context.Context
	R       io.Reader
}

// Read is R's.
func (r Reader) Read(p []byte) (int, error) {
	if err := context.Cause(r.Context); err != nil {
		return 0, err
	}
	return r.R.Read(p)
}

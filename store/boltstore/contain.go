package boltstore

import (
	"runtime"
	"runtime/debug"

	"github.com/appio-go/appio/store"
)

// contain calls f, which uses bbolt, and returns a *panicError if that panics or faults. bbolt trusts what it reads from its
// file: a damaged one makes it panic, or read memory that is not there, which would end the process. Its locks may be held
// from then on, so the file must not be used again.
func contain(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch p := recover().(type) {
		case nil:
		case runtime.Error:
			err = &panicError{p.Error()}
		default: // its text may hold keys
			err = &panicError{"bbolt cannot read its file"}
		}
	}()
	return f()
}

// A panicError is a store.ErrCorrupt after which the file must not be used.
type panicError struct{ text string }

func (e *panicError) Error() string { return store.ErrCorrupt.Error() + ": " + e.text }
func (e *panicError) Unwrap() error { return store.ErrCorrupt }

package boltstore

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/appio-go/appio/store"
)

// contain calls f, which uses bbolt, and returns store.ErrCorrupt if that panics or faults. bbolt trusts what it reads from
// its file: a damaged one makes it panic, or read memory that is not there, which would end the process. Its locks may be
// held from then on, so the file must not be used again.
func contain(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch p := recover().(type) {
		case nil:
		case runtime.Error:
			err = fmt.Errorf("%w: %w", store.ErrCorrupt, p)
		default: // its text may hold keys
			err = fmt.Errorf("%w: bbolt cannot read its file", store.ErrCorrupt)
		}
	}()
	return f()
}

// Package verdict has the error by which a channel says more than that it did not work: appio makes it, and channeltest reads it.
package verdict

import "time"

// A Kind is what an error says of further attempts.
type Kind uint8

// The kinds.
const (
	Later     Kind = iota // they may go better
	Permanent             // none can
	Gone                  // none can, for the address does not exist any more
)

// An Error is a marked one.
type Error struct {
	Err     error
	Verdict Kind
	After   time.Duration // no attempt before
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns what was marked.
func (e *Error) Unwrap() error { return e.Err }

package store

import "errors"

// In the answer of Commit: per item, and of the call.
var (
	// ErrAborted is returned when surely nothing of a call was applied: it may be tried again.
	ErrAborted = errors.New("store: aborted")
	// ErrInvalid is returned for a call outside the limits of the contract. It is an [ErrAborted].
	ErrInvalid error = &abortedError{"store: invalid"}
	// ErrConflict is returned when an owner's revision was not the one that the change names.
	ErrConflict = errors.New("store: revision conflict")
)

// On opening.
var (
	// ErrLocked is returned when another process has the store open.
	ErrLocked = errors.New("store: in use by another process")
	// ErrKey is returned when the engine key is not the one that the store was made with.
	ErrKey = errors.New("store: wrong key")
	// ErrNewer is returned when a store or a record has a format newer than this program knows.
	ErrNewer = errors.New("store: newer format")
)

// On any call.
var (
	// ErrClosed is returned after Close. It is an [ErrAborted].
	ErrClosed error = &abortedError{"store: closed"}
	// ErrFull is returned when there is no room; nothing was written, and it may be tried again. It is an [ErrAborted].
	ErrFull error = &abortedError{"store: full"}
	// ErrReadOnly is returned for a change of a store that was opened to be read only. It is an [ErrAborted].
	ErrReadOnly error = &abortedError{"store: opened to be read only"}
	// ErrFailed is returned after a failed write to disk, until the store is opened anew; reads may go on.
	ErrFailed = errors.New("store: failed, read-only")
	// ErrCorrupt is returned when stored bytes are not those that were written.
	ErrCorrupt = errors.New("store: corrupt")
)

// An abortedError is an [ErrAborted] with a reason.
type abortedError struct{ text string }

func (e *abortedError) Error() string        { return e.text }
func (e *abortedError) Is(target error) bool { return target == ErrAborted }

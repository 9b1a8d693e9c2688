package appio

import (
	"errors"
	"fmt"

	"github.com/appio-go/appio/store"
)

// About the call.
var (
	// ErrInvalid is returned for what can never work; a [FieldError] says where.
	ErrInvalid = errors.New("appio: invalid")
	// ErrUnsupported is returned for what this engine was not given the means for.
	ErrUnsupported = errors.New("appio: unsupported")
)

// About who calls.
var (
	// ErrUnauthorized is returned for an unknown or ended key.
	ErrUnauthorized = errors.New("appio: unauthorized")
	// ErrForbidden is returned for what this handle may not do: a recipient outside the trial, a level too low.
	ErrForbidden = errors.New("appio: forbidden")
	// ErrLimited is returned when asked too often.
	ErrLimited = errors.New("appio: too many requests")
)

// About what is there.
var (
	// ErrNotFound is returned for what does not exist, or is another's.
	ErrNotFound = errors.New("appio: not found")
	// ErrConflict is returned when what was read has changed since, or a Key was used for another message.
	ErrConflict = errors.New("appio: conflict")
	// ErrTaken is returned for an address that somebody else has proved: see Route.Unique.
	ErrTaken = errors.New("appio: taken")
	// ErrExpired is returned for what is too late.
	ErrExpired = errors.New("appio: expired")
	// ErrBusy is returned when too many change one citizen at once; nothing was changed, and it may be tried again.
	ErrBusy = errors.New("appio: busy")
	// ErrUnknown is returned when the outcome is not known; the same key or id asks again.
	ErrUnknown = errors.New("appio: outcome unknown")
	// ErrErasing is returned while a person's data is being erased.
	ErrErasing = errors.New("appio: erasure under way")
)

// ErrGateway is returned, with what it said, when the payment gateway fails or does not answer: neither a debt nor a [pagopa.Fault].
var ErrGateway = errors.New("appio: the payment gateway failed")

// ErrIncomplete is a store.ErrCorrupt that comes with the rest: some items of a [List] cannot be read, or some persons of Service.Trial and the
// like, and all others were returned. Putting persons again mends it.
var ErrIncomplete = fmt.Errorf("%w: a part of what was asked; the rest was returned", store.ErrCorrupt)

// A FieldError is an [ErrInvalid] about one field.
type FieldError struct {
	Field string // as in Go: "Payment.Amount"
	Rule  string // "at most 120 UTF-16 units", never the value
}

func (e *FieldError) Error() string { return "appio: invalid " + e.Field + ": " + e.Rule }

// Is makes errors.Is(err, ErrInvalid) true.
func (e *FieldError) Is(target error) bool { return target == ErrInvalid }

// unsupported is an [ErrUnsupported] that says which means are missing: what this engine, or its store, is without.
func unsupported(without string) error { return fmt.Errorf("%w: without %s", ErrUnsupported, without) }

// errNoService is that of an id which no service has: ids are public, and the operator's own typing is most often at fault.
var errNoService = fmt.Errorf("%w: no service has this id", ErrNotFound)

func invalid(field, rule string) error { return &FieldError{Field: field, Rule: rule} }

// An InFlightError says that a revocation is stored and holds for all later deliveries, but that these were under way
// and did not end within Options.RevokeWait.
type InFlightError struct{ Deliveries []DeliveryID }

func (e *InFlightError) Error() string {
	return fmt.Sprintf("appio: revoked, with %d deliveries still under way", len(e.Deliveries))
}

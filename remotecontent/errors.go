package remotecontent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/netguard"
)

// What the system asked for is not given for a reason that this side has a word for is that error: what it refuses is [appio.ErrForbidden],
// what it does not have [appio.ErrNotFound], what it limits [appio.ErrLimited], what it does not understand [appio.ErrInvalid]. A system that
// is not there for the citizen, or asks for signed requests without Options.Sign, is [appio.ErrUnsupported].
var (
	// ErrNothing is returned for a message that has nothing to fetch, and carries no documents.
	ErrNothing = errors.New("remotecontent: the message has no content elsewhere")
	// ErrGone is returned where the system says that what it had is there no more.
	ErrGone = errors.New("remotecontent: gone")
	// ErrKind is returned for a document that is no PDF file.
	ErrKind = errors.New("remotecontent: not a PDF file")
	// ErrAnswer is returned for a system that cannot be reached, fails, or answers what it must not; an [AnswerError] says more.
	ErrAnswer = errors.New("remotecontent: the system did not answer as it must")
	// ErrTimeout is returned for a system that did not answer in time.
	ErrTimeout = errors.New("remotecontent: the system did not answer in time")
)

// An AnswerError is an [ErrAnswer]. Nothing of what the system wrote is in it, nor where it is.
type AnswerError struct {
	Reason string // as IO names it, such as ATTACHMENTS_NOT_PRESENT, or a few words
}

func (e *AnswerError) Error() string { return ErrAnswer.Error() + ": " + e.Reason }

// Is makes errors.Is(err, ErrAnswer) true.
func (e *AnswerError) Is(target error) bool { return target == ErrAnswer }

func wrong(reason string) error { return &AnswerError{reason} }

// failed is why there is no answer, or no rest of it.
func failed(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, errSlow), errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return ErrTimeout
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, netguard.ErrTooLong):
		return wrong("it is too long")
	}
	return wrong(err.Error()) // which has nothing of the system's: see netguard.Client.Do
}

// refused is what a status means.
func refused(resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusBadRequest:
		return fmt.Errorf("%w: the system does not understand the request", appio.ErrInvalid)
	case http.StatusForbidden:
		return fmt.Errorf("%w: the system refuses it to the citizen", appio.ErrForbidden)
	case http.StatusNotFound:
		return fmt.Errorf("%w: the system does not have it", appio.ErrNotFound)
	case http.StatusGone:
		return ErrGone
	case http.StatusTooManyRequests:
		return &appio.LimitedError{After: max(netguard.RetryAfter(resp.Header.Get("Retry-After"), time.Now()), time.Second)}
	case http.StatusGatewayTimeout:
		return ErrTimeout
	}
	return wrong(fmt.Sprintf("status %d", resp.StatusCode))
}

package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store"
)

const problemType = "application/problem+json"

// A Problem is how the handler answers what went wrong (RFC 9457, application/problem+json).
type Problem struct {
	Type   string `json:"type,omitempty"` // empty: about:blank
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`

	after time.Duration // with 429 and 503: when to ask again
	ours  bool          // it failed on this side, which its log is told
}

// ServeHTTP writes the problem as an answer, with Retry-After where it has a time.
func (p *Problem) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and a number
	}
	w.Header().Set("Content-Type", problemType)
	ans := p.answer()
	ans.writeHeader(w.Header())
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // who asked may have gone
}

// Error is the title.
func (p *Problem) Error() string { return "httpapi: " + p.Title }

func (p *Problem) answer() answer {
	ans := answer{status: p.Status, body: p}
	if p.after > 0 {
		ans.header = map[string]string{"Retry-After": strconv.FormatFloat(math.Ceil(p.after.Seconds()), 'f', 0, 64)}
	}
	return ans
}

// problem is one with IO's title, or that of the status where title is empty.
func problem(status int, title, detail string) *Problem {
	if title == "" {
		title = titles[status]
	}
	if title == "" {
		title = http.StatusText(status)
	}
	return &Problem{Title: title, Status: status, Detail: detail}
}

// titles are IO's where they are not those of HTTP.
var titles = map[int]string{
	http.StatusBadRequest:          "Bad parameters",
	http.StatusForbidden:           "You are not allowed here",
	http.StatusTooManyRequests:     "Too many requests",
	http.StatusInternalServerError: "Internal server error",
}

func badParameters(detail string) *Problem { return problem(http.StatusBadRequest, "", detail) }

func notFound(title string) *Problem { return problem(http.StatusNotFound, title, "") }

func notAllowed() *Problem {
	return problem(http.StatusForbidden, "", "You do not have enough permission to complete the operation you requested")
}

func internalError() *Problem { return problem(http.StatusInternalServerError, "", "") }

// ProblemOf is what the handler answers to an error of the engine's, for a host whose own paths are to answer alike. It is nil for no error,
// and for an appio.InFlightError alone, by which what was asked for holds. With 500 and 503 it is the host that logs the error: a Problem
// does not have it.
func ProblemOf(err error) *Problem {
	if settled(err) == nil {
		return nil
	}
	return problemOf(err)
}

// problemOf is ProblemOf where a route answers, which the log is told of what failed on this side.
func (a *api) problemOf(rt *route, err error) *Problem {
	p := problemOf(err)
	if p.ours {
		a.o.Logger.Error("a request failed", "route", rt.pattern, "err", err)
	}
	return p
}

// problemOf is THE mapping of errors to answers: a route's own Problem as it is, an engine's error by its kind.
func problemOf(err error) *Problem {
	var (
		p       *Problem
		field   *appio.FieldError
		limited *appio.LimitedError
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &field):
		return badParameters(field.Field + ": " + field.Rule)
	case errors.Is(err, appio.ErrInvalid):
		return badParameters("")
	case errors.Is(err, appio.ErrUnauthorized):
		return problem(http.StatusUnauthorized, "", "")
	case errors.Is(err, appio.ErrForbidden):
		return notAllowed()
	case errors.Is(err, appio.ErrNotFound):
		return notFound("")
	case errors.Is(err, appio.ErrConflict):
		return problem(http.StatusConflict, "", "")
	case errors.Is(err, appio.ErrErasing):
		return problem(http.StatusConflict, "", "An erasure is under way.")
	case errors.Is(err, appio.ErrExpired):
		return problem(http.StatusGone, "", "It is too late for that.")
	case errors.Is(err, appio.ErrTaken):
		return problem(http.StatusPreconditionFailed, "", "The address is one that somebody else has proved.")
	case errors.Is(err, appio.ErrLimited):
		p = problem(http.StatusTooManyRequests, "", "")
		p.after = time.Second
		if errors.As(err, &limited) {
			p.after = limited.After
		}
		return p
	case errors.Is(err, appio.ErrBusy):
		p = problem(http.StatusTooManyRequests, "", "Too many change this at once; nothing was changed.")
		p.after = time.Second
		return p
	case errors.Is(err, appio.ErrUnsupported):
		return problem(http.StatusNotImplemented, "", "This platform does not do that.")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		p = problem(http.StatusServiceUnavailable, "", "The time for the request was over. Whether anything was changed is not known.")
		p.after = time.Second
		return p
	case errors.Is(err, store.ErrFull), errors.Is(err, store.ErrClosed):
		p = problem(http.StatusServiceUnavailable, "", "")
		p.after, p.ours = 10*time.Second, true
		return p
	}
	p = internalError()
	p.ours = true
	return p
}

// titled is err with another title, where it is a problem of what was sent.
func titled(err error, title string) error {
	var p *Problem
	if errors.As(err, &p) && p.Status == http.StatusBadRequest {
		p.Title = title
	}
	return err
}

// rest is err, or nil where a part cannot be read and the rest is of use without it.
func (c *call) rest(err error) error {
	if !errors.Is(err, appio.ErrIncomplete) {
		return err
	}
	c.o.Logger.Error("a part of what a request reads is damaged", "route", c.route.pattern, "err", err)
	return nil
}

// settled is err, or nil where a revocation is stored and deliveries that were under way did not end in time: what was asked for holds.
func settled(err error) error {
	var under *appio.InFlightError
	if errors.As(err, &under) {
		return nil
	}
	return err
}

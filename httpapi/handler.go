package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

// Handler serves an engine. It starts nothing and keeps nothing but the options and what is under way, and is safe for concurrent use; the
// engine is the host's to run and to close.
func Handler(e *appio.Engine, o *Options) http.Handler {
	return newHandler(e, o, tables()...)
}

// tables have all routes.
func tables() [][]route {
	return [][]route{messageRoutes, profileRoutes, feedRoutes, activationRoutes, manageRoutes, remoteRoutes,
		inboxRoutes, citizenProfileRoutes, preferenceRoutes, requestRoutes, installationRoutes, sendRoutes, paymentRoutes, thirdPartyRoutes,
		documentRoutes}
}

func newHandler(e *appio.Engine, o *Options, routes ...[]route) *api {
	a := &api{e: e, o: o.withDefaults(), mux: http.NewServeMux()}
	for _, rs := range routes {
		for i := range rs {
			r := &rs[i]
			if r.who == citizen && a.o.Citizen == nil {
				continue
			}
			a.mux.HandleFunc(r.pattern, func(w http.ResponseWriter, req *http.Request) { a.serve(w.(*matching), req, r) })
		}
	}
	return a
}

type api struct {
	e   *appio.Engine
	o   Options
	mux *http.ServeMux

	streams streams
}

// A route is a path with a method, who may ask, and what answers. An error answers by [api.problemOf].
type route struct {
	pattern string // as [http.ServeMux] has them
	who     who
	body    int64 // the most that a body may have; 0: Options.MaxBody
	do      func(c *call) (answer, error)
}

// A call is one request on its way.
type call struct {
	*api
	route *route
	w     http.ResponseWriter
	r     *http.Request
	ctx   context.Context
	began time.Time

	// Who makes it, as the route asks for: one of these.
	sender    *appio.Sender
	authority *appio.Authority
	citizen   *appio.Citizen
	identity  appio.Identity // of the citizen

	names map[fiscalcode.Organization]string // of organizations, as far as they were asked for
}

// ServeHTTP answers one request.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m := &matching{to: w, began: time.Now()}
	if r.ContentLength != 0 { // net/http takes the deadline back once the body has been read whole
		_ = http.NewResponseController(w).SetReadDeadline(m.began.Add(a.o.BodyTimeout))
	}
	if a.o.Served != nil { // also of an answer that breaks off
		defer func() { a.o.Served(m.pattern, m.status, time.Since(m.began)) }()
	}
	a.mux.ServeHTTP(m, r)
	if !m.matched {
		a.answerUnmatched(m)
	}
}

// matching is what the mux writes to where no path matches; a path's own handler writes to what is behind it.
type matching struct {
	to      http.ResponseWriter
	began   time.Time
	matched bool
	pattern string
	status  int
	header  http.Header // what the mux says of an unmatched request
}

func (m *matching) Header() http.Header {
	if m.header == nil {
		m.header = http.Header{}
	}
	return m.header
}

func (m *matching) WriteHeader(status int) { m.status = status }

func (m *matching) Write(b []byte) (int, error) { return len(b), nil }

// answerUnmatched answers what the mux has no path for: 405 where there is another method; else 404, also where the mux would send the
// client to a cleaner path: a key, or a message, does not go to where it was not sent.
func (a *api) answerUnmatched(m *matching) {
	p := problem(http.StatusNotFound, "", "There is nothing at this path.")
	if m.status == http.StatusMethodNotAllowed {
		p = problem(http.StatusMethodNotAllowed, "", "This path does not take the method.")
		m.to.Header().Set("Allow", m.header.Get("Allow"))
	}
	m.status = p.Status
	a.write(m.to, p.answer())
}

func (a *api) serve(m *matching, r *http.Request, rt *route) {
	m.matched, m.pattern = true, rt.pattern
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(p)
		}
		// Of the value only the type is logged: what panics may quote what it was working on.
		a.o.Logger.Error("a request panicked", "route", rt.pattern, "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
		m.status = http.StatusInternalServerError
		a.write(m.to, internalError().answer())
	}()
	ctx, cancel := context.WithTimeout(r.Context(), a.o.BodyTimeout+a.o.Timeout)
	defer cancel()
	c := &call{api: a, route: rt, w: m.to, r: r, ctx: ctx, began: m.began}
	ans, err := c.answer()
	if err != nil {
		ans = a.problemOf(rt, err).answer()
	}
	m.status = ans.status
	a.write(m.to, ans)
}

func (c *call) answer() (answer, error) {
	if err := c.authenticate(); err != nil {
		return answer{}, err
	}
	return c.route.do(c)
}

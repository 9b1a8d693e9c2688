// Package conformance has what suites share that check code of others by a contract of appio: calls that are guarded, goroutines
// that are left behind, secrets in errors, and a tester that expects checks to fail.
package conformance

import (
	"context"
	"fmt"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// Patience is how long a call may take whose context goes on. It is for code that hangs, not for slow code.
	Patience = 20 * time.Second
	// Soon is what a call may still take once its context has ended.
	Soon = 2 * time.Second
)

// A Tester is what checks need of a *testing.T. The suites' own tests have another one, which expects checks to fail; see [Record].
type Tester interface {
	Helper()
	Name() string
	Context() context.Context
	TempDir() string
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Guard runs a call. A problem is that it panics, ends its goroutine, or does not return; then the goroutine is left behind.
func Guard[T any](ctx context.Context, name string, call func() T) (problem string, answer T) {
	type result struct {
		problem string
		answer  T
	}
	returned := make(chan result, 1)
	go func() {
		r := result{problem: name + " ended its goroutine; a call must return an answer, and the engine takes this one as a failure"}
		defer func() { returned <- r }()
		defer func() {
			if v := recover(); v != nil {
				r.problem = fmt.Sprintf("%s panicked (%v) at\n%s\nThe engine contains a panic and takes it as a failure, but it makes "+
					"calls like this one, and none may cause a panic", name, v, stack())
			}
		}()
		r = result{answer: call()}
	}()
	limit := time.NewTimer(Patience)
	defer limit.Stop()
	for ended := ctx.Done(); ; {
		select {
		case r := <-returned:
			return r.problem, r.answer
		case <-ended:
			ended = nil
			limit.Reset(Soon)
		case <-limit.C:
			if ctx.Err() != nil {
				return fmt.Sprintf("%s had not returned %v after its context ended; it must return soon, since a citizen may be "+
					"waiting for it. Pass ctx to whatever the call waits for", name, Soon), answer
			}
			return fmt.Sprintf("%s had not returned after %v", name, Patience), answer
		}
	}
}

// stack is where the present panic began.
func stack() string {
	b := make([]byte, 8<<10)
	lines := strings.Split(string(b[:runtime.Stack(b, false)]), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "panic(") {
			lines = lines[min(i+2, len(lines)):]
			break
		}
	}
	return strings.Join(lines[:min(len(lines), 6)], "\n")
}

// Tells looks for a value in what was said, as it is and as it is written in URLs and in Go. What is shorter than six bytes is not
// looked for: it could be there by chance.
func Tells(said, value string) (how string, found bool) {
	if len(value) < 6 {
		return "", false
	}
	quoted := strconv.Quote(value)
	for _, form := range []struct{ how, text string }{
		{"", value}, {", quoted", quoted[1 : len(quoted)-1]},
		{", encoded", url.QueryEscape(value)}, {", encoded", url.PathEscape(value)},
	} {
		if strings.Contains(said, form.text) {
			return form.how, true
		}
	}
	return "", false
}

// Record runs a check and returns its failures; a panic is one. It shows that a suite can fail.
func Record(t *testing.T, check func(t Tester)) []string {
	r := &recording{T: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				r.Errorf("panic: %v", p)
			}
		}()
		check(r)
	}()
	<-done
	return r.failures
}

// A recording is a Tester that notes failures instead of failing.
type recording struct {
	*testing.T
	mu       sync.Mutex
	failures []string
}

func (r *recording) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recording) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

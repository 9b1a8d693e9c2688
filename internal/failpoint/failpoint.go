// Package failpoint lets tests stop a program, or fail it, at a named step. Off, as it always is outside of tests, a point costs
// the load of one word.
package failpoint

import "sync/atomic"

var hook atomic.Pointer[func(name string) error]

// Hit is called where a program passes the named step. Off it returns nil; else what the hook answers, which a step that can
// fail takes for its own error.
func Hit(name string) error {
	if f := hook.Load(); f != nil {
		return (*f)(name)
	}
	return nil
}

// On reports whether somebody listens at the points. It spares making up a name for nobody.
func On() bool { return hook.Load() != nil }

// Set makes every point call f, from whichever goroutine passes it; nil turns the points off. It returns a function that puts
// back what was before.
func Set(f func(name string) error) (restore func()) {
	var before *func(name string) error
	if f == nil {
		before = hook.Swap(nil)
	} else {
		before = hook.Swap(&f)
	}
	return func() { hook.Store(before) }
}

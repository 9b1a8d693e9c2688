// Package chance is where the engine's random pauses and orders come from, so that a simulation can repeat them. Nothing secret
// comes from it: ids and keys are crypto/rand's.
package chance

import (
	"math/rand/v2"
	"sync/atomic"
)

var source atomic.Pointer[func(n int64) int64]

// Int64N is a number from 0 to n-1. It panics if n is not positive.
func Int64N(n int64) int64 {
	if f := source.Load(); f != nil {
		return (*f)(n)
	}
	return rand.Int64N(n)
}

// Set makes all numbers come from f, which is called concurrently and answers as Int64N does; nil: from math/rand/v2 again. It
// returns a function that puts back what was before.
func Set(f func(n int64) int64) (restore func()) {
	var before *func(n int64) int64
	if f == nil {
		before = source.Swap(nil)
	} else {
		before = source.Swap(&f)
	}
	return func() { source.Store(before) }
}

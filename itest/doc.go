// Package itest holds the tests of appio that need more than the library's own few modules: models checked for
// linearizability, properties over generated input, goroutines counted after everything stopped.
//
// It is a module of its own, so that none of what these tests import reaches whoever embeds the library. From this folder:
//
//	go test -race ./...
//
// The long tests go on for some seconds. What sets them otherwise:
//
//	-short          a second or two each
//	ITEST_SECONDS   a time that they share, and their full size as far as that reaches; from 300 on with engines that stand
//	                still for 40 seconds
//	ITEST_COUNT     how many rounds, or cycles, or inputs, a test does: so exactly, whatever the time
//	ITEST_SEED      the seed of the random choices, as a test that failed has logged it
//	ITEST_FIRST     the first of the seeds that are tried
//
// The command full runs them in chunks until each promise of docs/guarantees.md has been shown in full:
//
//	go run ./itest/full
package itest

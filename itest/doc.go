// Package itest holds the tests of appio that need more than the library's own few modules: models checked for
// linearizability, properties over generated input, goroutines counted after everything stopped.
//
// It is a module of its own, so that none of what these tests import reaches whoever embeds the library. From this folder:
//
//	go test -race ./...
package itest

//go:build race

package boltstore_test

// With the race detector all takes some five times as long.
func init() { slowness = 5 }

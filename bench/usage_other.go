//go:build !linux

package main

// used is not known here.
func used() usage { return usage{} }

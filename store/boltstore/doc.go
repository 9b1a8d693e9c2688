// Package boltstore keeps records in one bbolt file.
package boltstore

// Package boltstore keeps records in one bbolt file, which it holds locked. It is what appio.Open uses.
//
// # Layout
//
// The file has four buckets:
//
//	meta     "format" -> a magic text and the number of the layout; a later one is store.ErrNewer
//	owners   owner -> revision (8 bytes)
//	records  owner, key -> lane (2), due (8), value
//	due      lane, due, owner, key -> nothing
//
// Owners are written so that their records stand together, in the order of owners and then of keys. Values have no checksum
// here: bbolt has none on its data pages either, and what puts records in should be able to tell a damaged one, as appio does.
// Damage to bbolt's own pages is store.ErrCorrupt, and ends the use of the store, but not the process.
//
// # Writing
//
// One goroutine writes. What arrives while a commit is being written is written together by the next one, in the order of
// owners, and answered once it is synced to disk. There is no timer. After a failed write nothing more is written until the
// file is opened anew (store.ErrFailed): what the system then holds of the file may not be what is on disk.
//
// # Space
//
// The file never shrinks by itself, and the bytes of what was deleted stay in free pages until they are used again.
// [Store.Compact] rewrites it without them. With Options.MaxSize a commit that would let the file grow beyond is store.ErrFull;
// a sixteenth of it is kept for deleting, which takes room before it makes some.
package boltstore

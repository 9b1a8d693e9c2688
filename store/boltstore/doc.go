// Package boltstore keeps a [store.Store] in one bbolt file: no server, nothing to set up, and a backup is a copy of one file.
//
//	s, err := boltstore.Open("io.db", nil)
//
// The file is the store's alone: one process has it open at a time, and no other buckets belong in it.
//
// # Layout
//
// bbolt writes fast what comes in order, and slowly what does not: of changes of a million owners at random each would rewrite
// a page or more. So the store has bbolt write in order only.
//
//   - The log (log.go, change.go) is a stream of all changes in the order in which they were made. A commit is one bbolt
//     transaction that appends to it. Values stay there, and are found by their address.
//   - A table (table.go) holds in memory what changes have made of revisions, records and lanes; it is rebuilt from the log by
//     Open. When it has grown to half of Options.Memory, or its part of the log to twice Options.Memory, a new one is begun,
//     and the keeper (keeper.go) writes the old one to the file as a sorted run.
//   - Runs (run.go, block.go) never change. One has its places in blocks of 8 KiB: for each owner its revision and its records
//     without their values, and for each lane what is due. A filter says of most owners that a run has nothing of them. Once
//     there are enough runs of like size the keeper merges them (merge.go), so they stay few.
//   - Segments (segment.go) are parts of the log of about 1 MiB. When no more than half of the values of one are in use, the
//     keeper appends those to the log again and deletes the segment (collect.go).
//   - The state (state.go) says which runs count, and from where on the log is in none of them.
//
// A read (snapshot.go) looks into the tables, then into the runs from the newest on; a lane or a range merges all of them. All
// that is written is so in small transactions of the writer (writer.go), commits and the keeper's parts in turn.
//
// # Durability
//
// Commit returns after bbolt has synced the file, and only then does anyone see the changes. A crash at any moment loses nothing
// that was acknowledged: bbolt's transactions are whole or not there, and so are the steps of the keeper. After a write that
// failed, changes are refused with [store.ErrFailed] until the store is opened anew, as what the disk holds is not known.
//
// # Damage
//
// bbolt's pages have no checksums, and it trusts what it reads. So blocks, changes, values and the state have their own, bound
// to where they belong, and each block says which places it would hold, so that one that is missing is missed. A page that the
// disk did not write, and that is as it was before, is found as well: numbers of runs and addresses in the log are never given
// again, also not after a crash, and the root page bears the number of its transaction (the bucket "clock"). Open inspects
// the structure of the file before bbolt uses it (inspect.go), and whatever bbolt does is contained (contain.go). Damage makes a
// call fail with [store.ErrCorrupt]; if bbolt itself has lost its way the store is closed too, though Close is still to be
// called. It is not noticed if the whole file, or the last transaction, is exchanged for an earlier one.
//
// # Size, and what remains of what was deleted
//
// What is deleted or replaced remains in the file for a while: in the log until its segment is collected and bbolt has written
// over the pages, names of owners and keys in runs until those are merged, and in the table until it is written. Only
// [Store.Compact] makes sure that it is gone: the new file has nothing but what is in use. The old file's blocks on the disk are
// not wiped. The file does not get smaller but by Compact; what is free in it is used again.
//
// With Options.MaxSize an eighth of the file is kept free for the keeper and for changes that only delete; other changes are
// [store.ErrFull] before. The store then frees by itself what it can: segments of whose values a quarter or more are not in
// use. That takes a moment, and deletes spread thinly over all of the file may free nothing: Compact does, where there is room
// on the disk for a second file. On a full disk it is the same, as room is taken before it is needed (on Linux).
//
// # Limits
//
// The file should be on a local disk. Reads map it into memory: an error of the disk while reading is an ErrCorrupt. After a
// crash Open reads every page's head, about a second for some gigabytes; after Close it need not. A Backup needs room beside the
// file for as much as the file is, and keeps the pages that are given up while it copies from being used again, so the file may
// grow by what is written in that time. An owner without records is remembered by its revision for ever.
package boltstore

// Package store is the contract between the engine and what keeps its records. An embedder picks an implementation
// (boltstore, memstore); who writes one finds all rules here and checks them with storetest.
//
// Everything that must change together belongs to one [Owner]: one citizen, one service. An owner has one revision and a
// set of records. Reading is [Store.View], writing is [Writer.Commit]; both take many owners at once, and no transaction
// stays open between them, so that an implementation can be neither chatty nor leak one. A change names the revision that
// it was made from: it is applied whole if the owner is still at that revision, and answered with [ErrConflict] if not.
// That one compare-and-set per owner is all the isolation there is, and all the engine needs.
//
// A store holds no business rule and never retries: the engine does. It may be used concurrently, must not keep or change
// its arguments, nor keep or change what it returned. Times are UTC and have microseconds; finer digits are cut ([Micro]).
// A call whose context has ended does nothing but return the context's error; what is outside the limits is [ErrInvalid],
// by the functions [Check], [CheckReads], [CheckDue] and [CheckOwners], which are the same for all stores.
package store

import (
	"context"
	"time"
)

// A Store keeps records grouped by owner.
type Store interface {
	// View returns one snapshot per read, in order, each consistent in itself: all of its records are of one revision.
	// Two snapshots of a call may be of different moments. An unknown owner has revision 0 and no records.
	// An owner named by two reads is [ErrInvalid]; see [CheckReads].
	View(ctx context.Context, reads []Read) ([]Snapshot, error)

	Writer

	// Due returns up to q.Limit records of each lane whose Due is set and not after q.Until, oldest first, ties by owner
	// and then by key. The records of one lane stand together, lanes in the order of q.Lanes. See [CheckDue].
	Due(ctx context.Context, q DueQuery) ([]Record, error)

	// Owners returns up to limit owners that have records, after the given one, in byte order. "" is before all.
	// See [CheckOwners].
	Owners(ctx context.Context, after Owner, limit int) ([]Owner, error)

	// Close frees what the store holds. Calls after it, a second Close excepted, are [ErrClosed].
	Close() error
}

// A Writer is the writing half of a [Store]; alone it is a transaction of the host.
type Writer interface {
	// Commit applies each change whole or not at all, durably, and adds one to its owner's revision; nothing is visible
	// before it is durable. Changes of one call do not depend on each other.
	//
	// errs, nil or as long as changes, has ErrConflict where changes[i].Rev was not the owner's revision; such a change
	// was not applied, the others were. If err is [ErrAborted] ([ErrInvalid], [ErrFull], [ErrClosed] and a context that
	// ended before writing are it too) surely nothing was applied. After any other err each owner may or may not have
	// been changed, now or a moment later: the same change, with the same revision, asks again. See [Check].
	//
	// A revision never falls: an owner whose last record was deleted keeps it. A store may forget such an owner after a day.
	Commit(ctx context.Context, changes []Change) (errs []error, err error)
}

// An Owner is whose records these are: one citizen, one service. It is opaque to a store: any bytes, 1 to [MaxKey] of them.
type Owner string

// A Key names a record of an owner. Keys are in byte order; they are any bytes, 1 to [MaxKey] of them.
type Key string

// A Lane is a queue of due records, chosen by the engine: a kind of work and a hash of the service.
type Lane uint16

// A Record is a value under a key, and, if Due is set, an entry in a lane.
type Record struct {
	Owner Owner
	Key   Key
	Lane  Lane
	Due   time.Time // zero: not scheduled, in no lane
	Value []byte    // an empty one may come back nil
}

// A Read asks for some records of one owner: those of Keys that exist, in the order asked, and then those of Range.
// The zero Range asks for none, so that a Read of an Owner alone finds its revision.
type Read struct {
	Owner Owner
	Keys  []Key
	Range Range
}

// A Range is the records with From <= key < To. A record that is also one of Keys is returned twice.
type Range struct {
	From, To   Key  // To "": no end
	Limit      int  // 0: no range is read; at most [MaxRange]
	Descending bool // the last keys first
	KeysOnly   bool // Value is nil; Lane and Due are set as ever
}

// A Snapshot is what one [Read] found.
type Snapshot struct {
	Rev     uint64
	Records []Record // each with its Owner
}

// A Change puts and deletes records of one owner. An empty one only adds one to the revision.
type Change struct {
	Owner  Owner
	Rev    uint64   // the owner's revision that this change was made from; 0: the owner has never been changed
	Put    []Record // Owner is that of the change, or ""
	Delete []Key    // an absent key is no error
}

// A DueQuery asks for the head of some lanes, or, with After, for what follows a position in one lane.
type DueQuery struct {
	Lanes []Lane
	Until time.Time
	After Position // zero: from the start; otherwise Lanes has one lane
	Limit int      // of each lane; 1 to [MaxRange]
}

// A Position is a place in a lane: that of the record with these.
type Position struct {
	Due   time.Time
	Owner Owner
	Key   Key
}

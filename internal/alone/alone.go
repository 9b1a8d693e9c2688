// Package alone marks a store that no other engine can be on while this one is: what an earlier life of the engine held there,
// nobody holds any more. Only who opens a store for an engine can know that.
package alone

import "github.com/appio-go/appio/store"

// A Store is given to appio.New in the place of the store in it.
type Store struct{ store.Store }

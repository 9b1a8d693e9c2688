package appio

// A feedRecord is for the subscriptions feed, which is to know of a consent event.
type feedRecord struct {
	Hash    []byte    `msgpack:"h"` // of the person's code
	At      int64     `msgpack:"t"`
	Number  uint64    `msgpack:"i"`           // of the event
	Service ServiceID `msgpack:"n,omitempty"` // that it is about; empty: all
	Op      feedOp    `msgpack:"o,omitempty"`
	List    bool      `msgpack:"l,omitempty"` // the person's choices count anew
	Erase   bool      `msgpack:"e,omitempty"`
}

// A feedPersonRecord is what was said of a person on a day, by the numbers of the consent events.
type feedPersonRecord struct {
	Op       feedOp              `msgpack:"o,omitempty"` // of all services
	Number   uint64              `msgpack:"i,omitempty"`
	Services []feedServiceRecord `msgpack:"s,omitempty"`
}

type feedServiceRecord struct {
	Service ServiceID `msgpack:"n"`
	Op      feedOp    `msgpack:"o"`
	Number  uint64    `msgpack:"i"`
}

// A feedLineRecord is what a service reads of a person.
type feedLineRecord struct {
	Hash []byte `msgpack:"h"`
	Op   feedOp `msgpack:"o"`
}

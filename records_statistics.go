package appio

// A talliedDecision is what statistics want to know of a decision.
type talliedDecision struct {
	Service ServiceID `msgpack:"n"`
}

// A tallyRecord marks something that is to be counted.
type tallyRecord struct {
	Kind    tallyKind `msgpack:"k"`
	Service ServiceID `msgpack:"n"`
	Channel string    `msgpack:"c,omitempty"`
}

// A dayRecord is the figures of a service on a day.
type dayRecord struct {
	Processed int64            `msgpack:"p,omitempty"`
	Rejected  int64            `msgpack:"j,omitempty"`
	Delivered map[string]int64 `msgpack:"d,omitempty"`
	Read      int64            `msgpack:"r,omitempty"`
	Paid      int64            `msgpack:"m,omitempty"`
}

// A closedRecord is how far days are counted.
type closedRecord struct {
	Until int64 `msgpack:"u"`
}

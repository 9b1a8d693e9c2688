package appio

import "time"

// Records are what stands in the store, by owner and key. Their keys are in records_keys.go, the lanes in which they are due in
// records_lanes.go, and what they have in a file for each noun. Their tags are what is written, so that a field keeps its tag for good.
// Records of the engine itself, and what every noun needs, are here.

// Times are kept as microseconds since 1970; 0 is none.

func toMicro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicro(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func bits(bs ...bool) (v uint8) {
	for i, b := range bs {
		if b {
			v |= 1 << i
		}
	}
	return v
}

func unbits(v uint8, bs ...*bool) {
	for i, b := range bs {
		*b = v&(1<<i) != 0
	}
}

type formatRecord struct {
	Format   int    `msgpack:"f"`
	Instance []byte `msgpack:"i"` // 16 random bytes
	Key      uint32 `msgpack:"k"` // number of the engine key that seals the root secret; 0: none
	Check    []byte `msgpack:"c"` // tells a wrong engine key from damage
}

type rootRecord struct {
	Secret []byte `msgpack:"s"`
}

type restoredRecord struct {
	At int64 `msgpack:"t"`
}

// A pauseRecord is what is paused, and since when.
type pauseRecord struct {
	Version  int64               `msgpack:"v"` // grows with each change
	Channels map[string]int64    `msgpack:"c,omitempty"`
	Services map[ServiceID]int64 `msgpack:"s,omitempty"`
}

// A cleanUpRecord is a task that goes on in pages; From is where the next one starts.
type cleanUpRecord struct {
	From string `msgpack:"f,omitempty"`
	Step int    `msgpack:"s,omitempty"`
}

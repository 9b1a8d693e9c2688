package appio

import "time"

// A reminderRecord is when a message, or a bill, is reminded of. It is due with the next reminder; that of a bill stays when there is none.
type reminderRecord struct {
	Service ServiceID `msgpack:"n"`
	Message MessageID `msgpack:"m"`
	Secure  bool      `msgpack:"c,omitempty"`
	Since   int64     `msgpack:"t"` // when it came
	Due     int64     `msgpack:"d,omitempty"`
	Bill    string    `msgpack:"b,omitempty"` // its key; empty: the message is reminded of
	Last    int64     `msgpack:"l,omitempty"` // the last reminder that was dealt with, as scheduled
	Work    MessageID `msgpack:"w,omitempty"` // of a bill: in whose open work the last reminder is, if it still is
}

// A digestRecord names the digest that a service's messages are gathered in. It is a hint: the digest may have gone.
type digestRecord struct {
	Service ServiceID `msgpack:"n"`
	Digest  MessageID `msgpack:"g"`
}

// A workRecord is what is left to do for a message, or for a digest: all its deliveries, and who holds them.
type workRecord struct {
	Service ServiceID     `msgpack:"n"`
	Secure  bool          `msgpack:"s,omitempty"` // by the message
	Expires int64         `msgpack:"e"`
	Lease   *leaseRecord  `msgpack:"l,omitempty"`
	Entries []workEntry   `msgpack:"d"`
	Done    []outcomeItem `msgpack:"o,omitempty"`
	Digest  *gathered     `msgpack:"g,omitempty"` // nil: it is of one message
	Replay  uint32        `msgpack:"r,omitempty"` // the last replay that put deliveries back; 0: there was none
}

// gathered is what a digest is of. It never changes: another takes its place.
type gathered struct {
	Messages []MessageID   `msgpack:"m"`
	Longest  time.Duration `msgpack:"l"` // of their times to live, by which the digest's own ends
}

type leaseRecord struct {
	Process string `msgpack:"p"` // for the operator's eye
	Boot    string `msgpack:"b"` // random, of one engine's life
	Number  uint64 `msgpack:"n"`
	Until   int64  `msgpack:"u"`
}

// A workEntry is one delivery: of one message, by one channel, to one address.
type workEntry struct {
	ID       DeliveryID `msgpack:"i"`
	Channel  string     `msgpack:"c"`
	Address  string     `msgpack:"a,omitempty"` // its id, not its value
	Attempts int        `msgpack:"n,omitempty"` // that failed
	Claims   int        `msgpack:"k,omitempty"` // since the last outcome
	Next     int64      `msgpack:"t"`           // when it may be tried
	Held     bool       `msgpack:"h,omitempty"` // claimed under the lease
	Cause    string     `msgpack:"e,omitempty"` // of the last failure

	Reminder ReminderKind `msgpack:"r,omitempty"` // that it is; empty: it is the message itself
	Bill     string       `msgpack:"b,omitempty"` // that it is about: its key
	Expires  int64        `msgpack:"x,omitempty"` // 0: as the record
	Quiet    bool         `msgpack:"q,omitempty"` // Next is when quiet hours end
	Fallback string       `msgpack:"f,omitempty"` // the channel that it stands in for while the message is not read; empty: none
	Paused   int64        `msgpack:"p,omitempty"` // since when it waits for a resume; 0: it does not
	Replayed bool         `msgpack:"y,omitempty"` // by the operator
}

// conditional reports whether what the citizen does with the message decides whether it is delivered.
func (en *workEntry) conditional() bool { return en.Reminder != "" || en.Fallback != "" }

type outcomeItem struct {
	ID       DeliveryID    `msgpack:"i"`
	Channel  string        `msgpack:"c"`
	Result   OutcomeResult `msgpack:"r"`
	At       int64         `msgpack:"t"`
	Attempts int           `msgpack:"n,omitempty"`
	Cause    string        `msgpack:"e,omitempty"`
	Late     bool          `msgpack:"l,omitempty"`
	Basis    string        `msgpack:"q,omitempty"` // by which it was delivered in quiet hours
	Without  *[]MessageID  `msgpack:"w,omitempty"` // of a digest that was delivered: the messages that it left out; nil: none
}

type outcomeRecord struct {
	Service ServiceID     `msgpack:"n"`
	Items   []outcomeItem `msgpack:"o"`
	First   int           `msgpack:"f,omitempty"` // of Items, those that were there from the first; 0: all
}

type parkedRecord struct {
	Service  ServiceID `msgpack:"n"`
	Message  MessageID `msgpack:"m"`
	Secure   bool      `msgpack:"s,omitempty"`
	At       int64     `msgpack:"t"`
	Lifetime int64     `msgpack:"l"` // microseconds that a replay may go on for
	Entry    workEntry `msgpack:"e"`
	Digest   *gathered `msgpack:"g,omitempty"` // nil: it is of one message
	Replay   uint32    `msgpack:"r,omitempty"` // of its work
}

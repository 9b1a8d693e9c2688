package appio

// A newsRecord is what was said last of a notice.
type newsRecord struct {
	State PaymentState `msgpack:"s"`
	At    int64        `msgpack:"t"`
	Event string       `msgpack:"i"`
}

// A billRecord is a citizen's notice.
type billRecord struct {
	Creditor string      `msgpack:"c"`
	Notice   string      `msgpack:"n"`
	Amount   int64       `msgpack:"a"`
	Payee    string      `msgpack:"p,omitempty"` // name
	Text     string      `msgpack:"x,omitempty"`
	Due      int64       `msgpack:"d,omitempty"`
	Invalid  bool        `msgpack:"i,omitempty"` // after Due
	Added    int64       `msgpack:"t"`
	News     *newsRecord `msgpack:"s,omitempty"`
	Paper    bool        `msgpack:"r,omitempty"`
	Messages []MessageID `msgpack:"m,omitempty"`
	Attempt  string      `msgpack:"k,omitempty"` // key of the payment that was begun last
	Begun    int64       `msgpack:"b,omitempty"` // when
	Until    int64       `msgpack:"u,omitempty"` // when its checkout ends
	Service  ServiceID   `msgpack:"v,omitempty"` // of the latest message; empty: there is none
}

// A receiptRecord is of a bill at the moment at which it was learnt that it is paid.
type receiptRecord struct {
	Creditor string    `msgpack:"c"`
	Notice   string    `msgpack:"n"`
	Amount   int64     `msgpack:"a"`
	Payee    string    `msgpack:"p,omitempty"`
	Text     string    `msgpack:"x,omitempty"`
	At       int64     `msgpack:"t"`
	Event    string    `msgpack:"i"`
	Message  MessageID `msgpack:"m,omitempty"`
}

// An effectRecord is for the owner of a notice, who is to know of the citizen's bill.
type effectRecord struct {
	Notice string `msgpack:"n"` // name of the owner
	Bill   string `msgpack:"b"` // key among the citizen's records
}

// A debtorRecord is a citizen's bill, as its notice knows it. It is a hint: an erasure leaves it behind. It is due when it is looked
// whether the bill is still there.
type debtorRecord struct {
	Citizen string `msgpack:"c"` // name of the owner
	Bill    string `msgpack:"b"`
}

// A spreadRecord is how far the debtors of a notice have been told.
type spreadRecord struct {
	From string `msgpack:"f,omitempty"`
}

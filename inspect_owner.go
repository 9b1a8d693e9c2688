package appio

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
)

// An ownerReader reads all records of one owner, in the order of their keys, and judges them.
type ownerReader struct {
	tally
	name store.Owner
	c    *ownerCodec // nil: there are no keys

	erasing  bool
	erasedAt int64  // of the last erasure
	link     []byte // hash of the last consent record
	links    uint64
	unlinked bool // the chain was found to be broken, once
	messages map[MessageID]*messageFacts
	cut      bool // not all records can be read

	documents []attachedDocument
}

// An attachedDocument is one that a message has.
type attachedDocument struct {
	documentRecord
	message MessageID
}

// messageFacts is what there is of a message.
type messageFacts struct {
	decided           int64 // when; 0: there is no decision
	processed         bool
	service           ServiceID // of the decision
	sender            ServiceID // of the message; empty: there is none, or it cannot be read
	there, state      bool
	blind             bool // the decision cannot be read
	waiting, underWay bool
	digest            bool // it is no message, but open work of some
}

func newOwnerReader(name store.Owner, c *codec) *ownerReader {
	r := &ownerReader{name: name, messages: map[MessageID]*messageFacts{}}
	r.reset()
	if c != nil {
		r.c = c.of(name)
	}
	return r
}

// read reports whether all was read at one revision.
func (r *ownerReader) read(ctx context.Context, s store.Store) (same bool, err error) {
	rng := store.Range{Limit: 256}
	var rev uint64 // 0: nothing was read yet
	for {
		snaps, err := s.View(ctx, []store.Read{{Owner: r.name, Range: rng}})
		if errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrClosed) {
			if rng.Limit > 1 {
				rng.Limit = 1 // as far as can be read
				continue
			}
			r.cut = true
			r.problem("", "", "records cannot be read: %s", whereIs(rng.From))
			return true, nil
		}
		if err != nil {
			return false, err
		}
		page := snaps[0]
		if rev != 0 && rev != page.Rev {
			return false, nil
		}
		rev = page.Rev
		for i := range page.Records {
			r.record(&page.Records[i])
		}
		if len(page.Records) < rng.Limit {
			r.end()
			return true, nil
		}
		rng = store.Range{From: page.Records[len(page.Records)-1].Key + "\x00", Limit: 256}
	}
}

// whereIs says where in an owner's records a key is, without what it names.
func whereIs(k store.Key) string {
	if k == "" {
		return "none of them"
	}
	if i := strings.LastIndexByte(string(k), '/'); i >= 0 {
		k = k[:i+1]
	}
	return fmt.Sprintf("those after %q", strings.TrimRight(string(k), "\x00"))
}

func (r *ownerReader) problem(kind string, id MessageID, format string, args ...any) {
	r.findings = append(r.findings, Finding{string(r.name), kind, id, fmt.Sprintf(format, args...)})
}

// record counts a record and, with keys, opens it.
func (r *ownerReader) record(rec *store.Record) {
	kind := recordKind(r.name, rec.Key)
	r.records[kind]++
	r.bytes += int64(len(rec.Value))
	if !rec.Due.IsZero() {
		q := r.lanes[rec.Lane]
		q.add(1, rec.Due, mark(rec))
		r.lanes[rec.Lane] = q
		if laneKind(rec.Lane) == "" {
			r.problem(kind, "", "it is scheduled in an unknown lane")
		}
	}
	switch kind {
	case "":
		r.problem("", "", "a record of an unknown kind")
		return
	case "quarantined": // known not to be readable
		return
	}
	h, err := readHeader(rec.Value)
	if err != nil {
		r.problem(kind, "", "%s", unreadable(err))
		return
	}
	if h.flags&flagSealed != 0 && h.flags&flagPersonal == 0 {
		r.keys[h.id]++
	}
	if r.c != nil {
		r.open(kind, rec)
	}
}

func unreadable(err error) string {
	text := strings.TrimPrefix(err.Error(), store.ErrCorrupt.Error()+": ")
	return "it cannot be read: " + text
}

// open decodes a record and judges what it says.
func (r *ownerReader) open(kind string, rec *store.Record) {
	id := MessageID("")
	switch kind {
	case "decision", "message", "outcome", "waiting work", "leased work":
		id = messageIDOf(rec.Key)
	case "message state":
		id = messageIDOf(store.Key(strings.TrimSuffix(string(rec.Key), stateSuffix)))
	}
	if id != "" && !validULID(string(id)) {
		r.problem(kind, "", "its message has no id")
		return
	}
	payload, err := r.c.payload(rec)
	if errors.Is(err, errShredded) && r.erasing { // it is still to be deleted
		return
	}
	// into decodes; where that fails there is nothing more to say of the record.
	into := func(v any) bool {
		if err == nil {
			err = decode(payload, v)
		}
		if err != nil {
			r.problem(kind, id, "%s", unreadable(err))
		}
		return err == nil
	}
	switch kind {
	case "tombstone":
		r.erasing = into(&tombstoneRecord{})
	case "data key":
		var k dataKeyRecord
		if into(&k) && len(k.Key) == keySize {
			r.c.useDataKey(k)
		}
	case "profile":
		var p profileRecord
		if into(&p) && r.c.citizen(fiscalcode.Person(p.Code)) != r.name {
			r.problem(kind, "", "it is another person's")
		}
	case "listed person":
		var l listedRecord
		if into(&l) && r.c.citizen(fiscalcode.Person(l.Code)) != r.name {
			r.problem(kind, "", "it is another person's")
		}
	case "preference":
		var p preferenceRecord
		if into(&p) && rec.Key != r.c.preferenceKey(p.Service) {
			r.problem(kind, "", "it is for another service")
		}
	case "activation":
		var a activationRecord
		if into(&a) && rec.Key != r.c.activationKey(a.Service) {
			r.problem(kind, "", "it is of another service")
		}
	case "idempotency key":
		into(&repeatRecord{})
	case "outcome":
		into(&outcomeRecord{})
	case "clean-up task":
		into(&cleanUpRecord{})
	case "message state":
		if into(&stateRecord{}) {
			r.facts(id).state = true
		}
	case "consent":
		var ev consentEvent
		if into(&ev) {
			r.consent(rec, &ev, payload)
		} else {
			r.link, r.unlinked = nil, true
		}
	case "decision":
		var d decisionRecord
		if into(&d) {
			r.decision(id, &d)
		} else {
			r.facts(id).blind = true
		}
	case "message":
		var m messageRecord
		r.facts(id).there = true
		if into(&m) {
			r.facts(id).sender = m.Service
			for _, d := range m.documents() {
				r.documents = append(r.documents, attachedDocument{d, id})
			}
		}
	case "waiting work", "leased work":
		var w workRecord
		if into(&w) {
			r.work(kind, id, rec, &w)
		}
	case "parked delivery":
		var p parkedRecord
		if into(&p) && (rec.Key != prefixParked+store.Key(p.Entry.ID) || rec.Lane != laneParked || rec.Due.IsZero()) {
			r.problem(kind, p.Message, "it is not where the operator finds it")
		}
	case "bill":
		var b billRecord
		if into(&b) && rec.Key != r.c.billKey(b.rptID()) {
			r.problem(kind, "", "it is of another notice")
		}
	case "data request":
		var q requestRecord
		if into(&q) && (rec.Key == keyDeletion && q.Status == RequestPending || rec.Key == keyDownload && q.open()) == rec.Due.IsZero() {
			r.problem(kind, "", "it is not where those who work on it find it, or still there")
		}
	case "receipt":
		into(&receiptRecord{})
	case "digest":
		var d digestRecord
		if into(&d) && rec.Key != r.c.digestKey(d.Service, false) && rec.Key != r.c.digestKey(d.Service, true) {
			r.problem(kind, "", "it is for another service")
		}
	case "reminder":
		into(&reminderRecord{})
	case "effect":
		into(&effectRecord{})
	case "effect on the feed":
		into(&feedRecord{})
	case "person in the feed":
		into(&feedPersonRecord{})
	case "line of the feed":
		var l feedLineRecord
		if into(&l) && !strings.HasSuffix(string(rec.Key), "/"+r.c.feedAlias(l.Hash)) {
			r.problem(kind, "", "it is another person's")
		}
	case "mark for statistics":
		into(&tallyRecord{})
	case "figures of a day":
		into(&dayRecord{})
	case "count of days":
		into(&closedRecord{})
	case "use of documents":
		into(&documentUseRecord{})
	case "debtor":
		var d debtorRecord
		if into(&d) && rec.Key != prefixDebtor+store.Key(d.Citizen) {
			r.problem(kind, "", "it is another citizen")
		}
	case "taken address":
		into(&takenRecord{})
	case "news of a notice":
		into(&newsRecord{})
	case "spreading of news":
		into(&spreadRecord{})
	case "service":
		var s serviceRecord
		if into(&s) && service(s.ID) != r.name {
			r.problem(kind, "", "it is another service's")
		}
	case "draft of a service":
		var d draftRecord
		if into(&d) && service(d.Data.ID) != r.name {
			r.problem(kind, "", "it is another service's")
		} else if (d.Stage == Submitted) != (rec.Lane == laneReview && !rec.Due.IsZero()) {
			r.problem(kind, "", "it is submitted and not in the queue of reviews, or the other way round")
		}
	case "change of a service":
		into(&changeRecord{})
	case "member":
		var m memberRecord
		if into(&m) && rec.Key != r.c.memberKey(m.ID) {
			r.problem(kind, "", "it is another member")
		}
	case "logo":
		into(&logoRecord{})
	case "manage key":
		var k manageKeyRecord
		if into(&k) && rec.Key != r.c.manageKeyKey(k.Via, k.ID) {
			r.problem(kind, "", "it is another key")
		}
	case "prepared service":
		var p preparedRecord
		if into(&p) && rec.Key != preparedKey(p.Service) {
			r.problem(kind, "", "it is another service")
		}
	case "organization":
		into(&organizationRecord{})
	case "derived keys":
		into(&derivedRecord{})
	case "use of an API key":
		into(&keyUseRecord{})
	case "API key":
		into(&apiKeyRecord{})
	case "format":
		into(&formatRecord{})
	case "root secret":
		into(&rootRecord{})
	case "mark of a restore":
		into(&restoredRecord{})
	}
}

func (r *ownerReader) facts(id MessageID) *messageFacts {
	f := r.messages[id]
	if f == nil {
		f = &messageFacts{}
		r.messages[id] = f
	}
	return f
}

// consent follows the chain: each record has the number after, and the hash of, the one before.
func (r *ownerReader) consent(rec *store.Record, ev *consentEvent, payload []byte) {
	r.links++
	broken := ev.Number != r.links || rec.Key != historyKey(ev.Number) || string(ev.Prev) != string(r.link)
	if broken && !r.unlinked {
		r.problem("consent", "", "the chain is broken at number %d: a record is missing, or is not the one that was followed", r.links)
	}
	sum := sha256.Sum256(payload)
	r.link, r.links, r.unlinked = sum[:], ev.Number, false
	if ev.What == string(Erased) {
		r.erasedAt = max(r.erasedAt, ev.At)
	}
}

// decision decides again by the stored facts.
func (r *ownerReader) decision(id MessageID, d *decisionRecord) {
	f := r.facts(id)
	f.decided, f.processed, f.service = d.At, d.Status == Processed, d.Service
	if d.RuleSet > RuleSet { // by other lines of Decide
		return
	}
	if !Decide(d.facts()).Equal(d.decision()) {
		r.problem("decision", id, "its facts lead to another decision")
		return
	}
	r.replayed++
}

func (r *ownerReader) work(kind string, id MessageID, rec *store.Record, w *workRecord) {
	f := r.facts(id)
	f.digest = w.Digest != nil
	f.waiting, f.underWay = f.waiting || kind == "waiting work", f.underWay || kind == "leased work"
	switch {
	case !slices.Contains([]store.Lane{deliveryLane(w.Service), backlogLane(w.Service), pausedLane(w.Service)}, rec.Lane) || rec.Due.IsZero():
		r.problem(kind, id, "it is not in its service's queue")
	case len(w.Entries) == 0:
		r.problem(kind, id, "nothing is left of it to do")
	case kind == "leased work" && w.Lease == nil:
		r.problem(kind, id, "nobody holds it")
	}
}

// end judges what only shows when all was read. An erasure deletes messages, and leaves decisions, and work that is under way.
func (r *ownerReader) end() {
	if r.c == nil || r.erasing {
		return
	}
	for id, f := range r.messages {
		erased := r.erasedAt > 0 && f.decided <= r.erasedAt
		switch {
		case f.blind:
		case f.there && f.decided == 0:
			r.problem("message", id, "it was never decided")
		case f.there && f.sender != "" && f.service != f.sender:
			r.problem("message", id, "its decision is of another service")
		case f.there && !f.processed:
			r.problem("message", id, "it was rejected")
		case f.there || erased:
		case f.processed:
			r.problem("decision", id, "it was processed, and the message is missing")
		case f.digest:
		case f.waiting || f.underWay:
			r.problem("open work", id, "its message is missing")
		case f.state:
			r.problem("message state", id, "its message is missing")
		}
		if f.waiting && f.underWay {
			r.problem("open work", id, "it waits, and is under way")
		}
	}
}

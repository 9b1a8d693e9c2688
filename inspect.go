package appio

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio/blob"
	"github.com/appio-go/appio/store"
)

// A Finding is something wrong with what a store holds. It names no person: owners are pseudonyms, or public ids of services.
type Finding struct {
	Owner   string    `json:"owner,omitempty"`   // as the store names it; empty: of no one owner
	Kind    string    `json:"kind,omitempty"`    // of the record, as in Inventory.Records; empty: no record, or one of no known kind
	Message MessageID `json:"message,omitempty"` // that it is about; empty: none
	Problem string    `json:"problem"`
}

// String is the finding as one line.
func (f Finding) String() string {
	var parts []string
	for _, p := range []string{f.Kind, string(f.Message)} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if f.Owner != "" {
		parts = append(parts, "of "+f.Owner)
	}
	if len(parts) == 0 {
		return f.Problem
	}
	return strings.Join(parts, " ") + ": " + f.Problem
}

// An Inventory is what a store holds, in figures: nothing of it is about a person.
type Inventory struct {
	Format   int    `json:"format"`   // of names and records
	Instance string `json:"instance"` // random, of this store; another after a restore
	Plain    bool   `json:"plain"`    // records have checksums and are not sealed
	Restored bool   `json:"restored"` // it is a restored backup, and no engine has used it since: see MarkRestored

	Owners     map[string]int64 `json:"owners"`      // citizens, services, organizations, API keys
	Records    map[string]int64 `json:"records"`     // by kind: "message", "consent", ...
	Bytes      int64            `json:"bytes"`       // of all values
	EngineKeys map[uint32]int64 `json:"engine_keys"` // records by the number of the engine key that seals them
	Queues     []Queue          `json:"queues"`      // those that have something, by lane

	Replayed int64 `json:"replayed"` // decisions that came out the same again; only with keys
	Findings int64 `json:"findings"`
}

// A Queue is one lane of scheduled records.
type Queue struct {
	Kind   string    `json:"kind"` // "deliveries", "effects", "reminders", "clean-up", "parked", "quarantined", "downloads", "statistics"
	Lane   uint16    `json:"lane"`
	Depth  int64     `json:"depth"`  // records
	Oldest time.Time `json:"oldest"` // when the first of them is or was due

	marks uint64 // of which records they are
}

// Inspect reads all of a store that nobody changes meanwhile and says what it holds, and calls found, if it is not nil, with each
// thing that is wrong. An error is what made it give up: damage is a Finding, and it goes on.
//
// Without keys it finds what cannot be read, is of no known kind, or is scheduled otherwise than its record says. With the
// engine keys it also opens every record, follows each citizen's history of consent link by link, decides again what was
// decided, and looks whether messages, decisions and open work belong together. It changes nothing. Keys of another store are
// store.ErrKey; a store of a later version is store.ErrNewer, one that no engine has used ErrNotFound.
func Inspect(ctx context.Context, s store.Store, keys Keyring, found func(Finding)) (Inventory, error) {
	return InspectDocuments(ctx, s, nil, keys, found)
}

// InspectDocuments is [Inspect] that also reads, where there are keys, the documents of all messages to their end, one piece at a time: one that
// is gone, or is not what was put, is a Finding. documents is what the engine's Options.Documents is; nil: it is Inspect.
func InspectDocuments(ctx context.Context, s store.Store, documents blob.Store, keys Keyring, found func(Finding)) (Inventory, error) {
	in := newInspection(s, found)
	in.blobs = documents
	c := &codec{ring: keys}
	if err := in.format(ctx, c); err != nil {
		return in.Inventory, err
	}
	if keys != nil || in.Plain {
		in.codec = c
	}
	if err := in.owners(ctx); err != nil {
		return in.Inventory, err
	}
	if err := in.lanes(ctx); err != nil {
		return in.Inventory, err
	}
	return in.Inventory, nil
}

// Check is [Inspect] of the engine's store with its keys, while it works. An owner that changes is read again; whether queues
// are as their records say is left out. It reads the documents in Options.Documents, too, as [InspectDocuments] does.
func (e *Engine) Check(ctx context.Context, found func(Finding)) (Inventory, error) {
	if err := e.ready(ctx); err != nil {
		return Inventory{}, err
	}
	in := newInspection(e.store, found)
	if err := in.format(ctx, &codec{ring: e.codec.ring}); err != nil {
		return in.Inventory, err
	}
	in.codec, in.blobs = e.codec, e.opts.Documents
	err := in.owners(ctx)
	return in.Inventory, err
}

// An inspection goes through a store, owner by owner.
type inspection struct {
	Inventory
	s     store.Store
	codec *codec     // nil: there are no keys
	blobs blob.Store // nil: documents are not looked at
	found func(Finding)
	lane  map[store.Lane]*Queue
	blind bool // some records could not be read, so that others cannot be compared with them
}

func newInspection(s store.Store, found func(Finding)) *inspection {
	return &inspection{s: s, found: found, lane: map[store.Lane]*Queue{}, Inventory: Inventory{
		Owners: map[string]int64{}, Records: map[string]int64{}, EngineKeys: map[uint32]int64{},
	}}
}

func (in *inspection) report(f Finding) {
	in.Findings++
	if in.found != nil {
		in.found(f)
	}
}

// format reads what kind of store this is, and with a ring makes c ready to open records. It asks for no more than the format
// record where there is no ring.
func (in *inspection) format(ctx context.Context, c *codec) error {
	snaps, err := in.s.View(ctx, []store.Read{{Owner: ownerMeta, Keys: []store.Key{keyFormat, keyRoot, keyRestored}}})
	if err != nil {
		return err
	}
	records := map[store.Key]*store.Record{}
	for i := range snaps[0].Records {
		records[snaps[0].Records[i].Key] = &snaps[0].Records[i]
	}
	if len(records) == 0 {
		return fmt.Errorf("%w: no engine's store", ErrNotFound)
	}
	format, root := records[keyFormat], records[keyRoot]
	if format == nil || root == nil {
		return fmt.Errorf("%w: the store's format record or root secret is missing", store.ErrCorrupt)
	}
	var f formatRecord
	if err := c.of(ownerMeta).open(format, &f); err != nil {
		return err
	}
	in.Format, in.Instance, in.Plain, in.Restored = f.Format, hex.EncodeToString(f.Instance), f.Key == 0, records[keyRestored] != nil
	if f.Format > storeFormat {
		return fmt.Errorf("%w: store format %d", store.ErrNewer, f.Format)
	}
	if c.plain = in.Plain; c.ring == nil && !c.plain {
		return nil
	}
	if err := c.checkKey(&f); err != nil {
		return err
	}
	_, err = c.openRoot(root)
	return err
}

// owners inspects one owner after the other. Where they cannot be listed, it goes on a little further.
func (in *inspection) owners(ctx context.Context) error {
	defer func() {
		for _, lane := range slices.Sorted(maps.Keys(in.lane)) {
			in.Queues = append(in.Queues, *in.lane[lane])
		}
	}()
	var after store.Owner
	for limit := 256; ; {
		names, err := in.s.Owners(ctx, after, limit)
		switch {
		case errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrClosed) && limit > 1:
			limit = 1 // as far as they can be
			continue
		case errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrClosed):
			next := pastDamage(after)
			in.blind = true
			in.report(Finding{Problem: fmt.Sprintf("the owners after %q cannot be listed up to %q", after, next)})
			if after = next; after == "" {
				return nil
			}
			continue
		case err != nil:
			return err
		}
		for _, name := range names {
			if err := in.owner(ctx, name); err != nil {
				return err
			}
		}
		if len(names) < limit {
			return nil
		}
		after, limit = names[len(names)-1], 256
	}
}

// pastDamage is a name somewhat after another one, "" if there is none: pseudonyms spread evenly, so with four characters some
// four-thousandth of the citizens is passed over.
func pastDamage(after store.Owner) store.Owner {
	b := []byte(after)
	if len(b) == 0 {
		return citizenOwner
	}
	b = b[:min(len(b), 4)]
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 'z' {
			b[i]++
			return store.Owner(b[:i+1])
		}
	}
	return ""
}

// A tally is what one reading of an owner came to, so that a reading that was disturbed counts for nothing.
type tally struct {
	records  map[string]int64
	keys     map[uint32]int64
	lanes    map[store.Lane]Queue
	bytes    int64
	replayed int64
	findings []Finding
}

// ownerTries is how often an owner that changes is begun again; then it is taken as it was read.
const ownerTries = 10

func (in *inspection) owner(ctx context.Context, name store.Owner) error {
	for try := 1; ; try++ {
		r := newOwnerReader(name, in.codec)
		same, err := r.read(ctx, in.s)
		if err != nil {
			return err
		}
		if same || try == ownerTries {
			in.add(r)
			return in.documents(ctx, r)
		}
	}
}

// documents reads those of a person's messages. One that went with its message meanwhile is not missing.
func (in *inspection) documents(ctx context.Context, r *ownerReader) error {
	if in.blobs == nil || r.erasing {
		return nil
	}
	for i := range r.documents {
		d := &r.documents[i]
		wrong := in.readDocument(ctx, r.name, &d.documentRecord)
		if wrong == nil {
			continue
		}
		if !errors.Is(wrong, store.ErrCorrupt) && !errors.Is(wrong, store.ErrNewer) {
			return wrong
		}
		snaps, err := in.s.View(ctx, []store.Read{{Owner: r.name, Keys: []store.Key{keyTombstone, documentKey(d.ID)}}})
		if err != nil {
			return err
		}
		if recs := snaps[0].Records; len(recs) == 1 && recs[0].Key != keyTombstone {
			in.report(Finding{string(r.name), "document", d.message, unreadable(wrong)})
		}
	}
	return nil
}

// readDocument reads a document to its end.
func (in *inspection) readDocument(ctx context.Context, owner store.Owner, d *documentRecord) (err error) {
	sealed, err := in.codec.openBlob(ctx, in.blobs, owner, d.ID)
	if err != nil {
		return err
	}
	defer sealed.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, blob.Reader{Context: ctx, R: newOpeningReader(sealed, d)})
	if err == nil && (n != d.Size || !bytes.Equal(sum.Sum(nil), d.Sum)) {
		err = errDocument
	}
	return err
}

func (in *inspection) add(r *ownerReader) {
	if kind := ownerKind(r.name); kind != "" {
		in.Owners[kind]++
	}
	for kind, n := range r.records {
		in.Records[kind] += n
	}
	for id, n := range r.keys {
		in.EngineKeys[id] += n
	}
	for lane, q := range r.lanes {
		sum := in.lane[lane]
		if sum == nil {
			sum = &Queue{Kind: laneKind(lane), Lane: uint16(lane)}
			in.lane[lane] = sum
		}
		sum.add(q.Depth, q.Oldest, q.marks)
	}
	in.Bytes += r.bytes
	in.Replayed += r.replayed
	in.blind = in.blind || r.cut
	for _, f := range r.findings {
		in.report(f)
	}
}

func (q *Queue) add(n int64, due time.Time, marks uint64) {
	if q.Depth == 0 || due.Before(q.Oldest) {
		q.Oldest = due
	}
	q.Depth += n
	q.marks ^= marks
}

var markSeed = maphash.MakeSeed()

// mark identifies a scheduled record.
func mark(r *store.Record) uint64 {
	return maphash.Comparable(markSeed, [4]string{string(r.Owner), string(r.Key), r.Due.UTC().Format(time.RFC3339Nano), string(r.Value)})
}

// lanes compares each queue with what the owners' records say.
func (in *inspection) lanes(ctx context.Context) error {
	for lane := range store.Lane(laneReview + 1) {
		if laneKind(lane) == "" {
			continue
		}
		want := Queue{}
		if q := in.lane[lane]; q != nil {
			want = *q
		}
		got := Queue{}
		q := store.DueQuery{Lanes: []store.Lane{lane}, Until: farFuture, Limit: 256}
		for {
			recs, err := in.s.Due(ctx, q)
			if errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrClosed) {
				in.report(Finding{Problem: fmt.Sprintf("the queue of %s in lane %#x cannot be read", laneKind(lane), uint16(lane))})
				got = want
				break
			}
			if err != nil {
				return err
			}
			for i := range recs {
				got.add(1, recs[i].Due, mark(&recs[i]))
			}
			if len(recs) < q.Limit {
				break
			}
			last := recs[len(recs)-1]
			q.After = store.Position{Due: last.Due, Owner: last.Owner, Key: last.Key}
		}
		if in.blind {
			continue
		}
		if got.Depth != want.Depth || got.marks != want.marks {
			in.report(Finding{Problem: fmt.Sprintf("the queue of %s in lane %#x has %d records, and the owners' records say %d, or others",
				laneKind(lane), uint16(lane), got.Depth, want.Depth)})
		}
	}
	return nil
}

func laneKind(lane store.Lane) string {
	switch {
	case lane >= laneDelivery && lane < laneDelivery+openLanes:
		return "deliveries"
	case lane >= lanePaused && lane < lanePaused+deliveryLanes:
		return "paused"
	case lane >= laneCleanUp && lane < laneCleanUp+cleanUpLanes:
		return "clean-up"
	case lane >= laneEffect && lane < laneEffect+effectLanes:
		return "effects"
	case lane >= laneReminder && lane < laneReminder+reminderLanes:
		return "reminders"
	case lane >= laneDecided && lane < laneOver+deliveryLanes:
		return "statistics"
	case lane == laneDownload:
		return "downloads"
	case lane == laneReview:
		return "reviews"
	case lane == laneParked:
		return "parked"
	case lane == laneQuarantined:
		return "quarantined"
	}
	return ""
}

func ownerKind(o store.Owner) string {
	for prefix, kind := range map[string]string{
		citizenOwner: "citizen", serviceOwner: "service", orgOwner: "organization", keyOwner: "API key", noticeOwner: "notice", addressOwner: "address", feedOwner: "subscriptions feed", string(statisticsOwner): "statistics", string(ownerMeta): "store",
	} {
		if strings.HasPrefix(string(o), prefix) {
			return kind
		}
	}
	return ""
}

// Kinds of records by key, or by the prefix of a key.
var (
	citizenKinds = map[string]string{
		string(keyTombstone): "tombstone", string(keyDataKey): "data key", string(keyProfile): "profile", string(keyListed): "listed person",
		prefixPreference: "preference", prefixActivation: "activation", prefixDecision: "decision", prefixHistory: "consent",
		prefixRepeat: "idempotency key", prefixMessage: "message", prefixOutcome: "outcome", prefixWaiting: "waiting work",
		prefixLeased: "leased work", prefixParked: "parked delivery", prefixCleanUp: "clean-up task", prefixQuarantine: "quarantined",
		prefixDigest: "digest", prefixRemindMessage: "reminder", prefixRemindBill: "reminder",
		prefixDocument: "document", prefixRequest: "data request", prefixBill: "bill", prefixReceipt: "receipt", prefixEffect: "effect",
		prefixFeed: "effect on the feed", prefixTally: "mark for statistics",
	}
	otherKinds = map[string]string{
		"service\x00" + string(keyService): "service", "organization\x00" + string(keyOrganization): "organization",
		"API key\x00" + string(keyAPIKey): "API key", "store\x00" + string(keyFormat): "format", "store\x00" + string(keyRoot): "root secret",
		"store\x00" + string(keyRestored): "mark of a restore", "store\x00" + string(keyPaused): "what is paused", "notice\x00" + string(keyNews): "news of a notice",
		"notice\x00" + string(keySpread): "spreading of news", "service\x00" + string(keyDraft): "draft of a service",
		"statistics\x00" + string(keyClosed): "count of days", "statistics\x00" + string(keyDocumentUse): "use of documents", "address\x00" + string(keyTaken): "taken address", "service\x00" + string(keyDerived): "derived keys", "API key\x00" + string(keyUse): "use of an API key",
		"service\x00" + string(keyLogo): "logo", "organization\x00" + string(keyLogo): "logo",
	}
)

var otherPrefixes = map[string]string{
	"statistics\x002":           "figures of a day", // of this millennium
	"notice\x00" + prefixDebtor: "debtor", "service\x00" + prefixChange: "change of a service", "organization\x00" + prefixPrepared: "prepared service",
	"organization\x00" + prefixMember: "member", "organization\x00" + prefixManageKey: "manage key", "organization\x00" + prefixCleanUp: "clean-up task",
	"organization\x00" + prefixRemote:           "remote-content configuration",
	"subscriptions feed\x00" + prefixFeedPerson: "person in the feed", "subscriptions feed\x00" + prefixFeedAll: "line of the feed",
	"subscriptions feed\x00" + prefixFeedService: "line of the feed", "subscriptions feed\x00" + prefixCleanUp: "clean-up task",
}

// recordKind is empty for a record that no engine of this version writes.
func recordKind(owner store.Owner, k store.Key) string {
	key := string(k)
	kind := ownerKind(owner)
	if strings.HasPrefix(key, prefixQuarantine) {
		return "quarantined"
	}
	for prefix, of := range otherPrefixes {
		if owner, in, _ := strings.Cut(prefix, "\x00"); kind == owner && strings.HasPrefix(key, in) {
			return of
		}
	}
	if kind != "citizen" {
		return otherKinds[kind+"\x00"+key]
	}
	if i := strings.LastIndexByte(key[:min(len(key), 4)], '/'); i >= 0 {
		key = key[:i+1]
	}
	if key == prefixMessage && strings.HasSuffix(string(k), stateSuffix) {
		return "message state"
	}
	return citizenKinds[key]
}

func (t *tally) reset() {
	*t = tally{records: map[string]int64{}, keys: map[uint32]int64{}, lanes: map[store.Lane]Queue{}}
}

package appio

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/appio-go/appio/store"
)

// ExportVersion is that of the format of [Citizen.Export]. It grows when a member or a kind of item changes its meaning or goes; what is
// only added keeps it, so that readers must pass over what they do not know.
const ExportVersion = 1

//go:embed export.schema.json
var exportSchema string

// ExportSchema is the JSON Schema (draft 2020-12) of what [Citizen.Export] writes, with what each member means. One item of a page is
// its #/$defs/item.
func ExportSchema() string { return exportSchema }

// An ExportPage is a part of what is kept about a citizen.
type ExportPage struct {
	Items []json.RawMessage // each an object with a "kind": see ExportSchema
	Next  Cursor            // empty: it was the last page
}

// exportPage is how many records a page has at most, and so what bounds an export's memory.
const exportPage = 64

// Export writes all that is kept about the citizen and is theirs to have (GDPR art. 15 and 20) as one JSON document: see [ExportSchema].
// It reads by pages and holds one at a time, in time that grows with the citizen's own records alone, while deliveries go on. After an
// error w has no whole document, and no valid JSON. It asks for a login at L2, as erasure does.
//
// Each page is of one moment; the document is not. What stays as it is from beginning to end is in it once. What changes meanwhile
// is there as it was before or after; what comes may be missing; open deliveries are read before outcomes, so that one that
// ends is there once or twice. Messages come oldest first; otherwise the order of items says nothing.
//
// Documents are named, with their checksums: what they hold is [Citizen.OpenDocument]'s.
//
// A record that is damaged is an item that says so, and does not keep the others back. While the person is being erased it is
// ErrErasing. After it there is what outlives an erasure and nothing else: decisions, outcomes, the history of consent, the request.
func (c *Citizen) Export(ctx context.Context, w io.Writer) error {
	var b bytes.Buffer
	separator := "\n"
	for cursor, begun := Cursor(""), false; !begun || cursor != ""; begun = true {
		page, err := c.ExportPage(ctx, cursor)
		if err != nil {
			return err
		}
		if !begun {
			head, err := json.Marshal(exportHead{"appio.export", ExportVersion, string(c.id.Code), c.e.now().UTC()})
			if err != nil {
				return fmt.Errorf("appio: export: %w", err)
			}
			b.Write(bytes.TrimSuffix(head, []byte("}")))
			b.WriteString(`,"items":[`)
		}
		for _, item := range page.Items {
			b.WriteString(separator)
			b.Write(item)
			separator = ",\n"
		}
		if cursor = page.Next; cursor == "" {
			b.WriteString("\n]}\n")
		}
		if _, err := b.WriteTo(w); err != nil {
			return fmt.Errorf("appio: export: %w", err)
		}
	}
	return nil
}

type exportHead struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Code    string    `json:"fiscal_code"`
	At      time.Time `json:"begun_at"`
}

// ExportPage is the next items of an export, some 64 at most: from the start for an empty cursor, else after the page that gave it. A
// cursor is good for as long as the store's secrets are, so an export that was interrupted goes on from the last page that arrived, in
// another process, too. Otherwise see [Citizen.Export]; a cursor that is not of this citizen's export is ErrInvalid. A page may be empty
// although Next is set.
func (c *Citizen) ExportPage(ctx context.Context, cursor Cursor) (ExportPage, error) {
	owner, err := c.begin(ctx)
	if err != nil {
		return ExportPage{}, err
	}
	if c.id.Level < L2 {
		return ExportPage{}, fmt.Errorf("%w: an export asks for a login at level 2", ErrForbidden)
	}
	list := "export\x00" + string(c.id.Code)
	p, err := c.e.codec.openCursor(list, cursor)
	if err != nil {
		return ExportPage{}, err
	}
	at := 0
	for at < len(exportSections) && p.key != "" && !strings.HasPrefix(p.key, exportSections[at].prefix) {
		at++
	}
	if at == len(exportSections) {
		return ExportPage{}, invalid("Cursor", "one that this export gave")
	}
	section := &exportSections[at]
	rng := all(section.prefix, exportPage)
	if p.key != "" {
		rng.From = store.Key(p.key + "\x00")
	}
	d, err := c.e.view(ctx, owner, rng, "", profileKeys...)
	if err != nil {
		return ExportPage{}, err
	}
	if d.get(keyTombstone) != nil {
		return ExportPage{}, ErrErasing
	}
	// Without the data key personal records cannot be read, and are shown as such.
	profile, err := d.readProfile()
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		return ExportPage{}, err
	}
	recs := d.ranged
	if n := len(recs) - 1; n == exportPage-1 && recordKind(owner, recs[n].Key) == "message" {
		recs = recs[:n] // its state is on the next page, and so is it
	}
	page, last := ExportPage{}, ""
	for i := 0; i < len(recs); i++ {
		r, state := &recs[i], (*store.Record)(nil)
		if i+1 < len(recs) && recs[i+1].Key == r.Key+stateSuffix && section.prefix == prefixMessage {
			i++
			state = &recs[i]
		}
		last = string(recs[i].Key)
		item, err := exported(section, d, profile, r, state)
		if err != nil {
			return ExportPage{}, err
		}
		page.Items = append(page.Items, item)
	}
	switch {
	case len(d.ranged) == exportPage:
		page.Next = c.e.codec.sealCursor(list, position{key: last})
	case at+1 < len(exportSections):
		page.Next = c.e.codec.sealCursor(list, position{key: exportSections[at+1].prefix})
	}
	return page, nil
}

// exported is the item of one record, with that of its state if it is a message.
func exported(section *exportSection, d *draft, p *profileRecord, r, state *store.Record) (json.RawMessage, error) {
	kind := recordKind(d.owner, r.Key)
	item, err := section.item(d, p, r, state)
	if err == nil {
		var b []byte
		if b, err = json.Marshal(item); err == nil {
			return b, nil
		}
		err = fmt.Errorf("%w: a record of kind %s says what cannot be written", store.ErrCorrupt, kind) // json's error could quote it
	}
	if !errors.Is(err, store.ErrCorrupt) {
		return nil, err
	}
	return json.Marshal(exportedUnreadable{"unreadable", kind})
}

// An exportSection is a range of the citizen's records, and what each of them is to others.
type exportSection struct {
	prefix string
	item   func(d *draft, p *profileRecord, r, state *store.Record) (any, error)
}

// exportSections are in the order in which they are exported. What moves goes down the list: open deliveries are parked, or become
// outcomes.
var exportSections = []exportSection{
	{string(keyProfile), exportProfile},
	{prefixPreference, exportPreference},
	{prefixActivation, exportActivation},
	{prefixHistory, exportConsent},
	{prefixRequest, exportRequest},
	{prefixWork, exportWork},
	{prefixParked, exportParked},
	{prefixOutcome, exportOutcome},
	{prefixDecision, exportDecision},
	{prefixMessage, exportMessage},
	{prefixBill, exportBill},
	{prefixReceipt, exportReceipt},
	{prefixReminder, exportReminder},
	{prefixQuarantine, func(*draft, *profileRecord, *store.Record, *store.Record) (any, error) {
		return exportedUnreadable{"unreadable", "quarantined"}, nil
	}},
}

// notExported are the kinds of a citizen's records that are not in an export, and why.
var notExported = map[string]string{
	"tombstone":           "while it is there nothing is exported",
	"data key":            "it is what seals the records; with it a copy of the store could be read after an erasure",
	"listed person":       "the code itself, and which lists of services and organizations name it, which are theirs",
	"idempotency key":     "a hash of a service's own key, and what the decision of the message says",
	"effect":              "that a notice is still to be told of a bill, by pseudonyms; the bill is exported",
	"effect on the feed":  "that the subscriptions feed is still to be told of a change of consent; the change is exported",
	"mark for statistics": "that a message was read, a notice paid or something delivered, for two days; what it is of is exported",
	"digest":              "which of a service's digests is the one that messages are added to; its open deliveries say what it has",
	"document":            "which message has a document; the message says so",
	"clean-up task":       "how far a clean-up has come",
}

type exportedUnreadable struct {
	Kind   string `json:"kind"`
	Record string `json:"record"`
}

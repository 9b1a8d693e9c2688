package appio

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio/blob"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/magic"
	"github.com/appio-go/appio/store"
)

// A DocumentID is a ULID.
type DocumentID string

// A Document is a certificate or a notice that a message carries, and that the citizen keeps with it: a PDF file, or an image. [Sender.PutDocument]
// makes one, [Citizen.OpenDocument] reads it.
//
// It is sealed under a key of its own, which is stored with the message and nowhere else, and so ends with an erasure. The sealed bytes are in
// Options.Documents.
type Document struct {
	ID     DocumentID
	Name   string // as of a file; 1 to 200 UTF-16 units without "/", "\" and control characters
	Type   string // application/pdf, image/png or image/jpeg
	Size   int64  // in bytes
	SHA256 string // of its content, in hex

	// Token is what PutDocument gave: who has it may send the document, to the citizen that it was put for, within 24 hours, once. It holds the
	// document's key, sealed. Empty in an inbox.
	Token string
}

const (
	maxDocuments = 10 // of a message
	maxToken     = 4096

	documentTime = 24 * time.Hour   // from when a document is put until it is sent
	orphanAfter  = 2 * documentTime // from when it was put until it is looked whether a message has it: no send is possible any more
	collectEvery = 24 * time.Hour   // by Run
	collectFirst = time.Minute      // after Run began
	mostDocument = int64(1) << 30   // for Options.MaxDocument
	documentSize = int64(10) << 20  // Options.MaxDocument if it is 0
	collectPage  = 256              // documents looked up together
)

// A documentToken is what a [Document.Token] says.
type documentToken struct {
	Owner    string         `msgpack:"o"` // whom it was put for
	Service  ServiceID      `msgpack:"n"`
	At       int64          `msgpack:"t"`
	Document documentRecord `msgpack:"d"`
}

// blobID is by its owner's pseudonym and its id, so that it can be found out whether a message has it. It named a document in
// Options.Documents before codec.blobID did.
func blobID(owner store.Owner, id DocumentID) blob.ID {
	sum, _ := decodeText(strings.TrimPrefix(string(owner), citizenOwner))
	return blob.ID(hex.EncodeToString(sum) + "-" + strings.ToLower(string(id)))
}

// ofBlob is whose document it is, and which; false: it is none of this engine's.
func ofBlob(b blob.ID) (owner store.Owner, id DocumentID, ok bool) {
	name, ulid, _ := strings.Cut(string(b), "-")
	sum, err := hex.DecodeString(name)
	id = DocumentID(strings.ToUpper(ulid))
	if err != nil || len(sum) != 16 || !validULID(string(id)) {
		return "", "", false
	}
	owner = store.Owner(pseudonym(citizenOwner, sum))
	return owner, id, blobID(owner, id) == b
}

// blobID names a document in Options.Documents. The mark behind what says which one it is tells it from those of other engines.
func (c *codec) blobID(owner store.Owner, id DocumentID) blob.ID {
	b := blobID(owner, id)
	sum := c.pseudonym.sum("document", string(b))
	return b + "-" + blob.ID(hex.EncodeToString(sum[:8]))
}

// ofBlob is whose document it is, and which; false: it is none of this engine's. Without a mark it may be another's all the same.
func (c *codec) ofBlob(b blob.ID) (owner store.Owner, id DocumentID, marked, ok bool) {
	bare := b
	if i := strings.LastIndexByte(string(b), '-'); i > strings.IndexByte(string(b), '-') {
		bare, marked = b[:i], true
	}
	owner, id, ok = ofBlob(bare)
	return owner, id, marked, ok && (!marked || c.blobID(owner, id) == b || planted == "document-foreign")
}

// openBlob opens a sealed document, also one that was put before names had marks.
func (c *codec) openBlob(ctx context.Context, s blob.Store, owner store.Owner, id DocumentID) (r io.ReadCloser, err error) {
	for _, b := range []blob.ID{c.blobID(owner, id), blobID(owner, id)} {
		if r, err = s.Open(ctx, b); !errors.Is(err, blob.ErrNotFound) {
			return r, err
		}
	}
	return nil, fmt.Errorf("%w: a document of a message is gone", store.ErrCorrupt)
}

func documentKey(id DocumentID) store.Key { return prefixDocument + store.Key(id) }

// PutDocument keeps a document of which Name and Type are given, for a message to this citizen, and reads r to its end: at most
// Options.MaxDocument bytes. It is durable when PutDocument returns; put what it returns into Message.Documents. What no message has within two
// days is removed. Nothing of what it answers depends on the citizen. What is above Options.DocumentQuota is a [LimitedError] until the next day,
// or for a second while others are being read, which may need less than was kept for them. Without Options.Documents it is ErrUnsupported.
func (s *Sender) PutDocument(ctx context.Context, to fiscalcode.Person, d Document, r io.Reader) (Document, error) {
	if _, err := fiscalcode.ParsePerson(string(to)); err != nil {
		return Document{}, invalid("To", "a fiscal code")
	}
	if err := d.validate("Document"); err != nil {
		return Document{}, err
	}
	if s.e.opts.Documents == nil {
		return Document{}, unsupported("Options.Documents")
	}
	if err := s.e.ready(ctx); err != nil {
		return Document{}, err
	}
	svc, err := s.e.readService(ctx, s.id)
	if err != nil {
		return Document{}, err
	}
	if err := s.allowed(svc, WriteMessages); err != nil {
		return Document{}, err
	}
	owner := s.e.codec.citizen(to)
	if err := svc.permits(s.e.codec, owner); err != nil {
		return Document{}, err
	}
	room, err := s.e.takeRoom(ctx, s.id)
	if err != nil {
		return Document{}, err
	}
	kept := int64(0)
	defer func() { s.e.giveBack(ctx, s.id, room, kept) }()
	now := micro(s.e.now())
	put := documentRecord{ID: DocumentID(s.e.ulids.next(now)), Name: d.Name, Type: d.Type, Key: newDocumentKey()}
	sealed := newSealingReader(r, &put, room.most)
	if err := s.e.putBlob(ctx, s.e.codec.blobID(owner, put.ID), sealed); err != nil {
		if room.less && sealed.left < 0 {
			return Document{}, room.full(now)
		}
		return Document{}, fmt.Errorf("appio: put a document: %w", err)
	}
	if !sealed.done || len(sealed.out) > 0 { // the store does not keep its contract
		return Document{}, fmt.Errorf("%w: a document was not read to its end", store.ErrFailed)
	}
	kept = sealed.size
	put.Size, put.Sum = sealed.size, sealed.sum.Sum(nil)
	made := put.document()
	made.Token = s.e.codec.sealToken(documentPurpose, &documentToken{string(owner), s.id, toMicro(now), put})
	return made, nil
}

func (e *Engine) putBlob(ctx context.Context, id blob.ID, r io.Reader) error {
	if planted == "document-early" {
		b, err := io.ReadAll(r)
		time.AfterFunc(time.Millisecond, func() { _ = e.opts.Documents.Put(context.WithoutCancel(ctx), id, bytes.NewReader(b)) })
		return err
	}
	return e.opts.Documents.Put(ctx, id, r)
}

func (d *Document) validate(field string) error {
	if err := validText(field+".Name", d.Name, 1, 200); err != nil {
		return err
	}
	if strings.ContainsFunc(d.Name, func(r rune) bool { return r == '/' || r == '\\' || isControl(r) }) {
		return invalid(field+".Name", "a file's name, without a path and control characters")
	}
	if !magic.Known(d.Type) {
		return invalid(field+".Type", magic.Kinds)
	}
	return nil
}

func validDocuments(ds []Document) error {
	if len(ds) > maxDocuments {
		return invalid("Documents", fmt.Sprintf("at most %d", maxDocuments))
	}
	for i := range ds {
		if n := len(ds[i].Token); n == 0 || n > maxToken {
			return invalid(fmt.Sprintf("Documents[%d].Token", i), "what PutDocument gave")
		}
		if slices.ContainsFunc(ds[:i], func(d Document) bool { return d.Token == ds[i].Token }) {
			return invalid(fmt.Sprintf("Documents[%d].Token", i), "each document once")
		}
	}
	return nil
}

// documents are those that a message names by their tokens, and when the first of them ends.
func (s *Sender) documents(owner store.Owner, ds []Document) (put []documentRecord, until time.Time, err error) {
	for i := range ds {
		var t documentToken
		if s.e.codec.openToken(documentPurpose, ds[i].Token, &t) != nil || t.Owner != string(owner) || t.Service != s.id {
			return nil, until, invalid(fmt.Sprintf("Documents[%d].Token", i), "of a document that this service put for this recipient")
		}
		if end := fromMicro(t.At).Add(documentTime); i == 0 || end.Before(until) {
			until = end
		}
		put = append(put, t.Document)
	}
	return put, until, nil
}

// claim makes documents a message's, of which they are the only one.
func (tx *draft) claim(docs []documentRecord, id MessageID, now time.Time) error {
	for i := range docs {
		sent := store.Record{Key: tx.sentKey(docs[i].ID), Lane: cleanUpLane(tx.owner), Due: now.Add(orphanAfter)}
		if err := tx.putSealed(sent, &repeatRecord{ID: id, Status: Processed}); err != nil {
			return err
		}
		if err := tx.putPersonal(store.Record{Key: documentKey(docs[i].ID)}, &ownedRecord{id}); err != nil {
			return err
		}
	}
	return nil
}

// free reports whether no message has any of the documents, or had it before an erasure.
func (tx *draft) free(docs []documentRecord) error {
	for i := range docs {
		id := docs[i].ID
		if (tx.get(documentKey(id)) != nil || tx.get(tx.sentKey(id)) != nil) && planted != "document-shared" {
			return fmt.Errorf("%w: a document is another message's", ErrConflict)
		}
	}
	return nil
}

// OpenDocument reads a document of a message, which must be closed. What Read has given is what was put if it ends with io.EOF: a document that
// is damaged, or gone, is [store.ErrCorrupt] before it ends. A message that does not have it is ErrNotFound.
func (c *Citizen) OpenDocument(ctx context.Context, id MessageID, doc DocumentID) (Document, io.ReadCloser, error) {
	owner, err := c.begin(ctx)
	if err != nil {
		return Document{}, nil, err
	}
	if !validULID(string(id)) {
		return Document{}, nil, ErrNotFound
	}
	d, err := c.e.view(ctx, owner, store.Range{}, "", append([]store.Key{messageKey(id)}, profileKeys...)...)
	if err != nil {
		return Document{}, nil, err
	}
	if d.get(keyTombstone) != nil {
		return Document{}, nil, ErrErasing
	}
	if _, err := d.readProfile(); err != nil {
		return Document{}, nil, err
	}
	var m messageRecord
	found, err := d.read(messageKey(id), &m)
	if errors.Is(err, errShredded) || err == nil && !found {
		return Document{}, nil, ErrNotFound
	}
	if err != nil {
		return Document{}, nil, err
	}
	docs := m.documents()
	i := slices.IndexFunc(docs, func(r documentRecord) bool { return r.ID == doc })
	switch {
	case i < 0:
		return Document{}, nil, ErrNotFound
	case c.e.opts.Documents == nil:
		return Document{}, nil, unsupported("Options.Documents")
	}
	r, err := c.e.codec.openBlob(ctx, c.e.opts.Documents, owner, doc)
	if err != nil {
		return Document{}, nil, err
	}
	return docs[i].document(), newOpeningReader(r, &docs[i]), nil
}

// A KeptDocument is a document that a citizen has, with the message that it came by.
type KeptDocument struct {
	Document
	Message MessageID
	Service ServiceID
	SentAt  time.Time
}

// Documents lists the citizen's documents, newest first.
func (c *Citizen) Documents() List[KeptDocument] {
	return newList(c.e, "documents\x00"+string(c.id.Code), func(ctx context.Context, p position, limit int) (f found[KeptDocument], err error) {
		owner, err := c.begin(ctx)
		if err != nil {
			return f, err
		}
		return c.listDocuments(ctx, owner, p, limit)
	})
}

func (c *Citizen) listDocuments(ctx context.Context, owner store.Owner, p position, limit int) (f found[KeptDocument], err error) {
	d, err := c.e.view(ctx, owner, p.rangeOf(prefixDocument, limit, true), "", profileKeys...)
	if err != nil {
		return f, err
	}
	if d.get(keyTombstone) != nil {
		return f, ErrErasing
	}
	if _, err := d.readProfile(); err != nil {
		return f, err
	}
	recs, of := d.ranged, map[DocumentID]MessageID{}
	keys := slices.Clone(profileKeys)
	for i := range recs {
		var r ownedRecord
		switch err := d.open(&recs[i], &r); {
		case errors.Is(err, errShredded): // of an earlier life of this person
		case err != nil:
			return f, err
		default:
			of[DocumentID(messageIDOf(recs[i].Key))] = r.Message
			keys = append(keys, messageKey(r.Message))
		}
	}
	if d, err = c.e.view(ctx, owner, store.Range{}, "", keys...); err != nil {
		return f, err
	}
	if _, err := d.readProfile(); err != nil {
		return f, err
	}
	for i := range recs {
		id := DocumentID(messageIDOf(recs[i].Key))
		var m messageRecord
		if found, err := d.read(messageKey(of[id]), &m); err != nil && !errors.Is(err, errShredded) {
			return f, err
		} else if !found || err != nil {
			continue
		}
		docs := m.documents()
		if at := slices.IndexFunc(docs, func(r documentRecord) bool { return r.ID == id }); at >= 0 {
			f.add(KeptDocument{docs[at].document(), of[id], m.Service, fromMicro(m.At)}, string(id))
		}
	}
	if p.before {
		slices.Reverse(f.items)
		slices.Reverse(f.keys)
	}
	return f, nil
}

// removeDocuments removes documents of an erased person, before the records that name them go: those of the first removed ones of a page, or,
// with all, of the page. Deliveries wait meanwhile: so it takes a part of a turn at most, which others may have begun, and where the store of
// documents does not answer it is left alone for a while.
func (e *Engine) removeDocuments(ctx context.Context, owner store.Owner, rng store.Range, turn *time.Duration) (removed int, all bool, err error) {
	d, err := e.view(ctx, owner, rng, "")
	if err != nil || len(d.ranged) == 0 {
		return 0, err == nil, err
	}
	if e.opts.Documents == nil { // CollectDocuments finds them once it is there
		e.log().Error("an erased person had documents, and the engine has no Options.Documents to remove them from")
		return 0, true, nil
	}
	if *turn == 0 {
		*turn = e.mono() + removalTurn
	}
	for i := range d.ranged {
		if now := e.mono(); now >= *turn || now < time.Duration(e.removals.Load()) {
			return i, false, nil
		}
		if err := e.removeDocument(ctx, owner, DocumentID(messageIDOf(d.ranged[i].Key))); err != nil {
			return i, false, err
		}
	}
	return len(d.ranged), true, nil
}

const (
	removalTurn = time.Second     // of Run, for removing documents
	removalWait = 5 * time.Second // for the removal of one
	removalRest = time.Minute     // of a store of documents that has not answered
)

func (e *Engine) removeDocument(ctx context.Context, owner store.Owner, id DocumentID) error {
	one, cancel := context.WithTimeout(ctx, removalWait)
	defer cancel()
	for _, b := range []blob.ID{e.codec.blobID(owner, id), blobID(owner, id)} {
		if err := e.opts.Documents.Delete(one, b); err != nil {
			if one.Err() != nil && ctx.Err() == nil {
				e.removals.Store(int64(e.mono() + removalRest))
			}
			return err
		}
	}
	return nil
}

// CollectDocuments removes what is in Options.Documents, was put more than two days ago, and is of no message: because it was never sent, or
// was refused, or the message is gone. It says how many there were; one that cannot be removed is an error, after the others were. Run does
// it a minute after it begins and once a day, and believes a clock that has leapt ahead only when it still says so the next time. What
// another engine put there, with a store that was not made as a copy of this one, stays.
func (e *Engine) CollectDocuments(ctx context.Context) (removed int, err error) {
	return e.collectOlder(ctx, e.now())
}

// collectOlder is CollectDocuments at a time.
func (e *Engine) collectOlder(ctx context.Context, now time.Time) (removed int, err error) {
	if err := e.ready(ctx); err != nil {
		return 0, err
	}
	if e.opts.Documents == nil {
		return 0, unsupported("Options.Documents")
	}
	if err := e.dropDocuments(ctx, e.codec.citizen(fiscalcode.Sandbox)); err != nil {
		return 0, err
	}
	young := ulidAt(now.Add(-orphanAfter))
	var page []blob.ID
	var first error // of those that could not be removed
	for info, err := range e.opts.Documents.All(ctx) {
		if err != nil {
			return removed, err
		}
		if _, id, _, ok := e.codec.ofBlob(info.ID); !ok || string(id) >= young && planted != "document-young" {
			continue
		}
		if page = append(page, info.ID); len(page) == collectPage {
			n, err := e.collectDocuments(ctx, page)
			if removed += n; err != nil && n == 0 {
				return removed, err
			}
			first, page = cmp.Or(first, err), page[:0]
		}
	}
	n, err := e.collectDocuments(ctx, page)
	return removed + n, cmp.Or(first, err)
}

// dropDocuments forgets the documents of the sandbox's messages that have gone, since it keeps its last ones only.
func (e *Engine) dropDocuments(ctx context.Context, owner store.Owner) error {
	for rng := all(prefixDocument, collectPage); ; {
		d, err := e.view(ctx, owner, rng, "", profileKeys...)
		if err != nil {
			return err
		}
		if _, err := d.readProfile(); err != nil || len(d.ranged) == 0 {
			return err
		}
		recs := d.ranged
		of, keys := map[store.Key]store.Key{}, []store.Key{}
		for i := range recs {
			var r ownedRecord
			if d.open(&recs[i], &r) == nil {
				of[recs[i].Key] = messageKey(r.Message)
				keys = append(keys, recs[i].Key, messageKey(r.Message))
			}
		}
		err = e.do(ctx, &op{owner: owner, keys: keys, most: len(recs), apply: func(tx *draft) error {
			for doc, message := range of {
				if tx.get(doc) != nil && tx.get(message) == nil {
					tx.del(doc)
				}
			}
			return nil
		}})
		if err != nil || len(recs) < rng.Limit {
			return err
		}
		rng.From = recs[len(recs)-1].Key + "\x00"
	}
}

func (e *Engine) collectDocuments(ctx context.Context, page []blob.ID) (removed int, err error) {
	at, reads := map[store.Owner]int{}, []store.Read{}
	for _, b := range page {
		owner, id, _, _ := e.codec.ofBlob(b)
		i, ok := at[owner]
		if !ok {
			i = len(reads)
			at[owner], reads = i, append(reads, store.Read{Owner: owner})
		}
		reads[i].Keys = append(reads[i].Keys, documentKey(id))
	}
	if len(reads) == 0 {
		return 0, nil
	}
	snaps, err := e.store.View(ctx, reads)
	if err != nil {
		return 0, err
	}
	for _, b := range page { // one that cannot be removed does not keep the others
		owner, id, marked, _ := e.codec.ofBlob(b)
		if !marked && snaps[at[owner]].Rev == 0 { // it may be another engine's: nobody of that name was ever known here
			continue
		}
		if slices.ContainsFunc(snaps[at[owner]].Records, func(r store.Record) bool { return r.Key == documentKey(id) }) {
			continue
		}
		switch failed := e.opts.Documents.Delete(ctx, b); {
		case failed == nil:
			removed++
		case err == nil:
			err = failed
		}
	}
	return removed, err
}

// collecting runs CollectDocuments now and then until ctx ends. A clock that leaps ahead makes no document old: it is believed when it still
// says so the next time.
func (e *Engine) collecting(ctx context.Context) {
	t := time.NewTimer(collectFirst)
	defer t.Stop()
	was, at := e.now(), e.mono()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now, mono := e.now(), e.mono()
		steady := earlier(now, was.Add(mono-at))
		was, at = now, mono
		if _, err := e.collectOlder(ctx, steady); err != nil && ctx.Err() == nil {
			e.log().Error("documents that no message has could not be removed, and will be", "err", err)
		}
		t.Reset(collectEvery)
	}
}

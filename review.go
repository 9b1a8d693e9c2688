package appio

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
)

// A managed service is a service and its draft while they are changed, together and in one commit: they are records of one owner.
type managed struct {
	live *serviceRecord // nil: there is none
	d    *draftRecord   // nil: there is none
	now  int64
	by   serviceActor

	changed bool // live
	touched bool // d, beyond what events say
	events  []changeRecord

	err error // what could not be read
}

// viewManaged reads a service and its draft.
func (e *Engine) viewManaged(ctx context.Context, id ServiceID) (*managed, error) {
	if id.validate() != nil {
		return nil, ErrNotFound
	}
	all, err := e.viewAllManaged(ctx, []ServiceID{id})
	if err != nil {
		return nil, err
	}
	return all[0], all[0].err
}

// viewAllManaged is viewManaged of some services, each named once, in one read. What is wrong with one is in its err.
func (e *Engine) viewAllManaged(ctx context.Context, ids []ServiceID) ([]*managed, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	reads, drafts := make([]store.Read, len(ids)), make([]*draft, len(ids))
	for i, id := range ids {
		reads[i].Owner = service(id)
		drafts[i] = &draft{ownerCodec: *e.codec.of(service(id))}
		drafts[i].want(keyService, &reads[i])
		drafts[i].want(keyDraft, &reads[i])
	}
	snaps, err := e.store.View(ctx, reads)
	if err != nil {
		return nil, err
	}
	all := make([]*managed, len(ids))
	for i, tx := range drafts {
		tx.load(&reads[i], &snaps[i])
		m := &managed{}
		if r := tx.get(keyService); r != nil {
			m.live, m.err = e.decodeService(tx.owner, r)
		}
		if m.err == nil {
			m.err = m.readDraft(tx)
		}
		all[i] = m
	}
	return all, nil
}

func (m *managed) readDraft(tx *draft) error {
	var d draftRecord
	found, err := tx.read(keyDraft, &d)
	if found && err == nil {
		m.d = &d
	}
	return err
}

// manage changes a service and its draft through the service's gate, and appends what happened to the history.
func (e *Engine) manage(ctx context.Context, id ServiceID, by serviceActor, f func(m *managed) error) (Draft, error) {
	var m *managed
	err := e.changeServiceWith(ctx, id, []store.Key{keyDraft}, e.managing(by, func(now *managed) error {
		m = now
		return f(now)
	}))
	var still *InFlightError
	if err != nil && !errors.As(err, &still) {
		return Draft{}, err
	}
	d, err2 := e.draftOf(ctx, m)
	return d, errors.Join(err, butIncomplete(err2))
}

// managing is f as a change of a service's record.
func (e *Engine) managing(by serviceActor, f func(m *managed) error) func(tx *draft, old *serviceRecord) (*serviceRecord, error) {
	return func(tx *draft, old *serviceRecord) (*serviceRecord, error) {
		m := &managed{live: old, now: toMicro(micro(e.now())), by: by}
		if err := m.readDraft(tx); err != nil {
			return nil, err
		}
		if err := f(m); err != nil {
			return nil, err
		}
		return m.put(tx)
	}
}

// put writes what has changed; the service's own record is its caller's to write.
func (m *managed) put(tx *draft) (*serviceRecord, error) {
	for i := range m.events {
		if err := m.putEvent(tx, &m.events[i]); err != nil {
			return nil, err
		}
	}
	if len(m.events) > 0 || m.touched {
		r := store.Record{Key: keyDraft}
		if m.d.Stage == Submitted { // it is in the operator's queue
			r.Lane, r.Due = laneReview, fromMicro(m.d.SubmittedAt)
		}
		if err := tx.putSealed(r, m.d); err != nil {
			return nil, err
		}
	}
	if !m.changed {
		return nil, nil
	}
	return m.live, nil
}

// putEvent gives an entry of the history its number, and says which entry has the content that it is about.
func (m *managed) putEvent(tx *draft, r *changeRecord) error {
	m.d.Changes++
	if r.Data != nil {
		m.d.Edited = m.d.Changes
	}
	r.Of = m.d.Edited
	aside := false // the draft itself stays as it is
	switch r.What {
	case ServiceApproved:
		m.d.Released = m.d.Edited
	case ServicePublished, ServiceUnpublished, ServiceStopped, ServiceAllowed:
		r.Of = cmp.Or(m.d.Released, m.d.Edited)
		aside = true
	case ServiceKeyChanged, ServiceLogoChanged:
		aside = true
	case ServiceEntrusted:
		if r.Stage == Approved {
			m.d.Released = m.d.Edited
		}
	}
	if !aside {
		m.d.At = m.now
	}
	return tx.putSealed(store.Record{Key: changeKey(m.d.Changes)}, r)
}

func (m *managed) publication() Publication {
	if m.live == nil {
		return Unreleased
	}
	return publicationOf(m.live.State, m.d != nil && m.d.ApprovedAt != 0)
}

// move takes the draft to its next stage.
func (m *managed) move(c ServiceChange) error {
	stage := absent
	if m.d != nil {
		stage = m.d.Stage
	}
	next, err := stage.after(c)
	if err != nil {
		return err
	}
	if m.d == nil {
		m.d = &draftRecord{}
	}
	m.d.Stage = next
	return nil
}

// setLive makes data the live copy, with the keys that there are.
func (m *managed) setLive(data *serviceRecord, state ServiceState) {
	next := data.withoutKeys()
	next.State, next.At = state, m.now
	if m.live != nil {
		next.Keys, next.Held = m.live.Keys, m.live.Held
	}
	m.live, m.changed = &next, true
}

// log notes a change, as of after it.
func (m *managed) log(what ServiceChange, reason string, data *serviceRecord) {
	id := make([]byte, 16)
	rand.Read(id)
	m.events = append(m.events, changeRecord{
		ID: id, At: m.now, What: what, By: m.by.by, Who: m.by.who, Stage: m.d.Stage, Publication: m.publication(), Version: m.d.Version,
		Reason: reason, Data: data,
	})
}

// approve makes the draft the live copy, which stays published if it is. With Publish it is published, if there is an agreement and the
// operator has not stopped it.
func (m *managed) approve(agreement uint64) error {
	p, err := m.publication().after(ServiceApproved)
	if err != nil {
		return err
	}
	if err := m.move(ServiceApproved); err != nil {
		return err
	}
	m.d.ApprovedAt, m.d.Reason = m.now, ""
	data := m.d.Data
	if m.live != nil {
		data.operatorsOf(m.live)
	}
	m.setLive(&data, p.state())
	m.log(ServiceApproved, "", nil)
	if m.d.Publish && m.covered(agreement) && !m.live.Held {
		return m.publish(agreement)
	}
	return nil
}

func (m *managed) reject(reason string) error {
	if err := m.move(ServiceRejected); err != nil {
		return err
	}
	m.d.Reason = reason
	m.log(ServiceRejected, reason, nil)
	return nil
}

// covered reports whether the service may be published under an agreement; 0: there was none.
func (m *managed) covered(agreement uint64) bool { return agreement > m.d.Barred }

func (m *managed) publish(agreement uint64) error {
	if m.d.Stage == Deleted {
		return fmt.Errorf("%w: the service is deleted", ErrConflict)
	}
	if m.d.ApprovedAt == 0 {
		return fmt.Errorf("%w: no version of the service was approved", ErrConflict)
	}
	if !m.covered(agreement) {
		return fmt.Errorf("%w: the organization has no signed agreement", ErrForbidden)
	}
	if m.live.Held {
		return fmt.Errorf("%w: the operator has stopped the service", ErrForbidden)
	}
	if m.d.Agreement != agreement {
		m.d.Agreement, m.touched = agreement, true
	}
	return m.show(ServicePublished, "")
}

func (m *managed) unpublish(reason string) error { return m.show(ServiceUnpublished, reason) }

// show publishes or stops the live copy. Where it is so already nothing happens.
func (m *managed) show(c ServiceChange, reason string) error {
	before := m.publication()
	p, err := before.after(c)
	if err != nil || p == before {
		return err
	}
	m.setLive(m.live, p.state())
	m.log(c, reason, nil)
	return nil
}

// draftOf is a managed service's draft, as it is shown; with ErrIncomplete as far as it can be.
func (e *Engine) draftOf(ctx context.Context, m *managed) (Draft, error) {
	r, live := m.d, m.live
	if r == nil {
		return Draft{}, errNoDraft
	}
	s, err := r.Data.service()
	if err != nil {
		return Draft{}, err
	}
	incomplete := e.show(ctx, listing{r.Data.Trial, &s.Trial})
	if err := butIncomplete(incomplete); err != nil {
		return Draft{}, err
	}
	var liveAt time.Time
	if live != nil {
		s.State, liveAt = live.State, fromMicro(live.At)
	}
	return Draft{
		Service: s, Stage: r.Stage, Publication: m.publication(), Publish: r.Publish, Reason: r.Reason, Version: int(r.Version),
		Group: r.Group, Offered: fiscalcode.Organization(r.Offered), Held: live != nil && live.Held,
		UpdatedAt: fromMicro(r.At), SubmittedAt: fromMicro(r.SubmittedAt), ApprovedAt: fromMicro(r.ApprovedAt), LiveAt: liveAt,
	}, incomplete
}

// validBy is of who the host says acts. A history outlives an erasure, so that it has no codes.
func validBy(by string) error {
	if namesCode(by) {
		return invalid("by", "words without a fiscal code")
	}
	return validText("by", by, 0, 200)
}

// Approve makes a submitted draft the live copy of its service, and publishes it if that was asked for and its organization has a signed
// agreement. A live copy that is published stays so. by is noted in the history: who approved, in words of the host, at
// most 200 UTF-16 units. What is not submitted is ErrConflict.
func (e *Engine) Approve(ctx context.Context, id ServiceID, by string) (Draft, error) {
	return e.decide(ctx, id, by, "", func(m *managed, agreement uint64) error { return m.approve(agreement) })
}

// Reject gives a submitted draft back with a reason of 1 to 1,000 UTF-16 units, which its authority reads.
func (e *Engine) Reject(ctx context.Context, id ServiceID, by, reason string) (Draft, error) {
	if err := validText("reason", reason, 1, 1000); err != nil {
		return Draft{}, err
	}
	return e.decide(ctx, id, by, reason, func(m *managed, _ uint64) error { return m.reject(reason) })
}

func (e *Engine) decide(ctx context.Context, id ServiceID, by, reason string, f func(m *managed, agreement uint64) error) (Draft, error) {
	if err := validBy(by); err != nil {
		return Draft{}, err
	}
	if err := e.ready(ctx); err != nil {
		return Draft{}, err
	}
	before, err := e.viewManaged(ctx, id)
	if err != nil {
		return Draft{}, err
	}
	if before.d == nil {
		return Draft{}, errNoDraft
	}
	agreement, err := e.agreement(ctx, fiscalcode.Organization(before.d.Data.Organization))
	if err != nil {
		return Draft{}, err
	}
	return e.manage(ctx, id, serviceActor{by: ByOperator, who: by}, func(m *managed) error {
		if m.d == nil {
			return errNoDraft
		}
		return f(m, agreement)
	})
}

// Draft is the next version of any service that an authority prepares, for the operator; ErrNotFound: there is none. With ErrIncomplete it
// comes without whom of Trial nothing can be read; what changes it does not say so.
func (e *Engine) Draft(ctx context.Context, id ServiceID) (Draft, error) {
	if err := e.ready(ctx); err != nil {
		return Draft{}, err
	}
	m, err := e.viewManaged(ctx, id)
	if err != nil {
		return Draft{}, err
	}
	return e.draftOf(ctx, m)
}

// ServiceHistory is what happened to a service that an authority prepares, newest first; what PutService does is not in it.
func (e *Engine) ServiceHistory(id ServiceID) List[ServiceEvent] {
	return newList(e, "changes\x00\x00"+string(id), func(ctx context.Context, p position, limit int) (found[ServiceEvent], error) {
		return e.listChanges(ctx, id, p, limit)
	})
}

func (e *Engine) listChanges(ctx context.Context, id ServiceID, p position, limit int) (f found[ServiceEvent], err error) {
	if id.validate() != nil {
		return f, ErrNotFound
	}
	d, err := e.view(ctx, service(id), p.rangeOf(prefixChange, limit, true), "")
	if err != nil {
		return f, err
	}
	recs := d.ranged
	if p.before { // came oldest first
		recs = reversed(recs)
	}
	entries, content := make([]changeRecord, len(recs)), map[uint64]*serviceRecord{}
	var more []store.Key
	for i := range recs {
		if err := d.open(&recs[i], &entries[i]); err != nil {
			return f, err
		}
		if of := entries[i].Of; of != 0 && content[of] == nil {
			content[of], more = &serviceRecord{}, append(more, changeKey(of))
		}
	}
	if d, err = e.view(ctx, service(id), store.Range{}, "", more...); err != nil {
		return f, err
	}
	for of := range content {
		var r changeRecord
		if _, err := d.read(changeKey(of), &r); err != nil {
			return f, err
		}
		content[of] = r.Data
	}
	for i := range recs {
		r := &entries[i]
		key := strings.TrimPrefix(string(recs[i].Key), prefixChange)
		n, err := strconv.ParseUint(key, 16, 63)
		if err != nil {
			return f, fmt.Errorf("%w: an entry of a service's history has no number", store.ErrCorrupt)
		}
		ev := ServiceEvent{
			Number: int(n), At: fromMicro(r.At), What: r.What, By: r.By, Who: r.Who, Stage: r.Stage, Publication: r.Publication,
			Version: int(r.Version), Reason: r.Reason,
		}
		if r.Data == nil {
			r.Data = content[r.Of]
		}
		if r.Data != nil {
			s, err := r.Data.service()
			if err != nil {
				return f, err
			}
			ev.Service = &s
		}
		f.add(ev, key)
	}
	return f, nil
}

// Reviews lists the drafts that are submitted and wait for [Engine.Approve] or [Engine.Reject], oldest first, forwards only: a Prev
// cursor is ErrInvalid.
func (e *Engine) Reviews() List[Draft] {
	return newList(e, "reviews", func(ctx context.Context, p position, limit int) (f found[Draft], err error) {
		recs, err := e.duePage(ctx, laneReview, p, limit)
		if err != nil {
			return f, err
		}
		ids := make([]ServiceID, len(recs))
		for i := range recs {
			ids[i] = ServiceID(strings.TrimPrefix(string(recs[i].Owner), serviceOwner))
		}
		all, err := e.viewAllManaged(ctx, ids)
		if err != nil {
			return f, err
		}
		var incomplete error
		for i, m := range all {
			if errors.Is(m.err, store.ErrCorrupt) {
				incomplete = ErrIncomplete
				continue
			}
			if m.err != nil {
				return f, m.err
			}
			if m.d == nil || m.d.Stage != Submitted { // decided meanwhile
				continue
			}
			d, err := e.draftOf(ctx, m)
			if errors.Is(err, ErrIncomplete) {
				incomplete = err
			} else if err != nil {
				return f, err
			}
			f.add(d, formatPosition(&recs[i]))
		}
		if len(recs) == limit {
			f.resume = formatPosition(&recs[limit-1])
		}
		return f, incomplete
	})
}

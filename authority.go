package appio

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
)

// An Authority is what one organization may do: prepare services, and publish those that the operator has approved. A service of
// another organization is ErrNotFound to it. It is a handle, safe for concurrent use; every call reads again what it may do.
type Authority struct {
	e      *Engine
	code   fiscalcode.Organization
	member string     // who it is; empty: trusted
	key    *heldKey   // by which it is; nil: by none
	via    *Authority // the aggregator's; nil: none
}

// Authority is the organization with this code, trusted as such: for use in-process, where the host has made sure who calls.
func (e *Engine) Authority(code fiscalcode.Organization) *Authority {
	return &Authority{e: e, code: code}
}

// Code is the organization's.
func (a *Authority) Code() fiscalcode.Organization { return a.code }

// A Draft is the next version of a service, beside the live copy that [Engine.Service] gives. State is that of the live copy.
type Draft struct {
	Service
	Stage       Stage
	Publication Publication             // of the live copy
	Publish     bool                    // it is to be published once it is approved
	Held        bool                    // the operator has stopped it: see [Engine.StopService]
	Group       string                  // of the organization, see [Authority.SetGroup]; empty: none
	Offered     fiscalcode.Organization // that may take it over, see [Authority.HandOver]; empty: none
	Reason      string                  // of the rejection: the operator's, or names of [QualityFinding] with blanks between
	Version     int                     // how often it was edited
	UpdatedAt   time.Time               // when the draft became what it is
	SubmittedAt time.Time               // zero: never
	ApprovedAt  time.Time               // when a version last was; zero: never
	LiveAt      time.Time               // when the live copy became what it is; zero: there is none
}

// ServiceActor is who changed a service.
type ServiceActor string

const (
	ByAuthority ServiceActor = "authority"
	ByOperator  ServiceActor = "operator"
	ByEngine    ServiceActor = "engine" // by a rule: of quality, of review, or that there is no agreement
)

// A ServiceEvent is one entry of a service's history, which only grows.
type ServiceEvent struct {
	Number      int // from 1
	At          time.Time
	What        ServiceChange
	By          ServiceActor
	Who         string // what the host, or the handle, says of who it was
	Stage       Stage  // after it
	Publication Publication
	Version     int      // of the draft
	Reason      string   // of a rejection or a stop, or of what the engine did by itself; empty: none
	Service     *Service // what it is about, without Trial: of a publication what was approved last, else what was edited last; nil: not known
}

// A serviceActor is who makes a change.
type serviceActor struct {
	by     ServiceActor
	who    string
	group  string // the services of this one alone; empty: all
	acting bool   // it is an aggregator, who acts for the organization and for nobody beyond
}

// PutDraft creates a service, with an ID of the caller's or, where it is empty, a new one, or edits the draft of one. Until a version
// was approved the live copy follows the draft, in trial, so that the service can be tried with its authorised recipients and the
// sandbox; from then on it stays as it was approved. State is not looked at. Category, Premium, Scopes, SendRate and DeliveryRate are the
// operator's: they stay as they are. What is submitted cannot be edited: ErrConflict. A new one beyond Options.MaxServices is ErrInvalid.
//
// A service of [Engine.PutService] that is the organization's becomes one that it prepares, which it can also stop and delete. What is live
// stays so, but does not count as approved, as it does by [Engine.Entrust]: once stopped, it needs an approval to be published again.
func (a *Authority) PutDraft(ctx context.Context, s Service) (Draft, error) {
	if s.ID == "" && a.e.ready(ctx) == nil {
		s.ID = ServiceID(a.e.ulids.next(a.e.now()))
	}
	if s.Organization == "" {
		s.Organization = a.code
	}
	s.Name, s.State = strings.TrimSpace(s.Name), Trial
	if err := s.Validate(); err != nil {
		return Draft{}, err
	}
	if s.Organization != a.code {
		return Draft{}, fmt.Errorf("%w: the service is to be another organization's", ErrForbidden)
	}
	if err := a.e.ready(ctx); err != nil {
		return Draft{}, err
	}
	who, err := a.check(ctx, toEdit)
	if err != nil {
		return Draft{}, err
	}
	org, err := a.e.Organization(ctx, a.code)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Draft{}, err
	}
	if _, err := a.read(ctx, who, s.ID); err != nil && !errors.Is(err, errNoDraft) {
		return Draft{}, err
	}
	if err := a.e.putHint(ctx, a.code, s.ID, a.e.opts.MaxServices); err != nil {
		return Draft{}, err
	}
	if a.via != nil {
		if err := a.e.putHint(ctx, a.via.code, s.ID, 0); err != nil { // which counts for the other
			return Draft{}, err
		}
	}
	trial, err := a.e.list(ctx, listRef{string(service(s.ID)), keyService}, s.Trial)
	if err != nil {
		return Draft{}, err
	}
	return a.e.manage(ctx, s.ID, who, func(m *managed) error {
		if err := a.owns(who, m); err != nil && !errors.Is(err, errNoDraft) {
			return err
		}
		fresh := m.d == nil
		data := newServiceRecord(&s, m.now)
		data.OrgName, data.Trial = org.Name, trial
		if m.live != nil {
			data.operatorsOf(m.live)
		} else {
			data.operatorsOf(&serviceRecord{})
		}
		if err := m.move(ServiceEdited); err != nil {
			return err
		}
		m.d.Data, m.d.Reason, m.d.Publish = *data, "", false
		m.d.Version++
		if fresh {
			m.d.Group = who.group
		}
		if m.publication() == Unreleased {
			m.setLive(data, Trial)
		}
		m.log(ServiceEdited, "", data.forHistory())
		return nil
	})
}

// forHistory is without the authorised recipients, who are persons.
func (r *serviceRecord) forHistory() *serviceRecord {
	seen := r.withoutKeys()
	seen.Trial = nil
	return &seen
}

// putHint says in an organization's records that it may have prepared a service. It is written first: one that leads nowhere is passed
// over, a service without one would not be listed. There are most at the most; 0: any number.
func (e *Engine) putHint(ctx context.Context, code fiscalcode.Organization, id ServiceID, most int) error {
	owner := e.codec.organization(code)
	d, err := e.view(ctx, owner, store.Range{}, "", preparedKey(id))
	if err != nil || d.get(preparedKey(id)) != nil { // a hint stays: who edits need not count the others
		return err
	}
	o := &op{
		owner: owner, keys: []store.Key{preparedKey(id)},
		apply: func(tx *draft) error {
			switch {
			case tx.get(preparedKey(id)) != nil:
				return nil
			case most > 0 && len(tx.ranged) == most:
				return invalid("Service", fmt.Sprintf("one of %d that an organization may have", most))
			}
			return tx.putSealed(store.Record{Key: preparedKey(id)}, &preparedRecord{id})
		},
	}
	if most > 0 {
		o.rng = all(prefixPrepared, most)
		o.rng.KeysOnly = true
	}
	return e.do(ctx, o)
}

// operatorsOf takes over what is not the organization's to choose.
func (r *serviceRecord) operatorsOf(live *serviceRecord) {
	r.Category, r.Premium, r.Scopes, r.SendRate, r.DeliveryRate = live.Category, live.Premium, live.Scopes, live.SendRate, live.DeliveryRate
}

// Draft is the next version of a service, whatever its stage; ErrNotFound: the organization has prepared none of this id; ErrIncomplete as
// in [Engine.Draft].
func (a *Authority) Draft(ctx context.Context, id ServiceID) (Draft, error) {
	if err := a.e.ready(ctx); err != nil {
		return Draft{}, err
	}
	who, err := a.check(ctx, toRead)
	if err != nil {
		return Draft{}, err
	}
	m, err := a.read(ctx, who, id)
	if err != nil {
		return Draft{}, err
	}
	return a.e.draftOf(ctx, m)
}

// Drafts lists the services that the organization has prepared, by id, deleted ones too, and those that it prepared, or edited, as the
// aggregator of another while that one names it; forwards only: a Prev cursor is ErrInvalid.
func (a *Authority) Drafts() List[Draft] {
	return newList(a.e, "drafts\x00"+string(a.code), func(ctx context.Context, p position, limit int) (f found[Draft], err error) {
		who, err := a.check(ctx, toRead)
		if err != nil {
			return f, err
		}
		return a.list(ctx, who, p, limit, true)
	})
}

func (a *Authority) list(ctx context.Context, who serviceActor, p position, limit int, others bool) (f found[Draft], err error) {
	if p.before {
		return f, invalid("Cursor", "services are listed forwards only")
	}
	var incomplete error
	for len(f.items) < limit {
		want := limit - len(f.items)
		rng := all(prefixPrepared, want)
		rng.From, rng.KeysOnly = store.Key(prefixPrepared+p.key), true
		if p.key != "" {
			rng.From += "\x00"
		}
		d, err := a.e.view(ctx, a.e.codec.organization(a.code), rng, "")
		if err != nil {
			return f, err
		}
		ids := make([]ServiceID, len(d.ranged))
		for i := range d.ranged {
			p.key = strings.TrimPrefix(string(d.ranged[i].Key), prefixPrepared)
			ids[i] = ServiceID(p.key)
		}
		all, err := a.e.viewAllManaged(ctx, ids)
		if err != nil {
			return f, err
		}
		for i, m := range all {
			if errors.Is(m.err, store.ErrCorrupt) {
				incomplete = ErrIncomplete
				continue
			}
			if m.err != nil {
				return f, m.err
			}
			if err := a.owns(who, m); err != nil && (!others || !errors.Is(err, errAnothers) || a.actsOn(ctx, who, m) != nil) {
				continue
			}
			item, err := a.e.draftOf(ctx, m)
			if errors.Is(err, ErrIncomplete) {
				incomplete = err
			} else if err != nil {
				return f, err
			}
			f.add(item, string(ids[i]))
		}
		if len(d.ranged) < want {
			break
		}
	}
	return f, incomplete
}

// History is what happened to a service that the organization has prepared, newest first.
func (a *Authority) History(id ServiceID) List[ServiceEvent] {
	return newList(a.e, "changes\x00"+string(a.code)+"\x00"+string(id), func(ctx context.Context, p position, limit int) (f found[ServiceEvent], err error) {
		who, err := a.check(ctx, toRead)
		if err != nil {
			return f, err
		}
		if _, err := a.read(ctx, who, id); err != nil {
			return f, err
		}
		return a.e.listChanges(ctx, id, p, limit)
	})
}

// Submit gives the draft to review, and says whether it is to be published with its approval, for which the organization needs a signed
// agreement then. What breaks a rule of [Service.Quality] is Refused at once, with the findings as its Reason. A service of which a
// version was approved is Approved at once, if nothing has changed that [Service.NeedsReview] names. Anything else waits for
// [Engine.Approve] or [Engine.Reject]. A second service of the same name is found by what is there: of two that are
// submitted at one moment both may pass.
func (a *Authority) Submit(ctx context.Context, id ServiceID, publish bool) (Draft, error) {
	if err := a.e.ready(ctx); err != nil {
		return Draft{}, err
	}
	who, err := a.check(ctx, toEdit)
	if err != nil {
		return Draft{}, err
	}
	if _, err := a.read(ctx, who, id); err != nil {
		return Draft{}, err
	}
	names, err := a.names(ctx, id)
	if err != nil {
		return Draft{}, err
	}
	agreement, err := a.e.agreement(ctx, a.code)
	if err != nil {
		return Draft{}, err
	}
	return a.e.manage(ctx, id, who, func(m *managed) error {
		if err := a.owns(who, m); err != nil {
			return err
		}
		if err := m.move(ServiceSubmitted); err != nil {
			return err
		}
		m.d.SubmittedAt, m.d.Publish, m.d.Reason = m.now, publish, ""
		m.log(ServiceSubmitted, "", nil)
		m.by = serviceActor{by: ByEngine}
		next, err := m.d.Data.service()
		if err != nil {
			return err
		}
		if bad := next.Quality(names...); len(bad) > 0 {
			var reason []string
			for _, f := range bad {
				reason = append(reason, string(f))
			}
			return m.reject(strings.Join(reason, " "))
		}
		if m.d.ApprovedAt == 0 || m.live == nil {
			return nil
		}
		live, err := m.live.service()
		if err != nil || next.NeedsReview(live) {
			return err
		}
		return m.approve(agreement)
	})
}

// names are those of the organization's other services, but for deleted ones and those that were never approved.
func (a *Authority) names(ctx context.Context, but ServiceID) (names []string, err error) {
	for p := (position{}); ; {
		f, err := a.list(ctx, serviceActor{}, p, maxPage, false)
		if err := butIncomplete(err); err != nil {
			return nil, err
		}
		for _, d := range f.items {
			if d.ID != but && d.Stage != Deleted && !d.ApprovedAt.IsZero() {
				names = append(names, d.Name)
			}
		}
		if len(f.items) < maxPage {
			return names, nil
		}
		p.key = f.keys[maxPage-1]
	}
}

// Recall takes back what was submitted and not yet decided; what is not submitted is ErrConflict.
func (a *Authority) Recall(ctx context.Context, id ServiceID) error {
	return a.change(ctx, id, func(m *managed) error {
		if err := m.move(ServiceRecalled); err != nil {
			return err
		}
		m.log(ServiceRecalled, "", nil)
		return nil
	})
}

// Publish makes the approved version of a service live; one that is stays so. Without a signed agreement it is ErrForbidden, and so it is
// while the operator has stopped the service.
func (a *Authority) Publish(ctx context.Context, id ServiceID) error {
	if err := a.e.ready(ctx); err != nil {
		return err
	}
	who, err := a.check(ctx, toEdit)
	if err != nil {
		return err
	}
	// The service first: see agreement.go.
	if _, err := a.read(ctx, who, id); err != nil {
		return err
	}
	agreement, err := a.e.agreement(ctx, a.code)
	if err != nil {
		return err
	}
	return a.change(ctx, id, func(m *managed) error { return m.publish(agreement) })
}

// Unpublish stops the live copy, at once: when it returns nothing of the service begins to be sent any more, see [InFlightError]. The
// draft stays as it is.
func (a *Authority) Unpublish(ctx context.Context, id ServiceID) error {
	return a.change(ctx, id, func(m *managed) error { return m.unpublish("") })
}

// Delete ends a service for good: it stops, as with Unpublish, and its keys end. What is submitted must be recalled first. What citizens
// got stays theirs, and so does the history.
func (a *Authority) Delete(ctx context.Context, id ServiceID) error {
	return a.change(ctx, id, func(m *managed) error {
		if err := m.move(ServiceDeleted); err != nil {
			return err
		}
		p, err := m.publication().after(ServiceDeleted)
		if err != nil {
			return err
		}
		if m.live != nil {
			ended := m.live.withoutKeys()
			m.setLive(&ended, p.state())
			m.live.Keys = nil
		}
		m.log(ServiceDeleted, "", nil)
		return nil
	})
}

func (a *Authority) change(ctx context.Context, id ServiceID, f func(m *managed) error) error {
	if err := a.e.ready(ctx); err != nil {
		return err
	}
	who, err := a.check(ctx, toEdit)
	if err != nil {
		return err
	}
	_, err = a.changeAs(ctx, who, id, f)
	return err
}

func (a *Authority) changeAs(ctx context.Context, who serviceActor, id ServiceID, f func(m *managed) error) (Draft, error) {
	if id.validate() != nil {
		return Draft{}, ErrNotFound
	}
	return a.e.manage(ctx, id, who, func(m *managed) error {
		if err := a.owns(who, m); err != nil {
			return err
		}
		return f(m)
	})
}

// actsOn is nil if the organization may act on another's service as its aggregator.
func (a *Authority) actsOn(ctx context.Context, who serviceActor, m *managed) error {
	if m.d == nil || who.group != "" || who.acting || m.live != nil && m.live.Organization != m.d.Data.Organization {
		return errAnothers
	}
	return a.e.letsActFor(ctx, fiscalcode.Organization(m.d.Data.Organization), a.code)
}

// ForService is the handle by which the organization acts on a service: itself if the service is its own, For another where that one names
// it among its Aggregators. Any other service is ErrNotFound.
func (a *Authority) ForService(ctx context.Context, id ServiceID) (*Authority, error) {
	if err := a.e.ready(ctx); err != nil {
		return nil, err
	}
	who, err := a.check(ctx, toRead)
	if err != nil {
		return nil, err
	}
	m, err := a.read(ctx, who, id)
	if err == nil {
		return a, nil
	}
	if !errors.Is(err, errAnothers) {
		return nil, err
	}
	if err := a.actsOn(ctx, who, m); errors.Is(err, ErrForbidden) || errors.Is(err, ErrNotFound) {
		return nil, errAnothers
	} else if err != nil {
		return nil, err
	}
	return a.For(fiscalcode.Organization(m.d.Data.Organization)), nil
}

// errNoDraft is ErrNotFound where the id is free, or of a service of the organization that has no draft; errAnothers where it is of
// another's, which reads the same.
var (
	errNoDraft  = fmt.Errorf("%w: the service has no draft", ErrNotFound)
	errAnothers = fmt.Errorf("%w: the service has no draft", ErrNotFound)
)

// errOtherGroup is of a service of the same organization.
var errOtherGroup = fmt.Errorf("%w: the service is not of the key's group", ErrForbidden)

// read is a service that the organization has prepared.
func (a *Authority) read(ctx context.Context, who serviceActor, id ServiceID) (*managed, error) {
	m, err := a.e.viewManaged(ctx, id)
	if err != nil {
		return nil, err
	}
	return m, a.owns(who, m)
}

func (a *Authority) owns(who serviceActor, m *managed) error {
	switch {
	case m.d != nil && m.d.Data.Organization != string(a.code), m.live != nil && m.live.Organization != string(a.code):
		return errAnothers
	case who.group != "" && (m.d == nil && m.live != nil || m.d != nil && m.d.Group != who.group):
		return errOtherGroup
	case m.d == nil:
		return errNoDraft
	}
	return nil
}

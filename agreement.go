package appio

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
)

// An agreement is of the organization, and what it permits is of its services: several owners, which change one after the other. Each
// beginning and each end of an agreement is a turn with a number. Publishing reads the service first and then the agreement's number, and
// is refused by a service that is barred for it. The end of an agreement first writes the organization, with a task, and then goes
// through all services: it stops those of the organization and bars them for what ended. So whichever comes first, a service that
// is published has been so under an agreement that stands: who read the agreement before its end and commits after it meets the bar,
// or is stopped by who goes through.

// An AgreementState is where the agreement of an organization stands.
type AgreementState string

const (
	NoAgreement        AgreementState = ""          // none is recorded
	AgreementDrafted   AgreementState = "draft"     // not signed yet
	AgreementSigned    AgreementState = "signed"    // services may be published
	AgreementWithdrawn AgreementState = "withdrawn" // it has ended
)

// Agreement is the state that the organization's dates say: of a signature and a withdrawal, the later one counts; of the same time, the
// withdrawal.
func (o Organization) Agreement() AgreementState {
	switch {
	case !o.SignedAt.IsZero() && o.SignedAt.After(o.WithdrawnAt):
		return AgreementSigned
	case !o.WithdrawnAt.IsZero():
		return AgreementWithdrawn
	case !o.DraftedAt.IsZero():
		return AgreementDrafted
	}
	return NoAgreement
}

func (r *organizationRecord) organization() Organization {
	o := Organization{
		Code: fiscalcode.Organization(r.Code), Name: r.Name, SignedAt: fromMicro(r.SignedAt), UpdatedAt: fromMicro(r.At),
		DraftedAt: fromMicro(r.DraftedAt), WithdrawnAt: fromMicro(r.WithdrawnAt),
	}
	for _, c := range r.Aggregators {
		o.Aggregators = append(o.Aggregators, fiscalcode.Organization(c))
	}
	return o
}

func (r *organizationRecord) signed() bool { return r.organization().Agreement() == AgreementSigned }

// PutOrganization creates or replaces an organization, and is fit for start-up code: the time of a withdrawal that is recorded does not
// go back, so that a signature from before it does not count again. Where a signed agreement ends, by its withdrawal or because
// no signature is given any more, the services of the organization that are live are stopped, also those of PutService: when
// PutOrganization returns nothing of them begins to be sent any more, see [InFlightError]. If it fails between, Run or Flush stops
// the rest.
func (e *Engine) PutOrganization(ctx context.Context, o Organization) error {
	if err := o.Validate(); err != nil {
		return err
	}
	if err := e.ready(ctx); err != nil {
		return err
	}
	o.Aggregators = slices.Clone(o.Aggregators)
	return e.changeOrganization(ctx, o.Code, func(old *organizationRecord) (*organizationRecord, error) {
		r := &organizationRecord{
			Code: string(o.Code), Name: o.Name, SignedAt: toMicro(o.SignedAt), DraftedAt: toMicro(o.DraftedAt), WithdrawnAt: toMicro(o.WithdrawnAt),
		}
		for _, c := range o.Aggregators {
			r.Aggregators = append(r.Aggregators, string(c))
		}
		if old != nil {
			r.WithdrawnAt = max(r.WithdrawnAt, old.WithdrawnAt)
		}
		return r, nil
	})
}

// WithdrawAgreement ends an organization's agreement now, as PutOrganization with WithdrawnAt does, and leaves all else of it. One that
// is not signed is ErrConflict.
func (e *Engine) WithdrawAgreement(ctx context.Context, code fiscalcode.Organization) error {
	if err := e.ready(ctx); err != nil {
		return err
	}
	return e.changeOrganization(ctx, code, func(old *organizationRecord) (*organizationRecord, error) {
		if old == nil {
			return nil, ErrNotFound
		}
		if !old.signed() {
			return nil, fmt.Errorf("%w: the organization has no signed agreement", ErrConflict)
		}
		r := *old
		r.WithdrawnAt = max(toMicro(e.now()), r.SignedAt)
		return &r, nil
	})
}

// changeOrganization writes an organization's record, and where its agreement ends by that, or a task says that it has, stops
// its services.
func (e *Engine) changeOrganization(ctx context.Context, code fiscalcode.Organization, change func(old *organizationRecord) (*organizationRecord, error)) error {
	owner := e.codec.organization(code)
	var task cleanUpRecord
	err := e.do(ctx, &op{
		owner: owner, keys: []store.Key{keyOrganization, taskEnded},
		apply: func(tx *draft) error {
			var old *organizationRecord
			var r organizationRecord
			found, err := tx.read(keyOrganization, &r)
			if err != nil {
				return err
			}
			if found {
				old = &r
			}
			next, err := change(old)
			if err != nil {
				return err
			}
			next.At = toMicro(e.now())
			if old != nil {
				next.Turns = old.Turns
			}
			before := old != nil && old.signed()
			if before != next.signed() {
				next.Turns++
			}
			if err := tx.putSealed(store.Record{Key: keyOrganization}, next); err != nil {
				return err
			}
			task = cleanUpRecord{}
			switch {
			case before && !next.signed():
				task = cleanUpRecord{Step: int(next.Turns), From: string(code)}
				return tx.putCleanUp(taskEnded, task, next.At)
			case tx.get(taskEnded) != nil:
				_, err = tx.read(taskEnded, &task)
			}
			return err
		},
	})
	if err != nil || task.From == "" {
		return err
	}
	err = e.stopAll(ctx, owner, task, true)
	var still *InFlightError
	if err != nil && !errors.As(err, &still) {
		return err
	}
	err2 := e.do(ctx, &op{owner: owner, keys: []store.Key{taskEnded}, apply: func(tx *draft) error {
		var now cleanUpRecord
		found, err := tx.read(taskEnded, &now)
		if found && err == nil && now == task {
			tx.del(taskEnded)
		}
		return err
	}})
	return errors.Join(err, err2)
}

// Organization is the one with this code, or ErrNotFound.
func (e *Engine) Organization(ctx context.Context, code fiscalcode.Organization) (Organization, error) {
	r, err := e.readOrganization(ctx, code)
	if err != nil {
		return Organization{}, err
	}
	return r.organization(), nil
}

func (e *Engine) readOrganization(ctx context.Context, code fiscalcode.Organization) (*organizationRecord, error) {
	if err := e.ready(ctx); err != nil {
		return nil, err
	}
	d, err := e.view(ctx, e.codec.organization(code), store.Range{}, "", keyOrganization)
	if err != nil {
		return nil, err
	}
	var r organizationRecord
	found, err := d.read(keyOrganization, &r)
	if err == nil && !found {
		err = fmt.Errorf("%w: no organization has this code", ErrNotFound)
	}
	return &r, err
}

// agreement is the number of the agreement that an organization has signed; 0: it has none.
func (e *Engine) agreement(ctx context.Context, code fiscalcode.Organization) (uint64, error) {
	r, err := e.readOrganization(ctx, code)
	if errors.Is(err, ErrNotFound) || err == nil && !r.signed() {
		return 0, nil
	}
	return r.Turns + 1, err
}

// servicesAtOnce is how many services are looked at in one read.
const servicesAtOnce = 256

// stopAll stops the services of an organization whose agreement has ended, and bars them for it, unless it has another one meanwhile. With
// gated it waits until nothing of them is being sent; otherwise what is under way is left to be decided again before it begins.
func (e *Engine) stopAll(ctx context.Context, owner store.Owner, task cleanUpRecord, gated bool) error {
	code := fiscalcode.Organization(task.From)
	if e.codec.organization(code) != owner {
		return nil // a task that cannot be read, which is put aside
	}
	var left InFlightError
	some := false
	for after := store.Owner(serviceOwner); ; {
		if ended, err := e.agreementEnded(ctx, code, task); err != nil || !ended {
			return err
		}
		owners, err := e.store.Owners(ctx, after, servicesAtOnce)
		if err != nil {
			return err
		}
		more := len(owners) == servicesAtOnce
		if len(owners) > 0 {
			after = owners[len(owners)-1]
		}
		owners = slices.DeleteFunc(owners, func(o store.Owner) bool { return !strings.HasPrefix(string(o), serviceOwner) })
		ids, err := e.servicesOf(ctx, owners, code)
		if err != nil {
			return err
		}
		for _, id := range ids {
			err := e.stopFor(ctx, id, code, uint64(task.Step), gated)
			var still *InFlightError
			if errors.As(err, &still) {
				left.Deliveries, some = append(left.Deliveries, still.Deliveries...), true
			} else if err != nil {
				return err
			}
		}
		if !more {
			break
		}
	}
	if some {
		return &left
	}
	return nil
}

// agreementEnded reports whether the end of an agreement that a task is about is still the last turn.
func (e *Engine) agreementEnded(ctx context.Context, code fiscalcode.Organization, task cleanUpRecord) (bool, error) {
	r, err := e.readOrganization(ctx, code)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return !r.signed() && r.Turns == uint64(task.Step), err
}

// servicesOf are those of some owners that are an organization's, live copy or draft.
func (e *Engine) servicesOf(ctx context.Context, owners []store.Owner, code fiscalcode.Organization) (ids []ServiceID, err error) {
	if len(owners) == 0 {
		return nil, nil
	}
	reads := make([]store.Read, len(owners))
	for i, o := range owners {
		reads[i] = store.Read{Owner: o, Keys: serviceKeys}
	}
	snaps, err := e.store.View(ctx, reads)
	if err != nil {
		return nil, err
	}
	for i := range snaps {
		if len(snaps[i].Records) == 0 {
			continue
		}
		r, err := e.decodeService(owners[i], &snaps[i].Records[0])
		if errors.Is(err, store.ErrCorrupt) { // it sends nothing, and the others are to be stopped
			continue
		}
		if err != nil {
			return nil, err
		}
		if r.Organization == string(code) {
			ids = append(ids, r.ID)
		}
	}
	return ids, nil
}

// stopFor stops one service, and bars it for an agreement and those before.
func (e *Engine) stopFor(ctx context.Context, id ServiceID, code fiscalcode.Organization, agreement uint64, gated bool) error {
	change := e.managing(serviceActor{by: ByEngine}, func(m *managed) error {
		if m.live == nil || m.live.Organization != string(code) {
			return nil
		}
		if m.d == nil {
			if m.live.State == Live {
				m.setLive(m.live, Stopped)
			}
			return nil
		}
		if m.d.Barred < agreement {
			m.d.Barred, m.touched = agreement, true
		}
		if m.publication() != Published || m.d.Agreement > agreement {
			return nil
		}
		return m.unpublish(endOfAgreement)
	})
	if gated {
		return e.changeServiceWith(ctx, id, []store.Key{keyDraft}, change)
	}
	return e.do(ctx, e.serviceChange(id, []store.Key{keyDraft}, change).op)
}

// endOfAgreement is the reason in a service's history.
const endOfAgreement = "agreement-ended"

// A Role is what a member of an organization may do for it.
type Role string

const (
	Administrator Role = "administrator" // all that the organization may
	Editor        Role = "editor"        // prepare, submit, publish, unpublish and delete services
	Viewer        Role = "viewer"        // look
)

// A Member may act for an organization: see [Engine.AuthorityFor]. ID is what the host calls a person, or an account; it is kept
// sealed, and shown in histories, which outlive an erasure: so it says nothing of a person but what the host puts into it, and has no
// fiscal code.
type Member struct {
	ID       string // 1 to 200 UTF-16 units, without a fiscal code
	Role     Role
	Delegate bool      // of another organization; then Until is given
	From     time.Time // zero: at once
	Until    time.Time // not from then on; zero: as long as it is not removed
}

// Validate reports what [Authority.PutMember] would.
func (m Member) Validate() error {
	switch {
	case m.Role != Administrator && m.Role != Editor && m.Role != Viewer:
		return invalid("Role", "Administrator, Editor or Viewer")
	case m.Delegate && m.Until.IsZero():
		return invalid("Until", "a time, for a delegate")
	case !m.Until.IsZero() && !m.Until.After(m.From):
		return invalid("Until", "after From")
	case namesCode(m.ID):
		return invalid("ID", "one without a fiscal code, which an erasure could not remove")
	}
	return validText("ID", m.ID, 1, 200)
}

// A right is what a call of an authority needs.
type right int

const (
	toRead right = iota
	toEdit
	toHoldKeys
	toMakeKeys // by which it is managed
	toAdminister
)

func (r *memberRecord) has(need right, now int64) bool {
	if now < r.From || r.Until != 0 && now >= r.Until {
		return false
	}
	return allows(r.Role, need)
}

func allows(r Role, need right) bool {
	switch r {
	case Administrator:
		return true
	case Editor:
		return need <= toEdit
	}
	return r == Viewer && need == toRead
}

// AuthorityFor is the organization with this code, for one of its members, whom the host has authenticated; for others, and before and
// after its time, ErrForbidden. What the member may do is read again with each call.
func (e *Engine) AuthorityFor(ctx context.Context, member string, code fiscalcode.Organization) (*Authority, error) {
	if member == "" {
		return nil, errNotMember
	}
	if err := e.ready(ctx); err != nil {
		return nil, err
	}
	a := &Authority{e: e, code: code, member: member}
	if _, err := a.check(ctx, toRead); err != nil {
		return nil, err
	}
	return a, nil
}

var (
	errNotMember     = fmt.Errorf("%w: not a member who may do this now", ErrForbidden)
	errNotAggregator = fmt.Errorf("%w: the organization does not let this one act for it", ErrForbidden)
)

// For is another organization, for which this one acts as an aggregator: all but its members, with keys of its own. Each call is
// ErrForbidden while the other does not name this one among its Aggregators, and if this handle is that of a group's key, or of who acts
// for this one as its aggregator: who names an aggregator does not name that one's own.
func (a *Authority) For(code fiscalcode.Organization) *Authority {
	return &Authority{e: a.e, code: code, via: a}
}

// check reads whether the handle may still do something, and says who it is.
func (a *Authority) check(ctx context.Context, need right) (serviceActor, error) {
	switch {
	case a.via != nil:
		who, err := a.via.check(ctx, need)
		if err != nil {
			return who, err
		}
		if need == toAdminister || who.group != "" || who.acting {
			return who, errNotAggregator
		}
		err = a.e.letsActFor(ctx, a.code, a.via.code)
		who.acting = true
		who.who = strings.TrimSpace(string(a.via.code) + " " + who.who)
		return who, err
	case a.key != nil:
		return a.checkKey(ctx, need)
	case a.member != "":
		d := &draft{ownerCodec: *a.e.codec.of(a.e.codec.organization(a.code))}
		key := d.memberKey(a.member)
		d, err := a.e.view(ctx, d.owner, store.Range{}, "", key)
		if err != nil {
			return serviceActor{}, err
		}
		var r memberRecord
		found, err := d.read(key, &r)
		if err == nil && (!found || !r.has(need, toMicro(a.e.now()))) {
			err = errNotMember
		}
		return serviceActor{by: ByAuthority, who: a.member}, err
	}
	return serviceActor{by: ByAuthority}, nil
}

// Organization is the organization itself.
func (a *Authority) Organization(ctx context.Context) (Organization, error) {
	if err := a.e.ready(ctx); err != nil {
		return Organization{}, err
	}
	if _, err := a.check(ctx, toRead); err != nil {
		return Organization{}, err
	}
	return a.e.Organization(ctx, a.code)
}

// PutMember lets somebody act for the organization, or changes how; for administrators.
func (a *Authority) PutMember(ctx context.Context, m Member) error {
	if err := m.Validate(); err != nil {
		return err
	}
	return a.changeMember(ctx, m.ID, func(tx *draft, key store.Key) error {
		return tx.putSealed(store.Record{Key: key}, &memberRecord{
			ID: m.ID, Role: m.Role, Delegate: m.Delegate, From: toMicro(m.From), Until: toMicro(m.Until), At: toMicro(a.e.now()),
		})
	})
}

// RemoveMember ends what somebody may do, and forgets them; for administrators. Who is none is ErrNotFound.
func (a *Authority) RemoveMember(ctx context.Context, id string) error {
	return a.changeMember(ctx, id, func(tx *draft, key store.Key) error {
		if tx.get(key) == nil {
			return ErrNotFound
		}
		tx.del(key)
		return nil
	})
}

func (a *Authority) changeMember(ctx context.Context, id string, change func(tx *draft, key store.Key) error) error {
	if err := a.e.ready(ctx); err != nil {
		return err
	}
	if _, err := a.check(ctx, toAdminister); err != nil {
		return err
	}
	owner := a.e.codec.organization(a.code)
	key := a.e.codec.of(owner).memberKey(id)
	return a.e.do(ctx, &op{owner: owner, keys: []store.Key{key}, apply: func(tx *draft) error { return change(tx, key) }})
}

// Members lists who may act for the organization, also those whose time has not come or is over, in no order that means anything; for
// administrators.
func (a *Authority) Members() List[Member] {
	return newList(a.e, "members\x00"+string(a.code), func(ctx context.Context, p position, limit int) (f found[Member], err error) {
		if _, err := a.check(ctx, toAdminister); err != nil {
			return f, err
		}
		d, err := a.e.view(ctx, a.e.codec.organization(a.code), p.rangeOf(prefixMember, limit, false), "")
		if err != nil {
			return f, err
		}
		recs := d.ranged
		if p.before {
			recs = reversed(recs)
		}
		for i := range recs {
			var r memberRecord
			if err := d.open(&recs[i], &r); err != nil {
				return f, err
			}
			f.add(Member{r.ID, r.Role, r.Delegate, fromMicro(r.From), fromMicro(r.Until)}, strings.TrimPrefix(string(recs[i].Key), prefixMember))
		}
		return f, nil
	})
}

package appio

import (
	"context"
	"errors"
	"fmt"

	"github.com/appio-go/appio/fiscalcode"
)

// Entrust gives a service of PutService to its organization, which edits, publishes and stops it from then on as one that it has prepared:
// what is live, or stopped, counts as approved as it is, and what is in trial is a draft. by is noted in the history, at most 200 UTF-16
// units. A service that an authority prepares already stays as it is.
func (e *Engine) Entrust(ctx context.Context, id ServiceID, by string) (Draft, error) {
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
	if before.live == nil {
		return Draft{}, errNoService
	}
	code := before.live.Organization
	if err := e.putHint(ctx, fiscalcode.Organization(code), id, 0); err != nil {
		return Draft{}, err
	}
	return e.manage(ctx, id, serviceActor{by: ByOperator, who: by}, func(m *managed) error {
		switch {
		case m.d != nil:
			return nil
		case m.live == nil || m.live.Organization != code:
			return fmt.Errorf("%w: the service was changed meanwhile", ErrConflict)
		}
		m.d = &draftRecord{Data: m.live.withoutKeys(), Version: 1}
		if m.live.State != Trial {
			m.d.Stage, m.d.ApprovedAt = Approved, m.now
		}
		m.log(ServiceEntrusted, "", m.d.Data.forHistory())
		return nil
	})
}

// HandOver offers a service to another organization, which may take it over from then on, as a technical partner does with what it has
// prepared and tried for somebody; an empty code takes the offer back. It is for administrators. A service of which a version was
// approved is ErrConflict, and so is one that is submitted.
func (a *Authority) HandOver(ctx context.Context, id ServiceID, to fiscalcode.Organization) error {
	if _, err := fiscalcode.ParseOrganization(string(to)); to != "" && (err != nil || to == a.code) {
		return invalid("to", "11 digits, of another organization")
	}
	if err := a.e.ready(ctx); err != nil {
		return err
	}
	who, err := a.check(ctx, toAdminister)
	if err != nil {
		return err
	}
	_, err = a.changeAs(ctx, who, id, func(m *managed) error {
		if err := m.mayHandOver(); to != "" && err != nil {
			return err
		}
		if m.d.Offered != string(to) {
			m.d.Offered, m.touched = string(to), true
		}
		return nil
	})
	return err
}

// mayHandOver is nil if the service may become another organization's.
func (m *managed) mayHandOver() error {
	if _, err := m.publication().after(ServiceHandedOver); err != nil {
		return err
	}
	_, err := m.d.Stage.after(ServiceHandedOver)
	return err
}

// TakeOver makes a service the organization's that another has offered it; nobody offered it, or it is gone, is ErrNotFound. It is for
// administrators, and counts among Options.MaxServices. The service goes on in trial, as a draft, and its history goes with it, with who
// did what at the other organization. Its keys end: who held them is not of the organization.
func (a *Authority) TakeOver(ctx context.Context, id ServiceID) (Draft, error) {
	if err := a.e.ready(ctx); err != nil {
		return Draft{}, err
	}
	who, err := a.check(ctx, toAdminister)
	if err != nil {
		return Draft{}, err
	}
	offered := func(m *managed) error {
		if m.d == nil || m.d.Offered != string(a.code) {
			return errNoDraft
		}
		return m.mayHandOver()
	}
	m, err := a.e.viewManaged(ctx, id)
	if err != nil {
		return Draft{}, err
	}
	if err := offered(m); err != nil {
		return Draft{}, err
	}
	org, err := a.e.Organization(ctx, a.code)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Draft{}, err
	}
	if err := a.e.putHint(ctx, a.code, id, a.e.opts.MaxServices); err != nil {
		return Draft{}, err
	}
	return a.e.manage(ctx, id, who, func(m *managed) error {
		if err := offered(m); err != nil {
			return err
		}
		if err := m.move(ServiceHandedOver); err != nil {
			return err
		}
		from := m.d.Data.Organization
		m.d.Data.Organization, m.d.Data.OrgName = string(a.code), org.Name
		m.d.Offered, m.d.Group, m.d.Reason, m.d.Publish = "", "", "", false
		m.d.Agreement, m.d.Barred = 0, 0 // they are numbers of the other organization
		m.d.Version++
		m.setLive(&m.d.Data, Trial)
		m.live.Keys = nil
		m.log(ServiceHandedOver, from, m.d.Data.forHistory())
		return nil
	})
}

// SetGroup says of which group of the organization a service is, by a name of the host's, at most 200 UTF-16 units; empty: of none. A key
// that is of a group is for its services alone, see [ManageKey]. It is for administrators, and what is edited or approved keeps it.
func (a *Authority) SetGroup(ctx context.Context, id ServiceID, group string) error {
	if err := validText("group", group, 0, 200); err != nil {
		return err
	}
	if err := a.e.ready(ctx); err != nil {
		return err
	}
	who, err := a.check(ctx, toAdminister)
	if err != nil {
		return err
	}
	_, err = a.changeAs(ctx, who, id, func(m *managed) error {
		if m.d.Group != group {
			m.d.Group, m.touched = group, true
		}
		return nil
	})
	return err
}

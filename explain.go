package appio

import (
	"context"
	"fmt"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
)

// An Explanation is a decision and the choices that it was made by.
type Explanation struct {
	Decision DecisionRecord
	Consents []ConsentRecord // of the citizen, about all services or this one, up to the decision; newest first
}

var errNoMessage = fmt.Errorf("%w: no citizen has a message of this id", ErrNotFound)

// ExplainMessage finds a message by its id alone, whoever it is to, and explains its decision. It reads through all citizens:
// who knows the recipient asks [Engine.Explain]. An id that no citizen has is ErrNotFound.
func (e *Engine) ExplainMessage(ctx context.Context, id MessageID) (Explanation, error) {
	if err := e.ready(ctx); err != nil {
		return Explanation{}, err
	}
	if !validULID(string(id)) {
		return Explanation{}, errNoMessage
	}
	after := store.Owner(citizenOwner)
	for {
		names, err := e.store.Owners(ctx, after, store.MaxReads/4)
		if err != nil {
			return Explanation{}, err
		}
		reads := make([]store.Read, 0, len(names))
		for _, name := range names {
			if ownerKind(name) == "citizen" {
				reads = append(reads, store.Read{Owner: name, Keys: []store.Key{decisionKey(id)}})
			}
		}
		snaps, err := e.store.View(ctx, reads)
		if err != nil {
			return Explanation{}, err
		}
		for i := range snaps {
			if len(snaps[i].Records) > 0 {
				return e.explainTo(ctx, reads[i].Owner, id)
			}
		}
		if len(reads) < store.MaxReads/4 {
			return Explanation{}, errNoMessage
		}
		after = names[len(names)-1]
	}
}

// ExplainService says how a message of a service to a citizen would be decided now, and by which choices. The Decision is not
// of a message and is not stored.
func (e *Engine) ExplainService(ctx context.Context, to fiscalcode.Person, id ServiceID) (Explanation, error) {
	if err := e.ready(ctx); err != nil {
		return Explanation{}, err
	}
	if _, err := fiscalcode.ParsePerson(string(to)); err != nil {
		return Explanation{}, invalid("To", "a fiscal code")
	}
	owner := e.codec.citizen(to)
	d, err := e.viewConsent(ctx, owner, id)
	if err != nil {
		return Explanation{}, err
	}
	svc, err := d.service(id)
	if err != nil {
		return Explanation{}, err
	}
	if svc == nil {
		return Explanation{}, errNoService
	}
	cs, err := d.readConsent(id)
	if err != nil {
		return Explanation{}, err
	}
	now := micro(e.now())
	facts := e.facts(cs, svc, false, now)
	e.digestFacts(&facts, cs, time.Time{}, now)
	x := Explanation{Decision: DecisionRecord{At: now, Service: id, RuleSet: RuleSet, Facts: facts, Decision: Decide(facts)}}
	x.Consents, err = e.consentsUpTo(ctx, owner, &x.Decision)
	return x, err
}

func (e *Engine) explainTo(ctx context.Context, owner store.Owner, id MessageID) (x Explanation, err error) {
	if x.Decision, err = e.explain(ctx, owner, id); err == nil {
		x.Consents, err = e.consentsUpTo(ctx, owner, &x.Decision)
	}
	return x, err
}

// consentsUpTo is what a decision's consent came from.
func (e *Engine) consentsUpTo(ctx context.Context, owner store.Owner, d *DecisionRecord) (all []ConsentRecord, err error) {
	list := newList(e, "consents of an owner", func(ctx context.Context, p position, limit int) (found[ConsentRecord], error) {
		return e.listConsents(ctx, owner, p, limit)
	})
	for c, err := range list.All(ctx) {
		if err != nil {
			return nil, err
		}
		if !c.At.After(d.At) && (c.Service == "" || c.Service == d.Service) {
			all = append(all, c)
		}
	}
	return all, nil
}

package appio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
)

// A Sender is what one service may do. It holds no state: each call reads the service, and the key it was made with, again.
type Sender struct {
	e    *Engine
	id   ServiceID
	key  []byte     // hash of the API key; nil: trusted
	addr netip.Addr // where the key is used from; zero: not checked
}

// Sender is the service with this id, trusted as such: for use in-process. An unknown id shows in its methods (ErrNotFound).
func (e *Engine) Sender(id ServiceID) *Sender { return &Sender{e: e, id: id} }

// SenderByKey is the service that the API key belongs to, calling from addr (zero: not checked against the service's
// prefixes). An unknown key is ErrUnauthorized; a wrong address, or a key that is an organization's, ErrForbidden.
func (e *Engine) SenderByKey(ctx context.Context, key string, addr netip.Addr) (*Sender, error) {
	if err := e.ready(ctx); err != nil {
		return nil, err
	}
	hash := keyHash(key)
	id, hinted := e.keyHints.get(hash)
	if !hinted {
		r, err := e.readKeyIndex(ctx, hash)
		if err != nil {
			return nil, err
		}
		if r.Organization != "" {
			if _, err := e.readManageKey(ctx, fiscalcode.Organization(r.Organization), &heldKey{name: r.Record, hash: hash}); err != nil {
				return nil, err
			}
			return nil, fmt.Errorf("%w: the key is an organization's", ErrForbidden)
		}
		id = r.Service
	}
	s := &Sender{e, id, hash, addr}
	rec, err := e.currentService(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil, ErrUnauthorized
	}
	if err != nil {
		return nil, err
	}
	if err := s.authorize(rec); err != nil {
		if hinted && errors.Is(err, ErrUnauthorized) { // the key may have become another service's
			e.keyHints.drop(hash)
			return e.SenderByKey(ctx, key, addr)
		}
		return s, err
	}
	if !hinted && e.exclusive {
		e.keyHints.put(hash, id)
	}
	e.uses.note(hash, micro(e.now()))
	return s, nil
}

// ID is the service's.
func (s *Sender) ID() ServiceID { return s.id }

// authorize checks the key and the address against the service as it is now.
func (s *Sender) authorize(r *serviceRecord) error {
	switch {
	case r == nil:
		return errNoService
	case s.key == nil:
		return nil
	case !r.hasKey(s.key):
		return ErrUnauthorized
	}
	return permitsAddr(r.Prefixes, s.addr)
}

// permitsAddr reports whether a key with these prefixes may be used from an address; a zero one is not checked. The unspecified one, :: or
// 0.0.0.0, is nobody's, and in no prefix: by it a host says that it does not know.
func permitsAddr(prefixes []string, addr netip.Addr) error {
	if len(prefixes) == 0 || !addr.IsValid() {
		return nil
	}
	addr = addr.Unmap().WithZone("")
	for _, text := range prefixes {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("%w: a key's prefix", store.ErrCorrupt)
		}
		if p.Contains(addr) && !addr.IsUnspecified() {
			return nil
		}
	}
	return fmt.Errorf("%w: the key may not be used from this address", ErrForbidden)
}

// Send decides, and stores the message if the citizen agrees: it is safe on disk when Send returns. Refusal is not an error.
func (s *Sender) Send(ctx context.Context, m Message) (Result, error) {
	results, err := s.SendBatch(ctx, []Message{m})
	return results[0], err
}

// SendBatch is Send for many, each for itself: results[i] is of ms[i], always. err is nil if every Err is, and wraps the
// first if not, so that checking err alone misses nothing.
func (s *Sender) SendBatch(ctx context.Context, ms []Message) (results []Result, err error) {
	end := s.e.observe(&ctx, Operation{Name: "send", Service: s.id, Count: len(ms)})
	results = make([]Result, len(ms))
	s.send(ctx, ms, results)
	out := Outcome{}
	for i := range results {
		switch {
		case results[i].Err != nil && err == nil:
			err = results[i].Err
			if len(ms) > 1 {
				err = fmt.Errorf("message %d: %w", i, err)
			}
		case results[i].Status == Processed:
			out.Processed++
		case results[i].Status == Rejected:
			out.Rejected++
		}
	}
	out.Err = err
	end(out)
	return results, err
}

func (s *Sender) send(ctx context.Context, ms []Message, results []Result) {
	fail := func(err error) {
		for i := range results {
			results[i] = Result{Err: err}
		}
	}
	if err := s.e.ready(ctx); err != nil {
		fail(err)
		return
	}
	if s.id.validate() != nil {
		fail(ErrNotFound)
		return
	}
	// A stop of the service, or the end of a key, waits for what passed the gate before it.
	p := &pass{owners: [2]store.Owner{service(s.id), ""}}
	if !s.e.enterWait(ctx, p) {
		fail(fmt.Errorf("%w: the service is being changed", ErrBusy))
		return
	}
	defer s.e.gates.leave(p)
	if !s.e.gates.begin(p, sending{Service: s.id}, nil, nil) {
		fail(fmt.Errorf("%w: the service is being changed", ErrBusy))
		return
	}
	creditor, err := s.creditor(ctx, ms)
	if err != nil {
		fail(err)
		return
	}
	organization, remotes, err := s.remotes(ctx, ms)
	if err != nil {
		fail(err)
		return
	}
	ops := make([]*op, 0, len(ms))
	at := make([]int, 0, len(ms))
	as := make([]acceptance, len(ms))
	var gathered []int
	for i := range ms {
		a := &as[i]
		if err := a.prepare(s, ms[i]); err != nil {
			results[i] = Result{Err: err}
			continue
		}
		if r := a.m.Remote; r != nil {
			stored, err := r.settle(organization, remotes)
			if err != nil {
				results[i] = Result{Err: err}
				continue
			}
			a.remote = stored
		}
		if n := a.m.Payment; n != nil && s.e.opts.Payments != nil {
			a.rptID = pagopa.RPTID{Creditor: cmp.Or(n.Payee, creditor), Notice: n.Number}
			a.bill = a.owner.billKey(a.rptID)
		}
		ops, at = append(ops, a.op()), append(at, i)
	}
	for len(ops) > 0 {
		n := min(len(ops), sendTogether)
		for j, err := range s.e.writer.do(ctx, ops[:n]...) {
			i := at[j]
			switch {
			case err == errGathers: // as apply returned it
				gathered = append(gathered, i)
			case err != nil: // the operation may still be under way
				results[i] = Result{Err: err}
			default:
				results[i] = as[i].result
			}
		}
		ops, at = ops[n:], at[n:]
	}
	s.sendGathered(ctx, as, gathered, results)
	if len(ms) == 1 && results[0].Status == Rejected {
		s.e.evenOut(ctx, as[0].owner, as[0].met, s.id)
	}
}

// creditor is whom notices are of that name no payee, where they are followed: the bill of a notice is read with what decides.
func (s *Sender) creditor(ctx context.Context, ms []Message) (fiscalcode.Organization, error) {
	if s.e.opts.Payments == nil || !slices.ContainsFunc(ms, func(m Message) bool { return m.Payment != nil && m.Payment.Payee == "" }) {
		return "", nil
	}
	r, err := s.e.currentService(ctx, s.id)
	if err != nil {
		return "", err
	}
	return fiscalcode.Organization(r.Organization), nil
}

// enterWait takes a pass of a service's gate for accepting messages. The gate is closed only while the service is written.
func (e *Engine) enterWait(ctx context.Context, p *pass) bool {
	for try := range 1000 {
		if _, ok := e.gates.enter(p); ok {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		pause(ctx, jitter(try, 100*time.Microsecond, 10*time.Millisecond))
	}
	return false
}

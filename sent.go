package appio

import (
	"context"
	"errors"
	"fmt"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
)

// Status is of a message that this service sent to this citizen; another service's message to them is ErrForbidden; anything
// else is ErrNotFound. A rejected message is known for 90 days. Whether it was read is not told to a key without ReadAdvanced.
func (s *Sender) Status(ctx context.Context, to fiscalcode.Person, id MessageID) (MessageStatus, error) {
	st, _, err := s.status(ctx, to, id)
	return st, err
}

// Message is [Sender.Status] with what the message says. It is there for as long as the citizen has it: who asks for it learns that it was
// erased, too, whatever the citizen lets the service know.
func (s *Sender) Message(ctx context.Context, to fiscalcode.Person, id MessageID) (SentMessage, error) {
	st, r, err := s.status(ctx, to, id)
	if err != nil || r == nil {
		return SentMessage{MessageStatus: st}, err
	}
	m := r.message(to)
	return SentMessage{MessageStatus: st, Message: &m}, nil
}

// status is what became of a message, and the message; nil: there is none, or none any more.
func (s *Sender) status(ctx context.Context, to fiscalcode.Person, id MessageID) (st MessageStatus, m *messageRecord, err error) {
	if err := s.e.ready(ctx); err != nil {
		return st, nil, err
	}
	if _, err := fiscalcode.ParsePerson(string(to)); err != nil || s.id.validate() != nil || !validULID(string(id)) {
		return st, nil, ErrNotFound
	}
	owner := s.e.codec.citizen(to)
	d, err := s.e.view(ctx, owner, store.Range{}, service(s.id), decisionKey(id))
	if err != nil {
		return st, nil, err
	}
	svc, err := d.service(s.id)
	if err != nil {
		return st, nil, err
	}
	if err := s.allowed(svc, ReadMessages); err != nil {
		return st, nil, err
	}
	var r decisionRecord
	found, err := d.read(decisionKey(id), &r)
	switch {
	case err != nil:
		return st, nil, err
	case !found:
		return st, nil, ErrNotFound
	case r.Service != s.id:
		return st, nil, fmt.Errorf("%w: another service's message", ErrForbidden)
	}
	if r.Status == Rejected && !s.e.now().Before(fromMicro(r.At).Add(keepRejected)) {
		return st, nil, ErrNotFound
	}
	st = MessageStatus{Status: r.Status, At: fromMicro(r.At), Premium: r.Premium}
	if r.Status == Rejected { // before anything is read that a person who is not known has not
		return st, nil, nil
	}
	if d, err = s.e.viewConsent(ctx, owner, s.id, messageKey(id), stateKey(id)); err != nil {
		return MessageStatus{}, nil, err
	}
	cs, err := d.readConsent(s.id)
	if err != nil {
		return MessageStatus{}, nil, err
	}
	stored := d.get(messageKey(id))
	if stored == nil {
		return st, nil, nil
	}
	m = &messageRecord{}
	if err := d.open(stored, m); errors.Is(err, errShredded) { // there is no message after an erasure
		return st, nil, nil
	} else if err != nil {
		return MessageStatus{}, nil, err
	}
	if p := s.e.effective(cs, svc); p.Inbox && p.ReadStatus && s.allowed(svc, ReadAdvanced) == nil {
		var state stateRecord
		if _, err := d.read(stateKey(id), &state); err != nil {
			return MessageStatus{}, nil, err
		}
		read := state.ReadAt != 0
		st.Read = &read
		st.Template = m.template()
		if st.Paid, err = s.e.paid(ctx, d, m); err != nil {
			return MessageStatus{}, nil, err
		}
	}
	return st, m, nil
}

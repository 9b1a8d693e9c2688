package appio

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
)

// InboxOptions may be nil.
type InboxOptions struct {
	Archived bool      // the archive instead of the inbox
	Service  ServiceID // empty: every service

	Before, After MessageID // only messages with a smaller, or greater, id; empty: all. One that is no id is ErrInvalid.
}

// A StateChange is what a citizen does with a message, at once.
type StateChange struct {
	Read     bool  // it was read, for good; false: that stays as it is
	Archived *bool // it goes to the archive, or back to the inbox; nil: it stays where it is
}

// A MessageState is what a citizen did with a message.
type MessageState struct {
	ReadAt   time.Time // zero: not read
	Read     bool
	Archived bool
}

// inboxPages is how many pages of records one page of a list reads at the most, where a filter leaves many out.
const inboxPages = 8

// list is the name of the list, for its cursors.
func (o *InboxOptions) list(of fiscalcode.Person) string {
	name := "inbox\x00" + string(of) + "\x00" + string(o.Service)
	if o.Archived {
		name += "\x00archived"
	}
	if o.Before != "" || o.After != "" {
		name += "\x00from\x00" + string(o.After) + "\x00to\x00" + string(o.Before)
	}
	return name
}

// InboxPassed is the last message that was looked at for a page of Inbox with this Next, whether it is one of the page's or was left out: as
// InboxOptions.Before it asks for what comes then. A cursor that is none of the list's is ErrInvalid.
func (c *Citizen) InboxPassed(opts *InboxOptions, next Cursor) (MessageID, error) {
	if opts == nil {
		opts = &InboxOptions{}
	}
	p, err := c.e.codec.openCursor(opts.list(c.id.Code), next)
	if err == nil && (p.before || p.key == "") {
		err = invalid("Cursor", "a Next that this list gave")
	}
	return MessageID(p.key), err
}

// Inbox lists messages, newest first.
func (c *Citizen) Inbox(opts *InboxOptions) List[InboxMessage] {
	var o InboxOptions
	if opts != nil {
		o = *opts
	}
	return newList(c.e, o.list(c.id.Code), func(ctx context.Context, p position, limit int) (found[InboxMessage], error) {
		if o.Before != "" && !validULID(string(o.Before)) || o.After != "" && !validULID(string(o.After)) {
			return found[InboxMessage]{}, invalid("InboxOptions", "Before and After: ids of messages")
		}
		owner, err := c.begin(ctx)
		if err != nil {
			return found[InboxMessage]{}, err
		}
		return c.listInbox(ctx, owner, o, p, limit)
	})
}

func (c *Citizen) listInbox(ctx context.Context, owner store.Owner, o InboxOptions, p position, limit int) (f found[InboxMessage], err error) {
	for range inboxPages {
		// A message is one record, or two with its state.
		rng := o.bound(p.rangeOf(prefixMessage, min(max(2*(limit-len(f.items)), 64), 256), true))
		d, err := c.e.view(ctx, owner, rng, "", profileKeys...)
		if err != nil {
			return f, err
		}
		if d.get(keyTombstone) != nil {
			return f, ErrErasing
		}
		profile, err := d.readProfile()
		if err != nil {
			return f, err
		}
		entries, last, err := c.messages(d, o.Archived, profile.languages(), p.before && len(d.ranged) == rng.Limit)
		if err != nil {
			return f, err
		}
		if err := c.addStates(ctx, owner, entries); err != nil {
			return f, err
		}
		for _, m := range entries {
			if (o.Service == "" || o.Service == m.Service) && len(f.items) < limit {
				f.add(m, string(m.ID))
			}
		}
		if len(f.items) == limit {
			break
		}
		if len(d.ranged) < rng.Limit {
			f.resume = ""
			break
		}
		p.key, f.resume = last, last
	}
	if len(f.items) == limit {
		f.resume = ""
	}
	if p.before { // they came oldest first
		for i, j := 0, len(f.items)-1; i < j; i, j = i+1, j-1 {
			f.items[i], f.items[j] = f.items[j], f.items[i]
			f.keys[i], f.keys[j] = f.keys[j], f.keys[i]
		}
	}
	return f, nil
}

// bound cuts a range of messages to those asked for.
func (o *InboxOptions) bound(r store.Range) store.Range {
	if o.Before != "" {
		r.To = min(r.To, messageKey(o.Before))
	}
	if o.After != "" {
		r.From = max(r.From, messageKey(o.After)+"\x7f") // after its state, too
	}
	if r.From > r.To {
		r.From = r.To
	}
	return r
}

// messages joins what a range found: contents with their states, of the archive or of the inbox. cut says that the range goes on, in
// growing order. last is the id up to which it is whole.
func (c *Citizen) messages(d *draft, archived bool, languages []string, cut bool) (ms []InboxMessage, last string, err error) {
	recs := d.ranged
	states := map[MessageID]*store.Record{}
	var contents []*store.Record
	for i := range recs {
		if id, ok := strings.CutSuffix(string(recs[i].Key), stateSuffix); ok {
			states[MessageID(strings.TrimPrefix(id, prefixMessage))] = &recs[i]
		} else {
			contents = append(contents, &recs[i])
		}
	}
	// The state of the last message may be beyond the range: it is left for the next one.
	if cut && len(contents) > 1 && recs[len(recs)-1].Key == contents[len(contents)-1].Key {
		contents = contents[:len(contents)-1]
	}
	for _, r := range contents {
		id := messageIDOf(r.Key)
		last = string(id)
		m, in, err := c.messageIn(d, archived, languages, id, r, states[id])
		if errors.Is(err, errShredded) {
			continue // of an earlier life of this person
		}
		if err != nil {
			return nil, "", err
		}
		if in {
			ms = append(ms, m)
		}
	}
	return ms, last, nil
}

// messageIn is a message, if it is in the archive or in the inbox; else it is not looked into.
func (c *Citizen) messageIn(d *draft, archived bool, languages []string, id MessageID, r, state *store.Record) (m InboxMessage, in bool, err error) {
	var s stateRecord
	if state != nil {
		err = d.open(state, &s)
	}
	if err != nil || s.Archived != archived {
		return m, false, err
	}
	m, err = c.inboxMessage(d, languages, id, r, &s)
	return m, true, err
}

func (c *Citizen) inboxMessage(d *draft, languages []string, id MessageID, r *store.Record, s *stateRecord) (InboxMessage, error) {
	var m messageRecord
	if err := d.open(r, &m); err != nil {
		return InboxMessage{}, err
	}
	return InboxMessage{
		Message: m.message(c.id.Code).In(languages...), ID: id, Service: m.Service, SentAt: fromMicro(m.At),
		ReadAt: fromMicro(s.ReadAt), Read: s.ReadAt != 0, Archived: s.Archived, Opening: s.Opening.opening(),
	}, nil
}

// Message is one message whole, or ErrNotFound.
func (c *Citizen) Message(ctx context.Context, id MessageID) (InboxMessage, error) {
	owner, err := c.begin(ctx)
	if err != nil {
		return InboxMessage{}, err
	}
	if !validULID(string(id)) {
		return InboxMessage{}, ErrNotFound
	}
	d, err := c.e.view(ctx, owner, store.Range{}, "", append([]store.Key{messageKey(id), stateKey(id)}, profileKeys...)...)
	if err != nil {
		return InboxMessage{}, err
	}
	if d.get(keyTombstone) != nil {
		return InboxMessage{}, ErrErasing
	}
	profile, err := d.readProfile()
	if err != nil {
		return InboxMessage{}, err
	}
	r := d.get(messageKey(id))
	if r == nil {
		return InboxMessage{}, ErrNotFound
	}
	var m InboxMessage
	var s stateRecord
	if _, err = d.read(stateKey(id), &s); err == nil {
		m, err = c.inboxMessage(d, profile.languages(), id, r, &s)
	}
	if errors.Is(err, errShredded) {
		return InboxMessage{}, ErrNotFound
	}
	if err != nil {
		return InboxMessage{}, err
	}
	ms := []InboxMessage{m}
	err = c.addStates(ctx, owner, ms)
	return ms[0], err
}

// MarkRead says that the citizen has read a message. It is for good; a second time changes nothing. A message that is none of the
// citizen's is ErrNotFound.
func (c *Citizen) MarkRead(ctx context.Context, id MessageID) error {
	_, err := c.ChangeState(ctx, id, StateChange{Read: true})
	return err
}

// Archive moves a message to the archive, or back to the inbox. A message that is none of the citizen's is ErrNotFound.
func (c *Citizen) Archive(ctx context.Context, id MessageID, archived bool) error {
	_, err := c.ChangeState(ctx, id, StateChange{Archived: &archived})
	return err
}

// ChangeState is [Citizen.MarkRead] and [Citizen.Archive], or one of them, in one change, and says how the message stands then. What is
// so already changes nothing.
func (c *Citizen) ChangeState(ctx context.Context, id MessageID, change StateChange) (MessageState, error) {
	owner, err := c.begin(ctx)
	if err != nil {
		return MessageState{}, err
	}
	if !validULID(string(id)) {
		return MessageState{}, ErrNotFound
	}
	var is stateRecord
	keys := append([]store.Key{messageKey(id), stateKey(id), remindKey(id)}, profileKeys...)
	if c.e.fallbacks { // what has not begun to be sent looks again
		keys = append(keys, waitingKey(id), leasedKey(id), outcomeKey(id))
		c.e.gates.close(owner)
		defer c.e.gates.open(owner, true)
	}
	err = c.e.do(ctx, &op{
		owner: owner, urgent: true, keys: keys,
		apply: func(tx *draft) error {
			if tx.get(keyTombstone) != nil {
				return ErrErasing
			}
			p, err := tx.readProfile()
			if err != nil {
				return err
			}
			if p == nil || tx.get(messageKey(id)) == nil {
				return ErrNotFound
			}
			var s stateRecord
			if _, err := tx.read(stateKey(id), &s); err != nil {
				return err
			}
			was := s
			if change.Read && s.ReadAt == 0 {
				s.ReadAt = toMicro(c.e.now())
			}
			if change.Archived != nil {
				s.Archived = *change.Archived
			}
			if is = s; is == was {
				return nil
			}
			if err := tx.putPersonal(store.Record{Key: stateKey(id)}, &s); err != nil {
				return err
			}
			if c.e.fallbacks && (s.ReadAt != 0 || s.Archived) {
				if err := c.e.stopFallbacks(tx, id); err != nil {
					return err
				}
			}
			if was.ReadAt == 0 && s.ReadAt != 0 {
				if err := tx.tallyRead(id, fromMicro(s.ReadAt)); err != nil {
					return err
				}
			}
			return c.e.remindLess(tx, id, &s)
		},
	})
	if err != nil {
		return MessageState{}, err
	}
	return MessageState{fromMicro(is.ReadAt), is.ReadAt != 0, is.Archived}, nil
}

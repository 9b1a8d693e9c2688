package appio

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"sync"
	"time"

	"github.com/appio-go/appio/store"
)

// ServiceKeys are the API keys of a service that an authority prepares.
type ServiceKeys struct {
	Primary, Secondary         string    // empty: the slot has none, or one that [Engine.PutKey] or [Engine.NewKey] set, which cannot be shown
	PrimaryUsed, SecondaryUsed time.Time // when [Engine.SenderByKey] last took it, to about an hour, as Run, Flush or Close wrote it; zero: never, or there is none
}

// String is "primary" or "secondary".
func (k KeySlot) String() string {
	if k == Secondary {
		return "secondary"
	}
	return "primary"
}

// NewKey makes a key for the slot of a service that the organization has prepared, and ends the one before at once. Unlike the key
// of [Engine.NewKey] it can be shown again, by Keys: it is derived from the engine key, and not kept. It is for who may administer.
// A deleted service is ErrConflict; so is a slot that somebody else changes at this moment. A store without sealing has no
// engine key: ErrUnsupported.
func (a *Authority) NewKey(ctx context.Context, id ServiceID, k KeySlot) (string, error) {
	if k != Primary && k != Secondary {
		return "", invalid("KeySlot", "Primary or Secondary")
	}
	if err := a.e.ready(ctx); err != nil {
		return "", err
	}
	who, err := a.check(ctx, toHoldKeys)
	if err != nil {
		return "", err
	}
	if _, err := a.read(ctx, who, id); err != nil {
		return "", err
	}
	d, err := a.e.viewDerived(ctx, id)
	if err != nil {
		return "", err
	}
	// By the clock, so that a store that was restored does not come to a key again that was used, and ended, after its backup was made.
	before := d.Slots[k].Generation
	generation := max(before+1, uint64(max(toMicro(micro(a.e.now())), 0)))
	key, of, err := a.e.codec.derivedKey(0, id, k, generation)
	if err != nil {
		return "", err
	}
	err = a.e.setKey(ctx, id, key, []store.Key{keyDraft, keyDerived}, func(tx *draft, r *serviceRecord, hash []byte) (s *serviceRecord, old []byte, err error) {
		now, err := readDerived(tx)
		if err != nil {
			return nil, nil, err
		}
		if now.Slots[k].Generation != before {
			return nil, nil, fmt.Errorf("%w: the slot was changed meanwhile", ErrConflict)
		}
		s, err = a.e.managing(who, func(m *managed) error {
			if err := a.owns(who, m); err != nil {
				return err
			}
			if m.live == nil || m.d.Stage == Deleted {
				return fmt.Errorf("%w: the service is deleted", ErrConflict)
			}
			m.live, old, err = m.live.withKey(k, hash)
			if err != nil {
				return err
			}
			m.changed = true
			m.log(ServiceKeyChanged, k.String(), nil)
			return nil
		})(tx, r)
		if err != nil {
			return nil, nil, err
		}
		now.Slots[k] = derivedSlot{generation, of, hash}
		return s, old, tx.putSealed(store.Record{Key: keyDerived}, now)
	})
	return key, err
}

// Keys are the keys of a service that the organization has prepared, as often as it asks; it is for who may administer. A key of an engine
// key that is no longer there is store.ErrKey: NewKey replaces it.
func (a *Authority) Keys(ctx context.Context, id ServiceID) (keys ServiceKeys, err error) {
	if err := a.e.ready(ctx); err != nil {
		return keys, err
	}
	who, err := a.check(ctx, toHoldKeys)
	if err != nil {
		return keys, err
	}
	m, err := a.read(ctx, who, id)
	if err != nil || m.live == nil {
		return keys, err
	}
	live := m.live
	d, err := a.e.viewDerived(ctx, id)
	if err != nil {
		return keys, err
	}
	for k, into := range map[KeySlot]struct {
		key  *string
		used *time.Time
	}{Primary: {&keys.Primary, &keys.PrimaryUsed}, Secondary: {&keys.Secondary, &keys.SecondaryUsed}} {
		if int(k) >= len(live.Keys) || len(live.Keys[k]) == 0 {
			continue
		}
		if *into.used, err = a.e.lastUse(ctx, live.Keys[k]); err != nil {
			return ServiceKeys{}, err
		}
		s := d.Slots[k]
		if s.Generation == 0 || subtle.ConstantTimeCompare(s.Hash, live.Keys[k]) == 0 {
			continue
		}
		key, _, err := a.e.codec.derivedKey(s.Key, id, k, s.Generation)
		if err != nil {
			return ServiceKeys{}, err
		}
		if subtle.ConstantTimeCompare(keyHash(key), s.Hash) == 0 {
			return ServiceKeys{}, fmt.Errorf("%w: a service's key is not the one that was derived", store.ErrKey)
		}
		*into.key = key
	}
	return keys, nil
}

func (e *Engine) viewDerived(ctx context.Context, id ServiceID) (*derivedRecord, error) {
	d, err := e.view(ctx, service(id), store.Range{}, "", keyDerived)
	if err != nil {
		return nil, err
	}
	return readDerived(d)
}

// readDerived has both slots, always.
func readDerived(d *draft) (*derivedRecord, error) {
	var r derivedRecord
	_, err := d.read(keyDerived, &r)
	for len(r.Slots) < 2 {
		r.Slots = append(r.Slots, derivedSlot{})
	}
	return &r, err
}

// keyUseEvery is how exactly it is kept when a key was used: a write an hour for each that is, and none for each call.
const keyUseEvery = time.Hour

// keyUses is when the use of keys was last noted, by hash, and which are to be written.
type keyUses struct {
	mu      sync.Mutex
	m       map[string]time.Time
	pending map[string]time.Time // where nobody writes them, as without Run, of each key the last
}

// keyHints are the services that keys belonged to when they were last looked up, where no other engine can be on the store. Whether a key
// still does says the service's record.
type keyHints struct {
	mu sync.RWMutex
	m  map[[sha256.Size]byte]ServiceID
}

func (h *keyHints) get(hash []byte) (id ServiceID, ok bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	id, ok = h.m[[sha256.Size]byte(hash)]
	return id, ok
}

func (h *keyHints) put(hash []byte, id ServiceID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.m == nil || len(h.m) >= maxKeyUses {
		h.m = map[[sha256.Size]byte]ServiceID{}
	}
	h.m[[sha256.Size]byte(hash)] = id
}

func (h *keyHints) drop(hash []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.m, [sha256.Size]byte(hash))
}

// maxKeyUses is where all are forgotten, to begin again.
const maxKeyUses = 10_000

// note takes a use into memory, unless one was within the hour.
func (u *keyUses) note(hash []byte, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if at, ok := u.m[string(hash)]; ok && now.Sub(at) < keyUseEvery {
		return
	}
	if u.m == nil || len(u.m) >= maxKeyUses {
		u.m, u.pending = map[string]time.Time{}, nil
	}
	if u.pending == nil {
		u.pending = map[string]time.Time{}
	}
	u.m[string(hash)], u.pending[string(hash)] = now, now
}

func (u *keyUses) take() map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	p := u.pending
	u.pending = nil
	return p
}

// writeUses writes when keys were used. What fails is left: the next hour has another.
func (e *Engine) writeUses(ctx context.Context) {
	var ops []*op
	for hash, at := range e.uses.take() {
		ops = append(ops, &op{owner: e.codec.apiKey([]byte(hash)), keys: []store.Key{keyAPIKey, keyUse}, apply: func(tx *draft) error {
			var r keyUseRecord
			found, err := tx.read(keyUse, &r)
			if err != nil || tx.get(keyAPIKey) == nil || found && at.Sub(fromMicro(r.At)) < keyUseEvery {
				return err
			}
			return tx.putSealed(store.Record{Key: keyUse}, &keyUseRecord{toMicro(at)})
		}})
	}
	for _, err := range e.writer.do(ctx, ops...) {
		if err != nil {
			e.log().Warn("when a key was used could not be written", "err", err)
		}
	}
}

func (e *Engine) lastUse(ctx context.Context, hash []byte) (time.Time, error) {
	d, err := e.view(ctx, e.codec.apiKey(hash), store.Range{}, "", keyUse)
	if err != nil {
		return time.Time{}, err
	}
	var r keyUseRecord
	_, err = d.read(keyUse, &r)
	return fromMicro(r.At), err
}

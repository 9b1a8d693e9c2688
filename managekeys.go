package appio

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
)

// A ManageKey is what an organization's own software prepares its services with: see [Engine.AuthorityByKey]. It has two slots, so that
// one can be changed while the other is used, and no others are derived from it: each is shown once, and kept hashed.
type ManageKey struct {
	ID       string         // of the organization's choosing, 1 to 200 UTF-16 units; it is shown in histories
	Role     Role           // as of a [Member], but that an Administrator's key holds keys of services, and none of these
	Group    string         // it is for the services of this group alone, see [Authority.SetGroup], and what it creates is of it; empty: for all
	Prefixes []netip.Prefix // where it may be used from; empty: anywhere; at most 1,000

	// What follows is set by the engine.

	Via                        fiscalcode.Organization // the aggregator that has made it, and may end it; empty: the organization itself
	Primary, Secondary         bool                    // whether the slot has a key
	PrimaryUsed, SecondaryUsed time.Time               // when AuthorityByKey last took it, as in [ServiceKeys]
}

// Validate reports what [Authority.PutManageKey] would.
func (k ManageKey) Validate() error {
	if k.Role != Administrator && k.Role != Editor && k.Role != Viewer {
		return invalid("Role", "Administrator, Editor or Viewer")
	}
	if err := validPrefixes(k.Prefixes); err != nil {
		return err
	}
	if err := validText("Group", k.Group, 0, 200); err != nil {
		return err
	}
	return validText("ID", k.ID, 1, 200)
}

// PutManageKey says what a key is for, or says it anew; whoever holds it is bound by it at once. It has no key until [Authority.NewManageKey].
// It is for administrators, and for an aggregator who acts by [Authority.For]: then the key is of no use while the organization does not
// name the aggregator. The holder of a key makes none.
func (a *Authority) PutManageKey(ctx context.Context, k ManageKey) error {
	if err := k.Validate(); err != nil {
		return err
	}
	return a.changeManageKey(ctx, k.ID, func(tx *draft, key store.Key, r *manageKeyRecord) error {
		if r == nil {
			r = &manageKeyRecord{ID: k.ID, Via: a.viaCode()}
		}
		r.Role, r.Group, r.Prefixes, r.At = k.Role, k.Group, prefixTexts(k.Prefixes), toMicro(a.e.now())
		return tx.putSealed(store.Record{Key: key}, r)
	})
}

// NewManageKey makes a key for the slot, ends the one before at once, and returns it: it is not shown again. What PutManageKey did not
// name is ErrNotFound.
func (a *Authority) NewManageKey(ctx context.Context, id string, k KeySlot) (string, error) {
	key := newAPIKey()
	return key, a.SetManageKey(ctx, id, k, key)
}

// SetManageKey is NewManageKey with a key made elsewhere, of 16 to 200 bytes that nobody can guess. One that is in use already is ErrConflict.
func (a *Authority) SetManageKey(ctx context.Context, id string, k KeySlot, key string) error {
	if err := validKey(k, key); err != nil {
		return err
	}
	hash := keyHash(key)
	var old []byte
	put := func(tx *draft, name store.Key, r *manageKeyRecord) error {
		if r == nil {
			return ErrNotFound
		}
		var err error
		if r.Keys, old, err = withKey(r.Keys, k, hash); err != nil {
			return err
		}
		r.At = toMicro(a.e.now())
		return tx.putSealed(store.Record{Key: name}, r)
	}
	// The index first, as of a service's key; and before it, that there is something to have it.
	if err := a.changeManageKey(ctx, id, func(_ *draft, _ store.Key, r *manageKeyRecord) error {
		if r == nil {
			return ErrNotFound
		}
		return nil
	}); err != nil {
		return err
	}
	if err := a.e.putKeyIndex(ctx, hash, apiKeyRecord{Organization: string(a.code), Record: a.manageKeyName(id)}); err != nil {
		return err
	}
	if err := a.changeManageKey(ctx, id, put); err != nil {
		return err
	}
	return a.e.dropKeyIndex(ctx, old, hash)
}

// RemoveManageKey ends both keys of an ID, and forgets it. Who is none is ErrNotFound.
func (a *Authority) RemoveManageKey(ctx context.Context, id string) error {
	var old [][]byte
	err := a.changeManageKey(ctx, id, func(tx *draft, key store.Key, r *manageKeyRecord) error {
		if r == nil {
			return ErrNotFound
		}
		old = r.Keys
		tx.del(key)
		return nil
	})
	for _, hash := range old {
		if err == nil {
			err = a.e.dropKeyIndex(ctx, hash, nil)
		}
	}
	return err
}

// ManageKeys lists the organization's keys, those of its aggregators too, in no order that means anything; for an aggregator, its own. It is
// for who may make them, and forwards only: a Prev cursor is ErrInvalid.
func (a *Authority) ManageKeys() List[ManageKey] {
	return newList(a.e, "manage keys\x00"+string(a.code)+"\x00"+a.viaCode(), func(ctx context.Context, p position, limit int) (f found[ManageKey], err error) {
		if p.before {
			return f, invalid("Cursor", "keys are listed forwards only")
		}
		if _, err := a.check(ctx, toMakeKeys); err != nil {
			return f, err
		}
		d, err := a.e.view(ctx, a.e.codec.organization(a.code), p.rangeOf(prefixManageKey, limit, false), "")
		if err != nil {
			return f, err
		}
		for i := range d.ranged {
			var r manageKeyRecord
			if err := d.open(&d.ranged[i], &r); err != nil {
				return f, err
			}
			if a.via != nil && r.Via != string(a.via.code) {
				continue
			}
			k, err := a.e.manageKey(ctx, &r)
			if err != nil {
				return f, err
			}
			f.add(k, strings.TrimPrefix(string(d.ranged[i].Key), prefixManageKey))
		}
		if len(d.ranged) == limit && len(f.items) < limit {
			f.resume = strings.TrimPrefix(string(d.ranged[limit-1].Key), prefixManageKey)
		}
		return f, nil
	})
}

func (e *Engine) manageKey(ctx context.Context, r *manageKeyRecord) (k ManageKey, err error) {
	k = ManageKey{ID: r.ID, Role: r.Role, Group: r.Group, Via: fiscalcode.Organization(r.Via)}
	if k.Prefixes, err = parsePrefixes(r.Prefixes); err != nil {
		return k, err
	}
	for slot, of := range []struct {
		there *bool
		used  *time.Time
	}{{&k.Primary, &k.PrimaryUsed}, {&k.Secondary, &k.SecondaryUsed}} {
		if slot < len(r.Keys) && len(r.Keys[slot]) > 0 {
			*of.there = true
			if *of.used, err = e.lastUse(ctx, r.Keys[slot]); err != nil {
				return k, err
			}
		}
	}
	return k, nil
}

func (a *Authority) viaCode() string {
	if a.via == nil {
		return ""
	}
	return string(a.via.code)
}

func (a *Authority) manageKeyName(id string) store.Key {
	return a.e.codec.of(a.e.codec.organization(a.code)).manageKeyKey(a.viaCode(), id)
}

// changeManageKey changes the record of a key; nil: there is none.
func (a *Authority) changeManageKey(ctx context.Context, id string, change func(tx *draft, key store.Key, r *manageKeyRecord) error) error {
	if err := a.e.ready(ctx); err != nil {
		return err
	}
	if _, err := a.check(ctx, toMakeKeys); err != nil {
		return err
	}
	key := a.manageKeyName(id)
	return a.e.do(ctx, &op{owner: a.e.codec.organization(a.code), keys: []store.Key{key}, apply: func(tx *draft) error {
		var r manageKeyRecord
		found, err := tx.read(key, &r)
		if err != nil {
			return err
		}
		if !found {
			return change(tx, key, nil)
		}
		return change(tx, key, &r)
	}})
}

// A heldKey is what a handle was made with.
type heldKey struct {
	name store.Key // of the record, among the organization's
	hash []byte
	addr netip.Addr // zero: not checked
}

// AuthorityByKey is the organization that the key belongs to, calling from addr (zero: not checked against the key's prefixes). An
// unknown key is ErrUnauthorized; a wrong address, or a key that is a service's, ErrForbidden; more often than Options.ManageRate, in
// whichever slot, it is a [LimitedError]. What the key may do is read again with each call.
func (e *Engine) AuthorityByKey(ctx context.Context, key string, addr netip.Addr) (*Authority, error) {
	if err := e.ready(ctx); err != nil {
		return nil, err
	}
	hash := keyHash(key)
	r, err := e.readKeyIndex(ctx, hash)
	if err != nil {
		return nil, err
	}
	if r.Organization == "" {
		s, err := e.readService(ctx, r.Service)
		switch {
		case errors.Is(err, ErrNotFound) || err == nil && !s.hasKey(hash):
			return nil, ErrUnauthorized
		case err != nil:
			return nil, err
		}
		return nil, fmt.Errorf("%w: the key is a service's", ErrForbidden)
	}
	a := &Authority{e: e, code: fiscalcode.Organization(r.Organization), key: &heldKey{r.Record, hash, addr}}
	if _, err := a.check(ctx, toRead); err != nil {
		return nil, err
	}
	if err := e.manages.ask(*r, e.opts.ManageRate, leastAtOnce, e.now()); err != nil {
		return nil, err
	}
	e.uses.note(hash, micro(e.now()))
	return a, nil
}

// Group is that of the key which the handle was made with: see [ManageKey].
func (a *Authority) Group(ctx context.Context) (string, error) {
	if err := a.e.ready(ctx); err != nil {
		return "", err
	}
	who, err := a.check(ctx, toRead)
	return who.group, err
}

// checkKey reads the record of the handle's key, and whether it is for something.
func (a *Authority) checkKey(ctx context.Context, need right) (serviceActor, error) {
	r, err := a.e.readManageKey(ctx, a.code, a.key)
	if err != nil {
		return serviceActor{}, err
	}
	if err := permitsAddr(r.Prefixes, a.key.addr); err != nil {
		return serviceActor{}, err
	}
	if need > toHoldKeys || !allows(r.Role, need) {
		return serviceActor{}, fmt.Errorf("%w: the key is not for this", ErrForbidden)
	}
	if r.Via != "" {
		if err := a.e.letsActFor(ctx, a.code, fiscalcode.Organization(r.Via)); err != nil {
			return serviceActor{}, err
		}
	}
	return serviceActor{by: ByAuthority, who: strings.TrimSpace(r.Via + " " + r.ID), group: r.Group, acting: r.Via != ""}, nil
}

// readManageKey is the record of a key that has not ended.
func (e *Engine) readManageKey(ctx context.Context, code fiscalcode.Organization, k *heldKey) (*manageKeyRecord, error) {
	d, err := e.view(ctx, e.codec.organization(code), store.Range{}, "", k.name)
	if err != nil {
		return nil, err
	}
	var r manageKeyRecord
	found, err := d.read(k.name, &r)
	if err != nil {
		return nil, err
	}
	if !found || !hasKey(r.Keys, k.hash) {
		return nil, ErrUnauthorized
	}
	return &r, nil
}

// letsActFor is nil if an organization names another among its aggregators.
func (e *Engine) letsActFor(ctx context.Context, code, aggregator fiscalcode.Organization) error {
	r, err := e.readOrganization(ctx, code)
	if errors.Is(err, ErrNotFound) || err == nil && !slices.Contains(r.Aggregators, string(aggregator)) {
		return errNotAggregator
	}
	return err
}

// readKeyIndex is whose a key is: a hint. There is none of a key that is not known: ErrUnauthorized.
func (e *Engine) readKeyIndex(ctx context.Context, hash []byte) (*apiKeyRecord, error) {
	d, err := e.view(ctx, e.codec.apiKey(hash), store.Range{}, "", keyAPIKey)
	if err != nil {
		return nil, err
	}
	var r apiKeyRecord
	found, err := d.read(keyAPIKey, &r)
	if err == nil && !found {
		err = ErrUnauthorized
	}
	return &r, err
}

// putKeyIndex says whose a key is. One that is another's is ErrConflict.
func (e *Engine) putKeyIndex(ctx context.Context, hash []byte, whose apiKeyRecord) error {
	return e.do(ctx, &op{
		owner: e.codec.apiKey(hash), keys: []store.Key{keyAPIKey},
		apply: func(tx *draft) error {
			var r apiKeyRecord
			found, err := tx.read(keyAPIKey, &r)
			if err != nil {
				return err
			}
			if found && r != whose {
				return fmt.Errorf("%w: the key is another's", ErrConflict)
			}
			return tx.putSealed(store.Record{Key: keyAPIKey}, &whose)
		},
	})
}

// dropKeyIndex forgets whose a key was that another took the place of.
func (e *Engine) dropKeyIndex(ctx context.Context, old, now []byte) error {
	if len(old) == 0 || subtle.ConstantTimeCompare(old, now) == 1 {
		return nil
	}
	return e.do(ctx, &op{owner: e.codec.apiKey(old), keys: []store.Key{keyAPIKey, keyUse}, apply: func(tx *draft) error {
		for _, k := range []store.Key{keyAPIKey, keyUse} {
			if tx.get(k) != nil {
				tx.del(k)
			}
		}
		return nil
	}})
}

func validKey(k KeySlot, key string) error {
	if k != Primary && k != Secondary {
		return invalid("KeySlot", "Primary or Secondary")
	}
	if len(key) < 16 || len(key) > 200 {
		return invalid("Key", "16 to 200 bytes")
	}
	return nil
}

// withKey is a pair of hashes with another one in a slot, and the one before.
func withKey(keys [][]byte, k KeySlot, hash []byte) (pair [][]byte, old []byte, err error) {
	pair = make([][]byte, 2)
	copy(pair, keys)
	if subtle.ConstantTimeCompare(pair[1-k], hash) == 1 {
		return nil, nil, fmt.Errorf("%w: the key is in the other slot", ErrConflict)
	}
	old, pair[k] = pair[k], hash
	return pair, old, nil
}

// hasKey reports whether the hash is one of the pair.
func hasKey(keys [][]byte, hash []byte) bool {
	found := 0
	for _, k := range keys {
		if len(k) == len(hash) {
			found |= subtle.ConstantTimeCompare(k, hash)
		}
	}
	return found == 1
}

func validPrefixes(ps []netip.Prefix) error {
	if len(ps) > 1000 {
		return invalid("Prefixes", "at most 1000 prefixes")
	}
	for i, p := range ps {
		if !p.IsValid() {
			return invalid(fmt.Sprintf("Prefixes[%d]", i), "an IP prefix")
		}
	}
	return nil
}

func prefixTexts(ps []netip.Prefix) (texts []string) {
	for _, p := range ps {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 { // callers' addresses are unmapped, too
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		texts = append(texts, p.String())
	}
	return texts
}

func parsePrefixes(texts []string) (ps []netip.Prefix, err error) {
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%w: a key's prefix", store.ErrCorrupt)
		}
		ps = append(ps, p)
	}
	return ps, nil
}

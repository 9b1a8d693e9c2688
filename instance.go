package appio

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/appio-go/appio/store"
)

// storeFormat numbers the layout of what the engine keeps in a store: names of owners and keys, and the envelope.
const storeFormat = 1

// makeOut reads what kind of store this is, or makes a new one out: a random instance, a root secret that pseudonyms come from,
// sealed by the engine key, and a check value that tells a wrong key from damage.
func (e *Engine) makeOut(ctx context.Context) error {
	for range conflictTries {
		snaps, err := e.store.View(ctx, []store.Read{{Owner: ownerMeta, Keys: []store.Key{keyFormat, keyRoot}}})
		if err != nil {
			return err
		}
		recs := snaps[0].Records
		if len(recs) == 0 {
			if snaps[0].Rev != 0 {
				return fmt.Errorf("%w: the store's format record is missing", store.ErrCorrupt)
			}
			done, err := e.makeNew(ctx)
			if err != nil {
				return err
			}
			if done {
				return nil
			}
			continue // another engine did
		}
		if len(recs) != 2 {
			return fmt.Errorf("%w: the store's format record or root secret is missing", store.ErrCorrupt)
		}
		err = e.readInstance(ctx, snaps[0].Rev, &recs[0], &recs[1])
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
		// Another engine sealed the root secret anew at the same time.
	}
	return ErrBusy
}

func (e *Engine) readInstance(ctx context.Context, rev uint64, format, root *store.Record) error {
	c := e.codec.of(ownerMeta)
	var f formatRecord
	if err := c.open(format, &f); err != nil {
		return err
	}
	switch {
	case f.Format > storeFormat:
		return fmt.Errorf("%w: store format %d", store.ErrNewer, f.Format)
	case f.Format < 1 || len(f.Instance) != 16:
		return errMalformed
	case (f.Key == 0) != e.codec.plain:
		return fmt.Errorf("%w: a plain store was opened as a sealed one, or the other way round", store.ErrKey)
	}
	if f.Key != 0 {
		check, err := e.keyCheck(f.Key, f.Instance)
		if err != nil {
			return err
		}
		if !bytes.Equal(check, f.Check) {
			return fmt.Errorf("%w: engine key %d is not the one that the store was made with", store.ErrKey, f.Key)
		}
	}
	var r rootRecord
	if err := c.open(root, &r); err != nil {
		return err
	}
	if len(r.Secret) != keySize {
		return errMalformed
	}
	e.codec.useRoot(r.Secret)
	current, err := e.currentKey()
	if err != nil || current == f.Key {
		return err
	}
	// The engine key was rotated: the root secret is sealed by the new one.
	f.Key = current
	return e.writeInstance(ctx, rev, f, r)
}

// currentKey is the number of the current engine key; 0 for a plain store.
func (e *Engine) currentKey() (uint32, error) {
	if e.codec.plain {
		return 0, nil
	}
	key, err := e.codec.engineKey(0)
	if err != nil {
		return 0, err
	}
	return key.id, nil
}

func (e *Engine) keyCheck(id uint32, instance []byte) ([]byte, error) {
	key, err := e.codec.engineKey(id)
	if err != nil {
		return nil, err
	}
	sum := key.secret.sum("check", string(instance))
	return sum[:16], nil
}

func (e *Engine) makeNew(ctx context.Context) (done bool, err error) {
	f := formatRecord{Format: storeFormat, Instance: make([]byte, 16)}
	r := rootRecord{Secret: make([]byte, keySize)}
	rand.Read(f.Instance)
	rand.Read(r.Secret)
	if f.Key, err = e.currentKey(); err != nil {
		return false, err
	}
	err = e.writeInstance(ctx, 0, f, r)
	if errors.Is(err, store.ErrConflict) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	e.codec.useRoot(r.Secret)
	return true, nil
}

func (e *Engine) writeInstance(ctx context.Context, rev uint64, f formatRecord, r rootRecord) (err error) {
	if f.Key != 0 {
		if f.Check, err = e.keyCheck(f.Key, f.Instance); err != nil {
			return err
		}
	}
	c := e.codec.of(ownerMeta)
	format, err := c.sealWith(&sealer{}, store.Record{Key: keyFormat}, &f)
	if err != nil {
		return err
	}
	root, err := c.seal(store.Record{Key: keyRoot}, &r)
	if err != nil {
		return err
	}
	errs, err := e.store.Commit(ctx, []store.Change{{Owner: ownerMeta, Rev: rev, Put: []store.Record{format, root}}})
	if err == nil && errs != nil {
		err = errs[0]
	}
	return err
}

func (c *codec) useRoot(secret []byte) {
	c.pseudonym = newMacer(derive(secret, "pseudonym"))
	c.body = newMacer(derive(secret, "body"))
	c.cursor = newAEAD(derive(secret, "cursor"))
	c.token = newAEAD(derive(secret, "token"))
}

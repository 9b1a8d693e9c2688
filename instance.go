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
		snaps, err := e.store.View(ctx, []store.Read{{Owner: ownerMeta, Keys: []store.Key{keyFormat, keyRoot, keyRestored}}})
		if err != nil {
			return err
		}
		recs := snaps[0].Records
		var restored *store.Record
		if n := len(recs); n > 0 && recs[n-1].Key == keyRestored {
			recs, restored = recs[:n-1], &recs[n-1]
		}
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
		err = e.readInstance(ctx, snaps[0].Rev, &recs[0], &recs[1], restored)
		if errors.Is(err, store.ErrReadOnly) { // who only looks at a store leaves it as it is
			err = nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
		// Another engine did the same at the same time.
	}
	return ErrBusy
}

func (e *Engine) readInstance(ctx context.Context, rev uint64, format, root, restored *store.Record) error {
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
	if err := e.codec.checkKey(&f); err != nil {
		return err
	}
	r, err := e.codec.openRoot(root)
	if err != nil {
		return err
	}
	current, err := e.currentKey()
	if err != nil {
		return err
	}
	rotated := current != f.Key // the root secret is then sealed by the new one
	f.Key = current
	switch {
	case restored != nil:
		if err := c.open(restored, &restoredRecord{}); err != nil {
			return err
		}
		return e.afterRestore(ctx, rev, f, r)
	case rotated:
		return e.writeInstance(ctx, rev, f, r)
	}
	return nil
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

func (c *codec) keyCheck(id uint32, instance []byte) ([]byte, error) {
	key, err := c.engineKey(id)
	if err != nil {
		return nil, err
	}
	sum := key.secret.sum("check", string(instance))
	return sum[:16], nil
}

// checkKey tells a wrong engine key from damage.
func (c *codec) checkKey(f *formatRecord) error {
	if f.Key == 0 {
		return nil
	}
	check, err := c.keyCheck(f.Key, f.Instance)
	if err != nil {
		return err
	}
	if !bytes.Equal(check, f.Check) {
		return fmt.Errorf("%w: engine key %d is not the one that the store was made with", store.ErrKey, f.Key)
	}
	return nil
}

// openRoot takes the root secret into use.
func (c *codec) openRoot(root *store.Record) (r rootRecord, err error) {
	if err := c.of(ownerMeta).open(root, &r); err != nil {
		return r, err
	}
	if len(r.Secret) != keySize {
		return r, errMalformed
	}
	c.useRoot(r.Secret)
	return r, nil
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

// writeInstance writes what kind of store this is, and deletes some keys beside.
func (e *Engine) writeInstance(ctx context.Context, rev uint64, f formatRecord, r rootRecord, without ...store.Key) (err error) {
	if f.Key != 0 {
		if f.Check, err = e.codec.keyCheck(f.Key, f.Instance); err != nil {
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
	errs, err := e.store.Commit(ctx, []store.Change{{Owner: ownerMeta, Rev: rev, Put: []store.Record{format, root}, Delete: without}})
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

package appio

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
)

// Bounds of a logo.
const (
	maxLogo     = 512 << 10 // bytes
	maxLogoSide = 4096      // pixels
)

// PutLogo sets the logo of a service that the organization has prepared: a PNG of 1 to 4,096 pixels a side, at most 512 KiB. It is shown at
// once, without a review, as in IO, and is noted in the history; nil takes it away. A deleted service is ErrConflict.
func (a *Authority) PutLogo(ctx context.Context, id ServiceID, png []byte) error {
	if err := validLogo(png); err != nil {
		return err
	}
	if err := a.e.ready(ctx); err != nil {
		return err
	}
	who, err := a.check(ctx, toEdit)
	if err != nil {
		return err
	}
	if id.validate() != nil {
		return ErrNotFound
	}
	change := a.e.serviceChange(id, []store.Key{keyDraft, keyLogo}, func(tx *draft, old *serviceRecord) (*serviceRecord, error) {
		s, err := a.e.managing(who, func(m *managed) error {
			if err := a.owns(who, m); err != nil {
				return err
			}
			if m.d.Stage == Deleted {
				return fmt.Errorf("%w: the service is deleted", ErrConflict)
			}
			m.log(ServiceLogoChanged, "", nil)
			return nil
		})(tx, old)
		if err != nil {
			return nil, err
		}
		return s, tx.putLogo(png, toMicro(a.e.now()))
	})
	return a.e.do(ctx, change.op) // nothing that is sent depends on it
}

// PutOrganizationLogo sets the logo of the organization itself, likewise. It is not for who is bound to a group of its services.
func (a *Authority) PutOrganizationLogo(ctx context.Context, png []byte) error {
	if err := validLogo(png); err != nil {
		return err
	}
	if err := a.e.ready(ctx); err != nil {
		return err
	}
	who, err := a.check(ctx, toEdit)
	if err != nil {
		return err
	}
	if who.group != "" {
		return fmt.Errorf("%w: the key is of a group", ErrForbidden)
	}
	return a.e.do(ctx, &op{owner: a.e.codec.organization(a.code), keys: []store.Key{keyLogo}, apply: func(tx *draft) error {
		return tx.putLogo(png, toMicro(a.e.now()))
	}})
}

func (d *draft) putLogo(png []byte, at int64) error {
	if len(png) == 0 {
		d.del(keyLogo)
		return nil
	}
	return d.putSealed(store.Record{Key: keyLogo}, &logoRecord{png, at})
}

// Logo is the logo of a service, as a PNG; ErrNotFound: it has none. It is public, as the service is.
func (e *Engine) Logo(ctx context.Context, id ServiceID) ([]byte, error) {
	if id.validate() != nil {
		return nil, ErrNotFound
	}
	return e.logo(ctx, func() store.Owner { return service(id) })
}

// OrganizationLogo is the logo of an organization, likewise.
func (e *Engine) OrganizationLogo(ctx context.Context, code fiscalcode.Organization) ([]byte, error) {
	return e.logo(ctx, func() store.Owner { return e.codec.organization(code) })
}

func (e *Engine) logo(ctx context.Context, owner func() store.Owner) ([]byte, error) {
	if err := e.ready(ctx); err != nil {
		return nil, err
	}
	d, err := e.view(ctx, owner(), store.Range{}, "", keyLogo)
	if err != nil {
		return nil, err
	}
	var r logoRecord
	found, err := d.read(keyLogo, &r)
	if err == nil && !found {
		err = ErrNotFound
	}
	return r.PNG, err
}

const pngMagic = "\x89PNG\r\n\x1a\n"

// validLogo walks the chunks of a PNG, whose lengths and checksums say whether it is whole, and decompresses nothing: a small file may
// hold a picture of any size. What follows its end is refused, so that it is nothing else besides.
func validLogo(png []byte) error {
	if len(png) > maxLogo {
		return invalid("Logo", "at most 512 KiB")
	}
	if len(png) == 0 {
		return nil
	}
	bad := invalid("Logo", "a PNG of 1 to 4096 pixels a side")
	if len(png) < len(pngMagic) || string(png[:len(pngMagic)]) != pngMagic {
		return bad
	}
	rest, data := png[len(pngMagic):], false
	for first := true; ; first = false {
		if len(rest) < 12 {
			return bad
		}
		n := binary.BigEndian.Uint32(rest)
		if uint64(n) > uint64(len(rest)-12) {
			return bad
		}
		kind, content := string(rest[4:8]), rest[8:8+n]
		if crc32.ChecksumIEEE(rest[4:8+n]) != binary.BigEndian.Uint32(rest[8+n:]) || (kind == "IHDR") != first {
			return bad
		}
		rest = rest[12+n:]
		switch kind {
		case "IHDR":
			if n != 13 || !validSide(content[:4]) || !validSide(content[4:8]) {
				return bad
			}
		case "IDAT":
			data = true
		case "IEND":
			if !data || len(rest) > 0 {
				return bad
			}
			return nil
		}
	}
}

func validSide(b []byte) bool {
	n := binary.BigEndian.Uint32(b)
	return n >= 1 && n <= maxLogoSide
}

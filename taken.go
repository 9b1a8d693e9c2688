package appio

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio/store"
)

// An address by a route with Unique has an owner of its own, which names the citizen who took it. That is written first, and then the
// citizen's profile says that the address is proved. Whether it is still taken the profile says; for a while after it was taken it is in
// any case, so that of two who prove an address at the same moment the second finds it taken.
const (
	takenFor  = 10 * time.Minute    // it is taken for so long whatever the profile says
	takenUse  = time.Minute         // the profile is changed within so long, or the address is taken again
	keepTaken = 90 * 24 * time.Hour // after so long it is looked whether it still is
)

var errTakenAddress = fmt.Errorf("%w: somebody else has proved the address", ErrTaken)

// address is the owner of an address, whose case does not matter.
func (c *codec) address(channel, value string) store.Owner {
	return c.name(addressOwner, "address", channel+"\x00"+strings.ToLower(value))
}

// AddressTaken reports whether somebody else has proved an address, or is about to: the citizen cannot then, see Route.Unique. By a route
// without it nothing is taken. One that is not in the profile counts, and above Options.AddressRate it is a [LimitedError]: people could be
// looked for.
func (c *Citizen) AddressTaken(ctx context.Context, channel, value string) (bool, error) {
	owner, err := c.begin(ctx)
	if err != nil || !c.e.unique(channel) {
		return false, err
	}
	p, _, err := c.profile(ctx, owner)
	if err != nil {
		return false, err
	}
	own := slices.ContainsFunc(p.Addresses, func(a Address) bool { return a.Channel == channel && strings.EqualFold(a.Value, value) })
	if !own {
		if err := c.e.checks.ask(owner, c.e.opts.AddressRate, leastAtOnce, c.e.now()); err != nil {
			return false, err
		}
	}
	name := c.e.codec.address(channel, value)
	r, err := c.e.readTaken(ctx, name)
	if err != nil || r == nil || r.Citizen == string(owner) {
		return false, err
	}
	return c.e.stillTaken(ctx, name, r)
}

// unique reports whether a channel's addresses are proved by one citizen each.
func (e *Engine) unique(channel string) bool {
	r := e.route(channel)
	return r != nil && r.Unique
}

// A taking is what lets a citizen's profile say that some addresses are proved.
type taking struct {
	e  *Engine
	at time.Time // of the first; zero: nothing had to be taken
}

// stale reports whether it is too late to rely on it.
func (c taking) stale() bool {
	return !c.at.IsZero() && !c.e.now().Before(c.at.Add(takenUse))
}

// takeNew takes what is proved in a profile and was not before.
func (e *Engine) takeNew(ctx context.Context, owner store.Owner, before, after *Profile) (c taking, err error) {
	for _, a := range after.Addresses {
		was := slices.ContainsFunc(before.Addresses, func(b Address) bool {
			return b.Channel == a.Channel && strings.EqualFold(b.Value, a.Value) && !b.ValidatedAt.IsZero()
		})
		if a.ValidatedAt.IsZero() || was {
			continue
		}
		got, err := e.take(ctx, owner, a.Channel, a.Value)
		if err != nil {
			return c, err
		}
		if c.at.IsZero() {
			c = got
		}
	}
	return c, nil
}

// take makes an address a citizen's, if it is nobody else's.
func (e *Engine) take(ctx context.Context, owner store.Owner, channel, value string) (taking, error) {
	c := taking{e: e}
	if !e.unique(channel) {
		return c, nil
	}
	name := e.codec.address(channel, value)
	for try := 0; ; try++ {
		read, err := e.readTaken(ctx, name)
		if err != nil {
			return c, err
		}
		if read != nil && read.Citizen != string(owner) {
			if holds, err := e.stillTaken(ctx, name, read); err != nil {
				return c, err
			} else if holds {
				return c, errTakenAddress
			}
		}
		c.at = micro(e.now())
		err = e.do(ctx, &op{owner: name, urgent: true, keys: []store.Key{keyTaken}, apply: func(tx *draft) error {
			now, err := tx.readTaken()
			if err != nil {
				return err
			}
			if (now == nil) != (read == nil) || now != nil && *now != *read {
				return errStale
			}
			return tx.putTaken(&takenRecord{string(owner), toMicro(c.at)}, c.at)
		}})
		if !errors.Is(err, errStale) {
			return c, err
		}
		if try == conflictTries {
			return c, ErrBusy
		}
		pause(ctx, jitter(try, time.Millisecond, 100*time.Millisecond))
	}
}

func (d *draft) putTaken(r *takenRecord, now time.Time) error {
	return d.putSealed(store.Record{Key: keyTaken, Lane: cleanUpLane(d.owner), Due: now.Add(keepTaken)}, r)
}

// readTaken is who took an address; nil: nobody did.
func (d *draft) readTaken() (*takenRecord, error) {
	r := &takenRecord{}
	if found, err := d.read(keyTaken, r); err != nil || !found {
		return nil, err
	}
	return r, nil
}

func (e *Engine) readTaken(ctx context.Context, name store.Owner) (*takenRecord, error) {
	d, err := e.view(ctx, name, store.Range{}, "", keyTaken)
	if err != nil {
		return nil, err
	}
	return d.readTaken()
}

// stillTaken looks whether an address was taken just now, or the profile of who took it says that it is proved.
func (e *Engine) stillTaken(ctx context.Context, name store.Owner, r *takenRecord) (bool, error) {
	if age := e.now().Sub(fromMicro(r.At)); age > -takenFor && age < takenFor {
		return true, nil
	}
	d, err := e.view(ctx, store.Owner(r.Citizen), store.Range{}, "", profileKeys...)
	if err != nil {
		return false, err
	}
	p, err := d.readProfile()
	if err != nil || p == nil {
		return false, err
	}
	return slices.ContainsFunc(p.Addresses, func(a addressRecord) bool {
		return a.ValidatedAt != 0 && e.codec.address(a.Channel, a.Value) == name
	}), nil
}

func isTaken(r *store.Record) bool {
	return r.Key == keyTaken && strings.HasPrefix(string(r.Owner), addressOwner)
}

package appio

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/appio-go/appio/store"
)

// The subscriptions feed says, of a day that is over, whom services can reach since then and whom they cannot any more. It is kept by
// owners of its own, of a day and a part of all people each. What a citizen changes leaves, with the change itself, an effect for
// the feed; the numbers of the citizen's consent events are the versions by which it is merged, so that it comes out the same
// in whichever order effects come, and however often.

// A FeedEntry is one person's change in the subscriptions feed of a day.
type FeedEntry struct {
	Hash       string // SHA-256 of the person's fiscal code in upper case, as 64 lower-case hex digits
	Subscribed bool   // the service may write to them; false: it may not
}

// maxFeedDays bounds Options.FeedDays.
const maxFeedDays = 90

// feedParts is how many owners share a day of the feed.
const feedParts = 64

// maxFeedServices is how many services one person's changes of one day may be about, so that they can be taken back in one change. What
// is beyond that is not in the feed; sending asks consent itself.
const maxFeedServices = 400

// A feedOp is what was said last of a person, or of a person and a service, on a day.
type feedOp int8

const (
	feedSilent feedOp = iota
	feedOn
	feedOff
)

func feedOpOf(on bool) feedOp {
	if on {
		return feedOn
	}
	return feedOff
}

// feedSays is what a service reads of a person: what was said of all services, and of this one. It is IO's rule, by which who
// is told both things of opposite kinds is in neither list.
func feedSays(all, one feedOp) feedOp {
	switch {
	case all == feedOn && one != feedOff || all == feedSilent && one == feedOn:
		return feedOn
	case all == feedOff && one != feedOn || all == feedSilent && one == feedOff:
		return feedOff
	}
	return feedSilent
}

func feedHash(code string) []byte {
	sum := sha256.Sum256([]byte(strings.ToUpper(code)))
	return sum[:]
}

func utcDay(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

const dayFormat = time.DateOnly

// feedOwner is where a person stands in a day of the feed.
func (c *codec) feedOwner(day time.Time, hash []byte) store.Owner {
	sum := c.pseudonym.sum("feed part", string(hash))
	return feedPart(day, int(sum[0])%feedParts)
}

func feedPart(day time.Time, part int) store.Owner {
	return store.Owner(fmt.Sprintf("%s%s/%02x", feedOwner, day.UTC().Format(dayFormat), part))
}

// feedAlias is a person's pseudonym within an owner of the feed: a hash of a fiscal code can be tried out.
func (c *ownerCodec) feedAlias(hash []byte) string { return c.short(c.owner, "feed", string(hash)) }

func (c *ownerCodec) feedServicePrefix(id ServiceID) string {
	return prefixFeedService + c.serviceAlias(id) + "/"
}

// feedEffect is what a change of consent means for the feed; nil: nothing.
func (e *Engine) feedEffect(c *consentChange, ev *consentEvent, before, after *consentState, s *serviceRecord) *feedRecord {
	if e.opts.FeedDays == 0 {
		return nil
	}
	r := &feedRecord{At: ev.At, Number: ev.Number}
	p, q := before.profile, after.profile
	switch {
	case c.erase && p != nil:
		r.Hash, r.Op, r.Erase = feedHash(p.Code), feedOff, true
	case c.profile != nil:
		was, is := p.reachable(), q.reachable()
		r.Hash = feedHash(q.Code)
		switch {
		case !was && is:
			r.List = p != nil && p.Mode == q.Mode // another mode starts afresh
			if q.Mode == Auto {
				r.Op = feedOn
			}
		case was && !is:
			r.Op = feedOff
		case is && p.Mode != q.Mode:
			r.Op = feedOpOf(q.Mode == Auto)
		default:
			return nil
		}
	case c.preference != nil && p.reachable() && s != nil && s.Category != Special && ev.Before.Inbox != ev.After.Inbox:
		r.Hash, r.Service, r.Op = feedHash(p.Code), c.service, feedOpOf(ev.After.Inbox)
	default:
		return nil
	}
	return r
}

// reachable reports whether some service may write to the person, as far as the profile goes.
func (p *profileRecord) reachable() bool { return p != nil && p.Inbox && p.Mode != Undecided }

// feedConsent puts the effect of a change of consent on the feed, if it has one.
func (e *Engine) feedConsent(tx *draft, c *consentChange, ev *consentEvent, before, after *consentState) error {
	s, _ := tx.service(c.service)
	r := e.feedEffect(c, ev, before, after, s)
	if r == nil {
		return nil
	}
	key := store.Key(fmt.Sprintf("%s%016x", prefixFeed, r.Number))
	return tx.putSealed(store.Record{Key: key, Lane: effectLane(tx.owner), Due: fromMicro(r.At)}, r)
}

// feed brings an effect to the feed.
func (f *effect) feed(ctx context.Context, r *feedRecord) ([]*op, error) {
	f.keys = func() []store.Key { return nil }
	f.apply = func(tx *draft) error {
		tx.del(f.rec.Key)
		return nil
	}
	e, day := f.e, utcDay(fromMicro(r.At))
	if e.opts.FeedDays == 0 || !e.now().Before(e.feedEnd(day)) {
		return nil, nil
	}
	if !r.Erase {
		services := []feedServiceRecord{}
		var err error
		switch {
		case r.Service != "":
			services = append(services, feedServiceRecord{r.Service, r.Op, r.Number})
		case r.List:
			services, err = e.feedChoices(ctx, f.rec.Owner, r)
		}
		return []*op{e.feedOp(day, r, services)}, err
	}
	ops := []*op{e.feedOp(day, r, nil)}
	for range maxFeedDays {
		day = day.AddDate(0, 0, -1)
		if planted == "feed-kept" {
			break
		}
		ops = append(ops, e.feedForget(day, r.Hash))
	}
	return ops, nil
}

// feedEnd is when a day of the feed is deleted.
func (e *Engine) feedEnd(day time.Time) time.Time { return day.AddDate(0, 0, 1+e.opts.FeedDays) }

// feedChoices are the choices of a citizen that say something else than the mode does: of who becomes reachable they count again. They are as
// they stand now, so that one that was changed on a later day, before the effect came to its turn, is that day's alone.
func (e *Engine) feedChoices(ctx context.Context, citizen store.Owner, r *feedRecord) (choices []feedServiceRecord, err error) {
	for rng := all(prefixPreference, 256); ; {
		d, err := e.view(ctx, citizen, rng, "", profileKeys...)
		if err != nil {
			return nil, err
		}
		p, err := d.readProfile()
		if errors.Is(err, store.ErrCorrupt) || err == nil && p == nil {
			return nil, nil // who checks the store learns of it; or they have gone meanwhile
		} else if err != nil {
			return nil, err
		}
		for i := range d.ranged {
			var c preferenceRecord
			if err := d.open(&d.ranged[i], &c); errors.Is(err, store.ErrCorrupt) {
				continue
			} else if err != nil {
				return nil, err
			}
			if c.SettingsVersion != p.SettingsVersion || c.Inbox == (p.Mode == Auto) || len(choices) == maxFeedServices {
				continue
			}
			s, err := e.readService(ctx, c.Service)
			if errors.Is(err, ErrNotFound) || err == nil && s.Category == Special {
				continue
			} else if err != nil {
				return nil, err
			}
			choices = append(choices, feedServiceRecord{c.Service, feedOpOf(c.Inbox), r.Number})
		}
		if len(d.ranged) < rng.Limit {
			return choices, nil
		}
		rng.From = d.ranged[len(d.ranged)-1].Key + "\x00"
	}
}

// merge takes over what an effect says, unless something later was said.
func (r *feedPersonRecord) merge(effect *feedRecord, services []feedServiceRecord) {
	if effect.Service == "" && (effect.Number > r.Number || planted == "feed-blind") { // what was said of services before has been said of another state
		r.Op, r.Number = effect.Op, effect.Number
		r.Services = slices.DeleteFunc(r.Services, func(s feedServiceRecord) bool { return s.Number < effect.Number })
	}
	for _, s := range services {
		i := slices.IndexFunc(r.Services, func(o feedServiceRecord) bool { return o.Service == s.Service })
		switch {
		case s.Number < r.Number:
		case i >= 0 && (r.Services[i].Number < s.Number || planted == "feed-blind"):
			r.Services[i] = s
		case i < 0 && len(r.Services) < maxFeedServices:
			r.Services = append(r.Services, s)
		}
	}
}

// feedOp merges an effect into a day.
func (e *Engine) feedOp(day time.Time, effect *feedRecord, services []feedServiceRecord) *op {
	c := e.codec.of(e.codec.feedOwner(day, effect.Hash))
	alias := c.feedAlias(effect.Hash)
	key := prefixFeedPerson + store.Key(alias)
	return &op{
		owner: c.owner, keys: []store.Key{key, taskFeed}, most: 2*maxFeedServices + 8,
		apply: func(tx *draft) error {
			r, err := tx.readFeedPerson(key)
			if err != nil {
				return err
			}
			if r == nil {
				r = &feedPersonRecord{}
			}
			before := *r
			before.Services = slices.Clone(r.Services)
			r.merge(effect, services)
			if err := tx.putSealed(store.Record{Key: key}, r); err != nil {
				return err
			}
			if err := tx.putFeedLines(alias, effect.Hash, &before, r); err != nil || tx.get(taskFeed) != nil {
				return err
			}
			return tx.putCleanUp(taskFeed, cleanUpRecord{}, toMicro(e.feedEnd(day)))
		},
	}
}

// feedForget takes a person out of a day.
func (e *Engine) feedForget(day time.Time, hash []byte) *op {
	c := e.codec.of(e.codec.feedOwner(day, hash))
	alias := c.feedAlias(hash)
	key := prefixFeedPerson + store.Key(alias)
	return &op{
		owner: c.owner, keys: []store.Key{key}, most: maxFeedServices + 8,
		apply: func(tx *draft) error {
			r, err := tx.readFeedPerson(key)
			if err != nil || r == nil {
				return err
			}
			tx.del(key)
			return tx.putFeedLines(alias, hash, r, &feedPersonRecord{})
		},
	}
}

// readFeedPerson is what was said of a person on a day; nil: nothing, or what cannot be read.
func (d *draft) readFeedPerson(key store.Key) (*feedPersonRecord, error) {
	rec := d.get(key)
	if rec == nil {
		return nil, nil
	}
	r := &feedPersonRecord{}
	if err := d.open(rec, r); errors.Is(err, store.ErrCorrupt) {
		d.quarantine(rec)
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return r, nil
}

// putFeedLines brings what services read of a person in order: a line of what was said of all services, and one for each service of
// which something was said.
func (d *draft) putFeedLines(alias string, hash []byte, before, after *feedPersonRecord) error {
	line := func(prefix string, was, is feedOp) error {
		key := store.Key(prefix + alias)
		switch {
		case is == feedSilent && was != feedSilent:
			d.del(key)
		case is != was:
			return d.putSealed(store.Record{Key: key}, &feedLineRecord{hash, is})
		}
		return nil
	}
	if err := line(prefixFeedAll, before.Op, after.Op); err != nil {
		return err
	}
	for _, s := range before.Services {
		if err := line(d.feedServicePrefix(s.Service), s.Op, after.of(s.Service)); err != nil {
			return err
		}
	}
	for _, s := range after.Services {
		if err := line(d.feedServicePrefix(s.Service), before.of(s.Service), s.Op); err != nil {
			return err
		}
	}
	return nil
}

func (r *feedPersonRecord) of(id ServiceID) feedOp {
	for _, s := range r.Services {
		if s.Service == id {
			return s.Op
		}
	}
	return feedSilent
}

// SubscriptionsFeed lists who became reachable for this service, or ceased to be, on a UTC day, which is that of the given moment:
// of each person what was said last, of all services by the profile, and of this one by a preference. A Special service's activations are
// not in it, as the service makes them itself. It is in no order, and read forwards only: a Prev cursor is ErrInvalid.
//
// A day can be read once it is over, Options.MaxSkew after midnight, and what was changed on it has come to the feed, which Run or Flush
// sees to; and for Options.FeedDays from then on. Before and after that it is ErrNotFound. Each list counts once, as it is read
// from its start, and above Options.FeedRate it is a [LimitedError]. Who is erased is taken out of the days
// before, and stands among the unsubscribed of the day of the erasure. The service must be live, and its key of scope
// [ReadFeed], or it is ErrForbidden; without Options.FeedDays it is ErrUnsupported.
func (s *Sender) SubscriptionsFeed(day time.Time) List[FeedEntry] {
	day = utcDay(day)
	name := "feed\x00" + string(s.id) + "\x00" + day.Format(dayFormat)
	var counted atomic.Bool
	return newList(s.e, name, func(ctx context.Context, p position, limit int) (f found[FeedEntry], err error) {
		if p.before {
			return f, invalid("Cursor", "the feed is read forwards only")
		}
		if err := s.mayReadFeed(ctx); err != nil {
			return f, err
		}
		if p.key == "" && !counted.Load() {
			if err := s.e.feeds.ask(s.id, s.e.opts.FeedRate, leastAtOnce, s.e.now()); err != nil {
				return f, err
			}
			counted.Store(true)
		}
		if err := s.e.feedReady(ctx, day, p.key == ""); err != nil {
			return f, err
		}
		part, after := 0, ""
		if p.key != "" {
			if _, err := fmt.Sscanf(p.key[:2], "%02x", &part); err != nil {
				return f, invalid("Cursor", "one that this list gave")
			}
			after = p.key[2:]
		}
		for ; part < feedParts && len(f.items) < limit; part, after = part+1, "" {
			if err := s.readFeed(ctx, &f, day, part, after, limit); err != nil {
				return f, err
			}
		}
		return f, nil
	})
}

func (s *Sender) mayReadFeed(ctx context.Context) error {
	if s.e.opts.FeedDays == 0 {
		return unsupported("Options.FeedDays")
	}
	if s.id.validate() != nil {
		return errNoService
	}
	r, err := s.e.readService(ctx, s.id)
	if err != nil {
		return err
	}
	if err := s.allowed(r, ReadFeed); err != nil {
		return err
	}
	if r.State != Live {
		return fmt.Errorf("%w: a service that is not live may not read the subscriptions feed", ErrForbidden)
	}
	return nil
}

// feedReady reports why a day cannot be read. With whole it is looked whether all has come to the feed.
func (e *Engine) feedReady(ctx context.Context, day time.Time, whole bool) error {
	now, end := e.now(), day.AddDate(0, 0, 1)
	if now.Before(end.Add(e.opts.MaxSkew)) || !now.Before(e.feedEnd(day)) {
		return fmt.Errorf("%w: the day is not over, or not kept any more", ErrNotFound)
	}
	if !whole {
		return nil
	}
	for lane := range store.Lane(effectLanes) {
		q := store.DueQuery{Lanes: []store.Lane{laneEffect + lane}, Until: end.Add(-time.Microsecond), Limit: 256}
		for {
			recs, err := e.store.Due(ctx, q)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(recs, func(r store.Record) bool { return strings.HasPrefix(string(r.Key), prefixFeed) }) && planted != "feed-early" {
				return fmt.Errorf("%w: not all of the day has come to the feed yet", ErrNotFound)
			}
			if len(recs) < q.Limit {
				break
			}
			last := recs[len(recs)-1]
			q.After = store.Position{Due: last.Due, Owner: last.Owner, Key: last.Key}
		}
	}
	return nil
}

// readFeed adds what one owner of a day has for the service, from after a person on, until there are enough. Both kinds of lines are in
// the order of the persons' pseudonyms, and are read side by side.
func (s *Sender) readFeed(ctx context.Context, f *found[FeedEntry], day time.Time, part int, after string, limit int) error {
	c := s.e.codec.of(feedPart(day, part))
	for {
		people, cut, err := s.feedPage(ctx, c, after, limit)
		if err != nil {
			return err
		}
		for _, p := range people {
			after = p.alias
			if says := feedSays(p.all, p.one); says != feedSilent {
				if f.add(FeedEntry{hex.EncodeToString(p.hash), says == feedOn}, fmt.Sprintf("%02x%s", part, p.alias)); len(f.items) == limit {
					return nil
				}
			}
		}
		if !cut {
			return nil
		}
	}
}

// A feedPerson is what a service finds of a person.
type feedPerson struct {
	alias    string
	hash     []byte
	all, one feedOp
}

// feedPage reads the next people, up to where both kinds of lines are known; cut says that there may be more.
func (s *Sender) feedPage(ctx context.Context, c *ownerCodec, after string, limit int) (people []feedPerson, cut bool, err error) {
	at, until := map[string]int{}, ""
	for i, prefix := range []string{prefixFeedAll, c.feedServicePrefix(s.id)} {
		d, err := s.e.view(ctx, c.owner, position{key: after}.rangeOf(prefix, limit, false), "")
		if err != nil {
			return nil, false, err
		}
		last := ""
		for j := range d.ranged {
			rec := &d.ranged[j]
			last = strings.TrimPrefix(string(rec.Key), prefix)
			var line feedLineRecord
			if err := d.open(rec, &line); err != nil {
				return nil, false, err
			}
			k, ok := at[last]
			if !ok {
				k = len(people)
				at[last], people = k, append(people, feedPerson{alias: last, hash: line.Hash})
			}
			if i == 0 {
				people[k].all = line.Op
			} else {
				people[k].one = line.Op
			}
		}
		if len(d.ranged) == limit {
			if cut = true; until == "" || last < until {
				until = last
			}
		}
	}
	slices.SortFunc(people, func(a, b feedPerson) int { return strings.Compare(a.alias, b.alias) })
	if cut {
		people = slices.DeleteFunc(people, func(p feedPerson) bool { return p.alias > until })
	}
	return people, cut, nil
}

// feedErased takes away a page of a day whose time is over.
func (d *draft) feedErased(task store.Key) {
	for i := range d.ranged {
		d.del(d.ranged[i].Key)
	}
	if len(d.ranged) < cleanUpPage {
		d.del(task)
	}
}

package appio

import (
	"bytes"
	"context"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// A tampered store shows records otherwise than they are, and only seems to take changes, so that whatever is asked of an
// engine on it, the next question finds it as it was.
type tampered struct {
	store.Store
	touch func(r *store.Record) // nil: nothing is changed

	mu    sync.Mutex
	seen  map[place]bool // what was read
	taken []store.Change
}

type place struct {
	owner store.Owner
	key   store.Key
}

func (p place) String() string { return fmt.Sprintf("%s %q", p.owner, string(p.key)) }

func placeOf(r *store.Record) place { return place{r.Owner, r.Key} }

func (s *tampered) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	snaps, err := s.Store.View(ctx, reads)
	for i := range snaps {
		s.show(snaps[i].Records)
	}
	return snaps, err
}

func (s *tampered) Due(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
	recs, err := s.Store.Due(ctx, q)
	s.show(recs)
	return recs, err
}

func (s *tampered) show(recs []store.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range recs {
		if recs[i].Value == nil {
			continue
		}
		if s.seen != nil {
			s.seen[placeOf(&recs[i])] = true
		}
		if s.touch != nil {
			s.touch(&recs[i])
		}
	}
}

func (s *tampered) Commit(_ context.Context, changes []store.Change) ([]error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = append(s.taken, changes...)
	return nil, nil
}

// A court asks an engine on a tampered store everything, and judges the answers by those of the store as it is.
type court struct {
	t       *testing.T
	w       *world
	s       *tampered
	e       *Engine
	asks    []question
	want    []any
	touches map[place][]int // the questions that read a record
	notices map[place][]int // those that notice damage
}

func newCourt(t *testing.T, w *world) *court {
	t.Helper()
	c := &court{
		t: t, w: w, s: &tampered{Store: undumpStore(t, w.dump)}, asks: append(w.questions(), w.deeds()...),
		touches: map[place][]int{}, notices: map[place][]int{},
	}
	clock := &worldClock{now: w.Now.Add(time.Hour)} // no lease of the dump stands
	var err error
	c.e, err = New(c.s, worldOptions(w.ring, clock.Now, func(context.Context, Delivery) error { return nil }))
	require.NoError(t, err)
	t.Cleanup(func() { c.e.Close() })
	require.NoError(t, c.e.ready(t.Context()))
	for i := range c.asks {
		c.s.seen = map[place]bool{}
		c.want = append(c.want, c.ask(i))
		for p := range c.s.seen {
			c.touches[p] = append(c.touches[p], i)
		}
	}
	c.s.seen = nil
	for i := range c.asks { // the same question has the same answer
		require.Equal(t, c.want[i], c.ask(i), c.asks[i].name)
	}
	return c
}

var ulidPattern = regexp.MustCompile(`[0-9A-HJKMNP-TV-Z]{26}`)

// ask is the answer to a question, and for a deed also which records it would write.
func (c *court) ask(i int) any {
	c.s.taken = nil
	v, err := c.asks[i].ask(c.t.Context(), c.e)
	if err != nil {
		return err
	}
	var written []string
	for _, ch := range c.s.taken {
		for _, r := range ch.Put {
			written = append(written, fmt.Sprintf("%s put %q %d %s", ch.Owner, ulidPattern.ReplaceAllString(string(r.Key), "new"), r.Lane, r.Due))
		}
		for _, k := range ch.Delete {
			written = append(written, fmt.Sprintf("%s delete %q", ch.Owner, string(k)))
		}
	}
	if written == nil {
		return asJSON(v)
	}
	slices.Sort(written)
	return written
}

// deeds are calls that change something: what they read, they must not take for something else.
func (w *world) deeds() (qs []question) {
	add := func(name string, do func(context.Context, *Engine) error) {
		qs = append(qs, question{name, func(ctx context.Context, e *Engine) (any, error) { return nil, do(ctx, e) }})
	}
	login := func(m worldMessage) Identity { return Identity{Code: m.To, Level: L2} }
	for i, m := range w.Messages {
		if i < 7 || m.To == anna {
			add(fmt.Sprintf("send again %02d", i), func(ctx context.Context, e *Engine) error {
				_, err := e.Sender(m.Service).Send(ctx, Message{To: m.To, Subject: "Un avviso di prova", Markdown: goldenText})
				return err
			})
			add(fmt.Sprintf("mark read %02d", i), func(ctx context.Context, e *Engine) error { return e.Citizen(login(m)).MarkRead(ctx, m.ID) })
			add(fmt.Sprintf("archive %02d", i), func(ctx context.Context, e *Engine) error { return e.Citizen(login(m)).Archive(ctx, m.ID, true) })
		}
		if m.Key != "" {
			add(fmt.Sprintf("send with a used key %02d", i), func(ctx context.Context, e *Engine) error {
				_, err := e.Sender(m.Service).Send(ctx, Message{To: m.To, Subject: "Un avviso di prova", Markdown: goldenText, Key: m.Key})
				return err
			})
		}
	}
	for _, code := range w.Citizens {
		of := " of " + string(code)
		me := Identity{Code: code, Level: L2}
		add("choose"+of, func(ctx context.Context, e *Engine) error {
			return e.Citizen(me).SetPreference(ctx, "tari", Preference{Inbox: true})
		})
		add("another mode"+of, func(ctx context.Context, e *Engine) error {
			return e.Citizen(me).UpdateProfile(ctx, func(p *Profile) error { p.Mode, p.Inbox = Manual, true; return nil })
		})
		add("erase"+of, func(ctx context.Context, e *Engine) error { return e.Citizen(me).Erase(ctx) })
		add("activate"+of, func(ctx context.Context, e *Engine) error {
			return e.Sender("invalidi").Activate(ctx, code, Inactive, w.Now)
		})
	}
	add("withdraw", func(ctx context.Context, e *Engine) error { return e.Withdraw(ctx, w.Token) })
	for _, id := range w.Services {
		add("change service "+string(id), func(ctx context.Context, e *Engine) error {
			return e.PutService(ctx, Service{ID: id, Name: "Un altro nome", Organization: goldenOrg, State: Live})
		})
	}
	add("a key of another service", func(ctx context.Context, e *Engine) error { return e.PutKey(ctx, "mensa", Secondary, worldKey) })
	return qs
}

// of are the questions that read the records at these places.
func (c *court) of(at ...place) (asked []int) {
	for _, p := range at {
		asked = append(asked, c.touches[p]...)
	}
	slices.Sort(asked)
	return slices.Compact(asked)
}

// few are the questions to ask about a record at this place, if not all: one that notices any damage, and, from 1, the n-th.
func (c *court) few(at place, n int) []int {
	all := c.of(at)
	if len(all) == 0 {
		return nil
	}
	if _, ok := c.notices[at]; !ok {
		_, c.notices[at] = c.judge(func(r *store.Record) {
			if placeOf(r) == at {
				r.Value[len(r.Value)-1] ^= 1
			}
		}, all)
	}
	var few []int
	if noticed := c.notices[at]; len(noticed) > 0 {
		few = append(few, noticed[0])
	}
	if n > 0 || len(few) == 0 {
		few = append(few, all[n%len(all)])
	}
	return few
}

// judge asks while touch changes what is shown of records. It returns what was answered wrongly, and which questions were
// answered by an error.
func (c *court) judge(touch func(r *store.Record), asked []int) (wrong []string, refused []int) {
	c.s.touch = touch
	defer func() { c.s.touch = nil }()
	for _, i := range asked {
		got := c.ask(i)
		err, failed := got.(error)
		switch want, wanted := c.want[i].(error); {
		case failed && (errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrKey) || errors.Is(err, store.ErrNewer)):
			refused = append(refused, i)
		case failed && wanted && err.Error() == want.Error():
		case failed || wanted:
			wrong = append(wrong, fmt.Sprintf("%s: %v instead of %v", c.asks[i].name, got, c.want[i]))
		case c.asks[i].name == "parked": // a damaged one is left out, until Replay puts it aside
			all := c.want[i].([]any)
			for _, one := range got.([]any) {
				if !slices.ContainsFunc(all, func(a any) bool { return differs(a, one) == "" }) {
					wrong = append(wrong, "parked: one that is not")
				}
			}
			if len(got.([]any)) < len(all) {
				refused = append(refused, i)
			}
		case differs(asJSON(c.want[i]), asJSON(got)) != "" || differs(asJSON(got), asJSON(c.want[i])) != "":
			wrong = append(wrong, fmt.Sprintf("%s: %v", c.asks[i].name, differs(asJSON(c.want[i]), asJSON(got))))
		}
	}
	return wrong, refused
}

// unread reports whether no call opens a record: that it is there is all that counts, or it is work, or its owner is being
// erased and all that is read is what outlives that.
func (c *court) unread(p place) bool {
	k := string(p.key)
	if p.owner == c.e.codec.citizen(elena) && (strings.HasPrefix(k, prefixMessage) || strings.HasPrefix(k, prefixPreference)) {
		return true
	}
	return p.owner == ownerMeta || p.key == keyTombstone || strings.HasPrefix(k, prefixCleanUp) || strings.HasPrefix(k, prefixQuarantine)
}

// mustRefuse checks that no answer is wrong while touch changes records at these places, and that someone notices: who that
// was is returned.
func (c *court) mustRefuse(t *testing.T, what string, touch func(*store.Record), asked []int, at ...place) (refused []int) {
	t.Helper()
	wrong, refused := c.judge(touch, asked)
	if len(wrong) > 0 {
		t.Errorf("%v, %s:\n%s", at, what, strings.Join(wrong, "\n"))
	}
	if len(refused) == 0 && !slices.ContainsFunc(at, c.unread) {
		t.Errorf("%v, %s: nobody noticed", at, what)
	}
	return refused
}

func TestDamageIsNeverServed(t *testing.T) {
	t.Parallel()
	for name, ring := range map[string]Keyring{"sealed": RandomKeys(), "with checksums": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ring)
			c := newCourt(t, w)
			for i := range w.dump {
				r := &w.dump[i]
				at := placeOf(r)
				all := c.of(at)
				if c.unread(at) && len(all) == 0 || at.owner == ownerMeta {
					continue
				}
				try := func(asked []int, what string, change func(r *store.Record)) []int {
					return c.mustRefuse(t, what, func(r *store.Record) {
						if placeOf(r) == at {
							change(r)
						}
					}, asked, at)
				}
				// Of each byte one bit, and of the header and the last byte every bit. All is asked now and then, and otherwise
				// who notices, and others in turn.
				for n := range r.Value {
					if ring == nil && n >= headerSize && (n+i)%5 != 0 {
						continue // a checksum does not care which
					}
					for bit := range 8 {
						asked := all
						switch end := n == len(r.Value)-1; {
						case bit != n%8 && n >= headerSize && !end:
							continue
						case bit != n%8 || n >= headerSize && !end && n%4 > 0:
							asked = c.few(at, 0)
						case n >= headerSize && !end:
							asked = c.few(at, n)
						}
						try(asked, fmt.Sprintf("byte %d bit %d", n, bit), func(r *store.Record) { r.Value[n] ^= 1 << bit })
					}
				}
				try(all, "cut to nothing", func(r *store.Record) { r.Value = nil }) // as a store may give back an empty value
				for _, n := range []int{0, 1, headerSize, headerSize + tagSize, len(r.Value) / 2, len(r.Value) - 1} {
					try(c.few(at, n+1), fmt.Sprintf("cut at %d", n), func(r *store.Record) { r.Value = r.Value[:n] })
				}
				for n, lane := range []store.Lane{0, 1, laneDelivery, laneDelivery + 1, laneCleanUp, laneParked, laneQuarantined, 0xffff} {
					if lane != r.Lane {
						try(c.few(at, n+1), fmt.Sprintf("lane %#x", lane), func(r *store.Record) { r.Lane = lane })
					}
				}
				for n, due := range []time.Time{{}, w.Now, r.Due.Add(time.Microsecond), r.Due.Add(-time.Hour)} {
					if !due.Equal(r.Due) {
						try(c.few(at, n+1), fmt.Sprintf("due %s", due), func(r *store.Record) { r.Due = due })
					}
				}
			}
		})
	}
}

func TestSwappedRecordsAreNeverServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, RandomKeys())
	c := newCourt(t, w)
	swapped := 0
	for i := range w.dump {
		for j := range i {
			a, b := w.dump[i], w.dump[j]
			if a.Owner == ownerMeta || b.Owner == ownerMeta {
				continue
			}
			// All pairs within an owner; across owners those of one kind, and some others.
			if a.Owner != b.Owner && a.Key[:1] != b.Key[:1] && (i+j)%7 != 0 {
				continue
			}
			asked := append(c.few(placeOf(&a), i), c.few(placeOf(&b), j)...)
			if len(asked) == 0 {
				continue
			}
			swapped++
			for _, whole := range []bool{false, true} {
				touch := func(r *store.Record) {
					from := &a
					switch placeOf(r) {
					case placeOf(&a):
						from = &b
					case placeOf(&b):
					default:
						return
					}
					r.Value = bytes.Clone(from.Value)
					if whole {
						r.Lane, r.Due = from.Lane, from.Due
					}
				}
				c.mustRefuse(t, fmt.Sprintf("swapped, whole %t", whole), touch, asked, placeOf(&a), placeOf(&b))
			}
		}
	}
	require.Greater(t, swapped, 500)
}

// A court that lets a forgery pass would find nothing: what it says of records that were sealed anew after a change, as if
// nothing but the change were checked by the tag, shows that it does.
func TestTheCourtFindsForgeries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, RandomKeys())
	c := newCourt(t, w)
	openers := w.openers(t, &codec{ring: w.ring})
	forge := func(key store.Key, owner store.Owner, v any, change func()) (at place, touch func(*store.Record)) {
		for i := range w.dump {
			r := w.dump[i]
			if r.Owner != owner || !strings.HasPrefix(string(r.Key), string(key)) {
				continue
			}
			require.NoError(t, openers[owner].open(&r, v))
			change()
			h, err := readHeader(r.Value)
			require.NoError(t, err)
			s, err := openers[owner].engineSealer(0)
			require.NoError(t, err)
			if h.flags&flagPersonal != 0 {
				s = openers[owner].personal
			}
			forged, err := openers[owner].sealWith(s, r, v)
			require.NoError(t, err)
			return placeOf(&r), func(r *store.Record) {
				if placeOf(r) == placeOf(&forged) {
					r.Value = forged.Value
				}
			}
		}
		t.Fatalf("no record %s", key)
		return at, nil
	}
	citizen := c.e.codec.citizen
	var (
		p  profileRecord
		m  messageRecord
		d  decisionRecord
		ev consentEvent
		s  serviceRecord
		k  apiKeyRecord
		x  parkedRecord
		i  repeatRecord
	)
	for name, f := range map[string]struct {
		key    store.Key
		owner  store.Owner
		v      any
		change func()
	}{
		"a switch":   {keyProfile, citizen(anna), &p, func() { p.Inbox = false }},
		"a subject":  {prefixMessage, citizen(anna), &m, func() { m.Subject += "!" }},
		"a decision": {prefixDecision, citizen(anna), &d, func() { d.Status = Rejected }},
		"an event":   {prefixHistory, citizen(anna), &ev, func() { ev.At++ }},
		"a service":  {keyService, service("tari"), &s, func() { s.State = Stopped }},
		"a key":      {keyAPIKey, c.e.codec.apiKey(keyHash(worldKey)), &k, func() { k.Service = "mensa" }},
		"a parked":   {prefixParked, citizen(gino), &x, func() { x.Entry.Cause = "another" }},
		"an old send": {prefixRepeat, citizen(fabio), &i, func() {
			m := Message{To: fabio, Subject: "Un avviso di prova", Markdown: goldenText}.normal()
			var err error
			i.Body, err = c.e.codec.bodyHash(&m)
			require.NoError(t, err)
		}},
	} {
		at, touch := forge(f.key, f.owner, f.v, f.change)
		wrong, refused := c.judge(touch, c.of(at))
		require.NotZero(t, len(wrong)+len(refused), "%s: nobody looks at it", name)
		if name == "an event" { // the next one has its hash
			require.Empty(t, wrong, name)
		} else {
			require.NotEmpty(t, wrong, name)
		}
	}
}

// Records that say the same, without a seal: whoever can write to the store can make them.
func TestUnsealedRecordsAreNeverServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, RandomKeys())
	c := newCourt(t, w)
	tried := 0
	for _, p := range w.payloads(t) {
		at := placeOf(p.record)
		if len(c.touches[at]) == 0 || at.owner == ownerMeta {
			continue
		}
		tried++
		for _, s := range []*sealer{{}, {flags: flagPersonal}} {
			c.mustRefuse(t, fmt.Sprintf("flags %#x", s.flags), func(r *store.Record) {
				if placeOf(r) == at {
					r.Value = s.seal(at.owner, r, p.payload)
				}
			}, c.of(at), at)
		}
	}
	require.Greater(t, tried, 50)
}

// What an earlier life of a person left, put back into the store after an erasure and a new beginning.
func TestRecordsOfAnEarlierLife(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	ring := RandomKeys()
	w := newWorld(t, ring)
	s := undumpStore(t, w.dump)
	clock := &worldClock{now: w.Now}
	e, err := New(s, worldOptions(ring, clock.Now, func(context.Context, Delivery) error { return nil }))
	require.NoError(t, err)
	me := e.Citizen(Identity{Code: anna, Level: L2})
	clock.Advance(time.Hour) // no lease of the dump stands
	require.NoError(t, me.Erase(ctx))
	_, err = e.Flush(ctx)
	require.NoError(t, err)
	clock.Advance(time.Hour)
	require.NoError(t, me.SetMode(ctx, Auto))
	require.NoError(t, me.SetPreference(ctx, "fse", Preference{Inbox: true}))
	r, err := e.Sender("tari").Send(ctx, Message{To: anna, Subject: "Un avviso di prova", Markdown: goldenText})
	require.NoError(t, err)
	require.NoError(t, me.MarkRead(ctx, r.ID))
	require.NoError(t, e.Close())

	old := map[place]store.Record{}
	for _, r := range w.dump {
		if r.Owner == e.codec.citizen(anna) {
			old[placeOf(&r)] = r
		}
	}
	life := *w
	life.Now, life.dump = clock.Now(), dumpStore(t, s)
	life.Messages = append(life.Messages, worldMessage{To: anna, Service: "tari", ID: r.ID})
	c := newCourt(t, &life)

	t.Run("in the place of what is there", func(t *testing.T) {
		tried := 0
		for at, r := range old {
			if slices.ContainsFunc(life.dump, func(n store.Record) bool { return placeOf(&n) == at && !bytes.Equal(n.Value, r.Value) }) {
				tried++
				c.mustRefuse(t, "an old one", func(now *store.Record) {
					if placeOf(now) == at {
						*now = r
					}
				}, c.of(at), at)
			}
		}
		require.GreaterOrEqual(t, tried, 3) // the data key, the profile, the preference
	})
	t.Run("where nothing is any more", func(t *testing.T) {
		tried := 0
		for at, r := range old {
			if slices.ContainsFunc(life.dump, func(n store.Record) bool { return placeOf(&n) == at }) || r.Key == keyTombstone {
				continue
			}
			h, err := readHeader(r.Value)
			require.NoError(t, err)
			if h.flags&flagPersonal == 0 {
				continue // open work and the like: it says nothing, and consent is read before anything is done with it
			}
			tried++
			planted := life
			planted.dump = append(slices.Clone(life.dump), r)
			e, err := New(undumpStore(t, planted.dump), worldOptions(ring, func() time.Time { return life.Now.Add(time.Hour) }, func(context.Context, Delivery) error { return nil }))
			require.NoError(t, err)
			noticed := 0
			for i, q := range c.asks[:len(w.questions())] {
				v, err := q.ask(ctx, e)
				switch want, wanted := c.want[i].(error); {
				case errors.Is(err, store.ErrCorrupt):
					noticed++
				case err != nil && wanted && err.Error() == want.Error():
				case err != nil || wanted || differs(c.want[i], asJSON(v)) != "" || differs(asJSON(v), c.want[i]) != "":
					t.Errorf("%s: %s: %v, %v instead of %v", at, q.name, err, asJSON(v), c.want[i])
				}
			}
			if strings.HasPrefix(string(r.Key), prefixMessage) && !strings.HasSuffix(string(r.Key), stateSuffix) {
				require.Positive(t, noticed, at)
			}
			require.NoError(t, e.Close())
		}
		require.Greater(t, tried, 5)
	})
}

// A day is what a Flush on a world with one record damaged leads to.
type day struct {
	sent    map[DeliveryID]string
	after   map[place]store.Record
	health  Health
	flushed error
}

func (w *world) live(t *testing.T, records []store.Record, later time.Duration) (d day) {
	t.Helper()
	s := undumpStore(t, records)
	d.sent = map[DeliveryID]string{}
	var mu sync.Mutex
	e, err := New(s, worldOptions(w.ring, func() time.Time { return w.Now.Add(later) }, func(_ context.Context, m Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		d.sent[m.ID] = m.Channel
		return nil
	}))
	require.NoError(t, err)
	defer e.Close()
	_, d.flushed = e.Flush(t.Context())
	d.health, err = e.Health(t.Context())
	require.NoError(t, err)
	d.after = map[place]store.Record{}
	for _, r := range dumpStore(t, s) {
		d.after[placeOf(&r)] = r
	}
	return d
}

// workFlaws lives a day with one piece of due work changed, and says what is wrong with it: the work must not be done, must be
// put aside with its bytes unchanged, or left alone if it is of a later version or another key, and all other work be done.
func (w *world) workFlaws(t *testing.T, want day, changed store.Record, of []DeliveryID, later time.Duration) (flaws []string) {
	t.Helper()
	records := slices.Clone(w.dump)
	for i := range records {
		if placeOf(&records[i]) == placeOf(&changed) {
			records[i] = changed
		}
	}
	got := w.live(t, records, later)
	flaw := func(format string, args ...any) { flaws = append(flaws, fmt.Sprintf(format, args...)) }
	if got.flushed != nil {
		flaw("Flush: %v", got.flushed)
	}
	for id := range want.sent {
		if _, ok := got.sent[id]; !ok && !slices.Contains(of, id) {
			flaw("other work was not done")
		}
	}
	for id := range got.sent {
		if slices.Contains(of, id) {
			flaw("damaged work was done")
		} else if _, ok := want.sent[id]; !ok {
			flaw("work was made up")
		}
	}
	_, err := (&codec{ring: w.ring, plain: w.ring == nil}).of(changed.Owner).payload(&changed)
	left, stays := got.after[placeOf(&changed)]
	switch {
	case errors.Is(err, store.ErrNewer) || errors.Is(err, store.ErrKey):
		if !stays || !bytes.Equal(left.Value, changed.Value) || left.Lane != changed.Lane || !left.Due.Equal(changed.Due) {
			flaw("it was not left alone")
		}
	case changed.Due.After(w.Now.Add(later)): // its time has not come
		if !stays || !bytes.Equal(left.Value, changed.Value) {
			flaw("it was not left for its time")
		}
	default:
		if stays {
			flaw("it was not put aside")
		}
		aside := got.after[place{changed.Owner, quarantineKey(&changed)}]
		if !bytes.Equal(aside.Value, changed.Value) || aside.Lane != laneQuarantined {
			flaw("it was not put aside as it was")
		}
		if got.health.Quarantined != want.health.Quarantined+1 {
			flaw("%d are counted as put aside", got.health.Quarantined)
		}
	}
	return flaws
}

func TestDamagedWorkIsPutAside(t *testing.T) {
	t.Parallel()
	for name, ring := range map[string]Keyring{"sealed": RandomKeys(), "with checksums": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ring)
			const later = 2 * time.Hour
			want := w.live(t, w.dump, later)
			require.NoError(t, want.flushed)
			require.Len(t, want.sent, 4)
			oc := w.openers(t, &codec{ring: ring, plain: ring == nil})
			some := map[string]int{} // by kind
			for _, r := range w.dump {
				var work workRecord
				switch {
				case strings.HasPrefix(string(r.Key), prefixWaiting), strings.HasPrefix(string(r.Key), prefixLeased):
					require.NoError(t, oc[r.Owner].open(&r, &work))
				case strings.HasPrefix(string(r.Key), prefixCleanUp):
				default:
					continue
				}
				kind := string(r.Key[:min(len(r.Key), 6)])
				some[kind]++
				var of []DeliveryID
				for _, en := range work.Entries {
					of = append(of, en.ID)
				}
				if r.Owner == oc[r.Owner].citizen(elena) && r.Key != taskErase {
					continue // it is erased, or may be before it is looked at
				}
				try := func(what string, change func(r *store.Record)) {
					changed := r
					changed.Value = bytes.Clone(r.Value)
					change(&changed)
					for _, f := range w.workFlaws(t, want, changed, of, later) {
						t.Errorf("%s, %s: %s", placeOf(&r), what, f)
					}
				}
				for n := range r.Value {
					if n >= headerSize && (n+some[kind])%7 != 0 && (ring == nil || some[kind] > 1) {
						continue // every byte of one of each kind
					}
					try(fmt.Sprintf("byte %d", n), func(r *store.Record) { r.Value[n] ^= 1 << (n % 8) })
				}
				try("format of a later version", func(r *store.Record) { r.Value[0]++ })
				try("flags of a later version", func(r *store.Record) { r.Value[1] |= 2 })
				try("cut", func(r *store.Record) { r.Value = r.Value[:len(r.Value)-1] })
				try("due earlier", func(r *store.Record) { r.Due = r.Due.Add(-time.Microsecond) })
				try("due later", func(r *store.Record) { r.Due = w.Now.Add(later - time.Second) })
				try("due much later", func(r *store.Record) { r.Due = w.Now.Add(later + time.Second) })
				try("another lane of the kind", func(r *store.Record) { r.Lane ^= 1 })
				try("another's", func(r *store.Record) {
					for _, o := range w.dump {
						if o.Lane == r.Lane && placeOf(&o) != placeOf(r) {
							r.Value = o.Value
						}
					}
					r.Value = bytes.Clone(r.Value)
					r.Value[len(r.Value)-1] ^= 1 // there may be no other
				})
			}
			for _, kind := range []string{"q/w/01", "q/l/01", "z/void", "z/eras", "z/trim"} {
				require.Positive(t, some[kind], kind)
			}
		})
	}

	t.Run("a tag that leaves out the due time is found out", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, RandomKeys())
		oc := w.openers(t, &codec{ring: w.ring})
		// Now: the next attempt for Bruno is minutes away. A due time that is changed and not noticed makes it come at once.
		want := w.live(t, w.dump, 0)
		for _, r := range w.dump {
			if r.Owner != oc[r.Owner].citizen(bruno) || !strings.HasPrefix(string(r.Key), prefixWaiting) {
				continue
			}
			var work workRecord
			require.NoError(t, oc[r.Owner].open(&r, &work))
			of := []DeliveryID{work.Entries[0].ID}
			require.NotContains(t, want.sent, of[0])
			changed := r
			changed.Due = w.Now
			require.Empty(t, w.workFlaws(t, want, changed, of, 0), "the codec in use")

			forged := changed // what a codec that does not look at the due time would take for its own
			work.Entries[0].Next = toMicro(w.Now)
			forged, err := oc[r.Owner].seal(forged, &work)
			require.NoError(t, err)
			require.Contains(t, w.workFlaws(t, want, forged, of, 0), "damaged work was done")
			return
		}
		t.Fatal("no work that waits")
	})
}

// A record whose lane and due time were changed comes up where it does not belong. Whatever it is, it is not lost, nothing
// stops for it, and what is no work stays where it is, so that who asks for it learns that it is damaged.
func TestRecordsInAnotherLane(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t, RandomKeys())
	c := &codec{ring: w.ring}
	oc := w.openers(t, c)
	whose := map[DeliveryID]store.Owner{}
	for _, r := range w.dump {
		var work workRecord
		if strings.HasPrefix(string(r.Key), "q/") && oc[r.Owner].open(&r, &work) == nil {
			for _, en := range work.Entries {
				whose[en.ID] = r.Owner
			}
		}
	}
	const later = 2 * time.Hour
	want := w.live(t, w.dump, later)
	for i, r := range w.dump {
		if r.Owner == ownerMeta || r.Owner == c.citizen(elena) || strings.HasPrefix(string(r.Key), prefixQuarantine) {
			continue
		}
		for _, lane := range []store.Lane{laneDelivery + 9, laneCleanUp + 3, laneParked} {
			records := slices.Clone(w.dump)
			moved := &records[i]
			moved.Lane, moved.Due = lane, w.Now
			s := undumpStore(t, records)
			sent := map[DeliveryID]bool{}
			var mu sync.Mutex
			e, err := New(s, worldOptions(w.ring, func() time.Time { return w.Now.Add(later) }, func(_ context.Context, d Delivery) error {
				mu.Lock()
				defer mu.Unlock()
				sent[d.ID] = true
				return nil
			}))
			require.NoError(t, err)
			_, err = e.Flush(ctx)
			require.NoError(t, err)
			_, err = gather(ctx, e.Parked())
			require.NoError(t, err)
			at := fmt.Sprintf("%s, in lane %#x", placeOf(moved), lane)
			require.NotPanics(t, func() { require.NoError(t, e.Replay(ctx)) }, at)
			require.NoError(t, e.Close())
			kept := false
			for _, left := range dumpStore(t, s) {
				switch {
				case left.Owner != r.Owner:
				case left.Key == r.Key:
					kept = kept || bytes.Equal(left.Value, r.Value) && left.Lane == lane
				case left.Key == quarantineKey(moved):
					kept = kept || bytes.Equal(left.Value, r.Value)
					if work := strings.HasPrefix(string(r.Key), "q/") || strings.HasPrefix(string(r.Key), prefixParked) ||
						strings.HasPrefix(string(r.Key), prefixCleanUp); !work {
						t.Errorf("%s: it was put aside, and is missing now", at)
					}
				}
			}
			if !kept {
				t.Errorf("%s: it is lost", at)
			}
			for id := range want.sent {
				if !sent[id] && whose[id] != r.Owner && !strings.HasPrefix(string(r.Owner), serviceOwner) {
					t.Errorf("%s: other work was not done", at)
				}
			}
		}
	}
}

func TestADamagedParkedDeliveryIsLeftOut(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t, RandomKeys())
	oc := w.openers(t, &codec{ring: w.ring})
	var first store.Record
	for _, r := range w.dump {
		if strings.HasPrefix(string(r.Key), prefixParked) {
			first = r
		}
	}
	var p parkedRecord
	require.NoError(t, oc[first.Owner].open(&first, &p))
	for n := range 7 {
		p.Entry.ID = DeliveryID(fmt.Sprintf("d%d", n))
		r, err := oc[first.Owner].seal(store.Record{Key: prefixParked + store.Key(p.Entry.ID), Lane: laneParked, Due: w.Now.Add(time.Duration(n) * time.Second)}, &p)
		require.NoError(t, err)
		if n%3 == 1 {
			r.Value[len(r.Value)-1] ^= 1
		}
		w.dump = append(w.dump, r)
	}
	e, err := New(undumpStore(t, w.dump), worldOptions(w.ring, func() time.Time { return w.Now }, func(context.Context, Delivery) error { return nil }))
	require.NoError(t, err)
	defer e.Close()
	for limit := 1; limit < 10; limit++ {
		ids := []DeliveryID{}
		var c Cursor
		for {
			page, err := e.Parked().Page(ctx, c, limit)
			require.NoError(t, err)
			for _, p := range page.Items {
				ids = append(ids, p.ID)
			}
			if c = page.Next; c == "" {
				break
			}
		}
		require.Equal(t, []DeliveryID{DeliveryID(first.Key[len(prefixParked):]), "d0", "d2", "d3", "d5", "d6"}, ids, "pages of %d", limit)
	}
}

func TestDamagedParkedDeliveries(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t, RandomKeys())
	at := slices.IndexFunc(w.dump, func(r store.Record) bool { return strings.HasPrefix(string(r.Key), prefixParked) })
	for n := range w.dump[at].Value {
		if n < headerSize && n != 0 {
			continue
		}
		records := slices.Clone(w.dump)
		records[at].Value = bytes.Clone(records[at].Value)
		records[at].Value[n] ^= 0x80
		s := undumpStore(t, records)
		e, err := New(s, worldOptions(w.ring, func() time.Time { return w.Now }, func(context.Context, Delivery) error { return nil }))
		require.NoError(t, err)
		before, err := e.Health(ctx)
		require.NoError(t, err)
		require.Equal(t, 1, before.Parked, "it is still counted")
		err = e.Replay(ctx)
		after, herr := e.Health(ctx)
		require.NoError(t, herr)
		if n == 0 { // of a later version
			require.ErrorIs(t, err, store.ErrNewer)
			require.Equal(t, before, after)
			require.Equal(t, records, dumpStore(t, s))
		} else {
			require.NoError(t, err)
			require.Equal(t, 0, after.Parked)
			require.Equal(t, before.Quarantined+1, after.Quarantined)
			aside := quarantineKey(&records[at])
			require.True(t, slices.ContainsFunc(dumpStore(t, s), func(r store.Record) bool {
				return r.Key == aside && bytes.Equal(r.Value, records[at].Value)
			}))
		}
		require.NoError(t, e.Close())
	}
}

func TestCursorsAreBound(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t, RandomKeys())
	open := func(w *world) *Engine {
		e, err := New(undumpStore(t, w.dump), worldOptions(w.ring, func() time.Time { return w.Now }, func(context.Context, Delivery) error { return nil }))
		require.NoError(t, err)
		t.Cleanup(func() { e.Close() })
		return e
	}
	e := open(w)
	me, other := e.Citizen(Identity{Code: anna, Level: L2}), e.Citizen(Identity{Code: bruno, Level: L2})
	first, err := me.Inbox(nil).Page(ctx, "", 2)
	require.NoError(t, err)
	require.NotEmpty(t, first.Next)
	second, err := me.Inbox(nil).Page(ctx, first.Next, 2)
	require.NoError(t, err)
	require.NotEqual(t, first.Items[0].ID, second.Items[0].ID)
	require.NotEmpty(t, second.Prev)
	back, err := me.Inbox(nil).Page(ctx, second.Prev, 2)
	require.NoError(t, err)
	require.Equal(t, first.Items, back.Items)

	t.Run("to the list, the person, the filter and the store", func(t *testing.T) {
		consents, err := me.Consents().Page(ctx, "", 1)
		require.NoError(t, err)
		services, err := e.Services().Page(ctx, "", 1)
		require.NoError(t, err)
		lists := map[string]func(*Engine, Cursor) error{
			"inbox": func(e *Engine, c Cursor) error { _, err := me.Inbox(nil).Page(ctx, c, 1); return err },
			"archive": func(e *Engine, c Cursor) error {
				_, err := me.Inbox(&InboxOptions{Archived: true}).Page(ctx, c, 1)
				return err
			},
			"of a service": func(e *Engine, c Cursor) error {
				_, err := me.Inbox(&InboxOptions{Service: "tari"}).Page(ctx, c, 1)
				return err
			},
			"another's":  func(e *Engine, c Cursor) error { _, err := other.Inbox(nil).Page(ctx, c, 1); return err },
			"consents":   func(e *Engine, c Cursor) error { _, err := me.Consents().Page(ctx, c, 1); return err },
			"of another": func(e *Engine, c Cursor) error { _, err := other.Consents().Page(ctx, c, 1); return err },
			"services":   func(e *Engine, c Cursor) error { _, err := e.Services().Page(ctx, c, 1); return err },
			"parked":     func(e *Engine, c Cursor) error { _, err := e.Parked().Page(ctx, c, 1); return err },
		}
		for own, c := range map[string]Cursor{"inbox": first.Next, "consents": consents.Next, "services": services.Next} {
			for name, page := range lists {
				if name == own {
					require.NoError(t, page(e, c))
				} else {
					require.ErrorIs(t, page(e, c), ErrInvalid, "%s of %s", name, own)
				}
			}
		}
		elsewhere := open(newWorld(t, w.ring)) // the same engine key, another root secret
		_, err = elsewhere.Citizen(Identity{Code: anna}).Inbox(nil).Page(ctx, first.Next, 2)
		require.ErrorIs(t, err, ErrInvalid)
	})
	t.Run("every character counts", func(t *testing.T) {
		tamperings(string(first.Next), func(s string) {
			_, err := me.Inbox(nil).Page(ctx, Cursor(s), 2)
			require.ErrorIs(t, err, ErrInvalid, s)
			var f *FieldError
			require.ErrorAs(t, err, &f)
			require.NotContains(t, err.Error(), s)
		})
	})
	t.Run("they say nothing", func(t *testing.T) {
		b, err := base64.RawURLEncoding.DecodeString(string(first.Next))
		require.NoError(t, err)
		for _, s := range []string{string(b), string(first.Next)} {
			require.NotContains(t, s, string(first.Items[1].ID))
			require.NotContains(t, s, string(anna))
		}
		again, err := me.Inbox(nil).Page(ctx, "", 2)
		require.NoError(t, err)
		require.NotEqual(t, first.Next, again.Next, "the same place looks another way each time")
		require.Regexp(t, `^[A-Za-z0-9_-]+$`, string(first.Next))
	})
}

// tamperings are texts that are nearly s: each character changed, left out, or something put before it.
func tamperings(s string, try func(string)) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range s {
		for _, c := range []byte{alphabet[(strings.IndexByte(alphabet, s[i])+1)%64], alphabet[(strings.IndexByte(alphabet, s[i])+32)%64], '=', ' ', '+'} {
			try(s[:i] + string(c) + s[i+1:])
		}
		try(s[:i] + s[i+1:])
		for _, c := range []string{"A", "\n", "\r", "=", "%", "\x00"} {
			try(s[:i] + c + s[i:])
		}
	}
	for _, more := range []string{"A", "AAAA", "=", "\n", " ", s} {
		try(s + more)
	}
	try(strings.ToUpper(s))
	try(s[:len(s)/2])
	b, _ := base64.RawURLEncoding.DecodeString(s)
	for n := 1; n < len(b); n++ {
		try(base64.RawURLEncoding.EncodeToString(b[:n]))
	}
}

func TestWithdrawTokensAreBound(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t, RandomKeys())
	c := newCourt(t, w) // on it nothing changes
	require.NoError(t, c.e.Withdraw(ctx, w.Token))
	require.NotEmpty(t, c.s.taken)
	c.s.taken = nil
	tamperings(w.Token, func(s string) {
		require.ErrorIs(t, c.e.Withdraw(ctx, s), ErrUnauthorized, s)
	})
	for _, s := range []string{"", "x", string(anna)} {
		require.ErrorIs(t, c.e.Withdraw(ctx, s), ErrUnauthorized)
	}
	// A cursor is no token, nor is a token of another store, or one sealed for another purpose.
	page, err := c.e.Citizen(Identity{Code: anna}).Inbox(nil).Page(ctx, "", 1)
	require.NoError(t, err)
	require.ErrorIs(t, c.e.Withdraw(ctx, string(page.Next)), ErrUnauthorized)
	require.ErrorIs(t, c.e.Withdraw(ctx, newWorld(t, w.ring).Token), ErrUnauthorized)
	enc, err := encode(&withdrawal{Owner: string(c.e.codec.citizen(anna)), Service: "mensa", Channel: Email})
	require.NoError(t, err)
	defer enc.release()
	require.ErrorIs(t, c.e.Withdraw(ctx, sealedText(c.e.codec.token, 0, enc.buf.Bytes(), "another purpose")), ErrUnauthorized)
	require.Empty(t, c.s.taken, "nothing was changed by any")

	b, err := base64.RawURLEncoding.DecodeString(w.Token)
	require.NoError(t, err)
	for _, s := range []string{string(b), w.Token} {
		require.NotContains(t, s, "mensa")
		require.NotContains(t, s, string(anna))
		require.NotContains(t, s, string(c.e.codec.citizen(anna))[2:])
	}
}

// sealedText is a cursor or a token that is the same in each process of a fuzz test.
func sealedText(aead cipher.AEAD, n int, payload []byte, purpose string) string {
	nonce := make([]byte, nonceSize)
	nonce[0] = byte(n)
	return base64.RawURLEncoding.EncodeToString(aead.Seal(nonce, nonce, payload, []byte(purpose)))
}

func FuzzCursor(f *testing.F) {
	c := &codec{}
	c.useRoot(bytes.Repeat([]byte{1}, keySize))
	given := map[string]position{}
	for i, p := range []position{{"", false}, {"a", false}, {"01HZY3V7K8QZ4M5N6P7R8S9T0V", true}, {strings.Repeat("x", 600), false}} {
		payload := []byte("\x00" + p.key)
		if p.before {
			payload[0] = 1
		}
		cur := sealedText(c.cursor, i, payload, "inbox")
		given[cur] = p
		f.Add(cur)
		f.Add(sealedText(c.cursor, i, payload, "another list"))
	}
	f.Add("")
	f.Add("AAAA")
	f.Add(strings.Repeat("A", 39))
	f.Fuzz(func(t *testing.T, s string) {
		p, err := c.openCursor("inbox", Cursor(s))
		want, ok := given[s]
		switch {
		case s == "" || ok:
			if err != nil || p != want {
				t.Fatalf("%v %v", p, err)
			}
		case !errors.Is(err, ErrInvalid) || p != (position{}):
			t.Fatalf("a cursor that no list gave: %v %v", p, err)
		}
		// What is in a cursor of parked deliveries is read as if anybody had written it.
		if p, err := parsePosition(s); err == nil {
			r := store.Record{Owner: p.Owner, Key: p.Key, Due: p.Due}
			if q, err := parsePosition(formatPosition(&r)); err != nil || q != p {
				t.Fatalf("%v became %v: %v", p, q, err)
			}
		} else if !errors.Is(err, ErrInvalid) {
			t.Fatal(err)
		}
	})
}

func FuzzWithdrawToken(f *testing.F) {
	c := &codec{}
	c.useRoot(bytes.Repeat([]byte{1}, keySize))
	given := map[string]bool{}
	for i, id := range []ServiceID{"tari", "mensa"} {
		enc, err := encode(&withdrawal{Owner: "c/abc", Service: id, Channel: Email})
		require.NoError(f, err)
		token := sealedText(c.token, i, enc.buf.Bytes(), withdrawalPurpose)
		given[token] = true
		f.Add(token, []byte(token))
	}
	f.Add("", []byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f.Add("AAAA", []byte{0x83, 0xa1, 'o', 0xa1, 'x', 0xa1, 'n', 0xc0, 0xa1, 'c', 0x01})
	e, err := New(memstore.New(), &Options{Keys: RandomKeys()})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, token string, payload []byte) {
		w, err := c.openWithdrawal(token)
		if given[token] != (err == nil) || err != nil && !errors.Is(err, ErrUnauthorized) || err == nil && w.Owner != "c/abc" {
			t.Fatalf("%v %v", w, err)
		}
		if !given[token] {
			if err := e.Withdraw(t.Context(), token); !errors.Is(err, ErrUnauthorized) {
				t.Fatal(err)
			}
		}
		// Whatever is inside, even under the right key, it is a withdrawal or none.
		if _, err := c.openWithdrawal(sealedText(c.token, 9, payload, withdrawalPurpose)); err != nil && !errors.Is(err, ErrUnauthorized) {
			t.Fatal(err)
		}
	})
}

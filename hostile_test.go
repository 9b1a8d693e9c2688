package appio

import (
	"bytes"
	"context"
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
	for _, id := range w.Services {
		qs = append(qs, question{"statistics of " + string(id), func(ctx context.Context, e *Engine) (any, error) {
			return e.Statistics(ctx, id, w.Now.AddDate(0, 0, -40), w.Now.AddDate(0, 0, 1))
		}})
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
			i.Body, err = c.e.codec.bodyHash(&m, nil)
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

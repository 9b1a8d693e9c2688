package appio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/appio-go/appio/internal/rome"
	"github.com/appio-go/appio/internal/text"
	"github.com/appio-go/appio/store"
)

// A Digest says of a delivery that it stands for several messages of one service, which a citizen chose to get together: see
// [Preference.Digest]. The delivery's Message is then an id of the digest's own, which no inbox has. With Full content its Subject and
// Markdown say the same in words, in English where that is the citizen's first language and in Italian otherwise.
type Digest struct {
	Count int          // messages that it stands for
	Items []DigestItem // the oldest of them, at most 50, in order; none if Content is Generic
}

// A DigestItem is one message of a digest.
type DigestItem struct {
	Message  MessageID
	Subject  string // by Message.In
	Language string // of it; empty: not said
}

const (
	gatherMost  = 100 // messages of one digest: what comes then begins another
	digestItems = 50  // that a delivery lists
)

// causeNothingLeft is why a digest is void; causeLeftOut is why a delivery is, of a message that a digest was delivered without.
const (
	causeNothingLeft = "nothing-left"
	causeLeftOut     = "left-out"
)

// nextHour is the first moment after t at which a zone's clock shows an hour, or what comes after it where that hour is left out.
func nextHour(zone *time.Location, hour int, t time.Time) time.Time {
	y, m, d := t.In(zone).Date()
	for ; ; d++ {
		if at, _ := clockShows(zone, y, m, d, time.Duration(hour)*time.Hour); at.After(t) {
			return at
		}
	}
}

// digestFacts adds to facts what decides whether a message is gathered. Reminders are decided without it.
func (e *Engine) digestFacts(f *Facts, cs *consentState, due, now time.Time) {
	if !f.Known || cs.preference == nil || !cs.preference.Digest {
		return
	}
	until := nextHour(rome.Location(), e.opts.DigestHour, now).Sub(now)
	if !due.IsZero() {
		f.Due = cmp.Or(due.Sub(now), -1)
	}
	for i := range f.Channels {
		if r := &e.opts.Channels[i]; !r.Interrupts && r.Fallback.Of == "" {
			f.Channels[i].Digest = until
		}
	}
}

func byDigest(_ *Route, c *ChannelDecision) bool  { return c.Digest }
func notDigest(_ *Route, c *ChannelDecision) bool { return !c.Digest || planted == "digest-both" }

// An openDigest is one that a message is gathered in.
type openDigest struct {
	id    MessageID
	work  *workRecord
	fresh bool // it begins with this message
}

// errGathers says that an acceptance has to know the citizen's open digest, which was not read with the rest.
var errGathers = errors.New("appio: the open digest is needed")

// gather finds the digest that takes a message, or begins one; nil: nothing of the message is gathered. It puts nothing.
func (a *acceptance) gather(tx *draft, cs *consentState, d *Decision, now time.Time) (*openDigest, error) {
	if !slices.ContainsFunc(d.Channels, func(c ChannelDecision) bool { return c.Digest }) {
		return nil, nil
	}
	e := a.s.e
	entries := e.appendEntries(nil, cs.profile, d, now, 0, byDigest)
	if len(entries) == 0 {
		return nil, nil
	}
	for i := range entries { // its time is the digest's
		entries[i].Quiet, entries[i].Expires = false, 0
	}
	key := tx.digestKey(a.s.id, a.m.SecureChannels)
	if tx.find(key) == nil {
		return nil, errGathers
	}
	var last digestRecord
	if _, err := tx.read(key, &last); errors.Is(err, store.ErrCorrupt) { // it is written anew
		last = digestRecord{}
	} else if err != nil {
		return nil, err
	}
	if last.Digest != "" {
		if tx.find(waitingKey(last.Digest)) == nil {
			return nil, errGathers
		}
		w, err := tx.readWork(waitingKey(last.Digest))
		if err != nil && !errors.Is(err, store.ErrCorrupt) { // its turn will show damage
			return nil, err
		}
		if err == nil && w.takes(entries) {
			w.gather(a.id, a.m.TimeToLive)
			return &openDigest{last.Digest, w, false}, nil
		}
	}
	w := &workRecord{Service: a.s.id, Secure: a.m.SecureChannels, Entries: entries, Digest: &gathered{}}
	w.gather(a.id, a.m.TimeToLive)
	return &openDigest{MessageID(e.ulids.next(now)), w, true}, nil
}

// takes reports whether a digest that waits may stand for a message more, with these deliveries: at the same time, to the same addresses,
// and none of it was tried yet.
func (w *workRecord) takes(entries []workEntry) bool {
	return w != nil && w.Digest != nil && len(w.Digest.Messages) < gatherMost && len(w.Done) == 0 &&
		slices.EqualFunc(w.Entries, entries, func(a, b workEntry) bool {
			return a.Channel == b.Channel && a.Address == b.Address && a.Next == b.Next && a.Attempts == 0 && a.Paused == 0
		})
}

func (w *workRecord) gather(id MessageID, ttl time.Duration) {
	w.Digest = &gathered{append(slices.Clip(w.Digest.Messages), id), max(w.Digest.Longest, ttl)}
	w.Expires = w.Entries[0].Next + w.Digest.Longest.Microseconds()
}

// putDigest puts the digest that a message is gathered in. It stands behind, as all digests of a service are due at once.
func (a *acceptance) putDigest(tx *draft, g *openDigest) error {
	if g.fresh {
		err := tx.putSealed(store.Record{Key: tx.digestKey(a.s.id, a.m.SecureChannels)}, &digestRecord{a.s.id, g.id})
		if err != nil {
			return err
		}
	}
	return tx.putWorkIn(keysOfWork(g.id), g.work, waitingKey(g.id), backlogLane(a.s.id))
}

// sendGathered sends once more what could not be decided without the citizens' open digests: some of the acceptances.
func (s *Sender) sendGathered(ctx context.Context, as []acceptance, some []int, results []Result) {
	for try := 0; len(some) > 0; try++ {
		var again []int
		for part := range slices.Chunk(some, sendTogether) {
			var ops []*op
			var at []int
			for _, i := range part {
				err := as[i].findDigest(ctx)
				if err == nil && try == conflictTries {
					err = fmt.Errorf("%w: other messages to the citizen are being gathered", ErrBusy)
				}
				if err != nil {
					results[i] = Result{Err: err}
					continue
				}
				ops, at = append(ops, as[i].op()), append(at, i)
			}
			for j, err := range s.e.writer.do(ctx, ops...) {
				switch i := at[j]; {
				case err == errGathers: // as apply returned it: another digest was begun meanwhile
					again = append(again, i)
				case err != nil:
					results[i] = Result{Err: err}
				default:
					results[i] = as[i].result
				}
			}
		}
		some = again
	}
}

// findDigest adds the keys of the open digest to those that the message is decided by.
func (a *acceptance) findDigest(ctx context.Context) error {
	key := a.owner.digestKey(a.s.id, a.m.SecureChannels)
	d, err := a.s.e.view(ctx, a.owner.owner, store.Range{}, "", key)
	if err != nil {
		return err
	}
	var last digestRecord
	_, err = d.read(key, &last)
	a.digest = append(a.digest[:0], key)
	if err == nil && last.Digest != "" {
		a.digest = append(a.digest, waitingKey(last.Digest))
	} else if err != nil && !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	return nil
}

// An itemDigest is what a delivery under way has that is a digest.
type itemDigest struct {
	of      *gathered
	without []MessageID // what it was last tried without
}

func (w *workRecord) itemDigest() *itemDigest {
	if w.Digest == nil {
		return nil
	}
	return &itemDigest{of: w.Digest}
}

// left is what a delivery was made without; nil: nothing.
func (d *itemDigest) left() *[]MessageID {
	if d == nil || len(d.without) == 0 {
		return nil
	}
	return &d.without
}

// open is what a digest stands for when its turn has come: what the citizen has not read or archived, and whose time has not passed. The
// item keeps what is left out.
func (it *item) open(d *draft, content Content, languages []string, now time.Time) (*Digest, error) {
	g, all := it.digest.of, &Digest{}
	it.digest.without = nil
	for _, id := range g.Messages {
		var m messageRecord
		var s stateRecord
		found, err := d.read(messageKey(id), &m)
		if err == nil {
			_, err = d.read(stateKey(id), &s)
		}
		gone := errors.Is(err, errShredded) || errors.Is(err, store.ErrCorrupt) // the others are still worth telling of
		if err != nil && !gone {
			return nil, err
		}
		known := (s.ReadAt != 0 || s.Archived) && planted != "digest-read"
		over := toMicro(now) >= it.expires-(g.Longest-m.TTL).Microseconds() && planted != "digest-late"
		if !found || gone || known || over {
			it.digest.without = append(it.digest.without, id)
			continue
		}
		if all.Count++; content == Full && len(all.Items) < digestItems {
			whole := m.message("").In(languages...)
			all.Items = append(all.Items, DigestItem{id, whole.Subject, whole.Language})
		}
	}
	return all, nil
}

// hasten lets a digest go whose citizen does not want to wait for it any more. Its time to live counts from now.
func (w *workRecord) hasten(en *workEntry, cs *consentState, now time.Time) bool {
	if w.Digest == nil || en.Paused != 0 || en.Next <= toMicro(now) || en.Next != w.Expires-w.Digest.Longest.Microseconds() {
		return false // it was its turn before, or may be now
	}
	if cs.profile == nil || cs.preference != nil && cs.preference.Digest || planted == "digest-kept" {
		return false
	}
	w.putOff(en, toMicro(now))
	return true
}

// explainDigest adds to a message's explanation what became of the digest that it was gathered in.
func (e *Engine) explainDigest(ctx context.Context, owner store.Owner, out *DecisionRecord) error {
	id := out.Digest
	d, err := e.view(ctx, owner, store.Range{}, "", outcomeKey(id), waitingKey(id), leasedKey(id))
	if err != nil {
		return err
	}
	over, err := d.over(id)
	if err != nil {
		return err
	}
	for _, o := range over {
		x := o.outcome()
		if x.Digest = id; o.Without != nil && slices.Contains(*o.Without, out.Message) {
			x.Result, x.Cause = OutcomeVoid, causeLeftOut
		}
		out.Outcomes = append(out.Outcomes, x)
	}
	return nil
}

// digestWords are what a digest says in one language.
type digestWords struct {
	lang      string
	one, many string // subject
	list      string // before the items
	more      string // after them
	moreOne   string
}

var (
	digestInItalian = digestWords{"it", "1 nuovo messaggio da %s", "%d nuovi messaggi da %s", "Messaggi da leggere:", "e altri %d", "e un altro"}
	digestInEnglish = digestWords{"en", "1 new message from %s", "%d new messages from %s", "Messages to read:", "and %d more", "and one more"}
)

// write is a digest in words.
func (d *Digest) write(service, language string) (subject, markdown, lang string) {
	w := &digestInItalian
	if strings.EqualFold(text.Primary(language), "en") {
		w = &digestInEnglish
	}
	subject = fmt.Sprintf(w.one, service)
	if d.Count > 1 {
		subject = fmt.Sprintf(w.many, d.Count, service)
	}
	var b strings.Builder
	b.WriteString(w.list + "\n\n")
	for _, i := range d.Items {
		b.WriteString("- " + plainMarkdown(i.Subject) + "\n")
	}
	switch more := d.Count - len(d.Items); {
	case more == 1:
		b.WriteString("- " + w.moreOne + "\n")
	case more > 1:
		b.WriteString("- " + fmt.Sprintf(w.more, more) + "\n")
	}
	return subject, b.String(), w.lang
}

// plainMarkdown is a text as one line of Markdown, such as a list item, that shows it as it is. What needs no escape has none, for those who
// show Markdown as it is written.
func plainMarkdown(s string) string {
	var b strings.Builder
	number := true // nothing but digits so far
	for i, r := range s {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			r = ' '
		case strings.ContainsRune("\\`*_[]<>&~", r), i == 0 && strings.ContainsRune("-+#", r), i > 0 && number && (r == '.' || r == ')'):
			b.WriteByte('\\')
		}
		number = number && '0' <= r && r <= '9'
		b.WriteRune(r)
	}
	return b.String()
}

package damage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
)

const (
	citizens = 12
	services = 4
	apiKey   = "0123456789abcdef0123456789abcdef0123456789abcdef"
)

func person(i int) fiscalcode.Person { return fiscalcode.Person(fmt.Sprintf("RSSMRA85M10H%03dS", i)) }

func serviceID(i int) appio.ServiceID { return appio.ServiceID(fmt.Sprintf("servizio-%d", i)) }

// options are those of every engine on the file; its time stands still, so that the same question has one answer.
func options(dir string) *appio.Options {
	refuse := appio.ChannelFunc(func(_ context.Context, d appio.Delivery) error {
		if d.Service == serviceID(0) {
			return appio.Permanent(errors.New("refused"))
		}
		return nil
	})
	return &appio.Options{
		Keys: appio.FileKeys(filepath.Join(dir, "key")), ContactRate: 1e9,
		Now:      func() time.Time { return time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC) },
		Channels: []appio.Route{{Name: appio.Push, Channel: refuse, Default: appio.Full, Secure: appio.Full, ByCode: true}},
	}
}

// small makes a store of a few messages use all that it has: runs, several segments, merges.
var small = &boltstore.Options{Memory: 24 << 10, LockTimeout: 10 * time.Millisecond}

// A sent message, and who knows of it.
type sent struct {
	To      int
	Service int
	ID      appio.MessageID
}

// build fills a store with what there is something to ask about, and returns what was sent.
func build(ctx context.Context, e *appio.Engine) (all []sent, err error) {
	must := func(errs ...error) { err = errors.Join(append(errs, err)...) }
	must(e.PutOrganization(ctx, appio.Organization{Code: "01199250158", Name: "Comune di Esempio"}))
	for i := range services {
		must(e.PutService(ctx, appio.Service{ID: serviceID(i), Name: fmt.Sprint("Servizio ", i), Organization: "01199250158", State: appio.Live, MaxPayment: 500_00}))
	}
	must(e.PutKey(ctx, serviceID(1), appio.Primary, apiKey))
	for i := range citizens {
		c := citizen(e, i)
		must(c.SetMode(ctx, appio.Auto))
		must(c.SetPreference(ctx, serviceID(2), appio.Preference{Inbox: i%2 == 0, Channels: appio.On(appio.Push)}))
	}
	for n := range 14 {
		for s := range services {
			var ms []appio.Message
			for i := range citizens {
				if (i+n+s)%3 == 0 {
					ms = append(ms, message(i, fmt.Sprintf("%d del servizio %d", n, s)))
				}
			}
			results, sendErr := e.Sender(serviceID(s)).SendBatch(ctx, ms)
			must(sendErr)
			for j, r := range results {
				var to int
				_, scanErr := fmt.Sscanf(strings.TrimPrefix(string(ms[j].To), "RSSMRA85M10H"), "%d", &to)
				must(scanErr)
				all = append(all, sent{to, s, r.ID})
			}
		}
		if n == 6 {
			_, flushErr := e.Flush(ctx)
			must(flushErr)
		}
	}
	return all, err
}

func message(to int, text string) appio.Message {
	return appio.Message{
		To: person(to), Subject: "Avviso numero " + text,
		Markdown: "La informiamo che il servizio di raccolta cambia orario dal prossimo mese, come da calendario: " + strings.Repeat(text+" ", 30),
		Payment:  &appio.Notice{Number: "302032002700000251", Amount: 150_00},
	}
}

func citizen(e *appio.Engine, i int) *appio.Citizen {
	return e.Citizen(appio.Identity{Code: person(i), Level: appio.L2})
}

// lastChange is made just before the file is damaged: a file whose newest root is lost is as it was before.
func lastChange(ctx context.Context, e *appio.Engine, all []sent) error {
	i := slices.IndexFunc(all, func(m sent) bool { return m.Service != 2 })
	return citizen(e, all[i].To).Archive(ctx, all[i].ID, true)
}

// A question is one read through the engine's public interface. The answer is the values that it gave, each as JSON; an error
// after some of them leaves those to be judged.
type question struct {
	name string
	ask  func(ctx context.Context, e *appio.Engine) ([]string, error)
	less bool // values that are damaged may be left out
}

func one[T any](v T, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(v)
	return []string{string(b)}, err
}

func list[T any](ctx context.Context, l appio.List[T]) (all []string, err error) {
	for v, err := range l.All(ctx) {
		if err != nil {
			return all, err
		}
		b, err := json.Marshal(v)
		if err != nil {
			return all, err
		}
		all = append(all, string(b))
	}
	return all, nil
}

func questions(all []sent) (qs []question) {
	type engine = *appio.Engine
	add := func(name string, ask func(ctx context.Context, e engine) ([]string, error)) {
		qs = append(qs, question{name: name, ask: ask})
	}
	for i := range citizens {
		of := fmt.Sprint(" of citizen ", i)
		add("profile"+of, func(ctx context.Context, e engine) ([]string, error) { return one(citizen(e, i).Profile(ctx)) })
		add("inbox"+of, func(ctx context.Context, e engine) ([]string, error) { return list(ctx, citizen(e, i).Inbox(nil)) })
		add("archive"+of, func(ctx context.Context, e engine) ([]string, error) {
			return list(ctx, citizen(e, i).Inbox(&appio.InboxOptions{Archived: true}))
		})
		add("consents"+of, func(ctx context.Context, e engine) ([]string, error) { return list(ctx, citizen(e, i).Consents()) })
		add("preference"+of, func(ctx context.Context, e engine) ([]string, error) {
			return one(citizen(e, i).Preference(ctx, serviceID(2)))
		})
		add("may contact"+of, func(ctx context.Context, e engine) ([]string, error) {
			return one(e.Sender(serviceID(2)).CanContact(ctx, person(i)))
		})
	}
	for n, m := range all {
		of := fmt.Sprint(" of message ", n)
		switch n % 3 {
		case 0:
			add("status"+of, func(ctx context.Context, e engine) ([]string, error) {
				return one(e.Sender(serviceID(m.Service)).Status(ctx, person(m.To), m.ID))
			})
		case 1:
			add("decision"+of, func(ctx context.Context, e engine) ([]string, error) { return one(e.Explain(ctx, person(m.To), m.ID)) })
		default:
			add("content"+of, func(ctx context.Context, e engine) ([]string, error) { return one(citizen(e, m.To).Message(ctx, m.ID)) })
		}
	}
	for i := range services {
		add(fmt.Sprint("service ", i), func(ctx context.Context, e engine) ([]string, error) { return one(e.Service(ctx, serviceID(i))) })
	}
	add("services", func(ctx context.Context, e engine) ([]string, error) { return list(ctx, e.Services()) })
	add("organization", func(ctx context.Context, e engine) ([]string, error) { return one(e.Organization(ctx, "01199250158")) })
	add("key", func(ctx context.Context, e engine) ([]string, error) {
		s, err := e.SenderByKey(ctx, apiKey, netip.MustParseAddr("192.0.2.7"))
		if err != nil {
			return nil, err
		}
		return one(s.ID(), nil)
	})
	qs = append(qs, question{name: "parked", less: true, ask: func(ctx context.Context, e engine) ([]string, error) { return list(ctx, e.Parked()) }})
	return qs
}

// An answer is what was said: values, or which error.
type answer struct {
	Values []string
	Error  string
}

func answerOf(values []string, err error) answer {
	if err == nil {
		return answer{Values: values}
	}
	return answer{Values: values, Error: err.Error()}
}

func (a answer) equal(o answer) bool { return a.Error == o.Error && slices.Equal(a.Values, o.Values) }

// found reports whether an error says that something was found to be damaged, or not to be used.
func found(err error) bool {
	for _, is := range []error{store.ErrCorrupt, store.ErrNewer, store.ErrKey, store.ErrFailed, store.ErrClosed} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// answers asks everything of a store in order.
func answers(ctx context.Context, e *appio.Engine, all []sent) map[string]answer {
	as := map[string]answer{}
	for _, q := range questions(all) {
		as[q.name] = answerOf(q.ask(ctx, e))
	}
	return as
}

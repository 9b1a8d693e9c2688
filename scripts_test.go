package appio_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/store"
)

// A script is what a caller does, in steps that can be repeated until they succeed.
type script struct {
	name  string
	opts  func(*appio.Options) // nil: the town's
	steps []func(ctx context.Context, w *town) error
	check func(t *testing.T, w *town)
}

func sends(ms ...appio.Message) func(ctx context.Context, w *town) error {
	return func(ctx context.Context, w *town) error {
		rs, err := w.Sender(mensa).SendBatch(ctx, ms)
		if len(rs) != len(ms) {
			return errors.New("another number of results")
		}
		return err
	}
}

func prefers(p appio.Preference) func(ctx context.Context, w *town) error {
	return func(ctx context.Context, w *town) error { return w.person(giuseppe).SetPreference(ctx, mensa, p) }
}

func puts(changes ...func(*appio.Service)) func(ctx context.Context, w *town) error {
	return func(ctx context.Context, w *town) error { return w.PutService(ctx, newService(changes...)) }
}

func joins(code fiscalcode.Person) func(ctx context.Context, w *town) error {
	return func(ctx context.Context, w *town) error { return join(ctx, w.person(code), appio.Auto) }
}

func flushes(ctx context.Context, w *town) error {
	_, err := w.Flush(ctx)
	return err
}

func waits(d time.Duration) func(ctx context.Context, w *town) error {
	return func(context.Context, *town) error {
		time.Sleep(d)
		return nil
	}
}

// answers sets what e-mail answers.
func answers(err error) func(ctx context.Context, w *town) error {
	return func(ctx context.Context, w *town) error {
		w.email.mu.Lock()
		defer w.email.mu.Unlock()
		w.email.answer = func(context.Context, appio.Delivery) error { return err }
		return nil
	}
}

func inboxOf(t *testing.T, w *town, code fiscalcode.Person, keys ...int) {
	t.Helper()
	var subjects []string
	for _, m := range collect(t, w.person(code).Inbox(nil)) {
		subjects = append(subjects, m.Subject)
	}
	var want []string
	for _, k := range keys {
		want = append(want, numbered(code, k).Subject)
	}
	require.ElementsMatch(t, want, subjects)
}

// numbered is a message of its own for each number, with a key.
func numbered(to fiscalcode.Person, n int) appio.Message {
	return messageTo(to, func(m *appio.Message) {
		m.Subject, m.Key, m.TimeToLive = fmt.Sprintf("Messaggio numero %d", n), fmt.Sprint(n), 7*24*time.Hour
	})
}

var scripts = []script{
	{
		name:  "send, deliver",
		steps: []func(context.Context, *town) error{puts(), joins(giuseppe), sends(numbered(giuseppe, 1)), flushes},
		check: func(t *testing.T, w *town) {
			inboxOf(t, w, giuseppe, 1)
			require.NotEmpty(t, w.email.deliveries())
			require.NotEmpty(t, w.push.deliveries())
		},
	},
	{
		name: "a batch to several people, with a key twice",
		steps: []func(context.Context, *town) error{
			puts(), joins(giuseppe), joins(matteo),
			sends(numbered(giuseppe, 1), numbered(matteo, 1), numbered(giuseppe, 1), numbered(giuseppe, 2),
				numbered(personNumber(1), 1), numbered(personNumber(2), 1)),
			flushes,
		},
		check: func(t *testing.T, w *town) {
			inboxOf(t, w, giuseppe, 1, 2)
			inboxOf(t, w, matteo, 1)
		},
	},
	{
		name: "revoke what is pending",
		steps: []func(context.Context, *town) error{
			puts(), joins(giuseppe), sends(numbered(giuseppe, 1)), prefers(appio.Preference{}), sends(numbered(giuseppe, 2)), flushes,
		},
		check: func(t *testing.T, w *town) {
			inboxOf(t, w, giuseppe, 1)
			require.Empty(t, w.email.deliveries())
			require.Empty(t, w.push.deliveries())
		},
	},
	{
		name: "park, replay",
		steps: []func(context.Context, *town) error{
			puts(), joins(giuseppe), sends(numbered(giuseppe, 1)), answers(appio.Permanent(errProvider)), flushes, answers(nil),
			waits(40 * time.Second),
			func(ctx context.Context, w *town) error { return w.Replay(ctx) }, flushes,
		},
		check: func(t *testing.T, w *town) {
			inboxOf(t, w, giuseppe, 1)
			require.Empty(t, w.parked())
			require.NotEmpty(t, w.email.deliveries())
		},
	},
	{
		name: "fail, try again",
		steps: []func(context.Context, *town) error{
			puts(), joins(giuseppe), sends(numbered(giuseppe, 1), numbered(giuseppe, 2)), answers(errProvider), flushes, answers(nil),
			waits(2 * time.Minute), flushes,
		},
		check: func(t *testing.T, w *town) {
			inboxOf(t, w, giuseppe, 1, 2)
			require.NotEmpty(t, w.email.deliveries())
		},
	},
	{
		name: "an address that is gone",
		steps: []func(context.Context, *town) error{
			puts(), joins(giuseppe), answers(appio.Gone(errProvider)), sends(numbered(giuseppe, 1)), flushes, sends(numbered(giuseppe, 2)), flushes,
			sends(numbered(giuseppe, 3)), flushes,
		},
		check: func(t *testing.T, w *town) {
			inboxOf(t, w, giuseppe, 1, 2, 3)
			p, err := w.person(giuseppe).Profile(t.Context())
			require.NoError(t, err)
			require.Len(t, p.Addresses, 1)
		},
	},
	{
		name: "read, archive, erase, come back",
		steps: []func(context.Context, *town) error{
			puts(), joins(giuseppe), sends(numbered(giuseppe, 1), numbered(giuseppe, 2)),
			func(ctx context.Context, w *town) error {
				for m, err := range w.person(giuseppe).Inbox(nil).All(ctx) {
					if err != nil {
						return err
					}
					if err := w.person(giuseppe).MarkRead(ctx, m.ID); err != nil {
						return err
					}
					if err := w.person(giuseppe).Archive(ctx, m.ID, true); err != nil {
						return err
					}
				}
				return nil
			},
			func(ctx context.Context, w *town) error { return w.person(giuseppe).Erase(ctx) },
			func(ctx context.Context, w *town) error {
				return errors.Join(flushes(ctx, w), w.person(giuseppe).SetMode(ctx, appio.Auto))
			},
			sends(numbered(giuseppe, 3)),
		},
		check: func(t *testing.T, w *town) {
			inboxOf(t, w, giuseppe, 3)
			require.Empty(t, collect(t, w.person(giuseppe).Inbox(&appio.InboxOptions{Archived: true})))
		},
	},
	{
		name: "keys, activation, withdrawal",
		steps: []func(context.Context, *town) error{
			puts(func(s *appio.Service) { s.Category = appio.Special }), joins(giuseppe),
			func(ctx context.Context, w *town) error {
				return w.PutKey(ctx, mensa, appio.Primary, strings.Repeat("a", 20))
			},
			func(ctx context.Context, w *town) error {
				return w.PutKey(ctx, mensa, appio.Primary, strings.Repeat("b", 20))
			},
			func(ctx context.Context, w *town) error {
				return w.Sender(mensa).Activate(ctx, giuseppe, appio.Active, time.Unix(1e9, 0))
			},
			func(ctx context.Context, w *town) error {
				s, err := w.SenderByKey(ctx, strings.Repeat("b", 20), noAddr)
				if err != nil {
					return err
				}
				_, err = s.Send(ctx, numbered(giuseppe, 1))
				return err
			},
			func(ctx context.Context, w *town) error {
				for range 5 {
					if _, err := w.Flush(ctx); err != nil || len(w.email.deliveries()) > 0 {
						break
					}
					time.Sleep(40 * time.Second)
				}
				if len(w.email.deliveries()) == 0 {
					return errNotYet
				}
				return w.Withdraw(ctx, w.email.deliveries()[0].Withdraw)
			},
		},
		check: func(t *testing.T, w *town) {
			inboxOf(t, w, giuseppe, 1)
			_, err := w.SenderByKey(t.Context(), strings.Repeat("a", 20), noAddr)
			require.ErrorIs(t, err, appio.ErrUnauthorized)
			p, err := w.person(giuseppe).Preference(t.Context(), mensa)
			require.NoError(t, err)
			require.Equal(t, appio.On(appio.Push), p.Channels)
		},
	},
	{
		name: "quiet hours, and none any more", // it is one in the morning
		opts: func(o *appio.Options) { o.Channels[1].Interrupts = true },
		steps: []func(context.Context, *town) error{
			puts(), joins(giuseppe), quietens(hours("22:00", "09:00")), sends(numbered(giuseppe, 1), numbered(giuseppe, 2)), flushes,
			func(_ context.Context, w *town) error {
				if len(w.push.deliveries()) > 0 {
					return errors.New("a push at night")
				}
				return nil
			},
			quietens(appio.QuietHours{}), sends(numbered(giuseppe, 3)), flushes,
		},
		check: func(t *testing.T, w *town) {
			require.Equal(t, subjectsOf(numbered(giuseppe, 1), numbered(giuseppe, 2), numbered(giuseppe, 3)), subjectsBy(w.email))
			require.Equal(t, 3, len(idsBy(w.push)))
			require.True(t, time.Now().Before(time.Date(2000, 1, 1, 2, 0, 0, 0, time.UTC)), "they have not waited for the morning")
		},
	},
	{
		name: "a fallback of what is read, and of what is not",
		opts: func(o *appio.Options) {
			o.Channels[0].Fallback = appio.Fallback{Of: appio.Push, After: 24 * time.Hour}
		},
		steps: []func(context.Context, *town) error{
			puts(), joins(giuseppe), sends(numbered(giuseppe, 1), numbered(giuseppe, 2)), flushes,
			func(ctx context.Context, w *town) error {
				for m, err := range w.person(giuseppe).Inbox(nil).All(ctx) {
					if err != nil {
						return err
					}
					if m.Subject == numbered(giuseppe, 1).Subject {
						return w.person(giuseppe).MarkRead(ctx, m.ID)
					}
				}
				return errNotYet
			},
			waits(25 * time.Hour), flushes,
		},
		check: func(t *testing.T, w *town) {
			require.Equal(t, subjectsOf(numbered(giuseppe, 2)), subjectsBy(w.email))
			require.Equal(t, 2, len(idsBy(w.push)))
		},
	},
	{
		name: "ask for deletion, take it back, ask again",
		steps: []func(context.Context, *town) error{
			puts(), joins(giuseppe), sends(numbered(giuseppe, 1)), asksForDeletion,
			func(ctx context.Context, w *town) error {
				_, err := w.person(giuseppe).AbortDeletion(ctx)
				return unlessDone(ctx, w, err, appio.RequestAborted)
			},
			waits(7 * 24 * time.Hour), flushes,
			func(ctx context.Context, w *town) error { // all is as it was
				page, err := w.person(giuseppe).Inbox(nil).Page(ctx, "", 0)
				if err == nil && len(page.Items) != 1 {
					err = errors.New("the message is gone")
				}
				return err
			},
			asksForDeletion, waits(7 * 24 * time.Hour), flushes, waits(time.Minute), flushes,
		},
		check: func(t *testing.T, w *town) {
			inboxOf(t, w, giuseppe)
			r, err := w.person(giuseppe).DataRequest(t.Context(), appio.DeleteData)
			require.NoError(t, err)
			require.Equal(t, appio.RequestClosed, r.Status)
			require.Equal(t, 5, r.Version, "each change was made once")
			require.Equal(t, appio.Erased, collect(t, w.person(giuseppe).Consents())[0].What)
		},
	},
	{
		name: "a fallback of what fails for good",
		opts: func(o *appio.Options) {
			o.Channels[1].Fallback = appio.Fallback{Of: appio.Email, After: 24 * time.Hour}
		},
		steps: []func(context.Context, *town) error{
			puts(), joins(giuseppe), answers(appio.Gone(errProvider)), sends(numbered(giuseppe, 1)), flushes,
			func(ctx context.Context, w *town) error {
				for range 5 {
					if _, err := w.Flush(ctx); err != nil || len(w.push.deliveries()) > 0 {
						return err
					}
					time.Sleep(40 * time.Second)
				}
				return errNotYet
			},
		},
		check: func(t *testing.T, w *town) {
			require.Equal(t, 1, len(idsBy(w.push)))
			require.True(t, time.Now().Before(time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC)), "it has not waited for a day")
		},
	},
}

func asksForDeletion(ctx context.Context, w *town) error {
	_, err := w.person(giuseppe).RequestData(ctx, appio.DeleteData)
	return unlessDone(ctx, w, err, appio.RequestPending)
}

// unlessDone is no error where a request is already as it was to become: by an earlier try, whose outcome was not known.
func unlessDone(ctx context.Context, w *town, err error, s appio.RequestStatus) error {
	if errors.Is(err, appio.ErrConflict) {
		if r, _ := w.person(giuseppe).DataRequest(ctx, appio.DeleteData); r.Status == s {
			return nil
		}
	}
	return err
}

func quietens(q appio.QuietHours) func(ctx context.Context, w *town) error {
	return func(ctx context.Context, w *town) error {
		return w.person(giuseppe).UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Quiet = q
			return nil
		})
	}
}

func subjectsOf(ms ...appio.Message) map[string]bool {
	all := map[string]bool{}
	for _, m := range ms {
		all[m.Subject] = true
	}
	return all
}

// subjectsBy is what a channel was given, once or more often.
func subjectsBy(b *postbox) map[string]bool {
	all := map[string]bool{}
	for _, d := range b.deliveries() {
		all[d.Subject] = true
	}
	return all
}

func idsBy(b *postbox) map[appio.MessageID]bool {
	all := map[appio.MessageID]bool{}
	for _, d := range b.deliveries() {
		all[d.Message] = true
	}
	return all
}

// TestFaults lets the n-th call of the store go wrong, for n = 1, 2, 3 ... until none does, in each of the scripts. Whatever the
// caller is told, nothing half-done is ever to be seen, and when each step was repeated until it succeeded all is as if nothing
// had gone wrong.
func TestFaults(t *testing.T) {
	t.Parallel()
	var failing atomic.Int64
	t.Cleanup(func() {
		form.Figures(t, map[string]float64{"scripts": float64(len(scripts)), "failing calls": float64(failing.Load())})
	})
	for _, f := range faults {
		for _, s := range scripts {
			t.Run(fmt.Sprintf("%s: %s", s.name, f.name), func(t *testing.T) {
				t.Parallel()
				for n := 1; ; n++ {
					hit := false
					synctest.Test(t, func(t *testing.T) { hit = runFaulty(t, &s, &f, n) })
					if !hit {
						require.Greater(t, n, 4)
						return
					}
					failing.Add(1)
				}
			})
		}
	}
}

// runFaulty runs a script with the n-th call going wrong and reports whether there was such a call.
func runFaulty(t *testing.T, s *script, f *fault, n int) bool {
	base := newHookedStore()
	if os.Getenv(envTear) != "" {
		base.Store = &tearing{base.Store}
	}
	opts := s.opts
	if opts == nil {
		opts = func(*appio.Options) {}
	}
	w := newTownOn(t, base, opts)
	var mu sync.Mutex
	calls, over := 0, false
	next := func() bool { // whether this call goes wrong
		mu.Lock()
		defer mu.Unlock()
		calls++
		return !over && (calls == n || f.lasting && calls > n)
	}
	heal := func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
	}
	hit := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return calls >= n
	}
	if f.read {
		base.onRead(func() error {
			if next() {
				return errLost
			}
			return nil
		})
	} else {
		base.onCommit(func(ctx context.Context, changes []store.Change, commit commitFunc) ([]error, error) {
			if next() {
				return f.commit(ctx, changes, commit)
			}
			return commit(ctx, changes)
		})
	}
	ctx := t.Context()
	for i, step := range s.steps {
		for try := 0; ; try++ {
			err := step(ctx, w)
			synctest.Wait()
			if err == nil {
				break
			}
			about := fmt.Sprintf("call %d, step %d: %v", n, i, err)
			require.True(t, hit(), about)
			held := errors.Is(err, errNotYet) || errors.Is(err, appio.ErrErasing) // for work that the fault held up
			if i > 0 && !held {                                                   // in the first step the engine makes the store out
				require.Equal(t, f.unknown, errors.Is(err, appio.ErrUnknown), about)
			}
			if i > 0 && !held && !f.lasting && !f.read {
				require.ErrorIs(t, err, store.ErrFull, "%s: one fault is mended by trying again", about)
			}
			heal()
			require.Less(t, try, 3, about)
			requireWhole(t, w, n)
		}
	}
	heal()
	for range 3 { // whose outcome was not recorded is claimed again when its lease is over
		time.Sleep(time.Minute)
		require.NoError(t, flushes(ctx, w))
		synctest.Wait()
	}
	requireWhole(t, w, n)
	s.check(t, w)
	require.Empty(t, openWork(t, base))
	h, err := w.Health(ctx)
	require.NoError(t, err)
	require.Equal(t, appio.Health{}, h)
	return hit()
}

var (
	noAddr  netip.Addr
	persons = []fiscalcode.Person{giuseppe, matteo, personNumber(1), personNumber(2)}
)

// requireWhole requires that what can be seen fits together: each message has its content, decision, status and outcomes.
func requireWhole(t *testing.T, w *town, n int) {
	t.Helper()
	ctx := t.Context()
	contents, decided, repeats := map[appio.MessageID]bool{}, map[appio.MessageID]bool{}, 0
	for _, k := range keysOf(t, w.store.(*hookedStore).Store, citizens) {
		switch kind, id, _ := strings.Cut(string(k), "/"); {
		case kind == "m" && !strings.HasSuffix(id, "+"):
			contents[appio.MessageID(id)] = true
		case kind == "d":
			decided[appio.MessageID(id)] = true
		case kind == "i":
			repeats++
		}
	}
	require.Len(t, decided, repeats, "call %d: each decision has its key", n)
	for id := range contents {
		require.True(t, decided[id], "call %d: a message without a decision", n)
	}
	for _, code := range persons {
		c := w.person(code)
		for id := range decided {
			r, err := w.Explain(ctx, code, id)
			if errors.Is(err, appio.ErrNotFound) {
				continue
			}
			require.NoError(t, err)
			require.True(t, appio.Decide(r.Facts).Equal(r.Decision))
			st, err := w.Sender(mensa).Status(ctx, code, id)
			require.NoError(t, err)
			require.Equal(t, r.Decision.Status, st.Status)
			if r.Decision.Status == appio.Rejected {
				require.False(t, contents[id], "call %d: the content of a rejected message", n)
			} else if contents[id] {
				m, err := c.Message(ctx, id)
				if !errors.Is(err, appio.ErrErasing) {
					require.NoError(t, err)
					require.Equal(t, markdown, m.Markdown)
				}
			}
			ended := map[appio.DeliveryID]int{}
			for _, o := range r.Outcomes {
				if o.Result != appio.OutcomeParked {
					ended[o.ID]++
				}
				require.False(t, o.Late, "call %d: %+v", n, r.Outcomes)
			}
			for _, times := range ended {
				require.Equal(t, 1, times, "call %d: a delivery ends once: %+v", n, r.Outcomes)
			}
		}
		_, err := c.Profile(ctx)
		require.NoError(t, err)
		collect(t, c.Consents()) // the chain is whole
	}
	copies := map[appio.DeliveryID]int{}
	for _, d := range slices.Concat(w.email.deliveries(), w.push.deliveries()) {
		copies[d.ID]++
		require.LessOrEqual(t, copies[d.ID], 3, "call %d", n)
	}
}

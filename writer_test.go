package appio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	"github.com/appio-go/appio/store/memstore"
)

// A hookedStore lets a test come between the engine and its store.
type hookedStore struct {
	store.Store
	mu     sync.Mutex
	read   func() error // before View, Due and Owners
	commit commitHook
}

type (
	commitFunc func(ctx context.Context, changes []store.Change) ([]error, error)
	commitHook func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error)
)

func newHookedStore() *hookedStore { return &hookedStore{Store: memstore.New()} }

func (h *hookedStore) onRead(f func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.read = f
}

func (h *hookedStore) onCommit(f commitHook) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.commit = f
}

func (h *hookedStore) reading() error {
	h.mu.Lock()
	f := h.read
	h.mu.Unlock()
	if f == nil {
		return nil
	}
	return f()
}

func (h *hookedStore) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	if err := h.reading(); err != nil {
		return nil, err
	}
	return h.Store.View(ctx, reads)
}

func (h *hookedStore) Due(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
	if err := h.reading(); err != nil {
		return nil, err
	}
	return h.Store.Due(ctx, q)
}

func (h *hookedStore) Owners(ctx context.Context, after store.Owner, limit int) ([]store.Owner, error) {
	if err := h.reading(); err != nil {
		return nil, err
	}
	return h.Store.Owners(ctx, after, limit)
}

func (h *hookedStore) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	h.mu.Lock()
	f := h.commit
	h.mu.Unlock()
	if f == nil {
		return h.Store.Commit(ctx, changes)
	}
	return f(ctx, changes, h.Store.Commit)
}

var (
	errLost   = errors.New("connection lost")
	errNotYet = errors.New("nothing was delivered yet")
)

// A fault is what goes wrong in one call of the store, or in all from one on.
type fault struct {
	name    string
	read    bool // of a read; otherwise of a commit
	unknown bool // callers cannot know what became of the commit
	lasting bool
	commit  commitHook
}

var faults = []fault{
	{name: "a read fails", read: true},
	{name: "reads fail", read: true, lasting: true},
	{name: "a commit is aborted", commit: aborts},
	{name: "commits are aborted", commit: aborts, lasting: true},
	{name: "there is no room", commit: isFull},
	{name: "there is no room any more", commit: isFull, lasting: true},
	{name: "somebody else was faster", commit: conflicts},
	{name: "an answer is lost, and the change with it", commit: losesAll, unknown: true},
	{name: "an answer is lost, and the change is made", commit: losesAnswer, unknown: true},
	{name: "an answer is lost, and the change is made a moment later", commit: isLate, unknown: true},
	{name: "an answer is lost, and every other owner is changed", commit: losesHalf, unknown: true},
	{name: "answers are lost, and the changes with them", commit: losesAll, unknown: true, lasting: true},
	{name: "answers are lost, and the changes are made", commit: losesAnswer, unknown: true, lasting: true},
}

func aborts(context.Context, []store.Change, commitFunc) ([]error, error) {
	return nil, fmt.Errorf("%w: deadlock", store.ErrAborted)
}

func isFull(context.Context, []store.Change, commitFunc) ([]error, error) { return nil, store.ErrFull }

func conflicts(_ context.Context, changes []store.Change, _ commitFunc) ([]error, error) {
	return slices.Repeat([]error{store.ErrConflict}, len(changes)), nil
}

func losesAll(context.Context, []store.Change, commitFunc) ([]error, error) { return nil, errLost }

func losesAnswer(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
	_, _ = next(ctx, changes)
	return nil, errLost
}

func losesHalf(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
	for i := 0; i < len(changes); i += 2 {
		_, _ = next(ctx, changes[i:i+1])
	}
	return nil, errLost
}

func isLate(_ context.Context, changes []store.Change, next commitFunc) ([]error, error) {
	time.AfterFunc(time.Millisecond, func() { _, _ = next(context.Background(), changes) })
	return nil, errLost
}

// A script is what a caller does, in steps that can be repeated until they succeed.
type script struct {
	name  string
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
	w := newTownOn(t, base)
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

func TestWriter(t *testing.T) {
	t.Parallel()

	// town is with a citizen, a service, and a store whose commits can be come between.
	setup := func(t *testing.T) (*town, *hookedStore, *appio.Sender, *appio.Citizen) {
		h := newHookedStore()
		w := newTownOn(t, h)
		return w, h, w.put(), w.enrol(giuseppe, appio.Auto)
	}
	// once lets the first commit go by f, and the others as they are.
	once := func(f commitHook) commitHook {
		var first sync.Once
		return func(ctx context.Context, changes []store.Change, next commitFunc) (errs []error, err error) {
			mine := false
			first.Do(func() { mine = true })
			if mine {
				return f(ctx, changes, next)
			}
			return next(ctx, changes)
		}
	}

	inBubble(t, "a choice made between the reading of consent and the commit is honoured", func(t *testing.T) {
		w, h, s, _ := setup(t)
		elsewhere := newTownOn(t, h.Store)
		h.onCommit(once(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			if err := elsewhere.person(giuseppe).SetPreference(ctx, mensa, appio.Preference{}); err != nil {
				return nil, err
			}
			return next(ctx, changes)
		}))
		r, err := s.Send(t.Context(), messageTo(giuseppe))
		require.NoError(t, err)
		require.Equal(t, appio.Rejected, r.Status)
		require.Empty(t, collect(t, w.person(giuseppe).Inbox(nil)))
		require.Equal(t, appio.RuleServiceRefused, w.explain(giuseppe, r.ID).Decision.Rule)
	})

	inBubble(t, "a service stopped elsewhere is stopped at the next message", func(t *testing.T) {
		_, h, s, _ := setup(t)
		elsewhere := newTownOn(t, h.Store)
		elsewhere.put(func(s *appio.Service) { s.State = appio.Stopped })
		_, err := s.Send(t.Context(), messageTo(giuseppe))
		require.ErrorIs(t, err, appio.ErrForbidden)
	})

	inBubble(t, "a message sent while the service is being written waits for that", func(t *testing.T) {
		w, h, s, _ := setup(t)
		h.onCommit(once(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			time.Sleep(time.Second)
			return next(ctx, changes)
		}))
		done := make(chan error, 1)
		go func() { done <- stop(context.Background(), w) }()
		synctest.Wait()
		_, err := s.Send(t.Context(), messageTo(giuseppe))
		require.ErrorIs(t, err, appio.ErrForbidden)
		require.NoError(t, <-done)

		h.onCommit(once(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			time.Sleep(time.Hour)
			return next(ctx, changes)
		}))
		go func() { done <- w.PutService(context.Background(), newService()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err = s.Send(ctx, messageTo(giuseppe))
		require.Error(t, err)
		require.NotErrorIs(t, err, appio.ErrUnknown)
		require.Less(t, time.Since(start), time.Second, "but no longer than its context")
		_, err = s.Send(t.Context(), messageTo(giuseppe))
		require.ErrorIs(t, err, appio.ErrBusy, "nor without end")
		require.NoError(t, <-done)
		w.send(s, messageTo(giuseppe))
	})

	t.Run("a batch larger than a change or a commit may be is stored whole", func(t *testing.T) {
		t.Parallel()
		w, _, s, c := setup(t)
		ctx := t.Context()
		large := strings.Repeat("€", 10_000) // 30,000 bytes
		ms := make([]appio.Message, 300)
		for i := range ms {
			ms[i] = messageTo(giuseppe, func(m *appio.Message) { m.Markdown = large })
		}
		_, err := s.SendBatch(ctx, ms)
		require.NoError(t, err)
		require.Len(t, collect(t, c.Inbox(nil)), len(ms))

		ms = ms[:0]
		for i := range 1200 {
			if i < 300 {
				require.NoError(t, w.person(personNumber(i)).SetMode(ctx, appio.Auto))
			}
			ms = append(ms, messageTo(personNumber(i%300), func(m *appio.Message) { m.Markdown = large }))
		}
		rs, err := s.SendBatch(ctx, ms)
		require.NoError(t, err)
		for _, r := range rs {
			require.Equal(t, appio.Processed, r.Status)
		}
	})

	inBubble(t, "who conflicts without end is busy, and nothing was changed", func(t *testing.T) {
		w, h, s, c := setup(t)
		commits := 0
		h.onCommit(func(_ context.Context, changes []store.Change, _ commitFunc) ([]error, error) {
			commits++
			return []error{store.ErrConflict}, nil
		})
		_, err := s.Send(t.Context(), messageTo(giuseppe, withKey("k")))
		require.ErrorIs(t, err, appio.ErrBusy)
		require.NotErrorIs(t, err, appio.ErrUnknown)
		require.Equal(t, 17, commits)
		require.ErrorIs(t, c.SetMode(t.Context(), appio.Manual), appio.ErrBusy)
		h.onCommit(nil)
		require.Empty(t, collect(t, c.Inbox(nil)))
		r, err := s.Send(t.Context(), messageTo(giuseppe, withKey("k")))
		require.NoError(t, err)
		require.False(t, r.Repeated)
		require.Len(t, collect(t, c.Inbox(nil)), 1)
		require.Equal(t, 2, w.flush())
	})

	inBubble(t, "one owner's conflict does not hold up the others of a commit", func(t *testing.T) {
		w, h, s, _ := setup(t)
		w.enrol(matteo, appio.Auto)
		var last []error
		h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			if len(changes) == 1 {
				return []error{store.ErrConflict}, nil
			}
			_, err := next(ctx, changes[:1])
			last = make([]error, len(changes))
			for i := range changes[1:] {
				last[i+1] = store.ErrConflict
			}
			return last, err
		})
		rs, err := s.SendBatch(t.Context(), []appio.Message{messageTo(giuseppe), messageTo(matteo)})
		require.ErrorIs(t, err, appio.ErrBusy)
		busy := 0
		for _, r := range rs {
			if r.Err != nil {
				busy++
				require.ErrorIs(t, r.Err, appio.ErrBusy)
			}
		}
		require.Equal(t, 1, busy)
	})

	inBubble(t, "a context that ends while a commit is under way is an outcome that is not known, and the key asks again", func(t *testing.T) {
		w, h, s, c := setup(t)
		h.onCommit(once(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			time.Sleep(30 * time.Second)
			return next(ctx, changes)
		}))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		r, err := s.Send(ctx, messageTo(giuseppe, withKey("k")))
		require.ErrorIs(t, err, appio.ErrUnknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, r.Status)
		require.Equal(t, 4*time.Second, time.Since(start), "it is given a moment")
		r, err = s.Send(t.Context(), messageTo(giuseppe, withKey("k")))
		require.NoError(t, err)
		require.True(t, r.Repeated)
		require.Len(t, collect(t, c.Inbox(nil)), 1)
		require.Equal(t, 2, w.flush())
	})

	inBubble(t, "a context that ends while the operation waits for its turn sends nothing", func(t *testing.T) {
		_, h, s, c := setup(t)
		h.onCommit(once(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			time.Sleep(30 * time.Second)
			return next(ctx, changes)
		}))
		done := make(chan error, 1)
		go func() {
			_, err := s.Send(context.Background(), messageTo(giuseppe, withKey("first")))
			done <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := s.Send(ctx, messageTo(giuseppe, withKey("second")))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, appio.ErrUnknown)
		require.NoError(t, <-done)
		require.Len(t, collect(t, c.Inbox(nil)), 1)
	})

	inBubble(t, "what of a batch is known is told, though the rest is not when its context ends", func(t *testing.T) {
		w, h, s, _ := setup(t)
		w.enrol(matteo, appio.Auto)
		h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			if len(changes) == 1 {
				time.Sleep(30 * time.Second)
				return next(ctx, changes)
			}
			_, err := next(ctx, changes[:1])
			return []error{nil, store.ErrConflict}, err
		})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		rs, err := s.SendBatch(ctx, []appio.Message{messageTo(giuseppe), messageTo(matteo)})
		require.ErrorIs(t, err, appio.ErrUnknown)
		var known []fiscalcode.Person
		for i, r := range rs {
			if r.Err == nil {
				require.Equal(t, appio.Processed, r.Status)
				known = append(known, []fiscalcode.Person{giuseppe, matteo}[i])
			}
		}
		require.Len(t, known, 1)
		require.Len(t, collect(t, w.person(known[0]).Inbox(nil)), 1)
		time.Sleep(time.Minute)
	})

	inBubble(t, "only those are told that an outcome is not known whose it is", func(t *testing.T) {
		_, h, s, c := setup(t)
		var joined sync.WaitGroup
		var late error
		commits := 0
		h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			if commits++; commits > 1 {
				return next(ctx, changes)
			}
			_, _ = next(ctx, changes) // it is made, and the next try is a conflict
			joined.Go(func() { _, late = s.Send(context.Background(), messageTo(giuseppe, withKey("late"))) })
			time.Sleep(time.Millisecond)
			h.onRead(func() error { return errLost })
			return nil, errLost
		})
		_, err := s.Send(t.Context(), messageTo(giuseppe, withKey("first")))
		joined.Wait()
		require.ErrorIs(t, err, appio.ErrUnknown)
		require.ErrorIs(t, late, errLost)
		require.NotErrorIs(t, late, appio.ErrUnknown)
		h.onRead(nil)
		require.Len(t, collect(t, c.Inbox(nil)), 1)
		r, err := s.Send(t.Context(), messageTo(giuseppe, withKey("first")))
		require.NoError(t, err)
		require.True(t, r.Repeated)
	})

	inBubble(t, "outcomes that were merged into a commit whose answer is lost are recorded once", func(t *testing.T) {
		w, h, s, c := setup(t)
		answer := func(context.Context, appio.Delivery) error { time.Sleep(500 * time.Millisecond); return nil }
		w.email.answer, w.push.answer = answer, answer
		end := w.run()
		time.Sleep(time.Second)
		id := w.send(s, messageTo(giuseppe))
		time.Sleep(200 * time.Millisecond)
		commits := 0
		h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			switch commits++; commits {
			case 1: // of the citizen, while both deliveries end
				time.Sleep(time.Second)
			case 2:
				_, _ = next(ctx, changes)
				return nil, errLost
			}
			return next(ctx, changes)
		})
		require.NoError(t, c.MarkRead(t.Context(), id))
		time.Sleep(5 * time.Second)
		o := w.explain(giuseppe, id).Outcomes
		require.Len(t, o, 2, "%+v", o)
		for i := range o {
			require.False(t, o[i].Late, "%+v", o)
		}
		require.Empty(t, openWork(t, h.Store))
		end()
	})

	inBubble(t, "a citizen's choice goes before the messages that wait", func(t *testing.T) {
		w, h, s, c := setup(t)
		h.onCommit(once(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			time.Sleep(time.Second)
			return next(ctx, changes)
		}))
		const n = 300
		var wg sync.WaitGroup
		results := make([]appio.Result, n)
		for i := range n {
			wg.Go(func() { results[i], _ = s.Send(context.Background(), messageTo(giuseppe)) })
			synctest.Wait()
		}
		require.NoError(t, c.SetPreference(t.Context(), mensa, appio.Preference{}))
		wg.Wait()
		processed := 0
		for _, r := range results {
			require.NoError(t, r.Err)
			if r.Status == appio.Processed {
				processed++
			}
		}
		require.Less(t, processed, n/2, "those that were in the commit under way")
		require.Len(t, collect(t, w.person(giuseppe).Inbox(nil)), processed)
	})

	inBubble(t, "senders wait while too much is under way, and nothing is lost", func(t *testing.T) {
		w, h, s, _ := setup(t)
		gate, open := newGate(t)
		h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			<-gate
			return next(ctx, changes)
		})
		const n = 16384
		done := make(chan error, 1)
		go func() {
			ms := make([]appio.Message, n)
			for i := range ms {
				ms[i] = messageTo(personNumber(i % 2000))
			}
			_, err := s.SendBatch(context.Background(), ms)
			done <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		r, err := s.Send(ctx, messageTo(giuseppe, withKey("k")))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, appio.ErrUnknown)
		require.Zero(t, r.Status)
		require.Equal(t, time.Minute, time.Since(start))
		choice := make(chan error, 1)
		go func() { choice <- w.person(personNumber(9999)).SetMode(context.Background(), appio.Auto) }()
		synctest.Wait()
		open()
		require.NoError(t, <-done)
		require.NoError(t, <-choice, "a citizen's choice is not held up by senders")
		require.Empty(t, collect(t, w.person(giuseppe).Inbox(nil)))
		w.send(s, messageTo(giuseppe, withKey("k")))
	})

	inBubble(t, "Flush says that the store refuses", func(t *testing.T) {
		w, h, s, _ := setup(t)
		w.send(s, messageTo(giuseppe))
		h.onCommit(func(context.Context, []store.Change, commitFunc) ([]error, error) { return nil, store.ErrFull })
		_, err := w.Flush(t.Context())
		require.ErrorIs(t, err, store.ErrFull)
		h.onCommit(nil)
		require.Equal(t, 2, w.flush())
	})

	inBubble(t, "Run goes on after a store that was away, and ends with one that has failed", func(t *testing.T) {
		w, h, s, _ := setup(t)
		done := make(chan error, 1)
		go func() { done <- w.Run(context.Background()) }()
		time.Sleep(time.Second)
		h.onRead(func() error { return errLost })
		time.Sleep(time.Minute)
		h.onRead(nil)
		time.Sleep(2 * time.Second)
		w.send(s, messageTo(giuseppe))
		time.Sleep(2 * time.Second)
		require.Len(t, w.email.deliveries(), 1)

		h.onCommit(func(context.Context, []store.Change, commitFunc) ([]error, error) { return nil, store.ErrFailed })
		_, err := s.Send(t.Context(), messageTo(giuseppe))
		require.ErrorIs(t, err, store.ErrFailed)
		h.onRead(func() error { return store.ErrFailed })
		require.ErrorIs(t, <-done, store.ErrFailed)
	})
}

func TestClose(t *testing.T) {
	t.Parallel()

	inBubble(t, "ends Run, and a second time does nothing", func(t *testing.T) {
		w := newTown(t)
		w.put()
		done := make(chan error, 1)
		go func() { done <- w.Run(context.Background()) }()
		time.Sleep(time.Second)
		require.NoError(t, w.Close())
		require.NoError(t, <-done)
		require.NoError(t, w.Close())
	})

	inBubble(t, "from many at once waits for the same", func(t *testing.T) {
		h := newHookedStore()
		w := newTownOn(t, h)
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			time.Sleep(10 * time.Second)
			return next(ctx, changes)
		})
		sent := make(chan error, 1)
		go func() {
			_, err := s.Send(context.Background(), messageTo(giuseppe))
			sent <- err
		}()
		time.Sleep(time.Second)
		start := time.Now()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				_ = w.Close()
				if took := time.Since(start); took != 9*time.Second {
					t.Errorf("closed after %v", took)
				}
			})
		}
		wg.Wait()
		require.NoError(t, <-sent, "what was under way is done")
		require.Len(t, keysOf(t, h.Store, citizens), len(keysOf(t, h.Store, citizens)), "the store is the caller's to close")
	})

	t.Run("refuses all that comes later", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		key, err := w.NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		id := w.send(s, messageTo(giuseppe))
		w.flush()
		token := w.email.deliveries()[0].Withdraw
		require.NoError(t, w.Close())
		for name, call := range map[string]func() error{
			"PutOrganization": func() error { return w.PutOrganization(ctx, appio.Organization{Code: comune, Name: "Comune"}) },
			"Organization":    func() error { _, err := w.Organization(ctx, comune); return err },
			"PutService":      func() error { return w.PutService(ctx, newService()) },
			"Service":         func() error { _, err := w.Service(ctx, mensa); return err },
			"Services":        func() error { _, err := w.Services().Page(ctx, "", 1); return err },
			"NewKey":          func() error { _, err := w.NewKey(ctx, mensa, appio.Primary); return err },
			"PutKey":          func() error { return w.PutKey(ctx, mensa, appio.Primary, key) },
			"SenderByKey":     func() error { _, err := w.SenderByKey(ctx, key, noAddr); return err },
			"Send":            func() error { _, err := s.Send(ctx, messageTo(giuseppe)); return err },
			"SendBatch":       func() error { rs, _ := s.SendBatch(ctx, make([]appio.Message, 2)); return rs[1].Err },
			"Status":          func() error { _, err := s.Status(ctx, giuseppe, id); return err },
			"CanContact":      func() error { _, err := s.CanContact(ctx, giuseppe); return err },
			"Activate":        func() error { return s.Activate(ctx, giuseppe, appio.Active, time.Time{}) },
			"Profile":         func() error { _, err := c.Profile(ctx); return err },
			"SetMode":         func() error { return c.SetMode(ctx, appio.Auto) },
			"UpdateProfile":   func() error { return c.UpdateProfile(ctx, func(*appio.Profile) error { return nil }) },
			"Preference":      func() error { _, err := c.Preference(ctx, mensa); return err },
			"SetPreference":   func() error { return c.SetPreference(ctx, mensa, appio.Preference{}) },
			"Inbox":           func() error { _, err := c.Inbox(nil).Page(ctx, "", 1); return err },
			"Message":         func() error { _, err := c.Message(ctx, id); return err },
			"MarkRead":        func() error { return c.MarkRead(ctx, id) },
			"Archive":         func() error { return c.Archive(ctx, id, true) },
			"Consents":        func() error { _, err := c.Consents().Page(ctx, "", 1); return err },
			"Citizen.Explain": func() error { _, err := c.Explain(ctx, id); return err },
			"Erase":           func() error { return c.Erase(ctx) },
			"Explain":         func() error { _, err := w.Explain(ctx, giuseppe, id); return err },
			"Withdraw":        func() error { return w.Withdraw(ctx, token) },
			"Parked":          func() error { _, err := w.Parked().Page(ctx, "", 1); return err },
			"Replay":          func() error { return w.Replay(ctx) },
			"Health": func() error {
				h, err := w.Health(ctx)
				if !errors.Is(h.Err, store.ErrClosed) {
					return errors.New("health says nothing")
				}
				return err
			},
			"Run":    func() error { return w.Run(ctx) },
			"Flush":  func() error { _, err := w.Flush(ctx); return err },
			"Backup": func() error { return w.Backup(ctx, io.Discard) },
		} {
			require.ErrorIs(t, call(), store.ErrClosed, name)
		}
		again := newTownOn(t, w.store)
		require.Len(t, collect(t, again.person(giuseppe).Inbox(nil)), 1, "the store is the caller's, and open")
	})

	inBubble(t, "amid senders leaves each message whole or not there, and says which", func(t *testing.T) {
		w := newTown(t)
		s := w.put()
		const people = 8
		for i := range people {
			w.enrol(personNumber(i), appio.Auto)
		}
		end := make(chan error, 1)
		go func() { end <- w.Run(context.Background()) }()
		time.Sleep(time.Second)
		var mu sync.Mutex
		accepted, wrong := map[appio.MessageID]bool{}, []error(nil)
		var wg sync.WaitGroup
		for i := range people {
			wg.Go(func() {
				for {
					r, err := s.Send(context.Background(), messageTo(personNumber(i)))
					mu.Lock()
					switch {
					case err == nil:
						accepted[r.ID] = true
					case !errors.Is(err, store.ErrClosed):
						wrong = append(wrong, err)
					}
					mu.Unlock()
					if err != nil {
						return
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, w.Close())
		wg.Wait()
		require.NoError(t, <-end)
		require.Empty(t, wrong)
		again := newTownOn(t, w.store)
		found := 0
		for i := range people {
			for _, m := range collect(t, again.person(personNumber(i)).Inbox(nil)) {
				require.True(t, accepted[m.ID])
				found++
			}
		}
		require.Len(t, accepted, found)
	})
}

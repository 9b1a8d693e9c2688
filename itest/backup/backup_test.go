// Package backup shows that a copy made while the engine works is one of a moment: what it has and what it lacks fit together.
package backup

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/itest/internal/planted"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
	"github.com/appio-go/appio/store/memstore"
)

func TestMain(m *testing.M) {
	if os.Getenv(envDir) != "" {
		fmt.Fprintln(os.Stderr, child(os.Getenv(envDir)))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

const (
	service = appio.ServiceID("avvisi")
	senders = 6 // each writes to a citizen of its own

	envDir = "APPIO_BACKUP_DIR"
	// envTorn plants a bug: a backup reads the file bit by bit while it changes.
	envTorn = "APPIO_BACKUP_TORN"
)

func person(i int) fiscalcode.Person { return fiscalcode.Person(fmt.Sprintf("RSSMRA85M10H%03dS", i)) }

func options(dir string) *appio.Options {
	return &appio.Options{Keys: appio.FileKeys(filepath.Join(dir, "key")), Channels: []appio.Route{{Name: appio.Push, Default: appio.Full, ByCode: true,
		Channel: appio.ChannelFunc(func(context.Context, appio.Delivery) error { return nil })}}}
}

// small makes a store that merges and collects all the time.
var small = &boltstore.Options{Memory: 32 << 10}

// An entry is one message that was sent; times are of one clock for all senders.
type entry struct {
	id         appio.MessageID
	begin, end int64
}

// A load sends until it is stopped, and knows what was accepted.
type load struct {
	*appio.Engine
	store.Store
	clock atomic.Int64
	mu    sync.Mutex
	sent  [senders][]entry
	ends  sync.WaitGroup
	stop  atomic.Bool
	pause atomic.Int64                            // of a sender between two messages, in nanoseconds
	said  func(sender, n int, id appio.MessageID) // nil: nobody listens
	fails chan error
}

// torn copies the file without asking the store.
type torn struct {
	store.Store
	path string
}

func (s *torn) Backup(_ context.Context, w io.Writer) error {
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	for err == nil {
		_, err = io.CopyN(w, f, 32<<10)
		time.Sleep(time.Millisecond)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func begin(dir string, said func(int, int, appio.MessageID)) (*load, error) {
	l := &load{said: said, fails: make(chan error, senders)}
	path := filepath.Join(dir, "io.db")
	s, err := boltstore.Open(path, small)
	if err != nil {
		return nil, err
	}
	l.Store = s
	if os.Getenv(envTorn) != "" {
		l.Store = &torn{s, path}
	}
	if l.Engine, err = appio.New(l.Store, options(dir)); err != nil {
		return nil, err
	}
	ctx := context.Background()
	if err := l.PutService(ctx, appio.Service{ID: service, Name: "Avvisi", Organization: "01199250158", State: appio.Live}); err != nil {
		return nil, err
	}
	for i := range senders {
		if err := l.Engine.Citizen(appio.Identity{Code: person(i)}).SetMode(ctx, appio.Auto); err != nil {
			return nil, err
		}
	}
	l.ends.Go(func() { _ = l.Run(ctx) }) // Close ends it
	for i := range senders {
		l.ends.Go(func() {
			for n := 0; !l.stop.Load(); n++ {
				time.Sleep(time.Duration(l.pause.Load()))
				e := entry{begin: l.clock.Add(1)}
				res, err := l.Sender(service).Send(ctx, message(i, n))
				if err != nil {
					l.fails <- err
					return
				}
				e.id, e.end = res.ID, l.clock.Add(1)
				l.mu.Lock()
				l.sent[i] = append(l.sent[i], e)
				l.mu.Unlock()
				if l.said != nil {
					l.said(i, n, res.ID)
				}
			}
		})
	}
	return l, nil
}

func message(to, n int) appio.Message {
	return appio.Message{
		To: person(to), Subject: fmt.Sprintf("Avviso numero %06d", n),
		Markdown: "La informiamo che il servizio di raccolta cambia orario dal prossimo mese, come da calendario.",
	}
}

func (l *load) end() error {
	l.stop.Store(true)
	err := l.Engine.Close()
	l.ends.Wait()
	err = errors.Join(err, l.Store.Close())
	select {
	case failed := <-l.fails:
		if !errors.Is(failed, store.ErrClosed) {
			err = errors.Join(err, failed)
		}
	default:
	}
	return err
}

func (l *load) counts() (n [senders]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.sent {
		n[i] = len(l.sent[i])
	}
	return n
}

// inboxes are the messages of each citizen of a restored store, which it looks at whole.
func inboxes(ctx context.Context, dir string, s store.Store) (found [senders]map[appio.MessageID]bool, err error) {
	e, err := appio.New(s, options(dir))
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	for i := range senders {
		found[i] = map[appio.MessageID]bool{}
		c := e.Citizen(appio.Identity{Code: person(i)})
		next := -1
		for m, err := range c.Inbox(nil).All(ctx) { // newest first
			if err != nil {
				return found, err
			}
			var n int
			if _, err := fmt.Sscanf(m.Subject, "Avviso numero %d", &n); err != nil {
				return found, err
			}
			if next >= 0 && n != next {
				return found, fmt.Errorf("after message %d of citizen %d comes %d", next+1, i, n)
			}
			next = n - 1
			found[i][m.ID] = true
			if r, err := e.Explain(ctx, person(i), m.ID); err != nil {
				return found, err
			} else if !appio.Decide(r.Facts).Equal(r.Decision) {
				return found, errors.New("a decision is not what its facts say")
			}
		}
		if next > 0 {
			return found, fmt.Errorf("the messages of citizen %d before %d are missing", i, next+1)
		}
		for _, err := range c.Consents().All(ctx) {
			if err != nil {
				return found, err
			}
		}
	}
	return found, nil
}

// prefix reports why what was found is not what there was at one moment; whole: of all citizens, otherwise of each.
func (l *load) prefix(found [senders]map[appio.MessageID]bool, before [senders]int, whole bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	latest, earliest := int64(0), int64(math.MaxInt64) // beginning of what is there, and end of what is not
	for i := range senders {
		if !whole {
			latest, earliest = 0, math.MaxInt64
		}
		for n, e := range l.sent[i] {
			switch {
			case found[i][e.id]:
				latest = max(latest, e.begin)
			case n < before[i]:
				return fmt.Errorf("message %d of citizen %d was accepted before the backup began, and is not in it", n, i)
			default:
				earliest = min(earliest, e.end)
			}
		}
		if earliest < latest {
			return fmt.Errorf("a message is missing that was accepted before one was sent that is there (citizen %d)", i)
		}
	}
	return nil
}

// TestUnderLoad makes backups, 10 or ITEST_COUNT, while six goroutines send: by the store itself, and by the stream of store.Backup.
func TestUnderLoad(t *testing.T) {
	seed := form.Seed(t)
	form.Watch(t, 15*time.Minute)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	var l *load
	start := func() {
		var err error
		l, err = begin(dir, nil)
		require.NoError(t, err)
	}
	start()
	defer func() { require.NoError(t, l.end()) }()
	backups, damaged, messages := 0, 0, 0
	for more := form.Rounds(t, 0.04, 10, 4); more(); {
		if l.clock.Load() > 40_000 { // a new file, so that the copies stay small
			require.NoError(t, l.end())
			dir = t.TempDir()
			start()
		}
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		before := l.counts()
		var b bytes.Buffer
		var restored store.Store
		whole := backups%2 == 0
		if whole {
			require.NoError(t, l.Engine.Backup(t.Context(), &b))
			path := filepath.Join(dir, "restored.db")
			require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
			s, err := boltstore.Open(path, small)
			require.NoError(t, err, "the backup cannot be opened")
			restored = s
		} else {
			bare := struct{ store.Store }{l.Store} // it hides the store's own Backup
			err := store.Backup(t.Context(), bare, &b)
			for pause := time.Millisecond; errors.Is(err, store.ErrConflict); pause *= 2 { // a citizen was written to faster than read
				l.pause.Store(int64(pause))
				b.Reset()
				err = store.Backup(t.Context(), bare, &b)
			}
			l.pause.Store(0)
			require.NoError(t, err)
			restored = memstore.New()
			require.NoError(t, store.Restore(t.Context(), bytes.NewReader(b.Bytes()), restored))
			for range 20 {
				bad := bytes.Clone(b.Bytes())
				if i := random.IntN(len(bad)); random.IntN(4) == 0 {
					bad = bad[:i]
				} else {
					bad[i] ^= 1 << random.IntN(8)
				}
				err := store.Restore(t.Context(), bytes.NewReader(bad), memstore.New())
				require.True(t, errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrNewer), "a damaged backup: %v", err)
				damaged++
			}
		}
		found, err := inboxes(t.Context(), dir, restored)
		require.NoError(t, err, "the backup is not whole")
		require.NoError(t, l.prefix(found, before, whole), "the backup is of no one moment")
		require.NoError(t, restored.Close())
		for i := range found {
			messages += len(found[i])
		}
		backups++
	}
	t.Logf("%d backups with %d messages, %d damaged ones refused", backups, messages, damaged)
	form.Figures(t, map[string]float64{"backups": float64(backups), "messages": float64(messages), "refused": float64(damaged)})
}

// child sends and makes backups until it is killed. It says what was accepted, and which backups are whole.
func child(dir string) error {
	say := func(words ...any) { _, _ = os.Stdout.WriteString(fmt.Sprintln(words...)) }
	l, err := begin(dir, func(sender, n int, id appio.MessageID) { say("accepted", sender, n, string(id)) })
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint("backup-", n)))
		if err != nil {
			return err
		}
		say("begun", n)
		if err := l.Engine.Backup(context.Background(), &slow{f}); err != nil {
			return err
		}
		say("done", n)
		if err := f.Close(); err != nil {
			return err
		}
	}
}

// A slow writer is killed in the middle more often.
type slow struct{ io.Writer }

func (s *slow) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		part := b[:min(len(b), 16<<10)]
		b = b[len(part):]
		var m int
		m, err = s.Writer.Write(part)
		n += m
		time.Sleep(200 * time.Microsecond)
	}
	return n, err
}

// TestKillDuringBackup: who is killed while a backup is made has lost nothing, and the unfinished backup is no backup.
func TestKillDuringBackup(t *testing.T) {
	seed := form.Seed(t)
	form.Watch(t, 15*time.Minute)
	random := rand.New(rand.NewPCG(seed, 1))
	kills, unfinished := 0, 0
	for more := form.Rounds(t, 0.02, 5, 2); more(); {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), envDir+"="+dir)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		accepted, last, done := [senders]map[appio.MessageID]bool{}, -1, map[int]bool{}
		for i := range accepted {
			accepted[i] = map[appio.MessageID]bool{}
		}
		var once sync.Once
		for lines := bufio.NewScanner(out); lines.Scan(); {
			word, about, _ := strings.Cut(lines.Text(), " ")
			var i, n int
			var id appio.MessageID
			switch word {
			case "accepted":
				_, err := fmt.Sscan(about, &i, &n, &id)
				require.NoError(t, err)
				accepted[i][id] = true
			case "begun":
				_, err := fmt.Sscan(about, &last)
				require.NoError(t, err)
				once.Do(func() {
					time.AfterFunc(time.Duration(5+random.IntN(150))*time.Millisecond, func() { _ = cmd.Process.Kill() })
				})
			case "done":
				_, err := fmt.Sscan(about, &n)
				require.NoError(t, err)
				done[n] = true
			}
		}
		_ = cmd.Wait()
		require.Contains(t, cmd.ProcessState.String(), "killed", "%s", stderr.String())
		kills++
		look := func(name string) (found [senders]map[appio.MessageID]bool, err error) {
			s, err := boltstore.Open(filepath.Join(dir, name), small)
			if err != nil {
				return found, err
			}
			defer s.Close()
			return inboxes(t.Context(), dir, s)
		}
		found, err := look("io.db")
		require.NoError(t, err)
		for i := range accepted {
			for id := range accepted[i] {
				require.True(t, found[i][id], "a message was accepted and is lost")
			}
		}
		for n := range last + 1 {
			_, err := look(fmt.Sprint("backup-", n))

			switch {
			case done[n]:
				require.NoError(t, err)
			case err != nil:
				require.ErrorIs(t, err, store.ErrCorrupt)
				unfinished++
			default: // it was whole, or nothing of it was written yet: an empty file is a new one
				unfinished++

			}
		}
	}
	t.Logf("%d kills, %d unfinished backups", kills, unfinished)
	form.Figures(t, map[string]float64{"kills": float64(kills), "unfinished": float64(unfinished)})
}

func TestPlantedBugs(t *testing.T) {
	planted.Run(t, os.Args[0], planted.Bug{
		Name: "a backup of a file that changes meanwhile", Env: envTorn + "=yes", Test: "TestUnderLoad", Says: "the backup (cannot be opened|is)", Rounds: 8,
	})
}

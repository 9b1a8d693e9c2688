package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/appio-go/appio/internal/workload"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func needPostgres(t *testing.T) {
	t.Helper()
	if _, err := postgresBin(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// tempDir is one that PostgreSQL's user may pass through; that of testing is for its owner only.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := folder("")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func requireEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestContenders(t *testing.T) {
	for _, name := range order {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if onServer(name) {
				needPostgres(t)
			}
			dir := tempDir(t)
			file := filepath.Join(t.TempDir(), "results")
			var out bytes.Buffer
			require.NoError(t, run(t.Context(), []string{
				"-only", name, "-citizens", "200", "-messages", "1200", "-senders", "64", "-single", "50", "-rounds", "2", "-dir", dir, "-json", file,
			}, &out))
			requireEmpty(t, dir)
			lines, err := os.ReadFile(file)
			require.NoError(t, err)
			require.True(t, bytes.HasPrefix(out.Bytes(), lines))
			require.Contains(t, out.String(), "\n| "+name+" |")
			for line := range strings.Lines(string(lines)) {
				var r result
				require.NoError(t, json.Unmarshal([]byte(line), &r))
				require.True(t, r.Verified)
				require.Positive(t, r.DeliveriesPerS)
				require.Positive(t, r.RSSBytes)
				switch r.Contender {
				case "raw-bbolt":
				case "river-noop":
					require.Equal(t, 1200, r.Outcomes)
				default: // four fifths accepted, one and a half outcomes each
					require.InDelta(t, 0.2, float64(r.Refused)/float64(r.Messages), 0.2)
					require.InDelta(t, 1.5*0.8, float64(r.Outcomes)/float64(r.Messages), 0.5)
					require.LessOrEqual(t, r.SendP50, r.SendP99)
				}
				if r.Contender == singleName {
					require.Positive(t, r.SendP50PerSync)
				}
			}
		})
	}
}

// A lossy contender loses something before it is counted.
type lossy struct {
	contender
	lose string
}

func (l lossy) count(ctx context.Context) (counts, error) {
	var err error
	switch c := l.contender.(type) {
	case *lite:
		_, err = c.db.ExecContext(ctx, l.lose)
	case *outbox:
		_, err = c.pool.Exec(ctx, l.lose)
	case *riverQueue:
		_, err = c.pool.Exec(ctx, l.lose)
	}
	if err != nil {
		return counts{}, err
	}
	return l.contender.count(ctx)
}

var losses = map[string]struct {
	of   func(ctx context.Context, dir string) (contender, error)
	lose string
}{
	"goqite-outcome": {newLite, "DELETE FROM outcome WHERE message = (SELECT max(message) FROM outcome)"},
	"goqite-message": {newLite, "DELETE FROM message WHERE id = (SELECT min(id) FROM message)"},
	"goqite-refusal": {newLite, "DELETE FROM refusal WHERE id = (SELECT min(id) FROM refusal)"},
	"outbox-outcome": {newOutbox, "DELETE FROM outcome WHERE message = (SELECT max(message) FROM outcome)"},
	"outbox-content": {newOutbox, "UPDATE message SET content = '' WHERE id = (SELECT max(id) FROM message)"},
	"outbox-left":    {newOutbox, "INSERT INTO outbox VALUES (0, 1)"},
	"river-outcome":  {newRiver, "UPDATE river_job SET state = 'available', finalized_at = NULL WHERE id = (SELECT max(id) FROM river_job)"},
	"river-message":  {newRiver, "DELETE FROM message WHERE id = (SELECT max(id) FROM message)"},
}

func init() {
	for name, l := range losses { // here, so that a child has them too
		contenders[name] = whole(func(ctx context.Context, dir string) (contender, error) {
			c, err := l.of(ctx, dir)
			return lossy{c, l.lose}, err
		})
	}
}

func TestALossIsSeen(t *testing.T) {
	for name := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !strings.HasPrefix(name, "goqite") {
				needPostgres(t)
			}
			dir := tempDir(t)
			arg, err := json.Marshal(task{Contender: name, Dir: dir, size: size{Citizens: 100, Messages: 200, Senders: 16}})
			require.NoError(t, err)
			cmd := exec.CommandContext(t.Context(), os.Args[0], childMode, string(arg))
			cmd.Env = append(os.Environ(), childVariable+"=1")
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			require.Equal(t, 1, exit.ExitCode())
			require.Contains(t, stderr.String(), errLoss.Error())
			var r result
			require.NoError(t, json.Unmarshal(out, &r))
			require.False(t, r.Verified)
			require.Error(t, run(t.Context(), []string{
				"-only", name, "-citizens", "100", "-messages", "200", "-rounds", "1", "-dir", dir,
			}, new(bytes.Buffer)))
		})
	}
	t.Run("raw-bbolt", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		_, err := raw(t.Context(), dir, size{Citizens: 10, Messages: 600})
		require.NoError(t, err)
		db, err := openRaw(filepath.Join(dir, "raw.db"))
		require.NoError(t, err)
		defer db.Close()
		c, err := countRaw(db)
		require.NoError(t, err)
		require.Equal(t, counts{Accepted: 600}, c)
		require.NoError(t, loseRaw(db))
		c, err = countRaw(db)
		require.NoError(t, err)
		require.ErrorIs(t, new(result).compare(counts{Accepted: 600}, c), errLoss)
	})
}

// A file with fewer messages than were acknowledged before a kill is no result.
func TestOpeningSeesALoss(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	task := task{Dir: t.TempDir(), size: size{Citizens: 50, Messages: 100, Senders: 4}}
	r, err := workload.Open(workload.Options{Dir: task.Dir, Citizens: task.Citizens})
	require.NoError(t, err)
	require.NoError(t, r.Preload(ctx))
	sent, err := r.Send(ctx, workload.Load{Messages: task.Messages, Senders: task.Senders, Batch: 1})
	require.NoError(t, err)
	require.NoError(t, r.Close())
	var got opened
	emit := func(v any) error { got = v.(opened); return nil }
	task.Stored = []int{sent.Accepted}
	require.NoError(t, reopen(ctx, task, emit))
	require.Equal(t, sent.Accepted+1, got.Accepted) // and the one that shows that it accepts
	task.Stored = []int{sent.Accepted + 2}
	require.ErrorIs(t, reopen(ctx, task, emit), errLoss)
	require.False(t, got.Verified)
}

// An interrupt leaves no server and no file.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	needPostgres(t)
	dir := tempDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-only", "outbox", "-citizens", "100", "-messages", "100000000", "-rounds", "1", "-dir", dir}, new(bytes.Buffer))
	}()
	var pid int
	require.Eventually(t, func() bool {
		files, _ := filepath.Glob(filepath.Join(dir, "*", "pg-*", "data", "postmaster.pid"))
		if len(files) == 0 {
			return false
		}
		b, err := os.ReadFile(files[0])
		first, _, _ := strings.Cut(string(b), "\n")
		pid, _ = strconv.Atoi(first)
		return err == nil && pid > 0 && strings.Contains(string(b), "ready")
	}, 30*time.Second, 10*time.Millisecond)
	time.Sleep(200 * time.Millisecond)
	cancel()
	require.Error(t, <-ended)
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
	requireEmpty(t, dir)
}

func TestModes(t *testing.T) {
	for name, args := range map[string][]string{
		"growth":  {"growth", "-few", "50", "-many", "200", "-messages", "300", "-citizens", "100", "-low", "200", "-high", "600", "-window", "200", "-senders", "16"},
		"open":    {"open", "-citizens", "100", "-messages", "500", "-senders", "16", "-rounds", "2"},
		"history": {"history", "-citizens", "100", "-low", "100", "-high", "500", "-window", "200", "-senders", "16"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := tempDir(t)
			var out bytes.Buffer
			require.NoError(t, run(t.Context(), append(args, "-dir", dir), &out))
			requireEmpty(t, dir)
			goals := 0
			for line := range strings.Lines(out.String()) {
				if !strings.HasPrefix(line, "{") {
					continue
				}
				var g goal
				require.NoError(t, json.Unmarshal([]byte(line), &g))
				if g.Goal == "" {
					require.Contains(t, line, `"verified":true`)
					continue
				}
				goals++
				require.Positive(t, g.Value)
				require.Contains(t, out.String(), "| "+g.Goal+" | ")
				require.Contains(t, []string{"aim reached", "floor reached", "missed"}, g.Verdict)
			}
			require.NotZero(t, goals)
		})
	}
}

func TestWithoutPostgres(t *testing.T) { // it changes what others look at: not parallel
	was := debianPostgres
	defer func() { debianPostgres = was }()
	debianPostgres = filepath.Join(t.TempDir(), "*")
	t.Setenv("PATH", "")
	var out bytes.Buffer
	err := run(t.Context(), []string{"-citizens", "10", "-messages", "10"}, &out)
	require.ErrorIs(t, err, errNoPostgres)
	require.ErrorContains(t, err, "apt-get install postgresql")
	require.Empty(t, out.String())
}

func TestWrongArguments(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"fast"}, {"-only", "kafka"}, {"-messages", "0"}, {"-rounds", "0"}, {"-citizens", "100000000"}, {childMode}, {childMode, `{"contender":"kafka"}`},
		{"growth", "-few", "0"}, {"open", "-senders", "0"}, {"history", "-citizens", "0"},
	} {
		require.Error(t, run(t.Context(), args, new(bytes.Buffer)), args)
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	more := goal{Floor: 1, Aim: 2}
	require.Equal(t, "aim reached", more.judge([]float64{1, 2, 3}).Verdict)
	require.Equal(t, "floor reached", more.judge([]float64{0, 1.5, 9}).Verdict)
	require.Equal(t, "missed", more.judge([]float64{0.9, 0.5, 9}).Verdict)
	less := goal{Floor: 8, Aim: 3, AtMost: true}
	require.Equal(t, "aim reached", less.judge([]float64{3}).Verdict)
	require.Equal(t, "floor reached", less.judge([]float64{7, 9}).Verdict)
	require.Equal(t, "missed", less.judge([]float64{8.1}).Verdict)
	require.Equal(t, "1,234,568", thousands(1234567.8))
	require.Equal(t, "123", thousands(123))
	require.Equal(t, "2 (1–3)", cell([]float64{3, 1, 2}, short))

	results := []result{
		{Contender: "appio", Round: 1, DeliveriesPerS: 80, AcceptedPerS: 60}, {Contender: "river", Round: 1, DeliveriesPerS: 10},
		{Contender: "appio", Round: 2, DeliveriesPerS: 40, AcceptedPerS: 30}, {Contender: "river", Round: 2, DeliveriesPerS: 10},
	}
	gs := goals(results)
	i := slices.IndexFunc(gs, func(g goal) bool { return strings.Contains(g.Goal, "River") })
	require.Equal(t, 6.0, gs[i].Value)
	require.Equal(t, 4.0, gs[i].Min)
	require.Equal(t, 8.0, gs[i].Max)
}

// sized counts bytes by kind of record.
type sized struct {
	store.Store
	mu     sync.Mutex
	values map[string][]int // by the first byte of the key
	keys   []int            // of the records of messages, with their owner
}

func (s *sized) Commit(ctx context.Context, cs []store.Change) ([]error, error) {
	s.mu.Lock()
	for _, c := range cs {
		for _, r := range c.Put {
			kind := string(r.Key[:1])
			s.values[kind] = append(s.values[kind], len(r.Value))
			if strings.Contains("dmo", kind) {
				s.keys = append(s.keys, len(r.Key)+len(c.Owner))
			}
		}
	}
	s.mu.Unlock()
	return s.Store.Commit(ctx, cs)
}

// What the others store is as long as what appio stores.
func TestSizes(t *testing.T) {
	t.Parallel()
	s := &sized{Store: memstore.New(), values: map[string][]int{}}
	r, err := workload.Open(workload.Options{Store: s, Citizens: 100})
	require.NoError(t, err)
	defer func() { require.NoError(t, errors.Join(r.Close(), s.Close())) }()
	require.NoError(t, r.Preload(t.Context()))
	_, err = r.Send(t.Context(), workload.Load{Messages: 500, Senders: 8, Batch: 1})
	require.NoError(t, err)
	mean := func(v []int) float64 {
		require.NotEmpty(t, v)
		sum := 0
		for _, n := range v {
			sum += n
		}
		return float64(sum) / float64(len(v))
	}
	for _, c := range []struct {
		what, kind string
		bytes      int
	}{
		{"service", "S", serviceBytes},
		{"profile", "P", profileBytes},
		{"preference", "c", preferenceBytes},
		{"content", "m", contentBytes},
		{"decision", "d", decisionBytes},
		{"outcome", "o", outcomeBytes},
	} {
		require.InEpsilon(t, mean(s.values[c.kind]), c.bytes, 0.05, c.what)
	}
	require.InEpsilon(t, mean(s.keys), keyBytes, 0.05)
	require.Len(t, content(workload.Message("", 0)), contentBytes)
	require.Len(t, content(workload.Message("", 1)), contentBytes)
}

// loseRaw loses one message.
func loseRaw(db *bolt.DB) error {
	return db.Update(func(tx *bolt.Tx) error {
		c := tx.Bucket(rawMessages).Cursor()
		c.First()
		return c.Delete()
	})
}

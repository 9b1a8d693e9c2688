package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

// The tests run the tool as its users do: another process, by its arguments, output and exit code.
var tool string

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "appio-tool-")
	if err != nil {
		panic(err)
	}
	tool = filepath.Join(dir, "appio")
	if out, err := exec.Command("go", "build", "-o", tool, ".").CombinedOutput(); err != nil {
		panic(string(out))
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// A run is what the tool answered.
type ran struct {
	out, err string
	code     int
}

func run(t testing.TB, stdin string, args ...string) ran {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tool, args...)
	var out, err bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &err
	failed := cmd.Run()
	var exit *exec.ExitError
	if failed != nil && !errors.As(failed, &exit) {
		t.Fatal(failed)
	}
	r := ran{out.String(), err.String(), cmd.ProcessState.ExitCode()}
	for _, secret := range []string{string(anna), string(bruno), "anna@", "Prima rata", "Gentile"} { // whatever is asked
		require.NotContains(t, r.out+r.err, secret)
	}
	return r
}

const (
	anna  = fiscalcode.Person("NNANNA80A41H501A")
	bruno = fiscalcode.Person("BRNBRN75B15F205B")
)

// A place is a file that an engine has left, with something of each kind.
type place struct {
	dir, file, keys   string
	delivered, parked appio.MessageID
}

func options(keys string) *appio.Options {
	return &appio.Options{
		Keys:    appio.FileKeys(keys),
		Backoff: func(int) time.Duration { return time.Hour },
		Channels: []appio.Route{{Name: appio.Email, Channel: appio.ChannelFunc(func(_ context.Context, d appio.Delivery) error {
			if d.Service == "mensa" {
				return appio.Permanent(errors.New("550 no such mailbox"))
			}
			if d.Service == "fse" {
				return errors.New("451 later")
			}
			return nil
		})}},
	}
}

func newPlace(t testing.TB) *place {
	t.Helper()
	ctx, dir := context.Background(), t.TempDir()
	p := &place{dir: dir, file: filepath.Join(dir, "io.db"), keys: filepath.Join(dir, "io.db.key")}
	e, err := appio.Open(p.file, options(p.keys))
	require.NoError(t, err)
	for _, id := range []appio.ServiceID{"tari", "mensa", "fse"} {
		require.NoError(t, e.PutService(ctx, appio.Service{ID: id, Name: "Servizio", Organization: "01199250158", State: appio.Live}))
	}
	c := e.Citizen(appio.Identity{Code: anna, Level: appio.L2, Provider: "cie", Text: "2026-01"})
	require.NoError(t, c.SetMode(ctx, appio.Auto))
	require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
		p.Channels = appio.On(appio.Email)
		p.Addresses = []appio.Address{{Channel: appio.Email, Value: "anna@example.it", ValidatedAt: time.Now()}}
		return nil
	}))
	require.NoError(t, c.SetPreference(ctx, "tari", appio.Preference{Inbox: true, Channels: appio.On(appio.Email)}))
	send := func(from appio.ServiceID, to fiscalcode.Person) appio.MessageID {
		r, err := e.Sender(from).Send(ctx, appio.Message{To: to, Subject: "Prima rata della tassa", Markdown: strings.Repeat("Gentile cittadina. ", 20), TimeToLive: 24 * time.Hour})
		require.NoError(t, err)
		return r.ID
	}
	p.delivered, p.parked = send("tari", anna), send("mensa", anna)
	send("fse", anna)
	send("tari", bruno)
	_, err = e.Flush(ctx)
	require.NoError(t, err)
	require.NoError(t, e.Close())
	return p
}

var figures = regexp.MustCompile(`0x[0-9a-f]{4}|\d{4}-\d\d-\d\d[ T][0-9:.]+( UTC|Z)|[0-9a-f]{32}|[0-9A-HJKMNP-TV-Z]{26}|\d[\dhms.]*s\b|\b\d{4,}\b|[a-z2-7]{26}`)

// golden compares an output, its figures and names of files masked, with the file of that name.
func golden(t testing.TB, name string, p *place, out string) {
	t.Helper()
	got := figures.ReplaceAllStringFunc(strings.ReplaceAll(out, p.dir+string(filepath.Separator), ""), func(s string) string { return "#" })
	path := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		code int
		says string // on the standard error, or output if the code is 0
	}{
		{nil, 2, "no command"},
		{[]string{"help"}, 0, "Exit codes"},
		{[]string{"--help"}, 0, "Exit codes"},
		{[]string{"help", "restore"}, 0, "outcome unknown"},
		{[]string{"help", "nonsense"}, 2, "unknown command"},
		{[]string{"nonsense"}, 2, "unknown command"},
		{[]string{"check"}, 2, "one FILE is needed"},
		{[]string{"check", "a", "b"}, 2, "one FILE is needed"},
		{[]string{"check", "-nonsense", "a"}, 2, "usage: appio check"},
		{[]string{"check", "-h"}, 0, "usage: appio check"},
		{[]string{"backup", "a"}, 2, "-to is needed"},
		{[]string{"backup", "a", "-to", "-", "-json"}, 2, "exclude"},
		{[]string{"restore", "a"}, 2, "-from is needed"},
		{[]string{"explain", "a", "-keys", "k"}, 2, "-message or -service is needed"},
		{[]string{"explain", "a", "-message", "m"}, 2, "-keys is needed"},
		{[]string{"bench", "-store", "nonsense"}, 2, "bolt or mem"},
		{[]string{"check", "/no/such/file"}, 1, "no such file"},
		{[]string{"inspect", "/no/such/file"}, 1, "appio: inspect: boltstore: open file: no such file"},
		{[]string{"compact", "/no/such/file"}, 1, "no such file"},
		{[]string{"backup", "/no/such/file", "-to", filepath.Join(t.TempDir(), "b")}, 1, "no such file"},
		{[]string{"restore", filepath.Join(t.TempDir(), "b"), "-from", "/no/such/file"}, 1, "no such file"},
	} {
		r := run(t, "", c.args...)
		require.Equal(t, c.code, r.code, "%v: %s", c.args, r.err)
		if c.code == 0 {
			require.Contains(t, r.out, c.says, c.args)
			require.Empty(t, r.err)
		} else {
			require.Contains(t, r.err, c.says, c.args)
			require.Empty(t, r.out, c.args)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	before, err := os.ReadFile(p.file)
	require.NoError(t, err)

	t.Run("a sound file", func(t *testing.T) {
		r := run(t, "", "check", p.file, "-keys", p.keys)
		require.Equal(t, 0, r.code, r.err)
		golden(t, "check", p, r.out)
		r = run(t, "", "check", p.file)
		require.Equal(t, 0, r.code, r.err)
		golden(t, "check-without-keys", p, r.out)
		r = run(t, "", "check", "-json", p.file, "-keys", p.keys)
		require.Equal(t, 0, r.code, r.err)
		var s struct {
			Damaged   bool
			Opened    bool
			Inventory appio.Inventory
		}
		require.NoError(t, json.Unmarshal([]byte(r.out), &s))
		require.False(t, s.Damaged)
		require.True(t, s.Opened)
		require.EqualValues(t, 4, s.Inventory.Replayed)
	})
	t.Run("documents", func(t *testing.T) {
		p := newPlace(t)
		e, err := appio.Open(p.file, options(p.keys))
		require.NoError(t, err)
		s := e.Sender("tari")
		for range 3 {
			d, err := s.PutDocument(t.Context(), anna, appio.Document{Name: "Certificato.pdf", Type: "application/pdf"}, strings.NewReader("%PDF-1.7 certificato"))
			require.NoError(t, err)
			r, err := s.Send(t.Context(), appio.Message{To: anna, Subject: "Il certificato richiesto", Markdown: strings.Repeat("Gentile cittadina. ", 20), Documents: []appio.Document{d}})
			require.NoError(t, err)
			require.Equal(t, appio.Processed, r.Status)
		}
		require.NoError(t, e.Close())
		documents := p.file + ".documents"
		r := run(t, "", "check", p.file, "-keys", p.keys, "-documents", documents)
		require.Equal(t, 0, r.code, r.err+r.out)
		var files []string
		require.NoError(t, filepath.WalkDir(documents, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				files = append(files, path)
			}
			return err
		}))
		require.Len(t, files, 3)
		require.NoError(t, os.Remove(files[0]))
		b, err := os.ReadFile(files[1])
		require.NoError(t, err)
		b[10] ^= 1
		require.NoError(t, os.WriteFile(files[1], b, 0o600))
		r = run(t, "", "check", p.file, "-keys", p.keys, "-documents", documents)
		require.Equal(t, 3, r.code, r.err)
		require.Equal(t, 2, strings.Count(r.out, "damage: document 0"), r.out)
		require.Contains(t, r.out, "a document of a message is gone")
		require.Contains(t, r.out, "a document is not what was put")
		r = run(t, "", "check", p.file, "-keys", p.keys)
		require.Equal(t, 0, r.code, "without -documents they are not looked at")
		require.Equal(t, 2, run(t, "", "check", p.file, "-documents", documents).code)
		require.Equal(t, 1, run(t, "", "check", p.file, "-keys", p.keys, "-documents", documents+".no").code)
	})
	t.Run("wrong keys, keys that are not there", func(t *testing.T) {
		other := filepath.Join(t.TempDir(), "other.key")
		require.NoError(t, os.WriteFile(other, []byte("1 "+strings.Repeat("ab", 32)+"\n"), 0o600))
		r := run(t, "", "check", p.file, "-keys", other)
		require.Equal(t, 1, r.code)
		require.Contains(t, r.err, "the keys are not those of this store")
		missing := filepath.Join(t.TempDir(), "missing.key")
		r = run(t, "", "check", p.file, "-keys", missing)
		require.Equal(t, 1, r.code)
		require.NoFileExists(t, missing, "no keys are made")
	})
	t.Run("a file in use", func(t *testing.T) {
		used := newPlace(t)
		e, err := appio.Open(used.file, options(used.keys))
		require.NoError(t, err)
		defer e.Close()
		for _, args := range [][]string{
			{"check", used.file}, {"inspect", used.file}, {"compact", used.file}, {"backup", used.file, "-to", used.file + ".backup"},
			{"explain", used.file, "-keys", used.keys, "-message", string(used.delivered)},
		} {
			r := run(t, "", args...)
			require.Equal(t, 1, r.code, args)
			require.Contains(t, r.err, "in use by another process", args)
			require.Contains(t, r.err, "Engine.Backup", args)
		}
	})
	t.Run("damaged values, a damaged structure, a file cut short, no file of ours", func(t *testing.T) {
		damaged := bytes.Clone(before)
		head := []byte("\x01\x01\x00\x00\x00\x01") // of a sealed record
		for at := bytes.Index(damaged, head); at >= 0; at = bytes.Index(damaged, head) {
			damaged[at] ^= 0x80
		}
		branches := bytes.Clone(before)
		for at := 0; at+4096 <= len(branches); at += 4096 {
			if at > 2*4096 {
				branches[at] ^= 0xff // the number of the page
			}
		}
		for name, b := range map[string][]byte{"values": damaged, "pages": branches, "short": before[:16<<10], "text": []byte("no store"), "empty": nil} {
			file := filepath.Join(t.TempDir(), name)
			require.NoError(t, os.WriteFile(file, b, 0o600))
			r := run(t, "", "check", file, "-keys", p.keys)
			require.Equal(t, 3, r.code, "%s: %s%s", name, r.out, r.err)
			require.Contains(t, r.out, "damage: ", name)
			require.Contains(t, r.err, "damage was found", name)
			for _, args := range [][]string{{"backup", file, "-to", file + ".backup"}, {"restore", file + ".restored", "-from", file}, {"inspect", file}} {
				r := run(t, "", args...)
				require.Equal(t, 3, r.code, "%s %v: %s", name, args, r.err)
			}
			require.NoFileExists(t, file+".backup")
			require.NoFileExists(t, file+".restored")
		}
		file := filepath.Join(t.TempDir(), "values")
		require.NoError(t, os.WriteFile(file, damaged, 0o600))
		var s struct {
			Damaged  bool
			Findings []appio.Finding
		}
		r := run(t, "", "check", "-json", file)
		require.Equal(t, 3, r.code)
		require.NoError(t, json.Unmarshal([]byte(r.out), &s))
		require.True(t, s.Damaged)
		require.NotEmpty(t, s.Findings)
	})
	t.Run("a file of a later version", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "io.db")
		require.NoError(t, os.WriteFile(file, before, 0o600))
		db, err := bolt.Open(file, 0o600, nil)
		require.NoError(t, err)
		require.NoError(t, db.Update(func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte("meta"))
			v := bytes.Clone(b.Get([]byte("format")))
			v[len(v)-1]++
			return b.Put([]byte("format"), v)
		}))
		require.NoError(t, db.Close())
		for _, args := range [][]string{{"check", file}, {"inspect", file}, {"compact", file}, {"restore", file + ".restored", "-from", file}} {
			r := run(t, "", args...)
			require.Equal(t, 1, r.code, args)
			require.Contains(t, r.err, "a later version of appio", args)
		}
	})
	t.Run("the death of the process that reads is damage, and not the death of check", func(t *testing.T) {
		if runtime.GOOS != "linux" {
			t.Skip("finds the child in /proc")
		}
		keys := filepath.Join(t.TempDir(), "keys") // reading it takes for ever
		require.NoError(t, syscall.Mkfifo(keys, 0o600))
		cmd := exec.CommandContext(t.Context(), tool, "check", p.file, "-keys", keys)
		var out bytes.Buffer
		cmd.Stdout = &out
		require.NoError(t, cmd.Start())
		var pid int
		require.Eventually(t, func() bool {
			pid = childOf(cmd.Process.Pid)
			return pid > 0
		}, 20*time.Second, 5*time.Millisecond)
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		require.Error(t, cmd.Wait())
		require.Equal(t, 3, cmd.ProcessState.ExitCode())
		require.Contains(t, out.String(), "damage: the process that read the file died of it: signal: killed")
	})

	after, err := os.ReadFile(p.file)
	require.NoError(t, err)
	require.Equal(t, before, after, "nothing of it changes the file")
}

// childOf is a process that another one has started; 0: there is none.
func childOf(parent int) int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		b, _ := os.ReadFile(stat)
		_, rest, _ := bytes.Cut(b, []byte(") ")) // of "pid (name) state parent"
		var state string
		var pid, of int
		fmt.Sscan(string(rest), &state, &of)
		fmt.Sscan(string(b), &pid)
		if of == parent {
			return pid
		}
	}
	return 0
}

func TestInspect(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := run(t, "", "inspect", p.file)
	require.Equal(t, 0, r.code, r.err)
	golden(t, "inspect", p, r.out)
}

// TestExplainTimes is of a message in quiet hours, by a channel that keeps them, by one that stands in for it, and by law.
func TestExplainTimes(t *testing.T) {
	t.Parallel()
	ctx, dir := context.Background(), t.TempDir()
	p := &place{dir: dir, file: filepath.Join(dir, "io.db"), keys: filepath.Join(dir, "io.db.key")}
	o := options(p.keys)
	o.Now = func() time.Time { return time.Date(2026, 3, 10, 22, 30, 0, 0, time.UTC) }
	taken := appio.ChannelFunc(func(context.Context, appio.Delivery) error { return nil })
	o.Channels = []appio.Route{
		{Name: appio.Push, Channel: taken, ByCode: true, Default: appio.Full, Interrupts: true},
		{Name: appio.Email, Channel: taken, ByCode: true, Default: appio.Full, Fallback: appio.Fallback{Of: appio.Push, After: 24 * time.Hour}},
	}
	e, err := appio.Open(p.file, o)
	require.NoError(t, err)
	c := e.Citizen(appio.Identity{Code: anna, Level: appio.L2, Provider: "cie", Text: "2026-01"})
	require.NoError(t, c.SetMode(ctx, appio.Auto))
	require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
		p.Quiet = appio.QuietHours{From: 22 * time.Hour, To: 7*time.Hour + 30*time.Minute}
		return nil
	}))
	ids := map[string]string{}
	for name, law := range map[string]string{"waits": "", "law": "d.lgs. 1/2018, art. 17"} {
		id := appio.ServiceID("tari-" + name)
		require.NoError(t, e.PutService(ctx, appio.Service{ID: id, Name: "Servizio", Organization: "01199250158", State: appio.Live, QuietBasis: law}))
		r, err := e.Sender(id).Send(ctx, appio.Message{To: anna, Subject: "Prima rata della tassa", Markdown: strings.Repeat("Gentile cittadina. ", 20)})
		require.NoError(t, err)
		ids[name] = string(r.ID)
	}
	_, err = e.Flush(ctx)
	require.NoError(t, err)
	require.NoError(t, e.Close())
	for name, id := range ids {
		r := run(t, "", "explain", p.file, "-keys", p.keys, "-message", id)
		require.Equal(t, 0, r.code, r.err)
		golden(t, "explain-"+name, p, r.out)
		r = run(t, "", "explain", p.file, "-keys", p.keys, "-json", "-message", id)
		require.Contains(t, r.out, `"replayed": true`)
	}
}

// TestExplainDigest is of a message in a digest.
func TestExplainDigest(t *testing.T) {
	t.Parallel()
	ctx, dir := context.Background(), t.TempDir()
	p := &place{dir: dir, file: filepath.Join(dir, "io.db"), keys: filepath.Join(dir, "io.db.key")}
	o, now := options(p.keys), time.Date(2026, 3, 10, 11, 0, 0, 0, time.UTC)
	o.Now = func() time.Time { return now }
	o.Channels = []appio.Route{{Name: appio.Email, ByCode: true, Default: appio.Full, Channel: appio.ChannelFunc(func(context.Context, appio.Delivery) error { return nil })}}
	e, err := appio.Open(p.file, o)
	require.NoError(t, err)
	c := e.Citizen(appio.Identity{Code: anna, Level: appio.L2, Provider: "cie", Text: "2026-01"})
	require.NoError(t, c.SetMode(ctx, appio.Auto))
	require.NoError(t, e.PutService(ctx, appio.Service{ID: "tari", Name: "Servizio", Organization: "01199250158", State: appio.Live}))
	require.NoError(t, c.SetPreference(ctx, "tari", appio.Preference{Inbox: true, Channels: appio.On(appio.Email), Digest: true}))
	r, err := e.Sender("tari").Send(ctx, appio.Message{To: anna, Subject: "Prima rata della tassa", Markdown: strings.Repeat("Gentile cittadina. ", 20), Due: now.Add(72 * time.Hour)})
	require.NoError(t, err)
	now = now.Add(20 * time.Hour)
	_, err = e.Flush(ctx)
	require.NoError(t, err)
	require.NoError(t, e.Close())
	out := run(t, "", "explain", p.file, "-keys", p.keys, "-message", string(r.ID))
	require.Equal(t, 0, out.code, out.err)
	golden(t, "explain-digest", p, out.out)
	out = run(t, "", "explain", p.file, "-keys", p.keys, "-json", "-message", string(r.ID))
	require.Contains(t, out.out, `"replayed": true`)
}

func TestExplain(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	for name, args := range map[string][]string{
		"explain-message": {"-message", string(p.delivered)}, "explain-parked": {"-message", string(p.parked)},
		"explain-json": {"-json", "-message", string(p.delivered)},
	} {
		r := run(t, "", append([]string{"explain", p.file, "-keys", p.keys}, args...)...)
		require.Equal(t, 0, r.code, r.err)
		golden(t, name, p, r.out)
	}
	r := run(t, strings.ToLower(string(anna))+"\n", "explain", p.file, "-keys", p.keys, "-service", "tari")
	require.Equal(t, 0, r.code, r.err)
	golden(t, "explain-service", p, r.out)
	r = run(t, string(bruno), "explain", p.file, "-keys", p.keys, "-service", "tari")
	require.Equal(t, 0, r.code, r.err)
	require.Contains(t, r.out, "unknown: nobody with this code")

	for _, c := range []struct {
		stdin string
		args  []string
	}{
		{"", []string{"-message", "01ARZ3NDEKTSV4RRFFQ69G5FAV"}}, {"", []string{"-service", "tari"}}, {"nobody", []string{"-service", "tari"}},
		{string(anna), []string{"-service", "nothing"}},
	} {
		r := run(t, c.stdin, append([]string{"explain", p.file, "-keys", p.keys}, c.args...)...)
		require.Equal(t, 1, r.code, "%v: %s", c.args, r.out)
		require.Empty(t, r.out)
	}
}

func TestBackupRestoreCompact(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	backup, restored := filepath.Join(p.dir, "io.backup"), filepath.Join(p.dir, "restored.db")
	r := run(t, "", "backup", p.file, "-to", backup)
	require.Equal(t, 0, r.code, r.err)
	golden(t, "backup", p, r.out)
	info, err := os.Stat(backup)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	r = run(t, "", "backup", p.file, "-to", backup)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "left as it is")
	streamed := exec.CommandContext(t.Context(), tool, "backup", p.file, "-to", "-")
	b, err := streamed.Output()
	require.NoError(t, err)
	same, err := os.ReadFile(backup)
	require.NoError(t, err)
	require.Equal(t, same, b)

	r = run(t, string(b), "restore", restored, "-from", "-")
	require.Equal(t, 0, r.code, r.err)
	golden(t, "restore", p, r.out)
	r = run(t, "", "restore", restored, "-from", backup)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "left as it is")
	r = run(t, "", "check", restored, "-keys", p.keys)
	require.Equal(t, 0, r.code, r.out+r.err)
	r = run(t, "", "inspect", restored)
	require.Contains(t, r.out, "restored  from a backup")

	r = run(t, "", "compact", restored)
	require.Equal(t, 0, r.code, r.err)
	golden(t, "compact", p, r.out)
	r = run(t, "", "check", restored, "-keys", p.keys)
	require.Equal(t, 0, r.code, r.out+r.err)
}

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

var update = flag.Bool("update", false, "write the golden files")

// The example's output, but for ids and times. Equal ids stay equal.
func TestExample(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"testdata/example.jsonl": {"-json"}, "testdata/example.txt": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			require.Equal(t, 0, run(t.Context(), args, &stdout, &stderr), stderr.String())
			require.Empty(t, stderr.String())
			seen := map[string]string{}
			got := anyID.ReplaceAllStringFunc(stdout.String(), func(id string) string {
				if seen[id] == "" {
					seen[id] = fmt.Sprintf(`"id":"ID%d"`, len(seen)+1)
				}
				return seen[id]
			})
			got = regexp.MustCompile(`"elapsed_ms":\d+`).ReplaceAllString(got, `"elapsed_ms":0`)
			got = regexp.MustCompile(`\d+ ms`).ReplaceAllString(got, `0 ms`)
			require.NotRegexp(t, anyCode, got)
			if *update {
				require.NoError(t, os.WriteFile(name, []byte(got), 0o644))
			}
			want, err := os.ReadFile(name)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
		})
	}
}

func TestMembersOfTheOutput(t *testing.T) {
	t.Parallel()
	members := func(line string, of ...string) []string {
		var names []string
		var all map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(line), &all))
		for _, member := range of {
			raw := all[member]
			all = nil
			require.NoError(t, json.Unmarshal(raw, &all))
		}
		for name := range all {
			names = append(names, name)
		}
		return names
	}
	var stdout, stderr bytes.Buffer
	require.Equal(t, 0, run(t.Context(), []string{"-json"}, &stdout, &stderr), stderr.String())
	lines := strings.Split(strings.TrimSuffix(stdout.String(), "\n"), "\n")
	last := lines[len(lines)-1]
	for _, l := range lines[:len(lines)-1] {
		want := []string{"line", "id", "status", "rule", "channels"}
		if strings.Contains(l, `"status":"ERROR"`) {
			want = append(want, "error")
		}
		require.ElementsMatch(t, want, members(l))
		require.ElementsMatch(t, []string{"inbox", "email", "push"}, members(l, "channels"))
	}
	require.ElementsMatch(t, []string{"messages", "processed", "rejected", "errors", "deliveries", "elapsed_ms"}, members(last))
	require.ElementsMatch(t, []string{"email", "push"}, members(last, "deliveries"))
}

func TestSecondRun(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	d.service("a", nil)
	d.service("b", with{"category": "SPECIAL"})
	d.citizen(person(1), with{
		"preferences": with{"a": with{"inbox": true, "email": true}, "b": with{"email": true, "push": true}},
		"activations": with{"b": with{"status": "ACTIVE", "age_seconds": 60}},
	})
	d.citizen(person(2), with{"mode": "MANUAL"})
	d.citizen(person(3), with{"mode": nil})
	for i := range 8 {
		for _, service := range []string{"a", "b"} {
			d.message(service, person(i), with{"idempotency_key": "first"}, nil)
		}
	}
	db := filepath.Join(t.TempDir(), "io.db")
	first := start(t, "-dir", d.write(), "-db", db)
	require.Equal(t, 0, first.exit, first.stderr)
	require.Equal(t, map[string]int64{"email": 2, "push": 1}, first.total.Deliveries)
	history := func() (n int) {
		eng := open(t, db)
		for i := range 4 {
			for r, err := range eng.Citizen(appio.Identity{Code: fiscalcode.Person(person(i))}).Consents().All(t.Context()) {
				require.NoError(t, err)
				if r.What != appio.ChangedActivation {
					n++
				}
			}
		}
		require.NoError(t, eng.Close())
		return n
	}
	events := history()

	second := start(t, "-dir", d.write(), "-db", db)
	require.Equal(t, 0, second.exit, second.stderr)
	require.Equal(t, first.results, second.results, "the same ids and decisions")
	require.Equal(t, map[string]int64{"email": 0, "push": 0}, second.total.Deliveries, "nothing is sent twice")
	require.Equal(t, events, history(), "what is so already is no new choice")

	t.Run("other keys are other messages", func(t *testing.T) {
		for i, m := range d.messages {
			d.messages[i] = strings.Replace(m, `"first"`, `"second"`, 1)
		}
		third := start(t, "-dir", d.write(), "-db", db)
		require.Equal(t, first.total.Deliveries, third.total.Deliveries)
		for i, r := range third.results {
			require.NotEqual(t, first.results[i].ID, r.ID)
			require.Equal(t, first.results[i].Rule, r.Rule)
		}
	})
}

// An entry replaces what was there, and what it leaves out is as if it had never been said.
func TestEntriesArePutAgain(t *testing.T) {
	t.Parallel()
	mailed := channels{true, true, "no"}
	for name, c := range map[string]struct {
		before, after         with
		service               with
		was, is               channels
		ruleBefore, ruleAfter string
	}{
		"a choice of the service is left out": {
			before: with{"preferences": with{"a": with{"inbox": true, "email": true}}}, was: mailed, ruleBefore: "service-chosen",
			after: with{}, is: everything, ruleAfter: "service-chosen",
		},
		"a refusal of the service is left out": {
			before: with{"preferences": with{"a": with{}}}, was: nothing, ruleBefore: "service-refused",
			after: with{}, is: everything, ruleAfter: "service-chosen",
		},
		"a choice of the service is left out, in MANUAL": {
			before: with{"mode": "MANUAL", "preferences": with{"a": with{"inbox": true, "email": true}}}, was: mailed, ruleBefore: "service-chosen",
			after: with{"mode": "MANUAL"}, is: nothing, ruleAfter: "service-refused",
		},
		"the mode changes, and choices with it": {
			before: with{"preferences": with{"a": with{"inbox": true, "email": true}}}, was: mailed, ruleBefore: "service-chosen",
			after: with{"mode": "MANUAL"}, is: nothing, ruleAfter: "mode-manual",
		},
		"the mode and the choice change": {
			before: with{"preferences": with{"a": with{}}}, was: nothing, ruleBefore: "service-refused",
			after: with{"mode": "MANUAL", "preferences": with{"a": with{"inbox": true, "email": true, "push": true}}}, is: everything, ruleAfter: "service-chosen",
		},
		"the citizen is undecided again, and gets nothing": {
			before: with{}, was: everything, ruleBefore: "mode-auto",
			after: with{"mode": nil}, is: nothing, ruleAfter: "inbox-off",
		},
		"the undecided citizen decides": {
			before: with{"mode": nil, "preferences": with{"a": with{}}}, was: nothing, ruleBefore: "undecided",
			after: with{}, is: everything, ruleAfter: "mode-auto",
		},
		"the address changes to one that is not validated": {
			before: with{}, was: everything, ruleBefore: "mode-auto",
			after: with{"email": with{"address": "new@example.it", "enabled": true}}, is: channels{true, false, "full"}, ruleAfter: "mode-auto",
		},
		"the address is validated now": {
			before: with{"email": with{"address": "c@example.it", "enabled": true}}, was: channels{true, false, "full"}, ruleBefore: "mode-auto",
			after: with{"email": with{"address": "c@example.it", "enabled": true, "validated": true}}, is: everything, ruleAfter: "mode-auto",
		},
		"the address is left out": {
			before: with{}, was: everything, ruleBefore: "mode-auto",
			after: with{"email": with{"enabled": true}}, is: channels{true, false, "full"}, ruleAfter: "mode-auto",
		},
		"master switches are left out": {
			before: with{"inbox": false}, was: nothing, ruleBefore: "inbox-off",
			after: with{"email": nil, "push": nil}, is: channels{true, false, "anonymous"}, ruleAfter: "mode-auto",
		},
		"an activation is left out": {
			service: with{"category": "SPECIAL"},
			before:  with{"activations": with{"a": with{"status": "ACTIVE"}}}, was: everything, ruleBefore: "activated",
			after: with{}, is: nothing, ruleAfter: "not-activated",
		},
		"an activation ends": {
			service: with{"category": "SPECIAL"},
			before:  with{"activations": with{"a": with{"status": "PENDING"}}}, was: everything, ruleBefore: "activated",
			after: with{"activations": with{"a": with{"status": "INACTIVE"}}}, is: nothing, ruleAfter: "not-activated",
		},
		"a preference is left out while an activation stays": {
			service: with{"category": "SPECIAL"},
			before:  with{"preferences": with{"a": with{"email": true}}, "activations": with{"a": with{"status": "ACTIVE"}}}, was: mailed, ruleBefore: "activated",
			after: with{"activations": with{"a": with{"status": "ACTIVE"}}}, is: everything, ruleAfter: "activated",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := filepath.Join(t.TempDir(), "io.db")
			put := func(w with) result {
				d := newDir(t)
				d.service("a", c.service)
				d.citizen(person(0), w)
				d.message("a", person(0), nil, nil)
				a := start(t, "-dir", d.write(), "-db", db)
				require.Equal(t, 0, a.exit, a.stderr)
				return a.results[0]
			}
			r := put(c.before)
			require.Equal(t, c.ruleBefore, r.Rule)
			require.Equal(t, c.was, r.Channels)
			for range 2 {
				r = put(c.after)
				require.Equal(t, c.ruleAfter, r.Rule)
				require.Equal(t, c.is, r.Channels)
			}
		})
	}

	t.Run("a service left out is still there", func(t *testing.T) {
		t.Parallel()
		db := filepath.Join(t.TempDir(), "io.db")
		d := newDir(t)
		d.service("a", nil)
		d.citizen(person(0), nil)
		d.message("a", person(0), nil, nil)
		require.Equal(t, "PROCESSED", start(t, "-dir", d.write(), "-db", db).results[0].Status)
		d.services, d.citizens = []with{}, []with{}
		require.Equal(t, "PROCESSED", start(t, "-dir", d.write(), "-db", db).results[0].Status)
	})

	t.Run("a mode that stays keeps its settings version", func(t *testing.T) {
		t.Parallel()
		db := filepath.Join(t.TempDir(), "io.db")
		d := newDir(t)
		d.citizen(person(0), nil)
		for _, inbox := range []bool{true, false, true} {
			d.citizens[0]["inbox"] = inbox
			require.Equal(t, 0, start(t, "-dir", d.write(), "-db", db).exit)
		}
		p, err := open(t, db).Citizen(appio.Identity{Code: fiscalcode.Person(person(0))}).Profile(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, p.SettingsVersion)
		require.Len(t, p.Addresses, 1)
	})
}

func TestBatchesComeInOrder(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	for s := range 5 {
		d.service(fmt.Sprint("service-", s), nil)
	}
	for c := range 10 {
		d.citizen(person(c), with{"mode": []string{"AUTO", "MANUAL"}[c%2]})
	}
	const n = 1203
	for i := range n {
		d.message(fmt.Sprint("service-", i%5), person(i%10), nil, with{"subject": []string{"Un oggetto lungo abbastanza", "corto"}[i%7/6]})
	}
	a := start(t, "-dir", d.write())
	require.Equal(t, 0, a.exit, a.stderr)
	require.Len(t, a.results, n)
	ids := map[string]bool{}
	for i, r := range a.results {
		require.Equal(t, i+1, r.Line)
		want := []string{"PROCESSED", "REJECTED"}[i%2]
		if i%7 == 6 {
			want = "ERROR"
		} else {
			ids[r.ID] = true
		}
		require.Equal(t, want, r.Status)
	}
	require.Len(t, ids, a.total.Processed+a.total.Rejected)
	require.EqualValues(t, a.total.Processed, a.total.Deliveries["push"])
}

// The built program: exit codes, and what it leaves behind.
func TestProgram(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "quickstart")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	build, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, string(build))

	bad := newDir(t)
	bad.write()
	bad.file("citizens.json", "{")
	errors := newDir(t)
	errors.line("no message")
	for name, c := range map[string]struct {
		args []string
		exit int
	}{
		"the example":       {nil, 0},
		"help":              {[]string{"-help"}, 0},
		"ERROR lines":       {[]string{"-dir", errors.write(), "-json"}, 0},
		"no folder":         {[]string{"-dir", filepath.Join(t.TempDir(), "none")}, 1},
		"a bad file":        {[]string{"-dir", bad.path}, 1},
		"no place for a db": {[]string{"-db", filepath.Join(t.TempDir(), "none", "io.db")}, 1},
		"an unknown flag":   {[]string{"-nodir"}, 2},
		"an argument":       {[]string{bad.path}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			temp := t.TempDir()
			cmd := exec.Command(binary, c.args...)
			cmd.Env = append(os.Environ(), "TMPDIR="+temp, "TMP="+temp)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			_, err := cmd.Output()
			require.Equal(t, c.exit, cmd.ProcessState.ExitCode(), "%v %s", err, stderr.String())
			if c.exit == 1 {
				require.Regexp(t, `^quickstart: [^\n]+\n$`, stderr.String())
			}
			left, err := os.ReadDir(temp)
			require.NoError(t, err)
			require.Empty(t, left, "no temporary file is left")
		})
	}

	t.Run("a reader that goes away", func(t *testing.T) {
		t.Parallel()
		temp := t.TempDir()
		r, w, err := os.Pipe()
		require.NoError(t, err)
		require.NoError(t, r.Close())
		cmd := exec.Command(binary, "-json")
		cmd.Env = append(os.Environ(), "TMPDIR="+temp, "TMP="+temp)
		cmd.Stdout = w
		require.Error(t, cmd.Run())
		require.NoError(t, w.Close())
		require.Equal(t, 1, cmd.ProcessState.ExitCode())
		left, err := os.ReadDir(temp)
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

type channels struct {
	Inbox bool   `json:"inbox"`
	Email bool   `json:"email"`
	Push  string `json:"push"`
}

type result struct {
	Line     int      `json:"line"`
	ID       string   `json:"id"`
	Status   string   `json:"status"`
	Error    string   `json:"error"`
	Rule     string   `json:"rule"`
	Channels channels `json:"channels"`
}

var (
	nothing    = channels{false, false, "no"}
	everything = channels{true, true, "full"}
)

// An answer is all that a run says.
type answer struct {
	exit    int
	stderr  string
	results []result
	total   total
}

var (
	anyCode = regexp.MustCompile(`(?i)[A-Z]{6}\d\d[A-Z]\d\d[A-Z]\d\d\d[A-Z]`)
	anyID   = regexp.MustCompile(`"id":"[0-9A-Z]{26}"`)
)

// start runs the program with -json and reads what it prints. No run prints a fiscal code.
func start(t *testing.T, args ...string) answer {
	t.Helper()
	var stdout, stderr bytes.Buffer
	a := answer{exit: run(t.Context(), append(args, "-json"), &stdout, &stderr)}
	a.stderr = stderr.String()
	require.NotRegexp(t, anyCode, anyID.ReplaceAllString(stdout.String(), ""))
	require.NotRegexp(t, anyCode, a.stderr)
	if a.exit != 0 {
		require.NotContains(t, strings.TrimSuffix(a.stderr, "\n"), "\n", "one sentence")
		return a
	}
	require.Empty(t, a.stderr)
	lines := strings.Split(strings.TrimSuffix(stdout.String(), "\n"), "\n")
	for _, l := range lines[:len(lines)-1] {
		var r result
		decode(t, l, &r)
		a.results = append(a.results, r)
		if r.Status == "ERROR" {
			require.NotEmpty(t, r.Error)
			require.Empty(t, r.ID)
			require.Empty(t, r.Rule)
			require.Equal(t, nothing, r.Channels)
		} else {
			require.Empty(t, r.Error)
			require.Len(t, r.ID, 26)
			require.NotEmpty(t, r.Rule)
		}
	}
	decode(t, lines[len(lines)-1], &a.total)
	require.Equal(t, len(a.results), a.total.Messages)
	require.Equal(t, a.total.Messages, a.total.Processed+a.total.Rejected+a.total.Errors)
	return a
}

func decode(t *testing.T, line string, v any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(v), line)
}

// A with is members to set, or to take away where they are nil.
type with map[string]any

func (base with) and(w with) with {
	all := maps.Clone(base)
	for name, v := range w {
		if all[name] = v; v == nil {
			delete(all, name)
		}
	}
	return all
}

// A dir is a folder in the making. What it is given lies on top of what reaches a citizen by all channels.
type dir struct {
	t        *testing.T
	path     string
	services []with
	citizens []with
	messages []string
}

func newDir(t *testing.T) *dir {
	return &dir{t: t, path: t.TempDir(), services: []with{}, citizens: []with{}}
}

func (d *dir) service(id string, w with) {
	d.services = append(d.services, with{
		"id": id, "name": "Servizio " + id, "organization_name": "Comune di Prova", "organization_fiscal_code": "90012340569",
		"state": "live",
	}.and(w))
}

func (d *dir) citizen(code string, w with) {
	d.citizens = append(d.citizens, with{
		"fiscal_code": code, "mode": "AUTO",
		"email": with{"address": "citizen@example.it", "validated": true, "enabled": true},
		"push":  with{"enabled": true, "content": "FULL"},
	}.and(w))
}

func (d *dir) message(service, code string, w, content with) {
	d.line(with{"service_id": service, "fiscal_code": code, "content": with{
		"subject": "Un oggetto lungo abbastanza", "markdown": strings.Repeat("Un testo che dice poco. ", 4),
	}.and(content)}.and(w))
}

func (d *dir) line(v any) {
	b, err := json.Marshal(v)
	require.NoError(d.t, err)
	d.messages = append(d.messages, string(b))
}

// write returns the folder, written.
func (d *dir) write() string {
	d.t.Helper()
	for name, v := range map[string]any{"services.json": d.services, "citizens.json": d.citizens} {
		b, err := json.MarshalIndent(v, "", "  ")
		require.NoError(d.t, err)
		d.file(name, string(b))
	}
	d.file("messages.jsonl", strings.Join(d.messages, "\n"))
	return d.path
}

func (d *dir) file(name, text string) {
	d.t.Helper()
	require.NoError(d.t, os.WriteFile(filepath.Join(d.path, name), []byte(text), 0o600))
}

// person is the code of one of a thousand people.
func person(n int) string { return fmt.Sprintf("PRVCTZ80A01H%03dX", n) }

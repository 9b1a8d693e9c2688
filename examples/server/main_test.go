package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/httpapi"
)

// asServer makes a process of this test the program itself.
const asServer = "APPIO_EXAMPLE_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" {
		main()
	}
	os.Exit(m.Run())
}

// A process is the program, running.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	url    string
	stdout *bufio.Reader
	stderr string // a file
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.CommandContext(t.Context(), os.Args[0], append([]string{"-addr", "127.0.0.1:0"}, args...)...)}
	p.cmd.Env = append(os.Environ(), asServer+"=1")
	p.stderr = filepath.Join(t.TempDir(), "stderr")
	file, err := os.OpenFile(p.stderr, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer file.Close()
	p.cmd.Stderr = file
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	p.stdout = bufio.NewReader(out)
	line, err := p.stdout.ReadString('\n')
	require.NoError(t, err, p.said())
	url, ok := strings.CutPrefix(line, "listening on ")
	require.True(t, ok, line)
	p.url = strings.TrimSuffix(url, "\n")
	return p
}

// said is what it has printed on standard error since it was last asked.
func (p *process) said() string {
	p.t.Helper()
	b, err := os.ReadFile(p.stderr)
	require.NoError(p.t, err)
	require.NoError(p.t, os.Truncate(p.stderr, 0))
	return string(b)
}

// stop ends it as the system does; it must end cleanly, having said nothing more.
func (p *process) stop() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	rest, err := io.ReadAll(p.stdout)
	require.NoError(p.t, err)
	require.NoError(p.t, p.cmd.Wait())
	require.Empty(p.t, string(rest))
	require.Empty(p.t, p.said())
}

// ask makes a request, and reads the answer, which must have this status, into v.
func (p *process) ask(status int, method, path string, body, v any, header ...string) {
	p.t.Helper()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		require.NoError(p.t, err)
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, r)
	require.NoError(p.t, err)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(p.t, err)
	require.Equal(p.t, status, resp.StatusCode, string(got))
	if v != nil {
		require.NoError(p.t, json.Unmarshal(got, v))
	}
}

func key(k string) []string   { return []string{httpapi.KeyHeader, k} }
func token(t string) []string { return []string{"Authorization", "Bearer " + t} }

const inbox = "/api/communication/v1/messages"

// inbox is what a citizen has, newest first.
func (p *process) inbox(of string) (ids []string) {
	p.t.Helper()
	var page struct{ Items []struct{ ID string } }
	p.ask(http.StatusOK, "GET", inbox, nil, &page, token(of)...)
	for _, m := range page.Items {
		ids = append(ids, m.ID)
	}
	return ids
}

func letter(to string) map[string]any {
	return map[string]any{"fiscal_code": to, "content": map[string]any{
		"subject": "TARI 2026: prima rata", "markdown": strings.Repeat("Puoi pagare entro fine aprile. ", 3),
	}}
}

const (
	mario = "RSSMRA85M10H501S" // AUTO
	luigi = "VRDLGU72D15L219C" // chose tari
	paolo = "FRRPLA65R03A944W" // undecided
)

type sent struct{ ID, Status string }

func (p *process) send(k, to string) (s sent) {
	p.t.Helper()
	p.ask(http.StatusCreated, "POST", "/api/v1/messages", letter(to), &s, key(k)...)
	p.ask(http.StatusOK, "GET", "/api/v1/messages/"+to+"/"+s.ID, nil, &s, key(k)...)
	return s
}

func TestExample(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "server.db")
	p := start(t, "-db", db)
	first := p.send("key-tari", mario)
	require.Equal(t, "PROCESSED", first.Status)
	require.Equal(t, "PROCESSED", p.send("key-tari", luigi).Status)
	require.Equal(t, "REJECTED", p.send("key-tari", paolo).Status)
	require.Equal(t, "PROCESSED", p.send("key-multe", mario).Status)
	p.ask(http.StatusForbidden, "POST", "/api/v1/messages", letter(luigi), nil, key("key-multe")...)
	p.ask(http.StatusUnauthorized, "POST", "/api/v1/messages", letter(mario), nil, key("key-of-nobody")...)
	p.ask(http.StatusForbidden, "POST", "/api/v1/messages", letter(mario), nil, key("manage-borgo-san-lucio")...)
	p.ask(http.StatusUnauthorized, "GET", inbox, nil, nil, token("token-of-nobody")...)
	p.ask(http.StatusUnauthorized, "GET", inbox, nil, nil)
	require.Equal(t, []string{first.ID}, p.inbox("token-mario")[1:])
	require.Len(t, p.inbox("token-luigi"), 1)
	require.Empty(t, p.inbox("token-paolo"))
	p.ask(http.StatusOK, "PUT", inbox+"/"+first.ID+"/status", map[string]any{"change_type": "reading", "is_read": true}, nil, token("token-mario")...)
	p.ask(http.StatusOK, "POST", "/api/identity/v1/services/tari/preferences", map[string]any{
		"is_inbox_enabled": false, "is_email_enabled": false, "is_webhook_enabled": false, "settings_version": 0}, nil, token("token-luigi")...)
	require.Equal(t, "REJECTED", p.send("key-tari", luigi).Status)
	p.stop()

	// What was there is there, and the same keys count.
	p = start(t, "-db", db)
	var again sent
	p.ask(http.StatusOK, "GET", "/api/v1/messages/"+mario+"/"+first.ID, nil, &again, key("key-tari")...)
	require.Equal(t, "PROCESSED", again.Status)
	require.Equal(t, "REJECTED", p.send("key-tari", luigi).Status)
	require.Equal(t, "PROCESSED", p.send("key-tari", mario).Status)
	require.Len(t, p.inbox("token-mario"), 3)
	var read struct {
		IsRead bool `json:"is_read"`
	}
	p.ask(http.StatusOK, "GET", inbox+"/"+first.ID+"?public_message=true", nil, &read, token("token-mario")...)
	require.True(t, read.IsRead)
	p.stop()
}

// An authority's system on this machine is asked for what a message has there.
func TestRemoteContent(t *testing.T) {
	t.Parallel()
	authority := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/messages/atto-7" && r.Header.Get("X-Key") == "una-chiave" {
			_, _ = io.WriteString(w, `{"details": {"subject": "L'atto per intero", "markdown": "`+strings.Repeat("Il testo dell'atto. ", 6)+`"}}`)
		}
	}))
	defer authority.Close()
	p := start(t)
	var made struct {
		ID string `json:"configuration_id"`
	}
	p.ask(http.StatusCreated, "POST", "/api/v1/messages-sending/remote-contents/configurations", object{
		"name": "Protocollo", "description": "Gli atti", "has_precondition": "NEVER", "disable_lollipop_for": []string{}, "is_lollipop_enabled": false,
		"prod_environment": object{"base_url": authority.URL, "details_authentication": object{"header_key_name": "X-Key", "key": "una-chiave", "type": "API_KEY"}},
	}, &made, key("manage-borgo-san-lucio")...)
	l := letter(mario)
	l["feature_level_type"] = "ADVANCED"
	l["content"].(object)["third_party_data"] = object{"id": "atto-7", "configuration_id": made.ID, "has_remote_content": true}
	var is sent
	p.ask(http.StatusCreated, "POST", "/api/v1/messages", l, &is, key("key-tari")...)
	var got struct {
		Message struct{ Details struct{ Subject string } } `json:"third_party_message"`
	}
	p.ask(http.StatusOK, "GET", "/api/communication/v1/third-party-messages/"+is.ID, nil, &got, token("token-mario")...)
	require.Equal(t, "L'atto per intero", got.Message.Details.Subject)
	p.stop()
}

// The mail that proves an address is a link on standard error.
func TestConfirm(t *testing.T) {
	t.Parallel()
	const profile = "/api/identity/v1/profile"
	p := start(t)
	var is struct {
		Version   int
		Validated bool `json:"is_email_validated"`
	}
	p.ask(http.StatusOK, "GET", profile, nil, &is, token("token-luigi")...)
	p.ask(http.StatusOK, "POST", profile, map[string]any{
		"version": is.Version, "email": "luigi@example.it", "service_preferences_settings": map[string]any{"mode": "MANUAL"}}, &is, token("token-luigi")...)
	require.False(t, is.Validated)
	link := regexp.MustCompile("/confirm/[^\n]+").FindString(p.said())
	p.ask(http.StatusBadRequest, "GET", "/confirm/none", nil, nil)
	p.ask(http.StatusOK, "GET", link, nil, nil)
	p.ask(http.StatusOK, "GET", profile, nil, &is, token("token-luigi")...)
	require.True(t, is.Validated)
	p.stop()
}

// The app's side: what the citizens of the example see and choose.
func TestCitizens(t *testing.T) {
	t.Parallel()
	p := start(t)
	id := p.send("key-tari", mario).ID
	var list struct {
		Items []struct{ ID, Service_Name, Organization_Name string }
	}
	p.ask(http.StatusOK, "GET", "/api/communication/v1/messages?enrich_result_data=true", nil, &list, token("token-mario")...)
	require.Len(t, list.Items, 1)
	require.Equal(t, []string{id, "Comune di Borgo San Lucio"}, []string{list.Items[0].ID, list.Items[0].Organization_Name})
	p.ask(http.StatusUnauthorized, "GET", "/api/communication/v1/messages", nil, nil, token("token-of-nobody")...)
	p.ask(http.StatusOK, "PUT", "/api/communication/v1/messages/"+id+"/status", object{"change_type": "reading", "is_read": true}, nil, token("token-mario")...)

	var profile struct {
		Email   string
		Version int
	}
	p.ask(http.StatusOK, "GET", "/api/identity/v1/profile", nil, &profile, token("token-luigi")...)
	post := func(status int, email string) {
		p.ask(status, "POST", "/api/identity/v1/profile", object{"version": profile.Version, "email": email,
			"service_preferences_settings": object{"mode": "MANUAL"}}, &profile, token("token-luigi")...)
	}
	post(http.StatusPreconditionFailed, "mario.rossi@example.it")
	post(http.StatusOK, "luigi.verdi@example.it")
	require.Equal(t, "luigi.verdi@example.it", profile.Email)
	require.Contains(t, p.said(), "/confirm/")
	p.ask(http.StatusOK, "POST", "/api/identity/v1/services/tari/preferences", object{
		"is_inbox_enabled": false, "is_email_enabled": false, "is_webhook_enabled": false, "settings_version": 0}, nil, token("token-luigi")...)
	require.Equal(t, "REJECTED", p.send("key-tari", luigi).Status)
	p.stop()
}

// A program of the go command's cache, as this test is, ends with who has started it.
func TestUnderGoRun(t *testing.T) {
	t.Parallel()
	if !strings.Contains(os.Args[0], "go-build") {
		t.Skip("this test was built to stay")
	}
	db := filepath.Join(t.TempDir(), "server.db")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `"$0" "$@" & wait`, os.Args[0], "-addr", "127.0.0.1:0", "-db", db)
	cmd.Env = append(os.Environ(), asServer+"=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	stdout := bufio.NewReader(out)
	line, err := stdout.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "listening on ")
	require.NoError(t, cmd.Process.Kill())
	_, err = stdout.ReadString('\n')
	require.ErrorIs(t, err, io.EOF, "it has ended")
	_ = cmd.Wait()
	start(t, "-db", db).stop()
}

// Without a file nothing is left.
func TestTemporary(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	p := start(t)
	began, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, began, 1)
	p.stop()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "seed.json")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// The smallest seed, what is not known in it, and keys of any kind.
func TestSeed(t *testing.T) {
	t.Parallel()
	p := start(t, "-seed", write(t, "\ufeff"+`{"version": 2, "services": [], "citizens": null}`))
	p.ask(http.StatusUnauthorized, "GET", "/api/v1/messages/"+mario+"/01JZZZZZZZZZZZZZZZZZZZZZZZ", nil, nil, key("x")...)
	p.stop()

	p = start(t, "-seed", write(t, `{
		"organizations": [{"fiscal_code": "90012340569", "name": "Comune", "manage_key": "m", "more": [1]}],
		"services": [{"id": "a", "name": "A", "organization_fiscal_code": "90012340569", "organization_name": "Comune", "key": "k", "state": "live"}],
		"citizens": [{"fiscal_code": "RSSMRA85M10H501S", "mode": "AUTO", "token": "t", "nickname": null}]}`))
	require.Equal(t, "PROCESSED", p.send("k", mario).Status)
	p.stop()
}

func TestRefused(t *testing.T) {
	t.Parallel()
	const org = `"organizations": [{"fiscal_code": "90012340569", "name": "Comune", "manage_key": "m"}]`
	srv := func(more string) string {
		return `{"id": "a", "name": "A", "organization_fiscal_code": "90012340569"` + more + `}`
	}
	for text, want := range map[string]string{
		`{"services": `:          "seed.json: not JSON, at byte 13",
		`[]`:                     "seed.json: must be a JSON object",
		"{\"a\": \"\xff\"}":      "must be in UTF-8",
		`{"organizations": {}}`:  "organizations must be an array",
		`{"organizations": [7]}`: "organizations[0] must be an object",
		`{"organizations": [{"fiscal_code": "1", "name": "Comune"}]}`:                                             "organizations[0].fiscal_code must be",
		`{` + org + `, "services": [{"name": "A"}]}`:                                                              "services[0].id is missing",
		`{"services": [` + srv("") + `]}`:                                                                         "services[0].organization_fiscal_code is of none of the organizations",
		`{` + org + `, "services": [` + srv("") + `, ` + srv("") + `]}`:                                           "services[1].id stands in an earlier entry too",
		`{` + org + `, "services": [` + srv(`, "key": "m"`) + `]}`:                                                "services[0].key stands in an earlier entry too",
		`{` + org + `, "services": [` + srv(`, "state": "open"`) + `]}`:                                           "services[0].state must be one of live, trial",
		`{"citizens": [{"fiscal_code": "rssmra85m10h501s"}]}`:                                                     "citizens[0].fiscal_code must be a person's",
		`{"citizens": [{"fiscal_code": "RSSMRA85M10H501S"}, {"fiscal_code": "RSSMRA85M10H501S"}]}`:                "citizens[1].fiscal_code stands",
		`{"citizens": [{"fiscal_code": "RSSMRA85M10H501S", "mode": "AUTO", "preferences": {"b": {"inbox": 1}}}]}`: "citizens[0].preferences.*.inbox must be true or false",
		`{"citizens": [{"fiscal_code": "RSSMRA85M10H501S", "mode": "AUTO", "preferences": {"b": {}}}]}`:           "citizens[0]: preferences names an unknown service",
		`{"debts": [{"rpt_id": "9001", "amount": 1}]}`:                                                            "debts[0].rpt_id must be 29 digits",
		`{"debts": [{"rpt_id": "90012340569302032002700000251", "amount": 0}]}`:                                   "debts[0].amount must be 1 to",
	} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, 1, run(t.Context(), []string{"-addr", "127.0.0.1:0", "-seed", write(t, text)}, &stdout, &stderr), text)
		require.Contains(t, stderr.String(), want)
		require.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
		require.NotContains(t, strings.ToUpper(stderr.String()), mario)
		require.Empty(t, stdout.String())
	}

	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.org:0", "127.0.0.1"} {
		var stderr bytes.Buffer
		require.Equal(t, 1, run(t.Context(), []string{"-addr", addr}, io.Discard, &stderr), addr)
		require.Contains(t, stderr.String(), "server: -addr must be ", addr)
	}
	for _, args := range [][]string{{"-seed"}, {"seed.json"}, {"-port", "1"}} {
		require.Equal(t, 2, run(t.Context(), args, io.Discard, io.Discard), args)
	}
	require.Equal(t, 1, run(t.Context(), []string{"-seed", filepath.Join(t.TempDir(), "none.json")}, io.Discard, io.Discard))
}

package httpapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/internal/jsonschema"
)

// Every request that a test of this package makes with [http.DefaultClient], and its answer, are held against the OpenAPI document; at the
// end, in a run of all tests, so is the document: a status that it has and no test has seen is a failure, too.

func TestMain(tests *testing.M) {
	judge := newJudge()
	http.DefaultClient = &http.Client{Transport: judge}
	code := tests.Run()
	for _, name := range []string{"test.run", "test.skip", "test.fuzz", "test.list"} {
		judge.partial = judge.partial || flag.Lookup(name).Value.String() != ""
	}
	if code == 0 && !judge.report(os.Stderr) {
		code = 1
	}
	os.Exit(code)
}

// A judge sees exchanges with a Handler: requests to paths below /api/.
type judge struct {
	doc      m
	strict   *jsonschema.Schema // of what is answered: no member that the document does not have
	lenient  *jsonschema.Schema // of what is sent
	mux      *http.ServeMux
	partial  bool
	mu       sync.Mutex
	seen     map[string]map[string]int // by pattern and status
	problems map[string]bool
}

func newJudge() *judge {
	j := &judge{mux: http.NewServeMux(), seen: map[string]map[string]int{}, problems: map[string]bool{}}
	if json.Unmarshal([]byte(OpenAPI()), &j.doc) != nil {
		return j // TestOpenAPI says it
	}
	j.lenient, _ = jsonschema.Parse(OpenAPI())
	closed := maps.Clone(j.doc)
	closed["components"] = m{"schemas": closeObjects(j.doc["components"].(m)["schemas"])}
	text, _ := json.Marshal(closed)
	j.strict, _ = jsonschema.Parse(string(text))
	for _, r := range slices.Concat(tables()...) {
		method, path := splitPattern(r.pattern)
		if object(object(j.doc["paths"])[path])[strings.ToLower(method)] == nil {
			continue // TestOpenAPI says it
		}
		j.seen[r.pattern] = map[string]int{}
		j.mux.HandleFunc(r.pattern, func(w http.ResponseWriter, q *http.Request) { w.(*matched).pattern = r.pattern })
	}
	return j
}

// closeObjects is a schema whose objects have no other members.
func closeObjects(v any) any {
	o, is := v.(m)
	if !is {
		return v
	}
	closed := m{}
	for name, of := range o {
		closed[name] = closeObjects(of)
	}
	if o["properties"] != nil && o["additionalProperties"] == nil {
		closed["additionalProperties"] = false
	}
	return closed
}

// matched is where the mux says which path it was.
type matched struct {
	http.ResponseWriter
	header  http.Header
	pattern string
}

func (w *matched) Header() http.Header         { return w.header }
func (w *matched) Write(b []byte) (int, error) { return len(b), nil }
func (w *matched) WriteHeader(int)             {}

// RoundTrip makes the request, and judges it and what is answered.
func (j *judge) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(r.URL.Path, "/api/") {
		return http.DefaultTransport.RoundTrip(r)
	}
	var sent bytes.Buffer
	if r.Body != nil {
		body := r.Body
		r = r.Clone(r.Context())
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.TeeReader(body, &sent), body}
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(got))
	if err != nil { // it was broken off, as whoever reads it sees
		resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(got), iotest.ErrReader(err)))
		return resp, nil
	}
	asked := r.Clone(r.Context())
	asked.RequestURI, asked.Body = r.URL.RequestURI(), nil
	w := &matched{header: http.Header{}}
	j.mux.ServeHTTP(w, asked)
	// The transport may read on from the body after the answer: then it was not read whole, and is not judged.
	var body []byte
	if resp.StatusCode < 300 {
		body = sent.Bytes()
	}
	if err := j.judge(w.pattern, asked, body, resp, got); err != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.problems[fmt.Sprintf("%s: %d: %v", cmp.Or(w.pattern, r.Method), resp.StatusCode, err)] = true
	}
	return resp, nil
}

func (j *judge) judge(pattern string, r *http.Request, sent []byte, resp *http.Response, got []byte) error {
	// A handler has not all paths: without a login there are none for citizens.
	nothing := pattern == "" || bytes.Contains(got, []byte("There is nothing at this path."))
	switch {
	case resp.StatusCode == http.StatusNotFound && nothing, resp.StatusCode == http.StatusMethodNotAllowed:
		return j.strict.Ref("#/components/schemas/Problem").Validate(got)
	case pattern == "":
		return fmt.Errorf("the document has no such path: %s", r.URL.Path)
	}
	method, path := splitPattern(pattern)
	op := j.doc["paths"].(m)[path].(m)[strings.ToLower(method)].(m)
	code := fmt.Sprint(resp.StatusCode)
	response, _ := op["responses"].(m)[code].(m)
	if ref, is := response["$ref"].(string); is {
		response = j.doc["components"].(m)["responses"].(m)[strings.TrimPrefix(ref, "#/components/responses/")].(m)
	}
	if response == nil {
		return fmt.Errorf("the document has no such status")
	}
	j.mu.Lock()
	j.seen[pattern][code]++
	j.mu.Unlock()
	for name, of := range object(response["headers"]) {
		if of.(m)["required"] == true && resp.Header.Get(name) == "" {
			return fmt.Errorf("the header %s is missing", name)
		}
	}
	if err := j.answered(r, object(response["content"]), resp.Header.Get("Content-Type"), got); err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return nil
	}
	if err := j.parameters(r, op); err != nil {
		return fmt.Errorf("it was answered, though %w", err)
	}
	if body := object(op["requestBody"]); body != nil {
		if err := j.value(j.lenient, body["content"].(m)["application/json"], sent); err != nil {
			return fmt.Errorf("it was answered, though of its body %w", err)
		}
	}
	return nil
}

func object(v any) m {
	o, _ := v.(m)
	return o
}

func (j *judge) answered(r *http.Request, content m, contentType string, got []byte) error {
	if content == nil {
		if len(got) > 0 {
			return fmt.Errorf("it has a body")
		}
		return nil
	}
	kind, _, _ := mime.ParseMediaType(contentType)
	of, known := content[kind]
	if !known {
		return fmt.Errorf("the document has no such content: %q", contentType)
	}
	if r.Method == http.MethodHead {
		return nil
	}
	return j.value(j.strict, of, got)
}

// value judges a body by a media type object; one without a schema may have any.
func (j *judge) value(by *jsonschema.Schema, of any, text []byte) error {
	schema := object(object(of)["schema"])
	if schema == nil {
		return nil
	}
	return judgeBy(by, schema, text)
}

// judgeBy judges by a schema that is a reference, or one of a parameter.
func judgeBy(by *jsonschema.Schema, schema m, text []byte) error {
	if ref, is := schema["$ref"].(string); is {
		return by.Ref(ref).Validate(text)
	}
	alone, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	s, err := jsonschema.Parse(string(alone))
	if err != nil {
		return err
	}
	return s.Validate(text)
}

// parameters judges those of a request that was answered.
func (j *judge) parameters(r *http.Request, op m) error {
	list, _ := op["parameters"].([]any)
	for _, p := range list {
		p := p.(m)
		name := p["name"].(string)
		value, given := r.PathValue(name), true
		switch p["in"] {
		case "query":
			value, given = r.URL.Query().Get(name), r.URL.Query().Has(name)
		case "header":
			value, given = r.Header.Get(name), r.Header.Get(name) != ""
		}
		if !given {
			continue
		}
		schema := p["schema"].(m)
		text := []byte(value)
		if schema["type"] == "string" {
			text, _ = json.Marshal(value)
		}
		if err := judgeBy(j.lenient, schema, text); err != nil {
			return fmt.Errorf("of the %s %s %w", p["in"], name, err)
		}
	}
	return nil
}

// report says what was wrong, and, after all tests, what no test has seen.
func (j *judge) report(w io.Writer) bool {
	for _, p := range slices.Sorted(maps.Keys(j.problems)) {
		fmt.Fprintln(w, "openapi.json:", p)
	}
	good := len(j.problems) == 0
	if j.partial {
		return good
	}
	for _, pattern := range slices.Sorted(maps.Keys(j.seen)) {
		method, path := splitPattern(pattern)
		responses := j.doc["paths"].(m)[path].(m)[strings.ToLower(method)].(m)["responses"].(m)
		for _, code := range slices.Sorted(maps.Keys(responses)) {
			if j.seen[pattern][code] == 0 {
				fmt.Fprintf(w, "openapi.json: %s: no test has seen %s\n", pattern, code)
				good = false
			}
		}
	}
	return good
}

// The judge sees what it is for.
func TestJudge(t *testing.T) {
	t.Parallel()
	const person, problem = "RSSMRA85M10H501S", `{"title":"x","status":404}`
	for _, c := range []struct {
		method, path, sent string
		status             int
		kind, answer       string
		want               string // empty: nothing is wrong
	}{
		{"GET", "/api/v1/profiles/" + person, "", 200, "application/json", `{"sender_allowed":true}`, ""},
		{"GET", "/api/v1/profiles/" + person, "", 200, "application/json", `{}`, "sender_allowed is missing"},
		{"GET", "/api/v1/profiles/" + person, "", 200, "application/json", `{"sender_allowed":true,"more":1}`, `"more" is not in the schema`},
		{"GET", "/api/v1/profiles/" + person, "", 200, "text/html", `{"sender_allowed":true}`, "no such content"},
		{"GET", "/api/v1/profiles/x", "", 200, "application/json", `{"sender_allowed":true}`, "though of the path fiscal_code"},
		{"GET", "/api/v1/profiles/" + person, "", 202, "application/json", `{"sender_allowed":true}`, "no such status"},
		{"GET", "/api/v1/profiles/" + person, "", 404, "application/problem+json", problem, ""},
		{"GET", "/api/v1/profiles/" + person, "", 404, "application/problem+json", `{"title":"x"}`, "status is missing"},
		{"GET", "/api/v1/profiles/" + person, "", 429, "application/problem+json", problem, "the header Retry-After is missing"},
		{"POST", "/api/v1/profiles", `{"fiscal_code":"` + person + `","more":1}`, 200, "application/json", `{"sender_allowed":true}`, ""},
		{"POST", "/api/v1/profiles", `{"fiscal_code":1}`, 200, "application/json", `{"sender_allowed":true}`, "though of its body"},
		{"POST", "/api/v1/profiles", `{}`, 400, "application/problem+json", problem, ""},
		{"POST", "/api/v1/messages", `{}`, 201, "application/json", `{"id":"01BX9NSMKVXXS5PSP2FATZMYYY"}`, "the header Location is missing"},
		{"GET", "/api/communication/v1/messages?page_size=101", "", 200, "application/json", `{"items":[]}`, "though of the query page_size"},
		{"GET", "/api/v1/none", "", 404, "application/problem+json", problem, ""},
		{"GET", "/api/v1/none", "", 200, "application/json", `{}`, "no such path"},
		{"GET", "/other", "", 200, "text/html", "", ""},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", c.kind)
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.answer)
		}))
		j := newJudge()
		j.partial = true
		req, err := http.NewRequest(c.method, srv.URL+c.path, strings.NewReader(c.sent))
		require.NoError(t, err)
		resp, err := (&http.Client{Transport: j}).Do(req)
		require.NoError(t, err)
		resp.Body.Close()
		srv.Close()
		var said strings.Builder
		require.Equal(t, c.want == "", j.report(&said), "%s %s: %s", c.method, c.path, said.String())
		require.Contains(t, said.String(), c.want)
	}

	j := newJudge()
	var said strings.Builder
	require.False(t, j.report(&said))
	require.Contains(t, said.String(), "GET /api/openapi.json: no test has seen 200")
}

package httpapi

import (
	"bytes"
	"encoding"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The OpenAPI document is made of the route table, of openapi_paths_test.go, and of the structs that bodies are read from and written from,
// with their comments:
//
//	go test -run TestOpenAPI ./httpapi -update

var update = flag.Bool("update", false, "write openapi.json")

// m is JSON.
type m = map[string]any

// An operation is what a route does, for the document. What follows from who asks, and from what is read, is not said here: see [operation.codes].
type operation struct {
	id, says    string
	path, query m           // schemas of parameters, by name; those of the path that [pathValues] has need none
	header      m           // likewise, of the request
	in          any         // a value of the type of the body; nil: it has none
	out         map[int]any // bodies by status: values of their types, nil where there is none, and [media] for what is no JSON
	location    bool        // with the first of these goes a Location
	errors      []int       // more statuses with a Problem
}

// A media is a body that is no JSON of ours.
type media string

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	got := openAPIDocument(t)
	if *update {
		require.NoError(t, os.WriteFile("openapi.json", got, 0o644))
		t.Skip("written: it is embedded by the next build")
	}
	require.Equal(t, string(got), OpenAPI(), "go test -run TestOpenAPI ./httpapi -update")
}

// openAPIDocument makes the document. A route without an operation, an operation without a route, and a fact about nothing fail.
func openAPIDocument(t *testing.T) []byte {
	s := schemas{t: t, comments: commentsOf(t), facts: maps.Clone(facts), made: m{}, problems: m{}}
	paths := m{}
	left := maps.Clone(operations)
	for _, r := range slices.Concat(tables()...) {
		op, ok := left[r.pattern]
		require.True(t, ok, "openapi_paths_test.go does not say what this does: %s", r.pattern)
		delete(left, r.pattern)
		method, path := splitPattern(r.pattern)
		if paths[path] == nil {
			paths[path] = m{}
		}
		paths[path].(m)[strings.ToLower(method)] = s.operation(&r, path, &op)
	}
	require.Empty(t, left, "no route")
	s.of(reflect.TypeFor[Problem]())
	require.Empty(t, s.facts, "no such member")
	doc := m{
		"openapi": "3.1.0",
		"info": m{
			"title": "appio", "version": "1", "license": m{"name": "EUPL-1.2", "identifier": "EUPL-1.2"},
			"description": "A platform of public services: for its services, the software of their organizations, and the citizens' app.",
		},
		"servers": []m{{"url": "/"}},
		"tags": []m{
			{"name": "services", "description": "For who has a service's key."},
			{"name": "organizations", "description": "For who has an organization's key, to prepare its services."},
			{"name": "citizens", "description": "For a citizen's app, by the platform's own login."},
			{"name": "anybody"},
		},
		"paths": paths,
		"components": m{
			"schemas":   s.made,
			"responses": s.problems,
			"securitySchemes": m{
				"serviceKey": m{"type": "apiKey", "in": "header", "name": KeyHeader, "description": "The key of a service."},
				"manageKey":  m{"type": "apiKey", "in": "header", "name": KeyHeader, "description": "The key of an organization."},
				"citizen":    m{"type": "http", "scheme": "bearer", "description": "As the platform's login has it."},
			},
		},
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	require.NoError(t, e.Encode(doc))
	return b.Bytes()
}

// splitPattern is the method and the path of a pattern, as OpenAPI has paths.
func splitPattern(pattern string) (method, path string) {
	method, path, _ = strings.Cut(pattern, " ")
	return method, strings.NewReplacer("{$}", "", "...}", "}").Replace(path)
}

var pathName = regexp.MustCompile(`\{([a-z_]+)\}`)

func (s *schemas) operation(r *route, path string, op *operation) m {
	o := m{"operationId": op.id, "summary": op.says, "tags": []string{tagOf[r.who]}}
	if security := securityOf[r.who]; security != nil {
		o["security"] = security
	}
	var params []m
	param := func(in, name string, schema any) {
		p := m{"in": in, "name": name, "schema": schema}
		if in == "path" {
			p["required"] = true
		}
		if of, ok := schema.(m); ok && of["description"] != nil {
			of = maps.Clone(of)
			p["description"] = of["description"]
			delete(of, "description")
			p["schema"] = of
		}
		params = append(params, p)
	}
	for _, name := range pathName.FindAllStringSubmatch(path, -1) {
		schema := op.path[name[1]]
		if schema == nil {
			schema = pathValues[name[1]]
		}
		require.NotNil(s.t, schema, "%s: openapi_paths_test.go does not say what %s is", r.pattern, name[1])
		param("path", name[1], schema)
	}
	for _, name := range slices.Sorted(maps.Keys(op.query)) {
		param("query", name, op.query[name])
	}
	for _, name := range slices.Sorted(maps.Keys(op.header)) {
		param("header", name, op.header[name])
	}
	if params != nil {
		o["parameters"] = params
	}
	if op.in != nil {
		o["requestBody"] = m{"required": true, "content": s.content(op.in)}
	}
	responses := m{}
	for code, body := range op.out {
		responses[strconv.Itoa(code)] = s.response(code, body)
	}
	if op.location {
		responses[strconv.Itoa(slices.Min(slices.Collect(maps.Keys(op.out))))].(m)["headers"] = m{
			"Location": m{"required": true, "description": "The path of what was made.", "schema": m{"type": "string"}}}
	}
	for _, code := range op.codes(r) {
		if also, ok := responses[strconv.Itoa(code)].(m); ok { // of another kind
			maps.Copy(also["content"].(m), s.problem(code)["content"].(m))
			continue
		}
		name := "Problem" + strconv.Itoa(code)
		s.problems[name] = s.problem(code)
		responses[strconv.Itoa(code)] = m{"$ref": "#/components/responses/" + name}
	}
	o["responses"] = responses
	return o
}

var (
	tagOf      = map[who]string{anybody: "anybody", service: "services", manager: "organizations", keyholder: "organizations", citizen: "citizens"}
	securityOf = map[who][]m{
		service: {{"serviceKey": []string{}}}, manager: {{"manageKey": []string{}}}, keyholder: {{"manageKey": []string{}}, {"serviceKey": []string{}}}, citizen: {{"citizen": []string{}}},
	}
)

// codes are the statuses with a Problem.
func (op *operation) codes(r *route) []int {
	codes := slices.Clone(op.errors)
	if r.who != anybody {
		codes = append(codes, 401, 403, 500, 503)
		if !strings.HasPrefix(r.pattern, "GET ") || r.who == manager || r.who == keyholder {
			codes = append(codes, 429)
		}
	}
	if op.in != nil {
		codes = append(codes, 400, 408, 413)
		if r.who == citizen {
			codes = append(codes, 415)
		}
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

func (s *schemas) response(code int, body any) m {
	r := m{"description": says[code]}
	require.NotEmpty(s.t, r["description"], code)
	if body != nil {
		r["content"] = s.content(body)
	}
	return r
}

func (s *schemas) problem(code int) m {
	r := s.response(code, nil)
	r["content"] = m{"application/problem+json": m{"schema": s.of(reflect.TypeFor[Problem]())}}
	if code == 429 || code == 503 {
		r["headers"] = m{"Retry-After": m{"required": true, "description": "In seconds.", "schema": m{"type": "integer"}}}
	}
	return r
}

func (s *schemas) content(body any) m {
	if kind, is := body.(media); is {
		return m{string(kind): m{}}
	}
	return m{"application/json": m{"schema": s.of(reflect.TypeOf(body))}}
}

// schemas makes those of Go's types.
type schemas struct {
	t        *testing.T
	comments map[string]string // by "Type" and "Type.Field"
	facts    m                 // those of [facts] that are not yet used
	made     m                 // by the type's name
	problems m                 // responses, by name
}

var (
	textReader = reflect.TypeFor[encoding.TextUnmarshaler]()
	textWriter = reflect.TypeFor[encoding.TextMarshaler]()
)

// of is the schema of a type: of a struct, a reference to it.
func (s *schemas) of(t reflect.Type) m {
	if t.Kind() == reflect.Pointer {
		return s.of(t.Elem())
	}
	if fact := typeFacts[t]; fact != nil {
		return maps.Clone(fact)
	}
	require.False(s.t, t.Implements(textWriter) || reflect.PointerTo(t).Implements(textReader), "typeFacts does not say what text %s is", t)
	switch t.Kind() {
	case reflect.String:
		return m{"type": "string"}
	case reflect.Bool:
		return m{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return m{"type": "integer"}
	case reflect.Slice:
		return m{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		if t == reflect.TypeFor[m]() {
			return m{"type": "object"}
		}
		return m{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		if t.Name() == "" {
			return m{"type": "object"}
		}
		if s.made[t.Name()] == nil {
			s.made[t.Name()] = m{} // where it is in itself
			s.made[t.Name()] = s.object(t)
		}
		return m{"$ref": "#/components/schemas/" + t.Name()}
	}
	s.t.Fatalf("no schema for %s", t)
	return nil
}

func (s *schemas) object(t reflect.Type) m {
	properties, required := m{}, []string{}
	s.members(t, true, properties, &required)
	o := m{"type": "object", "properties": properties}
	if len(required) > 0 {
		o["required"] = required
	}
	if c := s.comments[t.Name()]; c != "" {
		o["description"] = c
	}
	return o
}

// members adds those of a struct, and of what is embedded in it; of an embedded pointer they may be left out.
func (s *schemas) members(t reflect.Type, always bool, properties m, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, more, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			s.members(inner, always && inner == f.Type, properties, required)
			continue
		}
		if name == "" || name == "-" || !f.IsExported() {
			continue
		}
		schema := s.of(f.Type)
		if c := s.comments[t.Name()+"."+f.Name]; c != "" {
			schema["description"] = c
		}
		key := t.Name() + "." + name
		if fact, ok := facts[key]; ok {
			maps.Copy(schema, fact.(m))
			delete(s.facts, key)
		}
		properties[name] = schema
		if always && more == "" && f.Type.Kind() != reflect.Pointer {
			*required = append(*required, name)
		}
	}
}

// commentsOf are those of the package's types and their fields.
func commentsOf(t *testing.T) map[string]string {
	all := map[string]string{}
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	fset := token.NewFileSet()
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(fset, file, nil, parser.ParseComments)
		require.NoError(t, err)
		for _, d := range parsed.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE {
				continue
			}
			for _, spec := range g.Specs {
				is := spec.(*ast.TypeSpec)
				all[is.Name.Name] = line(g.Doc.Text())
				fields, ok := is.Type.(*ast.StructType)
				if !ok {
					continue
				}
				for _, f := range fields.Fields.List {
					text := f.Comment.Text()
					for _, name := range f.Names {
						all[is.Name.Name+"."+name.Name] = line(text)
					}
				}
			}
		}
	}
	return all
}

var link = regexp.MustCompile(`\[([\w.]+)\]`)

// line is a comment of Go's in one line.
func line(comment string) string {
	return link.ReplaceAllString(strings.Join(strings.Fields(comment), " "), "$1")
}

func ExampleOpenAPI() {
	var doc struct{ OpenAPI string }
	fmt.Println(json.Unmarshal([]byte(OpenAPI()), &doc), doc.OpenAPI)
	// Output: <nil> 3.1.0
}

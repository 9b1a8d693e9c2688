package appio

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/internal/jsonschema"
	"github.com/appio-go/appio/store"
)

func exportJudge(t testing.TB) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.Parse(ExportSchema())
	require.NoError(t, err)
	return s
}

// exportable are the kinds of records that are exported.
func exportable() map[string]bool {
	kinds := map[string]bool{}
	for key, kind := range citizenKinds {
		for i := range exportSections {
			if strings.HasPrefix(key, exportSections[i].prefix) {
				kinds[kind] = true
			}
		}
	}
	return kinds
}

// missingKinds are those of a citizen's records that are neither exported nor said not to be, and those that are both.
func missingKinds(kinds map[string]string, exported map[string]bool, not map[string]string) (wrong []string) {
	for kind := range maps.Values(kinds) {
		if reason, out := not[kind]; exported[kind] == (out && reason != "") && !slices.Contains(wrong, kind) {
			wrong = append(wrong, kind)
		}
	}
	return wrong
}

func TestEveryKindOfRecordIsExportedOrNot(t *testing.T) {
	t.Parallel()
	require.Empty(t, missingKinds(citizenKinds, exportable(), notExported))
	for kind := range notExported {
		require.Contains(t, slices.Collect(maps.Values(citizenKinds)), kind)
	}

	more := maps.Clone(citizenKinds)
	more["w/"] = "wish"
	require.Equal(t, []string{"wish"}, missingKinds(more, exportable(), notExported), "a new kind is found")
	require.NotEmpty(t, missingKinds(citizenKinds, exportable(), map[string]string{"tombstone": ""}))
}

// fieldsNotExported are the fields that an export does not depend on, and why.
var fieldsNotExported = map[string]string{
	"profile.Addresses.Proof":        "a hash of a token that proves an address: of no use to its owner, who is sent the token",
	"work.Secure":                    "the message says it",
	"work.Replay":                    "tells replays by the operator apart; that it was replayed is exported",
	"parked.Replay":                  "likewise",
	"outcome.First":                  "which of the deliveries statistics count by this record, and which by marks",
	"activation.Version":             "how often it was said; the history has each",
	"bill.Service":                   "the message says it",
	"work.Lease":                     "which process holds it",
	"work.Lease.Process":             "likewise",
	"work.Lease.Boot":                "likewise",
	"work.Lease.Number":              "likewise",
	"work.Lease.Until":               "likewise",
	"work.Entries.Claims":            "likewise",
	"work.Entries.Held":              "likewise",
	"work.Entries.Bill":              "a pseudonym of the bill, which the message says",
	"work.Digest.Longest":            "when the delivery expires says it",
	"parked.Secure":                  "the message says it",
	"parked.Lifetime":                "how long a replay would go on",
	"parked.Digest.Longest":          "likewise",
	"parked.Entry.Next":              "nothing is tried while it is parked",
	"parked.Entry.Expires":           "likewise",
	"parked.Entry.Claims":            "which process held it",
	"parked.Entry.Held":              "likewise",
	"parked.Entry.Bill":              "a pseudonym of the bill, which the message says",
	"reminder.Secure":                "the message says it",
	"request.Waited":                 "when it is due says it",
	"message.Attached.Documents.Key": "what seals the document; with it a copy could be read after an erasure",
	"reminder.Work":                  "where the last reminder is; its delivery is exported",
}

// exportedGolden are the kinds of golden records that are exported.
var exportedGolden = []string{"profile", "preference", "activation", "message", "state", "decision", "consent-event", "work", "outcome", "parked",
	"bill", "receipt", "reminder", "request"}

// eachField calls do with the path of each field, as fieldsOf says it, while it is zero.
func eachField(at string, v reflect.Value, do func(path string)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			eachField(at, v.Elem(), do)
		}
	case reflect.Slice:
		for i := range v.Len() {
			eachField(at, v.Index(i), do)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f, path := v.Field(i), at+"."+v.Type().Field(i).Name
			if !f.IsZero() {
				was := reflect.New(f.Type()).Elem()
				was.Set(f)
				f.SetZero()
				do(path)
				f.Set(was)
			}
			eachField(path, f, do)
		}
	}
}

// Each field of each record makes a difference to what is exported, or is on the list of those that need not.
func TestEveryFieldIsExportedOrNot(t *testing.T) {
	t.Parallel()
	c := goldenCodec(t)
	judge := exportJudge(t).Def("item")
	shown, kinds := map[string]bool{}, map[string]bool{}
	for _, g := range goldenCases(t, c) {
		kind, _, _ := strings.Cut(g.Kind, ".")
		if !slices.Contains(exportedGolden, kind) {
			continue
		}
		kinds[kind] = true
		rec := g.Stored.record(t)
		oc := goldenOwner(t, c, rec.Owner)
		section := slices.IndexFunc(exportSections, func(s exportSection) bool { return strings.HasPrefix(string(rec.Key), s.prefix) })
		require.GreaterOrEqual(t, section, 0, g.Kind)
		item := func() string {
			sealer := oc.personal
			if h, err := readHeader(rec.Value); err != nil || h.flags&flagPersonal == 0 {
				sealer, err = oc.engineSealer(0)
				require.NoError(t, err)
			}
			r, err := oc.sealWith(sealer, rec, g.Says)
			require.NoError(t, err)
			d := &draft{ownerCodec: *oc}
			var state *store.Record
			if kind == "state" {
				var m goldenRecord
				readGolden(t, "records/message.json", &m)
				s := r
				r, state = m.Stored.record(t), &s
			}
			b, err := exported(&exportSections[section], d, &profileRecord{SettingsVersion: 3}, &r, state)
			require.NoError(t, err)
			require.NotContains(t, string(b), "unreadable", g.Kind)
			return string(b)
		}
		whole := item()
		require.NoError(t, judge.Validate([]byte(whole)), "%s: %s", g.Kind, whole)
		// What Says points to is changed field by field, and put back.
		eachField(kind, reflect.ValueOf(g.Says), func(path string) {
			if item() != whole {
				shown[path] = true
			}
		})
	}
	for _, kind := range exportedGolden {
		require.True(t, kinds[kind], kind)
		for _, f := range fieldsOf(kind, reflect.TypeOf(recordKinds[kind]())) {
			if reason := fieldsNotExported[f]; shown[f] != (reason == "") {
				t.Errorf("%s: exported %t, and on the list of what is not: %q", f, shown[f], reason)
			}
		}
	}
}

// exportAll is an export by pages, by kind.
func exportAll(t testing.TB, c *Citizen) (items map[string][]map[string]any, pages int) {
	t.Helper()
	judge := exportJudge(t).Def("item")
	items = map[string][]map[string]any{}
	for cursor, more := Cursor(""), true; more; more = cursor != "" {
		page, err := c.ExportPage(t.Context(), cursor)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Items), exportPage)
		for _, b := range page.Items {
			require.NoError(t, judge.Validate(b), string(b))
			var item map[string]any
			require.NoError(t, json.Unmarshal(b, &item))
			kind := item["kind"].(string)
			items[kind] = append(items[kind], item)
		}
		cursor = page.Next
		pages++
	}
	return items, pages
}

// Of all that a whole store holds each citizen's export has one item for each record, but for states, which are with their messages.
func TestExportHasEveryRecord(t *testing.T) {
	t.Parallel()
	ring := RandomKeys()
	w := newWorld(t, ring)
	clock := &worldClock{now: w.Now}
	e, err := New(undumpStore(t, w.dump), worldOptions(ring, clock.Now, func(context.Context, Delivery) error { return nil }))
	require.NoError(t, err)
	defer e.Close()
	_, err = e.Health(t.Context()) // the first call opens the store
	require.NoError(t, err)
	names := map[string]string{"waiting work": "open_deliveries", "leased work": "open_deliveries", "parked delivery": "parked_delivery",
		"outcome": "outcomes", "quarantined": "unreadable"}
	seen := map[string]bool{}
	for _, code := range w.Citizens {
		c := e.Citizen(Identity{Code: code, Level: L2})
		if code == elena { // who is being erased
			_, err := c.ExportPage(t.Context(), "")
			require.ErrorIs(t, err, ErrErasing)
			continue
		}
		want := map[string]int{}
		for i := range w.dump {
			if r := &w.dump[i]; r.Owner == e.codec.citizen(code) {
				kind := recordKind(r.Owner, r.Key)
				if _, ok := notExported[kind]; ok || kind == "message state" {
					continue
				}
				if name, ok := names[kind]; ok {
					kind = name
				}
				want[kind]++
				seen[kind] = true
			}
		}
		items, _ := exportAll(t, c)
		got := map[string]int{}
		for kind, list := range items {
			got[kind] = len(list)
		}
		require.Equal(t, want, got, code)

		// The chain of consents can be followed in the export alone.
		prev := ""
		for i, ev := range items["consent"] {
			var b []byte
			require.NoError(t, json.Unmarshal(fmt.Appendf(nil, "%q", ev["record"]), &b))
			sum := sha256.Sum256(b)
			require.Equal(t, hex.EncodeToString(sum[:]), ev["sha256"])
			require.EqualValues(t, i+1, ev["number"])
			if i > 0 {
				require.Equal(t, prev, ev["previous_sha256"])
				require.Contains(t, string(b), string(must(hex.DecodeString(prev))))
			}
			prev = ev["sha256"].(string)
		}
		for _, d := range items["decision"] {
			require.NotEmpty(t, d["reason"].(map[string]any)["it"])
		}
	}
	for _, kind := range []string{"profile", "preference", "activation", "consent", "open_deliveries", "parked_delivery", "outcomes", "decision", "message", "unreadable"} {
		require.True(t, seen[kind], kind)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A damaged record is named by its kind, and the others are there; errors and items tell nothing of what it held.
func TestExportOfDamage(t *testing.T) {
	t.Parallel()
	ring := RandomKeys()
	w := newWorld(t, ring)
	c := &codec{ring: ring}
	w.openers(t, c)
	owner := c.citizen(anna)
	for i := range w.dump {
		r := w.dump[i]
		kind := recordKind(r.Owner, r.Key)
		if r.Owner != owner || len(r.Value) == 0 {
			continue
		}
		dump := slices.Clone(w.dump)
		dump[i].Value = bytes.Clone(r.Value)
		dump[i].Value[len(r.Value)-1] ^= 1
		e, err := New(undumpStore(t, dump), worldOptions(ring, (&worldClock{now: w.Now}).Now, func(context.Context, Delivery) error { return nil }))
		require.NoError(t, err)
		items, _ := exportAll(t, e.Citizen(Identity{Code: anna, Level: L2}))
		switch _, out := notExported[kind]; {
		case kind == "data key":
			require.NotEmpty(t, items["unreadable"])
			require.Empty(t, items["message"])
			require.NotEmpty(t, items["decision"])
		case out:
			require.Empty(t, items["unreadable"], kind)
		default:
			require.Len(t, items["unreadable"], 1, kind)
			if kind == "message state" {
				kind = "message"
			}
			require.Equal(t, kind, items["unreadable"][0]["record"])
		}
		require.NoError(t, e.Close())
	}
}

func TestExportSchemaSaysWhatRulesThereAre(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("preference.go")
	require.NoError(t, err)
	for rule, words := range reasons {
		require.Contains(t, string(source), fmt.Sprintf("%q", rule))
		require.NotEmpty(t, words.Italian)
		require.NotEmpty(t, words.English)
	}
	require.Equal(t, strings.Count(string(source), " Rule = \""), len(reasons), "each rule has its words")
}

package appio

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/store"
)

// What format 1 looks like on disk is kept in testdata/format1, and is never changed: each later version proves here that it
// still reads what this one wrote.
//
//	keys.json       the secrets that all of it is sealed with
//	derived.json    names, keys and tokens that come from the secrets
//	records/*.json  one record of each kind, and what it says
//	store/          a whole store after a scripted run: its records, the questions to ask, and the answers
//
// A field that is added to a record gets a new file in records/. Files are written with
//
//	go test -run TestGolden -update .
//
// which leaves alone what is there; -force writes all anew, and is for a format that no release has had.
var (
	goldenUpdate = flag.Bool("update", false, "write the golden files that are missing")
	goldenForce  = flag.Bool("force", false, "with -update: write the others anew, too")
)

const goldenDir = "testdata/format1"

// writeGolden writes a golden file if -update asks for it and it is missing, or with -force.
func writeGolden(t *testing.T, name string, content func() any) {
	t.Helper()
	path := filepath.Join(goldenDir, filepath.FromSlash(name))
	if !mayWriteGolden(path) {
		return
	}
	text, err := json.MarshalIndent(content(), "", "\t")
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
	require.NoError(t, os.WriteFile(path, append(text, '\n'), 0o666))
	t.Log("wrote", path)
}

func mayWriteGolden(path string) bool {
	if !*goldenUpdate {
		return false
	}
	_, err := os.Lstat(path)
	return *goldenForce || errors.Is(err, os.ErrNotExist)
}

func readGolden(t testing.TB, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(goldenDir, filepath.FromSlash(name)))
	require.NoError(t, err)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(into), name)
}

func TestGoldenFilesAreNotOverwritten(t *testing.T) {
	update, force := *goldenUpdate, *goldenForce
	defer func() { *goldenUpdate, *goldenForce = update, force }()
	there := filepath.Join(t.TempDir(), "there")
	require.NoError(t, os.WriteFile(there, nil, 0o666))
	for _, c := range []struct{ update, force, old, new bool }{
		{false, false, false, false},
		{false, true, false, false},
		{true, false, false, true},
		{true, true, true, true},
	} {
		*goldenUpdate, *goldenForce = c.update, c.force
		require.Equal(t, c.old, mayWriteGolden(there), c)
		require.Equal(t, c.new, mayWriteGolden(there+"-not"), c)
	}
}

// The secrets of the golden files.
type goldenSecrets struct {
	Engine  map[uint32]string // number to key, in hex
	Root    string
	DataKey struct {
		ID  uint32
		Key string
	}
}

func goldenCodec(t *testing.T) *codec {
	t.Helper()
	writeGolden(t, "keys.json", func() any {
		secret := func(of string) string {
			sum := sha256.Sum256([]byte("a secret for tests: " + of))
			return hex.EncodeToString(sum[:])
		}
		s := goldenSecrets{Engine: map[uint32]string{1: secret("engine 1"), 2: secret("engine 2")}, Root: secret("root")}
		s.DataKey.ID, s.DataKey.Key = 0xA1B2C3D4, secret("data key")
		return s
	})
	ring, s := goldenRing(t)
	c := &codec{ring: ring, maxSkew: 2 * time.Second}
	c.useRoot(unhex(t, s.Root))
	return c
}

func goldenRing(t testing.TB) (*keyMap, goldenSecrets) {
	t.Helper()
	var s goldenSecrets
	readGolden(t, "keys.json", &s)
	ring := &keyMap{current: 1, keys: map[uint32][]byte{}}
	for id, key := range s.Engine {
		ring.keys[id] = unhex(t, key)
	}
	return ring, s
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

// A storedRecord is a record as the golden files show it.
type storedRecord struct {
	Owner string
	Key   string // as in Go's source, without quotes
	Lane  store.Lane
	Due   time.Time
	Value string // in hex
}

func newStoredRecord(r *store.Record) storedRecord {
	quoted := strconv.QuoteToASCII(string(r.Key))
	return storedRecord{string(r.Owner), quoted[1 : len(quoted)-1], r.Lane, r.Due, hex.EncodeToString(r.Value)}
}

func (s *storedRecord) record(t testing.TB) store.Record {
	t.Helper()
	key, err := strconv.Unquote(`"` + s.Key + `"`)
	require.NoError(t, err)
	return store.Record{Owner: store.Owner(s.Owner), Key: store.Key(key), Lane: s.Lane, Due: s.Due, Value: unhex(t, s.Value)}
}

func TestGoldenDerived(t *testing.T) {
	c := goldenCodec(t)
	person := c.of(c.citizen(goldenPerson))
	message := Message{
		To: goldenPerson, Subject: "Avviso TARI: prima rata", Markdown: goldenText, Due: goldenTime, SecureChannels: true, TimeToLive: 2 * time.Hour,
		Payment: &Notice{Number: "301000000000000123", Amount: 123_45, Payee: goldenOrg, InvalidAfterDue: true},
	}
	plain := Message{To: goldenPerson, Subject: message.Subject, Markdown: goldenText}.normal()
	body := func(m Message) string {
		sum, err := c.bodyHash(&m, nil)
		require.NoError(t, err)
		return hex.EncodeToString(sum)
	}
	check, err := c.keyCheck(1, bytes.Repeat([]byte{0x5a}, 16))
	require.NoError(t, err)
	same := map[string]string{
		"owner of the citizen":      string(c.citizen(goldenPerson)),
		"owner of the organization": string(c.organization(goldenOrg)),
		"owner of the API key":      string(c.apiKey(keyHash(goldenKey))),
		"owner of the service":      string(service(goldenService)),
		"key of the preference":     string(person.preferenceKey(goldenService)),
		"key of the activation":     string(person.activationKey(goldenService)),
		"key of the repeat key":     string(person.repeatKey(goldenService, "2026/0001")),
		"lane of the service":       fmt.Sprintf("%#04x", deliveryLane(goldenService)),
		"lane of clean-up":          fmt.Sprintf("%#04x", cleanUpLane(person.owner)),
		"hash of the API key":       hex.EncodeToString(keyHash(goldenKey)),
		"hash of a body":            body(message),
		"hash of a short body":      body(plain),
		"check of the engine key":   hex.EncodeToString(check),
	}
	const token, cursor, back = "a withdrawal", "a cursor", "a cursor back"
	writeGolden(t, "derived.json", func() any {
		all := map[string]string{
			token:  c.sealWithdrawal(person.owner, goldenService, Email),
			cursor: string(c.sealCursor("inbox", position{key: string(goldenID)})),
			back:   string(c.sealCursor("inbox", position{key: string(goldenID), before: true})),
		}
		for k, v := range same {
			all[k] = v
		}
		return all
	})
	var golden map[string]string
	readGolden(t, "derived.json", &golden)
	for name, value := range same {
		require.Equal(t, golden[name], value, name)
	}
	require.Len(t, golden, len(same)+3)
	w, err := c.openWithdrawal(golden[token])
	require.NoError(t, err)
	require.Equal(t, withdrawal{Owner: string(person.owner), Service: goldenService, Channel: Email}, w)
	p, err := c.openCursor("inbox", Cursor(golden[cursor]))
	require.NoError(t, err)
	require.Equal(t, position{key: string(goldenID)}, p)
	p, err = c.openCursor("inbox", Cursor(golden[back]))
	require.NoError(t, err)
	require.Equal(t, position{key: string(goldenID), before: true}, p)
}

// requireSays checks that v says what a golden file does. It may say more: a later version has more fields.
func requireSays(t *testing.T, want, v any) {
	t.Helper()
	require.Empty(t, differs(want, asJSON(v)))
}

func asJSON(v any) (out any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&out); err != nil {
		panic(err)
	}
	return out
}

// differs says where got lacks something of want, both as JSON; "": nowhere.
func differs(want, got any) string {
	switch want := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf(": %v instead of an object", got)
		}
		for k, v := range want {
			if d := differs(v, g[k]); d != "" {
				return "." + k + d
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(want) {
			return fmt.Sprintf(": %v instead of %v", got, want)
		}
		for i := range want {
			if d := differs(want[i], g[i]); d != "" {
				return fmt.Sprintf("[%d]%s", i, d)
			}
		}
		return ""
	}
	if !reflect.DeepEqual(want, got) {
		return fmt.Sprintf(": %v instead of %v", got, want)
	}
	return ""
}

func TestGoldenStore(t *testing.T) {
	goldenCodec(t) // writes the keys
	ring, _ := goldenRing(t)
	if mayWriteGolden(filepath.Join(goldenDir, "store", "records.json")) {
		defer func(f bool) { *goldenForce = f }(*goldenForce)
		*goldenForce = true // the three belong together
		w := newWorld(t, ring)
		writeGolden(t, "store/records.json", func() any {
			var rs []storedRecord
			for i := range w.dump {
				rs = append(rs, newStoredRecord(&w.dump[i]))
			}
			return rs
		})
		writeGolden(t, "store/world.json", func() any { return w })
		writeGolden(t, "store/answers.json", func() any { return w.ask(t) })
	}
	w := readWorld(t)
	var want goldenAnswers
	readGolden(t, "store/answers.json", &want)
	got := w.ask(t)
	require.Empty(t, differs(want.Answers, got.Answers))
	require.Empty(t, differs(want.Later, got.Later))
	require.Len(t, got.Later, len(want.Later))
	require.Equal(t, want.Sent, got.Sent)

	t.Run("every kind of record is in it", func(t *testing.T) {
		for _, prefix := range []string{
			"m/ format", "m/ root", "o/ O", "s/ S", "k/ A", "c/ !", "c/ K", "c/ P", "c/ c/", "c/ s/", "c/ d/", "c/ h/", "c/ i/", "c/ m/", "c/ o/",
			"c/ q/w/", "c/ q/l/", "c/ x/", "c/ z/void", "c/ z/erase", "c/ z/trim", "c/ ?/",
		} {
			require.True(t, slices.ContainsFunc(w.dump, func(r store.Record) bool {
				return strings.HasPrefix(string(r.Owner[:2])+" "+string(r.Key), prefix)
			}), prefix)
		}
	})
	t.Run("it is still written to", func(t *testing.T) {
		clock := &worldClock{now: w.Now}
		e, err := New(undumpStore(t, w.dump), worldOptions(ring, clock.Now, func(context.Context, Delivery) error { return nil }))
		require.NoError(t, err)
		defer e.Close()
		require.NoError(t, e.Withdraw(t.Context(), w.Token))
		consents, err := gather(t.Context(), e.Citizen(Identity{Code: anna}).Consents())
		require.NoError(t, err)
		require.Equal(t, ByToken, consents[0].By)
		require.EqualValues(t, consents[1].Number+1, consents[0].Number)
		// What was sent with a key is known by it.
		for _, sent := range w.Messages {
			if sent.Key != "2026/0001" || sent.To == elena {
				continue
			}
			m, err := e.Citizen(Identity{Code: sent.To}).Message(t.Context(), sent.ID)
			if errors.Is(err, ErrNotFound) { // rejected
				continue
			}
			require.NoError(t, err)
			again := m.Message
			again.Key, again.Payment.Payee = sent.Key, ""
			r, err := e.Sender(sent.Service).Send(t.Context(), again)
			require.NoError(t, err)
			require.Equal(t, Result{ID: sent.ID, Status: Processed, Repeated: true}, r)
			again.Subject += "!"
			_, err = e.Sender(sent.Service).Send(t.Context(), again)
			require.ErrorIs(t, err, ErrConflict)
		}
	})
}

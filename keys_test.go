package appio

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
	"github.com/appio-go/appio/store/memstore"
)

func keyLine(number uint32, fill byte) string {
	return fmt.Sprintf("%d %x\n", number, bytes.Repeat([]byte{fill}, keySize))
}

func TestParseKeyFile(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"one line":           keyLine(1, 0xaa),
		"no end of the line": strings.TrimSpace(keyLine(1, 0xaa)),
		"made on Windows":    "\r\n" + strings.ReplaceAll(keyLine(1, 0xaa), "\n", "\r\n"),
		"blank lines":        "\n \n" + keyLine(1, 0xaa) + "\n\n",
		"upper case":         strings.ToUpper(keyLine(1, 0xaa)),
	} {
		k, err := parseKeyFile([]byte(text))
		require.NoError(t, err, name)
		id, key, err := k.Current()
		require.NoError(t, err, name)
		require.EqualValues(t, 1, id, name)
		require.Equal(t, bytes.Repeat([]byte{0xaa}, keySize), key, name)
	}

	t.Run("the highest number is the current one, in any order", func(t *testing.T) {
		k, err := parseKeyFile([]byte(keyLine(7, 7) + keyLine(2, 2) + keyLine(4294967295, 9)))
		require.NoError(t, err)
		id, key, err := k.Current()
		require.NoError(t, err)
		require.EqualValues(t, uint32(4294967295), id)
		require.Equal(t, bytes.Repeat([]byte{9}, keySize), key)
		key, err = k.Key(2)
		require.NoError(t, err)
		require.Equal(t, bytes.Repeat([]byte{2}, keySize), key)
		for _, id := range []uint32{0, 1, 3, 8} {
			_, err = k.Key(id)
			require.ErrorIs(t, err, store.ErrKey)
		}
	})

	secret := strings.Fields(keyLine(1, 0xab))[1]
	for name, text := range map[string]string{
		"empty":               "",
		"blank":               " \n\n",
		"no number":           secret + "\n",
		"number 0":            "0 " + secret,
		"number 0 beside 1":   "0 " + secret + "\n" + keyLine(1, 0xac),
		"negative":            "-1 " + secret,
		"with a sign":         "+1 " + secret,
		"too large":           "4294967296 " + secret,
		"a number and no key": "1\n",
		"short":               "1 " + secret[2:],
		"long":                "1 " + secret + "00",
		"half a byte":         "1 " + secret[1:],
		"not hex":             "1 x" + secret[1:],
		"two blanks":          "1  " + secret,
		"a tab":               "1\t" + secret,
		"a comment":           "# key\n1 " + secret,
		"something after":     "1 " + secret + " x",
		"a number twice":      keyLine(1, 0xab) + keyLine(1, 0xac),
		"a second bad line":   keyLine(1, 0xab) + "2 " + secret[2:],
		"a byte order mark":   "\ufeff" + keyLine(1, 0xab),
		"UTF-16":              "1\x00 \x00a\x00",
		"binary":              "\x00\x01\x02",
	} {
		_, err := parseKeyFile([]byte(text))
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), secret[:8], name)
	}
}

func FuzzKeyFile(f *testing.F) {
	f.Add([]byte(keyLine(1, 1)))
	f.Add([]byte(keyLine(1, 1) + keyLine(2, 2)))
	f.Add([]byte("\r\n" + keyLine(3, 0xff)))
	f.Add([]byte("0 00"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := parseKeyFile(text)
		if err != nil {
			for line := range bytes.Lines(text) {
				if secret := bytes.TrimSpace(line); len(secret) >= 32 && strings.Contains(err.Error(), string(secret)) {
					t.Fatal("the error shows what is in the file")
				}
			}
			return
		}
		id, key, err := k.Current()
		if err != nil || id == 0 || len(key) != keySize || len(k.keys) == 0 {
			t.Fatalf("current key %d of %d bytes: %v", id, len(key), err)
		}
		var again strings.Builder
		for n, key := range k.keys {
			if n == 0 || n > id || len(key) != keySize {
				t.Fatalf("key %d of %d bytes", n, len(key))
			}
			fmt.Fprintf(&again, "%d %x\n", n, key)
		}
		same, err := parseKeyFile([]byte(again.String()))
		if err != nil || same.current != id || len(same.keys) != len(k.keys) || !bytes.Equal(same.keys[id], key) {
			t.Fatalf("written again it is another: %v", err)
		}
	})
}

func TestFileKeys(t *testing.T) {
	t.Parallel()
	t.Run("a missing file is made, for its owner only", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "engine.key")
		keys := FileKeys(path)
		_, err := os.Stat(path)
		require.ErrorIs(t, err, os.ErrNotExist, "not before it is asked")
		id, key, err := keys.Current()
		require.NoError(t, err)
		require.EqualValues(t, 1, id)
		require.Len(t, key, keySize)
		info, err := os.Stat(path)
		require.NoError(t, err)
		if runtime.GOOS != "windows" {
			require.EqualValues(t, 0o600, info.Mode().Perm())
		}
		_, again, err := FileKeys(path).Current()
		require.NoError(t, err)
		require.Equal(t, key, again)
		entries, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		require.Len(t, entries, 1, "nothing else is left")
	})
	t.Run("many that make it at once have one key", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "engine.key")
		keys := make([][]byte, 16)
		var all sync.WaitGroup
		for i := range keys {
			all.Go(func() { _, keys[i], _ = FileKeys(path).Current() })
		}
		all.Wait()
		for _, k := range keys {
			require.Len(t, k, keySize)
			require.Equal(t, keys[0], k)
		}
	})
	t.Run("a bad file is ErrKey and is left alone", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "engine.key")
		secret := strings.Repeat("ab", keySize-1)
		require.NoError(t, os.WriteFile(path, []byte("1 "+secret), 0o600))
		_, _, err := FileKeys(path).Current()
		require.ErrorIs(t, err, store.ErrKey)
		require.Contains(t, err.Error(), "engine.key")
		require.NotContains(t, err.Error(), secret)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, "1 "+secret, string(text))
	})
	t.Run("a folder in its place is an error", func(t *testing.T) {
		_, _, err := FileKeys(t.TempDir()).Current()
		require.Error(t, err)
	})
	t.Run("a missing folder is an error", func(t *testing.T) {
		_, _, err := FileKeys(filepath.Join(t.TempDir(), "none", "engine.key")).Current()
		require.Error(t, err)
	})
	t.Run("a lost file is not made again", func(t *testing.T) {
		ctx, dir := t.Context(), t.TempDir()
		path, db := filepath.Join(dir, "engine.key"), filepath.Join(dir, "io.db")
		e, err := Open(db, &Options{Keys: FileKeys(path)})
		require.NoError(t, err)
		require.NoError(t, e.Close())
		require.NoError(t, os.Rename(path, path+".kept"))
		_, err = Open(db, &Options{Keys: FileKeys(path)})
		require.ErrorIs(t, err, store.ErrKey)
		require.ErrorContains(t, err, "the key file engine.key is missing")
		s, err := boltstore.Open(db, nil)
		require.NoError(t, err)
		t.Cleanup(func() { s.Close() })
		e, err = New(s, &Options{Keys: FileKeys(path)})
		require.NoError(t, err)
		_, err = e.Health(ctx)
		require.ErrorIs(t, err, store.ErrKey)
		_, err = Inspect(ctx, s, FileKeys(path), nil)
		require.ErrorIs(t, err, store.ErrKey)
		require.NoFileExists(t, path, "a new key would only hide that the old one is missing")

		require.NoError(t, os.Rename(path+".kept", path)) // as when its disk is mounted late
		_, err = e.Health(ctx)
		require.NoError(t, err)
		require.NoError(t, e.Close())
	})
	t.Run("a key that is added later is found", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "engine.key")
		require.NoError(t, os.WriteFile(path, []byte(keyLine(1, 1)), 0o600))
		keys := &fileKeys{path: path, make: true}
		_, err := keys.Key(2)
		require.ErrorIs(t, err, store.ErrKey)
		require.NoError(t, os.WriteFile(path, []byte(keyLine(2, 2)+keyLine(1, 9)), 0o600))
		_, err = keys.Key(2)
		require.ErrorIs(t, err, store.ErrKey, "it is not read for each record")
		keys.read = time.Time{}
		key, err := keys.Key(2)
		require.NoError(t, err)
		require.Equal(t, bytes.Repeat([]byte{2}, keySize), key)
		id, _, err := keys.Current()
		require.NoError(t, err)
		require.EqualValues(t, 2, id)
		key, err = keys.Key(1)
		require.NoError(t, err)
		require.Equal(t, bytes.Repeat([]byte{1}, keySize), key, "a key that was known stays as it was")

		for _, spoil := range []func() error{
			func() error { return os.WriteFile(path, []byte("1 ab"), 0o600) },
			func() error { return os.Remove(path) },
		} {
			require.NoError(t, spoil())
			keys.read = time.Time{}
			_, err = keys.Key(3)
			require.ErrorIs(t, err, store.ErrKey)
			_, key, err = keys.Current()
			require.NoError(t, err, "what is known goes on to be used")
			require.Equal(t, bytes.Repeat([]byte{2}, keySize), key)
		}
		_, err = os.Stat(path)
		require.ErrorIs(t, err, os.ErrNotExist, "none is made in its place")
	})
	t.Run("two random ones differ", func(t *testing.T) {
		_, a, err := RandomKeys().Current()
		require.NoError(t, err)
		_, b, err := RandomKeys().Current()
		require.NoError(t, err)
		require.NotEqual(t, a, b)
	})
}

// fakeRing is a Keyring of somebody else's making.
type fakeRing struct {
	id  uint32
	key []byte
	err error
}

func (r *fakeRing) Current() (uint32, []byte, error) { return r.id, r.key, r.err }
func (r *fakeRing) Key(uint32) ([]byte, error)       { return r.key, r.err }

func TestKeyringsThatAreNone(t *testing.T) {
	t.Parallel()
	for name, ring := range map[string]*fakeRing{
		"number 0": {id: 0, key: bytes.Repeat([]byte{1}, keySize)},
		"short":    {id: 1, key: bytes.Repeat([]byte{1}, keySize-1)},
		"no key":   {id: 1},
		"an error": {err: fmt.Errorf("%w: the vault is sealed", store.ErrKey)},
	} {
		s := memstore.New()
		e, err := New(s, &Options{Keys: ring})
		require.NoError(t, err, name)
		_, err = e.Health(t.Context())
		require.ErrorIs(t, err, store.ErrKey, name)
		require.Empty(t, dumpStore(t, s), name)
		require.NoError(t, e.Close())
	}
	_, err := New(memstore.New(), nil)
	require.ErrorIs(t, err, ErrInvalid)
}

// firstCalls are ways of making first use of an engine.
var firstCalls = map[string]func(context.Context, *Engine) error{
	"profile": func(ctx context.Context, e *Engine) error {
		_, err := e.Citizen(Identity{Code: anna}).Profile(ctx)
		return err
	},
	"inbox": func(ctx context.Context, e *Engine) error {
		_, err := e.Citizen(Identity{Code: anna}).Inbox(nil).Page(ctx, "", 0)
		return err
	},
	"send": func(ctx context.Context, e *Engine) error {
		_, err := e.Sender("tari").Send(ctx, Message{To: anna, Subject: "Un avviso di prova", Markdown: goldenText})
		return err
	},
	"service":  func(ctx context.Context, e *Engine) error { _, err := e.Service(ctx, "tari"); return err },
	"services": func(ctx context.Context, e *Engine) error { _, err := e.Services().Page(ctx, "", 0); return err },
	"key":      func(ctx context.Context, e *Engine) error { _, err := e.NewKey(ctx, "tari", Primary); return err },
	"choose":   func(ctx context.Context, e *Engine) error { return e.Citizen(Identity{Code: anna}).SetMode(ctx, Auto) },
	"withdraw": func(ctx context.Context, e *Engine) error { return e.Withdraw(ctx, "x") },
	"health":   func(ctx context.Context, e *Engine) error { _, err := e.Health(ctx); return err },
	"flush":    func(ctx context.Context, e *Engine) error { _, err := e.Flush(ctx); return err },
	"run":      func(ctx context.Context, e *Engine) error { return e.Run(ctx) },
	"backup":   func(ctx context.Context, e *Engine) error { return e.Backup(ctx, &bytes.Buffer{}) },
}

// requireRefused checks that an engine with these options cannot be used on the records, whatever is called first, and that
// it leaves them alone.
func requireRefused(t *testing.T, records []store.Record, opts *Options, want error) {
	t.Helper()
	for name, call := range firstCalls {
		s := undumpStore(t, records)
		before := dumpStore(t, s)
		e, err := New(s, opts)
		require.NoError(t, err)
		require.ErrorIs(t, call(t.Context(), e), want, name)
		require.ErrorIs(t, call(t.Context(), e), want, name+", again")
		require.NoError(t, e.Close())
		require.Equal(t, before, dumpStore(t, s), name)
	}
}

func TestAnotherKeyIsRefused(t *testing.T) {
	t.Parallel()
	ring := RandomKeys()
	w := newWorld(t, ring)
	_, key, err := ring.Current()
	require.NoError(t, err)

	t.Run("another key of the same number", func(t *testing.T) {
		requireRefused(t, w.dump, &Options{Keys: RandomKeys()}, store.ErrKey)
	})
	t.Run("one bit of it", func(t *testing.T) {
		other := bytes.Clone(key)
		other[31] ^= 1
		requireRefused(t, w.dump, &Options{Keys: &keyMap{1, map[uint32][]byte{1: other}}}, store.ErrKey)
	})
	t.Run("the key under another number", func(t *testing.T) {
		requireRefused(t, w.dump, &Options{Keys: &keyMap{2, map[uint32][]byte{2: key}}}, store.ErrKey)
	})
	t.Run("a rotation from another key", func(t *testing.T) {
		other := bytes.Repeat([]byte{1}, keySize)
		requireRefused(t, w.dump, &Options{Keys: &keyMap{2, map[uint32][]byte{1: other, 2: key}}}, store.ErrKey)
	})
	t.Run("plain", func(t *testing.T) {
		requireRefused(t, w.dump, &Options{Plain: true}, store.ErrKey)
	})
	t.Run("sealed, where the store is plain", func(t *testing.T) {
		s := memstore.New()
		e, err := New(s, &Options{Plain: true})
		require.NoError(t, err)
		require.NoError(t, e.PutService(t.Context(), Service{ID: "tari", Name: "Tari", Organization: goldenOrg}))
		require.NoError(t, e.Close())
		requireRefused(t, dumpStore(t, s), &Options{Keys: RandomKeys()}, store.ErrKey)
	})
	t.Run("its own is not", func(t *testing.T) {
		for name, call := range firstCalls {
			if name == "run" || name == "withdraw" {
				continue
			}
			e, err := New(undumpStore(t, w.dump), &Options{Keys: ring})
			require.NoError(t, err)
			require.NoError(t, call(t.Context(), e), name)
			require.NoError(t, e.Close())
		}
	})
}

func TestALaterStoreIsLeftAlone(t *testing.T) {
	t.Parallel()
	ring := RandomKeys()
	w := newWorld(t, ring)
	c := (&codec{ring: ring}).of(ownerMeta)
	change := func(key store.Key, f func(r *store.Record)) []store.Record {
		var out []store.Record
		for _, r := range w.dump {
			if r.Owner == ownerMeta && r.Key == key {
				r.Value = bytes.Clone(r.Value)
				f(&r)
			}
			out = append(out, r)
		}
		require.NotEqual(t, w.dump, out)
		return out
	}
	for _, key := range []store.Key{keyFormat, keyRoot} {
		requireRefused(t, change(key, func(r *store.Record) { r.Value[0]++ }), &Options{Keys: ring}, store.ErrNewer)
		requireRefused(t, change(key, func(r *store.Record) { r.Value[1] |= 2 }), &Options{Keys: ring}, store.ErrNewer)
	}
	requireRefused(t, change(keyFormat, func(r *store.Record) {
		var f formatRecord
		require.NoError(t, c.open(r, &f))
		f.Format++
		later, err := c.sealWith(&sealer{}, store.Record{Key: keyFormat}, &f)
		require.NoError(t, err)
		r.Value = later.Value
	}), &Options{Keys: ring}, store.ErrNewer)

	t.Run("one without its format or root is damaged", func(t *testing.T) {
		for _, key := range []store.Key{keyFormat, keyRoot} {
			var out []store.Record
			for _, r := range w.dump {
				if r.Owner != ownerMeta || r.Key != key {
					out = append(out, r)
				}
			}
			requireRefused(t, out, &Options{Keys: ring}, store.ErrCorrupt)
		}
	})
	t.Run("a root that is not sealed is damaged", func(t *testing.T) {
		requireRefused(t, change(keyRoot, func(r *store.Record) {
			planted, err := c.sealWith(&sealer{}, store.Record{Key: keyRoot}, &rootRecord{Secret: bytes.Repeat([]byte{1}, keySize)})
			require.NoError(t, err)
			r.Value = planted.Value
		}), &Options{Keys: ring}, store.ErrCorrupt)
	})
	t.Run("a root or an instance of another length is damaged", func(t *testing.T) {
		requireRefused(t, change(keyRoot, func(r *store.Record) {
			short, err := c.seal(store.Record{Key: keyRoot}, &rootRecord{Secret: make([]byte, keySize-1)})
			require.NoError(t, err)
			r.Value = short.Value
		}), &Options{Keys: ring}, store.ErrCorrupt)
		requireRefused(t, change(keyFormat, func(r *store.Record) {
			short, err := c.sealWith(&sealer{}, store.Record{Key: keyFormat}, &formatRecord{Format: 1, Key: 1, Instance: make([]byte, 15)})
			require.NoError(t, err)
			r.Value = short.Value
		}), &Options{Keys: ring}, store.ErrCorrupt)
	})
}

// sealedBy is the number of the engine key that a record is sealed with; 0: it is not, or by a person's.
func sealedBy(t *testing.T, r *store.Record) uint32 {
	t.Helper()
	h, err := readHeader(r.Value)
	require.NoError(t, err)
	if h.flags != flagSealed {
		return 0
	}
	return h.id
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "engine.key")
	w := newWorld(t, FileKeys(path))
	w.ring = FileKeys(path)
	before := w.ask(t).Answers

	line, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, append(line, keyLine(2, 0x22)...), 0o600))
	rotated := FileKeys(path)

	s := undumpStore(t, w.dump)
	clock := &worldClock{now: w.Now}
	e, err := New(s, worldOptions(rotated, clock.Now, func(context.Context, Delivery) error { return nil }))
	require.NoError(t, err)
	require.Empty(t, differs(before, w.answers(ctx, e)), "old records still open")

	records := map[string]store.Record{}
	for _, r := range dumpStore(t, s) {
		records[string(r.Owner)+" "+string(r.Key)] = r
		switch {
		case r.Owner == ownerMeta && r.Key == keyRoot:
			require.EqualValues(t, 2, sealedBy(t, &r), "the root secret is sealed anew")
		case r.Owner != ownerMeta:
			require.NotEqual(t, uint32(2), sealedBy(t, &r), "reading changes nothing else")
		}
	}

	r, err := e.Sender("tari").Send(ctx, Message{To: bruno, Subject: "Un avviso di prova", Markdown: goldenText, Key: "new"})
	require.NoError(t, err)
	require.NoError(t, e.Citizen(Identity{Code: anna}).SetPreference(ctx, "mensa", Preference{Inbox: true}))
	require.NoError(t, e.Citizen(Identity{Code: fabio}).SetMode(ctx, Auto))
	_, err = e.Flush(ctx)
	require.NoError(t, err)
	written := 0
	for _, r := range dumpStore(t, s) {
		old, ok := records[string(r.Owner)+" "+string(r.Key)]
		if h, err := readHeader(r.Value); err == nil && h.flags == flagSealed && (!ok || !bytes.Equal(old.Value, r.Value)) {
			require.EqualValues(t, 2, h.id, "%s %s is new", r.Owner, r.Key)
			written++
		}
	}
	require.Greater(t, written, 8)
	m, err := e.Citizen(Identity{Code: bruno}).Message(ctx, r.ID)
	require.NoError(t, err)
	require.Equal(t, "Un avviso di prova", m.Subject)
	require.NoError(t, e.Close())

	after := dumpStore(t, s)
	t.Run("who has both opens it again", func(t *testing.T) {
		e, err := New(undumpStore(t, after), worldOptions(FileKeys(path), clock.Now, func(context.Context, Delivery) error { return nil }))
		require.NoError(t, err)
		defer e.Close()
		got, err := e.Citizen(Identity{Code: bruno}).Message(ctx, r.ID)
		require.NoError(t, err)
		require.Equal(t, m, got)
	})
	t.Run("who has the old one only is refused", func(t *testing.T) {
		k, err := parseKeyFile(line)
		require.NoError(t, err)
		requireRefused(t, after, &Options{Keys: k}, store.ErrKey)
	})
	t.Run("without the old one its records are ErrKey, and no others", func(t *testing.T) {
		k, err := parseKeyFile([]byte(keyLine(2, 0x22)))
		require.NoError(t, err)
		s := undumpStore(t, after)
		e, err := New(s, worldOptions(k, clock.Now, func(context.Context, Delivery) error { return nil }))
		require.NoError(t, err)
		defer e.Close()
		_, err = e.Service(ctx, "tari")
		require.ErrorIs(t, err, store.ErrKey)
		_, err = e.Citizen(Identity{Code: anna}).Profile(ctx)
		require.ErrorIs(t, err, store.ErrKey)
		p, err := e.Citizen(Identity{Code: fabio}).Profile(ctx)
		require.NoError(t, err)
		require.Equal(t, Auto, p.Mode)
		// Work that would need it waits for it.
		_, err = e.Flush(ctx)
		require.NoError(t, err)
		h, err := e.Health(ctx)
		require.NoError(t, err)
		require.Equal(t, 1, h.Quarantined, "the one that was there")
	})
}

// aside lets somebody else do something just before the first change of the store's own records.
type aside struct {
	store.Store
	once sync.Once
	do   func()
}

func (a *aside) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	if len(changes) == 1 && changes[0].Owner == ownerMeta {
		a.once.Do(a.do)
	}
	return a.Store.Commit(ctx, changes)
}

func TestTwoEnginesMakeAStoreOut(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	first := bytes.Repeat([]byte{1}, keySize)
	old := &keyMap{1, map[uint32][]byte{1: first}}
	rotated := &keyMap{2, map[uint32][]byte{1: first, 2: bytes.Repeat([]byte{2}, keySize)}}
	profile := func(s store.Store, ring Keyring, choose bool) Profile {
		e, err := New(s, &Options{Keys: ring})
		require.NoError(t, err)
		defer e.Close()
		c := e.Citizen(Identity{Code: anna})
		if choose {
			require.NoError(t, c.SetMode(ctx, Manual))
		}
		p, err := c.Profile(ctx)
		require.NoError(t, err)
		return p
	}
	t.Run("a new one, at the same time", func(t *testing.T) {
		s := memstore.New()
		beside := &aside{Store: s, do: func() { profile(s, old, true) }}
		require.Equal(t, Manual, profile(beside, old, false).Mode, "both see the same people")
	})
	t.Run("a rotation, at the same time", func(t *testing.T) {
		s := memstore.New()
		profile(s, old, true)
		beside := &aside{Store: s, do: func() { profile(s, rotated, false) }}
		require.Equal(t, Manual, profile(beside, rotated, false).Mode)
	})
}

func TestOpenAsksForItsKey(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	made := func(t *testing.T) string {
		path := filepath.Join(t.TempDir(), "io.db")
		e, err := Open(path, nil)
		require.NoError(t, err)
		require.NoError(t, e.Citizen(Identity{Code: anna}).SetMode(ctx, Auto))
		require.NoError(t, e.Close())
		return path
	}
	t.Run("the key file is made beside a new file", func(t *testing.T) {
		path := made(t)
		text, err := os.ReadFile(path + ".key")
		require.NoError(t, err)
		_, err = parseKeyFile(text)
		require.NoError(t, err)
		e, err := Open(path, nil)
		require.NoError(t, err)
		p, err := e.Citizen(Identity{Code: anna}).Profile(ctx)
		require.NoError(t, err)
		require.Equal(t, Auto, p.Mode)
		require.NoError(t, e.Close())
	})
	t.Run("a missing key file is ErrKey, and none is made", func(t *testing.T) {
		path := made(t)
		require.NoError(t, os.Rename(path+".key", path+".gone"))
		_, err := Open(path, nil)
		require.ErrorIs(t, err, store.ErrKey)
		require.Contains(t, err.Error(), "io.db.key")
		_, err = os.Stat(path + ".key")
		require.ErrorIs(t, err, os.ErrNotExist)
		// The file is not held: with its key it opens.
		require.NoError(t, os.Rename(path+".gone", path+".key"))
		e, err := Open(path, nil)
		require.NoError(t, err)
		require.NoError(t, e.Close())
	})
	t.Run("another's key file is ErrKey", func(t *testing.T) {
		path := made(t)
		require.NoError(t, os.WriteFile(path+".key", []byte(keyLine(1, 9)), 0o600))
		_, err := Open(path, nil)
		require.ErrorIs(t, err, store.ErrKey)
		_, err = Open(path, &Options{Keys: RandomKeys()})
		require.ErrorIs(t, err, store.ErrKey)
		_, err = Open(path, &Options{Plain: true, Keys: RandomKeys()})
		require.ErrorIs(t, err, store.ErrKey)
	})
	t.Run("a second line rotates the key", func(t *testing.T) {
		path := made(t)
		f, err := os.OpenFile(path+".key", os.O_APPEND|os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteString("2 " + hex.EncodeToString(bytes.Repeat([]byte{2}, keySize)) + "\n")
		require.NoError(t, err)
		require.NoError(t, f.Close())
		for range 2 {
			e, err := Open(path, nil)
			require.NoError(t, err)
			p, err := e.Citizen(Identity{Code: anna}).Profile(ctx)
			require.NoError(t, err)
			require.Equal(t, Auto, p.Mode)
			require.NoError(t, e.Close())
		}
		require.NoError(t, os.WriteFile(path+".key", []byte(keyLine(2, 2)), 0o600))
		e, err := Open(path, nil)
		require.NoError(t, err, "the store itself is the new key's")
		_, err = e.Citizen(Identity{Code: anna}).Profile(ctx)
		require.ErrorIs(t, err, store.ErrKey)
		require.NoError(t, e.Close())
	})
}

package appio

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/appio-go/appio/store"
)

// A Keyring holds engine keys of 32 bytes by number, from 1; the current one seals, the others still open what they sealed.
// It is called concurrently.
type Keyring interface {
	// Current is the key that new records are sealed with.
	Current() (id uint32, key []byte, err error)
	// Key is the key of that number; one that is not there is [store.ErrKey].
	Key(id uint32) ([]byte, error)
}

// keySize is that of AES-256.
const keySize = 32

// FileKeys reads its keys from the file at path when first asked. A missing file is made for a new store, readable by its owner
// only, with one new key; for a store that has been used it is store.ErrKey, since its key is what is missing. The file has a line
// "number hex" for each key; the highest number is the current one. Adding a line is a rotation.
func FileKeys(path string) Keyring { return &fileKeys{path: path, make: true} }

type fileKeys struct {
	path string
	make bool // Current makes a missing file; false: it is store.ErrKey, as for Key

	mu   sync.Mutex
	keys *keyMap
	read time.Time
}

func (f *fileKeys) load(make bool) (*keyMap, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keys != nil {
		return f.keys, nil
	}
	f.read = time.Now()
	text, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		if !make {
			return nil, fmt.Errorf("%w: the key file %s is missing", store.ErrKey, filepath.Base(f.path))
		}
		if text, err = makeKeyFile(f.path); err != nil {
			return nil, fmt.Errorf("appio: make key file: %w", err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("appio: read key file: %w", err)
	}
	if f.keys, err = parseKeyFile(text); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", store.ErrKey, filepath.Base(f.path), err)
	}
	return f.keys, nil
}

func (f *fileKeys) Current() (uint32, []byte, error) {
	k, err := f.load(f.make)
	if err != nil {
		return 0, nil, err
	}
	return k.Current()
}

// Key looks into the file again, at most once a second, for a key that another process has added. It is asked what something is
// sealed with: a file that is missing is lost, or not mounted yet, and a new key in its place would open nothing.
func (f *fileKeys) Key(id uint32) ([]byte, error) {
	k, err := f.load(false)
	if err != nil {
		return nil, err
	}
	key, err := k.Key(id)
	if err != nil {
		key, err = f.again().Key(id)
	}
	return key, err
}

// again reads the file anew. A file that is gone, or is just being written, changes nothing, and no key that was known is
// forgotten: records are sealed with it.
func (f *fileKeys) again() *keyMap {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.read) <= time.Second {
		return f.keys
	}
	f.read = time.Now()
	text, err := os.ReadFile(f.path)
	if err != nil {
		return f.keys
	}
	k, err := parseKeyFile(text)
	if err != nil {
		return f.keys
	}
	for id, key := range f.keys.keys {
		k.keys[id], k.current = key, max(k.current, id)
	}
	f.keys = k
	return k
}

// makeKeyFile writes a file with one new key and makes sure that it is on disk before anything is sealed with it. Where
// another process was faster, its file is read.
func makeKeyFile(path string) ([]byte, error) {
	key := make([]byte, keySize)
	rand.Read(key)
	text := fmt.Appendf(nil, "1 %x\n", key)
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err == nil {
		err = tmp.Sync()
	}
	if err2 := tmp.Close(); err == nil {
		err = err2
	}
	if err != nil {
		return nil, err
	}
	switch err := os.Link(tmp.Name(), path); { // fails if path exists
	case errors.Is(err, fs.ErrExist):
		return os.ReadFile(path)
	case err != nil:
		return nil, err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return text, dir.Sync()
}

func parseKeyFile(text []byte) (*keyMap, error) {
	k := &keyMap{keys: map[uint32][]byte{}}
	for line := range strings.Lines(string(text)) {
		number, digits, ok := strings.Cut(strings.TrimSpace(line), " ")
		if number == "" && !ok {
			continue
		}
		id, err := strconv.ParseUint(number, 10, 32)
		key, err2 := hex.DecodeString(digits)
		if err != nil || err2 != nil || id == 0 || len(key) != keySize || k.keys[uint32(id)] != nil {
			return nil, errors.New(`each line is a number from 1, used once, and 64 hex digits`)
		}
		k.keys[uint32(id)] = key
		k.current = max(k.current, uint32(id))
	}
	if k.current == 0 {
		return nil, errors.New("the file has no key")
	}
	return k, nil
}

// RandomKeys is a key for the life of the process: for tests. One value is shared by all engines of a store.
func RandomKeys() Keyring {
	key := make([]byte, keySize)
	rand.Read(key)
	return &keyMap{current: 1, keys: map[uint32][]byte{1: key}}
}

type keyMap struct {
	current uint32
	keys    map[uint32][]byte
}

func (k *keyMap) Current() (uint32, []byte, error) { return k.current, k.keys[k.current], nil }

func (k *keyMap) Key(id uint32) ([]byte, error) {
	if key := k.keys[id]; key != nil {
		return key, nil
	}
	return nil, fmt.Errorf("%w: no engine key %d", store.ErrKey, id)
}

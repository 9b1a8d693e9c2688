package damage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
)

// A child is this test binary again. It damages copies of the files in a folder, one after the other, and asks everything of each.
// On its output it says what it is about to do, and then what came of it: so it is known of what it died.
const (
	envDir  = "APPIO_DAMAGE_DIR"
	envFrom = "APPIO_DAMAGE_FROM"
	envTo   = "APPIO_DAMAGE_TO"
	envSeed = "APPIO_DAMAGE_SEED"

	// envOld plants a bug: what is damaged is taken from an old copy of the file, as if nothing were wrong.
	envOld = "APPIO_DAMAGE_OLD"
)

// Words of the child: the number of the damage follows, and what there is to say.
const (
	saysTrying = "trying"
	saysFound  = "found"      // an error said that something is wrong
	saysNone   = "harmless"   // every answer was right
	saysOlder  = "rolledback" // every answer was right before the last change
	saysWrong  = "wrong"
)

// images are what is damaged: the file as it is when the process dies, after Close, and a backup.
var images = []string{"crashed", "closed", "backup"}

// An original is what the child knows of the undamaged files.
type original struct {
	Sent   []sent
	Now    map[string]answer
	Before map[string]answer // the last change
}

func child() error {
	dir := os.Getenv(envDir)
	text, err := os.ReadFile(filepath.Join(dir, "original.json"))
	if err != nil {
		return err
	}
	var o original
	if err := json.Unmarshal(text, &o); err != nil {
		return err
	}
	var files [][]byte
	for _, name := range images {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		files = append(files, b)
	}
	number := func(env string) uint64 {
		n, parseErr := strconv.ParseUint(os.Getenv(env), 10, 64)
		err = errors.Join(err, parseErr)
		return n
	}
	seed, from, to := number(envSeed), number(envFrom), number(envTo)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, fmt.Sprintf("damaged-%d", from))
	defer os.Remove(path)
	for i := from; i < to; i++ {
		r := rand.New(rand.NewPCG(seed, i))
		which := r.IntN(len(images))
		b, what := damage(r, bytes.Clone(files[which]))
		fmt.Println(saysTrying, i, images[which]+":", what)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return err
		}
		hangs := time.AfterFunc(30*time.Second, func() {
			fmt.Println(saysWrong, i, "it hangs")
			os.Exit(1)
		})
		word, about := o.try(dir, path, r)
		hangs.Stop()
		fmt.Println(word, i, about)
	}
	return nil
}

// damage changes a file, and says how.
func damage(r *rand.Rand, b []byte) ([]byte, string) {
	const page = 4096
	used := len(b)
	for used > 0 && b[used-1] == 0 {
		used--
	}
	pages := used/page + 1
	of := func(n int) []byte { return b[n*page : min((n+1)*page, len(b))] }
	n, m := r.IntN(pages), r.IntN(pages)
	switch r.IntN(8) {
	case 0:
		i := r.IntN(used)
		b[i] ^= 1 << r.IntN(8)
		return b, fmt.Sprintf("a bit of byte %d", i)
	case 1: // where pages say what is in them
		i := min(n*page+r.IntN(80), used-1)
		b[i] ^= 1 << r.IntN(8)
		return b, fmt.Sprintf("a bit of byte %d", i)
	case 2:
		for range 2 + r.IntN(20) {
			b[r.IntN(used)] ^= 1 << r.IntN(8)
		}
		return b, "some bits"
	case 3:
		clear(of(n))
		return b, fmt.Sprintf("page %d zeroed", n)
	case 4:
		old := bytes.Clone(of(n))
		copy(of(n), of(m))
		copy(of(m), old)
		return b, fmt.Sprintf("pages %d and %d swapped", n, m)
	case 5:
		copy(of(n), of(m))
		return b, fmt.Sprintf("page %d over page %d", m, n)
	case 6: // not after nothing: an empty file is a new one
		if n > 0 && r.IntN(2) == 0 {
			return b[:n*page], fmt.Sprintf("cut after page %d", n)
		}
		i := 1 + r.IntN(used)
		return b[:i], fmt.Sprintf("cut after byte %d", i)
	default:
		p := of(n)
		for k := range p {
			p[k] = byte(r.Uint32())
		}
		return b, fmt.Sprintf("noise in page %d", n)
	}
}

// try opens a damaged file, asks everything of it and writes to it, and says what came of that.
func (o *original) try(dir, path string, r *rand.Rand) (word, about string) {
	s, err := open(dir, path)
	if err != nil {
		if !found(err) {
			return saysWrong, "it cannot be opened, and nobody knows why: " + err.Error()
		}
		return saysFound, "opening: " + err.Error()
	}
	defer s.Close()
	e, err := appio.New(s, options(dir))
	if err != nil {
		return saysWrong, err.Error()
	}
	defer e.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	word = saysNone
	now, before := "", "" // questions whose answers can be only from after, or before, the last change
	note := func(text string) {
		if word == saysNone {
			word, about = saysFound, text
		}
	}
	for _, q := range questions(o.Sent) {
		values, err := q.ask(ctx, e)
		got, is, was := answerOf(values, err), o.Now[q.name], o.Before[q.name]
		switch {
		case got.equal(is) && got.equal(was):
		case got.equal(is):
			now = q.name
		case got.equal(was):
			before = q.name
		case err == nil && q.less && within(values, is.Values, was.Values):
		case err == nil || !found(err):
			return saysWrong, fmt.Sprintf("%s: %v", q.name, err)
		case !within(values, is.Values, was.Values):
			return saysWrong, fmt.Sprintf("%s: values before the error", q.name)
		default:
			note(q.name + ": " + err.Error())
		}
	}
	switch {
	case now != "" && before != "":
		return saysWrong, fmt.Sprintf("%s is of before the last change, %s of after it", before, now)
	case before != "" && word == saysNone:
		word = saysOlder
	}
	if r.IntN(4) > 0 {
		return word, about
	}
	m := message(r.IntN(citizens), "nuovo")
	m.Key = "nuovo"
	res, err := e.Sender(serviceID(1)).Send(ctx, m)
	switch {
	case err != nil && !found(err) && !errors.Is(err, appio.ErrUnknown):
		return saysWrong, "sending: " + err.Error()
	case err != nil:
		note("sending: " + err.Error())
		return word, about
	case res.Status != appio.Processed:
		return saysWrong, "a message was rejected"
	}
	switch got, err := e.Citizen(appio.Identity{Code: m.To}).Message(ctx, res.ID); {
	case err != nil && !found(err):
		return saysWrong, "reading what was just sent: " + err.Error()
	case err != nil:
		note("reading what was just sent: " + err.Error())
	case got.Markdown != m.Markdown || got.Subject != m.Subject:
		return saysWrong, "what was just sent is not what is read"
	}
	return word, about
}

// within reports whether each value is one of those that are right.
func within(values, now, before []string) bool {
	return !slices.ContainsFunc(values, func(v string) bool { return !slices.Contains(now, v) && !slices.Contains(before, v) })
}

func open(dir, path string) (store.Store, error) {
	s, err := boltstore.Open(path, small)
	if os.Getenv(envOld) == "" {
		return s, err
	}
	old, oldErr := boltstore.Open(filepath.Join(dir, "old"), small)
	if oldErr != nil {
		return nil, oldErr
	}
	if err != nil {
		return old, nil
	}
	return &forgiving{s, old}, nil
}

// A forgiving store is a planted bug: it answers from an old copy where its own cannot be read.
type forgiving struct {
	store.Store
	old store.Store
}

func (f *forgiving) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	shots, err := f.Store.View(ctx, reads)
	if err != nil {
		return f.old.View(ctx, reads)
	}
	return shots, nil
}

func (f *forgiving) Close() error { return errors.Join(f.old.Close(), f.Store.Close()) }

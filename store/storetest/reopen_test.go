//go:build unix

package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/appio-go/appio/internal/conformance"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

func TestReopenPassesASoundStore(t *testing.T) {
	Reopen(t, func(dir string) (store.Store, error) { return openJournal(dir, journalBugs{}) })
}

func TestReopenFailsBrokenStores(t *testing.T) {
	for name, broken := range map[string]struct {
		rule string
		bugs journalBugs
	}{
		"what is scheduled is forgotten":          {"everything is there after Close and open", journalBugs{forgetDue: true}},
		"owners without records are forgotten":    {"everything is there after Close and open", journalBugs{forgetEmpty: true}},
		"Close drops what is not written":         {"what was acknowledged before Close is there, and what was refused is not", journalBugs{late: true}},
		"anybody may open it":                     {"a store in use cannot be opened", journalBugs{unlocked: true}},
		"it is written after the answer":          {"what was acknowledged survives kill -9, and no change is there by half", journalBugs{late: true}},
		"a process dies of writing":               {"what was acknowledged survives kill -9, and no change is there by half", journalBugs{dies: true}},
		"a change is written record after record": {"what was acknowledged survives kill -9, and no change is there by half", journalBugs{halves: true}},
	} {
		t.Run(name, func(t *testing.T) {
			i := slices.IndexFunc(reopenChecks(), func(c reopenCheck) bool { return c.rule == broken.rule })
			open := func(dir string) (store.Store, error) { return openJournal(dir, broken.bugs) }
			failures := conformance.Record(t, func(t tester) { reopenChecks()[i].run(t, open) })
			if len(failures) == 0 {
				t.Fatalf("a store with this bug passes %q", broken.rule)
			}
			t.Log(failures[0])
		})
	}
}

func TestReopenSaysWhatAProcessComplainedOf(t *testing.T) {
	failures := conformance.Record(t, func(t tester) {
		survivesKill(t, func(string) (store.Store, error) { return nil, store.ErrNewer })
	})
	if len(failures) != 1 || !bytes.Contains([]byte(failures[0]), []byte(store.ErrNewer.Error())) {
		t.Errorf("a store that does not open: %q; want the error that the process had", failures)
	}
}

// A journal is the simplest store on disk: a sound one in memory, and a file of all changes, from which it is made again.
type journal struct {
	journalBugs
	store.Store
	mu     sync.Mutex
	file   *os.File
	writes int
	wait   []byte // late: acknowledged, not written
}

type journalBugs struct{ forgetDue, forgetEmpty, late, unlocked, halves, dies bool }

func openJournal(dir string, bugs journalBugs) (store.Store, error) {
	file, err := os.OpenFile(filepath.Join(dir, "journal"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if !bugs.unlocked {
		if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			file.Close()
			return nil, store.ErrLocked
		}
	}
	j := &journal{journalBugs: bugs, Store: memstore.New(), file: file}
	if err := j.replay(); err != nil {
		file.Close()
		return nil, err
	}
	if j.late {
		go func() {
			for {
				time.Sleep(20 * time.Millisecond)
				j.mu.Lock()
				j.file.Write(j.wait)
				j.wait = nil
				j.mu.Unlock()
			}
		}()
	}
	return j, nil
}

// replay makes all changes of the file again, and cuts off one that is there in part.
func (j *journal) replay() error {
	all, err := io.ReadAll(j.file)
	if err != nil {
		return err
	}
	size := 0
	for len(all) >= 8 {
		length := binary.BigEndian.Uint64(all)
		if uint64(len(all)-8) < length {
			break
		}
		var changes []store.Change
		if err := gob.NewDecoder(bytes.NewReader(all[8 : 8+length])).Decode(&changes); err != nil {
			return err
		}
		for i := range changes {
			for k := range changes[i].Put {
				if j.forgetDue {
					changes[i].Put[k].Due = time.Time{}
				}
			}
		}
		if _, err := j.Store.Commit(context.Background(), changes); err != nil {
			return err
		}
		size, all = size+8+int(length), all[8+length:]
	}
	if err := j.file.Truncate(int64(size)); err != nil {
		return err
	}
	_, err = j.file.Seek(int64(size), io.SeekStart)
	return err
}

func (j *journal) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	if err := store.Check(changes); err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var good []store.Change
	for _, c := range changes {
		got, err := j.Store.View(ctx, []store.Read{{Owner: c.Owner}})
		if err != nil {
			return nil, err
		}
		if got[0].Rev != c.Rev {
			continue
		}
		if j.halves && len(c.Put) > 1 {
			c.Put, c.Delete = c.Put[:1], nil
		}
		if !j.forgetEmpty || len(c.Put) > 0 {
			good = append(good, c)
		}
	}
	if err := j.write(good); err != nil {
		return nil, err
	}
	return j.Store.Commit(ctx, changes)
}

func (j *journal) write(changes []store.Change) error {
	if j.writes++; j.dies && j.writes == 5 {
		panic("the fifth write")
	}
	var entry bytes.Buffer
	if err := gob.NewEncoder(&entry).Encode(changes); err != nil {
		return err
	}
	framed := append(binary.BigEndian.AppendUint64(nil, uint64(entry.Len())), entry.Bytes()...)
	if j.late {
		j.wait = append(j.wait, framed...)
		return nil
	}
	_, err := j.file.Write(framed)
	return err
}

func (j *journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.file.Close()
	return j.Store.Close()
}

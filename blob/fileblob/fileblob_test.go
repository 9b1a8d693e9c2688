package fileblob_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/blob"
	"github.com/appio-go/appio/blob/blobtest"
	"github.com/appio-go/appio/blob/fileblob"
	"github.com/appio-go/appio/internal/failpoint"
)

func TestStore(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Store { return fileblob.New(filepath.Join(t.TempDir(), "documents")) })
}

// files are those of a directory, without those that are being written.
func files(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	require.NoError(t, err)
	return paths
}

func TestStoreIsOpenedAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	blobtest.Reopen(t, func() blob.Store { return fileblob.New(dir) }, func(id blob.ID, n int) bool {
		for _, path := range files(t, dir) {
			if filepath.Base(path) != string(id) {
				continue
			}
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			switch places := []int{0, 1, 5000, len(b) - 33, len(b) - 32, len(b) - 1}; {
			case n < len(places):
				b[places[n]] ^= 1
			case n == len(places):
				b = b[:len(b)-1]
			case n == len(places)+1:
				b = b[:31]
			case n == len(places)+2:
				b = nil
			case n == len(places)+3:
				b = append(b, 0)
			case n == len(places)+4: // as where another document was put in its place
				other := filepath.Join(dir, "other")
				s := fileblob.New(other)
				require.NoError(t, s.Put(t.Context(), "another", bytes.NewReader(b[:100])))
				b, err = os.ReadFile(files(t, other)[0])
				require.NoError(t, err)
			default:
				return false
			}
			require.NoError(t, os.WriteFile(path, b, 0o600))
			return true
		}
		t.Fatal("no file")
		return false
	})
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := fileblob.New(dir)
	_, err := os.Stat(dir)
	require.ErrorIs(t, err, fs.ErrNotExist, "a constructor makes nothing")
	for range s.All(t.Context()) {
		t.Fatal("a document in a directory that is not there")
	}
	require.NoError(t, s.Put(t.Context(), "d", strings.NewReader("x")))
	require.NoError(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077)
		return nil
	}))
}

func TestErrorsDoNotNameFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "segreto"), nil, 0o600))
	s := fileblob.New(filepath.Join(dir, "segreto"))
	err := s.Put(t.Context(), "d", strings.NewReader("x"))
	require.Error(t, err)
	require.NotContains(t, err.Error(), "segreto")
	require.ErrorIs(t, err, syscall.ENOTDIR)
}

func TestWhatACrashLeftIsClearedAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tmp := filepath.Join(dir, "tmp")
	require.NoError(t, os.Mkdir(tmp, 0o700))
	old, young := filepath.Join(tmp, "old"), filepath.Join(tmp, "young")
	for _, path := range []string{old, young} {
		require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
	}
	long := time.Now().Add(-25 * time.Hour)
	require.NoError(t, os.Chtimes(old, long, long))
	require.NoError(t, fileblob.New(dir).Put(t.Context(), "d", strings.NewReader("x")))
	require.NoFileExists(t, old)
	require.FileExists(t, young, "somebody may be writing it")
}

// steps are those of a Put, in order. Up to the one before it has its name a crash leaves nothing; after it, all.
var steps = []struct {
	name  string
	there bool
}{{"blob/made", false}, {"blob/written", false}, {"blob/synced", false}, {"blob/named", true}, {"blob/durable", true}}

const crashDir = "FILEBLOB_CRASH_DIR"

// TestCrashes kills a process at each step of putting a document. What is there afterwards is whole, and what was acknowledged before is there.
func TestCrashes(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		put(t, dir, os.Getenv("FILEBLOB_CRASH_AT"))
		return
	}
	t.Parallel()
	for _, step := range steps {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^TestCrashes$")
		cmd.Env = append(os.Environ(), crashDir+"="+dir, "FILEBLOB_CRASH_AT="+step.name)
		out, err := cmd.CombinedOutput()
		var ended *exec.ExitError
		require.ErrorAs(t, err, &ended, "%s: %s", step.name, out)
		require.Equal(t, syscall.SIGKILL, ended.Sys().(syscall.WaitStatus).Signal(), "%s: %s", step.name, out)

		s := fileblob.New(dir)
		require.Equal(t, content("before"), read(t, s, "before"), step.name)
		want := map[blob.ID]bool{"before": true}
		if step.there {
			want["d"] = true
			require.Equal(t, content("d"), read(t, s, "d"), step.name)
		} else {
			_, err := s.Open(t.Context(), "d")
			require.ErrorIs(t, err, blob.ErrNotFound, step.name)
		}
		got := map[blob.ID]bool{}
		for info, err := range s.All(t.Context()) {
			require.NoError(t, err)
			got[info.ID] = true
		}
		require.Equal(t, want, got, step.name)
		// The same id can be put then, or is there.
		if err := s.Put(t.Context(), "d", bytes.NewReader(content("d"))); step.there {
			require.ErrorIs(t, err, blob.ErrExists)
		} else {
			require.NoError(t, err)
		}
		require.Equal(t, content("d"), read(t, s, "d"))
	}
}

// put is the child: it dies at a step.
func put(t *testing.T, dir, at string) {
	s := fileblob.New(dir)
	require.NoError(t, s.Put(t.Context(), "before", bytes.NewReader(content("before"))))
	failpoint.Set(func(name string) error {
		if name == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	})
	t.Fatal(s.Put(t.Context(), "d", bytes.NewReader(content("d"))))
}

func content(id string) []byte { return bytes.Repeat([]byte(id+" "), 20_000) }

func read(t *testing.T, s blob.Store, id blob.ID) []byte {
	t.Helper()
	r, err := s.Open(t.Context(), id)
	require.NoError(t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	return b
}

// TestFailures fails each step, as a full disk does. The document is there as a whole or not at all, and the next one is put.
func TestFailures(t *testing.T) {
	dir := t.TempDir()
	s := fileblob.New(dir)
	planned := errors.New("planned")
	for i, step := range steps {
		id := blob.ID(fmt.Sprintf("d%d", i))
		restore := failpoint.Set(func(name string) error {
			if name == step.name {
				return planned
			}
			return nil
		})
		require.ErrorIs(t, s.Put(t.Context(), id, bytes.NewReader(content("d"))), planned, step.name)
		restore()
		if step.there {
			require.Equal(t, content("d"), read(t, s, id))
		} else {
			_, err := s.Open(t.Context(), id)
			require.ErrorIs(t, err, blob.ErrNotFound)
		}
	}
	left, err := os.ReadDir(filepath.Join(dir, "tmp"))
	require.NoError(t, err)
	require.Empty(t, left, "what could not be put leaves no file behind")
}

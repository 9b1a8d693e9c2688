//go:build unix

package appio_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/failpoint"
)

const documentCrash = "APPIO_DOCUMENT_CRASH"

// TestDocumentCrashes kills a process at the first step that it passes while it puts and sends documents, at the second, and so on until it gets
// through: afterwards each message that is there has its documents whole, and what was acknowledged is there.
func TestDocumentCrashes(t *testing.T) {
	if at := os.Getenv(documentCrash); at != "" {
		n, path, _ := strings.Cut(at, " ")
		sendDocuments(t, path, n)
		return
	}
	t.Parallel()
	names := map[string]bool{}
	for n := 1; ; n++ {
		path := filepath.Join(t.TempDir(), "io.db")
		cmd := exec.Command(os.Args[0], "-test.run=^TestDocumentCrashes$")
		cmd.Env = append(os.Environ(), documentCrash+"="+strconv.Itoa(n)+" "+path)
		out, err := cmd.CombinedOutput()
		var acknowledged []appio.MessageID
		for line := range strings.Lines(string(out)) {
			if id, ok := strings.CutPrefix(line, "sent "); ok {
				acknowledged = append(acknowledged, appio.MessageID(strings.TrimSpace(id)))
			}
			if name, ok := strings.CutPrefix(line, "at "); ok {
				names[strings.TrimSpace(name)] = true
			}
		}
		e, err2 := appio.Open(path, nil)
		require.NoError(t, err2)
		c := e.Citizen(appio.Identity{Code: giuseppe, Level: appio.L2})
		var there []appio.MessageID
		for _, m := range collect(t, c.Inbox(nil)) {
			there = append(there, m.ID)
			require.Len(t, m.Documents, 2)
			for _, d := range m.Documents {
				_, b, err := readDocument(t.Context(), c, m.ID, d.ID)
				require.NoError(t, err, "killed at step %d: a message names a document that is not there", n)
				require.Equal(t, certificate(int(d.Size)), b)
			}
		}
		for _, id := range acknowledged {
			require.True(t, slices.Contains(there, id), "killed at step %d: a message that was acknowledged is lost", n)
		}
		require.LessOrEqual(t, len(there), len(acknowledged)+1)
		require.NoError(t, e.Close())
		if err == nil {
			require.Len(t, acknowledged, 3)
			break
		}
		var ended *exec.ExitError
		require.ErrorAs(t, err, &ended)
		require.Equal(t, syscall.SIGKILL, ended.Sys().(syscall.WaitStatus).Signal(), "%s", out)
	}
	for _, name := range []string{"blob/made", "blob/written", "blob/synced", "blob/named", "blob/durable"} {
		require.True(t, names[name], name)
	}
}

// sendDocuments is the child, which dies at the n-th step.
func sendDocuments(t *testing.T, path, n string) {
	most, err := strconv.Atoi(n)
	require.NoError(t, err)
	e, err := appio.Open(path, nil)
	require.NoError(t, err)
	require.NoError(t, e.PutService(t.Context(), newService()))
	require.NoError(t, e.Citizen(appio.Identity{Code: giuseppe, Level: appio.L2}).SetMode(t.Context(), appio.Auto))
	var hits atomic.Int64
	failpoint.Set(func(name string) error {
		if hits.Add(1) == int64(most) {
			fmt.Println("at " + name)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	})
	s := e.Sender(mensa)
	for i := range 3 {
		var docs []appio.Document
		for j := range 2 {
			d, err := s.PutDocument(t.Context(), giuseppe, certificateOf, bytes.NewReader(certificate(70_000*i+100*j+9)))
			require.NoError(t, err)
			docs = append(docs, d)
		}
		r, err := s.Send(t.Context(), messageTo(giuseppe, withDocuments(docs...)))
		require.NoError(t, err)
		fmt.Println("sent " + r.ID)
	}
	require.NoError(t, e.Close())
}

package main_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

// The commands of docs/operations.md are run as they stand there, and the drill goes on as it says: what was open in the backup
// is parked, and goes out only when the operator says so.
func TestOperations(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	require.NoError(t, err)
	p := newPlace(t) // with one delivery that waits for its next attempt
	blocks := strings.Split(string(doc), "```sh\n")[1:]
	require.GreaterOrEqual(t, len(blocks), 6)
	for _, b := range blocks {
		script, _, ok := strings.Cut(b, "```")
		require.True(t, ok)
		sh := exec.CommandContext(t.Context(), "sh", "-eu", "-c", script)
		sh.Dir = p.dir
		sh.Env = append(os.Environ(), "PATH="+filepath.Dir(tool)+string(os.PathListSeparator)+os.Getenv("PATH"))
		out, err := sh.CombinedOutput()
		require.NoError(t, err, "%s%s", script, out)
	}

	ctx, sent := t.Context(), 0
	opts := options(filepath.Join(p.dir, "drill", "io.db.key"))
	opts.Channels[0].Channel = appio.ChannelFunc(func(context.Context, appio.Delivery) error { sent++; return nil })
	opts.Channels[0].Workers = 1
	e, err := appio.Open(filepath.Join(p.dir, "drill", "io.db"), opts)
	require.NoError(t, err)
	defer e.Close()
	require.NoError(t, e.Citizen(appio.Identity{Code: bruno, Level: appio.L2}).Erase(ctx)) // from the journal
	h, err := e.Health(ctx)
	require.NoError(t, err)
	require.Equal(t, 2, h.Parked, "the one that was parked before, and the one that was open")
	require.Zero(t, h.Waiting)
	var unknown []appio.DeliveryID
	for d, err := range e.Parked().All(ctx) {
		require.NoError(t, err)
		if strings.HasPrefix(d.Cause, "outcome unknown") {
			unknown = append(unknown, d.ID)
		}
	}
	require.Len(t, unknown, 1)
	_, err = e.Flush(ctx)
	require.NoError(t, err)
	require.Zero(t, sent)
	require.NoError(t, e.Replay(ctx, unknown...))
	_, err = e.Flush(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, sent)
	r, err := e.Sender("tari").Send(ctx, appio.Message{To: anna, Subject: "Dopo il ripristino", Markdown: strings.Repeat("Gentile cittadina. ", 20)})
	require.NoError(t, err)
	require.Equal(t, appio.Processed, r.Status)
	_, err = e.Flush(ctx)
	require.NoError(t, err)
	require.Equal(t, 2, sent)
}

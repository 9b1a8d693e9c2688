package appio_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

const envKilled = "APPIO_TEST_KILLED" // the folder of the child that is killed

// TestKilled kills a process that sends and delivers: what it accepted is there when the file is opened again. The long form is in
// itest/crash.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(envKilled); dir != "" {
		t.Fatal(sendUntilKilled(dir))
	}
	t.Parallel()
	dir := t.TempDir()
	accepted := map[string]bool{}
	for range 3 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), envKilled+"="+dir)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		n := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if id, ok := strings.CutPrefix(lines.Text(), "accepted "); ok {
				accepted[id] = true
				if n++; n == 30 {
					require.NoError(t, cmd.Process.Kill())
				}
			}
		}
		_ = cmd.Wait()
		require.GreaterOrEqual(t, n, 30, "%s", stderr.String())

		e, err := appio.Open(filepath.Join(dir, "io.db"), nil)
		require.NoError(t, err)
		found := 0
		for m, err := range e.Citizen(appio.Identity{Code: giuseppe}).Inbox(nil).All(t.Context()) {
			require.NoError(t, err)
			if accepted[string(m.ID)] {
				found++
			}
		}
		require.Equal(t, len(accepted), found)
		require.NoError(t, e.Close())
	}
}

func sendUntilKilled(dir string) error {
	e, err := appio.Open(filepath.Join(dir, "io.db"), &appio.Options{Channels: []appio.Route{{Name: appio.Push, Default: appio.Full, ByCode: true,
		Channel: appio.ChannelFunc(func(context.Context, appio.Delivery) error { time.Sleep(time.Millisecond); return nil })}}})
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := e.PutService(ctx, newService()); err != nil {
		return err
	}
	if err := e.Citizen(appio.Identity{Code: giuseppe}).SetMode(ctx, appio.Auto); err != nil {
		return err
	}
	failed := make(chan error, 5)
	go func() { failed <- e.Run(ctx) }()
	for range 4 {
		go func() {
			for {
				res, err := e.Sender(mensa).Send(ctx, messageTo(giuseppe))
				if err != nil {
					failed <- err
					return
				}
				_, _ = os.Stdout.WriteString(fmt.Sprintln("accepted", res.ID))
			}
		}()
	}
	return <-failed
}

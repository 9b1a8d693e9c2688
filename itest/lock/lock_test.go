// Package lock shows that a file has one process: a second one is refused soon and with a clear error, until the first has died.
package lock

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/itest/internal/planted"
	"github.com/appio-go/appio/store"
)

func TestMain(m *testing.M) {
	if os.Getenv(envDir) != "" {
		fmt.Fprintln(os.Stderr, child(os.Getenv(envDir)))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

const (
	service = appio.ServiceID("avvisi")
	anna    = fiscalcode.Person("NNANNA80A41H501A")

	// refused is how soon a second process is: it waits for a second, in case the first is about to end.
	refused = 1200 * time.Millisecond

	envDir = "APPIO_LOCK_DIR"
	// envCopy plants a bug: the first process puts a copy in the place of its file, which nobody has locked.
	envCopy = "APPIO_LOCK_COPY"
)

func open(dir string) (*appio.Engine, error) { return appio.Open(filepath.Join(dir, "io.db"), nil) }

func message(key string) appio.Message {
	return appio.Message{
		To: anna, Subject: "Avviso del Comune", Key: key,
		Markdown: "La informiamo che il servizio di raccolta cambia orario dal prossimo mese, come da calendario.",
	}
}

// child holds the file, sends, and says what was accepted, until it is killed.
func child(dir string) error {
	e, err := open(dir)
	if err != nil {
		return err
	}
	if os.Getenv(envCopy) != "" {
		path := filepath.Join(dir, "io.db")
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := errors.Join(os.WriteFile(path+".copy", b, 0o600), os.Rename(path+".copy", path)); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	for n := 0; ; n++ {
		res, err := e.Sender(service).Send(context.Background(), message(fmt.Sprintf("%d-%d", os.Getpid(), n)))
		if err != nil {
			return err
		}
		fmt.Println("accepted", res.ID)
		time.Sleep(time.Millisecond)
	}
}

// TestSecondProcess has a second process open a file that a first one uses, which is then killed: 2 times, or ITEST_COUNT. In
// every fourth round the first dies while the second waits.
func TestSecondProcess(t *testing.T) {
	seed := form.Seed(t)
	form.Watch(t, 15*time.Minute)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	e, err := open(dir)
	require.NoError(t, err)
	require.NoError(t, e.PutService(t.Context(), appio.Service{ID: service, Name: "Avvisi", Organization: "01199250158", State: appio.Live}))
	require.NoError(t, e.Citizen(appio.Identity{Code: anna}).SetMode(t.Context(), appio.Auto))
	require.NoError(t, e.Close())

	accepted := map[appio.MessageID]bool{}
	rounds, took, slowest := 0, 0, time.Duration(0)
	for more := form.Rounds(t, 0.02, 2, 1); more(); {
		rounds++
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), envDir+"="+dir)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		ready := make(chan struct{})
		var listening sync.WaitGroup
		listening.Go(func() {
			for lines := bufio.NewScanner(out); lines.Scan(); {
				word, id, _ := strings.Cut(lines.Text(), " ")
				switch word {
				case "ready":
					close(ready)
				case "accepted":
					accepted[appio.MessageID(id)] = true
				}
			}
		})
		select {
		case <-ready:
		case <-time.After(30 * time.Second):
			t.Fatal("the first process does not open the file")
		}
		kill := func() { _ = cmd.Process.Kill() }
		dies := rounds%4 == 3
		if dies {
			time.AfterFunc(time.Duration(random.IntN(900))*time.Millisecond, kill)
		}
		began := time.Now()
		second, err := open(dir)
		waited := time.Since(began)
		switch {
		case err == nil && !dies:
			_ = second.Close()
			kill()
			t.Fatal("the file was opened while another process uses it")
		case err == nil:
			took++
			require.NoError(t, second.Close())
		default:
			require.ErrorIs(t, err, store.ErrLocked)
			require.ErrorContains(t, err, "io.db")
			slowest = max(slowest, waited)
		}
		kill()
		listening.Wait()
		_ = cmd.Wait()
		require.Contains(t, cmd.ProcessState.String(), "killed", "%s", stderr.String())

		e, err := open(dir) // the lock died with its process
		require.NoError(t, err)
		found := 0
		for m, err := range e.Citizen(appio.Identity{Code: anna}).Inbox(nil).All(t.Context()) {
			require.NoError(t, err)
			if accepted[m.ID] {
				found++
			}
		}
		require.Equal(t, len(accepted), found, "accepted messages are lost")
		require.NoError(t, e.Close())
	}
	t.Logf("%d rounds: %d messages; refused after %v at most; %d times the first died while the second waited", rounds, len(accepted), slowest, took)
	form.Figures(t, map[string]float64{"rounds": float64(rounds), "messages": float64(len(accepted)), "refused ms_max": float64(slowest.Milliseconds()),
		"took over": float64(took)})
	require.LessOrEqual(t, slowest, refused)
}

func TestPlantedBugs(t *testing.T) {
	planted.Run(t, os.Args[0], planted.Bug{
		Name: "a file that is not the one that is locked", Env: envCopy + "=yes", Test: "TestSecondProcess", Says: "while another process uses it", Rounds: 1,
	})
}

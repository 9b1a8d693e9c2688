// Package crash kills a process that sends and delivers, again and again, and looks at what is left.
package crash

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/itest/internal/form"
)

const (
	childDir   = "APPIO_CRASH_DIR"   // set: this is a process to be killed
	childCycle = "APPIO_CRASH_CYCLE" // its number

	citizens = 50
	senders  = 8
	service  = appio.ServiceID("mensa")
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := work(dir, os.Getenv(childCycle)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
	}
	goleak.VerifyTestMain(m)
}

func person(n int) fiscalcode.Person {
	return fiscalcode.Person(fmt.Sprintf("CRASH%c%02dA01H501A", 'A'+n%26, n/26))
}

func message(key string, n int) appio.Message {
	return appio.Message{
		To: person(n % citizens), Key: key,
		Subject: "Messaggio " + key, Markdown: strings.Repeat("Il testo del messaggio. ", 10),
	}
}

// A diary is a file that several goroutines write lines to. What was written stays when the process is killed.
type diary struct{ f *os.File }

func (d diary) write(format string, args ...any) {
	if _, err := fmt.Fprintf(d.f, format+"\n", args...); err != nil {
		panic(err)
	}
}

func open(dir string, delivered func(channel string, id appio.DeliveryID)) (*appio.Engine, error) {
	channel := func(name string) appio.Route {
		return appio.Route{Name: name, Default: appio.Generic, Secure: appio.Generic, ByCode: true,
			Channel: appio.ChannelFunc(func(_ context.Context, d appio.Delivery) error {
				delivered(name, d.ID)
				return nil
			})}
	}
	return appio.Open(filepath.Join(dir, "io.db"), &appio.Options{Channels: []appio.Route{channel(appio.Email), channel(appio.Push)}})
}

// work sends and delivers until it is killed.
func work(dir, cycle string) error {
	f, err := os.OpenFile(filepath.Join(dir, "diary"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	d := diary{f}
	e, err := open(dir, func(channel string, id appio.DeliveryID) { d.write("delivered %s %s", channel, id) })
	if err != nil {
		return err
	}
	ctx := context.Background()
	failed := make(chan error, senders+1)
	go func() { failed <- e.Run(ctx) }()
	fmt.Println("ready")
	var n atomic.Int64
	for range senders {
		go func() {
			for {
				i := int(n.Add(1))
				key := fmt.Sprintf("%s-%d", cycle, i)
				d.write("tried %s %d", key, i)
				r, err := e.Sender(service).Send(ctx, message(key, i))
				if err != nil {
					failed <- err
					return
				}
				d.write("accepted %s %s", key, r.ID)
			}
		}()
	}
	return <-failed
}

// TestKill kills -9 while messages are sent and delivered. No accepted message is lost, none is in an inbox twice, a repeated key is
// the same message, and what was accepted is delivered by every channel.
func TestKill(t *testing.T) {
	cycles := form.Number(t, "ITEST_CRASH_CYCLES", 100)
	if testing.Short() {
		cycles = 5
	}
	form.Watch(t, time.Minute+time.Duration(cycles)*5*time.Second)
	rng := rand.New(rand.NewPCG(form.Seed(t), 0))
	ctx := t.Context()
	dir := t.TempDir()
	e, err := open(dir, func(string, appio.DeliveryID) {})
	require.NoError(t, err)
	require.NoError(t, e.PutService(ctx, appio.Service{ID: service, Name: "Mensa", Organization: "01199250158", State: appio.Live}))
	for n := range citizens {
		c := e.Citizen(appio.Identity{Code: person(n), Level: appio.L2})
		require.NoError(t, c.SetMode(ctx, appio.Auto))
	}
	require.NoError(t, e.Close())

	messages := map[string]appio.MessageID{} // by key: what the key is known to be
	who := map[appio.MessageID]int{}
	copies := map[appio.DeliveryID]int{}
	accepted := 0
	var read int64
	for cycle := range cycles {
		kill(t, dir, cycle, time.Duration(rng.IntN(250))*time.Millisecond)
		tried, acknowledged := map[string]int{}, map[string]appio.MessageID{}
		read = readDiary(t, dir, read, func(f []string) {
			switch f[0] {
			case "tried":
				var n int
				_, err := fmt.Sscan(f[2], &n)
				require.NoError(t, err)
				tried[f[1]] = n
			case "accepted":
				acknowledged[f[1]] = appio.MessageID(f[2])
			case "delivered":
				copies[appio.DeliveryID(f[2])]++
			}
		})
		accepted += len(acknowledged)
		e, err := open(dir, func(string, appio.DeliveryID) {})
		require.NoError(t, err)
		for key, n := range tried {
			id, known := acknowledged[key]
			if known {
				m, err := e.Citizen(appio.Identity{Code: person(n % citizens)}).Message(ctx, id)
				require.NoError(t, err, "cycle %d: an accepted message is lost", cycle)
				require.Equal(t, "Messaggio "+key, m.Subject)
			}
			r, err := e.Sender(service).Send(ctx, message(key, n))
			require.NoError(t, err)
			require.Equal(t, appio.Processed, r.Status)
			if known {
				require.True(t, r.Repeated, "cycle %d: the key of an accepted message is not known", cycle)
				require.Equal(t, id, r.ID)
			}
			messages[key], who[r.ID] = r.ID, n%citizens
		}
		require.NoError(t, e.Close())
	}

	var mu sync.Mutex
	e, err = open(dir, func(_ string, id appio.DeliveryID) {
		mu.Lock()
		defer mu.Unlock()
		copies[id]++
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	_, err = e.Flush(ctx)
	require.NoError(t, err)
	inbox := 0
	for n := range citizens {
		c := e.Citizen(appio.Identity{Code: person(n)})
		seen := map[string]bool{}
		for m, err := range c.Inbox(nil).All(ctx) {
			require.NoError(t, err)
			inbox++
			require.False(t, seen[m.Subject], "%s is there twice", m.Subject)
			seen[m.Subject] = true
			require.Equal(t, messages[strings.TrimPrefix(m.Subject, "Messaggio ")], m.ID)
			d, err := c.Explain(ctx, m.ID)
			require.NoError(t, err)
			require.True(t, appio.Decide(d.Facts).Equal(d.Decision))
			done := map[string]bool{}
			for _, o := range d.Outcomes {
				require.Equal(t, appio.OutcomeDelivered, o.Result, "%+v", o)
				done[o.Channel] = true
			}
			require.Len(t, done, 2, "message %s has not been delivered by every channel", m.ID)
		}
	}
	require.Equal(t, len(messages), inbox)
	h, err := e.Health(ctx)
	require.NoError(t, err)
	require.Zero(t, h.Waiting+h.Parked+h.Quarantined)
	more, most := 0, 0
	for _, n := range copies {
		more += n - 1
		most = max(most, n)
	}
	t.Logf("%d cycles: %d accepted, %d in the inboxes, 0 lost, 0 twice; %d external copies more than one, at most %d of one delivery",
		cycles, accepted, inbox, more, most)
}

// kill starts a process that works and kills it some time after it is ready.
func kill(t *testing.T, dir string, cycle int, after time.Duration) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprintf("%s=%d", childCycle, cycle))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("cycle %d: the process did not begin: %s", cycle, stderr.String())
	}
	time.Sleep(after)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Empty(t, stderr.String(), "cycle %d: the process failed before it was killed", cycle)
}

// readDiary calls f with the words of each whole line after a place, and returns where it ended.
func readDiary(t *testing.T, dir string, from int64, f func([]string)) int64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "diary"))
	if os.IsNotExist(err) {
		return 0
	}
	require.NoError(t, err)
	for line := range strings.Lines(string(text[from:])) {
		if strings.HasSuffix(line, "\n") {
			f(strings.Fields(line))
		}
		from += int64(len(line))
	}
	return from
}

package crash

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/failpoint"
)

// A child is this test binary again, with a folder and a number in its environment. It opens the file in the folder, sends and
// delivers, and is killed. On its standard output it says what it is about to send and what was accepted; in a log beside the
// file its channels say what they do. Both outlive it, since what is written to a pipe or a file does.
const (
	envDir   = "APPIO_CRASH_DIR"
	envLife  = "APPIO_CRASH_LIFE"
	envPoint = "APPIO_CRASH_POINT" // where it kills itself, or "": nowhere
	envAfter = "APPIO_CRASH_AFTER" // at which passing, from 1

	senders  = 8
	citizens = 24
	service  = appio.ServiceID("avvisi")
)

// Lines of the child, and of the log: a word and what it is about.
const (
	saysReady    = "ready"
	saysTry      = "try"      // key
	saysAccepted = "accepted" // key, message
	saysWrong    = "wrong"    // what should not be

	logsBegin     = "begin" // life, delivery, message, channel
	logsDelivered = "delivered"
	logsFailed    = "failed"
)

func person(i int) fiscalcode.Person { return fiscalcode.Person(fmt.Sprintf("RSSMRA85M10H%03dS", i)) }

// message is the one that belongs to a key; the key tells its citizen.
func message(key string) appio.Message {
	return appio.Message{
		To: person(recipient(key)), Subject: "Avviso numero " + key, Key: key,
		Markdown: "La informiamo che il servizio di raccolta cambia orario dal prossimo mese, come da calendario.",
	}
}

func recipient(key string) int {
	n, _ := strconv.Atoi(key[strings.LastIndexByte(key, '-')+1:])
	return n
}

func newKey(life, sender, n int, r *rand.Rand) string {
	return fmt.Sprintf("%d-%d-%d-%d", life, sender, n, r.IntN(citizens))
}

// A recorder writes what its channels do to the log.
type recorder struct {
	life int
	file *os.File
}

func newRecorder(dir string, life int) (*recorder, error) {
	f, err := os.OpenFile(filepath.Join(dir, "deliveries.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	return &recorder{life, f}, err
}

func (r *recorder) write(word string, d *appio.Delivery) error {
	_, err := fmt.Fprintf(r.file, "%s %d %s %s %s\n", word, r.life, d.ID, d.Message, d.Channel)
	return err
}

// flaky fails a tenth of the attempts; steady none.
const (
	steady = "steady"
	flaky  = "flaky"
)

func (r *recorder) Deliver(ctx context.Context, d appio.Delivery) error {
	if err := r.write(logsBegin, &d); err != nil {
		return err
	}
	t := time.NewTimer(rand.N(2 * time.Millisecond))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return errors.Join(r.write(logsFailed, &d), context.Cause(ctx))
	}
	if d.Channel == flaky && rand.IntN(10) == 0 {
		return errors.Join(r.write(logsFailed, &d), errors.New("try again"))
	}
	return r.write(logsDelivered, &d)
}

// open opens the folder's file, with channels that record as a life.
func open(dir string, life int) (*appio.Engine, *recorder, error) {
	r, err := newRecorder(dir, life)
	if err != nil {
		return nil, nil, err
	}
	e, err := appio.Open(filepath.Join(dir, "io.db"), &appio.Options{
		Backoff: func(int) time.Duration { return rand.N(5 * time.Millisecond) },
		Channels: []appio.Route{
			{Name: steady, Channel: r, Default: appio.Full, ByCode: true, Timeout: 5 * time.Second},
			{Name: flaky, Channel: r, Default: appio.Full, ByCode: true, Timeout: 5 * time.Second},
		},
	})
	if err != nil {
		return nil, nil, errors.Join(err, r.file.Close())
	}
	return e, r, nil
}

// points are where a child may kill itself, and how often at most it first passes there.
var points = []struct {
	name  string
	after int
}{
	{"writer/commit", 120}, {"writer/committed", 120}, {"boltstore/append", 100}, {"boltstore/append done", 100},
	{"dispatch/claimed", 3}, {"dispatch/call", 200}, {"dispatch/called", 200}, {"dispatch/record", 200},
	{"cleanup/page", 3}, {"cleanup/done", 3},
	{"boltstore/blocks", 1}, {"boltstore/copied", 1}, {"boltstore/settle", 1}, {"boltstore/renamed", 1},
}

// dieAt lets the process kill itself at the n-th passing of a point. Nothing of it runs on from there.
func dieAt(point string, n int64) {
	var passed atomic.Int64
	failpoint.Set(func(name string) error {
		if name == point && passed.Add(1) == n {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	})
}

// wavering is a citizen to whom nobody writes, and who allows and refuses in turn, so that there is always something to clean up.
const wavering = citizens

func waver(ctx context.Context, e *appio.Engine) error {
	c := e.Citizen(appio.Identity{Code: person(wavering)})
	if err := c.SetMode(ctx, appio.Auto); err != nil {
		return err
	}
	for inbox := false; ; inbox = !inbox {
		if err := c.SetPreference(ctx, service, appio.Preference{Inbox: inbox}); err != nil {
			return err
		}
		time.Sleep(rand.N(20 * time.Millisecond))
	}
}

// tidy compacts the file now and then.
func tidy(ctx context.Context, e *appio.Engine) error {
	for {
		time.Sleep(rand.N(150 * time.Millisecond))
		if err := e.Compact(ctx); err != nil {
			return err
		}
	}
}

// child never returns, unless something is wrong.
func child() error {
	life, err := strconv.Atoi(os.Getenv(envLife))
	if err != nil {
		return err
	}
	if point := os.Getenv(envPoint); point != "" {
		after, err := strconv.Atoi(os.Getenv(envAfter))
		if err != nil {
			return err
		}
		dieAt(point, int64(after))
	}
	e, _, err := open(os.Getenv(envDir), life)
	if err != nil {
		return err
	}
	ctx := context.Background()
	failed := make(chan error, senders+3)
	go func() { failed <- fmt.Errorf("Run ended: %w", e.Run(ctx)) }()
	go func() { failed <- waver(ctx, e) }()
	if life%4 == 0 {
		go func() { failed <- tidy(ctx, e) }()
	}
	say := func(word string, about ...any) {
		_, _ = os.Stdout.WriteString(word + " " + fmt.Sprintln(about...))
	}
	say(saysReady)
	for sender := range senders {
		go func() {
			r := rand.New(rand.NewPCG(uint64(life), uint64(sender)))
			accepted := map[string]appio.MessageID{}
			var keys []string
			for n := 0; ; n++ {
				key := newKey(life, sender, n, r)
				if again := len(keys) > 0 && r.IntN(8) == 0; again {
					key = keys[r.IntN(len(keys))]
				} else {
					say(saysTry, key)
				}
				res, err := e.Sender(service).Send(ctx, message(key))
				switch was, again := accepted[key]; {
				case err != nil:
					failed <- err
					return
				case res.Status != appio.Processed:
					say(saysWrong, key, "was", res.Status)
				case again && (res.ID != was || !res.Repeated), !again && res.Repeated:
					say(saysWrong, key, "was", was, "and is", res.ID, "repeated:", res.Repeated)
				case !again:
					say(saysAccepted, key, res.ID)
					accepted[key] = res.ID
					keys = append(keys, key)
				}
				time.Sleep(time.Duration(r.IntN(1000)) * time.Microsecond)
			}
		}()
	}
	return <-failed
}

// A listener keeps what a child says.
type listener struct {
	mu       sync.Mutex
	ready    chan struct{}
	tried    []string
	accepted map[string]appio.MessageID
	wrong    []string
}

func (l *listener) listen(lines *bufio.Scanner) {
	for lines.Scan() {
		word, about, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		l.mu.Lock()
		switch word {
		case saysReady:
			close(l.ready)
		case saysTry:
			l.tried = append(l.tried, about)
		case saysAccepted:
			key, id, _ := strings.Cut(about, " ")
			l.accepted[key] = appio.MessageID(id)
		default:
			l.wrong = append(l.wrong, lines.Text())
		}
		l.mu.Unlock()
	}
}

// Quickstart sends the messages of a folder to its citizens and prints who was reached, by what, and why not.
//
//	quickstart [-dir DIR] [-db FILE] [-json]
//
// Without -dir it takes the example that is part of the program, without -db a file that is removed at the end.
package main

import (
	"bufio"
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/examples/internal/input"
)

//go:embed data
var example embed.FS

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	signal.Ignore(syscall.SIGPIPE) // a closed pipe is an error like any other: nothing is left behind
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program without its process; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("dir", "", "folder with services.json, citizens.json and messages.jsonl (default: an example)")
	db := flags.String("db", "", "database file, made if missing (default: one that is removed at the end)")
	asJSON := flags.Bool("json", false, "print one JSON object a line")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err == nil && flags.NArg() > 0:
		fmt.Fprintln(stderr, "quickstart: there are flags, and no arguments")
		return 2
	case err != nil:
		return 2
	}

	in := folder{os.DirFS(*dir), *dir}
	if *dir == "" {
		data, _ := fs.Sub(example, "data") // "data" is a valid path
		in = folder{data, "data"}
	}
	w := bufio.NewWriter(stdout)
	var out printer = jsonLines{w}
	if !*asJSON {
		out = newTable(w, isTerminal(stdout))
	}
	if err := quickstart(ctx, in, *db, out); err != nil {
		fmt.Fprintln(stderr, "quickstart:", err)
		return 1
	}
	return 0
}

func quickstart(ctx context.Context, in folder, db string, out printer) (err error) {
	start := time.Now()

	// The folder. There may be many messages: they are read as they are sent.
	services, err := in.services()
	if err != nil {
		return err
	}
	citizens, err := in.citizens()
	if err != nil {
		return err
	}
	messages, err := in.messages()
	if err != nil {
		return err
	}
	defer messages.Close()

	// The engine: one file, and two channels. E-mail goes to proved addresses, and never for a secure service. Push goes by
	// fiscal code, without an address; who chose nothing else is told that there is a message, and not what it says.
	if db == "" {
		dir, err := os.MkdirTemp("", "quickstart-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		db = filepath.Join(dir, "quickstart.db")
	}
	var email, push counter
	eng, err := appio.Open(db, &appio.Options{Channels: []appio.Route{
		{Name: appio.Email, Channel: &email},
		{Name: appio.Push, Channel: &push, Default: appio.Generic, Secure: appio.Generic, Unvalidated: true, Interrupts: true, ByCode: true},
	}})
	if err != nil {
		return err
	}
	defer func() {
		if e := eng.Close(); err == nil {
			err = e
		}
	}()

	// Who may write, and what each citizen chose.
	known, err := putServices(ctx, eng, services)
	if err != nil {
		return err
	}
	if err := putCitizens(ctx, eng, known, citizens); err != nil {
		return err
	}

	// The messages. A citizen who agrees has them in the inbox, safe on disk, when send returns.
	var t total
	for {
		batch, err := messages.batch(500, known)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			break
		}
		outcomes, err := send(ctx, eng, batch)
		if err != nil {
			return err
		}
		t.add(outcomes)
		if err := out.outcomes(outcomes); err != nil {
			return err
		}
	}

	// The deliveries. Flush is for programs that send and end; one that stays has eng.Run(ctx) beside its own work instead.
	if _, err := eng.Flush(ctx); err != nil {
		return err
	}
	t.Deliveries = map[string]int64{appio.Email: email.Load(), appio.Push: push.Load()}
	t.ElapsedMS = time.Since(start).Milliseconds()
	return out.total(t)
}

// A counter stands for a provider of e-mail or push: it takes whatever it is given.
type counter struct{ atomic.Int64 }

func (c *counter) Deliver(context.Context, appio.Delivery) error {
	c.Add(1)
	return nil
}

// send sends a batch, service by service, and asks how each message was decided.
func send(ctx context.Context, eng *appio.Engine, batch []submission) ([]outcome, error) {
	outcomes := make([]outcome, len(batch))
	byService := map[appio.ServiceID][]int{}
	for i, s := range batch {
		outcomes[i] = outcome{submission: s}
		if s.err == nil {
			byService[s.service] = append(byService[s.service], i)
		}
	}
	for id, indexes := range byService {
		messages := make([]appio.Message, len(indexes))
		for j, i := range indexes {
			messages[j] = batch[i].message
		}
		results, _ := eng.Sender(id).SendBatch(ctx, messages) // the error is the first of those of the results
		for j, r := range results {
			o := &outcomes[indexes[j]]
			if r.Err != nil {
				if o.err = refusal(r.Err); o.err == nil {
					return nil, r.Err
				}
				continue
			}
			record, err := eng.Explain(ctx, o.message.To, r.ID)
			if err != nil {
				return nil, err
			}
			o.id, o.decision = r.ID, record.Decision
		}
	}
	return outcomes, nil
}

// refusal is why the engine did not take a message, in the words of the files; nil if the reason is not the message.
func refusal(err error) error {
	switch {
	case errors.Is(err, appio.ErrForbidden):
		return errors.New(strings.TrimPrefix(err.Error(), appio.ErrForbidden.Error()+": "))
	case errors.Is(err, appio.ErrConflict):
		return errors.New("idempotency_key was used with another body before")
	case errors.Is(err, appio.ErrInvalid):
		return input.InWords(err, messageNames)
	}
	return nil
}

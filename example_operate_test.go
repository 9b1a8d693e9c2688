package appio_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"expvar"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store/boltstore"
	"github.com/appio-go/appio/store/memstore"
)

// Look through all that a running engine keeps, at night for example.
func ExampleEngine_Check() {
	eng, err := appio.New(memstore.New(), &appio.Options{Keys: appio.RandomKeys()})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	ctx := context.Background()
	if err := eng.PutService(ctx, appio.Service{ID: "tari", Name: "Tassa rifiuti", Organization: "01199250158"}); err != nil {
		log.Fatal(err)
	}
	in, err := eng.Check(ctx, func(f appio.Finding) { fmt.Println("damage:", f) })
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(in.Owners["service"], "service,", in.Findings, "findings")
	// Output: 1 service, 0 findings
}

// Publish the engine's figures: expvar.Publish("appio", eng.Vars()).
func ExampleEngine_Vars() {
	eng, err := appio.New(memstore.New(), &appio.Options{Keys: appio.RandomKeys()})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	var figures struct {
		Up      int `json:"appio_up"`
		Waiting int `json:"appio_deliveries_waiting"`
	}
	if err := json.Unmarshal([]byte(eng.Vars().String()), &figures); err != nil {
		log.Fatal(err)
	}
	fmt.Println("up:", figures.Up, "waiting:", figures.Waiting)
	// Output: up: 1 waiting: 0
}

// An observer counts what the engine does, and logs what fails. Deliveries are told apart by channel; nothing in it names a person.
type observer struct {
	log    *slog.Logger
	counts *expvar.Map
}

func (o observer) Observe(ctx context.Context, op appio.Operation) (context.Context, func(appio.Outcome)) {
	began := time.Now()
	return nil, func(out appio.Outcome) {
		name := strings.TrimSpace(op.Name + " " + op.Channel)
		o.counts.Add(name, int64(op.Count))
		if out.Err != nil {
			o.log.Warn("failed", "operation", name, "service", op.Service, "took", time.Since(began), "err", out.Err)
		}
	}
}

// Figures and a log of one's own, beside Engine.Vars.
func ExampleObserver() {
	counts := new(expvar.Map) // of a program: expvar.NewMap("operations")
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "took" {
			return slog.Attr{} // another each time
		}
		return a
	}}))
	eng, err := appio.New(memstore.New(), &appio.Options{
		Keys: appio.RandomKeys(), Observer: observer{log, counts},
		Channels: []appio.Route{{Name: appio.Email, Channel: appio.ChannelFunc(func(context.Context, appio.Delivery) error {
			return errors.New("451 try later")
		})}},
	})
	check(err)
	defer eng.Close()
	ctx := context.Background()
	check(eng.PutService(ctx, appio.Service{ID: "mensa", Name: "Mensa scolastica", Organization: "01199250158", State: appio.Live}))
	enrol(eng, mario, "mario@example.org")
	_, err = eng.Sender("mensa").Send(ctx, fee(mario))
	check(err)
	_, err = eng.Flush(ctx)
	check(err)
	fmt.Println("sent:", counts.Get("send"), "delivered or tried:", counts.Get("deliver email"))
	// Output:
	// level=WARN msg=failed operation="deliver email" service=mensa err="451 try later"
	// sent: 1 delivered or tried: 1
}

// Back up a running engine, under a name that the copy gets only once it is whole and on the disk. Whoever finds it there checks it, with
// appio check or Inspect, and takes it to another machine.
func ExampleEngine_Backup() {
	dir, err := os.MkdirTemp("", "example-")
	check(err)
	defer os.RemoveAll(dir)
	eng, err := appio.Open(filepath.Join(dir, "io.db"), nil)
	check(err)
	defer eng.Close()
	ctx := context.Background()

	made, err := os.CreateTemp(dir, "backup-*") // in the same directory
	check(err)
	defer os.Remove(made.Name()) // where it failed
	check(errors.Join(eng.Backup(ctx, made), made.Sync(), made.Close()))
	path := filepath.Join(dir, "io.backup")
	check(os.Rename(made.Name(), path))

	copied, err := boltstore.Open(path, &boltstore.Options{ReadOnly: true})
	check(err)
	defer copied.Close()
	found, err := appio.Inspect(ctx, copied, appio.FileKeys(filepath.Join(dir, "io.db.key")), nil)
	fmt.Println(found.Findings, "findings", err)
	// Output: 0 findings <nil>
}

// Make a file out of a backup. The engine keys are not in it, and come from where they are kept.
func ExampleRestore() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, keys := context.Background(), appio.FileKeys(filepath.Join(dir, "keys"))

	eng, err := appio.Open(filepath.Join(dir, "io.db"), &appio.Options{Keys: keys})
	if err != nil {
		log.Fatal(err)
	}
	var backup bytes.Buffer
	if err := eng.Backup(ctx, &backup); err != nil {
		log.Fatal(err)
	}
	eng.Close()

	path := filepath.Join(dir, "restored.db")
	if err := appio.Restore(ctx, &backup, path); err != nil {
		log.Fatal(err)
	}
	if eng, err = appio.Open(path, &appio.Options{Keys: keys}); err != nil { // what was open is parked now
		log.Fatal(err)
	}
	defer eng.Close()
	h, err := eng.Health(ctx)
	fmt.Println("parked:", h.Parked, err)
	// Output: parked: 0 <nil>
}

package appio_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/appio-go/appio"
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

package appio_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/appio-go/appio"
)

// newExample is an engine with a channel, a service that may send so many messages a second, and a citizen who takes all.
func newExample(channel appio.ChannelFunc, rate float64) (eng *appio.Engine, tari *appio.Sender, end func()) {
	dir, err := os.MkdirTemp("", "appio")
	if err != nil {
		log.Fatal(err)
	}
	eng, err = appio.Open(filepath.Join(dir, "io.db"), &appio.Options{
		Channels: []appio.Route{{Name: appio.Push, Channel: channel, Default: appio.Generic, ByCode: true}},
	})
	if err != nil {
		log.Fatal(err)
	}
	end = func() {
		eng.Close()
		os.RemoveAll(dir)
	}
	ctx := context.Background()
	err = eng.PutService(ctx, appio.Service{ID: "tari", Name: "Tassa rifiuti", Organization: "01199250158", State: appio.Live, SendRate: rate})
	if err != nil {
		log.Fatal(err)
	}
	if err := eng.Citizen(appio.Identity{Code: "RSSMRA85M10H501S"}).SetMode(ctx, appio.Auto); err != nil {
		log.Fatal(err)
	}
	return eng, eng.Sender("tari"), end
}

var exampleMessage = appio.Message{
	To: "RSSMRA85M10H501S", Subject: "Avviso TARI 2026",
	Markdown: "La informiamo che l'avviso della tassa sui rifiuti per l'anno 2026 è disponibile allo sportello.",
}

// Stop a service's deliveries for a while: nothing is lost.
func ExampleEngine_PauseService() {
	eng, tari, end := newExample(func(_ context.Context, d appio.Delivery) error {
		fmt.Println("delivered by", d.Channel)
		return nil
	}, 0)
	defer end()
	ctx := context.Background()
	if err := eng.PauseService(ctx, "tari"); err != nil {
		log.Fatal(err)
	}
	if _, err := tari.Send(ctx, exampleMessage); err != nil {
		log.Fatal(err)
	}
	tried, err := eng.Flush(ctx)
	fmt.Println(tried, err)
	health, err := eng.Health(ctx)
	fmt.Println(health.Paused, "paused", err)
	if err := eng.ResumeService(ctx, "tari"); err != nil {
		log.Fatal(err)
	}
	tried, err = eng.Flush(ctx)
	fmt.Println(tried, err)
	// Output:
	// 0 <nil>
	// 1 paused <nil>
	// delivered by push
	// 1 <nil>
}

// Replay what one cause has parked, after a look at how much that is.
func ExampleEngine_ReplayParked() {
	mended := false
	eng, tari, end := newExample(func(context.Context, appio.Delivery) error {
		if mended {
			return nil
		}
		return appio.Permanent(errors.New("the template is broken"))
	}, 0)
	defer end()
	ctx := context.Background()
	for range 3 {
		if _, err := tari.Send(ctx, exampleMessage); err != nil {
			log.Fatal(err)
		}
	}
	if _, err := eng.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	mended = true
	r := appio.ParkedReplay{Channel: appio.Push, Cause: "the template", DryRun: true}
	done, err := eng.ReplayParked(ctx, r)
	fmt.Println(done.Count, "would be due again", err)
	r.DryRun = false
	done, err = eng.ReplayParked(ctx, r)
	fmt.Println(done.Count, "are", err)
	tried, err := eng.Flush(ctx)
	fmt.Println(tried, "tried", err)
	// Output:
	// 3 would be due again <nil>
	// 3 are <nil>
	// 3 tried <nil>
}

// A service that sends too fast is told when to go on.
func ExampleLimitedError() {
	_, tari, end := newExample(func(context.Context, appio.Delivery) error { return nil }, 0.001)
	defer end()
	ctx := context.Background()
	_, err := tari.Send(ctx, exampleMessage)
	fmt.Println(err)
	_, err = tari.Send(ctx, exampleMessage)
	var limited *appio.LimitedError
	fmt.Println(errors.Is(err, appio.ErrLimited), errors.As(err, &limited), limited.After.Round(time.Minute))
	// Output:
	// <nil>
	// true true 17m0s
}

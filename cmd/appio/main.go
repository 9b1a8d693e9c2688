// Command appio is the operator's tool.
//
//	appio bench -store bolt -dir DIR -citizens N -messages N -senders N [-batch N] [-plain]
//
// bench measures whole deliveries: a service sends to a citizen, the engine decides, stores, delivers by channels that do
// nothing, and records the outcome. It prints one JSON line and exits with 1 if the store's counts are not those sent.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "appio:", err)
		os.Exit(1)
	}
}

const usage = `usage: appio bench [flags]

Run "appio bench -h" for its flags.`

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("no command\n%s", usage)
	}
	switch args[0] {
	case "bench":
		return bench(ctx, args[1:])
	}
	return fmt.Errorf("unknown command %q\n%s", args[0], usage)
}

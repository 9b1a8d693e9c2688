// Command bench compares the same delivery on appio and on what one would otherwise use. See docs/performance.md.
//
//	go run . [-citizens N] [-messages N] [-rounds N] [-only NAMES] [-json FILE] [-dir DIR]    the comparison
//	go run . growth     the rate with many citizens, and with many messages stored
//	go run . open       how long opening takes after kill -9 with many messages stored
//	go run . history    how long an accept takes when one service has sent many messages
//
// Each prints JSON lines to stdout and then its tables; progress goes to stderr. It exits with 1 if a contender failed, or did
// not store what was sent. Each contender runs in a process of its own, started anew for each round.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	modes := map[string]func(context.Context, []string, io.Writer) error{
		"compare": compare, "growth": growth, "open": open, "history": history, childMode: child,
	}
	if len(args) > 0 {
		if f, ok := modes[args[0]]; ok {
			return f(ctx, args[1:], out)
		}
		if args[0][0] != '-' {
			return fmt.Errorf("unknown mode %q", args[0])
		}
	}
	return compare(ctx, args, out)
}

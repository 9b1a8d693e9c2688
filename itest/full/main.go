// Command full shows the promises of docs/guarantees.md in full, which takes hours:
//
//	go run ./itest/full [-state FILE] [-again] [promise ...]
//
// Without names it is all of them, one after the other. Each is made of many chunks of some minutes at most; what they have seen is
// kept in the state file, so that a run which was interrupted goes on where it was. A promise that was shown is not shown again,
// unless with -again; one that was begun at another commit begins anew.
//
// At the end it prints the table that docs/guarantees.md holds. A chunk that fails ends it with status 1, and with the command
// that repeats the chunk.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

func main() {
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: go run ./itest/full [flags] [promise ...]\n\npromises: %s\n\n", strings.Join(names(), " "))
		flag.PrintDefaults()
	}
	state := flag.String("state", "", "`file` that keeps what was seen (default: appio/full.json in the user's cache folder)")
	again := flag.Bool("again", false, "start over")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *state, *again, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "full:", err)
		os.Exit(1)
	}
}

func names() (all []string) {
	for _, p := range promises {
		all = append(all, p.name)
	}
	return all
}

func run(ctx context.Context, stateFile string, again bool, asked []string) error {
	root, err := repository()
	if err != nil {
		return err
	}
	for _, name := range asked {
		if !slices.Contains(names(), name) {
			return fmt.Errorf("there is no promise %q: %s", name, strings.Join(names(), " "))
		}
	}
	if stateFile == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("%w: say where with -state", err)
		}
		stateFile = filepath.Join(cache, "appio", "full.json")
	}
	s, err := readState(stateFile)
	if err != nil {
		return err
	}
	tests := &tests{root: root, built: map[string]string{}}
	defer tests.remove()
	commit := commitOf(ctx, root)
	var all error
	for i := range promises {
		p := &promises[i]
		if len(asked) > 0 && !slices.Contains(asked, p.name) {
			continue
		}
		done := s.of(p)
		if again || done.Commit != commit && !done.shown(p) {
			done = s.begin(p, commit)
		}
		err := show(ctx, tests, s, p, done)
		var failed *chunkError
		if errors.As(err, &failed) { // the others are still worth knowing
			fmt.Fprintln(os.Stderr, err)
			all = errors.New("not every promise was shown")
			continue
		}
		if err != nil {
			return err
		}
	}
	s.table(os.Stdout)
	return all
}

// show runs chunks of the promise until its figures are full.
func show(ctx context.Context, tests *tests, s *states, p *promise, done *state) error {
	for i := range p.parts {
		part := &p.parts[i]
		done.Parts[i].Skipped = ""
		for !done.Parts[i].full(part) {
			fmt.Printf("%s: %s, chunk %d: ", p.name, part.test, done.Parts[i].Chunks+1)
			if err := tests.chunk(ctx, p, part, done, i); err != nil {
				fmt.Println()
				var failed *chunkError
				if errors.As(err, &failed) {
					done.Failures++
					return errors.Join(err, s.write())
				}
				return err
			}
			if err := s.write(); err != nil {
				return err
			}
			if lack := done.Parts[i].Skipped; lack != "" {
				fmt.Println("left out:", lack)
				break
			}
			fmt.Println(done.Parts[i].progress(part))
		}
	}
	return nil
}

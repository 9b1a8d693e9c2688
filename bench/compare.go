package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// order is that of a round.
var order = []string{"raw-bbolt", "appio", "river", "outbox", "goqite", "river-noop"}

func compare(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	t := task{}
	f.IntVar(&t.Citizens, "citizens", 100_000, "citizens with a profile and three preferences, before the clock starts")
	f.IntVar(&t.Messages, "messages", 100_000, "messages to send")
	f.IntVar(&t.Senders, "senders", 1024, "goroutines that send")
	f.IntVar(&t.Single, "single", 20_000, "messages that appio's one sender sends; 0: that is not measured")
	rounds := f.Int("rounds", 3, "rounds, in each of which every contender runs once")
	only := f.String("only", "", "contenders, with commas between: "+strings.Join(order, ",")+"; empty: all")
	file := f.String("json", "", "a file that gets the JSON lines too")
	dir := f.String("dir", "", "where temporary folders are made: the disk that is measured; empty: the system's")
	if err := f.Parse(args); err != nil {
		return err
	}
	names := order
	if *only != "" {
		names = strings.Split(*only, ",")
	}
	for _, n := range names {
		if contenders[n] == nil {
			return fmt.Errorf("-only: no contender %q; there are %s", n, strings.Join(order, ", "))
		}
	}
	if err := t.check(); err != nil || *rounds < 1 {
		return errors.Join(err, positive("-rounds", *rounds))
	}
	if slices.ContainsFunc(names, onServer) {
		if _, err := postgresBin(); err != nil {
			return err // before anything else takes its time
		}
	}
	lines := out
	if *file != "" {
		to, err := os.Create(*file)
		if err != nil {
			return err
		}
		defer to.Close()
		lines = io.MultiWriter(out, to)
	}
	if slices.Contains(names, "appio") && *rounds > 1 {
		own, err := folder(*dir)
		if err != nil {
			return err
		}
		defer os.RemoveAll(own)
		p := t
		p.Contender, p.Dir = "preload", own
		_, wait, err := p.start(ctx, func([]byte) error { return nil })
		if err != nil {
			return err
		}
		if err := wait(); err != nil {
			return err
		}
		t.From = own
	}
	var results []result
	for round := range *rounds {
		// Every other round runs backwards, so that nobody always follows the same one.
		turn := slices.Clone(names)
		if round%2 == 1 {
			slices.Reverse(turn)
		}
		for _, name := range turn {
			t.Contender = name
			err := t.run(ctx, *dir, func(line []byte) error {
				r := result{}
				if err := json.Unmarshal(line, &r); err != nil {
					return err
				}
				r.Round = round + 1
				results = append(results, r)
				return printJSON(lines, r)
			})
			if err != nil {
				return err
			}
		}
	}
	table(out, t, *rounds, results)
	return nil
}

func printJSON(out io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err == nil {
		_, err = fmt.Fprintf(out, "%s\n", line)
	}
	return err
}

func positive(name string, n int) error {
	if n < 1 {
		return fmt.Errorf("%s is 1 or more", name)
	}
	return nil
}

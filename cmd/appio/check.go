package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio"
)

var checkCommand = &command{
	name: "check", args: "FILE [-keys FILE [-documents DIR]] [-json]", what: "reads all of a file and says what is damaged",
	about: `check looks at the structure of the file, the checksum of every block and value, and whether queues are as the
records say. With the engine keys it also opens every record, follows each citizen's history of consent link by
link, decides again what was decided, and looks whether messages, decisions and open work belong together. With
-documents it reads the documents of all messages, too.

It changes nothing, and another process does the reading: a file that kills who reads it does not kill check.
Damage is told by its place: the owner's pseudonym, the kind of record, the id of the message. The exit code is 3
if there is any.`,
	flags: func(f *flag.FlagSet, c *call) {
		keyFlags(f, c)
		f.StringVar(&c.documents, "documents", "", "`folder` of the documents: usually that of the store with .documents at its end")
		jsonFlag(f, c)
		f.BoolVar(&c.here, "here", false, "read the file in this process, and print JSON lines: what check does by a child")
	},
	run: check,
}

func check(ctx context.Context, c *call) error {
	if c.documents != "" {
		if c.keys == "" {
			return c.wrong("-documents needs -keys")
		}
		if _, err := os.Stat(c.documents); err != nil { // or all of them would be gone
			return fmt.Errorf("check: -documents: %w", err)
		}
	}
	if c.here {
		return c.surveyHere(ctx)
	}
	each := func(f appio.Finding) { fmt.Println("damage:", f) }
	if c.json {
		each = nil
	}
	s, err := c.survey(ctx, each)
	if err != nil {
		return err
	}
	if c.json {
		err = printJSON(s)
	} else {
		fmt.Println(s.counts())
	}
	if err == nil && s.Damaged {
		err = fmt.Errorf("check: %w: %d findings", errDamage, len(s.Findings))
	}
	return err
}

// counts is what was read, in two lines.
func (s *survey) counts() string {
	in := &s.Inventory
	what := "opened and judged with the keys"
	if !s.Opened {
		what = "not opened: -keys was not given"
	}
	return fmt.Sprintf("%s: %s\n  %d records of %d bytes: %s; %d decisions replayed; %d findings",
		s.File, list(in.Owners), sum(in.Records), in.Bytes, what, in.Replayed, len(s.Findings))
}

func sum(m map[string]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}

// list is "citizen 3, service 1".
func list(m map[string]int64) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		name := k
		if k == "" {
			name = "of no known kind"
		}
		parts = append(parts, fmt.Sprintf("%s %d", name, m[k]))
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

var inspectCommand = &command{
	name: "inspect", args: "FILE [-json]", what: "says what is in a file, in figures",
	about: `inspect counts owners and records by kind, says how deep the queues are and since when the oldest record is due,
which engine keys are in use, and how much of the file is free. It needs no keys and shows nothing of a person.`,
	flags: jsonFlag,
	run: func(ctx context.Context, c *call) error {
		s, err := c.survey(ctx, nil)
		if err != nil {
			return err
		}
		if c.json {
			err = printJSON(s)
		} else {
			s.print(time.Now())
		}
		if err == nil && s.Damaged {
			err = fmt.Errorf("inspect: %w: %d findings; \"appio check\" lists them", errDamage, len(s.Findings))
		}
		return err
	},
}

func (s *survey) print(now time.Time) {
	in := &s.Inventory
	sealed := "sealed"
	if in.Plain {
		sealed = "plain: not sealed"
	}
	fmt.Printf("%s\n  format    %d, %s\n  instance  %s\n", s.File, in.Format, sealed, in.Instance)
	if in.Restored {
		fmt.Println("  restored  from a backup: the next opening parks what was to be delivered")
	}
	fmt.Printf("  bytes     %d, of them %d free\n  owners    %s\n", s.Bytes, s.FreeBytes, list(in.Owners))
	fmt.Printf("  records   %d, of %d bytes\n", sum(in.Records), in.Bytes)
	for _, kind := range slices.Sorted(maps.Keys(in.Records)) {
		fmt.Printf("    %-18s %d\n", kind, in.Records[kind])
	}
	fmt.Println("  sealed by engine key")
	for _, id := range slices.Sorted(maps.Keys(in.EngineKeys)) {
		fmt.Printf("    %-18d %d records\n", id, in.EngineKeys[id])
	}
	fmt.Println("  queues")
	for _, q := range in.Queues {
		due := "due since " + now.Sub(q.Oldest).Round(time.Second).String()
		if q.Oldest.After(now) {
			due = "due in " + q.Oldest.Sub(now).Round(time.Second).String()
		}
		fmt.Printf("    %-11s %#04x  %d, the oldest %s\n", q.Kind, q.Lane, q.Depth, due)
	}
}

// Command appio is the operator's tool. "appio help" lists its commands, and "appio help COMMAND" explains one.
//
// It works on the file of an engine that is not running; online backups are Engine.Backup's. It asks for no fiscal code in its
// arguments, where other users of the machine see them, and prints none. Its exit code is 0 if all is well, 1 if it failed,
// 2 if it was called wrongly, and 3 if it found damage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store"
)

// Exit codes.
const (
	exitOK = iota
	exitFailed
	exitUsage
	exitDamage
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "appio:", err)
	}
	os.Exit(exitCode(err))
}

// A usageError is a wrong call.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// errDamage is returned where damage was found and told.
var errDamage = errors.New("damage was found")

func exitCode(err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, errDamage), errors.Is(err, store.ErrCorrupt):
		return exitDamage
	}
	return exitFailed
}

// A command is one of the tool's.
type command struct {
	name, args, what string
	about            string // more, for its help
	run              func(ctx context.Context, c *call) error
	flags            func(f *flag.FlagSet, c *call)
}

// A call is a command with what it was called with.
type call struct {
	*command
	file                       string
	keys, documents            string
	json, plain, here          bool
	to, from, message, service string
	rest                       []string // for bench
}

var commands []*command

func init() { // commands refer to help, and help to them
	commands = []*command{checkCommand, inspectCommand, explainCommand, backupCommand, restoreCommand, compactCommand, benchCommand, helpCommand}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return &usageError{"no command\n\n" + usage()}
	}
	switch args[0] {
	case "-h", "-help", "--help":
		args = append([]string{"help"}, args[1:]...)
	}
	for _, cmd := range commands {
		if cmd.name == args[0] {
			c := &call{command: cmd, rest: args[1:]}
			if cmd.flags != nil {
				done, err := c.parse(args[1:])
				if done || err != nil {
					return err
				}
			}
			return cmd.run(ctx, c)
		}
	}
	return &usageError{fmt.Sprintf("unknown command %q\n\n%s", args[0], usage())}
}

func usage() string {
	var b strings.Builder
	b.WriteString("usage: appio COMMAND ...\n\n")
	for _, c := range commands {
		fmt.Fprintf(&b, "  %-8s %s\n", c.name, c.what)
	}
	b.WriteString("\n\"appio help COMMAND\" explains one. Exit codes: 0 all is well, 1 failed, 2 wrong call, 3 damage found.")
	return b.String()
}

var helpCommand = &command{name: "help", args: "[COMMAND]", what: "explains a command", run: func(_ context.Context, c *call) error {
	if len(c.rest) == 0 {
		fmt.Println(usage())
		return nil
	}
	for _, cmd := range commands {
		if cmd.name == c.rest[0] {
			fmt.Println(cmd.help())
			return nil
		}
	}
	return &usageError{fmt.Sprintf("unknown command %q\n\n%s", c.rest[0], usage())}
}}

// help is what a command's help prints.
func (c *command) help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "usage: appio %s %s\n\n%s", c.name, c.args, c.about)
	if c.flags == nil {
		return strings.TrimRight(b.String(), "\n")
	}
	b.WriteString("\n\n")
	f := flag.NewFlagSet(c.name, flag.ContinueOnError)
	c.flags(f, &call{})
	f.SetOutput(&b)
	f.PrintDefaults()
	return strings.TrimRight(b.String(), "\n")
}

// parse reads the flags, which may come before or after FILE. done is true if help was asked for, and given.
func (c *call) parse(args []string) (done bool, err error) {
	f := flag.NewFlagSet(c.name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	c.flags(f, c)
	var files []string
	for {
		if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
			fmt.Println(c.help())
			return true, nil
		} else if err != nil {
			return false, &usageError{fmt.Sprintf("%s: %v\n\n%s", c.name, err, c.help())}
		}
		if f.NArg() == 0 {
			break
		}
		files, args = append(files, f.Arg(0)), f.Args()[1:]
	}
	if len(files) != 1 {
		return false, c.wrong("one FILE is needed")
	}
	c.file = files[0]
	return false, nil
}

// wrong is a usageError of this command.
func (c *call) wrong(text string) error {
	return &usageError{fmt.Sprintf("%s: %s\n\n%s", c.name, text, c.help())}
}

// keyFlags are those of commands that open records.
func keyFlags(f *flag.FlagSet, c *call) {
	f.StringVar(&c.keys, "keys", "", "`file` with the engine keys: usually that of the store with .key at its end")
}

func jsonFlag(f *flag.FlagSet, c *call) {
	f.BoolVar(&c.json, "json", false, "print one JSON object")
}

// ring is the keyring that -keys names; nil: none was named. A file that is missing is told before the store is read.
func (c *call) ring() (appio.Keyring, error) {
	if c.keys == "" {
		return nil, nil
	}
	if _, err := os.Stat(c.keys); err != nil {
		return nil, fmt.Errorf("%s: -keys: %w", c.name, err)
	}
	return appio.FileKeys(c.keys), nil
}

// told adds to an error the command's name, and what to do about it.
func (c *call) told(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", c.name, hinted(err))
}

// hinted adds to an error what to do about it.
func hinted(err error) error {
	hint := ""
	switch {
	case errors.Is(err, store.ErrLocked):
		hint = "end the process that has the file open; a backup of a running engine is Engine.Backup's"
	case errors.Is(err, store.ErrNewer):
		hint = "a later version of appio made it, and a later version of this tool reads it"
	case errors.Is(err, store.ErrKey):
		hint = "the keys are not those of this store: -keys names the file that it was made with, usually FILE.key, or a copy"
	case errors.Is(err, store.ErrCorrupt):
		hint = "the file is damaged: \"appio help check\", and docs/operations.md"
	case errors.Is(err, store.ErrFull):
		hint = "make room on the disk, and try again"
	case errors.Is(err, fs.ErrExist):
		hint = "it is left as it is: name another file, or move it away"
	}
	if hint == "" {
		return err
	}
	return fmt.Errorf("%w\n  %s", err, hint)
}

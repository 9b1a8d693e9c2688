package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store/boltstore"
)

var backupCommand = &command{
	name: "backup", args: "FILE -to FILE|-", what: "copies a file that is not in use, and reads the copy",
	about: `backup writes a copy of the file and reads all of it before it gets its name; one that is there already is left
alone. With -to - the copy goes to the standard output, and the file is read instead of the copy. The engine keys
are not in a backup: keep them elsewhere too, and apart from it.

A running engine is backed up by the program it runs in, by Engine.Backup.`,
	flags: func(f *flag.FlagSet, c *call) {
		f.StringVar(&c.to, "to", "", "`file` to make, or - for the standard output")
		jsonFlag(f, c)
	},
	run: backup,
}

func backup(ctx context.Context, c *call) error {
	switch c.to {
	case "":
		return c.wrong("-to is needed")
	case "-":
		if c.json {
			return c.wrong("-json and -to - exclude each other")
		}
		if err := c.sound(ctx, c.file); err != nil {
			return err
		}
		return c.told(c.copy(ctx, os.Stdout))
	}
	if _, err := os.Lstat(c.to); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = &fs.PathError{Op: "backup", Path: c.to, Err: fs.ErrExist}
		}
		return c.told(err)
	}
	made, err := os.CreateTemp(filepath.Dir(c.to), filepath.Base(c.to)+".*") // mode 0600
	if err != nil {
		return c.told(err)
	}
	defer os.Remove(made.Name())
	if err := errors.Join(c.copy(ctx, made), made.Sync(), made.Close()); err != nil {
		return c.told(err)
	}
	if err := c.sound(ctx, made.Name()); err != nil {
		return err
	}
	if err := os.Link(made.Name(), c.to); err != nil { // unlike a rename, it does not replace
		return c.told(err)
	}
	info, err := os.Stat(c.to)
	if err != nil {
		return c.told(err)
	}
	if c.json {
		return printJSON(map[string]any{"file": c.file, "backup": c.to, "bytes": info.Size(), "verified": true})
	}
	fmt.Printf("%s: %d bytes, read back without fault\n", c.to, info.Size())
	return nil
}

func (c *call) copy(ctx context.Context, to *os.File) error {
	s, err := boltstore.Open(c.file, &boltstore.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Backup(ctx, to)
}

// sound reads a whole file, and fails if anything is wrong with it.
func (c *call) sound(ctx context.Context, file string) error {
	other := &call{command: c.command, file: file}
	s, err := other.survey(ctx, func(f appio.Finding) { fmt.Fprintln(os.Stderr, "damage:", f) })
	if err == nil && s.Damaged {
		err = fmt.Errorf("%s: %w: %d findings", c.name, errDamage, len(s.Findings))
	}
	return err
}

var restoreCommand = &command{
	name: "restore", args: "FILE -from FILE|-", what: "makes a file out of a backup",
	about: `restore makes FILE out of a backup, after it read all of it; a FILE that is there already is left alone.

What was to be delivered when the backup was made may have gone out since. So the file is marked: the first engine
that opens it parks every delivery that was open, as "outcome unknown", and nothing is sent twice unless the
operator replays it (Engine.Parked, Engine.Replay). What citizens chose after the backup was made is lost with the
rest: docs/operations.md says what to do about withdrawals and erasures. The engine keys are not in a backup: put
them where the engine finds them, usually FILE.key, before it opens the file.`,
	flags: func(f *flag.FlagSet, c *call) {
		f.StringVar(&c.from, "from", "", "backup `file`, or - for the standard input")
		jsonFlag(f, c)
	},
	run: func(ctx context.Context, c *call) error {
		in := os.Stdin
		switch c.from {
		case "":
			return c.wrong("-from is needed")
		case "-":
		default:
			f, err := os.Open(c.from)
			if err != nil {
				return c.told(err)
			}
			defer f.Close()
			in = f
		}
		if err := appio.Restore(ctx, in, c.file); err != nil {
			return c.told(err)
		}
		if c.json {
			return printJSON(map[string]any{"file": c.file, "restored": true})
		}
		fmt.Printf("%s: restored; the next opening parks what was to be delivered, as \"outcome unknown\"\n", c.file)
		if _, err := os.Stat(c.file + ".key"); errors.Is(err, fs.ErrNotExist) {
			fmt.Printf("  the engine keys are not there yet: %s.key\n", c.file)
		}
		return nil
	},
}

var compactCommand = &command{
	name: "compact", args: "FILE [-json]", what: "rewrites a file without what was deleted",
	about: `compact makes the file as small as what is in use, and takes the bytes of deleted records, of erased persons too,
out of it; the old blocks on the disk are not wiped. It needs room for a second file beside it. A crash leaves the
old file or the new one, with the same records. A running engine is compacted by Engine.Compact.`,
	flags: jsonFlag,
	run: func(ctx context.Context, c *call) (err error) {
		if _, err := os.Stat(c.file); err != nil { // Open would make it
			return c.told(err)
		}
		s, err := boltstore.Open(c.file, nil)
		if err != nil {
			return c.told(err)
		}
		before, err := s.Size()
		if err == nil {
			err = s.Compact(ctx)
		}
		after, err2 := s.Size()
		if err = errors.Join(err, err2, s.Close()); err != nil {
			return c.told(err)
		}
		if c.json {
			return printJSON(map[string]any{"file": c.file, "bytes_before": before.Bytes, "bytes": after.Bytes})
		}
		fmt.Printf("%s: %d bytes, before %d\n", c.file, after.Bytes, before.Bytes)
		return nil
	},
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/blob"
	"github.com/appio-go/appio/blob/fileblob"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
)

// Reading a damaged file may end the process that reads it: bbolt maps the file into memory and trusts it. The store guards
// against all that is known; for the rest a survey is made by a child, and its death is damage too.

// A survey is what was seen of a file.
type survey struct {
	File      string          `json:"file"`
	Damaged   bool            `json:"damaged"`
	Bytes     int64           `json:"bytes"`      // of the file
	FreeBytes int64           `json:"free_bytes"` // of them, those that hold nothing
	Opened    bool            `json:"opened"`     // the records were opened: there were keys
	Inventory appio.Inventory `json:"inventory"`
	Findings  []appio.Finding `json:"findings"`
}

// A line is what the child tells its parent: one of these.
type line struct {
	Finding *appio.Finding `json:"finding,omitempty"`
	Survey  *survey        `json:"survey,omitempty"`
	Error   string         `json:"error,omitempty"`
	Code    int            `json:"code,omitempty"`
}

// survey has a child read the whole file. each, if it is not nil, gets each finding as it is found.
func (c *call) survey(ctx context.Context, each func(appio.Finding)) (*survey, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"check", "-here", c.file}
	if c.keys != "" {
		if _, err := c.ring(); err != nil {
			return nil, err
		}
		args = append(args, "-keys", c.keys)
	}
	if c.documents != "" {
		args = append(args, "-documents", c.documents)
	}
	child := exec.CommandContext(ctx, self, args...)
	out, err := child.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := child.Start(); err != nil {
		return nil, err
	}
	var found []appio.Finding
	var last *survey
	var failure error
	add := func(f appio.Finding) {
		found = append(found, f)
		if each != nil {
			each(f)
		}
	}
	for in := json.NewDecoder(bufio.NewReader(out)); ; {
		var l line
		if err := in.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil { // cut off
			break
		}
		switch {
		case l.Finding != nil:
			add(*l.Finding)
		case l.Survey != nil:
			last = l.Survey
		default:
			failure = fmt.Errorf("%s: %w", c.name, &childError{l.Error, l.Code})
		}
	}
	_, _ = io.Copy(io.Discard, out)
	died := child.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case failure != nil:
		return nil, failure
	case last == nil:
		last = &survey{File: c.file}
		add(appio.Finding{Problem: fmt.Sprintf("the process that read the file died of it: %v", died)})
	}
	last.Findings, last.Damaged = found, len(found) > 0
	return last, nil
}

// A childError is why a child gave up, as it told it.
type childError struct {
	text string
	code int
}

func (e *childError) Error() string { return e.text }

func (e *childError) Is(target error) bool { return target == errDamage && e.code == exitDamage }

// surveyHere is the child.
func (c *call) surveyHere(ctx context.Context) error {
	out := json.NewEncoder(os.Stdout)
	tell := func(l line) {
		if out.Encode(l) != nil { // the parent has gone
			os.Exit(exitFailed)
		}
	}
	s, err := c.look(ctx, func(f appio.Finding) { tell(line{Finding: &f}) })
	switch {
	case errors.Is(err, store.ErrCorrupt):
		tell(line{Finding: &appio.Finding{Problem: err.Error()}})
		tell(line{Survey: s})
	case err != nil:
		err = hinted(err)
		tell(line{Error: err.Error(), Code: exitCode(err)})
	default:
		tell(line{Survey: s})
	}
	return nil
}

func (c *call) look(ctx context.Context, found func(appio.Finding)) (*survey, error) {
	s := &survey{File: c.file, Opened: c.keys != ""}
	ring, err := c.ring()
	if err != nil {
		return s, err
	}
	if info, err := os.Stat(c.file); err == nil {
		s.Bytes = info.Size()
	}
	file, err := boltstore.Open(c.file, &boltstore.Options{ReadOnly: true})
	if err != nil {
		return s, err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return s, err
	}
	s.Bytes, s.FreeBytes = size.Bytes, size.Free
	var documents blob.Store
	if c.documents != "" {
		documents = fileblob.New(c.documents)
	}
	s.Inventory, err = appio.InspectDocuments(ctx, file, documents, ring, found)
	s.Opened = s.Opened || s.Inventory.Plain
	return s, err
}

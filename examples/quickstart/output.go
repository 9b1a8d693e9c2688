package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/appio-go/appio"
)

// An outcome is what became of a submission.
type outcome struct {
	submission // its err: why there is no message
	id         appio.MessageID
	decision   appio.Decision
}

func (o outcome) status() string {
	if o.err != nil {
		return "ERROR"
	}
	return string(o.decision.Status)
}

// A total is the last line.
type total struct {
	Messages   int              `json:"messages"`
	Processed  int              `json:"processed"`
	Rejected   int              `json:"rejected"`
	Errors     int              `json:"errors"`
	Deliveries map[string]int64 `json:"deliveries"` // of this run
	ElapsedMS  int64            `json:"elapsed_ms"`
}

func (t *total) add(outcomes []outcome) {
	for _, o := range outcomes {
		t.Messages++
		switch {
		case o.err != nil:
			t.Errors++
		case o.decision.Status == appio.Processed:
			t.Processed++
		default:
			t.Rejected++
		}
	}
}

// A printer prints outcomes as they come, and the total.
type printer interface {
	outcomes(all []outcome) error
	total(t total) error
}

// jsonLines prints an object a line.
type jsonLines struct{ w *bufio.Writer }

func (p jsonLines) outcomes(all []outcome) error {
	type channels struct {
		Inbox bool   `json:"inbox"`
		Email bool   `json:"email"`
		Push  string `json:"push"`
	}
	type line struct {
		Line     int             `json:"line"`
		ID       appio.MessageID `json:"id"`
		Status   string          `json:"status"`
		Error    string          `json:"error,omitempty"`
		Rule     appio.Rule      `json:"rule"`
		Channels channels        `json:"channels"`
	}
	push := map[appio.Content]string{appio.None: "no", appio.Generic: "anonymous", appio.Full: "full"}
	for _, o := range all {
		l := line{Line: o.line, ID: o.id, Status: o.status(), Rule: o.decision.Rule, Channels: channels{
			Inbox: o.decision.Status == appio.Processed,
			Email: o.decision.Content(appio.Email) != appio.None,
			Push:  push[o.decision.Content(appio.Push)],
		}}
		if o.err != nil {
			l.Error = o.err.Error()
		}
		if err := p.print(l); err != nil {
			return err
		}
	}
	return p.w.Flush()
}

func (p jsonLines) total(t total) error {
	if err := p.print(t); err != nil {
		return err
	}
	return p.w.Flush()
}

func (p jsonLines) print(v any) error {
	e := json.NewEncoder(p.w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// A table is for the eye: beside a channel that was not used stands why. Citizens are named by their masked codes.
type table struct {
	w      *bufio.Writer
	colour bool
}

const row = "%4v  %-15.15s  %-16s  %s  %-15s  %-5s  %-19s  %s\n"

func newTable(w *bufio.Writer, colour bool) table {
	fmt.Fprintf(w, row, "line", "service", "citizen", "status   ", "rule", "inbox", "e-mail", "push")
	return table{w, colour}
}

func (p table) outcomes(all []outcome) error {
	shown := map[appio.Content]string{appio.Generic: "anonymous", appio.Full: "full"}
	for _, o := range all {
		status := fmt.Sprintf("%-9s", o.status())
		if p.colour {
			status = colours[o.status()] + status + "\x1b[0m"
		}
		if o.err != nil {
			fmt.Fprintf(p.w, "%4d  %-15.15s  %-16s  %s  %s\n", o.line, o.service, o.message.To, status, o.err)
			continue
		}
		cells := map[string]string{appio.Email: "no", appio.Push: "no"}
		for _, c := range o.decision.Channels {
			cells[c.Name] = cmp.Or(shown[c.Content], "no: "+string(c.Rule))
		}
		inbox := map[appio.Status]string{appio.Processed: "yes", appio.Rejected: "no"}[o.decision.Status]
		fmt.Fprintf(p.w, row, o.line, o.service, o.message.To, status, o.decision.Rule, inbox, cells[appio.Email], cells[appio.Push])
	}
	return p.w.Flush()
}

var colours = map[string]string{"PROCESSED": "\x1b[32m", "REJECTED": "\x1b[33m", "ERROR": "\x1b[31m"}

func (p table) total(t total) error {
	fmt.Fprintf(p.w, "\n%d messages: %d processed, %d rejected, %d errors; delivered: %d by e-mail, %d by push; %d ms\n",
		t.Messages, t.Processed, t.Rejected, t.Errors, t.Deliveries[appio.Email], t.Deliveries[appio.Push], t.ElapsedMS)
	return p.w.Flush()
}

// isTerminal reports whether somebody reads along, and does not mind colours.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

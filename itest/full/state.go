package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// states are what was seen of each promise, as the state file keeps it.
type states struct {
	file string
	by   map[string]*state
}

// A state is what was seen of one promise.
type state struct {
	Commit   string
	Seed     uint64 // of the first chunk
	Date     string // of the last chunk
	Machine  string
	Failures int // chunks that failed: each ends with the first violation of the promise that it sees
	Parts    []*progress
}

// A progress is what was seen of one part.
type progress struct {
	Skipped string // why the test cannot run on this machine; empty: it can
	Chunks  int
	Seconds float64
	Figures map[string]float64
}

func readState(file string) (*states, error) {
	s := &states{file, map[string]*state{}}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s.by)
	}
	if err != nil {
		return nil, fmt.Errorf("the state file: %w", err)
	}
	return s, nil
}

// write replaces the state file whole, so that an interruption leaves the old one or the new one.
func (s *states) write() error {
	text, err := json.MarshalIndent(s.by, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(s.file+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(s.file+".new", s.file)
}

// of is what was seen of a promise; a promise that has got other parts since begins anew.
func (s *states) of(p *promise) *state {
	if done := s.by[p.name]; done != nil && len(done.Parts) == len(p.parts) {
		return done
	}
	return s.begin(p, "")
}

func (s *states) begin(p *promise, commit string) *state {
	done := &state{Commit: commit, Seed: rand.Uint64N(1 << 60)}
	for range p.parts {
		done.Parts = append(done.Parts, &progress{Figures: map[string]float64{}})
	}
	s.by[p.name] = done
	return done
}

// shown reports whether a promise is, as far as it can be on this machine.
func (done *state) shown(p *promise) bool {
	for i := range p.parts {
		if done.Parts[i].Skipped == "" && !done.Parts[i].full(&p.parts[i]) {
			return false
		}
	}
	return true
}

func (g *progress) full(p *part) bool {
	for name, least := range p.until {
		if g.Figures[name] < least {
			return false
		}
	}
	return true
}

// add adds what was seen: see form.Figures.
func (g *progress) add(seen map[string]float64) {
	for name, n := range seen {
		was, known := g.Figures[name]
		switch {
		case !known:
			g.Figures[name] = n
		case strings.HasSuffix(name, "_max"):
			g.Figures[name] = max(was, n)
		case strings.HasSuffix(name, "_min"):
			g.Figures[name] = min(was, n)
		default:
			g.Figures[name] = was + n
		}
	}
}

// progress is how far the part is.
func (g *progress) progress(p *part) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(p.until)) {
		all = append(all, fmt.Sprintf("%s of %s %s", number(g.Figures[name]), number(p.until[name]), name))
	}
	return fmt.Sprintf("%s in %v", strings.Join(all, ", "), time.Duration(g.Seconds*float64(time.Second)).Round(time.Second))
}

// table prints what was seen of each promise, as docs/guarantees.md has it.
func (s *states) table(w io.Writer) {
	fmt.Fprintln(w, "\n| promise | what was seen | violations | time | date | machine | commit |\n|---|---|---|---|---|---|---|")
	for i := range promises {
		p := &promises[i]
		done := s.by[p.name]
		if done == nil || done.Date == "" || len(done.Parts) != len(p.parts) {
			continue
		}
		all := &progress{Figures: map[string]float64{}}
		var lacks string
		for i, part := range done.Parts {
			all.add(part.Figures)
			all.Seconds += part.Seconds
			if part.Skipped != "" {
				lacks += fmt.Sprintf("; %s was left out: %s", p.parts[i].test, part.Skipped)
			}
		}
		seen := p.seen + lacks
		for name, n := range all.Figures {
			seen = strings.ReplaceAll(seen, "{"+name+"}", number(n))
		}
		if !done.shown(p) {
			seen = "not yet in full: " + seen
		}
		fmt.Fprintf(w, "| %s | %s | %d | %v | %s | %s | %s |\n", p.says, seen, done.Failures,
			time.Duration(all.Seconds*float64(time.Second)).Round(time.Second), done.Date, done.Machine, done.Commit)
	}
}

// number is n with its thousands apart, and two digits behind the point if it is not whole.
func number(n float64) string {
	whole := strconv.FormatInt(int64(n), 10)
	if n != float64(int64(n)) {
		return strconv.FormatFloat(n, 'f', 2, 64)
	}
	var b strings.Builder
	for i, digit := range whole {
		if i > 0 && (len(whole)-i)%3 == 0 && whole[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return b.String()
}

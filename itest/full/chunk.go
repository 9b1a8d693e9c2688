package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tests are the test binaries, each built when it is first needed.
type tests struct {
	root  string
	dir   string
	built map[string]string // by folder
}

func (t *tests) remove() {
	if t.dir != "" {
		os.RemoveAll(t.dir)
	}
}

func (t *tests) binary(ctx context.Context, pkg string) (string, error) {
	if b := t.built[pkg]; b != "" {
		return b, nil
	}
	if t.dir == "" {
		dir, err := os.MkdirTemp("", "appio-full-")
		if err != nil {
			return "", err
		}
		t.dir = dir
	}
	b := filepath.Join(t.dir, strconv.Itoa(len(t.built))+".test")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-o", b, ".")
	cmd.Dir = filepath.Join(t.root, pkg)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the tests of %s: %w\n%s", pkg, err, out)
	}
	t.built[pkg] = b
	return b, nil
}

// A chunkError is a test that failed.
type chunkError struct {
	output, again string
}

func (e *chunkError) Error() string {
	return e.output + "\nTo repeat it, from the repository's root:\n\n\t" + e.again + "\n"
}

// chunk runs one chunk of a promise's part and adds what it saw.
func (t *tests) chunk(ctx context.Context, p *promise, part *part, done *state, i int) error {
	b, err := t.binary(ctx, part.pkg)
	if err != nil {
		return err
	}
	mine := done.Parts[i]
	// Each chunk has its own seeds, and one that failed the same again.
	env := []string{fmt.Sprintf("ITEST_FIRST=%d", done.Seed+uint64(mine.Chunks*part.count)), fmt.Sprintf("ITEST_COUNT=%d", part.count)}
	cmd := exec.CommandContext(ctx, b, "-test.run=^"+part.test+"$", "-test.v", "-test.timeout=30m")
	cmd.Dir = filepath.Join(t.root, part.pkg)
	cmd.Env = append(append(os.Environ(), "ITEST_SEED=", "ITEST_SECONDS="), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	if err := cmd.Run(); ctx.Err() != nil {
		return fmt.Errorf("%w: run it again to go on", context.Cause(ctx))
	} else if err != nil {
		return &chunkError{tail(out.Bytes()), "cd " + part.pkg + " && " + strings.Join(env, " ") + " go test -count=1 -v -run '^" + part.test + "$' ."}
	}
	if before, _, skipped := strings.Cut(out.String(), "--- SKIP: "+part.test); skipped {
		lines := strings.Split(strings.TrimSpace(before), "\n")
		_, mine.Skipped, _ = strings.Cut(lines[len(lines)-1], ".go:")
		return nil
	}
	seen, err := figures(&out)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(part.until)) {
		if seen[name] <= 0 {
			return fmt.Errorf("%s in %s tells nothing of its %s: it would never be done", part.test, part.pkg, name)
		}
	}
	mine.add(seen)
	mine.Chunks++
	mine.Seconds += time.Since(began).Seconds()
	done.Date = time.Now().UTC().Format(time.DateOnly)
	done.Machine = machine()
	return nil
}

func tail(out []byte) string { return string(out[max(0, len(out)-8000):]) }

// figures adds up the lines of form.Figures.
func figures(out *bytes.Buffer) (map[string]float64, error) {
	all := &progress{Figures: map[string]float64{}}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if _, text, found := strings.Cut(lines.Text(), ": figures {"); found {
			var seen map[string]float64
			if err := json.Unmarshal([]byte("{"+text), &seen); err != nil {
				return nil, fmt.Errorf("the figures {%s: %w", text, err)
			}
			all.add(seen)
		}
	}
	return all.Figures, lines.Err()
}

// repository is the root of the repository that the working directory is in.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "itest", "full", "promises.go")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("run it inside the repository")
		}
	}
}

// commitOf is the commit that is shown; "+" if something is changed.
func commitOf(ctx context.Context, root string) string {
	git := func(args ...string) string {
		cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "safe.directory=*", "-C", root}, args...)...)
		out, err := cmd.Output()
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(out))
	}
	commit := git("rev-parse", "--short=10", "HEAD")
	if git("status", "--porcelain", "--untracked-files=no") != "" {
		commit += "+"
	}
	return commit
}

// machine says on what figures were seen, without its name.
func machine() string {
	cpu := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, found := strings.CutPrefix(line, "model name"); found {
				cpu = strings.TrimSpace(strings.TrimLeft(name, "\t :"))
				break
			}
		}
	}
	return fmt.Sprintf("%d cores, %s, %s, %s", runtime.NumCPU(), cpu, runtime.GOOS, runtime.Version())
}

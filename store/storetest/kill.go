package storetest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/appio-go/appio/store"
)

// killDir is the environment variable that makes a process write to the store in the directory it names, until killed.
const killDir = "STORETEST_KILL_DIR"

const (
	killCycles  = 5
	killWriters = 4
	killOwners  = 3 // of each writer, all changed by one Commit
	killLane    = store.Lane(7)
)

// survivesKill kills a process that writes, again and again, and compares what is there with what the process said was
// acknowledged. Change n of an owner leaves it with exactly the records of killRecords(n), whole, at revision n.
func survivesKill(t tester, open opener) {
	if dir := os.Getenv(killDir); dir != "" {
		writeUntilKilled(dir, open)
	}
	dir := t.TempDir()
	acknowledged, total := map[store.Owner]uint64{}, uint64(0)
	for w := range killWriters {
		for i := range killOwners {
			acknowledged[killOwner(w, i)] = 0
		}
	}
	for cycle := range killCycles {
		if err := killWriter(t, dir, acknowledged, cycle%3 == 1); err != nil {
			t.Fatalf("writing until killed: %v", err)
		}
		s := reopened(t, open, dir)
		total = 0
		scheduled := 0
		for o, n := range acknowledged {
			got := view(t, s, store.Read{Owner: o, Range: all})
			if got.Rev != n && got.Rev != n+1 { // the change after was under way
				t.Fatalf("after kill -9 owner %q is at revision %d; it had acknowledged change %d, and nothing after %d was asked", o, got.Rev, n, n+1)
			}
			if !same(t, fmt.Sprintf("after kill -9, owner %q, whole as change %d left it", o, got.Rev), got.Records, of(o, killRecords(got.Rev)...)) {
				t.Fatalf("a change is there by half")
			}
			acknowledged[o] = got.Rev
			total += got.Rev
			scheduled += min(int(got.Rev), 1)
		}
		due := dueOf(t, s, store.DueQuery{Lanes: []store.Lane{killLane}, Until: at(1e9), Limit: store.MaxRange})
		if len(due) != scheduled {
			t.Fatalf("after kill -9 the lane has %d records; each of %d owners has one that is scheduled", len(due), scheduled)
		}
		closed(t, s)
	}
	t.Logf("%d changes, %d processes killed", total, killCycles)
}

// killRecords returns all records of an owner after change n.
func killRecords(n uint64) []store.Record {
	if n == 0 {
		return nil
	}
	return []store.Record{
		{Key: store.Key(fmt.Sprintf("a/%09d", n)), Lane: killLane, Due: at(int(n)), Value: binary.BigEndian.AppendUint64(nil, n)},
		{Key: "m", Value: bytes.Repeat([]byte{byte(n)}, int(n*997%3000))},
		counted("z", n),
	}
}

// killWriter runs a process that writes, kills it at a random moment, and notes what it acknowledged. The moment is counted
// from its first answer, or, if early, from before it opens the store.
func killWriter(t tester, dir string, acknowledged map[store.Owner]uint64, early bool) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var path []string
	for name := range strings.SplitSeq(t.Name(), "/") {
		path = append(path, "^"+regexp.QuoteMeta(name)+"$")
	}
	var complaint bytes.Buffer
	child := exec.CommandContext(ctx, program, "-test.run="+strings.Join(path, "/"), "-test.count=1", "-test.timeout=2m")
	child.Env = append(os.Environ(), killDir+"="+dir)
	child.Stderr = &complaint
	alive, err := child.StdinPipe() // its end tells the child that this process is gone
	if err != nil {
		return err
	}
	defer alive.Close()
	output, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}

	var killed atomic.Bool
	killAfter := func(most int) {
		time.AfterFunc(time.Duration(rand.IntN(most))*time.Millisecond, func() {
			killed.Store(true)
			child.Process.Kill()
		})
	}
	answers, said := 0, []string{}
	for lines := bufio.NewReader(output); ; {
		line, err := lines.ReadString('\n')
		if err != nil { // what was cut off was not said
			break
		}
		var writer int
		var n uint64
		if _, err := fmt.Sscanf(line, "acknowledged %d %d\n", &writer, &n); err == nil {
			if answers++; answers == 1 && !early {
				killAfter(150)
			}
			for i := range killOwners {
				acknowledged[killOwner(writer, i)] = n
			}
		} else if line == "opening\n" && early {
			killAfter(30)
		} else {
			said = append(said, line)
		}
	}
	byItself := !killed.Load()
	child.Process.Kill()
	child.Wait() // its error is that it was killed
	if byItself {
		return fmt.Errorf("the process ended by itself; it said: %s%s", strings.Join(said, ""), complaint.String())
	}
	return nil
}

func killOwner(writer, i int) store.Owner {
	return store.Owner(fmt.Sprintf("writer %d owner %d", writer, i))
}

// writeUntilKilled is the process that is killed. It does not return.
func writeUntilKilled(dir string, open opener) {
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	var out sync.Mutex
	say := func(format string, args ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Fprintf(os.Stdout, format+"\n", args...)
	}
	fail := func(err error) {
		say("failed: %v", err)
		os.Exit(1)
	}
	say("opening")
	s, err := open(dir)
	if err != nil {
		fail(err)
	}
	group(killWriters, func(w int) {
		reads := make([]store.Read, killOwners)
		for i := range reads {
			reads[i].Owner = killOwner(w, i)
		}
		got, err := s.View(context.Background(), reads)
		if err != nil {
			fail(err)
		}
		n := uint64(0)
		for i := range got {
			n = max(n, got[i].Rev)
		}
		for ; ; n++ {
			var changes []store.Change
			for i := range got {
				if got[i].Rev < n { // in the first round only those that the kill left behind, then all
					changes = append(changes, killChange(killOwner(w, i), got[i].Rev))
					got[i].Rev++
				}
			}
			if len(changes) == 0 {
				continue
			}
			errs, err := s.Commit(context.Background(), changes)
			for _, conflict := range errs {
				if err == nil {
					err = conflict
				}
			}
			if err != nil {
				fail(err)
			}
			say("acknowledged %d %d", w, n)
		}
	})
}

// killChange makes change rev+1 of an owner.
func killChange(o store.Owner, rev uint64) store.Change {
	c := store.Change{Owner: o, Rev: rev, Put: killRecords(rev + 1)}
	if rev > 0 {
		c.Delete = []store.Key{killRecords(rev)[0].Key}
	}
	return c
}

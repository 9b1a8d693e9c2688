package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// used is what this process and those that it started have used so far. What a process wrote that has ended is not counted.
func used() (u usage) {
	parents, stats := map[int]int{}, map[int]usage{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		// The name in brackets may have anything in it; from the state on, fields have spaces between.
		f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		number := func(i int) int {
			n, _ := strconv.Atoi(string(f[i]))
			return n
		}
		const tick = time.Second / 100 // what Linux counts in
		parents[pid] = number(1)
		stats[pid] = usage{
			cpu:     time.Duration(number(11)+number(12)+number(13)+number(14)) * tick, // its own and that of children that have ended
			written: written(filepath.Dir(name)),
		}
	}
	self := os.Getpid()
	for pid, v := range stats {
		for p := pid; p > 1; p = parents[p] {
			if p == self {
				u.cpu += v.cpu
				u.written += v.written
				break
			}
		}
	}
	return u
}

// written is how many bytes the process caused to be written to storage.
func written(proc string) int64 {
	b, err := os.ReadFile(filepath.Join(proc, "io"))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte("write_bytes: ")); ok {
			n, _ := strconv.ParseInt(string(bytes.TrimSpace(v)), 10, 64)
			return n
		}
	}
	return 0
}

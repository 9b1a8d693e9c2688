package workload

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// PeakRSS is the most memory that this process had, in bytes; 0: not known.
func PeakRSS() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Maxrss << 10
}

// Written is how many bytes this process has caused to be written to storage, metadata of the file system not counted; 0: not known.
func Written() int64 {
	status, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(status) {
		if n, ok := bytes.CutPrefix(line, []byte("write_bytes: ")); ok {
			written, _ := strconv.ParseInt(string(bytes.TrimSpace(n)), 10, 64)
			return written
		}
	}
	return 0
}

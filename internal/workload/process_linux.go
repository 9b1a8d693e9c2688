package workload

import "syscall"

// PeakRSS is the most memory that this process had, in bytes; 0: not known.
func PeakRSS() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return int64(u.Maxrss) << 10
}

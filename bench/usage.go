package main

import "time"

// usage is what processes have used: time of processors, in user and system mode, and bytes written to storage.
type usage struct {
	cpu     time.Duration
	written int64
}

// use sets what was used since before, per message.
func (r *result) use(before usage) {
	now := used()
	r.CPUPer = float64((now.cpu - before.cpu).Microseconds()) / float64(r.Messages)
	r.WrittenPer = float64(now.written-before.written) / float64(r.Messages)
}

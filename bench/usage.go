package main

import "time"

// usage is what has been used.
type usage struct {
	cpu     time.Duration // of this process and those that it started, in user and system mode
	faults  int           // pages that they waited for until the disk had read them
	written int64         // bytes that this process wrote, to files for the most part
}

// use sets what was used since before, per message.
func (r *result) use(before usage) {
	now := used()
	r.CPUPer = float64((now.cpu - before.cpu).Microseconds()) / float64(r.Messages)
	r.FaultsPer = float64(now.faults-before.faults) / float64(r.Messages)
	r.WrittenPer = float64(now.written-before.written) / float64(r.Messages)
}

package punctual

import (
	"os"
	"syscall"
	"time"
	"unsafe"
)

// A timerfd wakes the poller of the Go runtime at its moment, to some microseconds (man 2 timerfd_create).
type timerfd struct {
	file *os.File
	raw  syscall.RawConn
}

const monotonic = 1 // CLOCK_MONOTONIC

// newAlarm is a plain one where a process may have no more files.
func newAlarm() alarm {
	fd, _, errno := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, monotonic, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return newPlain()
	}
	file := os.NewFile(fd, "timerfd")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return newPlain()
	}
	return timerfd{file, raw}
}

// set cannot fail: what it hands over is right, and nobody closes the file. A moment that has just passed is the next one: 0 would disarm
// the timer, and less is refused.
func (t timerfd) set(after time.Duration) {
	spec := struct{ every, after syscall.Timespec }{after: syscall.NsecToTimespec(int64(max(1, after)))}
	_ = t.raw.Control(func(fd uintptr) {
		_, _, _ = syscall.Syscall6(syscall.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	})
}

// wait reads how often the alarm went off. After an error the caller looks at the clock, as it does in any case.
func (t timerfd) wait() {
	var times [8]byte
	_, _ = t.file.Read(times[:])
}

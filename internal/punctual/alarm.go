package punctual

import "time"

// An alarm wakes the one goroutine that waits for it. It may be set again meanwhile, to another moment; 0 or less is at once.
type alarm interface {
	set(after time.Duration)
	wait()
}

// plain is an alarm for systems whose timers are punctual, or that have nothing better.
type plain struct{ *time.Timer }

func newPlain() alarm {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return plain{t}
}

func (p plain) set(after time.Duration) { p.Reset(after) }
func (p plain) wait()                   { <-p.C }

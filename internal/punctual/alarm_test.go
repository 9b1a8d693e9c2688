package punctual

import (
	"testing"
	"time"
)

// A moment that passes while it is handed over is one to wake at. A timerfd that is set to it would not go off at all, nor anything after it.
func TestAnAlarmThatIsLate(t *testing.T) {
	for name, a := range map[string]alarm{"of the system": newAlarm(), "plain": newPlain()} {
		for _, after := range []time.Duration{0, -1, -time.Hour} {
			a.set(time.Hour)
			a.set(after)
			woken := make(chan struct{})
			go func() {
				a.wait()
				close(woken)
			}()
			select {
			case <-woken:
			case <-time.After(10 * time.Second):
				t.Fatalf("%s: set to %v it does not go off", name, after)
			}
		}
	}
}

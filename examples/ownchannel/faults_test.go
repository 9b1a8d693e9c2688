package ownchannel_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/channeltest"
	"github.com/appio-go/appio/examples/ownchannel"
)

// A failing provider does what it is told instead of taking messages: for some of them, or for all.
type failing struct {
	mu    sync.Mutex
	fault channeltest.Fault
	only  []appio.DeliveryID
	refs  []appio.DeliveryID
	asked int
}

// statuses are what this provider's protocol has for the faults that it can put into words.
var statuses = map[channeltest.Fault]int{
	channeltest.Busy: http.StatusServiceUnavailable, channeltest.Pauses: http.StatusTooManyRequests, channeltest.Gone: http.StatusGone,
	channeltest.Credentials: http.StatusUnauthorized, channeltest.Refuses: http.StatusUnprocessableEntity,
}

func (f *failing) Meet(fault channeltest.Fault, only ...appio.DeliveryID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.only = fault, only
	switch fault {
	case channeltest.Works, channeltest.Hangs, channeltest.Breaks, channeltest.Lost:
		return true
	}
	return statuses[fault] != 0
}

func (f *failing) Got() []appio.DeliveryID {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.refs)
}

func (f *failing) Asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

// meets notes a message that is taken, and says what happens to it.
func (f *failing) meets(ref appio.DeliveryID) channeltest.Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	fault := f.fault
	if len(f.only) > 0 && !slices.Contains(f.only, ref) {
		fault = channeltest.Works
	}
	if fault == channeltest.Works || fault == channeltest.Lost || fault == "" {
		f.refs = append(f.refs, ref)
	}
	return fault
}

func (f *failing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch fault := f.meets(appio.DeliveryID(r.FormValue("ref"))); fault {
	case channeltest.Hangs:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case channeltest.Breaks, channeltest.Lost:
		panic(http.ErrAbortHandler)
	default:
		if status := statuses[fault]; status != 0 {
			if fault == channeltest.Pauses {
				w.Header().Set("Retry-After", "120")
			}
			http.Error(w, "no message to "+r.FormValue("to")+": "+r.FormValue("text"), status)
		}
	}
}

func TestSMSWhenTheProviderFails(t *testing.T) {
	channeltest.RunFaults(t, func(t *testing.T) (appio.Channel, *channeltest.Provider) {
		f := &failing{}
		server := httptest.NewServer(f)
		t.Cleanup(server.Close)
		sms := channeltest.Adapt(&ownchannel.SMS{Client: server.Client(), URL: server.URL}, func(d *appio.Delivery) { d.Address.Value = number })
		return sms, &channeltest.Provider{Got: f.Got, Asked: f.Asked, Meet: f.Meet}
	})
}

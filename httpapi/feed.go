package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/appio-go/appio"
)

var feedRoutes = []route{
	{"GET /api/v1/subscriptions-feed/{date}", service, 0, subscriptionsFeed},
}

// A SubscriptionsFeed is whom a service may write to since a UTC day, and whom no longer: hashes of fiscal codes.
type SubscriptionsFeed struct {
	DateUTC         string   `json:"dateUTC"`
	Subscriptions   []string `json:"subscriptions"`
	Unsubscriptions []string `json:"unsubscriptions"`
}

// subscriptionsFeed answers a day of any length in the memory of a page: what does not fit into one is written as it is read.
func subscriptionsFeed(c *call) (answer, error) {
	day, err := c.day("date")
	if err != nil {
		return answer{}, err
	}
	list := c.sender.SubscriptionsFeed(day)
	first, err := list.Page(c.ctx, "", 0)
	if errors.Is(err, appio.ErrNotFound) {
		return answer{}, notFound("Data not available yet")
	}
	if err != nil {
		return answer{}, err
	}
	if first.Next != "" {
		if !c.feeds.enter(c.sender.ID()) {
			p := problem(http.StatusTooManyRequests, "", "Other days are being read.")
			p.after = 5 * time.Second
			return answer{}, p
		}
		return ok(stream{"application/json", -1, newFeedReader(c, day, list)}), nil
	}
	f := SubscriptionsFeed{day.Format(time.DateOnly), []string{}, []string{}}
	for _, e := range first.Items {
		if e.Subscribed {
			f.Subscriptions = append(f.Subscriptions, e.Hash)
		} else {
			f.Unsubscriptions = append(f.Unsubscriptions, e.Hash)
		}
	}
	return ok(f), nil
}

// feedsAtOnce is how many days of many a service reads at once: who takes them slowly holds no more.
const feedsAtOnce = 4

// feeds are the days that are being read, of each service.
type feeds struct {
	mu sync.Mutex
	m  map[appio.ServiceID]int
}

// enter reports whether one more may be read; leave has been read.
func (f *feeds) enter(id appio.ServiceID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.m[id] == feedsAtOnce {
		return false
	}
	if f.m == nil {
		f.m = map[appio.ServiceID]int{}
	}
	f.m[id]++
	return true
}

func (f *feeds) leave(id appio.ServiceID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.m[id]--; f.m[id] == 0 {
		delete(f.m, id)
	}
}

// A feedReader is a SubscriptionsFeed as JSON. It reads the day twice, since the lists come one after the other.
type feedReader struct {
	ctx     context.Context // of the request: reading goes on for as long as the client takes what is written
	timeout time.Duration   // of a page
	leave   func()
	list    appio.List[appio.FeedEntry]

	text   bytes.Buffer // that was not read yet
	cursor appio.Cursor
	wants  bool // the list of the subscribed is being written
	some   bool // it has one
	done   bool
}

func newFeedReader(c *call, day time.Time, list appio.List[appio.FeedEntry]) *feedReader {
	r := &feedReader{ctx: c.r.Context(), timeout: c.o.Timeout, leave: func() { c.feeds.leave(c.sender.ID()) }, list: list, wants: true}
	r.text.WriteString(`{"dateUTC":"` + day.Format(time.DateOnly) + `","subscriptions":[`)
	return r
}

func (r *feedReader) Read(p []byte) (int, error) {
	for r.text.Len() == 0 {
		if r.done {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	return r.text.Read(p)
}

// next writes a page, and what follows where a list ends.
func (r *feedReader) next() error {
	ctx, cancel := context.WithTimeout(r.ctx, r.timeout)
	defer cancel()
	page, err := r.list.Page(ctx, r.cursor, 0)
	if err != nil {
		return err
	}
	for _, e := range page.Items {
		if e.Subscribed != r.wants {
			continue
		}
		hash, err := json.Marshal(e.Hash)
		if err != nil {
			return err
		}
		if r.some {
			r.text.WriteByte(',')
		}
		r.some = true
		r.text.Write(hash)
	}
	switch r.cursor = page.Next; {
	case r.cursor != "":
	case r.wants:
		r.text.WriteString(`],"unsubscriptions":[`)
		r.wants, r.some = false, false
	default:
		r.text.WriteString("]}")
		r.done = true
	}
	return nil
}

// Close is called once.
func (r *feedReader) Close() error {
	r.leave()
	return nil
}

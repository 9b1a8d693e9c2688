package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
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
		leave, err := c.streams.enter("service " + string(c.sender.ID()))
		if err != nil {
			return answer{}, err
		}
		return ok(stream{"application/json", -1, leaving{newFeedReader(c, day, list), leave}}), nil
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

// A feedReader is a SubscriptionsFeed as JSON. It reads the day twice, since the lists come one after the other.
type feedReader struct {
	ctx     context.Context // of the request: reading goes on for as long as the client takes what is written
	timeout time.Duration   // of a page
	list    appio.List[appio.FeedEntry]

	text   bytes.Buffer // that was not read yet
	cursor appio.Cursor
	wants  bool // the list of the subscribed is being written
	some   bool // it has one
	done   bool
}

func newFeedReader(c *call, day time.Time, list appio.List[appio.FeedEntry]) *feedReader {
	r := &feedReader{ctx: c.r.Context(), timeout: c.o.Timeout, list: list, wants: true}
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

func (r *feedReader) Close() error { return nil }

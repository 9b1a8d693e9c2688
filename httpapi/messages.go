package httpapi

import (
	"net/http"
	"time"

	"github.com/appio-go/appio"
)

var messageRoutes = []route{
	{"POST /api/v1/messages", service, 0, submit},
	{"POST /api/v1/messages/{fiscal_code}", service, 0, submit},
}

// A NewMessage is what a service sends.
type NewMessage struct {
	FiscalCode string     `json:"fiscal_code"`
	TimeToLive int        `json:"time_to_live"` // in seconds
	Content    NewContent `json:"content"`
}

// A NewContent is what a message says.
type NewContent struct {
	Subject  string `json:"subject"`
	Markdown string `json:"markdown"`
}

// A CreatedMessage is the answer to a message that was accepted, whatever became of it.
type CreatedMessage struct {
	ID appio.MessageID `json:"id"`
}

// submit answers 201 whether the recipient is known and agrees or not, as IO does.
func submit(c *call) (answer, error) {
	var n NewMessage
	if err := c.body(&n); err != nil {
		return answer{}, err
	}
	m := appio.Message{Subject: n.Content.Subject, Markdown: n.Content.Markdown, TimeToLive: time.Duration(n.TimeToLive) * time.Second,
		Key: c.r.Header.Get("Idempotency-Key")}
	to := c.r.PathValue("fiscal_code")
	if to == "" {
		to = n.FiscalCode
	}
	var err error
	if m.To, err = person("fiscal_code", to); err != nil {
		return answer{}, err
	}
	res, err := c.sender.Send(c.ctx, m)
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusCreated, body: CreatedMessage{res.ID},
		header: map[string]string{"Location": "/api/v1/messages/" + string(m.To) + "/" + string(res.ID)}}, nil
}

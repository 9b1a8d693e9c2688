package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/remotecontent"
)

var thirdPartyRoutes = []route{
	{"GET /api/communication/v1/third-party-messages/{id}", citizen, 0, thirdPartyMessage},
	{"GET /api/communication/v1/third-party-messages/{id}/precondition", citizen, 0, precondition},
	{"GET /api/communication/v1/third-party-messages/{id}/attachments/{url...}", citizen, 0, attachment},
}

// A ThirdPartyMessage is a message, with what its sender's system says of it. Documents that the message carries itself are among the attachments.
// To ask for it is to accept its precondition, as in IO; here the citizen must have been shown it.
type ThirdPartyMessage struct {
	ReceivedMessage
	ThirdParty remotecontent.Content `json:"third_party_message"`
}

// attached says of a message that carries documents that it has attachments, by the only word that IO has for them.
func attached(m *appio.InboxMessage, c *MessageContent) *MessageContent {
	if len(m.Documents) == 0 {
		return c
	}
	if c.ThirdParty == nil {
		c.ThirdParty = &ThirdPartyData{ID: string(m.ID)}
	}
	yes := true
	c.ThirdParty.HasAttachments = &yes
	return c
}

func thirdPartyMessage(c *call) (answer, error) {
	r, err := c.remote()
	if err != nil {
		return answer{}, err
	}
	m, content, err := r.Open(c.ctx, c.citizen, messageID(c.r.PathValue("id")))
	if err != nil {
		return answer{}, c.remoteProblem(err, http.StatusBadGateway)
	}
	return ok(ThirdPartyMessage{ReceivedMessage{publicMessage(&m), attached(&m, contentOf(&m.Message))}, content}), nil
}

func precondition(c *call) (answer, error) {
	r, err := c.remote()
	if err != nil {
		return answer{}, err
	}
	p, err := r.Precondition(c.ctx, c.citizen, messageID(c.r.PathValue("id")))
	switch {
	case err != nil:
		return answer{}, c.remoteProblem(err, http.StatusInternalServerError)
	case p == nil:
		return noContent, nil
	}
	return ok(p), nil
}

func attachment(c *call) (answer, error) {
	r, err := c.remote()
	if err != nil {
		return answer{}, err
	}
	leave, err := c.streams.enter("citizen " + string(c.identity.Code))
	if err != nil {
		return answer{}, err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), streamTime)
	given := false
	end := func() {
		cancel()
		leave()
	}
	defer func() {
		if !given {
			end()
		}
	}()
	d, err := r.Attachment(ctx, c.citizen, messageID(c.r.PathValue("id")), c.r.PathValue("url"))
	if err != nil {
		return answer{}, c.remoteProblem(err, http.StatusInternalServerError)
	}
	given = true
	return answer{status: http.StatusOK, body: stream{"application/octet-stream", d.Size, leaving{d.Body, end}}}, nil
}

// remote is what opens the message; without it a message that is there is 501.
func (c *call) remote() (*remotecontent.Reader, error) {
	if c.o.Remote == nil {
		if _, err := c.citizen.Message(c.ctx, messageID(c.r.PathValue("id"))); err != nil {
			return nil, c.noMessage(err)
		}
		return nil, appio.ErrUnsupported
	}
	return c.o.Remote, nil
}

// remoteProblem says in IO's codes why something is not given. IO's document has 502 for the message alone: failed is what the path
// has for a system that does not answer as it must.
func (c *call) remoteProblem(err error, failed int) error {
	var wrong *remotecontent.AnswerError
	switch {
	case errors.Is(err, remotecontent.ErrNothing):
		return problem(http.StatusBadRequest, "", "The message retrieved has no third-party data.")
	case errors.Is(err, remotecontent.ErrGone):
		return problem(http.StatusGone, "", "The third-party service no longer has it.")
	case errors.Is(err, remotecontent.ErrKind):
		return problem(http.StatusUnsupportedMediaType, "", "The requested file is not a valid PDF.")
	case errors.Is(err, remotecontent.ErrTimeout):
		return problem(http.StatusGatewayTimeout, "", "The third-party service did not answer in time.")
	case errors.As(err, &wrong):
		c.o.Logger.Warn("an authority's system did not answer as it must", "route", c.route.pattern, "reason", wrong.Reason)
		return problem(failed, "", wrong.Reason)
	}
	return c.noMessage(err)
}

package httpapi

import (
	"cmp"
	"errors"

	"github.com/appio-go/appio"
)

// ServiceHistory is a part of what happened to a service.
type ServiceHistory struct {
	Token appio.Cursor         `json:"continuationToken,omitempty"` // for what comes after it; not given: nothing does
	Items []ServiceHistoryItem `json:"items"`
}

// A ServiceHistoryItem is one thing that happened, with the service as it was then, but for the authorised recipients.
type ServiceHistoryItem struct {
	ID         appio.ServiceID      `json:"id"`
	Status     ServiceHistoryStatus `json:"status"`
	LastUpdate Timestamp            `json:"last_update"`
	ServiceContent
}

// A ServiceHistoryStatus is what the service became: of kind lifecycle what a [ServiceStatus] has, of kind publication published or
// unpublished.
type ServiceHistoryStatus struct {
	Kind   string `json:"kind"`
	Value  string `json:"value"`
	Reason string `json:"reason,omitempty"`
}

// mostHistory is how many entries are looked at for one answer.
const mostHistory = 1000

// serviceHistory leaves out what IO has no status for, as a change of a key, and goes on until the page is full, or much was left out.
func serviceHistory(c *call) (answer, error) {
	order, _, err := c.query("order")
	if err != nil {
		return answer{}, err
	}
	order = cmp.Or(order, "DESC")
	if order != "ASC" && order != "DESC" {
		return answer{}, badParameters("order: ASC or DESC")
	}
	limit, err := c.number("limit", 1, 100, 10)
	if err != nil {
		return answer{}, err
	}
	token, given, err := c.query("continuationToken")
	if err != nil {
		return answer{}, err
	}
	if given && token == "" {
		return answer{}, badParameters("continuationToken: one that was answered")
	}
	a, d, err := c.managed()
	if err != nil {
		return answer{}, err
	}
	list := a.History(d.ID)
	if order == "ASC" {
		list = list.Reversed()
	}
	h := ServiceHistory{appio.Cursor(token), []ServiceHistoryItem{}}
	for seen, more := 0, true; more && len(h.Items) < limit && seen < mostHistory; more = h.Token != "" {
		page, err := list.Page(c.ctx, h.Token, limit-len(h.Items))
		if errors.Is(err, appio.ErrInvalid) {
			return answer{}, badParameters("continuationToken: one that was answered, for this service and in this order")
		}
		if err != nil {
			return answer{}, err
		}
		seen += max(1, len(page.Items))
		for i := range page.Items {
			item, has, err := c.historyItem(&d, &page.Items[i])
			if err != nil {
				return answer{}, err
			}
			if has {
				h.Items = append(h.Items, item)
			}
		}
		h.Token = page.Next
	}
	return ok(h), nil
}

func (c *call) historyItem(d *appio.Draft, e *appio.ServiceEvent) (item ServiceHistoryItem, has bool, err error) {
	item = ServiceHistoryItem{ID: d.ID, LastUpdate: Timestamp(e.At)}
	switch e.What {
	case appio.ServiceEdited, appio.ServiceSubmitted, appio.ServiceRecalled, appio.ServiceApproved, appio.ServiceRejected, appio.ServiceDeleted,
		appio.ServiceEntrusted, appio.ServiceHandedOver:
		item.Status = ServiceHistoryStatus{Kind: "lifecycle", Value: stageName(e.Stage)}
		if e.What == appio.ServiceRejected {
			item.Status.Reason = e.Reason
		}
	case appio.ServicePublished:
		item.Status = ServiceHistoryStatus{Kind: "publication", Value: "published"}
	case appio.ServiceUnpublished, appio.ServiceStopped:
		item.Status = ServiceHistoryStatus{Kind: "publication", Value: "unpublished", Reason: e.Reason}
	default:
		return item, false, nil
	}
	s := e.Service
	if s == nil {
		s = &d.Service
	}
	item.ServiceContent, err = c.content(s)
	item.Recipients = nil
	return item, true, err
}

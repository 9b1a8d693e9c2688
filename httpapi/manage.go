package httpapi

import (
	"cmp"
	"errors"
	"net/http"
	"slices"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

// Paths by which an organization's software prepares its services, with a key of the organization: see appio.Authority. Another
// organization's service is 403, as in IO, whose services' ids are public, and an unknown one 404.
var manageRoutes = []route{
	{"POST /api/v1/manage/services", manager, 0, createService},
	{"GET /api/v1/manage/services", manager, 0, listServices},
	{"GET /api/v1/manage/services/topics", keyholder, 0, listTopics},
	{"GET /api/v1/manage/services/{id}", manager, 0, getService},
	{"PUT /api/v1/manage/services/{id}", manager, 0, editService},
	{"DELETE /api/v1/manage/services/{id}", manager, 0, deleteService},
	{"PUT /api/v1/manage/services/{id}/logo", manager, maxLogoBody, putServiceLogo},
	{"GET /api/v1/manage/services/{id}/history", manager, 0, serviceHistory},
	{"GET /api/v1/manage/services/{id}/keys", manager, 0, serviceKeys},
	{"PUT /api/v1/manage/services/{id}/keys/{type}", manager, 0, changeServiceKey},
	{"PUT /api/v1/manage/services/{id}/review", manager, 0, reviewService},
	{"POST /api/v1/manage/services/{id}/release", manager, 0, publishService},
	{"GET /api/v1/manage/services/{id}/release", manager, 0, publishedService},
	{"DELETE /api/v1/manage/services/{id}/release", manager, 0, unpublishService},
	{"PUT /api/v1/organizations/{code}/logo", keyholder, maxLogoBody, putOrganizationLogo},
}

// A Service is the next version of a service.
type Service struct {
	ID         appio.ServiceID `json:"id"`
	Status     ServiceStatus   `json:"status"`
	LastUpdate Timestamp       `json:"last_update"`
	ServiceContent
}

// A ServiceStatus is draft, submitted, approved, rejected or deleted.
type ServiceStatus struct {
	Value  string `json:"value"`
	Reason string `json:"reason,omitempty"` // of a rejection: the operator's words, or names of [appio.QualityFinding]
}

// A PublishedService is what citizens see, or saw, of a service.
type PublishedService struct {
	ID         appio.ServiceID `json:"id"`
	Status     string          `json:"status"` // published or unpublished
	LastUpdate Timestamp       `json:"last_update"`
	ServiceContent
}

// ServicePage is a part of an organization's services.
type ServicePage struct {
	Value      []Service  `json:"value"`
	Pagination Pagination `json:"pagination"`
}

// Pagination says which part it is, and of how many.
type Pagination struct {
	Offset int `json:"offset"`
	Limit  int `json:"limit"`
	Count  int `json:"count"` // in all
}

// ServiceKeys are the two keys of a service.
type ServiceKeys struct {
	Primary   string `json:"primary_key"` // empty: there is none, or one that was made elsewhere, which cannot be shown
	Secondary string `json:"secondary_key"`
}

// ReviewRequest gives a service to review.
type ReviewRequest struct {
	AutoPublish bool `json:"auto_publish"`
}

// TopicList is what services can be about.
type TopicList struct {
	Topics []Topic `json:"topics"`
}

// createService answers with a draft. Its keys are made with it, where the caller's may hold keys.
func createService(c *call) (answer, error) {
	var p ServicePayload
	if err := c.body(&p); err != nil {
		return answer{}, err
	}
	a, s, err := c.prepare(c.authority, &p, appio.Service{})
	if err != nil {
		return answer{}, err
	}
	d, err := a.PutDraft(c.ctx, s)
	if settled(err) != nil {
		return answer{}, refusedContent(err)
	}
	for _, k := range []appio.KeySlot{appio.Primary, appio.Secondary} {
		_, err := a.NewKey(c.ctx, d.ID, k)
		if err = settled(err); err != nil && !errors.Is(err, appio.ErrForbidden) && !errors.Is(err, appio.ErrUnsupported) {
			return answer{}, err
		}
	}
	return c.drafted(http.StatusCreated, d)
}

// prepare is who may act for the organization that a payload names, and the service as the payload has it: what has no member in IO's
// payloads stays as it was before, the organization too: the engine refuses a draft for another than its own, 403.
func (c *call) prepare(a *appio.Authority, p *ServicePayload, before appio.Service) (*appio.Authority, appio.Service, error) {
	code, err := fiscalcode.ParseOrganization(p.Organization.FiscalCode)
	if err != nil {
		return nil, before, badParameters("organization.fiscal_code: 11 digits")
	}
	if code != a.Code() {
		a = a.For(code)
	}
	s, err := p.service(before)
	return a, s, err
}

// listServices counts what there is but for what was deleted.
func listServices(c *call) (answer, error) {
	limit, err := c.number("limit", 1, 100, 20)
	if err != nil {
		return answer{}, err
	}
	offset, err := c.number("offset", 0, 1<<31-1, 0)
	if err != nil {
		return answer{}, err
	}
	page := ServicePage{[]Service{}, Pagination{Offset: offset, Limit: limit}}
	for d, err := range c.authority.Drafts().All(c.ctx) {
		if err := c.rest(err); err != nil {
			return answer{}, err
		}
		if err != nil || d.Stage == appio.Deleted {
			continue
		}
		if n := page.Pagination.Count; n >= offset && n < offset+limit {
			s, err := c.service(d)
			if err != nil {
				return answer{}, err
			}
			page.Value = append(page.Value, s)
		}
		page.Pagination.Count++
	}
	return ok(page), nil
}

func listTopics(*call) (answer, error) {
	var l TopicList
	for id, name := range appio.Topics() {
		l.Topics = append(l.Topics, Topic{id, name})
	}
	return ok(l), nil
}

// managed is who acts on the service of the path, and the service, also where persons of its list cannot be read.
func (c *call) managed() (*appio.Authority, appio.Draft, error) {
	a, d, err := c.managedWhole()
	return a, d, c.rest(err)
}

// managedWhole is managed, for who is shown the service.
func (c *call) managedWhole() (*appio.Authority, appio.Draft, error) {
	id := appio.ServiceID(c.r.PathValue("id"))
	a, err := c.authority.ForService(c.ctx, id)
	if errors.Is(err, appio.ErrNotFound) {
		s, err := c.serviceOf(id)
		switch {
		case errors.Is(err, appio.ErrNotFound):
			return nil, appio.Draft{}, notManaged()
		case err != nil:
			return nil, appio.Draft{}, err
		case s.Organization != c.authority.Code():
			return nil, appio.Draft{}, notAllowed()
		}
		return nil, appio.Draft{}, notManaged() // the operator's own
	}
	if err != nil {
		return nil, appio.Draft{}, err
	}
	d, err := a.Draft(c.ctx, id)
	return a, d, err
}

// serviceOf is a service for who does not show it: also where persons of its list cannot be read.
func (c *call) serviceOf(id appio.ServiceID) (appio.Service, error) {
	s, err := c.e.Service(c.ctx, id)
	return s, c.rest(err)
}

func notManaged() error { return notFound("Not found") }

// managedStill is managed, but for a service that is deleted, which has no such thing.
func (c *call) managedStill() (*appio.Authority, appio.Draft, error) {
	a, d, err := c.managed()
	if err == nil && d.Stage == appio.Deleted {
		err = notManaged()
	}
	return a, d, err
}

func getService(c *call) (answer, error) {
	_, d, err := c.managedWhole()
	if err != nil {
		return answer{}, err
	}
	return c.drafted(http.StatusOK, d)
}

func editService(c *call) (answer, error) {
	var p ServicePayload
	if err := c.body(&p); err != nil {
		return answer{}, err
	}
	a, d, err := c.managed()
	if err != nil {
		return answer{}, err
	}
	a, s, err := c.prepare(a, &p, d.Service)
	if err != nil {
		return answer{}, err
	}
	d, err = a.PutDraft(c.ctx, s)
	if settled(err) != nil {
		return answer{}, refusedContent(err)
	}
	return c.drafted(http.StatusOK, d)
}

func deleteService(c *call) (answer, error) {
	a, d, err := c.managed()
	if err == nil {
		err = settled(a.Delete(c.ctx, d.ID))
	}
	return noContent, err
}

// serviceKeys shows keys at any time: they are derived anew, and not kept.
func serviceKeys(c *call) (answer, error) {
	a, d, err := c.managedStill()
	if err != nil {
		return answer{}, err
	}
	return c.keysOf(a, d.ID)
}

func (c *call) keysOf(a *appio.Authority, id appio.ServiceID) (answer, error) {
	k, err := a.Keys(c.ctx, id)
	if err != nil {
		return answer{}, err
	}
	return ok(ServiceKeys{k.Primary, k.Secondary}), nil
}

func changeServiceKey(c *call) (answer, error) {
	slot, known := map[string]appio.KeySlot{"primary": appio.Primary, "secondary": appio.Secondary}[c.r.PathValue("type")]
	if !known {
		return answer{}, badParameters("keyType: primary or secondary")
	}
	a, d, err := c.managedStill()
	if err != nil {
		return answer{}, err
	}
	if _, err := a.NewKey(c.ctx, d.ID, slot); settled(err) != nil {
		return answer{}, err
	}
	return c.keysOf(a, d.ID)
}

// reviewService answers before anybody has looked, as IO does: what breaks a rule of quality shows as rejected.
func reviewService(c *call) (answer, error) {
	var q ReviewRequest
	if err := c.body(&q); err != nil {
		return answer{}, err
	}
	a, d, err := c.managed()
	if err != nil {
		return answer{}, err
	}
	_, err = a.Submit(c.ctx, d.ID, q.AutoPublish)
	return noContent, settled(err)
}

// released is managed, of a service that has a live copy which was approved, or the operator's word for it.
func (c *call) released() (*appio.Authority, appio.Draft, error) {
	a, d, err := c.managedStill()
	if err == nil && d.Publication == appio.Unreleased {
		err = notManaged()
	}
	return a, d, err
}

func publishService(c *call) (answer, error) {
	a, d, err := c.released()
	if err != nil {
		return answer{}, err
	}
	err = settled(a.Publish(c.ctx, d.ID))
	if errors.Is(err, appio.ErrForbidden) {
		err = problem(http.StatusForbidden, "", "The key is not for this, the organization has no signed agreement, or the operator has stopped the service.")
	}
	return noContent, err
}

func publishedService(c *call) (answer, error) {
	_, d, err := c.released()
	if err != nil {
		return answer{}, err
	}
	live, err := c.e.Service(c.ctx, d.ID)
	if err != nil {
		return answer{}, err
	}
	status := "unpublished"
	if d.Publication == appio.Published {
		status = "published"
	}
	content, err := c.content(&live)
	return ok(PublishedService{d.ID, status, Timestamp(d.LiveAt), content}), err
}

func unpublishService(c *call) (answer, error) {
	a, d, err := c.released()
	if err == nil {
		err = settled(a.Unpublish(c.ctx, d.ID))
	}
	return noContent, err
}

// service is a draft as IO has it.
func (c *call) service(d appio.Draft) (Service, error) {
	content, err := c.content(&d.Service)
	s := Service{ID: d.ID, Status: ServiceStatus{Value: stageName(d.Stage)}, LastUpdate: Timestamp(d.UpdatedAt), ServiceContent: content}
	if d.Stage == appio.Refused {
		s.Status.Reason = d.Reason
	}
	return s, err
}

func (c *call) drafted(status int, d appio.Draft) (answer, error) {
	s, err := c.service(d)
	return answer{status: status, body: s}, err
}

// stageName is what IO calls a stage.
func stageName(s appio.Stage) string { return cmp.Or(string(s), "draft") }

// topicOf is the topic of a name; nil: IO has none of it.
func topicOf(name string) *Topic {
	if id := slices.Index(appio.Topics(), name); id >= 0 {
		return &Topic{id, name}
	}
	return nil
}

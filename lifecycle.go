package appio

import (
	"cmp"
	"fmt"
)

// A service that an authority prepares has two sides, each a small state machine. The draft, the next version, goes from stage to stage;
// the live copy, which citizens see and the sender sends by, is published or not. The live copy stays as it is while the draft is edited
// and reviewed: approval alone brings what is new over.

// A Stage is where the next version of a service stands.
type Stage string

const (
	Editing   Stage = ""          // being written
	Submitted Stage = "submitted" // to the operator, and not to be edited
	Approved  Stage = "approved"  // it is the live copy
	Refused   Stage = "rejected"  // given back with a reason; an edit makes it Editing
	Deleted   Stage = "deleted"   // the service is gone, for good
)

const absent Stage = "absent" // there is no draft; never stored

// A Publication is where the live copy of a service stands with citizens. It follows from Service.State, and from whether a version
// was ever approved.
type Publication string

const (
	Unreleased  Publication = ""            // nothing was ever approved; the live copy follows the draft, in trial
	Released    Publication = "released"    // approved, never published: in trial
	Published   Publication = "published"   // live
	Unpublished Publication = "unpublished" // stopped, by its organization or by the operator
)

// A ServiceChange is what happened to a service.
type ServiceChange string

const (
	ServiceEdited      ServiceChange = "edited" // or created
	ServiceSubmitted   ServiceChange = "submitted"
	ServiceRecalled    ServiceChange = "recalled" // by who submitted it
	ServiceApproved    ServiceChange = "approved"
	ServiceRejected    ServiceChange = "rejected"
	ServiceDeleted     ServiceChange = "deleted"
	ServicePublished   ServiceChange = "published"
	ServiceUnpublished ServiceChange = "unpublished"
	ServiceKeyChanged  ServiceChange = "key-changed" // see Authority.NewKey; Reason is the slot
	ServiceLogoChanged ServiceChange = "logo-changed"
	ServiceStopped     ServiceChange = "stopped"     // by the operator, see Engine.StopService
	ServiceAllowed     ServiceChange = "allowed"     // see Engine.AllowService
	ServiceEntrusted   ServiceChange = "entrusted"   // to its organization, see Engine.Entrust
	ServiceHandedOver  ServiceChange = "handed-over" // to another organization, see Authority.TakeOver; Reason is the one before
)

var stages = map[Stage]map[ServiceChange]Stage{
	absent:    {ServiceEdited: Editing},
	Editing:   {ServiceEdited: Editing, ServiceSubmitted: Submitted, ServiceDeleted: Deleted, ServiceHandedOver: Editing},
	Submitted: {ServiceRecalled: Editing, ServiceApproved: Approved, ServiceRejected: Refused},
	Approved:  {ServiceEdited: Editing, ServiceDeleted: Deleted},
	Refused:   {ServiceEdited: Editing, ServiceDeleted: Deleted, ServiceHandedOver: Editing},
	Deleted:   {},
}

// after is the stage that a change leads to, or ErrConflict where it is none of that stage.
func (s Stage) after(c ServiceChange) (Stage, error) {
	next, ok := stages[s][c]
	if !ok {
		if s == Editing {
			s = "draft"
		}
		return s, fmt.Errorf("%w: a service whose draft is %s cannot be %s", ErrConflict, s, c)
	}
	return next, nil
}

// An approval without publishing leaves a live copy that is published as it is: only its content changes.
var publications = map[Publication]map[ServiceChange]Publication{
	Unreleased:  {ServiceApproved: Released, ServiceDeleted: Unpublished, ServiceHandedOver: Unreleased},
	Released:    {ServiceApproved: Released, ServicePublished: Published, ServiceUnpublished: Unpublished, ServiceDeleted: Unpublished},
	Published:   {ServiceApproved: Published, ServicePublished: Published, ServiceUnpublished: Unpublished, ServiceDeleted: Unpublished},
	Unpublished: {ServiceApproved: Unpublished, ServicePublished: Published, ServiceUnpublished: Unpublished, ServiceDeleted: Unpublished},
}

func (p Publication) after(c ServiceChange) (Publication, error) {
	next, ok := publications[p][c]
	if !ok {
		return p, fmt.Errorf("%w: a service that is %s cannot be %s", ErrConflict, cmp.Or(string(p), "not approved"), c)
	}
	return next, nil
}

func publicationOf(s ServiceState, released bool) Publication {
	switch {
	case s == Live:
		return Published
	case s == Stopped:
		return Unpublished
	case released:
		return Released
	}
	return Unreleased
}

func (p Publication) state() ServiceState {
	switch p {
	case Published:
		return Live
	case Unpublished:
		return Stopped
	}
	return Trial
}

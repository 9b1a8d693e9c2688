package httpapi

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
)

// A ServicePayload is what a service is to be. What is not given is empty.
type ServicePayload struct {
	Name          Text                   `json:"name"`
	Description   Text                   `json:"description"`
	Organization  OrganizationPayload    `json:"organization"`
	SecureChannel bool                   `json:"require_secure_channel,omitempty"`
	Recipients    []string               `json:"authorized_recipients,omitempty"` // whom it may write to in trial, beside the sandbox
	CIDRs         []CIDR                 `json:"authorized_cidrs,omitempty"`      // where its keys may be used from; empty: anywhere
	MaxPayment    int64                  `json:"max_allowed_payment_amount,omitempty"`
	Metadata      ServiceMetadataPayload `json:"metadata"`
}

// An OrganizationPayload names the organization that a service is to be of. Its name is looked at and not kept: citizens are shown the one that the
// operator has registered.
type OrganizationPayload struct {
	Name       Text   `json:"name"`
	FiscalCode string `json:"fiscal_code"`
	Department Text   `json:"department_name,omitempty"`
}

// ServiceMetadataPayload is what citizens are shown besides.
type ServiceMetadataPayload struct {
	Web        Text   `json:"web_url,omitempty"`
	AppleApp   Text   `json:"app_ios,omitempty"`
	AndroidApp Text   `json:"app_android,omitempty"`
	Terms      Text   `json:"tos_url,omitempty"`
	Privacy    Text   `json:"privacy_url,omitempty"`
	Address    Text   `json:"address,omitempty"`
	Phone      Text   `json:"phone,omitempty"`
	Email      Text   `json:"email,omitempty"`
	PEC        Text   `json:"pec,omitempty"`
	CTA        Text   `json:"cta,omitempty"`
	TokenName  Text   `json:"token_name,omitempty"`
	Support    Text   `json:"support_url,omitempty"`
	Scope      string `json:"scope"` // NATIONAL or LOCAL
	TopicID    int    `json:"topic_id"`
}

// ServiceContent is what a service is.
type ServiceContent struct {
	Name          string          `json:"name"`
	Description   string          `json:"description"` // never empty: a service that has none, as one of the operator's may, shows its name
	Organization  Organization    `json:"organization"`
	SecureChannel bool            `json:"require_secure_channel"`
	Recipients    []string        `json:"authorized_recipients,omitempty"` // the sandbox is always among them; not in a history
	CIDRs         []CIDR          `json:"authorized_cidrs"`
	MaxPayment    int64           `json:"max_allowed_payment_amount"`
	Metadata      ServiceMetadata `json:"metadata"`
}

// An Organization is whose a service is.
type Organization struct {
	Name       string                  `json:"name"`
	FiscalCode fiscalcode.Organization `json:"fiscal_code"`
	Department string                  `json:"department_name,omitempty"`
}

// ServiceMetadata is what citizens are shown besides.
type ServiceMetadata struct {
	Web        string `json:"web_url,omitempty"`
	AppleApp   string `json:"app_ios,omitempty"`
	AndroidApp string `json:"app_android,omitempty"`
	Terms      string `json:"tos_url,omitempty"`
	Privacy    string `json:"privacy_url,omitempty"`
	Address    string `json:"address,omitempty"`
	Phone      string `json:"phone,omitempty"`
	Email      string `json:"email,omitempty"`
	PEC        string `json:"pec,omitempty"`
	CTA        string `json:"cta,omitempty"`
	TokenName  string `json:"token_name,omitempty"`
	Support    string `json:"support_url,omitempty"`
	Scope      string `json:"scope"` // a service that does not say is LOCAL
	Topic      *Topic `json:"topic,omitempty"`
}

// A Topic is what a service is about: see [appio.Topics].
type Topic struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

// A Text is not empty.
type Text string

var errEmpty = errors.New("a text that is not empty")

// UnmarshalText reads a text.
func (t *Text) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		return errEmpty
	}
	*t = Text(b)
	return nil
}

// A CIDR is a range of IPv4 addresses; an address alone is a range of one. Ranges of IPv6 that the host has set are shown, and not taken.
type CIDR netip.Prefix

var errCIDR = errors.New("an IPv4 address or CIDR, as 192.0.2.0/24")

// UnmarshalText reads a range.
func (p *CIDR) UnmarshalText(b []byte) error {
	text := string(b)
	if !strings.Contains(text, "/") {
		text += "/32"
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil || !prefix.Addr().Is4() {
		return errCIDR
	}
	*p = CIDR(prefix)
	return nil
}

// MarshalText writes a range with its length.
func (p CIDR) MarshalText() ([]byte, error) { return netip.Prefix(p).MarshalText() }

// scopes are IO's names.
var scopes = map[string]appio.Reach{"NATIONAL": appio.National, "LOCAL": appio.Local}

// service is what a payload makes of a service. What is wrong with it the engine says, but for what it has no word for.
func (p *ServicePayload) service(s appio.Service) (appio.Service, error) {
	m := &p.Metadata
	s.Name, s.Description, s.Department = string(p.Name), string(p.Description), string(p.Organization.Department)
	s.SecureChannels, s.MaxPayment = p.SecureChannel, pagopa.Amount(p.MaxPayment)
	s.Web, s.AppleApp, s.AndroidApp, s.Terms = string(m.Web), string(m.AppleApp), string(m.AndroidApp), string(m.Terms)
	s.Privacy, s.Address, s.Phone, s.Email = string(m.Privacy), string(m.Address), string(m.Phone), string(m.Email)
	s.PEC, s.CallToAction, s.TokenName, s.Support = string(m.PEC), string(m.CTA), string(m.TokenName), string(m.Support)
	var known bool
	if s.Reach, known = scopes[m.Scope]; !known {
		return s, badParameters("metadata.scope: must be NATIONAL or LOCAL")
	}
	topics := appio.Topics()
	if m.TopicID < 0 || m.TopicID >= len(topics) {
		return s, badParameters("metadata.topic_id: must be one of those of /manage/services/topics")
	}
	s.Topic = topics[m.TopicID]
	s.Trial, s.Prefixes = nil, nil
	for _, r := range p.Recipients {
		if code := fiscalcode.Person(r); code != fiscalcode.Sandbox {
			s.Trial = append(s.Trial, code)
		}
	}
	for _, cidr := range p.CIDRs {
		s.Prefixes = append(s.Prefixes, netip.Prefix(cidr))
	}
	return s, nil
}

// serviceNames are what the members are called that the engine may refuse.
var serviceNames = map[string]string{
	"Name": "name", "Description": "description", "Department": "organization.department_name", "Trial": "authorized_recipients",
	"Prefixes": "authorized_cidrs", "MaxPayment": "max_allowed_payment_amount", "Web": "metadata.web_url", "AppleApp": "metadata.app_ios",
	"AndroidApp": "metadata.app_android", "Terms": "metadata.tos_url", "Privacy": "metadata.privacy_url", "Address": "metadata.address",
	"Phone": "metadata.phone", "Email": "metadata.email", "PEC": "metadata.pec", "CallToAction": "metadata.cta",
	"TokenName": "metadata.token_name", "Support": "metadata.support_url", "Service": "service",
}

// refusedContent says in IO's words what is wrong with a service.
func refusedContent(err error) error {
	var field *appio.FieldError
	if !errors.As(err, &field) {
		return err
	}
	name, _, _ := strings.Cut(field.Field, "[")
	return badParameters(serviceNames[name] + ": " + field.Rule)
}

// content is a service as IO has it.
func (c *call) content(s *appio.Service) (ServiceContent, error) {
	name, err := c.nameOf(s.Organization)
	sc := ServiceContent{
		Name: s.Name, Description: cmp.Or(s.Description, s.Name), SecureChannel: s.SecureChannels, CIDRs: []CIDR{}, MaxPayment: int64(s.MaxPayment),
		Organization: Organization{name, s.Organization, s.Department},
		Metadata: ServiceMetadata{
			Web: s.Web, AppleApp: s.AppleApp, AndroidApp: s.AndroidApp, Terms: s.Terms, Privacy: s.Privacy, Address: s.Address, Phone: s.Phone,
			Email: s.Email, PEC: s.PEC, CTA: s.CallToAction, TokenName: s.TokenName, Support: s.Support, Scope: "LOCAL", Topic: topicOf(s.Topic),
		},
	}
	if s.Reach == appio.National {
		sc.Metadata.Scope = "NATIONAL"
	}
	for _, r := range s.Trial {
		sc.Recipients = append(sc.Recipients, string(r))
	}
	if !slices.Contains(s.Trial, fiscalcode.Sandbox) {
		sc.Recipients = append(sc.Recipients, string(fiscalcode.Sandbox))
	}
	for _, p := range s.Prefixes {
		sc.CIDRs = append(sc.CIDRs, CIDR(p))
	}
	return sc, err
}

// nameOf is what an organization is called; one that is not registered, by its code.
func (c *call) nameOf(code fiscalcode.Organization) (string, error) {
	if name, known := c.names[code]; known {
		return name, nil
	}
	o, err := c.e.Organization(c.ctx, code)
	if errors.Is(err, appio.ErrNotFound) {
		o.Name, err = string(code), nil
	}
	if c.names == nil {
		c.names = map[fiscalcode.Organization]string{}
	}
	c.names[code] = o.Name
	return o.Name, err
}

package httpapi

import (
	"errors"
	"net/http"
	"strings"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

const configurations = "/api/v1/messages-sending/remote-contents/configurations"

var remoteRoutes = []route{
	{"POST " + configurations, manager, 0, createConfiguration},
	{"GET " + configurations, manager, 0, listConfigurations},
	{"GET " + configurations + "/{id}", manager, 0, configuration},
	{"PUT " + configurations + "/{id}", manager, 0, putConfiguration},
}

// An RCConfiguration says how an organization's system is reached from which messages' content is fetched (IO's NewRCConfigurationPublic).
type RCConfiguration struct {
	Name              string             `json:"name"`
	Description       string             `json:"description"`
	HasPrecondition   string             `json:"has_precondition"` // ALWAYS, ONCE or NEVER
	DisableLollipop   []string           `json:"disable_lollipop_for"`
	IsLollipopEnabled bool               `json:"is_lollipop_enabled"`
	Test              *RCTestEnvironment `json:"test_environment,omitempty"`
	Prod              *RCEnvironment     `json:"prod_environment,omitempty"`
}

// An RCEnvironment is one such system.
type RCEnvironment struct {
	BaseURL        string           `json:"base_url"`
	Authentication RCAuthentication `json:"details_authentication"`
}

// An RCTestEnvironment is asked for some persons in place of the other.
type RCTestEnvironment struct {
	BaseURL        string           `json:"base_url"`
	Authentication RCAuthentication `json:"details_authentication"`
	TestUsers      []string         `json:"test_users"`
}

// An RCAuthentication is the key that goes with each request. As in IO's document it is shown again to who manages the organization's services.
type RCAuthentication struct {
	HeaderKeyName string         `json:"header_key_name"`
	Key           string         `json:"key"`
	Type          string         `json:"type"`
	Cert          *RCCertificate `json:"cert,omitempty"` // not given: that of before; an empty one: none
}

// An RCCertificate is the client's, and the roots of the system's own, in PEM. IO's public document does not have it. The key is not shown again.
type RCCertificate struct {
	Client string `json:"client_cert,omitempty"`
	Key    string `json:"client_key,omitempty"`
	Roots  string `json:"server_ca,omitempty"`
}

// A CreatedRCConfiguration is one with its id.
type CreatedRCConfiguration struct {
	ID appio.ConfigurationID `json:"configuration_id"`
	RCConfiguration
}

// An OwnedRCConfiguration is one with its owner: IO's id of a user, here the organization's fiscal code.
type OwnedRCConfiguration struct {
	CreatedRCConfiguration
	UserID string `json:"user_id"`
}

// An RCConfigurationList has all of an organization.
type RCConfigurationList struct {
	List []OwnedRCConfiguration `json:"rcConfigList"`
}

func createConfiguration(c *call) (answer, error) {
	made, err := c.writeConfiguration("")
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusCreated, body: createdConfiguration(&made)}, nil
}

func putConfiguration(c *call) (answer, error) {
	if _, err := c.writeConfiguration(appio.ConfigurationID(c.r.PathValue("id"))); err != nil {
		return answer{}, err
	}
	return noContent, nil
}

func configuration(c *call) (answer, error) {
	is, err := c.authority.RemoteConfiguration(c.ctx, appio.ConfigurationID(c.r.PathValue("id")))
	if err != nil {
		return answer{}, noConfiguration(err)
	}
	return ok(ownedConfiguration(&is)), nil
}

func listConfigurations(c *call) (answer, error) {
	all := RCConfigurationList{List: []OwnedRCConfiguration{}}
	for is, err := range c.authority.RemoteConfigurations().All(c.ctx) {
		if err := c.rest(err); err != nil {
			return answer{}, err
		}
		if err != nil {
			continue
		}
		all.List = append(all.List, ownedConfiguration(&is))
	}
	return ok(all), nil
}

func noConfiguration(err error) error {
	if errors.Is(err, appio.ErrNotFound) {
		return notFound("Configuration not found")
	}
	return err
}

// writeConfiguration creates one, where id is empty, or replaces one.
func (c *call) writeConfiguration(id appio.ConfigurationID) (appio.RemoteConfiguration, error) {
	var before appio.RemoteConfiguration
	if id != "" {
		var err error
		before, err = c.authority.RemoteConfiguration(c.ctx, id)
		if err = c.rest(err); err != nil { // its persons are put anew
			return before, noConfiguration(err)
		}
	}
	var b RCConfiguration
	if err := c.body(&b); err != nil {
		return before, err
	}
	is := b.configuration(&before)
	is.ID = id
	err := is.Validate()
	if err == nil && c.o.Remote != nil {
		err = c.o.Remote.Check(is)
	}
	if err != nil {
		return before, configurationProblem(err)
	}
	made, err := c.authority.PutRemoteConfiguration(c.ctx, is)
	return made, configurationProblem(noConfiguration(err))
}

func (b *RCConfiguration) configuration(before *appio.RemoteConfiguration) appio.RemoteConfiguration {
	is := appio.RemoteConfiguration{
		Name: b.Name, Description: b.Description, Precondition: appio.Precondition(b.HasPrecondition), Signed: b.IsLollipopEnabled,
		Unsigned: persons(b.DisableLollipop),
	}
	if e := b.Prod; e != nil {
		is.Production = e.Authentication.system(e.BaseURL, before.Production)
	}
	if e := b.Test; e != nil {
		is.Test, is.TestUsers = e.Authentication.system(e.BaseURL, before.Test), persons(e.TestUsers)
	}
	return is
}

func (a *RCAuthentication) system(url string, before *appio.RemoteSystem) *appio.RemoteSystem {
	s := &appio.RemoteSystem{URL: url, Header: a.HeaderKeyName, Key: a.Key, Type: a.Type}
	switch {
	case a.Cert != nil:
		s.Certificate, s.PrivateKey, s.Roots = a.Cert.Client, a.Cert.Key, a.Cert.Roots
	case before != nil:
		s.Certificate, s.PrivateKey, s.Roots = before.Certificate, before.PrivateKey, before.Roots
	}
	return s
}

func persons(codes []string) (ps []fiscalcode.Person) {
	for _, c := range codes {
		ps = append(ps, fiscalcode.Person(c))
	}
	return ps
}

func ownedConfiguration(is *appio.RemoteConfiguration) OwnedRCConfiguration {
	return OwnedRCConfiguration{createdConfiguration(is), string(is.Organization)}
}

func createdConfiguration(is *appio.RemoteConfiguration) CreatedRCConfiguration {
	r := CreatedRCConfiguration{is.ID, RCConfiguration{
		Name: is.Name, Description: is.Description, HasPrecondition: string(is.Precondition), DisableLollipop: texts(is.Unsigned), IsLollipopEnabled: is.Signed,
	}}
	if s := is.Production; s != nil {
		r.Prod = &RCEnvironment{s.URL, authenticationOf(s)}
	}
	if s := is.Test; s != nil {
		r.Test = &RCTestEnvironment{s.URL, authenticationOf(s), texts(is.TestUsers)}
	}
	return r
}

func authenticationOf(s *appio.RemoteSystem) RCAuthentication {
	a := RCAuthentication{HeaderKeyName: s.Header, Key: s.Key, Type: s.Type}
	if s.Certificate != "" || s.Roots != "" {
		a.Cert = &RCCertificate{Client: s.Certificate, Roots: s.Roots}
	}
	return a
}

func texts(ps []fiscalcode.Person) []string {
	list := []string{}
	for _, p := range ps {
		list = append(list, string(p))
	}
	return list
}

// configurationProblem names the member as IO's document does.
func configurationProblem(err error) error {
	var field *appio.FieldError
	if !errors.As(err, &field) {
		return err
	}
	return badParameters(configurationNames.Replace(field.Field) + ": " + field.Rule)
}

var configurationNames = strings.NewReplacer(
	"Name", "name", "Description", "description", "Precondition", "has_precondition", "Unsigned", "disable_lollipop_for",
	"TestUsers", "test_environment.test_users", "Production.", "prod_environment.", "Test.", "test_environment.", "URL", "base_url",
	"Header", "details_authentication.header_key_name", "Key", "details_authentication.key", "Type", "details_authentication.type",
	"Certificate", "details_authentication.cert", "PrivateKey", "details_authentication.cert.client_key", "Roots", "details_authentication.cert.server_ca")

package appio

import "github.com/appio-go/appio/fiscalcode"

// A remoteRecord is of content elsewhere.
type remoteRecord struct {
	ID            string          `msgpack:"i"`
	Organization  string          `msgpack:"o"` // whose configuration it is
	Configuration ConfigurationID `msgpack:"c"`
	Precondition  Precondition    `msgpack:"p"`
	Sender        string          `msgpack:"s,omitempty"`
	Received      int64           `msgpack:"t,omitempty"`
	Summary       string          `msgpack:"b,omitempty"`
	Attachments   bool            `msgpack:"a,omitempty"`
	Text          bool            `msgpack:"x,omitempty"`
}

func newRemoteRecord(r *RemoteContent) *remoteRecord {
	return &remoteRecord{
		ID: r.ID, Configuration: r.Configuration, Precondition: r.Precondition, Sender: r.OriginalSender, Received: toMicro(r.ReceivedAt),
		Summary: r.Summary, Attachments: r.Attachments, Text: r.Text,
	}
}

func (r *remoteRecord) content() *RemoteContent {
	if r == nil {
		return nil
	}
	return &RemoteContent{
		ID: r.ID, Configuration: r.Configuration, Precondition: r.Precondition, OriginalSender: r.Sender, ReceivedAt: fromMicro(r.Received),
		Summary: r.Summary, Attachments: r.Attachments, Text: r.Text, Organization: fiscalcode.Organization(r.Organization),
	}
}

// A remoteConfigurationRecord is how an organization's system is reached.
type remoteConfigurationRecord struct {
	ID           string        `msgpack:"i"`
	Name         string        `msgpack:"n"`
	Text         string        `msgpack:"d"`
	Precondition Precondition  `msgpack:"p"`
	Production   *systemRecord `msgpack:"u,omitempty"`
	Test         *systemRecord `msgpack:"v,omitempty"`
	TestUsers    []string      `msgpack:"w,omitempty"` // see listed.go, and Unsigned
	Signed       bool          `msgpack:"s,omitempty"`
	Unsigned     []string      `msgpack:"x,omitempty"`
	At           int64         `msgpack:"t"`
}

type systemRecord struct {
	URL         string `msgpack:"u"`
	Header      string `msgpack:"h"`
	Key         string `msgpack:"k"`
	Type        string `msgpack:"t"`
	Certificate string `msgpack:"c,omitempty"`
	PrivateKey  string `msgpack:"p,omitempty"`
	Roots       string `msgpack:"r,omitempty"`
}

// newRemoteConfigurationRecord is a configuration without its persons.
func newRemoteConfigurationRecord(c *RemoteConfiguration) *remoteConfigurationRecord {
	return &remoteConfigurationRecord{
		ID: string(c.ID), Name: c.Name, Text: c.Description, Precondition: c.Precondition, Production: (*systemRecord)(c.Production).clone(),
		Test: (*systemRecord)(c.Test).clone(), Signed: c.Signed,
	}
}

// configuration is the configuration without its persons: see Engine.show.
func (r *remoteConfigurationRecord) configuration(of fiscalcode.Organization) RemoteConfiguration {
	return RemoteConfiguration{
		ID: ConfigurationID(r.ID), Name: r.Name, Description: r.Text, Precondition: r.Precondition, Production: (*RemoteSystem)(r.Production),
		Test: (*RemoteSystem)(r.Test), Signed: r.Signed, Organization: of, UpdatedAt: fromMicro(r.At),
	}
}

func (r *systemRecord) clone() *systemRecord {
	if r == nil {
		return nil
	}
	c := *r
	return &c
}

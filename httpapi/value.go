package httpapi

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/appio-go/appio/fiscalcode"
)

// person is the citizen's fiscal code in the path.
func (c *call) person(name string) (fiscalcode.Person, error) {
	return person(name, c.r.PathValue(name))
}

func person(field, s string) (fiscalcode.Person, error) {
	p, err := fiscalcode.ParsePerson(s)
	if err != nil {
		return "", badParameters(field + ": a fiscal code of 16 upper case letters and digits")
	}
	return p, nil
}

// organization is an organization's fiscal code in the path.
func (c *call) organization(name string) (fiscalcode.Organization, error) {
	o, err := fiscalcode.ParseOrganization(c.r.PathValue(name))
	if err != nil {
		return "", badParameters(name + ": 11 digits")
	}
	return o, nil
}

// day is a day of UTC in the path, as YYYY-MM-DD.
func (c *call) day(name string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, c.r.PathValue(name))
	if err != nil || t.Year() < 1 {
		return time.Time{}, badParameters(name + ": a day, as YYYY-MM-DD")
	}
	return t, nil
}

// query is a value of the query, and whether it is there. What is there twice, or cannot be read, is refused.
func (c *call) query(name string) (value string, given bool, err error) {
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil || len(q[name]) > 1 {
		return "", false, badParameters(name + ": given once, and encoded as in a URL")
	}
	return q.Get(name), q.Has(name), nil
}

// number is a whole number of the query; what is not given is otherwise.
func (c *call) number(name string, least, most, otherwise int) (int, error) {
	s, given, err := c.query(name)
	if err != nil || !given {
		return otherwise, err
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		return 0, badParameters(fmt.Sprintf("%s: a number of %d to %d", name, least, most))
	}
	return n, nil
}

// flag is a boolean of the query, "true" or "false"; what is not given is false.
func (c *call) flag(name string) (bool, error) {
	s, given, err := c.query(name)
	if err != nil || !given {
		return false, err
	}
	if s != "true" && s != "false" {
		return false, badParameters(name + ": true or false")
	}
	return s == "true", nil
}

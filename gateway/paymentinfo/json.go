package paymentinfo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/pagopa"
)

// An object is a JSON object, its members by their exact names: encoding/json would take "AMOUNT" for amount.
type object map[string]json.RawMessage

var errJSON = errors.New("paymentinfo: the answer is not a JSON object")

// parse reads one object and nothing after it. A member that is there twice is refused, since readers differ in which one they take.
func parse(body []byte) (object, error) {
	if !utf8.Valid(body) || !json.Valid(body) {
		return nil, errJSON
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, errJSON
	}
	o := object{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, errJSON
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, errJSON
		}
		if _, twice := o[name.(string)]; twice {
			return nil, errors.New("paymentinfo: the answer has a member twice")
		}
		o[name.(string)] = value
	}
	return o, nil
}

// text is a string of at most so many characters, 0: any; "" if it is not there, or null.
func (o object) text(name string, most int) (string, error) {
	raw, ok := o[name]
	if !ok {
		return "", nil
	}
	var s string // which null leaves empty
	if json.Unmarshal(raw, &s) != nil {
		return "", fmt.Errorf("paymentinfo: in the answer, %s is not a string", name)
	}
	if most > 0 && utf8.RuneCountInString(s) > most {
		return "", fmt.Errorf("paymentinfo: in the answer, %s is longer than %d characters", name, most)
	}
	return s, nil
}

// cents is an amount that one can pay. 150.0 and 15e1 are no amounts: who writes cents in this way may mean euros.
func (o object) cents(name string) (pagopa.Amount, error) {
	n, err := strconv.ParseUint(string(o[name]), 10, 63)
	if err != nil || n < 1 || n > uint64(pagopa.MaxAmount) {
		return 0, fmt.Errorf("paymentinfo: in the answer, %s is not an integer of 1 to %d", name, int64(pagopa.MaxAmount))
	}
	return pagopa.Amount(n), nil
}

// day is a date, zero if it is not there.
func (o object) day(name string) (time.Time, error) {
	s, err := o.text(name, 0)
	if err != nil || s == "" {
		return time.Time{}, err
	}
	day, err := time.Parse(time.DateOnly, s)
	if err != nil || day.Year() < 1 || day.IsZero() {
		return time.Time{}, fmt.Errorf("paymentinfo: in the answer, %s is not a date", name)
	}
	return day, nil
}

const maxText = 140 // characters of a name and of a description, as in pagoPA

// debtOf reads the answer about a debt.
func debtOf(id pagopa.RPTID, body []byte) (appio.Debt, error) {
	o, err := parse(body)
	if err != nil {
		return appio.Debt{}, err
	}
	d := appio.Debt{RPTID: id}
	var rptID, creditor string
	for _, read := range []func() error{
		func() (err error) { rptID, err = o.text("rptId", 0); return },
		func() (err error) { creditor, err = o.text("paFiscalCode", 0); return },
		func() (err error) { d.Payee, err = o.text("paName", maxText); return },
		func() (err error) { d.Description, err = o.text("description", maxText); return },
		func() (err error) { d.Amount, err = o.cents("amount"); return },
		func() (err error) { d.Due, err = o.day("dueDate"); return },
	} {
		if err := read(); err != nil {
			return appio.Debt{}, err
		}
	}
	if rptID != "" && rptID != id.String() || creditor != "" && creditor != string(id.Creditor) {
		return appio.Debt{}, errors.New("paymentinfo: the answer is about another notice")
	}
	return d, nil
}

// An orderJSON is what is asked where payments go on.
type orderJSON struct {
	Key         string        `json:"key"`
	RPTID       string        `json:"rptId"`
	Amount      pagopa.Amount `json:"amount"`
	Payee       string        `json:"paName,omitempty"`
	Description string        `json:"description,omitempty"`
	Due         string        `json:"dueDate,omitempty"`
}

func order(d appio.Debt, key string) orderJSON {
	o := orderJSON{Key: key, RPTID: d.RPTID.String(), Amount: d.Amount, Payee: d.Payee, Description: d.Description}
	if !d.Due.IsZero() {
		o.Due = d.Due.UTC().Format(time.DateOnly)
	}
	return o
}

const maxURL = 2048 // characters, as all browsers take them

// checkoutOf reads where a payment goes on.
func checkoutOf(body []byte) (appio.Checkout, error) {
	o, err := parse(body)
	if err != nil {
		return appio.Checkout{}, err
	}
	var c appio.Checkout
	if c.URL, err = o.text("url", maxURL); err != nil {
		return appio.Checkout{}, err
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return appio.Checkout{}, errors.New("paymentinfo: in the answer, url is not an absolute URL of https")
	}
	until, err := o.text("expiresAt", 0)
	if err != nil {
		return appio.Checkout{}, err
	}
	if until != "" {
		if c.ExpiresAt, err = time.Parse(time.RFC3339, until); err != nil || c.ExpiresAt.IsZero() {
			return appio.Checkout{}, errors.New("paymentinfo: in the answer, expiresAt is not a time")
		}
	}
	return c, nil
}

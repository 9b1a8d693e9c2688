package httpapi

import (
	"errors"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// body reads the body of the request into v: see [decode].
func (c *call) body(v any) error {
	if err := c.isJSON(); err != nil {
		return err
	}
	most := c.route.body
	if most == 0 {
		most = c.o.MaxBody
	}
	if c.r.ContentLength > most {
		return tooLarge(most)
	}
	b := buffer()
	defer release(b)
	if _, err := b.ReadFrom(http.MaxBytesReader(c.w, c.r.Body, most)); err != nil {
		return unread(err)
	}
	if b.Len() == 0 {
		return badParameters("The body is missing.")
	}
	return decode(b.Bytes(), v)
}

func tooLarge(most int64) *Problem {
	return problem(http.StatusRequestEntityTooLarge, "", "The body is larger than the "+strconv.FormatInt(most, 10)+" bytes that this path takes.")
}

// unread says why a body did not come whole, which is the client's affair, or the network's.
func unread(err error) *Problem {
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return tooLarge(large.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problem(http.StatusRequestTimeout, "", "The body took too long to arrive.")
	}
	return badParameters("The body is incomplete.")
}

// isJSON refuses bodies of other kinds where a browser could be made to send one with the citizen's cookie, without asking. A service's
// key comes in a header that nobody can be made to send.
func (c *call) isJSON() error {
	if c.route.who != citizen {
		return nil
	}
	t, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || t != "application/json" && !strings.HasSuffix(t, "+json") {
		return problem(http.StatusUnsupportedMediaType, "", "The body must be application/json.")
	}
	return nil
}

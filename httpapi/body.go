package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"
)

// body reads the body of the request into v, a pointer to a struct with json tags.
func (c *call) body(v any) error {
	most := c.route.body
	if most == 0 {
		most = c.o.MaxBody
	}
	b := buffer()
	defer release(b)
	if _, err := b.ReadFrom(http.MaxBytesReader(c.w, c.r.Body, most)); err != nil {
		return err
	}
	// The body has arrived: what comes now is the next request, and the server's to wait for.
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Time{})
	err := json.Unmarshal(b.Bytes(), v)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong) && wrong.Field != "":
		return badParameters(wrong.Field + ": of another type")
	case errors.Is(err, io.EOF), err != nil:
		return badParameters("The body is not JSON of this path's kind.")
	}
	return nil
}

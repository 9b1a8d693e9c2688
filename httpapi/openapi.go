package httpapi

import (
	_ "embed"
	"net/http"
)

//go:embed openapi.json
var openAPI string

// OpenAPI is the OpenAPI 3.1 document of all paths, as it is served at /api/openapi.json. It says what can be relied on; unknown members of
// what is sent are passed over, whatever it says.
func OpenAPI() string { return openAPI }

var documentRoutes = []route{
	{"GET /api/openapi.json", anybody, 0, document},
}

// document is the same whether this handler serves citizens or not.
func document(*call) (answer, error) {
	return answer{status: http.StatusOK, body: raw{"application/json", []byte(openAPI)}}, nil
}

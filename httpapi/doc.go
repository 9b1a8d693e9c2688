// Package httpapi serves an engine over HTTP as the real system, IO, serves its senders and its app: the same paths, names, codes, headers and
// bodies, so that software written for IO works against a platform that embeds appio, without a change.
//
//	srv := &http.Server{
//		Handler:           httpapi.Handler(eng, &httpapi.Options{Citizen: whoIsIt}),
//		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
//	}
//
// Paths of services are below /api/v1, and ask for a service's key in the header Ocp-Apim-Subscription-Key; those below /api/v1/manage, by
// which an organization prepares its services, for a key of the organization (appio.Engine.AuthorityByKey); those of the app are below
// /api/communication/v1 and /api/identity/v1, and ask [Options].Citizen, the host's login, who it is. TLS, the server, its bound on
// connections, and the time and size of headers are the host's. All paths are below /api/, so that beside others of the host's own the handler is
// mounted with mux.Handle("/api/", h); what IO has no path for, as quiet hours, digests and the operator's work, the host offers by those, with [ProblemOf].
//
// # Answers
//
// Every error is a problem of RFC 9457 (application/problem+json) with the code and, where IO has one, the title of IO. The order of what is
// looked at: the path and its method (404, 405), who calls (401, 403), values in the path and the query (400), the body (400, 413, 408), what
// the engine says. In short:
//
//	400  what was sent can never work: malformed JSON, a value outside its pattern or length, a message that the engine refuses
//	401  no key, one that is not known (any more), or a citizen whom the host does not know
//	403  a key of the other kind, from an address that the service does not allow, or for what its service may not do
//	404  there is no such thing here, or it is another's; a message id of any other shape
//	409  it changed since, is under way, or an Idempotency-Key was used for another message
//	410  it is too late, or an authority's system no longer has it
//	412  the e-mail address is one that somebody else has proved
//	413  a body above its bound
//	415  a citizen's request whose body is not called JSON, or a document of an authority's system that is no PDF file
//	429  asked too often, or for too much at once, or too many change one citizen; the header Retry-After says when to ask again
//	500  the store failed; the host's log says how. Whether anything was changed is not known
//	501  the host did not give the engine the means for it
//	502  an authority's system did not answer as it must, or 504: in time
//	503  the store is full or closed, or the time of the request was over
//
// JSON is read as RFC 8259 has it: members that are not known are passed over; a known one must be of its type, and names are told apart by
// case; a member that is there twice, text that is not UTF-8, and a depth above 32 are refused.
//
// No problem and no log line has a fiscal code, an address, or what a message says.
package httpapi

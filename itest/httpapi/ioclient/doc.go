package ioclient

// client.gen.go was made from the API document that PagoPA publishes for services, of its repository io-functions-services: version 4.1.1,
// commit 72b2ff3db2904a622d7cb97af9bb97b539f9d35d, apps/io-functions-services/openapi/index.yaml (Swagger 2.0). Nothing in it was written
// for this project, and none of the document's own text is in it:
//
//  1. Descriptions, summaries, titles, examples and x- members were taken out, and parameters renamed that are called as a definition is.
//  2. github.com/getkin/kin-openapi v0.152.0, openapi2conv.ToV3, made OpenAPI 3 of it.
//  3. github.com/oapi-codegen/oapi-codegen/v2 v2.8.2 made the client: package ioclient, generate models and client.

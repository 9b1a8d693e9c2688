module github.com/appio-go/appio/pagopa/picture

go 1.26.0

replace github.com/appio-go/appio => ../../

require (
	github.com/appio-go/appio v0.0.0-00010101000000-000000000000
	github.com/boombuler/barcode v1.1.0
	github.com/stretchr/testify v1.12.1
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect

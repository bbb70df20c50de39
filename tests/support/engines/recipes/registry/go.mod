// A schema registry that speaks Confluent's API, as a test engine.
module peaktime.test/registry

go 1.26.0

require github.com/axonops/axonops-schema-registry v0.2.1

tool github.com/axonops/axonops-schema-registry/cmd/schema-registry

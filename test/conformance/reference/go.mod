module berth/test/conformance/reference

go 1.26.8

require (
	berth v0.0.0
	github.com/distribution/reference v0.6.0
)

require github.com/opencontainers/go-digest v1.0.0 // indirect

replace berth => ../../..

module berth/test/conformance/build

go 1.26.8

require (
	golang.org/x/sys v0.48.0
	golang.org/x/tools v0.51.0
)

// Package container provides the verbs of the noun container: run, ps, exec,
// logs and the others, one file each.
//
// A verb turns what was typed into one request to the engine and the answer
// into Docker's output. Nothing here touches files of the store or the kernel;
// the user's terminal is the exception (see the package terminal). The flags
// that describe a container, shared by run and create, are in flags_*.go, and
// request.go turns them into an engine.CreateRequest.
package container

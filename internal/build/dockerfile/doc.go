// Package dockerfile turns the text of a Dockerfile into a plan.
//
// A Dockerfile is a list of instructions, one for each line (a backslash at the
// end goes on). FROM begins a stage: the files and the config of another image.
// The instructions after it change files (RUN, COPY, ADD, WORKDIR) or only what
// the image says about how to run it (ENV, CMD, LABEL ...). $NAME in an
// instruction is a variable: one of the image's environment (ENV) or one that
// exists during the build only (ARG). The reference is
// https://docs.docker.com/reference/dockerfile/; where it is silent, BuildKit's
// own translation (frontend/dockerfile/dockerfile2llb) is what users know, and
// test/conformance/dockerfile compares with it.
//
// The reading goes in one direction:
//
//	text -> File      lines, directives, instructions     Parse
//	     -> stages    names, bases, platforms             stage.go
//	     -> sources   who copies from whom, cycles        source.go
//	     -> images    asked of the caller, ONBUILD        resolve.go, onbuild.go
//	     -> steps     variables filled in, one by one     evaluate.go and the instructions' files
//
// Only stages that the target needs are resolved and evaluated. No file is
// touched: images come through Options.Resolve.
//
// Words and grammar are BuildKit's parser's. Text may come from strangers, so
// what the parser leaves open is bounded here: the size of the text, how deep
// variables nest, how much their values may grow (limits.go).
//
// Every error is an *Error: it knows the file, the lines and the column, prints
// an excerpt, and carries an errdefs kind and hint.
package dockerfile

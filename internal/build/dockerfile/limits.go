package dockerfile

import (
	"strings"

	"berth/internal/errdefs"
)

// A Dockerfile may be a stranger's, and its language can double a value with
// each line. These are far above what people write.
const (
	maxText         = 4 << 20   // bytes of a Dockerfile
	maxInstructions = 10_000    // of a Dockerfile
	maxSubstitution = 1000      // "${" in one instruction: the lexer recurses for each that nests
	maxVariable     = 128 << 10 // bytes of a variable: execve(2) takes no longer string (MAX_ARG_STRLEN)
	maxWord         = 1 << 20   // bytes of values put into one word
	maxPatternWork  = 64 << 20  // letters that ${x#p} and ${x/p/r} may compare or write for one word
	maxPlan         = 64 << 20  // bytes, about, of all that a plan holds
)

// budget is what a plan may still grow.
type budget struct{ left int }

func newBudget() *budget { return &budget{left: maxPlan} }

// spend takes n bytes; it fails when they are not there any more.
func (b *budget) spend(n int) error {
	if n > b.left {
		b.left = 0
		return errdefs.New(errdefs.Exhausted, "the instructions up to here make a plan of more than %d MiB", maxPlan>>20).
			WithHint("look for variables or port ranges that grow from line to line")
	}
	b.left -= n
	return nil
}

// checkNesting refuses a text that would send the lexer too deep. It counts
// every "${" of an instruction: quotes can hide where one ends.
func checkNesting(text string) (line int, err error) {
	count, n := 0, 0
	for l := range strings.Lines(text) {
		n++
		if count += strings.Count(l, "${"); count > maxSubstitution {
			return n, errdefs.New(errdefs.Exhausted, "more than %d variables in one instruction", maxSubstitution).
				WithHint("divide the instruction into several")
		}
		l = strings.TrimSpace(l)
		if l != "" && l[0] != '#' && !strings.HasSuffix(l, `\`) && !strings.HasSuffix(l, "`") {
			count = 0
		}
	}
	return 0, nil
}

// checkVariable refuses a value that no program could be given.
func checkVariable(name, value string) error {
	if n := len(name) + len(value) + 2; n > maxVariable {
		return errdefs.New(errdefs.Exhausted, "variable %.40s is %d bytes long; the kernel gives a program none longer than %d", name, n, maxVariable).
			WithHint("put the value into a file and COPY it")
	}
	return nil
}

// errNotUTF8 is for bytes that are no letters. The lexer would say so on
// standard error and go on with others.
func errNotUTF8() error {
	return errdefs.New(errdefs.InvalidArgument, "the instruction has bytes that are no UTF-8").
		WithHint("save the Dockerfile as UTF-8, or put the bytes into a file and COPY it")
}

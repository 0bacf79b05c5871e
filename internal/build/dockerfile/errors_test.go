package dockerfile

import (
	"errors"
	"strings"
	"testing"

	"berth/internal/errdefs"
)

func TestExcerpt(t *testing.T) {
	const text = "FROM alpine\nRUN a\n\nCOPY --chwon=1 \\\n  a b\nRUN c\nRUN d\nRUN e\n"
	_, err := makePlan(text, testOptions())
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("%T: %v", err, err)
	}
	if e.File != "Dockerfile" || e.Line != 4 || e.EndLine != 5 || e.Column != 6 {
		t.Errorf("at %s:%d-%d:%d", e.File, e.Line, e.EndLine, e.Column)
	}
	const want = `Dockerfile:4
--------------------
   2 |     RUN a
   3 |     
   4 | >>> COPY --chwon=1 \
   5 | >>>   a b
   6 |     RUN c
   7 |     RUN d
--------------------
`
	if got := e.Excerpt(); got != want {
		t.Errorf("excerpt\n%s\nwant\n%s", got, want)
	}
	if !errors.Is(err, errdefs.InvalidArgument) || errdefs.HintOf(err) != "did you mean --chown?" {
		t.Errorf("kind %v, hint %q", errdefs.KindOf(err), errdefs.HintOf(err))
	}
}

func TestExcerptOfACycleShowsBothPlaces(t *testing.T) {
	text := "FROM alpine AS a\nCOPY --from=b / /\n" + strings.Repeat("RUN x\n", 20) + "FROM alpine AS b\nCOPY --from=a / /\n"
	_, err := makePlan(text, testOptions())
	e, _ := errors.AsType[*Error](err)
	got := e.Excerpt()
	if e.Line != 2 || strings.Count(got, ">>>") != 2 || strings.Count(got, "|     ...") != 1 || strings.Count(got, "\n") > 15 {
		t.Errorf("%v\n%s", err, got)
	}
}

// What a Dockerfile holds goes to a terminal: it must not steer it.
func TestExcerptShowsNoControlLetters(t *testing.T) {
	_, err := makePlan("FROM alpine\nRNU \x1b[31mred\x07 \u202eabc\r\n"+strings.Repeat("#", 1000)+"\n", testOptions())
	e, _ := errors.AsType[*Error](err)
	got := e.Excerpt()
	if strings.ContainsAny(got, "\x1b\x07\u202e\r") || len(got) > 800 {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}

func TestErrorsOfTheWholeFile(t *testing.T) {
	for text, part := range map[string]string{
		"":                                  "is empty",
		" \n\t\n":                           "is empty",
		"FROM alpine\n# \xe4\nRUN a\xe4":    "Dockerfile:3:1: the instruction has bytes that are no UTF-8",
		"FROM alpine\nRUN <<E\n\xe4\nE":     "Dockerfile:2:1: the instruction has bytes that are no UTF-8",
		"FROM alpine\nCOPY <<E /a\n\xe4\nE": "Dockerfile:2:1: the instruction has bytes that are no UTF-8",
		"FROM a\nRUN " + strings.Repeat("x", 70_000):                        "Dockerfile:2:1: dockerfile line greater than",
		"FROM alpine\n" + strings.Repeat("RUN x\n", maxInstructions):        "instructions, at most",
		"FROM alpine\nRUN " + strings.Repeat("${a:-", maxSubstitution+1):    "more than 1000 variables",
		"FROM alpine\n#" + strings.Repeat("0123456789abcdef", maxText/16+1): "bytes, at most",
	} {
		_, err := makePlan(text, testOptions())
		if err == nil || !strings.Contains(err.Error(), part) || errdefs.HintOf(err) == "" {
			t.Errorf("%.40q: %v (hint %q), want %q", text, err, errdefs.HintOf(err), part)
		}
	}
}

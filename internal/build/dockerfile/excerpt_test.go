package dockerfile

import "testing"

func TestExcerptOfLines(t *testing.T) {
	f, err := Parse("D", []byte("FROM a\nRUN b \\\n  c\n\nRUN d\n"))
	if err != nil {
		t.Fatal(err)
	}
	const rule = "--------------------\n"
	for _, c := range []struct {
		from, to int
		want     string
	}{
		{2, 3, "D:2\n" + rule + "   1 |     FROM a\n   2 | >>> RUN b \\\n   3 | >>>   c\n   4 |     \n   5 |     RUN d\n" + rule},
		{5, 0, "D:5\n" + rule + "   3 |       c\n   4 |     \n   5 | >>> RUN d\n" + rule},
		{0, 0, ""},
		{6, 7, ""},
	} {
		if got := f.Excerpt(c.from, c.to); got != c.want {
			t.Errorf("%d-%d: got\n%s", c.from, c.to, got)
		}
	}
}

func TestOriginal(t *testing.T) {
	f, err := Parse("D", []byte("# first\nfrom a\nARG V\nRUN echo $V \\\n # between\n  more\nRUN <<E\nx\nE\nCMD [\"sh\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[int]string{1: "", 2: "from a", 4: "RUN echo $V   more", 5: "", 7: "RUN <<E", 10: `CMD ["sh"]`, 11: ""} {
		if got := f.Original(line); got != want {
			t.Errorf("line %d: %q, want %q", line, got, want)
		}
	}
}

package cli

import (
	"strings"

	"github.com/spf13/pflag"
)

// minText is the narrowest column of explanations; a narrower terminal wraps by itself.
const minText = 24

// flagUsages lists the flags of fs in two columns, the second wrapped at width.
func flagUsages(fs *pflag.FlagSet, width int) string {
	var heads, texts []string
	column := 0
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		head := "      --" + f.Name
		if f.Shorthand != "" {
			head = "  -" + f.Shorthand + ", --" + f.Name
		}
		if kind := f.Value.Type(); kind != "bool" {
			head += " " + kind
		}
		text := f.Usage
		if d := defaultText(f); d != "" {
			text += " (default " + d + ")"
		}
		heads, texts = append(heads, head), append(texts, text)
		column = max(column, len(head)+3)
	})
	var b strings.Builder
	for i, head := range heads {
		b.WriteString(head + strings.Repeat(" ", column-len(head)))
		wrap(&b, texts[i], column, max(width-column, minText))
	}
	return b.String()
}

// defaultText returns the default where it says something.
func defaultText(f *pflag.Flag) string {
	switch f.DefValue {
	case "", "0", "false", "[]":
		return ""
	}
	if f.Value.Type() == "string" {
		return `"` + f.DefValue + `"`
	}
	return f.DefValue
}

// wrap writes text in lines of width, the lines after the first indented.
func wrap(b *strings.Builder, text string, indent, width int) {
	used := 0
	for _, word := range strings.Fields(text) {
		switch {
		case used == 0:
		case used+1+len(word) > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			used = 0
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += len(word)
	}
	b.WriteByte('\n')
}

package dockerfile

import (
	"strconv"
	"strings"

	"berth/internal/errdefs"
)

// checkMode checks --chmod: octal, or symbolic as chmod(1) has it:
// "u=rwX,go=rX", clauses of who, an operator and permissions.
func checkMode(s string) error {
	bad := func(why string) error {
		return errdefs.New(errdefs.InvalidArgument, "invalid --chmod=%s: %s", s, why).
			WithHint("write it in octal, as 0755, or with letters, as u=rwX,go=rX")
	}
	if s == "" {
		return nil
	}
	if n, err := strconv.ParseUint(s, 8, 32); err == nil {
		if n > 0o7777 {
			return bad("it is above 07777")
		}
		return nil
	}
	if s[0] >= '0' && s[0] <= '9' {
		return bad("it is no octal number")
	}
	for clause := range strings.SplitSeq(s, ",") {
		rest := strings.TrimLeft(clause, "ugoa")
		if rest == "" {
			return bad("a clause has no operator, one of + - =")
		}
		for rest != "" {
			if !strings.ContainsRune("+-=", rune(rest[0])) {
				return bad("the letter " + strconv.Quote(rest[:1]) + " stands where one of + - = is expected")
			}
			rest = strings.TrimLeft(rest[1:], "rwxXstugo")
		}
	}
	return nil
}

package copy

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
)

// Owner is who files shall belong to.
type Owner struct{ UID, GID uint32 }

// maxAccounts bounds /etc/passwd and /etc/group of an image: it may hold a file
// of any size there (CVE-2026-47262).
const maxAccounts = 4 << 20

// maxID is the greatest id accepted: beyond it some programs wrap to 0, which is root (CVE-2024-40635).
const maxID = 1<<31 - 1

// LookUpOwner resolves a --chown ("web", "web:www", "1000", ":www") with the
// passwd(5) and group(5) of the stage whose root is given; an empty text is nil,
// which leaves owners as they are. A user's number without a group means the
// same number as group, a user's name means that user's own group.
func LookUpOwner(root *os.File, chown string) (*Owner, error) {
	if chown == "" {
		return nil, nil
	}
	user, group, hasGroup := strings.Cut(chown, ":")
	var o Owner
	if user != "" {
		id, isNumber, err := parseID(user)
		if err != nil {
			return nil, err
		}
		o = Owner{id, id}
		if !isNumber {
			f, err := account(root, "/etc/passwd", user, 4)
			if err != nil {
				return nil, notThere(err, "user", chown, user, "/etc/passwd")
			}
			uid, ok1, err1 := parseID(f[2])
			gid, ok2, err2 := parseID(f[3])
			if !ok1 || !ok2 || err1 != nil || err2 != nil {
				return nil, errdefs.New(errdefs.InvalidArgument, "--chown=%s: the line of %s in the stage's /etc/passwd has no ids", printable(chown), printable(user))
			}
			o = Owner{uid, gid}
		}
	}
	if hasGroup && group != "" {
		id, isNumber, err := parseID(group)
		if err != nil {
			return nil, err
		}
		if !isNumber {
			f, err := account(root, "/etc/group", group, 3)
			if err != nil {
				return nil, notThere(err, "group", chown, group, "/etc/group")
			}
			var ok bool
			if id, ok, err = parseID(f[2]); !ok || err != nil {
				return nil, errdefs.New(errdefs.InvalidArgument, "--chown=%s: the line of %s in the stage's /etc/group has no id", printable(chown), printable(group))
			}
		}
		o.GID = id
	}
	return &o, nil
}

// errNoEntry is an account that no line is about.
var errNoEntry = errors.New("no such entry")

func notThere(err error, kind, chown, name, file string) error {
	if !errors.Is(err, errNoEntry) {
		return errdefs.Wrap(err, "read", file+" of the stage")
	}
	return errdefs.New(errdefs.InvalidArgument, "--chown=%s: no %s %s in the stage's %s", printable(chown), kind, printable(name), file).
		WithHint("use a number, or make the %s in an earlier step", kind)
}

// account returns the fields of the line about name, at least n of them.
func account(root *os.File, path, name string, n int) ([]string, error) {
	if root == nil {
		return nil, errNoEntry
	}
	text, err := rootpath.ReadFile(root, path, maxAccounts)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil, errNoEntry
	}
	if err != nil {
		return nil, err
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if !strings.HasPrefix(line, name+":") {
			continue
		}
		if f := strings.Split(strings.TrimSuffix(line, "\r"), ":"); len(f) >= n {
			return f, nil
		}
	}
	return nil, errNoEntry
}

// parseID reads a plain decimal id. What merely looks like a number ("+0",
// "0x0", " 0") is a name, and names must have an entry.
func parseID(s string) (id uint32, isNumber bool, err error) {
	digits := strings.TrimPrefix(s, "-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > maxID {
		return 0, true, errdefs.New(errdefs.InvalidArgument, "uids and gids must be in range 0-%d, not %s", maxID, s)
	}
	return uint32(n), true, nil
}

package spec

import (
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"berth/internal/errdefs"
)

// User is a resolved user of a container.
type User struct {
	UID, GID uint32
	Groups   []uint32 // supplementary
	Home     string
}

// OCI returns the user in the specification's form. The primary group is among
// the supplementary ones too, as after a login: else a program that changes its
// primary group would lose it, and with it what the group is denied (CVE-2022-36109).
func (u User) OCI() specs.User {
	groups := append(make([]uint32, 0, len(u.Groups)+1), u.GID)
	for _, g := range u.Groups {
		if g != u.GID {
			groups = append(groups, g)
		}
	}
	return specs.User{UID: u.UID, GID: u.GID, AdditionalGids: groups}
}

// maxID is the greatest id accepted: beyond it some programs wrap to 0, which
// is root (CVE-2024-40635).
const maxID = 1<<31 - 1

// ResolveUser looks up "user", "uid", "user:group" or any mix in the texts of
// the container's own passwd(5) and group(5). A number needs no entry. Extra
// are further groups by name or number (--group-add).
func ResolveUser(user string, extra []string, passwd, group string) (User, error) {
	name, groupName, hasGroup := strings.Cut(user, ":")
	u := User{Home: "/"}
	entry, err := lookUpUser(&u, name, passwd)
	if err != nil {
		return User{}, err
	}
	switch {
	case hasGroup && groupName != "":
		if u.GID, err = lookUpGroup(groupName, group); err != nil {
			return User{}, err
		}
	case entry != "":
		u.Groups = groupsOf(entry, group)
	}
	for _, g := range extra {
		id, err := lookUpGroup(g, group)
		if err != nil {
			return User{}, err
		}
		u.Groups = append(u.Groups, id)
	}
	return u, nil
}

// lookUpUser fills ids and home and returns the entry's name, or "" for a number without an entry.
func lookUpUser(u *User, name, passwd string) (entry string, err error) {
	if name == "" {
		name = "0"
	}
	number, isNumber, err := parseID(name)
	if err != nil {
		return "", err
	}
	for f := range fields(passwd, 7) {
		uid, ok1, err1 := parseID(f[2])
		gid, ok2, err2 := parseID(f[3])
		if !ok1 || !ok2 || err1 != nil || err2 != nil {
			continue
		}
		if f[0] == name || isNumber && uid == number {
			u.UID, u.GID = uid, gid
			if f[5] != "" {
				u.Home = f[5]
			}
			return f[0], nil
		}
	}
	if !isNumber {
		return "", errdefs.New(errdefs.InvalidArgument, "unable to find user %s: no matching entries in passwd file", name).
			WithHint("use a number, or a user that the image's /etc/passwd has")
	}
	u.UID = number
	return "", nil
}

func lookUpGroup(name, group string) (uint32, error) {
	number, isNumber, err := parseID(name)
	if err != nil || isNumber {
		return number, err
	}
	for f := range fields(group, 4) {
		if f[0] == name {
			if gid, ok, err := parseID(f[2]); ok && err == nil {
				return gid, nil
			}
		}
	}
	return 0, errdefs.New(errdefs.InvalidArgument, "unable to find group %s: no matching entries in group file", name).
		WithHint("use a number, or a group that the image's /etc/group has")
}

// groupsOf returns the groups that list the user as a member.
func groupsOf(user, group string) (ids []uint32) {
	for f := range fields(group, 4) {
		for _, member := range strings.Split(f[3], ",") {
			if member == user {
				if gid, ok, err := parseID(f[2]); ok && err == nil {
					ids = append(ids, gid)
				}
				break
			}
		}
	}
	return ids
}

// parseID reads a plain decimal id. What merely looks like a number ("+0",
// "0x0", " 0") is a name, and names must have an entry.
func parseID(s string) (id uint32, isNumber bool, err error) {
	digits := strings.TrimPrefix(s, "-")
	if digits == "" {
		return 0, false, nil
	}
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, false, nil
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > maxID {
		return 0, true, errdefs.New(errdefs.InvalidArgument, "uids and gids must be in range 0-%d, not %s", maxID, s)
	}
	return uint32(n), true, nil
}

// fields yields the colon-separated fields of each line that has at least n (missing last ones count as empty from n-1 on).
func fields(text string, n int) func(func([]string) bool) {
	return func(yield func([]string) bool) {
		for line := range strings.SplitSeq(text, "\n") {
			f := strings.Split(strings.TrimSuffix(line, "\r"), ":")
			if len(f) < n-1 || strings.HasPrefix(line, "#") {
				continue
			}
			for len(f) < n {
				f = append(f, "")
			}
			if !yield(f) {
				return
			}
		}
	}
}

package idpool

import (
	"cmp"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"berth/internal/errdefs"
	"berth/internal/linux/userns"
)

// stretch is Count ids from First on.
type stretch struct{ First, Count uint32 }

func (s stretch) end() uint64 { return uint64(s.First) + uint64(s.Count) }

// entry is a line of subuid(5): ids that belong to a user.
type entry struct {
	Owner string
	IDs   stretch
}

// parseEntries reads "user:first:count" lines. A line that makes no sense is
// passed over, as newuidmap(1) does, unless it is of the user that is asked for.
func parseEntries(text, owner string) (list []entry, err error) {
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		f := strings.Split(line, ":")
		if line == "" || line[0] == '#' {
			continue
		}
		var first, count uint64
		var err1, err2 error
		if len(f) == 3 {
			first, err1 = strconv.ParseUint(f[1], 10, 32)
			count, err2 = strconv.ParseUint(f[2], 10, 32)
		}
		ok := len(f) == 3 && err1 == nil && err2 == nil && first > 0 && count > 0 && first+count <= math.MaxUint32
		if !ok && f[0] == owner {
			return nil, errdefs.New(errdefs.InvalidArgument, "line %d is malformed: %q", number, line).
				WithHint("write %s:FIRST:COUNT, as in %s:%d:%d", owner, owner, defaultIDs.First, defaultIDs.Count)
		}
		if ok {
			list = append(list, entry{f[0], stretch{uint32(first), uint32(count)}})
		}
	}
	return list, nil
}

// available is where ranges are taken from, users and groups apart.
type available struct {
	users, groups []stretch
	barred        []stretch // belongs to others, and may lie within
	named         bool      // by the administrator
}

// ids reads what the administrator gave to containers.
func (p *Pool) ids() (a available, err error) {
	users, othersUsers, err := p.read("subuid")
	if err != nil {
		return a, err
	}
	groups, othersGroups, err := p.read("subgid")
	if err != nil {
		return a, err
	}
	if (users == nil) != (groups == nil) {
		has, lacks := "subuid", "subgid"
		if users == nil {
			has, lacks = lacks, has
		}
		return a, errdefs.New(errdefs.InvalidArgument, "%s/%s has ids for the user %s, and %s/%s has none", p.etc, has, account, p.etc, lacks).
			WithHint("give it ids in both files, or in none")
	}
	if users == nil {
		whole := []stretch{defaultIDs}
		return available{users: whole, groups: whole, barred: append(othersUsers, othersGroups...)}, nil
	}
	return available{users: users, groups: groups, named: true}, nil
}

// read returns the ids of containers in a file, and those of others.
func (p *Pool) read(name string) (ours, others []stretch, err error) {
	path := filepath.Join(p.etc, name)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	list, err := parseEntries(string(text), account)
	if err != nil {
		return nil, nil, errdefs.Wrap(err, "read", path)
	}
	short := false
	for _, e := range list {
		switch {
		case e.Owner != account:
			others = append(others, e.IDs)
		case e.IDs.Count < Size:
			short = true
		default:
			ours = append(ours, e.IDs)
		}
	}
	if short && ours == nil {
		return nil, nil, errdefs.New(errdefs.InvalidArgument, "%s gives the user %s fewer than %d ids", path, account, Size).
			WithHint("a container takes %d, for every user that an image may have", Size)
	}
	return ours, others, nil
}

// free returns a range that overlaps with none of those taken.
func (a available) free(taken map[string]userns.Range) (userns.Range, bool) {
	users, groups := append([]stretch(nil), a.barred...), append([]stretch(nil), a.barred...)
	for _, r := range taken {
		users, groups = append(users, stretch{r.UID, r.Count}), append(groups, stretch{r.GID, r.Count})
	}
	uid, ok := firstFree(a.users, users)
	gid, ok2 := firstFree(a.groups, groups)
	return userns.Range{UID: uid, GID: gid, Count: Size}, ok && ok2
}

// firstFree returns the beginning of the first stretch of Size ids within from
// that overlaps with none of taken, which it sorts.
func firstFree(from, taken []stretch) (uint32, bool) {
	slices.SortFunc(taken, func(a, b stretch) int { return cmp.Compare(a.First, b.First) })
	for _, s := range from {
		at := uint64(s.First)
		for _, t := range taken {
			if uint64(t.First) >= at+Size {
				break // and so do all that follow
			}
			if t.end() > at {
				// Stay on multiples of Size, so that what a short range takes costs one whole one.
				at += (t.end() - at + Size - 1) / Size * Size
			}
		}
		if at+Size <= s.end() {
			return uint32(at), true
		}
	}
	return 0, false
}

// String tells where the ids come from, for people.
func (a available) String() string {
	from := "the default"
	if a.named {
		from = "of " + account + " in /etc/subuid"
	}
	list := make([]string, len(a.users))
	for i, s := range a.users {
		list[i] = strconv.FormatUint(uint64(s.First), 10) + "-" + strconv.FormatUint(s.end()-1, 10)
	}
	return strings.Join(list, ", ") + " (" + from + ")"
}

// Describe tells which ids containers are given, as in "100000-165535 (of
// containers in /etc/subuid)", and how many ranges are taken.
func (p *Pool) Describe() (ids string, taken int, err error) {
	a, err := p.ids()
	if err != nil {
		return "", 0, err
	}
	list, err := p.List()
	return a.String(), len(list), err
}

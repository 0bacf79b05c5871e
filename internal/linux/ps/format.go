package ps

import (
	"errors"
	"strings"

	"berth/internal/errdefs"
)

// Format is the columns to be shown.
type Format struct{ columns []column }

// options are the options of ps as far as they choose columns.
type options struct {
	full, extraFull, long, jobs bool   // -f -F -l -j
	user, bsdLong, bsdJobs, bsd bool   // u l j, and any option without a dash
	list                        string // -o; one list after the other
}

// Parse reads options of ps(1); none mean -ef.
func Parse(args []string) (*Format, error) {
	var o options
	if len(args) == 0 {
		args = []string{"-ef"}
	}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		var err error
		switch {
		case strings.HasPrefix(arg, "--"):
			args, err = o.longOption(arg, args)
		case arg == "" || arg == "-":
			err = refuse(arg)
		default:
			args, err = o.letters(arg, args)
		}
		if err != nil {
			return nil, err
		}
	}
	return o.format()
}

func refuse(option string) error {
	return (&errdefs.Error{Kind: errdefs.InvalidArgument, Op: "show processes with", Subject: "ps option " + option,
		Err: errors.New("it is not known here")}).WithHint("use -ef, -F, -l, -j, aux, or -o with a list of columns, as in -o pid,user,args")
}

// longOption reads --format and --format=list.
func (o *options) longOption(arg string, rest []string) ([]string, error) {
	name, list, ok := strings.Cut(arg, "=")
	switch name {
	case "--format":
		if !ok {
			if len(rest) == 0 {
				return nil, refuse(arg + " without a list")
			}
			list, rest = rest[0], rest[1:]
		}
		return rest, o.addList(list)
	}
	return nil, refuse(arg)
}

// letters reads a group of options of one letter: Unix's after a dash, BSD's without.
func (o *options) letters(arg string, rest []string) ([]string, error) {
	group, dash := strings.CutPrefix(arg, "-")
	o.bsd = o.bsd || !dash
	for i, c := range group {
		if c == 'o' {
			list := group[i+1:]
			if list == "" {
				if len(rest) == 0 {
					return nil, refuse(arg + " without a list")
				}
				list, rest = rest[0], rest[1:]
			}
			return rest, o.addList(list)
		}
		if dash && !o.unixLetter(c) || !dash && !o.bsdLetter(c) {
			return nil, refuse(arg)
		}
	}
	return rest, nil
}

func (o *options) unixLetter(c rune) bool {
	switch c {
	case 'e', 'A', 'a', 'd', 'x', 'w': // which processes, and how wide: all of the container's, and as wide as they are
	case 'f':
		o.full = true
	case 'F':
		o.extraFull = true
	case 'l':
		o.long = true
	case 'j':
		o.jobs = true
	case 'u': // "-u" wants a user; "-aux" is what people type for "aux"
		o.user, o.bsd = true, true
	default:
		return false
	}
	return true
}

func (o *options) bsdLetter(c rune) bool {
	switch c {
	case 'a', 'x', 'w', 'g':
	case 'u':
		o.user = true
	case 'l':
		o.bsdLong = true
	case 'j':
		o.bsdJobs = true
	default:
		return false
	}
	return true
}

func (o *options) addList(list string) error {
	if strings.TrimSpace(list) == "" {
		return refuse("-o without a list")
	}
	if o.list != "" {
		o.list += "\x00"
	}
	o.list += list
	return nil
}

// format returns the columns of the options; a list of the user's wins.
func (o *options) format() (*Format, error) {
	switch {
	case o.list != "":
		f := &Format{}
		for list := range strings.SplitSeq(o.list, "\x00") {
			if err := f.add(list); err != nil {
				return nil, err
			}
		}
		return f, nil
	case o.user:
		return standard("user,pid,pcpu,pmem,vsz,rss,tname,stat,start_time,bsdtime,args")
	case o.bsdLong:
		return standard("f,uid,pid,ppid,priority,ni,vsz,rss,wchan,stat,tname,bsdtime,args")
	case o.bsdJobs:
		return standard("ppid,pid,pgid,sid,tname,tpgid,stat,uid,bsdtime,args")
	case o.extraFull:
		return standard("user=UID,pid,ppid,c,sz,rss,psr,stime,tname,time,cmd")
	case o.full && o.long:
		return standard("f,s,user=UID,pid,ppid,c,opri,ni,addr,sz,wchan,stime,tname,time,cmd")
	case o.full && o.jobs:
		return standard("user=UID,pid,ppid,pgid,sid,c,stime,tname,time,cmd")
	case o.full:
		return standard("user=UID,pid,ppid,c,stime,tname,time,cmd")
	case o.long:
		return standard("f,s,uid,pid,ppid,c,opri,ni,addr,sz,wchan,tname,time,ucmd")
	case o.jobs:
		return standard("pid,pgid,sid,tname,time,ucmd")
	case o.bsd:
		return standard("pid,tname,stat,bsdtime,args")
	}
	return standard("pid,tname,time,ucmd")
}

// standard returns the columns of one list.
func standard(list string) (*Format, error) {
	f := &Format{}
	return f, f.add(list)
}

// add adds the columns of one -o: names divided by commas or blanks; what
// follows "=" up to the comma is a title.
func (f *Format) add(list string) error {
	before := len(f.columns)
	for part := range strings.SplitSeq(list, ",") {
		part, title, titled := strings.Cut(part, "=")
		names := strings.Fields(part)
		if titled && len(names) == 0 {
			return refuse("-o with a title and no name")
		}
		for i, name := range names {
			c, ok := columnOf(strings.ToLower(name))
			if !ok {
				return (&errdefs.Error{Kind: errdefs.InvalidArgument, Op: "show", Subject: "column " + name, Err: errors.New("ps column not known here")}).
					WithHint("known are pid, ppid, user, group, uid, tty, stat, pcpu, pmem, vsz, rss, nice, time, etime, start, comm, args and their like")
			}
			if titled && i == len(names)-1 {
				c.title = title
			}
			f.columns = append(f.columns, c)
		}
	}
	if len(f.columns) == before {
		return refuse("-o without a name")
	}
	return nil
}

// Titles returns the headings of the columns.
func (f *Format) Titles() []string {
	titles := make([]string, len(f.columns))
	for i := range f.columns {
		titles[i] = f.columns[i].title
	}
	return titles
}

// Rows returns a row for each process that is still there, in the order given.
func (f *Format) Rows(pids []int) ([][]string, error) {
	s, err := newSnapshot()
	if err != nil {
		return nil, err
	}
	withArgs := false
	for i := range f.columns {
		withArgs = withArgs || f.columns[i].args
	}
	rows := make([][]string, 0, len(pids))
	for _, pid := range pids {
		p, err := s.read(pid, withArgs)
		if errors.Is(err, errdefs.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		row := make([]string, len(f.columns))
		for i := range f.columns {
			row[i] = f.columns[i].value(s, p)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

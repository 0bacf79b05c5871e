package ps

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// column computes one field of a row.
type column struct {
	title string
	value func(*snapshot, *proc) string
	args  bool // it needs the command line
}

// columnOf returns ps's column of that name. A switch, not a map: a map would
// be filled at every start of the program.
func columnOf(name string) (column, bool) {
	switch name {
	case "args", "cmd", "command":
		title := "COMMAND"
		if name == "cmd" {
			title = "CMD"
		}
		return column{title, commandLine, true}, true
	case "comm", "ucmd", "ucomm":
		title := "COMMAND"
		if name == "ucmd" {
			title = "CMD"
		}
		return column{title, commandName, false}, true
	}
	title, value := identity(name)
	if value == nil {
		title, value = usage(name)
	}
	if value == nil {
		title, value = times(name)
	}
	return column{title, value, false}, value != nil
}

type valueFunc = func(*snapshot, *proc) string

func decimal[T int | int64 | uint64 | uint32](n T) string { return fmt.Sprint(n) }

// identity are the columns that say which process it is.
func identity(name string) (string, valueFunc) {
	switch name {
	case "pid", "tgid":
		return strings.ToUpper(name), func(_ *snapshot, p *proc) string { return decimal(p.pid) }
	case "ppid":
		return "PPID", func(_ *snapshot, p *proc) string { return decimal(p.ppid) }
	case "pgid", "pgrp":
		return strings.ToUpper(name), func(_ *snapshot, p *proc) string { return decimal(p.pgrp) }
	case "sid", "sess", "session":
		return strings.ToUpper(name[:min(len(name), 4)]), func(_ *snapshot, p *proc) string { return decimal(p.session) }
	case "tpgid":
		return "TPGID", func(_ *snapshot, p *proc) string { return decimal(p.tpgid) }
	case "user", "euser", "uname":
		return either(name == "uname", "USER", strings.ToUpper(name)), func(s *snapshot, p *proc) string { return s.users.of(p.uid.effective) }
	case "ruser":
		return "RUSER", func(s *snapshot, p *proc) string { return s.users.of(p.uid.real) }
	case "group", "egroup":
		return strings.ToUpper(name), func(s *snapshot, p *proc) string { return s.groups.of(p.gid.effective) }
	case "rgroup":
		return "RGROUP", func(s *snapshot, p *proc) string { return s.groups.of(p.gid.real) }
	case "uid", "euid":
		return strings.ToUpper(name), func(_ *snapshot, p *proc) string { return decimal(p.uid.effective) }
	case "ruid":
		return "RUID", func(_ *snapshot, p *proc) string { return decimal(p.uid.real) }
	case "gid", "egid":
		return strings.ToUpper(name), func(_ *snapshot, p *proc) string { return decimal(p.gid.effective) }
	case "rgid":
		return "RGID", func(_ *snapshot, p *proc) string { return decimal(p.gid.real) }
	case "tty", "tname", "tt":
		return either(name == "tname", "TTY", "TT"), func(_ *snapshot, p *proc) string { return ttyName(p.tty) }
	}
	return "", nil
}

// either returns a if is holds, else b.
func either[T any](is bool, a, b T) T {
	if is {
		return a
	}
	return b
}

// usage are the columns that say what it is doing and what it takes.
func usage(name string) (string, valueFunc) {
	switch name {
	case "s", "state":
		return "S", func(_ *snapshot, p *proc) string { return string(p.state) }
	case "stat":
		return "STAT", status
	case "f", "flag", "flags":
		return "F", func(_ *snapshot, p *proc) string { return strconv.FormatUint(p.flags>>6&7, 16) }
	case "pcpu", "%cpu":
		return "%CPU", func(s *snapshot, p *proc) string { return fmt.Sprintf("%.1f", s.percentCPU(p)) }
	case "c":
		return "C", func(s *snapshot, p *proc) string { return decimal(int(min(s.percentCPU(p), 99))) }
	case "pmem", "%mem":
		return "%MEM", func(s *snapshot, p *proc) string {
			tenths := p.rss * 1000 / max(s.memTotal, 1)
			return fmt.Sprintf("%d.%d", tenths/10, tenths%10)
		}
	case "vsz", "vsize":
		return "VSZ", func(_ *snapshot, p *proc) string { return decimal(p.vsize) }
	case "rss", "rssize", "rsz":
		return either(name == "rsz", "RSZ", "RSS"), func(_ *snapshot, p *proc) string { return decimal(p.rss) }
	case "sz":
		return "SZ", func(_ *snapshot, p *proc) string { return decimal(p.vsize / 4) }
	case "ni", "nice":
		return "NI", func(_ *snapshot, p *proc) string { return decimal(p.nice) }
	case "pri":
		return "PRI", func(_ *snapshot, p *proc) string { return decimal(39 - p.priority) }
	case "opri", "priority":
		return "PRI", func(_ *snapshot, p *proc) string { return decimal(either[int64](name == "opri", 60, 0) + p.priority) }
	case "rtprio":
		return "RTPRIO", func(_ *snapshot, p *proc) string {
			if p.rtPrio == 0 {
				return "-"
			}
			return decimal(p.rtPrio)
		}
	case "psr":
		return "PSR", func(_ *snapshot, p *proc) string { return decimal(p.processor) }
	case "nlwp", "thcount":
		return either(name == "nlwp", "NLWP", "THCNT"), func(_ *snapshot, p *proc) string { return decimal(p.threads) }
	case "addr":
		return "ADDR", func(*snapshot, *proc) string { return "-" }
	case "wchan":
		return "WCHAN", func(s *snapshot, p *proc) string {
			text, err := s.file("/proc/"+strconv.Itoa(p.pid)+"/wchan", 64)
			if err != nil || len(text) == 0 || string(text) == "0" {
				return "-"
			}
			return clean(text)
		}
	case "cgroup":
		return "CGROUP", func(s *snapshot, p *proc) string {
			text, err := s.file("/proc/"+strconv.Itoa(p.pid)+"/cgroup", 4096)
			if err != nil {
				return "-"
			}
			return groupsBelowRoot(string(text))
		}
	}
	return "", nil
}

// groupsBelowRoot joins the lines of /proc/PID/cgroup but those that say nothing: "5:devices:/".
func groupsBelowRoot(text string) string {
	var list []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); !strings.HasSuffix(line, ":/") {
			list = append(list, clean([]byte(line)))
		}
	}
	if list == nil {
		return "-"
	}
	return strings.Join(list, ",")
}

// times are the columns that say when and how long.
func times(name string) (string, valueFunc) {
	switch name {
	case "time", "cputime":
		return "TIME", func(_ *snapshot, p *proc) string { return dayTime(p.ticks/hertz, true) }
	case "bsdtime":
		return "TIME", func(_ *snapshot, p *proc) string {
			return fmt.Sprintf("%d:%02d", p.ticks/hertz/60, p.ticks/hertz%60)
		}
	case "etime":
		return "ELAPSED", func(s *snapshot, p *proc) string { return dayTime(uint64(s.age(p).Seconds()), false) }
	case "etimes":
		return "ELAPSED", func(s *snapshot, p *proc) string { return decimal(uint64(s.age(p).Seconds())) }
	case "stime", "start_time":
		return either(name == "stime", "STIME", "START"), func(s *snapshot, p *proc) string {
			begin := s.now.Add(-s.age(p))
			switch {
			case begin.Year() != s.now.Year():
				return begin.Format("2006")
			case begin.YearDay() != s.now.YearDay():
				return begin.Format("Jan02")
			}
			return begin.Format("15:04")
		}
	case "start", "bsdstart":
		return either(name == "start", "STARTED", "START"), func(s *snapshot, p *proc) string {
			begin := s.now.Add(-s.age(p))
			switch {
			case s.age(p) > 24*time.Hour:
				return begin.Format("Jan 02")
			case name == "start":
				return begin.Format("15:04:05")
			}
			return begin.Format("15:04")
		}
	case "lstart":
		return "STARTED", func(s *snapshot, p *proc) string { return s.now.Add(-s.age(p)).Format("Mon Jan _2 15:04:05 2006") }
	}
	return "", nil
}

// age returns how long ago the process started.
func (s *snapshot) age(p *proc) time.Duration {
	return max(s.sinceUp-time.Duration(p.start)*(time.Second/hertz), 0)
}

// percentCPU is the share of one CPU over the whole life, which is what ps shows.
func (s *snapshot) percentCPU(p *proc) float64 {
	age := s.age(p)
	if age <= 0 {
		return 0
	}
	return 100 * float64(p.ticks) / hertz / age.Seconds()
}

// dayTime writes [DD-]HH:MM:SS; without long the hours are left out when zero.
func dayTime(seconds uint64, long bool) string {
	days, hours, minutes := seconds/86400, seconds/3600%24, seconds/60%60
	switch {
	case days > 0:
		return fmt.Sprintf("%02d-%02d:%02d:%02d", days, hours, minutes, seconds%60)
	case long || hours > 0:
		return fmt.Sprintf("%02d:%02d:%02d", hours, minutes, seconds%60)
	}
	return fmt.Sprintf("%02d:%02d", minutes, seconds%60)
}

// ttyName turns a device number into a name: the host's, as a container's
// terminal may have any name inside (the kernel's Documentation/admin-guide/devices.txt).
func ttyName(dev int64) string {
	major, minor := dev>>8&0xfff, dev&0xff|dev>>12&0xfff00
	switch {
	case dev == 0:
		return "?"
	case major >= 136 && major <= 143:
		return fmt.Sprintf("pts/%d", minor+(major-136)<<8)
	case major == 4 && minor < 64:
		return fmt.Sprintf("tty%d", minor)
	case major == 4:
		return fmt.Sprintf("ttyS%d", minor-64)
	case major == 229:
		return fmt.Sprintf("hvc%d", minor)
	case major == 204:
		return fmt.Sprintf("ttyAMA%d", minor-64)
	}
	return "?"
}

// status is the state with ps's letters for what else holds.
func status(_ *snapshot, p *proc) string {
	b := []byte{p.state}
	add := func(is bool, c byte) {
		if is {
			b = append(b, c)
		}
	}
	add(p.nice < 0, '<')
	add(p.nice > 0, 'N')
	add(p.locked > 0, 'L')
	add(p.session == int64(p.pid), 's')
	add(p.threads > 1, 'l')
	add(p.tpgid == p.pgrp, '+')
	return string(b)
}

func commandName(_ *snapshot, p *proc) string {
	if p.state == 'Z' {
		return p.comm + " <defunct>"
	}
	return p.comm
}

// commandLine is the name in brackets where there are no arguments: a zombie, a thread of the kernel.
func commandLine(_ *snapshot, p *proc) string {
	switch {
	case p.state == 'Z':
		return "[" + p.comm + "] <defunct>"
	case p.args == "":
		return "[" + p.comm + "]"
	}
	return p.args
}

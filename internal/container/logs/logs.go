// Package logs provides the log of a container: the writer in its monitor and
// the reader behind the logs command.
//
// A log is the file ROOT/containers/<id>/<id>-json.log in Docker's json-file
// format, one line for each line of output:
//
//	{"log":"hello\n","stream":"stdout","time":"2026-01-02T03:04:05.678901234Z"}
//
// A line of output without its newline is a part of a longer one: lines of more
// than 16 KiB are kept in parts of that size, as Docker does. What is not UTF-8
// becomes U+FFFD, since JSON has no other text.
//
// The file is capped and rotated by default, for a program that floods its
// output must not fill the disk: log, log.1, log.2.
package logs

import (
	"strconv"

	"berth/internal/errdefs"
	"berth/internal/units"
)

// Drivers of logs.
const (
	JSONFile = "json-file"
	None     = "none"
)

// The cap that is used unless the user sets another.
const (
	defaultMaxSize = 10 << 20
	defaultFiles   = 3
)

// Options say how much of a log is kept.
type Options struct {
	Driver  string // JSONFile, also when empty, or None
	MaxSize int64  // bytes of one file; 0: the default, 10 MiB; -1: no limit
	Files   int    // how many files, the newest included; 0: the default, 3
}

// ParseOptions checks a log driver and its options (--log-driver, --log-opt).
func ParseOptions(driver string, config map[string]string) (Options, error) {
	o := Options{Driver: driver}
	switch driver {
	case "":
		o.Driver = JSONFile
	case JSONFile, None:
	default:
		return o, errdefs.New(errdefs.InvalidArgument, "logger: no log driver named '%s' is registered", driver).
			WithHint("use --log-driver json-file or none")
	}
	for key, value := range config {
		var err error
		switch {
		case o.Driver == None:
			err = unknownOption(key, o.Driver)
		case key == "max-size":
			o.MaxSize, err = parseMaxSize(value)
		case key == "max-file":
			o.Files, err = strconv.Atoi(value)
			if err == nil && o.Files < 1 {
				err = errdefs.New(errdefs.InvalidArgument, "max-file cannot be less than 1")
			} else if err != nil {
				err = errdefs.New(errdefs.InvalidArgument, "invalid value for max-file: %s", value)
			}
		default:
			err = unknownOption(key, o.Driver)
		}
		if err != nil {
			return o, err
		}
	}
	return o, nil
}

func parseMaxSize(value string) (int64, error) {
	if value == "-1" {
		return -1, nil
	}
	n, err := units.ParseBytes(value)
	if err != nil {
		return 0, errdefs.New(errdefs.InvalidArgument, "invalid value for max-size: %w", err)
	}
	if n == 0 {
		return 0, errdefs.New(errdefs.InvalidArgument, "max-size must be a positive number")
	}
	return n, nil
}

func unknownOption(key, driver string) error {
	return errdefs.New(errdefs.InvalidArgument, "unknown log opt '%s' for %s log driver", key, driver).
		WithHint("json-file knows max-size and max-file, none knows no options")
}

package build

import (
	"fmt"
	"strings"
)

// destination is an --output: what the result becomes and where that goes.
type destination struct {
	kind  string // "image", "local", "tar", "oci", "docker", "cacheonly"
	dest  string // a path; "-": standard output; "": the kind's default
	push  bool
	names []string // name=, of an image
	attrs map[string]string
}

// parseDestination reads "type=tar,dest=out.tar", or the short forms "dir" (the
// files of the result) and "-" (the same as a tar on standard output).
func parseDestination(s string) (destination, error) {
	fields, err := parseFields(s)
	if err != nil {
		return destination{}, err
	}
	if len(fields) == 1 && !fields[0].ok {
		if s == "-" {
			return destination{kind: "tar", dest: "-"}, nil
		}
		return destination{kind: "local", dest: s}, nil
	}
	out := destination{attrs: map[string]string{}}
	for _, f := range fields {
		switch {
		case !f.ok:
			return out, fmt.Errorf("invalid value %s", f.key)
		case f.key == "type":
			out.kind = f.value
		case f.key == "dest":
			out.dest = f.value
		case f.key == "push":
			out.push = f.value == "true" || f.value == "1"
		case f.key == "name":
			for n := range strings.SplitSeq(f.value, ",") {
				if _, err := checkTag(n); err != nil {
					return out, err
				}
				out.names = append(out.names, n)
			}
		default:
			out.attrs[f.key] = f.value
		}
	}
	return out, out.check()
}

func (o *destination) check() error {
	switch o.kind {
	case "":
		return fmt.Errorf("type is required for output")
	case "registry":
		o.kind, o.push = "image", true
	case "image", "oci", "docker", "cacheonly":
	case "tar":
	case "local":
		if o.dest == "" {
			return fmt.Errorf("dest is required for local output")
		}
		if o.dest == "-" {
			return fmt.Errorf("dest cannot be stdout for local output")
		}
	default:
		return fmt.Errorf("unsupported output type %q: berth has image, local, tar, oci, docker", o.kind)
	}
	if o.kind == "docker" && o.dest == "" {
		o.kind = "image" // docker's own store: here it is berth's
	}
	if o.kind == "oci" && o.dest == "" && o.attrs["tar"] == "false" {
		return fmt.Errorf("dest is required for oci output without tar")
	}
	if o.kind == "image" && o.dest != "" {
		return fmt.Errorf("dest is not supported for image output")
	}
	return nil
}

// toStdout reports whether the output is a stream on standard output.
func (o *destination) toStdout() bool {
	return o.dest == "-" || o.dest == "" && (o.kind == "tar" || o.kind == "oci")
}

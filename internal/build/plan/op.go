package plan

import "time"

// Op is what a step does to the files: *Run, *Copy or *MakeDir.
type Op interface{ op() }

func (*Run) op()     {}
func (*Copy) op()    {}
func (*MakeDir) op() {}

// Run executes a program in the stage's files.
type Run struct {
	Args []string // the program and its arguments; the shell is already in front
	// Files appear read-only inside while the program runs: a here-document that
	// begins with #! is one, at /dev/pipes/<name>.
	Files []File
	Env   []string // NAME=value, the image's and the ARGs in scope
	// Proxy are the proxy variables that the user gave as build arguments, in
	// capitals and small letters. The program sees them where Env does not say
	// otherwise; they are no part of the step's key, for another proxy makes no other image.
	Proxy  []string
	Dir    string // absolute
	User   string // "", "web", "1000:1000"
	Mounts []Mount
	// Hostname is what the program sees as the machine's name; "": the runner's choice.
	Hostname string
	// Network is "default", "none" or "host".
	Network string
	// Insecure is RUN --security=insecure: it needs the user's consent.
	Insecure bool
}

// File is a small file that is part of the Dockerfile (a here-document).
type File struct {
	Name string // as the Dockerfile names it
	Data []byte
	Mode uint32
}

// MountType is the kind of a RUN --mount.
type MountType string

// The kinds of mounts of a RUN step (Dockerfile reference, "RUN --mount").
const (
	MountBind   MountType = "bind"
	MountCache  MountType = "cache"
	MountTmpfs  MountType = "tmpfs"
	MountSecret MountType = "secret"
	MountSSH    MountType = "ssh"
)

// Mount is one RUN --mount.
type Mount struct {
	Type     MountType
	Target   string // absolute; "" for a secret that is only in Env
	From     Source // bind and cache
	Path     string // below From, absolute
	ReadOnly bool
	ID       string // cache, secret, ssh
	Sharing  string // cache: "shared", "private", "locked"
	Required bool   // secret, ssh
	Env      string // secret: the variable that holds it
	// Mode is that of a cache's top directory, a secret or a socket; the default
	// is filled in. 0 for a cache that starts as a copy of From: keep the source's.
	Mode     uint32
	UID, GID uint32 // cache, secret, ssh
	Size     int64  // tmpfs; 0: no limit
}

// Source is where files come from: exactly one field is set, none for the main
// build context.
type Source struct {
	Stage   *Stage
	Image   *Image
	Context string // a named context
	Scratch bool   // an empty tree
}

// Copy is COPY and ADD: it puts files into the stage.
type Copy struct {
	From Source
	// Paths are in From, absolute and cleaned, and may hold wildcards. With
	// Parents one may hold "/./": only what follows it is made anew below Dest.
	Paths []string
	Files []File // here-documents, besides Paths
	// Remote are ADD's URLs and git addresses, besides Paths.
	Remote []string
	Dest   string // absolute; a trailing slash says that it is a directory
	// Chown is "", "user", "user:group" or numbers; names are looked up in the
	// stage's own files.
	Chown string
	// Chmod is "", octal ("0755") or symbolic ("u=rwX,go=rX").
	Chmod string
	// Link makes the layer independent of what lies below it.
	Link    bool
	Parents bool
	Exclude []string
	// Unpack says what ADD does with archives; COPY never unpacks.
	Unpack     Unpack
	Checksum   string // what the one remote is: "sha256:..." of a file, a commit of a repository
	KeepGitDir bool
	Created    *time.Time // files get this time; nil: keep the source's
}

// Unpack is ADD --unpack.
type Unpack int

// The ways to treat an archive among the sources.
const (
	UnpackNever Unpack = iota
	UnpackLocal        // archives of the context, not those from URLs: ADD's default
	UnpackAlways
)

// MakeDir is WORKDIR: the directory is there afterwards.
type MakeDir struct {
	Path string
	User string // the owner if it has to be made; "" is root
	// Created is the time of a directory that has to be made; nil: now.
	Created *time.Time
}

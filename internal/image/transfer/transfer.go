package transfer

import (
	"context"
	"io"
	"time"

	"berth/internal/image/catalog"
	"berth/internal/oci"
	"berth/internal/storage/snapshot"
)

// DefaultParallel is how many layers are fetched at once, as in Docker.
const DefaultParallel = 3

// DefaultParallelPush is how many layers are sent at once, as in Docker.
const DefaultParallelPush = 5

// Store receives images into one data root.
type Store struct {
	images   *catalog.Store
	layers   *snapshot.Store
	parallel int
	now      func() time.Time

	// How blobs are divided: from what size on, into ranges of what size, and
	// how many are fetched at once.
	rangesFrom, rangeSize int64
	ranges                int
}

// New returns the Store of a data root. parallel is how many layers are fetched
// at once; 0 means DefaultParallel.
func New(dataRoot string, parallel int) *Store {
	if parallel <= 0 {
		parallel = DefaultParallel
	}
	return &Store{images: catalog.Open(dataRoot), layers: snapshot.Open(dataRoot), parallel: parallel, now: time.Now,
		rangesFrom: rangesFrom, rangeSize: rangeSize, ranges: DefaultRanges}
}

// keepPartial is how long a download that nobody goes on with is kept.
const keepPartial = 7 * 24 * time.Hour

// sweep is what every transfer does first.
func (s *Store) sweep() error {
	_, err := s.images.SweepDownloads(s.now().Add(-keepPartial))
	return err
}

// Source is where images are pulled from: one repository of a registry. ref is
// a tag or a digest.
type Source interface {
	// Resolve returns the descriptor of a manifest or index.
	Resolve(ctx context.Context, ref string) (oci.Descriptor, error)
	// Manifest fetches it. The descriptor's digest is that of the bytes, and
	// ref's, if ref is a digest.
	Manifest(ctx context.Context, ref string) (oci.Descriptor, []byte, error)
	// Blob returns the bytes [from, to) of a blob, unchecked; ctx must outlive
	// the reader. whole says that the source knows no ranges: the reader then
	// goes on from from to the blob's end, and to ask for several parts at once
	// would bring the same bytes again and again.
	Blob(ctx context.Context, d oci.Descriptor, from, to int64) (r io.ReadCloser, whole bool, err error)
	// Tags lists the repository's tags.
	Tags(ctx context.Context) ([]string, error)
}

// Event is one step of a transfer, for whoever watches.
type Event struct {
	ID     string // of a layer (12 digits) or the tag being pulled; "" for the whole
	Status Status
	// Detail follows the status where one names something: "Digest: sha256:...".
	Detail string
	// Current and Total are bytes, of a status with progress; Total may be 0 for unknown.
	Current, Total int64
}

// Status is what happens, in Docker's words.
type Status string

// The statuses of a layer, in their usual order, and those of a whole image.
const (
	Pulling       Status = "Pulling fs layer"
	Waiting       Status = "Waiting"
	WaitingFor    Status = "Waiting for another pull of the same" // Detail: "image" or "layer"
	Downloading   Status = "Downloading"
	Verifying     Status = "Verifying Checksum"
	Downloaded    Status = "Download complete"
	Extracting    Status = "Extracting"
	Complete      Status = "Pull complete"
	AlreadyExists Status = "Already exists"
	Loading       Status = "Loading layer"
	Importing     Status = "Importing"

	Preparing   Status = "Preparing"
	Pushing     Status = "Pushing"
	LayerPushed Status = "Pushed"
	LayerExists Status = "Layer already exists"
	Mounted     Status = "Mounted from"

	PullingFrom Status = "Pulling from"
	DigestIs    Status = "Digest:"
)

// HasProgress reports whether events of this status come many times, with Current and Total.
func (s Status) HasProgress() bool {
	return s == Downloading || s == Extracting || s == Loading || s == Importing || s == Pushing
}

// Report is called with each event, by several goroutines at once. It must not block for long.
type Report func(Event)

// send calls r if there is one.
func (r Report) send(e Event) {
	if r != nil {
		r(e)
	}
}

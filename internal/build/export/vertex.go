package export

import (
	"time"

	"berth/internal/build/cache"
	"berth/internal/build/progress"
	"berth/internal/oci"
)

// vertex is an export in the build's progress.
type vertex struct {
	sink progress.Sink
	id   oci.Digest
}

func begin(sink progress.Sink, name string) *vertex {
	v := &vertex{sink, cache.NewKey("vertex").Add("export", name).Sum()}
	sink.Send(&progress.Started{Vertex: progress.Vertex{ID: v.id, Name: name}, Time: time.Now()})
	return v
}

// part shows a piece of the work that has begun; what is returned ends it.
func (v *vertex) part(name string) (done func()) {
	started := time.Now()
	v.sink.Send(&progress.Transfer{ID: v.id, Name: name, Started: started, Time: started})
	return func() {
		now := time.Now()
		v.sink.Send(&progress.Transfer{ID: v.id, Name: name, Started: started, Completed: now, Time: now})
	}
}

func (v *vertex) finish(err error) {
	v.sink.Send(&progress.Finished{ID: v.id, Err: err, Time: time.Now()})
}

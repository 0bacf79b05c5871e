// Package progress provides the events of a build as values: what the solver
// and the exporters report while they work, and what the printers of --progress
// show.
//
// A build is a graph of vertexes: a step of the Dockerfile, a base image, the
// sending of the context, an export. The life of a vertex in events:
//
//	Started                once; a vertex that is not needed has no event at all
//	Running                RUN only, when its program starts: nothing was cached
//	Output, Transfer       any number, in between
//	Finished               once, after every Started: done, cached, failed or cancelled
//
// Events of one vertex come in this order; those of vertexes that work at the
// same time are mixed. Text tells of instructions that change only the config
// (ENV, CMD) too, as vertexes with ConfigOnly: Docker's classic output counts
// them, BuildKit's leaves them out. Everything that one of the forms needs is in
// the values, so that no printer asks the solver back:
//
//	plain, tty   "#5 [build 2/4] RUN make", "#5 CACHED", "#5 DONE 0.3s", "#5 0.1 text": Vertex.Name, times
//	rawjson      BuildKit's SolveStatus: vertexes, statuses (Transfer), logs (Output), warnings
//	classic      "Step 3/7 : RUN make", " ---> Running in 1a2b", " ---> Using cache", " ---> 3c4d": Number, Total, Text, State
package progress

// Package solve carries a plan out: it makes the files of the target stage and
// of the stages that it needs, or finds them in the cache.
//
// A plan is a graph. Its stages depend on each other by FROM and by COPY --from;
// stages that do not are worked on at the same time, within a stage one step
// follows the other. For each step:
//
//	key      a digest of the key below and of everything that the step reads
//	lock     of that key: who computes the same, in whatever process, waits here
//	look     in the cache: a layer of that key that lies on the layer we stand on
//	work     otherwise, in a draft of the layer store: RUN by the Runner, COPY and WORKDIR here
//	record   the draft becomes a layer, and the cache names it
//
// A step that changes nothing makes no layer; its key then names the layer
// below. Instructions that change only the config never come here: the stage's
// config is in the plan.
//
// Everything that a build stands on is kept by a lease of the catalog until
// Result.Close, so that no prune takes it away; what a killed build leaves is a
// draft or a layer that nothing names, and the next collection removes it.
package solve

// Package plan provides the values that a build is made of: what a Dockerfile
// asks for, with every variable filled in and every default said, before
// anything has been done.
//
// A Dockerfile is a recipe in stages. A stage begins from a base (an image, an
// earlier stage, or nothing: "scratch") and goes on in steps. A step that
// changes files has an Op and makes a layer; a step that changes only how the
// image will be run (ENV, CMD, LABEL) has none. The last stage, or the one that
// the user named as target, becomes the image; the others exist for COPY --from.
//
// build/dockerfile makes plans from text, build/solve carries them out. They
// meet here and nowhere else: no value of this package holds an open file, a
// path of the store, or the content of a secret.
package plan

package oci

import (
	"reflect"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestFieldParity holds our structs to the specification's: every JSON field of
// theirs is one of ours, of the same shape.
func TestFieldParity(t *testing.T) {
	for _, c := range []struct {
		ours, theirs any
		extra        string // fields that only Docker has
	}{
		{Descriptor{}, v1.Descriptor{}, ""},
		{Manifest{}, v1.Manifest{}, ""},
		{Index{}, v1.Index{}, ""},
		{Platform{}, v1.Platform{}, ""},
		{ImageConfig{}, v1.Image{}, "docker_version comment parent"},
		{RunConfig{}, v1.ImageConfig{}, "OnBuild Shell Healthcheck"},
		{RootFS{}, v1.RootFS{}, ""},
		{History{}, v1.History{}, ""},
	} {
		ours, theirs := jsonFields(reflect.TypeOf(c.ours)), jsonFields(reflect.TypeOf(c.theirs))
		for name, typ := range theirs {
			if ours[name] != typ {
				t.Errorf("%T: field %q is %q, the specification's is %q", c.ours, name, ours[name], typ)
			}
		}
		for name := range ours {
			if _, ok := theirs[name]; !ok && !strings.Contains(" "+c.extra+" ", " "+name+" ") {
				t.Errorf("%T: field %q is not in the specification", c.ours, name)
			}
		}
	}
}

// jsonFields returns the fields of a struct as encoding/json sees them: tag
// with options, and the kind of JSON value.
func jsonFields(typ reflect.Type) map[string]string {
	fields := map[string]string{}
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.Anonymous {
			for name, v := range jsonFields(f.Type) {
				fields[name] = v
			}
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Type.Kind() == reflect.Struct {
			options = "" // omitempty does nothing to a struct
		}
		fields[name] = f.Type.Kind().String() + "," + options
	}
	return fields
}

func TestMediaTypes(t *testing.T) {
	for ours, theirs := range map[string]string{
		MediaTypeIndex: v1.MediaTypeImageIndex, MediaTypeManifest: v1.MediaTypeImageManifest, MediaTypeConfig: v1.MediaTypeImageConfig,
		MediaTypeLayer: v1.MediaTypeImageLayer, MediaTypeLayerGzip: v1.MediaTypeImageLayerGzip, MediaTypeLayerZstd: v1.MediaTypeImageLayerZstd,
	} {
		if ours != theirs {
			t.Errorf("%s is %s in the specification", ours, theirs)
		}
	}
	//lint:ignore SA1019 berth refuses these layers, so it has to know them
	if !(Descriptor{MediaType: v1.MediaTypeImageLayerNonDistributableGzip}).IsForeign() || (Descriptor{MediaType: MediaTypeLayer}).IsForeign() {
		t.Error("IsForeign")
	}
}

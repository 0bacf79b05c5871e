// Package sourcetest makes archives for the tests of a build's sources.
package sourcetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// Tar makes an archive. Every regular file in it holds "hello".
func Tar(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		body := ""
		if h.Typeflag == 0 || h.Typeflag == tar.TypeReg {
			body = "hello"
			h.Size = int64(len(body))
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		must(t, w.WriteHeader(&h))
		_, err := io.WriteString(w, body)
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

// Gzip packs b.
func Gzip(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	must(t, err)
	must(t, w.Close())
	return out.Bytes()
}

// The archive of Packed as bzip2 and xz pack it: no library here writes bzip2.
const (
	bzipped = "QlpoOTFBWSZTWW4O/PAAAH37kNkAAMJAAG+AAADn7p4ABAAACCAAdRE01PSPUNA00APTUEkpoABoAGgQ3+1rmchBCZISHvaTDueNpUCGQwPiEnMKdTsxACCWozvuQz0lCBISPDpdvF5rb3v6iiL6MbZOSD8XckU4UJBuDvzw"
	xzipped = "/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4Cf/AHVdADMAM1AYaImDAdziU5IPeaVACzDL2/PZduNZrQ2nwLdxDg7NRfag7pSHogCFR+leR3LcUMRfBPPwLYP523H5ANyMvVd4BVY/1g1Ebe90vnxSomr4JCbfBL9bkCz4hqfuKcLP2g8rauPt6xGOM+h9X7SIDya7AAAAAABlvmI1ta65nwABkQGAUAAAAKDqqbHEZ/sCAAAAAARZWg=="
)

// Packed is one archive, of a file "f" of owner 5:6, in each way that it may be packed.
func Packed(t testing.TB) map[string][]byte {
	t.Helper()
	plain := Tar(t, tar.Header{Name: "f", Uid: 5, Gid: 6})
	z, err := zstd.NewWriter(nil)
	must(t, err)
	all := map[string][]byte{"plain": plain, "gzip": Gzip(t, plain), "zstd": z.EncodeAll(plain, nil)}
	for name, text := range map[string]string{"bzip2": bzipped, "xz": xzipped} {
		all[name], err = base64.StdEncoding.DecodeString(text)
		must(t, err)
	}
	return all
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package ustar

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/errdefs"
)

// entry is an entry whole, for comparing.
type entry struct {
	Header Header
	Data   string
}

// readAll reads a stream with the holes of sparse files filled in.
func readAll(r *Reader, limit int64) ([]entry, error) {
	var all []entry
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		e := entry{Header: *h}
		e.Header.Xattrs = append([]Xattr(nil), h.Xattrs...)
		var data []byte
		for {
			chunk, err := r.Data()
			if err != nil {
				return all, err
			}
			if len(chunk) == 0 {
				break
			}
			data = append(data, chunk...)
		}
		if extents, sparse := r.Sparse(); sparse {
			if h.Size > limit {
				return all, fmt.Errorf("sparse file of %d bytes", h.Size)
			}
			whole := make([]byte, h.Size)
			for _, x := range extents {
				data = data[copy(whole[x.Offset:x.Offset+x.Length], data):]
			}
			data = whole
		}
		e.Data = string(data)
		all = append(all, e)
	}
}

// stdReadAll reads a stream by the standard library into the same form.
func stdReadAll(r io.Reader, limit int64) ([]entry, error) {
	var all []entry
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if h.Size > limit {
			return all, fmt.Errorf("file of %d bytes", h.Size)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			return all, err
		}
		e := entry{Header{
			Name: h.Name, Link: h.Linkname, Type: h.Typeflag, Mode: uint32(h.Mode & 0o7777), UID: int64(h.Uid), GID: int64(h.Gid),
			Size: h.Size, Major: uint32(h.Devmajor), Minor: uint32(h.Devminor), Mtime: Time{h.ModTime.Unix(), int64(h.ModTime.Nanosecond())},
		}, string(data)}
		if h.Typeflag == tar.TypeGNUSparse || h.Typeflag == tar.TypeCont {
			e.Header.Type = TypeReg
		}
		switch e.Header.Type {
		case TypeLink, TypeSymlink, TypeChar, TypeBlock, TypeDir, TypeFifo:
			e.Header.Size = 0
		}
		for k, v := range h.PAXRecords {
			if name, ok := strings.CutPrefix(k, xattrPrefix); ok {
				e.Header.Xattrs = append(e.Header.Xattrs, Xattr{name, v})
			}
		}
		slices.SortFunc(e.Header.Xattrs, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
		all = append(all, e)
	}
}

func sample() []entry {
	long := strings.Repeat("directory/", 30) + "file"
	return []entry{
		{Header{Name: "a", Type: TypeReg, Mode: 0o644, Size: 5, Mtime: Time{Sec: 1700000000}}, "hello"},
		{Header{Name: "empty", Type: TypeReg, Mode: 0o4755, UID: 1000, GID: 1001}, ""},
		{Header{Name: "dir/", Type: TypeDir, Mode: 0o1777, Mtime: Time{Sec: 1}}, ""},
		{Header{Name: strings.Repeat("n", 100), Type: TypeReg, Mode: 0o600, Size: 1}, "x"},
		{Header{Name: strings.Repeat("d", 155) + "/" + strings.Repeat("n", 100), Type: TypeReg, Mode: 0o600, Size: 1}, "y"},
		{Header{Name: strings.Repeat("d", 150) + "/" + strings.Repeat("n", 99) + "/", Type: TypeDir, Mode: 0o700}, ""},
		{Header{Name: long, Type: TypeReg, Mode: 0o600, Size: 512}, strings.Repeat("z", 512)},
		{Header{Name: strings.Repeat("q", 101), Type: TypeReg, Mode: 0o600, Size: 513}, strings.Repeat("z", 513)},
		{Header{Name: "link", Link: long, Type: TypeSymlink, Mode: 0o777}, ""},
		{Header{Name: "hard", Link: "a", Type: TypeLink, Mode: 0o644}, ""},
		{Header{Name: "null", Type: TypeChar, Mode: 0o666, Major: 1, Minor: 3}, ""},
		{Header{Name: "sda", Type: TypeBlock, Mode: 0o660, Major: 259, Minor: 1048575}, ""},
		{Header{Name: "pipe", Type: TypeFifo, Mode: 0o600}, ""},
		{Header{Name: "big-ids", Type: TypeReg, UID: 4294967294, GID: 2097152}, ""},
		{Header{Name: "old", Type: TypeReg, Mtime: Time{Sec: -2, Nsec: 750000000}}, ""},
		{Header{Name: "almost", Type: TypeReg, Mtime: Time{Sec: -1, Nsec: 500000000}}, ""},
		{Header{Name: "exact", Type: TypeReg, Mtime: Time{Sec: 1700000000, Nsec: 1}}, ""},
		{Header{Name: "future", Type: TypeReg, Mtime: Time{Sec: 1 << 34}}, ""},
		{Header{Name: "caps", Type: TypeReg, Mode: 0o755, Xattrs: []Xattr{{"security.capability", "\x01\x00\x00\x02\x00\n="}, {"user.empty", ""}}}, ""},
		{Header{Name: "grün/\xff\xfe\n", Type: TypeReg}, ""},
		{Header{Name: strings.Repeat("ü", 80) + "\xff", Type: TypeReg}, ""},
		{Header{Name: "large", Type: TypeReg, Size: 700001}, strings.Repeat("0123456", 100001)[:700001]},
	}
}

// write makes a stream of the entries.
func write(t testing.TB, w io.Writer, entries []entry) {
	t.Helper()
	tw := NewWriter(w)
	for _, e := range entries {
		if err := tw.Header(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, e.Data); err != nil {
			t.Fatal(err)
		}
		tw.Pad(int64(len(e.Data)))
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWriteRead(t *testing.T) {
	t.Parallel()
	want := sample()
	var b bytes.Buffer
	write(t, &b, want)
	for name, src := range map[string]io.Reader{
		"whole": bytes.NewReader(b.Bytes()), "halves": iotest.HalfReader(bytes.NewReader(b.Bytes())), "data+EOF": iotest.DataErrReader(bytes.NewReader(b.Bytes())),
	} {
		var tee bytes.Buffer
		r := NewReader(src, &tee, Limits{})
		got, err := readAll(r, 1<<30)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := r.Drain(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if !bytes.Equal(tee.Bytes(), b.Bytes()) || r.Taken() != int64(b.Len()) {
			t.Errorf("%s: the tee differs from the stream", name)
		}
	}
	got, err := stdReadAll(&b, 1<<30)
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("archive/tar reads it otherwise: %v %s", err, d)
	}
}

func TestReadsWhatTheStandardLibraryWrites(t *testing.T) {
	t.Parallel()
	for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
		var b bytes.Buffer
		tw := tar.NewWriter(&b)
		n := 0
		for _, e := range sample() {
			h := &tar.Header{
				Name: e.Header.Name, Linkname: e.Header.Link, Typeflag: e.Header.Type, Mode: int64(e.Header.Mode), Uid: int(e.Header.UID), Gid: int(e.Header.GID), Size: e.Header.Size,
				Devmajor: int64(e.Header.Major), Devminor: int64(e.Header.Minor), ModTime: time.Unix(e.Header.Mtime.Sec, e.Header.Mtime.Nsec), Format: format,
			}
			if format == tar.FormatPAX && len(e.Header.Xattrs) > 0 {
				h.PAXRecords = map[string]string{}
				for _, x := range e.Header.Xattrs {
					h.PAXRecords[xattrPrefix+x.Name] = x.Value
				}
			}
			if tw.WriteHeader(h) != nil {
				continue // this format cannot say it
			}
			n++
			if _, err := io.WriteString(tw, e.Data); err != nil {
				t.Fatal(err)
			}
		}
		tw.Close()
		compare(t, fmt.Sprint(format), b.Bytes(), n)
	}
}

// compare reads data by both readers, which must agree on at least n entries.
func compare(t *testing.T, name string, data []byte, n int) {
	t.Helper()
	want, err := stdReadAll(bytes.NewReader(data), 1<<30)
	if err != nil {
		t.Fatalf("%s: archive/tar: %v", name, err)
	}
	got, err := readAll(NewReader(bytes.NewReader(data), nil, Limits{}), 1<<30)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if d := cmp.Diff(want, got); d != "" || len(got) < n {
		t.Errorf("%s: %d entries, want %d: %s", name, len(got), n, d)
	}
}

func TestReadsWhatGNUTarWrites(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("tar"); err != nil {
		t.Skip("no tar program")
	}
	dir := t.TempDir()
	deep := filepath.Join(dir, strings.Repeat("a-long-name/", 30))
	check(t, os.MkdirAll(deep, 0o755))
	check(t, os.WriteFile(filepath.Join(deep, strings.Repeat("f", 200)), []byte("deep"), 0o644))
	check(t, os.Symlink(strings.Repeat("t/", 100), filepath.Join(dir, "link")))
	f, err := os.Create(filepath.Join(dir, "sparse"))
	check(t, err)
	for i := range 60 { // more runs than any one header block holds
		_, err := f.WriteAt([]byte(fmt.Sprint("data ", i)), int64(i)<<17+int64(i))
		check(t, err)
	}
	check(t, f.Truncate(60<<17+12345))
	f.Close()
	check(t, os.Truncate(filepath.Join(dir, "sparse"), 60<<17+12345))
	check(t, os.WriteFile(filepath.Join(dir, "hole"), nil, 0o644))
	check(t, os.Truncate(filepath.Join(dir, "hole"), 1<<20))
	for _, args := range [][]string{
		{"--format=gnu"}, {"--format=oldgnu", "-S"}, {"--format=gnu", "-S"}, {"--format=posix"}, {"--format=posix", "-S", "--sparse-version=0.0"},
		{"--format=posix", "-S", "--sparse-version=0.1"}, {"--format=posix", "-S", "--sparse-version=1.0"},
	} {
		out, err := exec.Command("tar", append(args, "-C", dir, "-c", ".")...).Output()
		if err != nil {
			t.Fatalf("tar %v: %v", args, err)
		}
		if args[len(args)-1] != "--format=gnu" && args[0] != "--format=posix" && len(out) > 2<<20 {
			t.Errorf("tar %v made no sparse archive", args)
		}
		compare(t, strings.Join(args, " "), out, 33)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCopyFromFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	check(t, os.WriteFile(filepath.Join(dir, "in"), data, 0o600))
	for _, size := range []int64{0, 1, 511, 512, 513, 300000, 1 << 20, 1<<20 + 700} {
		in, err := os.Open(filepath.Join(dir, "in"))
		check(t, err)
		out, err := os.Create(filepath.Join(dir, "out"))
		check(t, err)
		var buf bytes.Buffer
		for _, w := range []io.Writer{out, &buf} {
			_, err := in.Seek(0, io.SeekStart)
			check(t, err)
			tw := NewWriter(w)
			check(t, tw.Header(&Header{Name: "f", Type: TypeReg, Size: size}))
			short, err := tw.Copy(int(in.Fd()), size)
			check(t, err)
			if want := max(0, size-int64(len(data))); short != want {
				t.Errorf("size %d: short by %d, want %d", size, short, want)
			}
			check(t, tw.Close())
			if want := BlockSize + size + -size&(BlockSize-1) + 2*BlockSize; tw.Written() != want {
				t.Errorf("size %d: Written = %d, want %d", size, tw.Written(), want)
			}
		}
		in.Close()
		out.Close()
		file, err := os.ReadFile(filepath.Join(dir, "out"))
		check(t, err)
		if !bytes.Equal(file, buf.Bytes()) {
			t.Errorf("size %d: the direct copy differs", size)
		}
		got, err := readAll(NewReader(&buf, nil, Limits{}), 1<<30)
		if err != nil || len(got) != 1 || int64(len(got[0].Data)) != size || !strings.HasPrefix(got[0].Data, string(data[:min(size, int64(len(data)))])) {
			t.Errorf("size %d: %v", size, err)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	block := func(h Header) []byte { return AppendHeader(nil, &h) }
	// A header block says the size; the data is never there.
	huge := func(typ byte, size int64) []byte {
		return block(Header{Name: "x", Type: typ, Size: size})
	}
	zeros := bytes.Repeat([]byte{0}, 1<<20)
	tests := map[string]struct {
		src io.Reader
		lim Limits
		err error
	}{
		"PAX of 1 GiB":         {bytes.NewReader(huge('x', 1<<30)), Limits{}, errdefs.Exhausted},
		"global PAX of 1 GiB":  {bytes.NewReader(huge('g', 1<<30)), Limits{}, errdefs.Exhausted},
		"GNU name of 1 GiB":    {bytes.NewReader(huge('L', 1<<30)), Limits{}, errdefs.Exhausted},
		"GNU link of 1 GiB":    {bytes.NewReader(huge('K', 1<<30)), Limits{}, errdefs.Exhausted},
		"cut in the data":      {bytes.NewReader(huge('0', 1<<30)), Limits{}, io.ErrUnexpectedEOF},
		"cut in a header":      {bytes.NewReader(huge('0', 0)[:300]), Limits{}, io.ErrUnexpectedEOF},
		"endless data":         {io.MultiReader(bytes.NewReader(huge('0', 1<<32)), &endless{}), Limits{Stream: 1 << 20}, errdefs.Exhausted},
		"endless after end":    {io.MultiReader(bytes.NewReader(zeros[:1024]), &endless{}), Limits{Stream: 1 << 20}, errdefs.Exhausted},
		"endless PAX":          {&repeat{block: append(block(Header{Name: "x", Type: 'x', Size: 512}), paxBlock()...)}, Limits{Stream: 1 << 20}, errdefs.Exhausted},
		"reader error":         {iotest.ErrReader(errors.ErrUnsupported), Limits{}, errors.ErrUnsupported},
		"reader gives nothing": {&nothing{}, Limits{}, io.ErrNoProgress},
	}
	for name, tt := range tests {
		r := NewReader(tt.src, nil, tt.lim)
		_, err := readAll(r, 1<<30)
		if err == nil {
			err = r.Drain()
		}
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", name, err, tt.err)
		}
		var limit *LimitError
		if tt.err == errdefs.Exhausted && !errors.As(err, &limit) {
			t.Errorf("%s: %v is no LimitError", name, err)
		}
	}
}

func paxBlock() []byte {
	b := make([]byte, 512)
	copy(b, "512 comment="+strings.Repeat("x", 512-13)+"\n")
	return b
}

type endless struct{}

func (*endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type nothing struct{}

func (*nothing) Read([]byte) (int, error) { return 0, nil }

type repeat struct {
	block []byte
	at    int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.block[r.at:])
	r.at = (r.at + n) % len(r.block)
	return n, nil
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	good := AppendHeader(nil, &Header{Name: "f", Type: TypeReg, Mode: 0o644})
	change := func(off int, s string) []byte {
		b := bytes.Clone(good)
		copy(b[off:], s)
		sum, _ := checksums(b)
		octal(b[148:155], sum)
		return b
	}
	pax := func(records string, then Header) []byte {
		b := AppendHeader(nil, &Header{Name: "p", Type: 'x', Size: int64(len(records))})
		b = append(b, records...)
		b = append(b, make([]byte, -len(records)&511)...)
		return AppendHeader(b, &then)
	}
	rec := func(k, v string) string { return string(appendRecord(nil, k, v)) }
	sparse := func(records, data string) []byte {
		b := pax(records, Header{Name: "s", Type: TypeReg, Size: int64(len(data))})
		return append(append(b, data...), make([]byte, -len(data)&511)...)
	}
	bad := good[:]
	bad = bytes.Clone(bad)
	bad[0] ^= 1
	tests := map[string][]byte{
		"checksum":                  bad,
		"letters in mode":           change(100, "64z"),
		"negative size":             change(124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
		"size of 90 bits":           change(124, "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
		"zero block inside":         append(make([]byte, 512), good...),
		"PAX no length":             pax("path=x\n", Header{Type: TypeReg}),
		"PAX length too long":       pax("99 path=x\n", Header{Type: TypeReg}),
		"PAX length too short":      pax("5 path=x\n", Header{Type: TypeReg}),
		"PAX no newline":            pax("9 path=xy", Header{Type: TypeReg}),
		"PAX no equals":             pax("9 pathxx\n", Header{Type: TypeReg}),
		"PAX no key":                pax("5 =x\n", Header{Type: TypeReg}),
		"PAX NUL in path":           pax(rec("path", "a\x00b"), Header{Type: TypeReg}),
		"PAX NUL in link":           pax(rec("linkpath", "a\x00b"), Header{Type: TypeSymlink}),
		"PAX NUL in key":            pax(rec("pa\x00th", "a"), Header{Type: TypeReg}),
		"PAX negative size":         pax(rec("size", "-1"), Header{Type: TypeReg}),
		"PAX size of words":         pax(rec("size", "many"), Header{Type: TypeReg}),
		"PAX mtime of words":        pax(rec("mtime", "1.x"), Header{Type: TypeReg}),
		"PAX xattr without name":    pax(rec("SCHILY.xattr.", "v"), Header{Type: TypeReg}),
		"sparse, data too short":    sparse(rec("GNU.sparse.map", "0,10")+rec("GNU.sparse.size", "10"), "abc"),
		"sparse, overlap":           sparse(rec("GNU.sparse.map", "0,2,1,2")+rec("GNU.sparse.size", "10"), "abcd"),
		"sparse, beyond the end":    sparse(rec("GNU.sparse.map", "8,4")+rec("GNU.sparse.size", "10"), "abcd"),
		"sparse, overflow":          sparse(rec("GNU.sparse.map", "9223372036854775800,100")+rec("GNU.sparse.size", "9223372036854775807"), strings.Repeat("x", 100)),
		"sparse, odd map":           sparse(rec("GNU.sparse.map", "0,4,8")+rec("GNU.sparse.size", "10"), "abcd"),
		"sparse, negative":          sparse(rec("GNU.sparse.map", "-4,4")+rec("GNU.sparse.size", "10"), "abcd"),
		"sparse, version 2":         sparse(rec("GNU.sparse.major", "2"), "abcd"),
		"sparse 1.0, no map":        sparse(rec("GNU.sparse.major", "1")+rec("GNU.sparse.minor", "0"), "abcd"),
		"sparse 1.0, endless digit": sparse(rec("GNU.sparse.major", "1")+rec("GNU.sparse.minor", "0"), strings.Repeat("1", 512)),
		"sparse 1.0, many runs":     sparse(rec("GNU.sparse.major", "1")+rec("GNU.sparse.minor", "0"), "999999999\n"+strings.Repeat("0\n", 251)),
		"sparse link":               pax(rec("GNU.sparse.map", "0,0")+rec("GNU.sparse.size", "0"), Header{Type: TypeSymlink}),
	}
	for name, b := range tests {
		_, err := readAll(NewReader(bytes.NewReader(b), nil, Limits{}), 1<<30)
		if !errors.Is(err, errdefs.InvalidArgument) && !errors.Is(err, errdefs.Exhausted) {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
}

func TestSplitName(t *testing.T) {
	t.Parallel()
	for n := 90; n < 270; n++ {
		for slash := 0; slash < n; slash += 7 {
			full := strings.Repeat("x", n)
			full = full[:slash] + "/" + full[slash+1:]
			prefix, name, fits := splitName(full)
			if !fits {
				continue
			}
			joined := name
			if prefix != "" {
				joined = prefix + "/" + name
			}
			if joined != full || len(prefix) > 155 || len(name) > 100 || name == "" {
				t.Fatalf("splitName(%d bytes, slash at %d) = %d + %d", n, slash, len(prefix), len(name))
			}
		}
	}
	if _, _, fits := splitName(strings.Repeat("d", 155) + "/" + strings.Repeat("n", 100)); !fits {
		t.Error("the longest name does not fit")
	}
}

// FuzzReader compares the reader with the standard library's: what both accept must be the same.
func FuzzReader(f *testing.F) {
	var b bytes.Buffer
	write(f, &b, sample()[:12])
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:1000])
	b.Reset()
	write(f, &b, sample()[13:21])
	f.Add(b.Bytes())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		// Right checksums let the mutations through to what lies behind.
		for i := 0; i+BlockSize <= len(data); i += BlockSize {
			if b := data[i : i+BlockSize]; string(b[257:262]) == "ustar" {
				sum, _ := checksums(b)
				octal(b[148:155], sum)
			}
		}
		got, err := readAll(NewReader(bytes.NewReader(data), nil, Limits{Extents: 1 << 10}), 1<<20)
		want, stdErr := stdReadAll(bytes.NewReader(data), 1<<20)
		if err != nil || stdErr != nil {
			return
		}
		for i := range got { // the library's map has each name once, the last
			last := map[string]string{}
			for _, x := range got[i].Header.Xattrs {
				last[x.Name] = x.Value
			}
			got[i].Header.Xattrs = nil
			for _, name := range slices.Sorted(maps.Keys(last)) {
				got[i].Header.Xattrs = append(got[i].Header.Xattrs, Xattr{name, last[name]})
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

func BenchmarkReader(b *testing.B) {
	var buf bytes.Buffer
	var entries []entry
	for i := range 5000 {
		entries = append(entries, entry{Header{Name: fmt.Sprintf("usr/share/doc/package%d/copyright", i), Type: TypeReg, Size: 4000}, strings.Repeat("x", 4000)})
	}
	write(b, &buf, entries)
	b.SetBytes(int64(buf.Len()))
	b.Run("own", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r := NewReader(bytes.NewReader(buf.Bytes()), nil, Limits{})
			for {
				if _, err := r.Next(); err != nil {
					break
				}
				r.Data()
			}
		}
	})
	b.Run("std", func(b *testing.B) {
		b.ReportAllocs()
		p := make([]byte, 64<<10)
		for b.Loop() {
			r := tar.NewReader(bytes.NewReader(buf.Bytes()))
			for {
				if _, err := r.Next(); err != nil {
					break
				}
				r.Read(p)
			}
		}
	})
}

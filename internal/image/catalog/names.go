package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
	"berth/internal/filelock"
	"berth/internal/oci"
	"berth/internal/reference"
)

// Names are all names of all images, as repositories.json has them: repository
// -> "repository:tag" or "repository@digest" -> image id, in familiar form.
type Names map[string]map[string]oci.Digest

// Of returns the tags and the digests under which an image is known, sorted.
func (n Names) Of(id oci.Digest) (tags, digests []string) {
	t, d := n.byImage()
	return t[id], d[id]
}

// byImage returns the tags and the digests of every image, sorted.
func (n Names) byImage() (tags, digests map[oci.Digest][]string) {
	tags, digests = map[oci.Digest][]string{}, map[oci.Digest][]string{}
	for repo, names := range n {
		for name, id := range names {
			if isDigestName(repo, name) {
				digests[id] = append(digests[id], name)
			} else {
				tags[id] = append(tags[id], name)
			}
		}
	}
	for _, m := range [...]map[oci.Digest][]string{tags, digests} {
		for _, names := range m {
			slices.Sort(names)
		}
	}
	return tags, digests
}

func isDigestName(repo, name string) bool { return len(name) > len(repo) && name[len(repo)] == '@' }

// key returns the repository and the name under which n is kept. A name with
// both tag and digest is kept by its digest: that is what it says exactly.
func key(n reference.Named) (repo, name string) {
	if n.Digest() != "" {
		n = n.WithDigest(n.Digest())
	}
	return n.FamiliarName(), n.Familiar()
}

// Names reads all names.
func (s *Store) Names() (Names, error) {
	data, err := os.ReadFile(s.namesPath())
	if errors.Is(err, os.ErrNotExist) {
		return Names{}, nil
	}
	if err != nil {
		return nil, err
	}
	return s.decodeNames(data)
}

func (s *Store) decodeNames(data []byte) (Names, error) {
	var doc struct{ Repositories Names }
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, &errdefs.Error{Kind: errdefs.Internal, Op: "read", Subject: s.namesPath(), Err: err,
			Hint: "the file is damaged; the images can still be used by id (imagedb/content/sha256 beside it)"}
	}
	for _, names := range doc.Repositories {
		for name, id := range names {
			if _, err := oci.ParseDigest(string(id)); err != nil {
				return nil, errdefs.Wrap(err, "read "+name+" in", s.namesPath())
			}
		}
	}
	if doc.Repositories == nil {
		doc.Repositories = Names{}
	}
	return doc.Repositories, nil
}

// lookupName finds one name. A run begins with it, so the file is searched, not
// decoded: with a thousand names that is a tenth of a millisecond instead of two.
func (s *Store) lookupName(n reference.Named) (id oci.Digest, ok bool, err error) {
	f, err := os.Open(s.namesPath())
	if errors.Is(err, os.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	repo, name := key(n)
	if id, ok, err = scanName(f, name); ok || err != nil {
		return id, ok, err
	}
	data, err := os.ReadFile(s.namesPath())
	if err != nil || isCompact(data) {
		return "", false, err
	}
	names, err := s.decodeNames(data) // somebody edited the file
	if err != nil {
		return "", false, err
	}
	id, ok = names[repo][name]
	return id, ok, nil
}

// idLen is the length of an image id.
const idLen = len("sha256:") + 64

// scanName searches JSON text for a name's entry as json.Marshal writes it. A
// name has no characters that JSON escapes, and it stands with its quotes, so it
// matches nothing but itself. The text is read in pieces: one buffer for a large
// file would cost more page faults than everything else in a look-up.
func scanName(r io.Reader, name string) (oci.Digest, bool, error) {
	pattern := make([]byte, 0, len(name)+4)
	pattern = append(append(append(pattern, '"'), name...), `":"`...)
	entry := len(pattern) + idLen
	buf := make([]byte, max(16<<10, 2*entry))
	for n := 0; ; {
		m, err := io.ReadFull(r, buf[n:])
		n += m
		if i := bytes.Index(buf[:n], pattern); i >= 0 && n-i >= entry {
			id, perr := oci.ParseDigest(string(buf[i+len(pattern) : i+entry]))
			return id, perr == nil, nil
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return "", false, nil
		}
		if err != nil {
			return "", false, err
		}
		n = copy(buf, buf[n-entry:n]) // an entry may lie across the border
	}
}

// isCompact reports whether the text is as updateNames writes it, so that a
// failed scanName is an answer.
func isCompact(data []byte) bool {
	return bytes.HasPrefix(data, []byte(`{"Repositories":{`)) && bytes.IndexByte(data, ' ') < 0 && bytes.IndexByte(data, '\n') < 0
}

// updateNames changes the names under the writers' lock. change reports whether
// it changed anything.
func (s *Store) updateNames(change func(Names) bool) error {
	lock, err := s.lock(filelock.Exclusive, "/.names.lock")
	if err != nil {
		return err
	}
	defer lock.Unlock()
	names, err := s.Names()
	if err != nil {
		return err
	}
	if !change(names) {
		return nil
	}
	data, err := json.Marshal(struct{ Repositories Names }{names})
	if err != nil {
		return err
	}
	s.step("write names")
	err = atomicfile.Write(s.namesPath(), data, 0o600, atomicfile.Durable)
	if errors.Is(err, unix.ENOSPC) && os.Remove(s.reservePath()) == nil {
		err = atomicfile.Write(s.namesPath(), data, 0o600, atomicfile.Durable)
	}
	if err == nil {
		s.reserve(len(data))
	}
	return err
}

func (s *Store) reservePath() string { return s.dir + "/.reserve" }

// reserve keeps a file of at least n bytes that is given up when the disk is
// full, so that names can still be removed then: they are written as a new file
// before the old one goes. Failing to make it is no error now.
func (s *Store) reserve(n int) {
	const unit = 64 << 10
	if st, err := os.Stat(s.reservePath()); err == nil && st.Size() >= int64(n) {
		return
	}
	f, err := os.OpenFile(s.reservePath(), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	if unix.Fallocate(int(f.Fd()), 0, 0, int64(n/unit+1)*unit) != nil {
		os.Remove(s.reservePath())
	}
}

// Tag gives an image a name: a tag, which is taken from the image that had it,
// or a digest. It returns the image that lost the name, if any.
func (s *Store) Tag(n reference.Named, id oci.Digest) (old oci.Digest, err error) {
	if n.IsNameOnly() {
		return "", errdefs.New(errdefs.InvalidArgument, "the name %s has neither tag nor digest", n.Familiar())
	}
	hold, err := s.Hold() // the image must not vanish before its name is written
	if err != nil {
		return "", err
	}
	defer hold.Release()
	if _, err := os.Lstat(s.content(id)); err != nil {
		return "", noSuchImage(string(id), err)
	}
	repo, name := key(n)
	err = s.updateNames(func(names Names) bool {
		if old = names[repo][name]; old == id {
			return false
		}
		if names[repo] == nil {
			names[repo] = map[string]oci.Digest{}
		}
		names[repo][name] = id
		return true
	})
	if err != nil {
		return "", errdefs.Wrap(err, "tag image", n.Familiar())
	}
	if old == id {
		old = ""
	}
	return old, s.touch(id)
}

// Untag removes names, given in familiar form as Names.Of returns them, that
// still belong to the image, and returns those it removed, sorted.
func (s *Store) Untag(id oci.Digest, remove ...string) (removed []string, err error) {
	err = s.updateNames(func(names Names) bool {
		for repo, of := range names {
			for name, have := range of {
				if have == id && slices.Contains(remove, name) {
					delete(of, name)
					removed = append(removed, name)
				}
			}
			if len(of) == 0 {
				delete(names, repo)
			}
		}
		return len(removed) > 0
	})
	slices.Sort(removed)
	return removed, err
}

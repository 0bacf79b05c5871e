package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestOutput(t *testing.T) {
	path := t.TempDir() + "/file"
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	write := func(text string, end error) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := fmt.Fprint(w, text)
			return errors.Join(err, end)
		}
	}
	err := Output(path, write("half", enough))
	if b, _ := os.ReadFile(path); !errors.Is(err, enough) || string(b) != "old" {
		t.Errorf("%q, %v", b, err)
	}
	err = Output(path, write("new", nil))
	if b, _ := os.ReadFile(path); err != nil || string(b) != "new" {
		t.Errorf("%q, %v", b, err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left: %v", entries)
	}
	if err := Output("/dev/null", write("x", nil)); err != nil {
		t.Error(err)
	}
}

func TestNameless(t *testing.T) {
	dir := t.TempDir()
	f, err := Nameless(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("content"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 7)
	if _, err := f.ReadAt(got, 0); err != nil || string(got) != "content" {
		t.Errorf("%q, %v", got, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("the directory lists %v", entries)
	}
}

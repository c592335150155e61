package github_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/dtypebot/dtypebot/analysis/project"
	"github.com/dtypebot/dtypebot/bot/github"
)

// pack makes an archive as GitHub does.
func pack(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range entries {
		text := "x = 1\n"
		if h.Size > 0 {
			text = strings.Repeat("#", int(h.Size))
		}
		if h.Typeflag != tar.TypeReg {
			text = ""
		}
		if h.Size = int64(len(text)); h.Typeflag != tar.TypeXGlobalHeader {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }

func collection() *project.Collection {
	return project.NewCollection("abc", func(string) bool { return false })
}

// TestReadArchive takes Python files, and nothing that an archive of git does not
// hold.
func TestReadArchive(t *testing.T) {
	data := pack(t, tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "abc"}},
		tar.Header{Name: "o-r-abc/", Typeflag: tar.TypeDir},
		file("o-r-abc/a.py"), file("o-r-abc/pkg/b.py"), file("o-r-abc/conf.yaml"), file("o-r-abc/c.c"), file("top.py"),
		file("o-r-abc/../../etc/passwd.py"), file("o-r-abc//abs.py"), file("/abs/x.py"), file(`o-r-abc/..\w.py`), file("o-r-abc/./d.py"), file("../e.py"),
		tar.Header{Name: "o-r-abc/link.py", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		tar.Header{Name: "o-r-abc/hard.py", Typeflag: tar.TypeLink, Linkname: "o-r-abc/a.py"},
		tar.Header{Name: "o-r-abc/dev.py", Typeflag: tar.TypeChar},
		tar.Header{Name: "o-r-abc/big.py", Typeflag: tar.TypeReg, Size: 1<<20 + 1},
		tar.Header{Name: "o-r-abc/a.py", Typeflag: tar.TypeReg, Size: 9}, // again, with another text
	)
	c := collection()
	if err := github.ReadArchive(bytes.NewReader(data), c); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(c.Texts)); !slices.Equal(got, []string{"a.py", "pkg/b.py"}) || c.Texts["a.py"] != "x = 1\n" {
		t.Errorf("read %q", c.Texts)
	}
	ix := c.Index()
	if len(ix.Unread) != 1 || ix.Unread[0].Path != "big.py" || ix.Incomplete != "" {
		t.Errorf("left out %+v, incomplete %q", ix.Unread, ix.Incomplete)
	}
	for _, n := range []int{0, 1, 10, 40, len(data) / 2, len(data) - 1} {
		if err := github.ReadArchive(bytes.NewReader(data[:n]), collection()); err == nil {
			t.Errorf("an archive cut after %d of %d bytes was read", n, len(data))
		}
	}
}

// TestReadArchiveBomb ends at a bound of what is unpacked: a few megabytes that
// stand for gigabytes.
func TestReadArchiveBomb(t *testing.T) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	const each = 64 << 10
	zeros := make([]byte, each)
	for i := range 40 {
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("r/%d.py", i), Typeflag: tar.TypeReg, Size: each, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	defer github.SetUnpacked(1 << 20)()
	c := collection()
	if err := github.ReadArchive(bytes.NewReader(b.Bytes()), c); err != nil {
		t.Fatal(err)
	}
	if ix := c.Index(); ix.Incomplete == "" || len(ix.Files) > 16 || len(ix.Files) < 10 {
		t.Errorf("%d files, incomplete %q", len(ix.Files), ix.Incomplete)
	}
}

// FuzzReadArchive reads anything without a panic, and gives only paths that lie
// in the repository.
func FuzzReadArchive(f *testing.F) {
	whole := pack(f, file("r/a.py"), file("r/../b.py"), file("r/conf.yaml"), tar.Header{Name: "r/l.py", Typeflag: tar.TypeSymlink, Linkname: "a.py"})
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte{})
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Add(pack(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		// As a tar that is compressed, and as one that is not: the compression hides
		// the tar from the fuzzer.
		var z bytes.Buffer
		w, _ := gzip.NewWriterLevel(&z, gzip.NoCompression) // the level is known
		_, _ = w.Write(data)                                // to memory
		_ = w.Close()
		for _, archive := range [][]byte{data, z.Bytes()} {
			c := collection()
			_ = github.ReadArchive(bytes.NewReader(archive), c) // most are no archive
			for p, text := range c.Texts {
				if path.IsAbs(p) || path.Clean(p) != p || p == ".." || strings.HasPrefix(p, "../") || len(text) > project.MaxFile {
					t.Errorf("took %q, %d bytes", p, len(text))
				}
			}
			c.Index()
		}
	})
}

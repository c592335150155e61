package project

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/interp"
)

// An encoded index is a zip archive: the Index without its Modules in indexName,
// and each Module in an entry of its own by the hash of its blob, so that what a
// review needs can be cut out of it, and what did not change can be copied,
// without reading the rest.
const (
	indexName    = "index.json"
	modulePrefix = "modules/"
)

// Bounds of what an encoded index may hold, in bytes.
const (
	maxIndexJSON  = 128 << 20
	maxModuleJSON = 64 << 20
)

// Encode writes an index down, compressed.
func (ix *Index) Encode() ([]byte, error) {
	w := NewWriter()
	for _, hash := range slices.Sorted(maps.Keys(ix.Modules)) {
		data, err := json.Marshal(ix.Modules[hash])
		if err != nil {
			return nil, fmt.Errorf("encode the index: %w", err)
		}
		if err := w.Add(hash, data); err != nil {
			return nil, err
		}
	}
	return w.Close(ix)
}

// Decode is Encode's inverse. An index of another version is an error.
func Decode(data []byte) (*Index, error) {
	k, err := Open(data)
	if err != nil {
		return nil, err
	}
	ix := k.Index
	for hash, f := range k.modules {
		m := &Module{}
		if err := readJSON(f, maxModuleJSON, m); err != nil {
			return nil, fmt.Errorf("decode the index: %w", err)
		}
		ix.Modules[hash] = m
	}
	return ix, nil
}

// A Kept is an encoded index whose Modules are read when they are asked for.
type Kept struct {
	Index   *Index // without Modules
	modules map[string]*zip.File
	size    int
}

// Size is how much memory it takes, in bytes, about: the encoded index and what
// was decoded of it.
func (k *Kept) Size() int { return k.size }

// ErrVersion is wrapped by the error of an index that another version of the
// program wrote.
var ErrVersion = errors.New("it is of another version")

// Open reads an encoded index but for its Modules.
func Open(data []byte) (*Kept, error) {
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("decode the index: %w", err)
	}
	k := &Kept{Index: NewIndex(), modules: map[string]*zip.File{}, size: len(data)}
	k.Index.Version = 0
	for _, f := range r.File {
		if hash, ok := strings.CutPrefix(f.Name, modulePrefix); ok {
			k.modules[hash] = f
		} else if f.Name == indexName {
			k.size += int(f.UncompressedSize64)
			if err := readJSON(f, maxIndexJSON, k.Index); err != nil {
				return nil, fmt.Errorf("decode the index: %w", err)
			}
		}
	}
	if k.Index.Version != Version {
		return nil, fmt.Errorf("decode the index: %w (%d, not %d)", ErrVersion, k.Index.Version, Version)
	}
	return k, nil
}

func readJSON(f *zip.File, most int64, into any) error {
	r, err := f.Open()
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	defer r.Close()
	if err := json.NewDecoder(io.LimitReader(r, most)).Decode(into); err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(r, most)) // the checksum stands at the end
	return err
}

// Has reports whether the index holds the summary of a blob.
func (k *Kept) Has(hash string) bool { return k.modules[hash] != nil }

// Near cuts out of the index, encoded, what has to do with given files, by path
// with their texts; of the rest it keeps the signs. gone are paths that the
// change removes: they say nothing any more.
func (k *Kept) Near(files map[string]string, gone []string) ([]byte, error) {
	from := k.Index
	around := *from
	around.Files = maps.Clone(from.Files)
	for _, p := range gone {
		delete(around.Files, p)
	}
	ix := NewIndex()
	ix.Revision, ix.Configs, ix.Unread, ix.Omitted, ix.Incomplete = from.Revision, from.Configs, from.Unread, from.Omitted, from.Incomplete
	w := NewWriter()
	wanted := Wants(files, &around)
	ix.Cut = len(wanted) == MaxWanted
	for _, p := range wanted {
		hash := from.Files[p]
		f := k.modules[hash]
		if f == nil {
			continue
		}
		ix.Files[p] = hash
		if err := w.copy(hash, f); err != nil {
			return nil, err
		}
	}
	for p := range ix.Files {
		delete(around.Files, p)
	}
	for p := range files {
		delete(around.Files, p)
	}
	ix.Others = len(around.Files)
	around.Configs, around.Half, around.Double = nil, nil, nil
	half, double := around.signs()
	ix.Half, ix.Double = half[:min(len(half), maxSigns)], double[:min(len(double), maxSigns)]
	return w.Close(ix)
}

// signs are the signs of half and double precision in configurations and in the
// files of which there is no summary.
func (ix *Index) signs() (half, double []interp.Place) {
	for _, p := range slices.Sorted(maps.Keys(ix.Configs)) {
		half = append(half, places(p, ix.Configs[p].Half, true)...)
	}
	half, double = append(half, ix.Half...), append(double, ix.Double...)
	for _, p := range slices.Sorted(maps.Keys(ix.Files)) {
		hash := ix.Files[p]
		if ix.Modules[hash] == nil {
			o := ix.Outlines[hash]
			half, double = append(half, places(p, o.Half, !offPath(p))...), append(double, places(p, o.Double, true)...)
		}
	}
	return half, double
}

// A Writer encodes an index module by module.
type Writer struct {
	b    bytes.Buffer
	z    *zip.Writer
	seen map[string]bool
}

// NewWriter begins an encoded index.
func NewWriter() *Writer {
	w := &Writer{seen: map[string]bool{}}
	w.z = zip.NewWriter(&w.b)
	return w
}

// Size is how many bytes were written so far, about.
func (w *Writer) Size() int { return w.b.Len() }

// Add writes the summary of a blob, a Module as JSON. One that was written is
// left as it is.
func (w *Writer) Add(hash string, module []byte) error {
	if w.seen[hash] {
		return nil
	}
	w.seen[hash] = true
	f, err := w.z.Create(modulePrefix + hash)
	if err == nil {
		_, err = f.Write(module)
	}
	if err != nil {
		return fmt.Errorf("encode the index: %w", err)
	}
	return nil
}

// Copy copies the summary of a blob from another index, and reports whether that
// has it.
func (w *Writer) Copy(hash string, from *Kept) (bool, error) {
	f := from.modules[hash]
	if f == nil {
		return false, nil
	}
	return true, w.copy(hash, f)
}

func (w *Writer) copy(hash string, f *zip.File) error {
	if w.seen[hash] {
		return nil
	}
	w.seen[hash] = true
	if err := w.z.Copy(f); err != nil {
		return fmt.Errorf("encode the index: %w", err)
	}
	return nil
}

// Close writes the rest of the index and returns the whole.
func (w *Writer) Close(ix *Index) ([]byte, error) {
	data, err := json.Marshal(ix)
	if err != nil {
		return nil, fmt.Errorf("encode the index: %w", err)
	}
	f, err := w.z.Create(indexName)
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = w.z.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("encode the index: %w", err)
	}
	return w.b.Bytes(), nil
}

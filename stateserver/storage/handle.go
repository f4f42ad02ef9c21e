package storage

import (
	"crypto/sha256"
	"fmt"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// DefaultInlineThreshold is how many bytes stay inline in a handle, Flink's
// default of execution.checkpointing.data-inline-threshold (20 kb).
const DefaultInlineThreshold = 20 << 10

// DefaultWorkers is how many files are read or looked for at a time.
const DefaultWorkers = 4

// DefaultMaxInline is what the jobmanager storage takes in one handle, as
// Flink's JobManagerCheckpointStorage does: 5 MiB.
const DefaultMaxInline = 5 << 20

// FileHandle refers to a committed file and tells what must be in it.
type FileHandle struct {
	Path   string // relative: to the job's directory, or to the savepoint's
	Size   int64  // bytes
	SHA256 [sha256.Size]byte
	// Tail is the last bytes of the file, up to tailSize. A format that ends in
	// checksums of everything before is known by them without reading it whole.
	// "" in a handle means that they are not known.
	Tail string
}

// tailSize is the length of a Tail: the trailer of the canonical format.
const tailSize = 48

// Handle is the contents of one snapshot file: either the bytes themselves or a
// file. The zero value is an inline handle without bytes.
type Handle struct {
	Inline []byte
	File   *FileHandle // set: Inline is nil
}

// Size is the number of bytes that the handle stands for.
func (h Handle) Size() int64 {
	if h.File != nil {
		return h.File.Size
	}
	return int64(len(h.Inline))
}

// Proto is the handle as manifests and the log hold it. It shares Inline.
func (h Handle) Proto() *holdfastv1.Content {
	if h.File == nil {
		return &holdfastv1.Content{Handle: &holdfastv1.Content_Inline{Inline: h.Inline}}
	}
	return &holdfastv1.Content{Handle: &holdfastv1.Content_File{File: &holdfastv1.FileHandle{
		Path: h.File.Path, Size: uint64(h.File.Size), Sha256: h.File.SHA256[:], Tail: []byte(h.File.Tail),
	}}}
}

// HandleOf reads what Proto wrote, and refuses a path that leads out of the
// directory, a size that is none and a hash of the wrong length. It shares the
// inline bytes.
func HandleOf(p *holdfastv1.Content) (Handle, error) {
	switch h := p.GetHandle().(type) {
	case *holdfastv1.Content_Inline:
		return Handle{Inline: h.Inline}, nil
	case *holdfastv1.Content_File:
		f := h.File
		if err := CheckName(f.GetPath()); err != nil {
			return Handle{}, fmt.Errorf("handle of a file: %w", err)
		}
		if int64(f.GetSize()) < 0 {
			return Handle{}, fmt.Errorf("handle of %s: %d is no size of a file", f.GetPath(), f.GetSize())
		}
		if len(f.GetSha256()) != sha256.Size {
			return Handle{}, fmt.Errorf("handle of %s: a hash of %d bytes is no SHA-256", f.GetPath(), len(f.GetSha256()))
		}
		if len(f.GetTail()) > min(tailSize, int(f.GetSize())) {
			return Handle{}, fmt.Errorf("handle of %s: a tail of %d bytes is none", f.GetPath(), len(f.GetTail()))
		}
		return Handle{File: &FileHandle{
			Path: f.GetPath(), Size: int64(f.GetSize()), SHA256: [sha256.Size]byte(f.GetSha256()), Tail: string(f.GetTail()),
		}}, nil
	default:
		return Handle{}, fmt.Errorf("handle with neither bytes nor a file: it is damaged or was written by a newer version")
	}
}

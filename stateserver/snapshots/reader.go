package snapshots

import (
	"context"
	"errors"
	"fmt"
	"io"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/metadata"
)

// CanonicalFormat is what StateSnapshot.format says of files of package canonical.
const CanonicalFormat = "canonical"

// Backends finds the state backends of a node, for snapshots in their own formats.
type Backends interface {
	Get(name string) (backend.Backend, error)
}

// Reader reads one checkpoint or savepoint. It may be used by several goroutines.
type Reader struct {
	snap     *metadata.Snapshot
	files    storage.Storage
	backends Backends
	heads    map[string]string // of each operator: the first one of its chain
}

// Open reads the manifest in a directory. backends may be nil: only files of the
// canonical format can be read then. The caller closes the Reader, after what it has
// given.
func Open(ctx context.Context, registry *storage.Registry, backends Backends, url string) (*Reader, error) {
	snap, err := metadata.Load(ctx, registry, url)
	if err != nil {
		return nil, err
	}
	r := &Reader{snap: snap, files: storage.WithRetry(snap.Files, storage.DefaultRetry), backends: backends, heads: map[string]string{}}
	for _, o := range snap.Metadata.Operators {
		uid := o.Operator.GetUid()
		r.heads[uid] = uid
		if in := o.Operator.GetInputs(); len(in) > 0 && r.heads[in[0].GetOperatorUid()] != "" {
			r.heads[uid] = r.heads[in[0].GetOperatorUid()]
		}
	}
	return r, nil
}

// Metadata is the manifest. It is not to be changed.
func (r *Reader) Metadata() *holdfastv1.CheckpointMetadata { return r.snap.Metadata }

// SHA256 is the hash by which the manifest is known.
func (r *Reader) SHA256() []byte { return r.snap.SHA256[:] }

// URL is the directory of the manifest.
func (r *Reader) URL() string { return storage.JoinURL(r.snap.Files.URL(), r.snap.Dir) }

// Close lets go of the directory.
func (r *Reader) Close() error { return r.snap.Close() }

// Operator is an operator of the snapshot, nil if it has none with this uid.
func (r *Reader) Operator(uid string) *holdfastv1.OperatorSnapshot {
	for _, o := range r.snap.Metadata.Operators {
		if o.Operator.GetUid() == uid {
			return o
		}
	}
	return nil
}

// State is a state of the snapshot, nil if it has none of this name.
func (r *Reader) State(uid, name string) *holdfastv1.StateDescriptor {
	for _, d := range r.Operator(uid).GetOperator().GetStates() {
		if d.GetName() == name {
			return d
		}
	}
	return nil
}

// partFiles are the parts of one subtask, as its backend reads them.
type partFiles struct{ s storage.Storage }

// Create implements [backend.Files].
func (partFiles) Create(context.Context, string, string, bool) (backend.Writer, error) {
	return nil, errors.New("a snapshot is only read")
}

// Open implements [backend.Files].
func (f partFiles) Open(ctx context.Context, h *holdfastv1.StateHandle) (io.ReadCloser, error) {
	c := &holdfastv1.Content{Handle: &holdfastv1.Content_Inline{Inline: h.Inline}}
	if h.File != "" {
		c.Handle = &holdfastv1.Content_File{File: &holdfastv1.FileHandle{Path: h.File, Size: h.Size, Sha256: h.Sha256}}
	}
	content, err := storage.HandleOf(c)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", backend.ErrDamaged, err)
	}
	return storage.Open(ctx, f.s, content)
}

// handlesOf are the files of a snapshot in the format of a backend's own.
func handlesOf(x *holdfastv1.StateSnapshot) []*holdfastv1.StateHandle {
	out := make([]*holdfastv1.StateHandle, 0, len(x.Files))
	for _, f := range x.Files {
		h := &holdfastv1.StateHandle{Name: f.Name, Format: f.Format, Shared: f.Shared}
		if h.Format == "" {
			h.Format = x.Format
		}
		if file := f.Handle.GetFile(); file != nil {
			h.File, h.Size, h.Sha256 = file.Path, file.Size, file.Sha256
		} else {
			h.Inline = f.Handle.GetInline()
			h.Size = uint64(len(h.Inline))
		}
		out = append(out, h)
	}
	return out
}

package metadata

import (
	"context"
	"crypto/sha256"
	"strings"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// Snapshot is a checkpoint or savepoint that was found by its URL.
type Snapshot struct {
	Metadata *holdfastv1.CheckpointMetadata
	// Files is what the paths of Metadata are relative to.
	Files storage.Storage
	// Dir is the directory of the manifest in Files.
	Dir string
	// SHA256 is the hash that the manifest ends with, of all bytes before.
	SHA256 [sha256.Size]byte
}

// Close lets go of Files.
func (s *Snapshot) Close() error { return s.Files.Close() }

// Load reads the manifest of a checkpoint or savepoint by the URL of its directory,
// or of the manifest itself. The caller closes the Snapshot.
func Load(ctx context.Context, r *storage.Registry, url string) (*Snapshot, error) {
	url = strings.TrimSuffix(strings.TrimSuffix(url, "/"), "/"+storage.MetadataName)
	s, err := r.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	m, sum, err := readSum(ctx, s, "")
	if err != nil {
		_ = s.Close() // it was only read
		return nil, err
	}
	if m.GetKind() == holdfastv1.SnapshotKind_SNAPSHOT_KIND_SAVEPOINT {
		return &Snapshot{Metadata: m, Files: s, SHA256: sum}, nil
	}
	_ = s.Close() // it was only read
	job, dir := above(url)
	if s, err = r.Open(ctx, job); err != nil {
		return nil, err
	}
	return &Snapshot{Metadata: m, Files: s, Dir: dir, SHA256: sum}, nil
}

// above cuts the last element off a URL.
func above(url string) (rest, last string) {
	i := strings.LastIndexByte(url, '/')
	return url[:i], url[i+1:]
}

package metadata

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// Write writes the manifest of the checkpoint or savepoint in dir of s, atomically
// and last: every file that it names must be committed. For a checkpoint s is the
// job's directory and dir is chk-N; for a savepoint dir may be "".
func Write(ctx context.Context, s storage.Storage, dir string, m *holdfastv1.CheckpointMetadata) (storage.FileHandle, error) {
	b, err := Encode(m)
	if err != nil {
		return storage.FileHandle{}, err
	}
	return storage.Put(ctx, s, nameIn(dir), storage.RetryPolicy{}, func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(b))
		return err
	})
}

// Read reads the manifest in dir of s. Errors name the file: storage.ErrNotFound
// where there is none, storage.ErrCorrupt, ErrNewer, and what the storage says.
func Read(ctx context.Context, s storage.Storage, dir string) (*holdfastv1.CheckpointMetadata, error) {
	m, _, err := readSum(ctx, s, dir)
	return m, err
}

// readSum is Read with the hash that the manifest ends with.
func readSum(ctx context.Context, s storage.Storage, dir string) (m *holdfastv1.CheckpointMetadata, sum [sha256.Size]byte, err error) {
	url := storage.JoinURL(s.URL(), nameIn(dir))
	b, err := read(ctx, s, dir)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, sum, &storage.Error{
			Op: "read", URL: url, Kind: storage.ErrNotFound, Err: errors.New("there is no manifest"),
			Remedy: "name the directory of a completed checkpoint (chk-N) or of a savepoint; one without a manifest was never completed, or is deleted",
		}
	}
	if err != nil {
		return nil, sum, err
	}
	m, err = Decode(b)
	if err != nil {
		return nil, sum, &storage.Error{Op: "read", URL: url, Err: err}
	}
	return m, [sha256.Size]byte(b[len(b)-sha256.Size:]), nil
}

// Base is the directory that the paths of the manifest in dir of s are relative to.
// dir is not "" for a checkpoint: its paths begin in the directory above.
func Base(s storage.Storage, dir string, m *holdfastv1.CheckpointMetadata) storage.Storage {
	return storage.Sub(s, base(dir, m.GetKind()))
}

func read(ctx context.Context, s storage.Storage, dir string) ([]byte, error) {
	in, err := s.Open(ctx, nameIn(dir), 0, -1)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, MaxSize+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxSize {
		return nil, &storage.Error{
			Op: "read", URL: storage.JoinURL(s.URL(), nameIn(dir)), Kind: storage.ErrCorrupt,
			Err: fmt.Errorf("it is no manifest: it has more than %d bytes", MaxSize),
		}
	}
	return b, nil
}

func nameIn(dir string) string {
	if dir == "" {
		return storage.MetadataName
	}
	return dir + "/" + storage.MetadataName
}

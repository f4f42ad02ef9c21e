package storage

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
)

// probeSize is how many bytes Probe writes.
const probeSize = 1 << 10

// Probe writes a small file, reads it, and deletes it, so that a job learns at its
// start that its directory cannot be used, and why.
func Probe(ctx context.Context, s Storage) error {
	if maxInlineOf(s) > 0 {
		return nil
	}
	name := "probe-" + randomHex(8)
	contents := make([]byte, probeSize)
	_, _ = rand.Read(contents) // it never fails
	h, err := write(ctx, s, name, contents)
	if err != nil {
		return fmt.Errorf("probe of the checkpoint directory: %w", err)
	}
	got, err := ReadAll(ctx, s, Handle{File: &h})
	if err == nil && !bytes.Equal(got, contents) {
		err = corrupt(JoinURL(s.URL(), name), "it is not what was written a moment ago")
	}
	if err := errors.Join(err, s.Delete(ctx, name)); err != nil {
		return fmt.Errorf("probe of the checkpoint directory: %w", err)
	}
	return nil
}

// markText is the contents of a mark.
const markText = "Holdfast looks whether every node sees this directory. The file may be deleted when no job starts.\n"

// PlantMark leaves a small file for CheckMark on other nodes. Who planted it
// deletes it by its name.
func PlantMark(ctx context.Context, s Storage) (name string, err error) {
	name = "mark-" + randomHex(8)
	_, err = write(ctx, s, name, []byte(markText))
	return name, err
}

// CheckMark fails if the mark that another node planted is not to be seen: the
// directory is then another one on this node.
func CheckMark(ctx context.Context, s Storage, name string) error {
	_, err := s.Stat(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return &Error{
			Op: "look into", URL: s.URL(), Kind: ErrNotFound,
			Err:    fmt.Errorf("the file %s that another node has just written is not there: the nodes do not share this directory", name),
			Remedy: "mount the same file system at this path on every node, or use s3:// or hdfs://",
		}
	}
	return err
}

// write writes one small file.
func write(ctx context.Context, s Storage, name string, contents []byte) (FileHandle, error) {
	w, err := Create(ctx, s, name)
	if err != nil {
		return FileHandle{}, err
	}
	defer func() { _ = w.Abort() }() // of no effect after Commit
	if _, err := w.Write(contents); err != nil {
		return FileHandle{}, err
	}
	return w.Commit()
}

package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// Open reads a range.
func (b *bucket) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := b.checkFile("read", name); err != nil {
		return nil, err
	}
	if length == 0 {
		return b.openNothing(ctx, name, offset)
	}
	var opts minio.GetObjectOptions
	if err := setRange(&opts, offset, length); err != nil {
		return nil, b.wrap("read", name, err)
	}
	body, info, _, err := b.core.GetObject(ctx, b.name, b.key(name), opts)
	if isCode(err, "InvalidRange") && length < 0 {
		return b.openNothing(ctx, name, offset) // from the very end on
	}
	if err != nil {
		return nil, b.wrap("read", name, err)
	}
	want := info.Size // of the answer
	if length > 0 {
		want = length
	}
	return &reader{b: b, name: name, body: body, left: want}, nil
}

func setRange(opts *minio.GetObjectOptions, offset, length int64) error {
	switch {
	case length > 0:
		return opts.SetRange(offset, offset+length-1)
	case offset > 0:
		return opts.SetRange(offset, 0)
	default:
		return nil
	}
}

// openNothing is a range without bytes, which S3 has no words for.
func (b *bucket) openNothing(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	info, err := b.Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	if offset > info.Size {
		return nil, &storage.Error{
			Op: "read", URL: storage.JoinURL(b.url, name), Kind: storage.ErrCorrupt,
			Err: fmt.Errorf("it has %d bytes, and byte %d is wanted", info.Size, offset),
		}
	}
	return io.NopCloser(bytes.NewReader(nil)), nil
}

// reader counts: an answer may have fewer bytes than the range.
type reader struct {
	b    *bucket
	name string
	body io.ReadCloser
	left int64
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	r.left -= int64(n)
	switch {
	case errors.Is(err, io.EOF) && r.left > 0:
		return n, &storage.Error{
			Op: "read", URL: storage.JoinURL(r.b.url, r.name), Kind: storage.ErrCorrupt, Err: fmt.Errorf("it ends %d bytes too early", r.left),
		}
	case errors.Is(err, io.EOF):
		return n, io.EOF
	default:
		return n, r.b.wrap("read", r.name, err)
	}
}

func (r *reader) Close() error { return r.body.Close() }

// Stat tells of an object.
func (b *bucket) Stat(ctx context.Context, name string) (storage.FileInfo, error) {
	if err := b.checkFile("stat", name); err != nil {
		return storage.FileInfo{}, err
	}
	info, err := b.core.StatObject(ctx, b.name, b.key(name), minio.StatObjectOptions{})
	if err != nil {
		return storage.FileInfo{}, b.wrap("stat", name, err)
	}
	return storage.FileInfo{Name: name, Size: info.Size, Modified: info.LastModified}, nil
}

// List yields the objects below dir.
func (b *bucket) List(ctx context.Context, dir string) iter.Seq2[storage.FileInfo, error] {
	return func(yield func(storage.FileInfo, error) bool) {
		if err := b.checkDir("list", dir); err != nil {
			yield(storage.FileInfo{}, err)
			return
		}
		for o := range b.objects(ctx, dir) {
			if o.Err != nil {
				yield(storage.FileInfo{}, b.wrap("list", dir, o.Err))
				return
			}
			if strings.HasSuffix(o.Key, "/") {
				continue // what some tools write for a directory
			}
			if !yield(storage.FileInfo{Name: b.nameOf(o.Key), Size: o.Size, Modified: o.LastModified}, nil) {
				return
			}
		}
	}
}

func (b *bucket) objects(ctx context.Context, dir string) iter.Seq[minio.ObjectInfo] {
	return b.core.ListObjectsIter(ctx, b.name, minio.ListObjectsOptions{Prefix: b.below(dir), Recursive: true})
}

// Delete removes an object.
func (b *bucket) Delete(ctx context.Context, name string) error {
	if err := b.checkFile("delete", name); err != nil {
		return err
	}
	err := b.core.RemoveObject(ctx, b.name, b.key(name), minio.RemoveObjectOptions{})
	if isCode(err, "NoSuchKey") {
		return nil
	}
	return b.wrap("delete", name, err)
}

// DeleteAll removes all objects and uploads below dir.
func (b *bucket) DeleteAll(ctx context.Context, dir string) error {
	if err := b.checkDir("delete", dir); err != nil {
		return err
	}
	var listing error
	objects := func(yield func(minio.ObjectInfo) bool) {
		for o := range b.objects(ctx, dir) {
			if listing = o.Err; listing != nil || !yield(o) {
				return
			}
		}
	}
	results, err := b.core.RemoveObjectsWithIter(ctx, b.name, objects, minio.RemoveObjectsOptions{})
	if err != nil {
		return b.wrap("delete", dir, err)
	}
	var errs []error
	for r := range results {
		if r.Err != nil && !isCode(r.Err, "NoSuchKey") {
			errs = append(errs, b.wrap("delete", b.nameOf(r.ObjectName), r.Err))
		}
	}
	errs = append(errs, b.wrap("list", dir, listing))
	_, err = b.deleteUploads(ctx, dir, func(minio.ObjectMultipartInfo) bool { return true })
	return errors.Join(append(errs, err)...)
}

// DeleteUnfinished aborts uploads by the time at which they began: S3 does not tell
// when the last part came.
func (b *bucket) DeleteUnfinished(ctx context.Context, dir string, before time.Time) (int, error) {
	if err := b.checkDir("delete unfinished files of", dir); err != nil {
		return 0, err
	}
	return b.deleteUploads(ctx, dir, func(u minio.ObjectMultipartInfo) bool { return u.Initiated.Before(before) })
}

func (b *bucket) deleteUploads(ctx context.Context, dir string, which func(minio.ObjectMultipartInfo) bool) (int, error) {
	const op = "delete unfinished files of"
	ctx, cancel := context.WithCancel(ctx) // lets the listing end where this returns early
	defer cancel()
	deleted := 0
	for u := range b.core.ListIncompleteUploads(ctx, b.name, b.below(dir), true) {
		if u.Err != nil {
			return deleted, b.wrap(op, dir, u.Err)
		}
		if !which(u) {
			continue
		}
		err := b.core.AbortMultipartUpload(ctx, b.name, u.Key, u.UploadID)
		if err != nil && !isCode(err, "NoSuchUpload") {
			return deleted, b.wrap(op, dir, err)
		}
		deleted++
	}
	return deleted, nil
}

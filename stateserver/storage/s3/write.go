package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"

	"github.com/minio/minio-go/v7"

	"github.com/holdfast-io/holdfast/stateserver/storage"
)

const (
	// singlePut is up to which size a file is one request; larger ones are multipart.
	singlePut = 5 << 20

	// partSize times the 10,000 parts that S3 allows is the largest file, 156 GiB.
	partSize = 16 << 20

	// partsAtOnce are uploaded at a time, for each file that is written.
	partsAtOnce = 2
)

// errGivenUp ends an upload.
var errGivenUp = errors.New("the file was given up")

// writer collects the first bytes; more than singlePut go into a multipart upload
// while they come.
type writer struct {
	ctx  context.Context
	b    *bucket
	name string
	done bool

	first []byte
	pipe  *io.PipeWriter // set: the upload runs
	ended chan error     // the upload's result
}

// Create begins a file. Nothing is sent yet.
func (b *bucket) Create(ctx context.Context, name string) (storage.Writer, error) {
	if err := b.checkFile("write", name); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, b.wrap("write", name, err)
	}
	return &writer{ctx: ctx, b: b, name: name}, nil
}

func (w *writer) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, w.b.wrap("write", w.name, err)
	}
	if w.pipe == nil {
		if len(w.first)+len(p) <= singlePut {
			w.first = append(w.first, p...)
			return len(p), nil
		}
		w.start()
	}
	n, err := w.pipe.Write(p)
	return n, w.b.wrap("write", w.name, err)
}

// start begins the multipart upload. What fails in it is the error of the next
// Write, and of Commit.
func (w *writer) start() {
	r, pipe := io.Pipe()
	w.pipe, w.ended = pipe, make(chan error, 1)
	body := io.MultiReader(bytes.NewReader(w.first), r)
	w.first = nil
	go func() {
		_, err := w.b.core.Client.PutObject(w.ctx, w.b.name, w.b.key(w.name), body, -1, minio.PutObjectOptions{
			PartSize: partSize, NumThreads: partsAtOnce, ConcurrentStreamParts: true, ContentType: contentType,
		})
		_ = r.CloseWithError(errors.Join(err, io.ErrClosedPipe)) // it never fails
		w.ended <- err
	}()
}

const contentType = "application/octet-stream"

// Commit completes the upload.
func (w *writer) Commit() error {
	if w.done {
		return w.b.wrap("commit", w.name, os.ErrClosed)
	}
	w.done = true
	if w.pipe == nil {
		_, err := w.b.core.Client.PutObject(w.ctx, w.b.name, w.b.key(w.name), bytes.NewReader(w.first), int64(len(w.first)),
			minio.PutObjectOptions{PartSize: partSize, ContentType: contentType})
		w.first = nil
		return w.b.wrap("commit", w.name, err)
	}
	_ = w.pipe.Close() // it never fails
	return w.b.wrap("commit", w.name, <-w.ended)
}

// Abort ends the upload; the client aborts its parts.
func (w *writer) Abort() error {
	if w.done {
		return nil
	}
	w.done, w.first = true, nil
	if w.pipe != nil {
		_ = w.pipe.CloseWithError(errGivenUp) // it never fails
		if err := <-w.ended; err == nil {
			return w.b.wrap("abort", w.name, errors.New("it is complete, although it was given up"))
		}
	}
	return nil
}

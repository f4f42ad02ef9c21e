package storage

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// RetryPolicy says how long what failed is tried again. The zero value is
// DefaultRetry.
type RetryPolicy struct {
	Initial time.Duration // before the second try; it doubles, give or take a half
	Max     time.Duration // the longest time between two tries
	Elapsed time.Duration // no new try after this time since the first
}

// DefaultRetry outlasts a restart of a server, not an outage: a checkpoint that
// waits longer had better fail and be followed by the next.
var DefaultRetry = RetryPolicy{Initial: 100 * time.Millisecond, Max: 5 * time.Second, Elapsed: 20 * time.Second}

// NoRetry tries once.
var NoRetry = RetryPolicy{Initial: 1, Max: 1, Elapsed: 1}

// retry calls f until it succeeds, fails for good, or time is over; the error is
// that of the last try.
func retry[T any](ctx context.Context, p RetryPolicy, f func() (T, error)) (T, error) {
	if p == (RetryPolicy{}) {
		p = DefaultRetry
	}
	var last error
	v, err := backoff.Retry(ctx, func() (T, error) {
		v, err := f()
		last = err
		if err != nil && Permanent(err) {
			return v, backoff.Permanent(err)
		}
		return v, err
	}, backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: p.Initial, MaxInterval: p.Max, Multiplier: 2, RandomizationFactor: 0.5,
	}), backoff.WithMaxElapsedTime(p.Elapsed))
	if err == nil {
		return v, nil
	}
	if last == nil {
		last = err // the context ended before the first try
	} else if cause := ctx.Err(); cause != nil && !errors.Is(last, cause) {
		last = errors.Join(last, cause)
	}
	return v, last
}

// Put writes one file by calling write, again from the beginning if it failed for
// a reason that may pass.
func Put(ctx context.Context, s Storage, name string, p RetryPolicy, write func(io.Writer) error) (FileHandle, error) {
	return retry(ctx, p, func() (FileHandle, error) {
		w, err := Create(ctx, s, name)
		if err != nil {
			return FileHandle{}, err
		}
		if err := write(w); err != nil {
			return FileHandle{}, errors.Join(err, w.Abort())
		}
		return w.Commit()
	})
}

// PutHandle is Put with contents that stay inline up to a threshold.
func PutHandle(ctx context.Context, s Storage, name string, threshold int64, p RetryPolicy, write func(io.Writer) error) (Handle, error) {
	return retry(ctx, p, func() (Handle, error) {
		w := CreateHandle(ctx, s, name, threshold)
		if err := write(w); err != nil {
			return Handle{}, errors.Join(err, w.Abort())
		}
		return w.Commit()
	})
}

// retrying is a storage whose calls are tried again.
type retrying struct {
	Storage
	p RetryPolicy
}

// WithRetry is s with every call tried again that can be: all but what a Writer
// does, for its bytes are gone. A reader that breaks goes on where it was.
func WithRetry(s Storage, p RetryPolicy) Storage { return &retrying{Storage: s, p: p} }

func (r *retrying) Unwrap() Storage { return r.Storage }

func (r *retrying) Create(ctx context.Context, name string) (Writer, error) {
	return retry(ctx, r.p, func() (Writer, error) { return r.Storage.Create(ctx, name) })
}

func (r *retrying) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	in, err := retry(ctx, r.p, func() (io.ReadCloser, error) { return r.Storage.Open(ctx, name, offset, length) })
	if err != nil {
		return nil, err
	}
	return &resumedReader{r: r, ctx: ctx, name: name, offset: offset, left: length, in: in}, nil
}

func (r *retrying) Stat(ctx context.Context, name string) (FileInfo, error) {
	return retry(ctx, r.p, func() (FileInfo, error) { return r.Storage.Stat(ctx, name) })
}

// List collects before it yields: a second try begins anew.
func (r *retrying) List(ctx context.Context, dir string) iter.Seq2[FileInfo, error] {
	return func(yield func(FileInfo, error) bool) {
		all, err := retry(ctx, r.p, func() ([]FileInfo, error) { return ListAll(ctx, r.Storage, dir) })
		if err != nil {
			yield(FileInfo{}, err)
			return
		}
		for _, info := range all {
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (r *retrying) Delete(ctx context.Context, name string) error {
	_, err := retry(ctx, r.p, func() (struct{}, error) { return struct{}{}, r.Storage.Delete(ctx, name) })
	return err
}

func (r *retrying) DeleteAll(ctx context.Context, dir string) error {
	_, err := retry(ctx, r.p, func() (struct{}, error) { return struct{}{}, r.Storage.DeleteAll(ctx, dir) })
	return err
}

func (r *retrying) DeleteUnfinished(ctx context.Context, dir string, before time.Time) (int, error) {
	return retry(ctx, r.p, func() (int, error) { return r.Storage.DeleteUnfinished(ctx, dir, before) })
}

// resumedReader opens its file again where a read broke.
type resumedReader struct {
	r            *retrying
	ctx          context.Context
	name         string
	offset, left int64 // left < 0: to the end
	in           io.ReadCloser
}

func (r *resumedReader) Read(p []byte) (int, error) {
	n, err := r.read(p)
	if n > 0 || err == nil || errors.Is(err, io.EOF) || Permanent(err) || r.ctx.Err() != nil {
		if n > 0 && !errors.Is(err, io.EOF) {
			err = nil // the next Read meets it again, if it is still there
		}
		return n, err
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	end := false
	n, err = retry(r.ctx, r.r.p, func() (int, error) {
		in, err := r.r.Storage.Open(r.ctx, r.name, r.offset, r.left)
		if err != nil {
			return 0, err
		}
		_ = r.in.Close() // it is broken
		r.in = in
		n, err := r.read(p)
		if end = errors.Is(err, io.EOF); n > 0 || end {
			err = nil
		}
		return n, err
	})
	if end {
		err = io.EOF
	}
	return n, err
}

// read counts.
func (r *resumedReader) read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	r.offset += int64(n)
	if r.left > 0 {
		r.left -= int64(n)
	}
	return n, err
}

func (r *resumedReader) Close() error { return r.in.Close() }

// ListAll is List as a slice.
func ListAll(ctx context.Context, s Storage, dir string) ([]FileInfo, error) {
	var all []FileInfo
	for info, err := range s.List(ctx, dir) {
		if err != nil {
			return nil, err
		}
		all = append(all, info)
	}
	return all, nil
}

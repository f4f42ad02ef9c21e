package storage

import (
	"context"
	"io"
	"iter"
	"strings"
	"time"
)

// sub is a directory of another storage.
type sub struct {
	s   Storage
	dir string
}

// Sub is the directory dir of s as a storage of its own. It shares everything with
// s and needs no Close.
func Sub(s Storage, dir string) Storage {
	if dir == "" {
		return s
	}
	return &sub{s: s, dir: dir}
}

func (s *sub) join(name string) string {
	if name == "" {
		return s.dir
	}
	return s.dir + "/" + name
}

func (s *sub) Unwrap() Storage { return s.s }

func (s *sub) URL() string { return JoinURL(s.s.URL(), s.dir) }

func (s *sub) Create(ctx context.Context, name string) (Writer, error) {
	return s.s.Create(ctx, s.join(name))
}

func (s *sub) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	return s.s.Open(ctx, s.join(name), offset, length)
}

func (s *sub) Stat(ctx context.Context, name string) (FileInfo, error) {
	info, err := s.s.Stat(ctx, s.join(name))
	info.Name = name
	return info, err
}

func (s *sub) List(ctx context.Context, dir string) iter.Seq2[FileInfo, error] {
	return func(yield func(FileInfo, error) bool) {
		for info, err := range s.s.List(ctx, s.join(dir)) {
			info.Name = strings.TrimPrefix(info.Name, s.dir+"/")
			if !yield(info, err) {
				return
			}
		}
	}
}

func (s *sub) Delete(ctx context.Context, name string) error { return s.s.Delete(ctx, s.join(name)) }

func (s *sub) DeleteAll(ctx context.Context, dir string) error {
	return s.s.DeleteAll(ctx, s.join(dir))
}

func (s *sub) DeleteUnfinished(ctx context.Context, dir string, before time.Time) (int, error) {
	return s.s.DeleteUnfinished(ctx, s.join(dir), before)
}

func (*sub) Close() error { return nil }

// JoinURL is the URL of a name below a storage's.
func JoinURL(url, name string) string {
	if name == "" {
		return url
	}
	return strings.TrimSuffix(url, "/") + "/" + name
}

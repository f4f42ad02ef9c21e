// Package file is a bounded source that reads the lines of files. The position
// of a line is its byte offset.
package file

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/holdfast-io/holdfast/clients/go/source"
)

// MaxLine is the longest line, in bytes, that can be read.
const MaxLine = 16 << 20

// Source reads files, each of which is a split. Every process that may run the
// job must have the same files under the same paths.
type Source struct{ paths []string }

// NewSource reads the files once, from beginning to end.
func NewSource(paths ...string) *Source { return &Source{paths} }

// Spec implements source.Source.
func (s *Source) Spec() (source.Spec, error) {
	if len(s.paths) == 0 {
		return source.Spec{}, fmt.Errorf("%w: no files are named", source.ErrPermanent)
	}
	return source.Spec{Connector: "file", Topics: s.paths}, nil
}

// DiscoverSplits implements source.Source. The partition is the index of the
// file among the paths.
func (s *Source) DiscoverSplits(_ context.Context, o source.DiscoverOptions) ([]source.Split, error) {
	splits := make([]source.Split, len(s.paths))
	for i, path := range s.paths {
		if _, err := os.Stat(path); err != nil {
			return nil, missing(err)
		}
		splits[i] = source.Split{Topic: path, Partition: uint32(i), Resolved: o.ResolveOffsets}
	}
	return splits, nil
}

func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", source.ErrSourceNotFound, err)
	}
	return err
}

// Open implements source.Source. A split without a start offset begins at 0.
func (s *Source) Open(_ context.Context, o source.OpenOptions) (source.Reader, error) {
	r := &reader{splits: o.Splits}
	for _, sp := range o.Splits {
		f, err := open(sp)
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		r.files = append(r.files, f)
		r.lines = append(r.lines, bufio.NewReaderSize(f, 256<<10))
		r.next = append(r.next, sp.StartOffset)
	}
	return r, nil
}

func open(sp source.Split) (*os.File, error) {
	f, err := os.Open(sp.Topic)
	if err != nil {
		return nil, missing(err)
	}
	info, err := f.Stat()
	if err == nil && (sp.StartOffset < 0 || sp.StartOffset > info.Size()) {
		err = &source.OffsetOutOfRangeError{Topic: sp.Topic, Partition: sp.Partition, Offset: sp.StartOffset}
	}
	if err == nil {
		_, err = f.Seek(sp.StartOffset, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

type reader struct {
	splits []source.Split
	files  []*os.File
	lines  []*bufio.Reader
	next   []int64
	line   []byte
	// current is the file that is being read; those before it are at their end.
	current int
}

// Poll implements source.Reader.
func (r *reader) Poll(_ context.Context, b *source.Batch, max int) error {
	for b.Len() < max {
		if r.current == len(r.files) {
			return io.EOF
		}
		n, err := r.read()
		if err != nil {
			return fmt.Errorf("read %s: %w", r.splits[r.current].Topic, err)
		}
		if n == 0 {
			r.current++
			continue
		}
		// The offset of a record is that of its last byte, so that the next
		// position is, as everywhere, the offset of the last record + 1.
		r.next[r.current] += int64(n)
		b.Append(source.Entry{
			Split: r.current, Offset: r.next[r.current] - 1, LeaderEpoch: -1, Value: trim(r.line),
		})
	}
	return nil
}

// read reads one line and returns its length with its end; 0 at the end.
func (r *reader) read() (int, error) {
	r.line = r.line[:0]
	for {
		part, err := r.lines[r.current].ReadSlice('\n')
		r.line = append(r.line, part...)
		switch {
		case len(r.line) > MaxLine:
			return 0, fmt.Errorf("the line at byte %d is longer than %d bytes", r.next[r.current], MaxLine)
		case err == nil, errors.Is(err, io.EOF):
			return len(r.line), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return 0, err
		}
	}
}

// trim takes the end of a line away, but never makes it null.
func trim(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}

// Positions implements source.Reader.
func (r *reader) Positions(dst []source.Position) []source.Position {
	for _, n := range r.next {
		dst = append(dst, source.Position{NextOffset: n, LeaderEpoch: -1})
	}
	return dst
}

// CommitForDisplay implements source.Reader; there is nowhere to show it.
func (r *reader) CommitForDisplay([]source.Position) {}

// Close implements source.Reader.
func (r *reader) Close() error {
	var errs []error
	for _, f := range r.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

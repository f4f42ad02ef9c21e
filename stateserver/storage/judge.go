//go:build !bug_unchecked_read

package storage

import (
	"bytes"
	"io"
)

// judge is io.EOF if the file is the one that was written.
func (c *checkedReader) judge() error {
	switch {
	case c.size < c.want.Size:
		return corrupt(c.url, "it is truncated: it has %d bytes, and should have %d", c.size, c.want.Size)
	case c.size > c.want.Size:
		return corrupt(c.url, "it is too long: it should have %d bytes", c.want.Size)
	case !bytes.Equal(c.hash.Sum(nil), c.want.SHA256[:]):
		return corrupt(c.url, "its %d bytes are not those that were written: SHA-256 is %x, and should be %x", c.size, c.hash.Sum(nil), c.want.SHA256)
	}
	return io.EOF
}

//go:build bug_unchecked_read

package storage

import "io"

// Planted bug: whatever the file has is taken for what was written.
func (c *checkedReader) judge() error { return io.EOF }

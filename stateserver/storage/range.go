package storage

import "fmt"

// CheckRange is what an Open reads of a file with a size: length bytes from offset
// on, to the end where length is negative. It returns the length. A range beyond the
// end is an error of kind ErrCorrupt that names the URL.
func CheckRange(url string, size, offset, length int64) (int64, error) {
	if length < 0 {
		length = size - offset
	}
	if offset < 0 || length < 0 || offset > size-length {
		return 0, &Error{
			Op: "read", URL: url, Kind: ErrCorrupt,
			Err: fmt.Errorf("it has %d bytes, and %d from byte %d on are wanted", size, length, offset),
		}
	}
	return length, nil
}

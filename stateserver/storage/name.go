package storage

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// The names of Flink's layout below a job's directory.
const (
	MetadataName = "_metadata"
	SharedDir    = "shared"
	TaskOwnedDir = "taskowned"
)

// maxName bounds a name as a whole: what S3 allows for a key, with room for the
// prefix of the directory.
const maxName = 768

// maxElement bounds one element of a name, with room for what an unfinished file
// has before its name.
const maxElement = 220

// CheckName refuses what is no name of a file: elements with slashes between, each
// of 1 to 220 bytes of [A-Za-z0-9._=@+-] that do not begin with a dot.
func CheckName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("%w: %q... has %d bytes, more than %d", ErrInvalidName, name[:32], len(name), maxName)
	}
	for element := range strings.SplitSeq(name, "/") {
		switch {
		case element == "":
			return fmt.Errorf("%w: %q has an empty element", ErrInvalidName, name)
		case element[0] == '.':
			return fmt.Errorf("%w: %q has an element that begins with a dot", ErrInvalidName, name)
		case len(element) > maxElement:
			return fmt.Errorf("%w: an element of %q has %d bytes, more than %d", ErrInvalidName, name, len(element), maxElement)
		}
		for _, c := range []byte(element) {
			if !nameByte(c) {
				return fmt.Errorf("%w: %q has the byte %q", ErrInvalidName, name, c)
			}
		}
	}
	return nil
}

func nameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("._=@+-", c) >= 0
}

// CheckpointDir is the directory of a checkpoint in that of its job: chk-N.
func CheckpointDir(id uint64) string { return "chk-" + strconv.FormatUint(id, 10) }

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // crypto/rand never fails: it ends the process instead
	return hex.EncodeToString(b)
}

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

	checkpointPrefix = "chk-"
	savepointPrefix  = "savepoint-"
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

// CheckDir is CheckName for a directory: it may be "", the storage's own.
func CheckDir(dir string) error {
	if dir == "" {
		return nil
	}
	return CheckName(dir)
}

func nameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("._=@+-", c) >= 0
}

// CheckpointDir is the directory of a checkpoint in that of its job: chk-N.
func CheckpointDir(id uint64) string { return checkpointPrefix + strconv.FormatUint(id, 10) }

// CheckpointID is the checkpoint of a directory that CheckpointDir named.
func CheckpointID(dir string) (id uint64, ok bool) {
	digits, ok := strings.CutPrefix(dir, checkpointPrefix)
	if !ok {
		return 0, false
	}
	id, err := strconv.ParseUint(digits, 10, 64)
	return id, err == nil && CheckpointDir(id) == dir
}

// NewSavepointDir names the directory of a new savepoint, as Flink does:
// savepoint-<short job id>-<random>.
func NewSavepointDir(jobID string) string {
	return savepointPrefix + jobID[:min(6, len(jobID))] + "-" + randomHex(6)
}

// NewFileName names a new file that the holder of a fencing token writes for a
// subtask. No two calls give the same.
func NewFileName(subtask uint32, token uint64) string {
	return fmt.Sprintf("%d-%d-%s", subtask, token, randomHex(8))
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // crypto/rand never fails: it ends the process instead
	return hex.EncodeToString(b)
}

package hdfs

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/colinmarc/hdfs/v2"

	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// wrap makes err the storage's.
func (t *tree) wrap(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return t.error(op, name, err)
}

func (t *tree) error(op, name string, err error) *storage.Error {
	e := &storage.Error{Op: op, URL: storage.JoinURL(t.url, name), Kind: storage.OSKind(err), Err: err}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		e.Err = pe.Err
	}
	var remote hdfs.Error
	if errors.As(err, &remote) {
		e.Kind = kindOf(remote.Exception())
		e.Err = fmt.Errorf("%s: %s", remote.Method(), firstLine(remote))
	}
	switch {
	case errors.Is(e.Kind, storage.ErrAccessDenied):
		e.Remedy = "give the user that holdfastd runs as (or HADOOP_USER_NAME) the right to write there"
	case errors.Is(e.Kind, storage.ErrNoSpace):
		e.Remedy = "free space there, raise the quota, or name another directory"
	}
	return e
}

// kindOf is the kind of an exception of the name node.
func kindOf(exception string) error {
	name := exception[strings.LastIndexByte(exception, '.')+1:]
	switch {
	case name == "FileNotFoundException":
		return storage.ErrNotFound
	case name == "AccessControlException":
		return storage.ErrAccessDenied
	case strings.Contains(name, "QuotaExceededException"):
		return storage.ErrNoSpace
	case name == "SafeModeException", name == "StandbyException", name == "RetriableException":
		return storage.ErrUnavailable
	default:
		return nil
	}
}

// firstLine is the message without the traceback.
func firstLine(e hdfs.Error) string {
	line, _, _ := strings.Cut(e.Message(), "\n")
	if line == "" {
		return e.Exception()
	}
	return line
}

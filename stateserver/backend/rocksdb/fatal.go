package rocksdb

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
)

// logger is Pebble's way to talk. It tells of every compaction at its level of
// information, which is debugging here.
type logger struct {
	log  *slog.Logger
	fail func(error)
}

// Infof implements pebble.Logger.
func (l *logger) Infof(format string, args ...any) {
	l.log.Debug("pebble: " + fmt.Sprintf(format, args...))
}

// Errorf implements pebble.Logger.
func (l *logger) Errorf(format string, args ...any) {
	l.log.Warn("pebble: " + fmt.Sprintf(format, args...))
}

// errFatal is what Fatalf throws through Pebble into a method of this package.
var errFatal = errors.New("pebble cannot go on")

// Fatalf implements pebble.Logger. It must not return, and Pebble means it to end
// the process: here only the state is lost. On the way of a call into this package
// it unwinds to that call; a goroutine of Pebble's own ends.
func (l *logger) Fatalf(format string, args ...any) {
	l.fail(fmt.Errorf("%w: %s", errFatal, fmt.Sprintf(format, args...)))
	if calledFromHere() {
		panic(errFatal)
	}
	runtime.Goexit()
}

// calledFromHere reports whether a method that recovers is on the stack.
func calledFromHere() bool {
	pcs := make([]uintptr, 128)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		if strings.Contains(f.Function, "backend/rocksdb.guarded") {
			return true
		}
		if !more {
			return false
		}
	}
}

// guarded calls f and makes an error of a panic that comes out of Pebble: of its
// Fatalf, or because a file on the disk is not what it wrote.
func guarded(fail func(error), f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("pebble: %v", r)
			fail(err)
		}
	}()
	return f()
}

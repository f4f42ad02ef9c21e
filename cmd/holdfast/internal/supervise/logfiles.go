package supervise

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// LogNames names the output files of a run's processes, after Flink's
// flink-<user>-jobmanager-<n>-<host>.out: each new process takes the next n,
// so that a restart never writes into what its predecessor wrote.
type LogNames struct {
	Dir  string
	User string
	Job  string
	Host string
}

// Files are the two files of one process.
type Files struct {
	N        int
	Out, Log *os.File
}

// Close closes this process's handles; the child has its own.
func (f Files) Close() error { return errors.Join(f.Out.Close(), f.Log.Close()) }

func (l LogNames) prefix() string { return "holdfast-" + clean(l.User) + "-" + clean(l.Job) + "-" }

func (l LogNames) suffix() string { return "-" + clean(l.Host) }

// Path is the name of file n; ext is ".out" or ".log".
func (l LogNames) Path(n int, ext string) string {
	return filepath.Join(l.Dir, l.prefix()+strconv.Itoa(n)+l.suffix()+ext)
}

// Create makes the files with the next number: one above the highest in the
// directory, from 0.
func (l LogNames) Create() (Files, error) {
	if err := os.MkdirAll(l.Dir, 0o755); err != nil {
		return Files{}, err
	}
	n, err := l.next()
	if err != nil {
		return Files{}, err
	}
	for ; ; n++ {
		out, err := createNew(l.Path(n, ".out"))
		if errors.Is(err, os.ErrExist) {
			// Another run took the number in this moment.
			continue
		}
		if err != nil {
			return Files{}, err
		}
		log, err := createNew(l.Path(n, ".log"))
		if err != nil {
			return Files{}, errors.Join(err, out.Close())
		}
		return Files{N: n, Out: out, Log: log}, nil
	}
}

func (l LogNames) next() (int, error) {
	entries, err := os.ReadDir(l.Dir)
	if err != nil {
		return 0, err
	}
	next := 0
	for _, e := range entries {
		if n, ok := l.number(e.Name()); ok {
			next = max(next, n+1)
		}
	}
	return next, nil
}

// number reads n from a name of the form of Path.
func (l LogNames) number(name string) (int, bool) {
	rest, ok := strings.CutSuffix(name, ".out")
	if !ok {
		rest, ok = strings.CutSuffix(name, ".log")
	}
	if !ok {
		return 0, false
	}
	rest, ok = strings.CutSuffix(rest, l.suffix())
	if !ok {
		return 0, false
	}
	rest, ok = strings.CutPrefix(rest, l.prefix())
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(rest)
	return n, err == nil && n >= 0
}

func createNew(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o644)
}

// clean makes one part of a file name of any text.
func clean(s string) string {
	if s == "" {
		return "unknown"
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '_'
	}, s)
}

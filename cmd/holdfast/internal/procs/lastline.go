package procs

import (
	"bytes"
	"io"
	"os"
	"strings"
)

// LastLine is the last line of a log that is not empty, for a message: what a
// process said before it ended.
func LastLine(path string) string {
	const tail = 4096
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > tail {
		if _, err := f.Seek(-tail, io.SeekEnd); err != nil {
			return err.Error()
		}
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
	line := strings.TrimSpace(string(lines[len(lines)-1]))
	if line == "" {
		return "it logged nothing"
	}
	return line
}

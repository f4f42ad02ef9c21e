package bench

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Memory is what the kernel says of a process, in bytes.
type Memory struct {
	// Resident is VmRSS, Peak VmHWM.
	Resident uint64 `json:"resident_bytes"`
	Peak     uint64 `json:"peak_bytes"`
	// Anonymous is its own memory, File that of mapped files: the program and,
	// of a node, its log, which the kernel takes back when it needs room.
	Anonymous uint64 `json:"anonymous_bytes"`
	File      uint64 `json:"file_bytes"`
}

// memoryOf reads /proc/<pid>/status.
func memoryOf(pid int) (m Memory, err error) {
	path := filepath.Join("/proc", strconv.Itoa(pid), "status")
	for name, to := range map[string]*uint64{"VmRSS": &m.Resident, "VmHWM": &m.Peak, "RssAnon": &m.Anonymous, "RssFile": &m.File} {
		text, _, _ := strings.Cut(field(path, name), " ")
		kb, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return m, fmt.Errorf("%s has no %s: the process has ended, or this system does not tell", path, name)
		}
		*to = kb << 10
	}
	return m, nil
}

// metricOf reads one metric without labels from a node's HTTP port.
func metricOf(ctx context.Context, address, name string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	for s := bufio.NewScanner(r.Body); s.Scan(); {
		if text, ok := strings.CutPrefix(s.Text(), name+" "); ok {
			return strconv.ParseFloat(text, 64)
		}
	}
	return 0, fmt.Errorf("http://%s/metrics does not have %s", address, name)
}

// bytesBelow adds up the files in a directory.
func bytesBelow(dir string) (n uint64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil //nolint:nilerr // a snapshot that is just being replaced
		}
		if info, err := e.Info(); err == nil {
			n += uint64(info.Size())
		}
		return nil
	})
	return n
}

// bytesOf is the size of a file, 0 if it is not there.
func bytesOf(path string) uint64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return uint64(info.Size())
}

// entriesOf is how many files and directories a directory has, 0 if it is not there.
func entriesOf(dir string) uint64 {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	return uint64(len(entries))
}

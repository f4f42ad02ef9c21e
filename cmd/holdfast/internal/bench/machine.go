package bench

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is the size of the machine that a figure is of.
type Machine struct {
	CPU   string `json:"cpu"`
	Cores int    `json:"cores"`
	// MemoryBytes is 0 where the system does not say.
	MemoryBytes uint64 `json:"memory_bytes"`
	// Disk is the file system of the temporary directory, with its size.
	Disk      string `json:"disk"`
	DiskBytes uint64 `json:"disk_bytes"`
	// Load is the load average of the last minute before the measurement: other
	// work makes figures worse.
	Load float64 `json:"load"`
	OS   string  `json:"os"`
}

// ThisMachine describes this machine, as far as the system tells.
func ThisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, CPU: field("/proc/cpuinfo", "model name")}
	if kb, _, _ := strings.Cut(field("/proc/meminfo", "MemTotal"), " "); kb != "" {
		n, _ := strconv.ParseUint(kb, 10, 64)
		m.MemoryBytes = n << 10
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(os.TempDir(), &fs); err == nil {
		m.Disk, m.DiskBytes = fileSystem(os.TempDir()), fs.Blocks*uint64(fs.Bsize)
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		first, _, _ := strings.Cut(string(b), " ")
		m.Load, _ = strconv.ParseFloat(first, 64)
	}
	return m
}

// field finds "key : value" in a file; empty if it is not there.
func field(path, key string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		k, v, ok := strings.Cut(s.Text(), ":")
		if ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// fileSystem names the type of the file system that holds a directory.
func fileSystem(dir string) string {
	f, err := os.Open("/proc/mounts")
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	kind, longest := "unknown", -1
	for s := bufio.NewScanner(f); s.Scan(); {
		w := strings.Fields(s.Text())
		if len(w) < 3 {
			continue
		}
		at := strings.TrimSuffix(w[1], "/")
		if (dir == w[1] || strings.HasPrefix(dir, at+"/")) && len(at) > longest {
			kind, longest = w[2], len(at)
		}
	}
	return kind
}

// String is one line for people.
func (m Machine) String() string {
	cpu := m.CPU
	if cpu == "" {
		cpu = m.OS
	}
	return fmt.Sprintf("%d cores (%s), %.1f GiB memory, disk %s of %.0f GiB, load %.1f before the start",
		m.Cores, cpu, float64(m.MemoryBytes)/(1<<30), m.Disk, float64(m.DiskBytes)/(1<<30), m.Load)
}

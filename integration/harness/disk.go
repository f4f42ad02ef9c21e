package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Disk is a file system of its own for the data of one node. It needs root and
// Linux, as do mounts.
type Disk struct {
	t     testing.TB
	mount string
}

// HangingDisk is an ext4 in a file, which can be stopped. Without the right to
// mount the test is skipped; nodes in process show the same with a hook.
func HangingDisk(t testing.TB) *Disk {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 128<<20); err != nil {
		t.Fatal(err)
	}
	d := &Disk{t: t, mount: t.TempDir()}
	d.mountOrSkip([]string{"mkfs.ext4", "-q", image}, []string{"mount", "-o", "loop", image, d.mount})
	return d
}

// SmallDisk is a tmpfs of a number of MiB.
func SmallDisk(t testing.TB, mib int) *Disk {
	t.Helper()
	d := &Disk{t: t, mount: t.TempDir()}
	d.mountOrSkip([]string{"mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", mib), "tmpfs", d.mount})
	return d
}

func (d *Disk) mountOrSkip(commands ...[]string) {
	d.t.Helper()
	if os.Geteuid() != 0 {
		d.t.Skip("a disk of its own needs root, to mount it")
	}
	for _, c := range commands {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			d.t.Skipf("a disk of its own needs the right to mount: %s: %v\n%s", strings.Join(c, " "), err, out)
		}
	}
	d.t.Cleanup(func() {
		_ = exec.Command("fsfreeze", "-u", d.mount).Run() // it is not stopped
		if err := poll(10*time.Second, func() error { return d.run("umount", d.mount) }); err != nil {
			d.t.Errorf("%v", err)
		}
	})
}

func (d *Disk) run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

func (d *Disk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// Dir is a data directory on the disk.
func (d *Disk) Dir() string { return filepath.Join(d.mount, "data") }

// Hang stops the disk: whoever writes waits, until Unhang.
func (d *Disk) Hang() { d.t.Helper(); d.must(d.run("fsfreeze", "-f", d.mount)) }

// Unhang ends Hang.
func (d *Disk) Unhang() { d.t.Helper(); d.must(d.run("fsfreeze", "-u", d.mount)) }

// Fill takes all the room that is left.
func (d *Disk) Fill() {
	d.t.Helper()
	f, err := os.Create(d.ballast())
	d.must(err)
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if n, err := f.Write(make([]byte, size)); err != nil || n < size {
			size /= 16
		}
	}
}

// MakeRoom gives back what Fill took.
func (d *Disk) MakeRoom() { d.t.Helper(); d.must(os.Remove(d.ballast())) }

func (d *Disk) ballast() string { return filepath.Join(d.mount, "ballast") }

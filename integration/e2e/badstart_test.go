package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/internal/testport"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// start is one start of holdfastd that must fail.
type start struct {
	args, env []string
	// mount is a shell command that prepares what is seen of the file system, in
	// a mount namespace of the process's own. It needs root.
	mount string
	uid   uint32
}

// ended is how it did.
type ended struct {
	code   int
	said   string // from "holdfastd: " on, or the last line that was logged
	stderr string
	peak   int64 // bytes of memory
}

func (s start) run(t *testing.T) ended {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience())
	defer cancel()
	args := append([]string{harness.Binary(t, "holdfastd"), "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0"}, s.args...)
	if s.mount != "" {
		args = append([]string{"unshare", "--mount", "sh", "-e", "-c", s.mount + "\nexec \"$@\"", "sh"}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), s.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if s.uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: s.uid, Gid: s.uid}
		cmd.Dir = "/"
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("holdfastd did not end by itself: %v\n%s", err, stderr.String())
	}
	e := ended{code: cmd.ProcessState.ExitCode(), stderr: stderr.String()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		e.peak = usage.Maxrss << 10
	}
	text := strings.TrimRight(e.stderr, "\n")
	if at := strings.LastIndex(text, "holdfastd: "); at >= 0 {
		e.said = text[at:]
	} else {
		e.said = text[strings.LastIndex(text, "\n")+1:]
	}
	return e
}

// maxPeak is far above what a process takes that only reads its configuration.
const maxPeak = 100 << 20

// needRoot skips where there can be no mount namespace and no other user.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it mounts file systems in a mount namespace of its own, and starts processes of another user")
	}
}

type badStart struct {
	name string
	start
	code int
	// want is what is told; # stands for a number or an id.
	want string
	root bool
}

func (b badStart) check(t *testing.T) {
	t.Run(b.name, func(t *testing.T) {
		if b.root {
			needRoot(t)
		}
		e := b.run(t)
		pattern := strings.ReplaceAll(regexp.QuoteMeta(b.want), "#", "[0-9a-f]+")
		if e.code != b.code || !regexp.MustCompile("^"+pattern+"$").MatchString(e.said) {
			t.Errorf("exit code %d, want %d\ngot  %s\nwant %s", e.code, b.code, e.said, b.want)
		}
		if e.peak > maxPeak {
			t.Errorf("it took %d MiB of memory, at most %d are expected", e.peak>>20, maxPeak>>20)
		}
	})
}

// Configurations that cannot be: exit code 2, and what to do.
func TestBadStart_Configuration(t *testing.T) {
	harness.RequireEnv(t, harness.EnvBin)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	large := file("large.yaml", "")
	if err := os.Truncate(large, 100<<20); err != nil {
		t.Fatal(err)
	}
	typo := file("typo.yaml", "sesion-timeout: 5 s\n")
	private := file("private.yaml", "name: a\n")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, b := range []badStart{
		{name: "a directory", start: start{args: []string{"--config", dir}}, code: 2, want: "holdfastd: " + dir + ": it is a directory, not a file"},
		{name: "no file", start: start{args: []string{"--config", dir + "/none"}}, code: 2, want: "holdfastd: " + dir + "/none: no such file or directory; give the path of a file, or none for the defaults"},
		{name: "binary", start: start{args: []string{"--config", file("binary", "name: a\n\x7fELF\x00")}}, code: 2, want: "holdfastd: " + dir + "/binary:2: it is not a text file: byte 8 is neither UTF-8 nor printable; save it as plain UTF-8"},
		{name: "100 MB", start: start{args: []string{"--config", large}}, code: 2, want: "holdfastd: " + large + ": it is larger than 1048576 bytes, which no configuration is"},
		{name: "a device", start: start{args: []string{"--config", "/dev/zero"}}, code: 2, want: "holdfastd: /dev/zero: it is larger than 1048576 bytes, which no configuration is"},
		{name: "a file of another user", start: start{args: []string{"--config", private}, uid: 65534}, root: true, code: 2, want: "holdfastd: " + private + ": permission denied; this user must be able to read it"},
		{name: "a typing error", start: start{args: []string{"--config", typo}}, code: 2, want: "holdfastd: " + typo + ":1: sesion-timeout: there is no such key; did you mean session-timeout?"},
		{name: "a variable", start: start{env: []string{"HOLDFAST_LISTN=x"}}, code: 2, want: "holdfastd: HOLDFAST_LISTN: there is no such key; did you mean HOLDFAST_LISTEN?"},
		{name: "a key of Flink", start: start{env: []string{"HOLDFAST_STATE_CHECKPOINTS_CREATE_SUBDIR=x"}}, code: 2, want: "holdfastd: HOLDFAST_STATE_CHECKPOINTS_CREATE_SUBDIR: this key of Flink is not supported yet: each job has a directory of its own below the one for checkpoints"},
		{name: "a flag", start: start{args: []string{"--frobnicate"}}, code: 2, want: "holdfastd: unknown flag: --frobnicate"},
		{name: "an argument", start: start{args: []string{"start"}}, code: 2, want: `holdfastd: unknown command "start" for "holdfastd"`},
		{name: "no address", start: start{args: []string{"--listen", "here"}}, code: 2, want: `holdfastd: --listen: "here" is not host:port`},
		{name: "no port", start: start{args: []string{"--listen", "127.0.0.1:70700"}}, code: 2, want: `holdfastd: --listen: "127.0.0.1:70700" has no port from 0 to 65535`},
		{name: "a list without this node", start: start{args: []string{"--name", "x", "--initial-cluster", "n1=127.0.0.1:1,n2=127.0.0.1:2"}}, code: 2, want: "holdfastd: --initial-cluster: it does not have this node, whose name is x; add it, or set name to one of n1, n2"},
		{name: "a list with a name twice", start: start{args: []string{"--initial-cluster", "n1=127.0.0.1:1,n1=127.0.0.1:2"}}, code: 2, want: "holdfastd: --initial-cluster: the name n1 is there twice; give each node its own"},
	} {
		b.check(t)
	}
}

// What a node finds when it opens its ports and its directory: exit code 1.
func TestBadStart_Surroundings(t *testing.T) {
	harness.RequireEnv(t, harness.EnvBin)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().String()
	dir := filepath.Join(t.TempDir(), "data")
	used := runNode(t, dir)
	other := runNode(t, filepath.Join(t.TempDir(), "data"))
	foreign, foreignDir := addressesOf(t, dir), filepath.Join(t.TempDir(), "data")
	runNode(t, foreignDir).Kill()
	list := "--initial-cluster=n1=127.0.0.1:1,n2=" + foreign.PeerAddress
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mnt := t.TempDir()
	for _, b := range []badStart{
		{name: "port in use", start: start{args: []string{"--listen", port}}, code: 1, want: "holdfastd: listen: " + port + " is in use by another process: stop that, or set listen to another host:port; port 0 takes a free one: listen tcp " + port + ": bind: address already in use"},
		{name: "peer port in use", start: start{args: []string{"--peer-listen", port}}, code: 1, want: "holdfastd: peer-listen: " + port + " is in use by another process: stop that, or set peer-listen to another host:port; port 0 takes a free one: listen tcp " + port + ": bind: address already in use"},
		{name: "directory in use", start: start{args: []string{"--data-dir", dir}}, code: 1, want: "holdfastd: raftstore: data directory is in use by another process: " + dir + ": stop it, or give another directory"},
		{name: "directory of another cluster", start: start{args: []string{"--data-dir", foreignDir, "--name", "n1", list}}, code: 1,
			want: "holdfastd: raftstore: belongs to another cluster: the data directory " + foreignDir + " is of cluster #, and n2 at " + foreign.PeerAddress + ", which is in initial-cluster, of cluster #: " +
				"give this node its own directory; to make it a member of that cluster, start it with --join on an empty one and add it"},
		{name: "a new directory for a cluster that exists", start: start{args: []string{"--name", "n2", "--initial-cluster=n1=" + foreign.PeerAddress + ",n2=127.0.0.1:1"}}, code: 1,
			want: "holdfastd: raftstore: node is not a member of the cluster: n1 at " + foreign.PeerAddress + " already belongs to cluster #, which does not know this node's id #. " +
				"A node with a new or emptied data directory is a new member: remove the old one if there is one, start this node to join, and add it"},
		{name: "a file", start: start{args: []string{"--data-dir", file}}, code: 1, want: "holdfastd: raftstore: data directory format is not supported: " + file + " is a file, not a directory: give another path"},
		{name: "read-only", root: true, start: start{args: []string{"--data-dir", mnt}, mount: "mount --bind " + mnt + " " + mnt + "; mount -o remount,ro,bind " + mnt}, code: 1,
			want: "holdfastd: raftstore: open lock file: open " + mnt + "/LOCK: read-only file system: mount the disk of the data directory for writing and start the node again"},
		{name: "read-only, to be made", root: true, start: start{args: []string{"--data-dir", mnt + "/data"}, mount: "mount --bind " + mnt + " " + mnt + "; mount -o remount,ro,bind " + mnt}, code: 1,
			want: "holdfastd: raftstore: make data directory: mkdir " + mnt + "/data: read-only file system: mount the disk of the data directory for writing and start the node again"},
		{name: "full", root: true, start: start{args: []string{"--data-dir", mnt}, mount: "mount -t tmpfs -o size=16k tmpfs " + mnt}, code: 1,
			want: "holdfastd: raftstore: open log store " + mnt + "/raft.db: write " + mnt + "/raft.db: no space left on device: make room on the disk of the data directory and start the node again"},
	} {
		b.check(t)
	}
	for _, n := range []*harness.Process{used, other} {
		select {
		case <-n.Done():
			t.Errorf("a node that has nothing to do with it ended with status %d", n.ExitCode())
		default:
		}
	}
}

// addressesOf reads what a node tells tools.
func addressesOf(t *testing.T, dir string) (said struct {
	PeerAddress string `json:"peer_address"`
}) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "daemon.json"))
	if err == nil {
		err = json.Unmarshal(raw, &said)
	}
	if err != nil {
		t.Fatal(err)
	}
	return said
}

// runNode runs a node of its own on a directory that does not exist yet.
func runNode(t *testing.T, dir string) *harness.Process {
	t.Helper()
	p, err := harness.Spawn(harness.Command{
		Path: harness.Binary(t, "holdfastd"), Args: []string{"--data-dir", dir, "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0"}, Dir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	harness.Until(t, "a node on "+dir, func() error {
		_, err := os.Stat(filepath.Join(dir, "daemon.json"))
		return err
	})
	return p
}

// A disk that becomes full while the node runs ends it with a reason; with room
// it starts again and has what it acknowledged (invariant 9).
func TestBadStart_DiskFullWhileRunning(t *testing.T) {
	harness.RequireEnv(t, harness.EnvBin)
	needRoot(t)
	mnt := t.TempDir()
	address := testport.Free(t, 1)[0]
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	node := []string{harness.Binary(t, "holdfastd"), "--data-dir", mnt, "--listen", address, "--peer-listen", "127.0.0.1:0"}
	script := "mount -t tmpfs -o size=2m tmpfs " + mnt + "; \"$@\"; echo \"exit code $?\" >&2; mount -o remount,size=64m " + mnt + "; exec \"$@\""
	p, err := harness.Spawn(harness.Command{
		Path: "unshare", Args: append([]string{"--mount", "--pid", "--fork", "--kill-child=KILL", "sh", "-c", script, "sh"}, node...),
		Dir: t.TempDir(), Stderr: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	want := regexp.MustCompile(`(?s)msg="node must not go on" reason="log store operation \w+ failed: write ` + mnt + `/raft.db: no space left on device: ` +
		`make room on the disk of the data directory and start the node again"\nexit code 70\n`)
	acknowledged := fillByJobs(t, address, func() bool {
		text, _ := os.ReadFile(log.Name()) // it was just made
		return want.Match(text)
	})
	conn, err := harness.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	harness.Until(t, "the node with room, and its jobs", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		r, err := holdfastv1.NewJobServiceClient(conn).List(ctx, &holdfastv1.ListRequest{})
		if err != nil {
			return err
		}
		for _, j := range r.Jobs {
			delete(acknowledged, j.Name)
		}
		return nil
	})
	if len(acknowledged) != 0 {
		t.Errorf("jobs that were acknowledged are gone: %v", acknowledged)
	}
}

// fillByJobs submits jobs with large specifications until the node is gone, and
// returns those that were acknowledged.
func fillByJobs(t *testing.T, address string, gone func() bool) map[string]bool {
	t.Helper()
	conn, err := harness.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	n, acknowledged := 0, map[string]bool{}
	harness.Until(t, "the end of a node whose disk is full", func() error {
		if gone() {
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n++
		spec := harness.FlusherConfig{Job: fmt.Sprint("job ", n), Slots: 1}.Spec()
		spec.Operators[0].Source.Properties = map[string]string{"big": strings.Repeat("x", 200<<10)}
		_, err := holdfastv1.NewJobServiceClient(conn).Submit(ctx, &holdfastv1.SubmitRequest{Spec: spec})
		if err == nil {
			acknowledged[spec.Name] = true
		}
		return fmt.Errorf("it runs, after %d jobs: %w", n, err)
	})
	if len(acknowledged) == 0 {
		t.Error("no job was acknowledged before the disk was full")
	}
	return acknowledged
}

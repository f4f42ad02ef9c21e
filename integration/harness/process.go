package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/raftstore"
)

// Processes starts a cluster of holdfastd processes, with the configuration
// that users get unless the options say else.
func Processes(t testing.TB, o Options) *Cluster {
	t.Helper()
	binary := Binary(t, o.program())
	c := newCluster(t, o, func(c *Cluster) Backend {
		return &processes{binary: binary, builds: map[int]string{}, dir: c.dir, security: c.security, flags: o.flags(), env: o.Env, running: map[int]*Process{}, roots: o.Roots, dataLimit: o.DataLimit}
	})
	c.SessionTimeout, c.ElectionTimeout = 15*time.Second, raftstore.DefaultConfig().HeartbeatTimeout
	if o.SessionTimeout > 0 {
		c.SessionTimeout = o.SessionTimeout
	}
	return c
}

func (o Options) flags() []string {
	flags := []string{"--log-level", "debug", "--metrics-listen", "127.0.0.1:0"}
	if o.SessionTimeout > 0 {
		flags = append(flags, "--session-timeout", o.SessionTimeout.String(), "--heartbeat-interval", (o.SessionTimeout / 8).String())
	}
	if o.SnapshotThreshold > 0 {
		flags = append(flags, "--raft-snapshot-threshold", strconv.Itoa(o.SnapshotThreshold), "--raft-snapshot-interval", "1s")
	}
	return append(flags, o.Flags...)
}

func (o Options) program() string {
	if o.Program == "" {
		return "holdfastd"
	}
	return o.Program
}

// processes runs nodes as child processes.
type processes struct {
	binary, dir string
	security    *Security
	flags, env  []string
	// roots are directories for checkpoints, beside the cluster's own.
	roots []string
	// dataLimit is RLIMIT_DATA, 0 for none.
	dataLimit uint64

	mu      sync.Mutex
	running map[int]*Process
	// builds are the binaries of nodes that run another one than the rest.
	builds map[int]string
}

// Kind implements Backend.
func (*processes) Kind() string { return "processes" }

// Start implements Backend.
func (b *processes) Start(n Node, initialCluster string) error {
	log, err := os.OpenFile(filepath.Join(b.dir, n.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	flags := b.flags
	if b.security != nil {
		flags = append(slices.Clone(flags), b.security.flags(n.Name)...)
	}
	p, err := Spawn(Command{
		Path: b.build(n), Env: b.env,
		Args: append([]string{
			"--data-dir", n.DataDir, "--name", n.Name, "--listen", n.ListenAddress, "--advertise", n.ClientAddress, "--peer-listen", n.PeerAddress,
			"--peer-advertise", n.PeerAdvertise, "--storage-allowed-roots", strings.Join(append([]string{checkpointRoot(b.dir)}, b.roots...), ","),
		}, append(n.beginning(initialCluster), flags...)...),
		Stdout: log, Stderr: log,
	})
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.running[n.Index] = p
	b.mu.Unlock()
	return limitData(p.Pid(), b.dataLimit)
}

// Kill implements Backend.
func (b *processes) Kill(nodes ...Node) {
	var victims []*Process
	for _, n := range nodes {
		if p := b.take(n); p != nil {
			_ = p.Signal(syscall.SIGKILL) // what is gone needs no signal
			victims = append(victims, p)
		}
	}
	for _, p := range victims {
		p.Kill()
	}
}

// Close implements Backend.
func (b *processes) Close(n Node) error {
	p := b.take(n)
	if p == nil {
		return nil
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-time.After(Patience()):
		p.Kill()
		return fmt.Errorf("node %s did not end within %s after SIGTERM", n.Name, Patience())
	}
	if code := p.ExitCode(); code != 0 {
		return fmt.Errorf("node %s ended with status %d", n.Name, code)
	}
	return nil
}

// Freeze implements Backend.
func (b *processes) Freeze(n Node) bool { return b.get(n).Signal(syscall.SIGSTOP) == nil }

// Thaw implements Backend.
func (b *processes) Thaw(n Node) { _ = b.get(n).Signal(syscall.SIGCONT) }

// Pid is the process id of a running node, 0 in process.
func (c *Cluster) Pid(i int) int {
	if b, ok := c.Backend.(*processes); ok {
		return b.get(c.nodes[i]).Pid()
	}
	return 0
}

// UseBuild makes a node run another binary from its next start on. It is for
// processes.
func (c *Cluster) UseBuild(i int, binary string) {
	c.t.Helper()
	b, ok := c.Backend.(*processes)
	if !ok {
		c.t.Fatalf("nodes %s have no binary of their own", c.Backend.Kind())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.builds[i] = binary
}

func (b *processes) build(n Node) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if other := b.builds[n.Index]; other != "" {
		return other
	}
	return b.binary
}

// WaitRefused waits until a node that was started has ended by itself, and
// returns its status and what it wrote meanwhile.
func (c *Cluster) WaitRefused(i int) (status int, said string) {
	c.t.Helper()
	b, ok := c.Backend.(*processes)
	if !ok {
		c.t.Fatalf("nodes %s have no status", c.Backend.Kind())
	}
	p := b.get(c.nodes[i])
	select {
	case <-p.Done():
	case <-time.After(Patience()):
		c.t.Fatalf("waited %s for node %s to end; it logged:\n%s", Patience(), c.nodes[i].Name, tail(c.LogFile(i), 25))
	}
	b.take(c.nodes[i])
	c.setRunning(i, false)
	return p.ExitCode(), tail(c.LogFile(i), 25)
}

// Ended tells whether the process of a node that was started has ended by itself,
// and its status.
func (c *Cluster) Ended(i int) (status int, ended bool) {
	b, ok := c.Backend.(*processes)
	if !ok {
		return 0, false
	}
	select {
	case <-b.get(c.nodes[i]).Done():
		return b.get(c.nodes[i]).ExitCode(), true
	default:
		return 0, false
	}
}

// WaitExit waits until a node's process has ended by itself, and returns its
// status. The node can be started again then.
func (c *Cluster) WaitExit(i int) int {
	c.t.Helper()
	b, ok := c.Backend.(*processes)
	if !ok {
		c.t.Fatalf("nodes of this back end (%s) do not end by themselves", c.Backend.Kind())
	}
	p := b.get(c.nodes[i])
	select {
	case <-p.Done():
	case <-time.After(Patience()):
		c.t.Fatalf("waited %s for %s to end", Patience(), c.nodes[i].Name)
	}
	b.take(c.nodes[i])
	c.setRunning(i, false)
	return p.ExitCode()
}

// Log is what a node has logged so far.
func (c *Cluster) Log(i int) string { return read(c.LogFile(i)) }

func (b *processes) get(n Node) *Process {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.running[n.Index]
}

func (b *processes) take(n Node) *Process {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.running[n.Index]
	delete(b.running, n.Index)
	return p
}

// NextBuild is the program that stands for the release after this one: see
// coordinator/next_on.go.
const NextBuild = "holdfastd-next"

// CustomBuild is a holdfastd with a state backend of its own: the example of one.
const CustomBuild = "holdfastd-bolt"

// program is how a program that scenarios start is built. What is not shipped is
// never in HOLDFAST_TEST_BIN.
type program struct {
	pkg, tags string
	unshipped bool
}

var programs = map[string]program{
	"holdfastd":                   {pkg: "./cmd/holdfastd"},
	NextBuild:                     {pkg: "./cmd/holdfastd", tags: "next_version" + plantedTags},
	CustomBuild:                   {pkg: "./stateserver/backend/example/holdfastd-bolt", unshipped: true},
	"holdfast":                    {pkg: "./cmd/holdfast"},
	"holdfast-example-checkpoint": {pkg: "./clients/go/examples/checkpoint"},
}

var built struct {
	sync.Mutex
	dir string
}

// Binary is the path of a program: in HOLDFAST_TEST_BIN, or else built once for
// this test run.
func Binary(t testing.TB, name string) string {
	t.Helper()
	if dir := os.Getenv(EnvBin); dir != "" && plantedTags == "" && !programs[name].unshipped {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("%s is not in %s: run `make build`: %v", name, EnvBin, err)
		}
		return path
	}
	built.Lock()
	defer built.Unlock()
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "holdfast-bin-")
		if err != nil {
			t.Fatal(err)
		}
		built.dir = dir
	}
	path := filepath.Join(built.dir, name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cmd := exec.Command("go", "build", "-tags", programs[name].tags, "-o", path, programs[name].pkg)
	cmd.Dir = ModuleRoot(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return path
}

func removeBuilt() {
	built.Lock()
	defer built.Unlock()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir) // a leftover in the temporary directory at worst
	}
}

// ModuleRoot is the nearest directory above with a go.mod.
func ModuleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}

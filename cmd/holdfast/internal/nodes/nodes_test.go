package nodes

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/procs"
)

// The test binary is its own holdfastd: with this variable it serves health at
// --listen, or ends at once.
const childEnv = "HOLDFAST_NODES_TEST_CHILD"

const waitLimit = 20 * time.Second

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "broken":
		fmt.Fprintln(os.Stderr, "level=ERROR msg=\"the disk is full\"")
		os.Exit(1)
	case "serve":
		serve()
	}
}

func serve() {
	fs := flag.NewFlagSet("holdfastd", flag.ExitOnError)
	listen := fs.String("listen", "", "")
	for _, name := range []string{"data-dir", "name", "peer-listen", "initial-cluster", "metrics-listen"} {
		fs.String(name, "", "")
	}
	_ = fs.Parse(os.Args[1:])
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	_ = s.Serve(l)
}

// cluster makes a cluster of fake nodes that end with the test.
func cluster(t *testing.T, n int, mode string) *Cluster {
	t.Helper()
	t.Setenv(childEnv, mode)
	c, err := Create(t.TempDir(), n, 0, "")
	if err != nil {
		t.Fatal(err)
	}
	c.Bound = true
	t.Cleanup(func() {
		if _, err := c.Stop(true); err != nil {
			t.Error(err)
		}
	})
	return c
}

func start(t *testing.T, c *Cluster, names ...string) []Node {
	t.Helper()
	started, err := c.Start(os.Args[0], names...)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.WaitServing(context.Background(), waitLimit, names...); err != nil {
		t.Fatal(err)
	}
	return started
}

func TestCluster_StartIsIdempotent(t *testing.T) {
	c := cluster(t, 3, "serve")
	if got := start(t, c); len(got) != 3 {
		t.Fatalf("started %d nodes", len(got))
	}
	if got := start(t, c); len(got) != 0 {
		t.Fatalf("started %d nodes that ran", len(got))
	}
	again, err := Open(c.Dir())
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range again.Nodes() {
		if !n.Running() || n != c.Nodes()[i] {
			t.Errorf("another program sees %+v", n)
		}
	}
}

func TestCluster_KillAndStartOne(t *testing.T) {
	c := cluster(t, 2, "serve")
	start(t, c)
	before := c.Nodes()
	killed, err := c.Kill("2")
	if err != nil || killed.Name != "n2" || killed.Pid != before[1].Pid {
		t.Fatalf("%+v, %v", killed, err)
	}
	if procs.Is(killed.Pid, killed.DataDir()) || !c.Nodes()[0].Running() {
		t.Fatal("n2 and only n2 is to end")
	}
	if _, err := c.Kill("n2"); exit.CodeOf(err) != exit.Refused {
		t.Fatalf("killing what does not run: %v", err)
	}
	if got := start(t, c, "n2"); len(got) != 1 || got[0].ClientAddress != before[1].ClientAddress || got[0].Pid == killed.Pid {
		t.Fatalf("started %+v", got)
	}
}

func TestCluster_StopEndsAllAndKeepsTheAddresses(t *testing.T) {
	c := cluster(t, 3, "serve")
	start(t, c)
	addresses := c.Addresses()
	stopped, err := c.Stop(false)
	if err != nil || len(stopped) != 3 {
		t.Fatalf("%d stopped, %v", len(stopped), err)
	}
	for _, n := range stopped {
		if n.Running() {
			t.Errorf("%s still runs", n.Name)
		}
	}
	if again, err := c.Stop(false); err != nil || len(again) != 0 {
		t.Fatalf("%d stopped twice, %v", len(again), err)
	}
	reopened, err := Create(c.Dir(), 3, 0, "")
	if err != nil || strings.Join(reopened.Addresses(), ",") != strings.Join(addresses, ",") {
		t.Fatalf("%v, %v", reopened.Addresses(), err)
	}
}

// TestCluster_StrangerWithThePidIsLeftAlone: a pid in the file may belong to
// another program by now; this test's own process stands for it.
func TestCluster_StrangerWithThePidIsLeftAlone(t *testing.T) {
	c := cluster(t, 1, "serve")
	if err := c.locked(func() error { c.nodes[0].Pid = os.Getpid(); return nil }); err != nil {
		t.Fatal(err)
	}
	if c.Nodes()[0].Running() {
		t.Fatal("a stranger is taken for the node")
	}
	if _, err := c.Kill("n1"); exit.CodeOf(err) != exit.Refused {
		t.Fatalf("got %v", err)
	}
	if _, err := c.Stop(true); err != nil {
		t.Fatal(err)
	}
}

func TestWaitServing_NodeThatEndedIsToldWithItsLastWords(t *testing.T) {
	c := cluster(t, 1, "broken")
	if _, err := c.Start(os.Args[0]); err != nil {
		t.Fatal(err)
	}
	err := c.WaitServing(context.Background(), waitLimit)
	if err == nil || !strings.Contains(err.Error(), "the disk is full") || !strings.Contains(err.Error(), "n1.log") {
		t.Fatalf("got %v", err)
	}
}

func TestWaitServing_Interrupted(t *testing.T) {
	c := cluster(t, 1, "serve")
	start(t, c)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.WaitServing(ctx, waitLimit); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestCreate_Refusals(t *testing.T) {
	dir := t.TempDir()
	if _, err := Create(dir, 3, 0, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(dir, 5, 0, ""); exit.CodeOf(err) != exit.Usage {
		t.Errorf("another number of nodes: %v", err)
	}
	for _, n := range []int{-1, 0, MaxNodes + 1} {
		if _, err := Create(t.TempDir(), n, 0, ""); exit.CodeOf(err) != exit.Usage {
			t.Errorf("%d nodes: %v", n, err)
		}
	}
	if _, err := Open(t.TempDir()); exit.CodeOf(err) != exit.NotFound {
		t.Errorf("an empty directory: %v", err)
	}
}

func TestCreate_BusyBasePort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Create(t.TempDir(), 1, l.Addr().(*net.TCPAddr).Port, ""); exit.CodeOf(err) != exit.Refused {
		t.Fatalf("got %v", err)
	}
}

func TestCreate_AtTheSameTimeMakesOneCluster(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	addresses := make([]string, 8)
	for i := range addresses {
		wg.Go(func() {
			c, err := Create(dir, 3, 0, "")
			if err != nil {
				t.Error(err)
				return
			}
			addresses[i] = strings.Join(c.Addresses(), ",")
		})
	}
	wg.Wait()
	for _, a := range addresses {
		if a != addresses[0] || a == "" {
			t.Fatalf("%v", addresses)
		}
	}
}

func TestLoad_DamagedOrNewerFile(t *testing.T) {
	for _, text := range []string{"{", `{"version": 99}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestFile_IsWhatTheReferenceSays(t *testing.T) {
	c := cluster(t, 1, "serve")
	raw, err := os.ReadFile(filepath.Join(c.Dir(), "cluster.json"))
	if err != nil {
		t.Fatal(err)
	}
	var f map[string]any
	if err := json.Unmarshal(raw, &f); err != nil {
		t.Fatal(err)
	}
	n := f["nodes"].([]any)[0].(map[string]any)
	for _, key := range []string{"name", "client_address", "peer_address", "pid"} {
		if _, ok := n[key]; !ok {
			t.Errorf("no %s in %s", key, raw)
		}
	}
}

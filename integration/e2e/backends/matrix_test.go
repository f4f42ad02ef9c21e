package backends_test

import (
	"context"
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/harness/testop"
	"github.com/holdfast-io/holdfast/integration/scenario"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/hdfs"
	"github.com/holdfast-io/holdfast/stateserver/storage/s3"
)

func TestMain(m *testing.M) { testop.Main(m) }

const (
	fileStorage       = "file"
	jobManagerStorage = "jobmanager"
	s3Storage         = "s3"
	hdfsStorage       = "hdfs"

	custom = "bolt"
)

var (
	allBackends = []string{"memory", "filesystem", "rocksdb", custom}
	allStorages = []string{jobManagerStorage, fileStorage, s3Storage, hdfsStorage}
	// core shows each backend and each storage once.
	core = [][2]string{
		{"memory", fileStorage}, {"filesystem", fileStorage}, {"rocksdb", fileStorage}, {custom, fileStorage},
		{"filesystem", jobManagerStorage}, {"rocksdb", s3Storage}, {"filesystem", hdfsStorage},
	}
)

// sessionTimeout is how long clusters wait for a host or a process that says nothing.
const sessionTimeout = 4 * time.Second

// TestBackends_Matrix runs a cell for each storage and each backend with one kill of each
// kind, and every cell with HOLDFAST_TEST_MATRIX=1.
func TestBackends_Matrix(t *testing.T) {
	address := harness.RequireEnv(t, harness.EnvS3, harness.EnvHDFS)
	cells, victims := core, []scenario.Victim{scenario.OperatorVictim, scenario.HostVictim, scenario.LeaderVictim}
	if harness.WholeMatrix() {
		cells, victims = every(), append(victims, scenario.HostAndLeaderVictim)
	}
	d := newDirectories(t, address[0], address[1])
	var table []scenario.Outcome
	for _, program := range []string{"", harness.CustomBuild} {
		mine := slices.DeleteFunc(slices.Clone(cells), func(cell [2]string) bool { return (cell[0] == custom) != (program == harness.CustomBuild) })
		c := d.cluster(t, program)
		for _, cell := range mine {
			t.Run(cell[0]+"-"+cell[1], func(t *testing.T) {
				out := scenario.MatrixCell(t, c.For(t), scenario.Cell{Backend: cell[0], Storage: cell[1], Directory: d.of(c, cell[1])}, victims...)
				table = append(table, out...)
			})
		}
		c.VerifyReplicas()
		c.KillAll()
	}
	t.Logf("every cell:\n%s", scenario.MatrixTable(table))
}

func every() (out [][2]string) {
	for _, b := range allBackends {
		for _, s := range allStorages {
			out = append(out, [2]string{b, s})
		}
	}
	return out
}

// directories are where the checkpoints of this test go, on real servers.
type directories struct {
	endpoint, nameNode string
	urls               map[string]string
}

func newDirectories(t *testing.T, endpoint, nameNode string) *directories {
	t.Helper()
	name := "matrix-" + rand.Text()
	d := &directories{endpoint: endpoint, nameNode: nameNode, urls: map[string]string{
		s3Storage: "s3://ckpt/" + name, hdfsStorage: "hdfs://" + nameNode + "/" + name,
	}}
	scheme, err := s3.NewScheme(s3.Config{Endpoint: endpoint, PathStyle: true, Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	schemes := map[string]storage.Scheme{"s3": scheme, "hdfs": hdfs.Scheme{}}
	t.Cleanup(func() {
		for _, url := range d.urls {
			if err := deleteAll(schemes, url); err != nil {
				t.Errorf("clean up %s: %v", url, err)
			}
		}
	})
	return d
}

func deleteAll(schemes map[string]storage.Scheme, url string) error {
	// The test's own context is over.
	ctx := context.Background()
	s, err := storage.NewRegistry(storage.AnyRoot(), schemes).Open(ctx, url)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.DeleteAll(ctx, "")
}

// cluster starts nodes that allow the directories.
func (d *directories) cluster(t *testing.T, program string) *harness.Cluster {
	t.Helper()
	return harness.Processes(t, harness.Options{
		Program: program, SessionTimeout: sessionTimeout,
		Roots: []string{"s3://ckpt", "hdfs://" + d.nameNode},
		Flags: []string{"--s3-endpoint", d.endpoint, "--s3-path-style-access=true", "--s3-region", "us-east-1"},
	})
}

// of is the URL of a storage, "" for jobmanager.
func (d *directories) of(c *harness.Cluster, name string) string {
	switch name {
	case jobManagerStorage:
		return ""
	case fileStorage:
		return c.CheckpointDir("matrix")
	default:
		return d.urls[name]
	}
}

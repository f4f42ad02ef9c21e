package nodes

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// FuzzClusterFile reads any cluster.json: it is refused, or written again it is
// the same, and what a node is found by stays below the directory.
func FuzzClusterFile(f *testing.F) {
	f.Add([]byte(`{"version":1,"nodes":[{"name":"n1","client_address":"127.0.0.1:1","peer_address":"127.0.0.1:2","pid":0}]}`))
	f.Add([]byte(`{"version":1,"nodes":[{"name":"n1","pid":-1}, null]}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte("{\"version\":1,\"nodes\":[{\"name\":\"\xff\"}]}"))
	f.Add([]byte(``))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, fileName), data, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Open(dir)
		if err != nil {
			return
		}
		if err := c.save(); err != nil {
			t.Fatal(err)
		}
		again, err := Open(dir)
		if err != nil || fmt.Sprint(again.nodes) != fmt.Sprint(c.nodes) {
			t.Fatalf("%q: %v is read again as %v, %v", data, c.nodes, again.nodes, err)
		}
		for _, n := range c.nodes {
			if filepath.Dir(n.DataDir()) != c.dir {
				t.Fatalf("%q: node %q has its data in %s", data, n.Name, n.DataDir())
			}
			if n.Pid < 0 {
				t.Fatalf("%q: node %q has the process %d", data, n.Name, n.Pid)
			}
		}
	})
}

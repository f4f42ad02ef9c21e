package backends_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
)

// TestBackends_Configured gives nodes and programs one file with Flink's old names.
func TestBackends_Configured(t *testing.T) {
	harness.RequireEnv(t, harness.EnvBin)
	inFile, inProgram := t.TempDir(), t.TempDir()
	write := func(backend string) string {
		name := filepath.Join(t.TempDir(), "holdfast.yaml")
		text := fmt.Sprintf("state.backend: %s\nstate.backend.fs.checkpointdir: file://%s\nexecution.checkpointing.interval: 100 ms\n", backend, inFile)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	rocks := write("rocksdb")
	c := harness.Processes(t, harness.Options{Roots: []string{"file://" + inFile, "file://" + inProgram}, Flags: []string{"--config", rocks}})
	for name, f := range map[string]scenario.Configured{
		"file":             {File: rocks, WantBackend: "rocksdb", WantDirectory: "file://" + inFile},
		"other-file":       {File: write("hashmap"), WantBackend: "filesystem", WantDirectory: "file://" + inFile},
		"program":          {File: rocks, Backend: "filesystem", Directory: "file://" + inProgram, WantBackend: "filesystem", WantDirectory: "file://" + inProgram},
		"program-memory":   {File: rocks, Backend: "memory", WantBackend: "memory", WantDirectory: "file://" + inFile},
		"program-only-dir": {File: rocks, Directory: "file://" + inProgram, WantBackend: "rocksdb", WantDirectory: "file://" + inProgram},
	} {
		t.Run(name, func(t *testing.T) { scenario.ConfiguredBackend(t, c.For(t), "configured-"+name, f) })
	}
	c.VerifyReplicas()
}

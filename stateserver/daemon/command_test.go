package daemon

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// configured runs the command line up to the node, and tells what it would be.
func configured(t *testing.T, args ...string) (cfg Config, started bool, err error) {
	t.Helper()
	cmd, s := command(func(_ context.Context, c Config) error {
		cfg = c
		return nil
	})
	cmd.SetArgs(args)
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	err = cmd.Execute()
	return cfg, *s, err
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "hf.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestCommand_FileEnvironmentFlags(t *testing.T) {
	name := file(t, "name: file\nsession-timeout: 20 s\nlog.level: error\nstate.backend: memory\nraft.heartbeat-timeout: 1 s\n")
	t.Setenv("HOLDFAST_SESSION_TIMEOUT", "30 s")
	cfg, _, err := configured(t, "--config", name, "--name", "flag")
	if err != nil || cfg.Name != "flag" || cfg.SessionTimeout != 30*time.Second || cfg.Raft.HeartbeatTimeout != time.Second {
		t.Fatalf("%v, %+v", err, cfg)
	}
	t.Setenv("HOLDFAST_CONFIG", name)
	if cfg, _, err = configured(t); err != nil || cfg.Name != "file" {
		t.Fatalf("%v, %+v", err, cfg)
	}
}

func TestCommand_WithoutAnythingIsADevelopmentNode(t *testing.T) {
	cfg, _, err := configured(t)
	if err != nil || cfg.DataDir != "holdfast-data" || cfg.Listen != "127.0.0.1:7070" || cfg.InitialCluster != "" {
		t.Fatalf("%v, %+v", err, cfg)
	}
}

func TestCommand_ProblemsAreUsageErrors(t *testing.T) {
	name := file(t, "nam: x\nlog.level: loud\n")
	t.Setenv("HOLDFAST_LISTN", "x")
	_, started, err := configured(t, "--config", name, "--session-timeout", "1x")
	if started || err == nil {
		t.Fatalf("started %v, %v", started, err)
	}
	want := "4 problems in the configuration\n" +
		"  " + name + ":1: nam: there is no such key; did you mean name?\n" +
		"  " + name + ":2: log.level: \"loud\" is unknown; use debug, info, warn or error\n" +
		"  HOLDFAST_LISTN: there is no such key; did you mean HOLDFAST_LISTEN?\n" +
		"  --session-timeout: \"1x\" has an unknown unit \"x\"; the units are d, h, min, s, ms, µs and ns"
	if err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if _, _, err := configured(t, "--frobnicate"); err == nil || !strings.Contains(err.Error(), "unknown flag") {
		t.Errorf("%v", err)
	}
}

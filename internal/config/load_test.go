package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "hf.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func setting(t *testing.T, r *Result, key string) Setting {
	t.Helper()
	i := slices.IndexFunc(r.Settings(), func(s Setting) bool { return s.Key.Name == key })
	if i < 0 {
		t.Fatalf("no setting %s", key)
	}
	return r.Settings()[i]
}

func TestLoad_LaterSourcesWeighMore(t *testing.T) {
	name := write(t, "session-timeout: 20 s\nname: file\nlog.level: warn\n")
	r := Load(Sources{
		File: name, Environ: []string{"HOLDFAST_NAME=environment", "HOLDFAST_SESSION_TIMEOUT=30 s", "PATH=/bin", "HOLDFAST_LISTEN="},
		Flags: []FlagValue{{Key: "session-timeout", Text: "1m30s"}},
	})
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	if n := r.Config.Node; n.SessionTimeout != 90*time.Second || n.Name != "environment" || n.Log.Level != "warn" || n.Listen != "127.0.0.1:7070" {
		t.Errorf("%+v", n)
	}
	for key, want := range map[string]string{
		"session-timeout": "90 s from flag --session-timeout", "name": "environment from environment HOLDFAST_NAME",
		"log.level": "warn from " + name + ":3", "listen": "127.0.0.1:7070 from default",
		"raft.leader-lease": "(300 ms, or raft.heartbeat-timeout if that is shorter) from default",
	} {
		if s := setting(t, r, key); s.Shown()+" from "+s.Source.String() != want {
			t.Errorf("%s: %s from %s, want %s", key, s.Shown(), s.Source, want)
		}
		if r.IsSet(key) != (setting(t, r, key).Source.Kind != SourceDefault) {
			t.Errorf("IsSet(%s) is %v", key, r.IsSet(key))
		}
	}
}

func TestLoad_ProblemsOfVariables(t *testing.T) {
	for environ, want := range map[string]string{
		"HOLDFAST_SESION_TIMEOUT=5 s":                                               "HOLDFAST_SESION_TIMEOUT: there is no such key; did you mean HOLDFAST_SESSION_TIMEOUT?",
		"HOLDFAST_ADDREZS=x":                                                        "HOLDFAST_ADDREZS: there is no such key; did you mean HOLDFAST_ADDRESS?",
		"HOLDFAST_MAX_DELAY=1 s":                                                    "HOLDFAST_MAX_DELAY: there is no such key; did you mean HOLDFAST_STATE_FLUSH_MAX_DELAY?",
		"HOLDFAST_FROBNICATE=1":                                                     "HOLDFAST_FROBNICATE: there is no such key",
		"HOLDFAST_STATE_CHECKPOINTS_CREATE_SUBDIR=x":                                "HOLDFAST_STATE_CHECKPOINTS_CREATE_SUBDIR: this key of Flink is not supported yet: " + ownSubdir,
		"HOLDFAST_STATE_BACKEND_FS_CHECKPOINTDIR=/x":                                `HOLDFAST_STATE_BACKEND_FS_CHECKPOINTDIR: "/x" has no scheme; a mount that every node has at the same path is written file:///x`,
		"HOLDFAST_JOBMANAGER_RPC_PORT_X=1":                                          "HOLDFAST_JOBMANAGER_RPC_PORT_X: this key of Flink is not supported yet",
		"HOLDFAST_LOG_LEVEL=loud":                                                   `HOLDFAST_LOG_LEVEL: "loud" is unknown; use debug, info, warn or error`,
		"HOLDFAST_LISTEN=x":                                                         `HOLDFAST_LISTEN: "x" is not host:port`,
		"HOLDFAST_STATE_BACKEND=memory HOLDFAST_STATE_BACKEND_TYPE=hashmap":         `HOLDFAST_STATE_BACKEND_TYPE: it means the same as HOLDFAST_STATE_BACKEND, and the values differ, "hashmap" and "memory"; keep one of them`,
		"HOLDFAST_RESTART_STRATEGY=none HOLDFAST_RESTART_STRATEGY_TYPE=off":         "",
		"HOLDFAST_RESTART_STRATEGY=none HOLDFAST_RESTART_STRATEGY_TYPE=fixed-delay": `HOLDFAST_RESTART_STRATEGY_TYPE: it means the same as HOLDFAST_RESTART_STRATEGY, and the values differ, "fixed-delay" and "none"; keep one of them`,
		"HOLDFAST_ADDRESS=a HOLDFAST_TEST_X=1 HOLDFAST_CLI_TEST_CHILD=1 HOLDFASTD=/x HOLDFAST_SERVICE_HOST=1 HOLDFAST_PORT_7070_TCP_ADDR=1 HOLDFAST_PEERS_PORT=tcp://1 HOLDFAST_SERVICE_PORT_GRPC=7070 HOLDFAST_CONFIG=/nowhere": "",
	} {
		var list []string
		for part := range strings.SplitSeq(environ, " HOLDFAST") {
			list = append(list, "HOLDFAST"+strings.TrimPrefix(part, "HOLDFAST"))
		}
		r := Load(Sources{Environ: list})
		if got := strings.Join(problemTexts(r, "/nowhere"), "\n"); got != want {
			t.Errorf("%s:\ngot  %q\nwant %q", environ, got, want)
		}
	}
}

func TestLoad_ProblemsOfFlags(t *testing.T) {
	for flag, want := range map[string]string{
		"raft.peer-timeout=1x":  `--raft-peer-timeout: "1x" has an unknown unit "x"; the units are d, h, min, s, ms, µs and ns`,
		"session-timeout=-5s":   `--session-timeout: "-5s" is negative; it must be 0 or more`,
		"session-timeout=1s":    `--session-timeout: session-timeout of 1 s is less than twice heartbeat-interval of 3 s`,
		"insecure-listen=maybe": `--insecure-listen: "maybe" is neither true nor false`,
		"insecure-listen=1":     "",
		"session-timeout=16.5s": "",
	} {
		key, text, _ := strings.Cut(flag, "=")
		r := Load(Sources{Flags: []FlagValue{{key, text}}})
		if got := strings.Join(problemTexts(r, "/nowhere"), "\n"); got != want {
			t.Errorf("%s:\ngot  %q\nwant %q", flag, got, want)
		}
	}
}

func TestLoad_ProgramLooksAtJobsAndIsWarned(t *testing.T) {
	r := Load(Sources{Reader: ForProgram, Environ: []string{
		"HOLDFAST_SESION_TIMEOUT=5 s", "HOLDFAST_LISTEN=nonsense", "HOLDFAST_STATE_FLUSH_MAX_DELAY=2 s",
	}})
	if r.Err() != nil || r.Config.Job.FlushMaxDelay != 2*time.Second || r.IsSet("listen") {
		t.Errorf("%v, %+v", r.Err(), r.Config)
	}
	if want := "HOLDFAST_SESION_TIMEOUT: there is no such key; did you mean HOLDFAST_SESSION_TIMEOUT?"; len(r.Notes) != 1 || r.Notes[0] != want {
		t.Errorf("notes %q", r.Notes)
	}
	if r := Load(Sources{Reader: ForProgram, Environ: []string{"HOLDFAST_STATE_BACKEND=forst"}}); len(r.Problems) != 1 {
		t.Errorf("%v", r.Problems)
	}
}

func TestLoad_OptionsOfAnotherStrategyAreNoted(t *testing.T) {
	name := write(t, "restart-strategy.type: fixed-delay\nrestart-strategy.fixed-delay.delay: 1 s\nrestart-strategy.exponential-delay.max-backoff: 1 h\n")
	r := Load(Sources{File: name})
	want := name + ":3: restart-strategy.exponential-delay.max-backoff has no effect: restart-strategy.type is fixed-delay"
	if len(r.Notes) != 1 || r.Notes[0] != want {
		t.Errorf("notes %q", r.Notes)
	}
}

func TestSetting_SecretsAreMasked(t *testing.T) {
	r := Load(Sources{Reader: ForNode, Environ: []string{"HOLDFAST_S3_ACCESS_KEY=AKIA", "HOLDFAST_S3_SECRET_KEY=hunter2"}})
	for _, s := range r.Settings() {
		if strings.HasSuffix(s.Key.Name, "-key") && (s.Shown() != "***" || s.Key.Flag() != "") || r.Err() != nil {
			t.Errorf("%s is shown as %q, flag %q, %v", s.Key.Name, s.Shown(), s.Key.Flag(), r.Err())
		}
	}
	k := &Key{Name: "tls.key-password", Type: "text", Secret: true}
	if got := (Setting{Key: k, Value: "hunter2"}).Shown(); got != "***" {
		t.Errorf("shown as %q", got)
	}
	if got := (Setting{Key: k}).Shown(); got != "" {
		t.Errorf("an empty one is shown as %q", got)
	}
	e := entry{key: k, spelled: k.Name, text: "hunter2"}
	for _, text := range []string{differs(e, e), k.hide(os.ErrInvalid)} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("told: %s", text)
		}
	}
}

func TestConfig_AllowedRoots(t *testing.T) {
	for text, want := range map[string][]string{
		"name: x": nil,
		"storage.allowed-roots: file:///a, s3://b/c,":                                 {"file:///a", "s3://b/c"},
		"state.checkpoints.dir: file:///a\nstate.savepoints.dir: s3://b":              {"file:///a", "s3://b"},
		"state.backend.fs.checkpointdir: hdfs://n:1/a\nstorage.allowed-roots: s3://b": {"s3://b"},
	} {
		r := Load(Sources{File: write(t, text+"\n")})
		if got := r.Config.AllowedRoots(); r.Err() != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", text, got, r.Err(), want)
		}
	}
}

func TestNode_Members(t *testing.T) {
	n := Node{Name: "b", InitialCluster: "a=h:1, b=h:2"}
	if got, c := n.Members(); c != nil || !slices.Equal(got, []Member{{"a", "h:1"}, {"b", "h:2"}}) {
		t.Errorf("%v, %v", got, c)
	}
}

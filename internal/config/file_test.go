package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// loadText loads a file of that text, alone, and tells the problems with the
// file's name cut to its base.
func loadText(t *testing.T, text string) (*Result, []string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "hf.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := Load(Sources{Reader: ForCheck, File: name})
	return r, problemTexts(r, filepath.Dir(name))
}

func problemTexts(r *Result, dir string) []string {
	var out []string
	for _, p := range r.Problems {
		out = append(out, strings.ReplaceAll(p.Error(), dir+string(filepath.Separator), ""))
	}
	return out
}

func TestFile_FlatNestedAndBoth(t *testing.T) {
	for name, text := range map[string]string{
		"flat":   "state.memory.max-size: 64mb\nexecution.checkpointing.interval: 10 s\nrestart-strategy: fixed-delay\nrestart-strategy.fixed-delay.attempts: 3\nname: a\n",
		"nested": "state:\n  memory:\n    max-size: 64 mb\nexecution:\n  checkpointing:\n    interval: PT10S\nrestart-strategy:\n  type: fixeddelay\n  fixed-delay:\n    attempts: 3\nname: a\n",
		"both":   "state: {memory.max-size: 65536kb}\nexecution.checkpointing:\n  interval: 10000\nrestart-strategy: {type: Fixed-Delay, fixed-delay: {attempts: 3}}\nname: \"a\"\n",
	} {
		r, problems := loadText(t, text)
		if problems != nil {
			t.Errorf("%s: %q", name, problems)
		}
		j := r.Config.Job
		if j.MemoryMaxSize != 64<<20 || j.Checkpointing.Interval != 10*time.Second || j.Restart.Type != "fixed-delay" ||
			j.Restart.FixedDelay.Attempts != 3 || r.Config.Node.Name != "a" {
			t.Errorf("%s: %+v", name, r.Config)
		}
	}
}

func TestFile_Problems(t *testing.T) {
	for text, want := range map[string][]string{
		"sesion-timeout: 5 s":                     {"hf.yaml:1: sesion-timeout: there is no such key; did you mean session-timeout?"},
		"Listen: x":                               {"hf.yaml:1: Listen: there is no such key; did you mean listen?"},
		"flush.max-delay: 1 s":                    {"hf.yaml:1: flush.max-delay: there is no such key; did you mean state.flush.max-delay?"},
		"\nfrobnicate:\n  a: 1\n  b: 2":           {"hf.yaml:2: frobnicate: there is no such key"},
		"raft:\n  hartbeat-timeout: 1 s":          {"hf.yaml:2: raft.hartbeat-timeout: there is no such key; did you mean raft.heartbeat-timeout?"},
		"name: a\nlisten: x:1\nname: b":           {"hf.yaml:3: name: it is there twice; the first is in line 1", "hf.yaml:2: listen: x:1 is not a loopback address, and this port has no TLS: anyone who reaches it could read and change state; set tls.client.cert-file, use 127.0.0.1, or set insecure-listen if the network is trusted"},
		"log.level: info\nlog: {level: warn}":     {"hf.yaml:2: log.level: it is there twice; the first is in line 1"},
		"log: {level: info}\nlog: {format: text}": {"hf.yaml:2: log: it is there twice; the first is in line 1"},
		"listen: [a, b]":                          {"hf.yaml:1: listen: it must be one value (text), and is a list"},
		"session-timeout: {s: 5}":                 {"hf.yaml:1: session-timeout: it must be one value (duration), and is a mapping"},
		"listen: &a 127.0.0.1:1\nname: *a":        {"hf.yaml:2: name: it must be one value (text), and is an alias, which a configuration cannot have"},
		"log: &l {level: info}\n<<: *l":           {"hf.yaml:2: a key must be text, and this one is a merge, which a configuration cannot have"},
		"name: !!binary aGk=":                     {"hf.yaml:1: name: it must be one value (text), and is binary"},
		"? [a]\n: b":                              {"hf.yaml:1: a key must be text, and this one is a list"},
		"~: b":                                    {"hf.yaml:1: a key must be text, and this one is nothing"},
		"name:":                                   {`hf.yaml:1: name: it has no value; remove the line, or write "" for an empty text`},
		"raft:":                                   {"hf.yaml:1: raft: it has no keys below it"},
		"name: \"\"":                              {"hf.yaml:1: name: it is empty"},
		"- name":                                  {"hf.yaml:1: it must have lines of the form `key: value`, and is a list"},
		"name":                                    {"hf.yaml:1: it must have lines of the form `key: value`, and is a single value"},
		"name: a\n---\nname: b":                   {"hf.yaml:2: a second document begins; a configuration is one document"},
		"name: a\n  b: c":                         {"hf.yaml:2: it is not YAML: mapping values are not allowed in this context"},
		"name: a\nx: [":                           {"hf.yaml:2: it is not YAML: did not find expected node content"},
		"name: a\n\tlisten: b":                    {"hf.yaml:2: it is not YAML: found a tab character that violates indentation"},
		"name: *nowhere":                          {"hf.yaml:1: it is not YAML: unknown anchor 'nowhere' referenced"},
		"name: a\nb\x00c: d":                      {"hf.yaml:2: it is not a text file: byte 9 is neither UTF-8 nor printable; save it as plain UTF-8"},
		"name: \xff":                              {"hf.yaml:1: it is not a text file: byte 6 is neither UTF-8 nor printable; save it as plain UTF-8"},
		strings.Repeat("#\n", maxFileBytes):       {"hf.yaml: it is larger than 1048576 bytes, which no configuration is"},
	} {
		if _, got := loadText(t, text); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%.60q:\ngot  %q\nwant %q", text, got, want)
		}
	}
}

func TestFile_ProblemsOfValues(t *testing.T) {
	for text, want := range map[string]string{
		"execution.checkpointing.interval: -1 s":                            `execution.checkpointing.interval: "-1 s" is negative; it must be 0 or more`,
		"execution.checkpointing.timeout: 0":                                `execution.checkpointing.timeout: 0 ms is below the least value, 1 ms`,
		"max-streams: 0":                                                    `max-streams: 0 is below the least value, 1`,
		"session-timeout: abc":                                              `session-timeout: "abc" does not begin with a whole number`,
		"session-timeout: 1.5 s":                                            `session-timeout: "1.5 s" is not a whole number; use a smaller unit`,
		"session-timeout: 5 parsecs":                                        `session-timeout: "5 parsecs" has an unknown unit "parsecs"; the units are d, h, min, s, ms, µs and ns`,
		"reconnect-grace: 1500 us":                                          `reconnect-grace: 1500 us is not in whole milliseconds`,
		"reconnect-grace: 0":                                                `reconnect-grace: 0 ms is below the least value, 1 ms`,
		"state.memory.max-size: 1.5gb":                                      `state.memory.max-size: "1.5gb" is not a whole number; use a smaller unit`,
		"state.memory.max-size: 5 mib":                                      `state.memory.max-size: "5 mib" has an unknown unit "mib"; the units are b, kb, mb, gb and tb`,
		"state.memory.max-size: 65 gb":                                      `state.memory.max-size: 65 gb is above the largest value, 64 gb`,
		"insecure-listen: yes":                                              `insecure-listen: "yes" is neither true nor false`,
		"raft.snapshot-threshold: many":                                     `raft.snapshot-threshold: "many" is not a whole number from 0`,
		"raft.snapshot-threshold: -1":                                       `raft.snapshot-threshold: "-1" is not a whole number from 0`,
		"raft.snapshot-threshold: 0":                                        `raft.snapshot-threshold: 0 is below the least value, 1`,
		"execution.checkpointing.num-retained: 4294967296":                  `execution.checkpointing.num-retained: 4294967296 is above the largest value, 4294967295`,
		"state.checkpoints.num-retained: 101":                               `state.checkpoints.num-retained: 101 is above the largest value, 100`,
		"execution.checkpointing.max-concurrent-checkpoints: 2":             `execution.checkpointing.max-concurrent-checkpoints: 2 is above the largest value, 1: a subtask seals its working copy for one checkpoint at a time, so a second one could only wait for the first`,
		"execution.checkpointing.interval: 9 ms":                            `execution.checkpointing.interval: 9 ms is below the least value, 10 ms`,
		"execution.checkpointing.mode: exactly":                             `execution.checkpointing.mode: "exactly" is unknown; use EXACTLY_ONCE or AT_LEAST_ONCE`,
		"state.backend: forst":                                              `state.backend: "forst" is not supported yet; this version has memory, filesystem and rocksdb`,
		"state.backend.type: com.example.Factory":                           `state.backend.type: "com.example.Factory" is unknown; use memory, filesystem, rocksdb or the name of a factory that the nodes have: a letter and up to 31 letters, digits, - and _, all of them lower case`,
		"state.checkpoints.dir: /mnt/ckpt":                                  `state.checkpoints.dir: "/mnt/ckpt" has no scheme; a mount that every node has at the same path is written file:///mnt/ckpt`,
		"state.backend.fs.checkpointdir: ckpt":                              `state.backend.fs.checkpointdir: "ckpt" is no directory; it is written like file:///path, s3://bucket/path or hdfs://host:port/path`,
		"state.savepoints.dir: ftp://host/x":                                `state.savepoints.dir: "ftp://host/x" is no directory; it is written like file:///path, s3://bucket/path or hdfs://host:port/path`,
		"execution.checkpointing.dir: s3:bucket":                            `execution.checkpointing.dir: "s3:bucket" is no directory; it is written like file:///path, s3://bucket/path or hdfs://host:port/path`,
		"execution.checkpointing.storage: rocksdb":                          `execution.checkpointing.storage: "rocksdb" is unknown; use jobmanager or filesystem`,
		"execution.checkpointing.incremental: maybe":                        `execution.checkpointing.incremental: "maybe" is neither true nor false`,
		"execution.checkpointing.externalized-checkpoint-retention: DELETE": `execution.checkpointing.externalized-checkpoint-retention: "DELETE" is unknown; use NO_EXTERNALIZED_CHECKPOINTS, DELETE_ON_CANCELLATION or RETAIN_ON_CANCELLATION`,
		"state.storage.fs.memory-threshold: 2 mb":                           `state.storage.fs.memory-threshold: 2 mb is above the largest value, 1 mb`,
		"execution.checkpointing.data-inline-threshold: 0":                  `execution.checkpointing.data-inline-threshold: 0 bytes is below the least value, 1 bytes`,
		"execution.savepoint.path: savepoint-1":                             `execution.savepoint.path: "savepoint-1" is no directory; it is written like file:///path, s3://bucket/path or hdfs://host:port/path`,
		"execution.savepoint.ignore-unclaimed-state: 1":                     `execution.savepoint.ignore-unclaimed-state: "1" is neither true nor false`,
		"execution.savepoint-restore-mode: LEGACY":                          `execution.savepoint-restore-mode: "LEGACY" is not supported yet; this version has NO_CLAIM and CLAIM`,
		"execution.state-recovery.claim-mode: mine":                         `execution.state-recovery.claim-mode: "mine" is unknown; use NO_CLAIM or CLAIM`,
		"restart-strategy: failure":                                         `restart-strategy: "failure" is unknown; use none, fixed-delay, exponential-delay or failure-rate`,
		"restart-strategy.exponential-delay.jitter-factor: x":               `restart-strategy.exponential-delay.jitter-factor: "x" is not a number`,
		"restart-strategy.exponential-delay.jitter-factor: .nan":            `restart-strategy.exponential-delay.jitter-factor: ".nan" is not a number`,
		"restart-strategy.exponential-delay.jitter-factor: 0":               `restart-strategy.exponential-delay.jitter-factor: 0 is below the least value, 0.001`,
		"restart-strategy.exponential-delay.jitter-factor: 1.1":             `restart-strategy.exponential-delay.jitter-factor: 1.1 is above the largest value, 1`,
		"log.level: loud":                                                   `log.level: "loud" is unknown; use debug, info, warn or error`,
	} {
		if _, got := loadText(t, text); len(got) != 1 || got[0] != "hf.yaml:1: "+want {
			t.Errorf("%s:\ngot  %q\nwant %q", text, got, want)
		}
	}
}

func TestFile_FlinkKeysWithoutEffectAreRefused(t *testing.T) {
	const planned = "this key of Flink is not supported yet"
	for text, want := range map[string]string{
		"state.checkpoints.create-subdir: true":               "state.checkpoints.create-subdir: " + planned + ": " + ownSubdir,
		"state.backend.fs.write-buffer-size: 1":               "state.backend.fs.write-buffer-size: " + planned,
		"execution.checkpointing: {write-buffer-size: 1}":     "execution.checkpointing.write-buffer-size: " + planned,
		"execution.state-recovery.from-local: true":           "execution.state-recovery.from-local: " + planned + ": a node uses its own copy where it has one",
		"execution.checkpointing.unaligned: true":             "execution.checkpointing.unaligned: " + planned,
		"execution.checkpointing.unaligned.enabled: true":     "execution.checkpointing.unaligned.enabled: " + planned,
		"jobmanager:\n  rpc:\n    address: x\n    port: 6123": "jobmanager: " + planned,
		"state.backend.rocksdb.localdir: x":                   "state.backend.rocksdb.localdir: " + planned,
		"parallelism.default: 2":                              "parallelism.default: " + planned + ": set HOLDFAST_PARALLELISM, or the parallelism in the program",
		"high-availability: zookeeper":                        "high-availability: " + planned + ": a cluster of three nodes is highly available by itself",
	} {
		if _, got := loadText(t, text); len(got) != 1 || got[0] != "hf.yaml:1: "+want {
			t.Errorf("%s:\ngot  %q\nwant %q", text, got, want)
		}
	}
}

func TestFile_TwoSpellings(t *testing.T) {
	_, got := loadText(t, "state.checkpoints.num-retained: 2\nexecution.checkpointing.num-retained: 3\n")
	want := `hf.yaml:2: execution.checkpointing.num-retained: it means the same as state.checkpoints.num-retained (line 1), and the values differ, "3" and "2"; keep one of them`
	if len(got) != 1 || got[0] != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	// Words are compared by what they mean.
	if _, got := loadText(t, "state.backend: memory\nstate.backend.type: jobmanager\n"); got != nil {
		t.Errorf("got %q", got)
	}
}

func members(n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("n%d=h:%d", i, i))
	}
	return strings.Join(out, ",")
}

func TestFile_ValuesBesideEachOther(t *testing.T) {
	const first = "n1=127.0.0.1:1,n2=127.0.0.1:2"
	for text, want := range map[string]string{
		"heartbeat-interval: 10 s":                                  "hf.yaml:1: heartbeat-interval: session-timeout of 15 s is less than twice heartbeat-interval of 10 s",
		"session-timeout: 5 s":                                      "hf.yaml:1: session-timeout: session-timeout of 5 s is less than twice heartbeat-interval of 3 s",
		"raft: {heartbeat-timeout: 1 s, election-timeout: 500 ms}":  "hf.yaml:1: raft.election-timeout: raft.election-timeout of 500 ms is less than raft.heartbeat-timeout of 1 s",
		"raft.leader-lease: 1 s":                                    "hf.yaml:1: raft.leader-lease: raft.leader-lease of 1 s is more than raft.heartbeat-timeout of 300 ms",
		"raft.heartbeat-timeout: 1 s":                               "",
		"restart-strategy.exponential-delay.initial-backoff: 2 min": "hf.yaml:1: restart-strategy.exponential-delay.initial-backoff: restart-strategy.exponential-delay.max-backoff of 1 min is less than restart-strategy.exponential-delay.initial-backoff of 2 min",
		"listen: here":                                              `hf.yaml:1: listen: "here" is not host:port`,
		"advertise: here":                                           `hf.yaml:1: advertise: "here" is not host:port`,
		"advertise: example.org:7070":                               "",
		"data-dir: ''":                                              "hf.yaml:1: data-dir: it is empty",
		"initial-cluster: n1":                                       `hf.yaml:1: initial-cluster: "n1" is not name=host:port`,
		"listen: 127.0.0.1:99999":                                   `hf.yaml:1: listen: "127.0.0.1:99999" has no port from 0 to 65535`,
		"listen: 127.0.0.1:http":                                    `hf.yaml:1: listen: "127.0.0.1:http" has no port from 0 to 65535`,
		"initial-cluster: n1=h":                                     `hf.yaml:1: initial-cluster: n1: "h" is not host:port`,
		"initial-cluster: n1=h:1,n1=h:2":                            "hf.yaml:1: initial-cluster: the name n1 is there twice; give each node its own",
		"initial-cluster: n1=h:1,n2=h:1":                            "hf.yaml:1: initial-cluster: n1 and n2 have the same address, h:1; give each node its own",
		"initial-cluster: " + members(16):                           "hf.yaml:1: initial-cluster: it has 16 members, at most 15 are allowed; add others later",
		"initial-cluster: n2=127.0.0.1:1":                           "", // each node may say its name by a flag
		"name: x\ninitial-cluster: " + first:                        "hf.yaml:2: initial-cluster: it does not have this node, whose name is x; add it, or set name to one of n1, n2",
		"session-timeout: 1x\nheartbeat-interval: 10 s":             `hf.yaml:1: session-timeout: "1x" has an unknown unit "x"; the units are d, h, min, s, ms, µs and ns`,
	} {
		if _, got := loadText(t, text); strings.Join(got, "\n") != want {
			t.Errorf("%s:\ngot  %q\nwant %q", text, got, want)
		}
	}
}

func TestFile_OnesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{
		dir:                           dir + ": it is a directory, not a file",
		filepath.Join(dir, "missing"): filepath.Join(dir, "missing") + ": no such file or directory; give the path of a file, or none for the defaults",
	} {
		if r := Load(Sources{File: name}); r.Err() == nil || r.Err().Error() != want {
			t.Errorf("got %v, want %s", r.Err(), want)
		}
	}
}

// A byte order mark is no part of the first key.
func TestFile_ByteOrderMark(t *testing.T) {
	if r, problems := loadText(t, "\ufeffname: a\n"); problems != nil || r.Config.Node.Name != "a" {
		t.Errorf("%q, %+v", problems, r.Config.Node)
	}
	// What Windows calls Unicode.
	if _, got := loadText(t, "\xff\xfen\x00a\x00"); len(got) != 1 || got[0] != "hf.yaml:1: it is not a text file: byte 0 is neither UTF-8 nor printable; save it as plain UTF-8" {
		t.Errorf("%q", got)
	}
}

// Files that are made to be large, or to become so, are refused in little memory.
func TestFile_BombsAreBounded(t *testing.T) {
	bomb := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c <= 'p'; c++ {
		bomb += fmt.Sprintf("%c: &%c [*%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	large := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, 100<<20); err != nil {
		t.Fatal(err)
	}
	for name, load := range map[string]func() int{
		"100 MB":        func() int { return len(Load(Sources{File: large}).Problems) },
		"a device":      func() int { return len(Load(Sources{File: "/dev/zero"}).Problems) },
		"aliases":       func() int { _, p := loadText(t, bomb); return len(p) },
		"nesting":       func() int { _, p := loadText(t, strings.Repeat("a: {", 200_000)); return len(p) },
		"100,000 keys":  func() int { _, p := loadText(t, manyKeys(100_000)); return len(p) },
		"one long line": func() int { _, p := loadText(t, "name: "+strings.Repeat("x", 1<<20)); return len(p) },
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		problems := load()
		runtime.ReadMemStats(&after)
		if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; problems == 0 || mib > 512 {
			t.Errorf("%s: %d problems, %d MiB were allocated", name, problems, mib)
		} else {
			t.Logf("%s: %d problems, %d MiB were allocated", name, problems, mib)
		}
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d: 1\n", i)
	}
	return b.String()[:min(b.Len(), maxFileBytes)]
}

func TestFile_EmptyIsTold(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "{}", "\ufeff"} {
		r, problems := loadText(t, text)
		if problems != nil || len(r.Notes) != 1 || !strings.HasSuffix(r.Notes[0], "hf.yaml: the file is empty, so the defaults apply") {
			t.Errorf("%q: %q, %q", text, problems, r.Notes)
		}
	}
}

func TestFile_EveryProblemIsTold(t *testing.T) {
	r, got := loadText(t, "nam: x\nlisten: [1]\nlog.level: loud\nsession-timeout: 1 s\n")
	if len(got) != 4 || !strings.HasPrefix(r.Err().Error(), "4 problems in the configuration\n  ") {
		t.Errorf("%v", r.Err())
	}
}

// FuzzParse: no text makes the decoder fall over, every problem is one line
// with a place in the file, and what was read can be written and read again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"name: a\nraft: {heartbeat-timeout: 1 s}\n", "state.backend: rocksdb\n", "a: [", "a: &a [*a]", "<<: {name: x}", "\x00", "? {a: b}\n: c",
		"name: a\n---\nname: b", "restart-strategy: off\n", "state.memory.max-size: 9223372036854775807 b\n", "!!x name: y", "# c", "'': ''", "\"\r\r",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed := parseFile("f", data)
		// To YAML these all end a line.
		lines := len(regexp.MustCompile("[\n\r\u0085\u2028\u2029]").FindAllIndex(data, -1)) + 2
		for _, p := range parsed.problems {
			if p.Message == "" || strings.Contains(p.Message, "\n") || p.Source.Line > lines || p.Source.Line < 0 {
				t.Errorf("%q: %+v", data, p)
			}
		}
		for _, e := range parsed.entries {
			v, err := e.key.parse(e.text)
			if err != nil {
				continue
			}
			if again, err := e.key.parse(e.key.format(v)); err != nil || !again.Equal(v) {
				t.Errorf("%s: %q is written as %q: %v", e.spelled, e.text, e.key.format(v), err)
			}
		}
	})
}

// Every former name of Flink's keys of backends, directories and recovery means the
// same as the name of today.
func TestFile_KeysOfStateBackends(t *testing.T) {
	for name, text := range map[string]string{
		"today": `
state.backend.type: filesystem
execution.checkpointing: {dir: "file:///c", savepoint-dir: "s3://b/s", storage: FileSystem, incremental: true, data-inline-threshold: 1 kb, externalized-checkpoint-retention: retain_on_cancellation}
execution.state-recovery: {path: "hdfs://h:1/x", ignore-unclaimed-state: true, claim-mode: claim}`,
		"old": `
state.backend: hashmap
state.backend.fs.checkpointdir: file:///c
state.savepoints.dir: s3://b/s
state.checkpoint-storage: filesystem
state.backend.incremental: true
state.storage.fs.memory-threshold: 1 kb
execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION
execution.savepoint.path: hdfs://h:1/x
execution.savepoint.ignore-unclaimed-state: true
execution.savepoint-restore-mode: CLAIM`,
		"older": `
state.backend: hashmap
state.checkpoints.dir: file:///c
savepoints.state.backend.fs.dir: s3://b/s
state: {checkpoint-storage: filesystem, backend.incremental: true, backend.fs.memory-threshold: 1 kb}
execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION
execution.savepoint: {path: "hdfs://h:1/x", ignore-unclaimed-state: true}
execution.savepoint-restore-mode: CLAIM`,
	} {
		r, problems := loadText(t, text)
		j, c := r.Config.Job, r.Config.Job.Checkpointing
		if problems != nil || j.StateBackend != "filesystem" || c.Dir != "file:///c" || c.SavepointDir != "s3://b/s" || c.Storage != "filesystem" || !c.Incremental ||
			c.InlineThreshold != 1<<10 || c.Retention != "RETAIN_ON_CANCELLATION" || j.Recovery != (Recovery{"hdfs://h:1/x", true, "CLAIM"}) {
			t.Errorf("%s: %q, %+v", name, problems, j)
		}
	}
	if r, problems := loadText(t, "state.backend: bbolt\n"); problems != nil || r.Config.Job.StateBackend != "bbolt" {
		t.Errorf("a factory of a user's own: %q", problems)
	}
}

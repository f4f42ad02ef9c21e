package coordinator

import (
	"strings"
	"testing"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestSubmit_BackendMustBeOnEveryNode(t *testing.T) {
	l := newLog(t)
	l.node("n1", "", "filesystem", "rocksdb", "own")
	l.node("n2", "", "filesystem", "rocksdb")
	with := func(name string) *holdfastv1.JobSpec {
		s := counterSpec("job-" + name)
		s.StateBackend = &holdfastv1.StateBackend{Name: name}
		return s
	}
	for name, want := range map[string]string{
		"rocks": `unknown state backend "rocks"; the nodes have: filesystem (or hashmap), memory (or jobmanager), own, rocksdb`,
		"own":   `the state backend "own" is not on node name-n2, and every node may have to host the job; run a build that has it there, or choose one of: filesystem (or hashmap), memory (or jobmanager), rocksdb`,
	} {
		r := l.refused(submit(with(name), "", name), holdfastv1.ErrorReason_ERROR_REASON_INVALID_JOB_SPEC)
		if r.Error.Message != want || r.Error.Metadata["field"] != "state_backend.name" {
			t.Fatalf("got  %v\nwant %s", r.Error, want)
		}
	}
	for name, want := range map[string]string{"": "memory", "jobmanager": "memory", "hashmap": "filesystem", "filesystem": "filesystem", "rocksdb": "rocksdb"} {
		l.must(submit(with(name), "", "id-"+name))
		if got := l.m.Describe("id-" + name).Spec.StateBackend.Name; got != want {
			t.Fatalf("%q is the backend %q, want %q", name, got, want)
		}
	}
	l.node("n2", "", "filesystem", "rocksdb", "own")
	l.must(submit(with("own"), "", "own"))
	l.node("n3", "")
	if r := l.must(submit(with("own"), "", "own2")); !r.Joined {
		t.Fatal("a job that runs is joined, whatever nodes have come since")
	}
}

func TestNormalizeDirectory(t *testing.T) {
	for raw, want := range map[string]string{
		"file:///a/b/": "file:///a/b", "file:/a": "file:///a", "FILE:///a": "file:///a", "s3://bucket": "s3://bucket",
		"s3://bucket/": "s3://bucket", "hdfs://nn:9000/x": "hdfs://nn:9000/x",
		"": "", "/a": "", "a": "", "ftp://a/b": "", "file://host/a": "", "file:///": "", "s3:///a": "", "s3://u@b/a": "",
		"file:///a//b": "", "file:///a/./b": "", "file:///a?b": "", "file:///a\nb": "", "file:a": "", "file:///" + strings.Repeat("x", 2000): "",
	} {
		got, e := NormalizeDirectory(raw)
		if got != want || (e == nil) != (want != "") {
			t.Errorf("%q gives %q, %v; want %q", raw, got, e, want)
		}
	}
}

func TestNormalizeSpec_StorageDefaults(t *testing.T) {
	s, e := NormalizeSpec(onDisk(counterSpec("count")))
	if e != nil {
		t.Fatal(e)
	}
	c := s.Checkpoint
	if c.Storage != holdfastv1.CheckpointStorage_CHECKPOINT_STORAGE_FILESYSTEM || c.InlineThreshold != 20480 ||
		c.Retention != holdfastv1.CheckpointRetention_CHECKPOINT_RETENTION_NO_EXTERNALIZED_CHECKPOINTS || s.StateBackend.MemoryMaxSize != 0 {
		t.Fatalf("defaults: %v", s)
	}
	inLog := onDisk(counterSpec("count"))
	inLog.Checkpoint.Directory = ""
	if s, e = NormalizeSpec(inLog); e != nil || s.Checkpoint.Storage != holdfastv1.CheckpointStorage_CHECKPOINT_STORAGE_JOBMANAGER {
		t.Fatalf("without a directory: %v, %v", s, e)
	}
}

func TestSubmit_DifferenceNamesTheSetting(t *testing.T) {
	l := newLog(t)
	l.hosts()
	l.must(submit(onDisk(counterSpec("count")), "", "job"))
	for want, change := range map[string]func(*holdfastv1.CheckpointConfig){
		"checkpoint.directory": func(c *holdfastv1.CheckpointConfig) { c.Directory = "file:///mnt/other" },
		"checkpoint.storage": func(c *holdfastv1.CheckpointConfig) {
			c.Storage = holdfastv1.CheckpointStorage_CHECKPOINT_STORAGE_JOBMANAGER
		},
		"checkpoint.retention":           func(c *holdfastv1.CheckpointConfig) { c.Retention = retain },
		"checkpoint.incremental":         func(c *holdfastv1.CheckpointConfig) { c.Incremental = true },
		"checkpoint.savepoint_directory": func(c *holdfastv1.CheckpointConfig) { c.SavepointDirectory = "file:///mnt/sp" },
		"checkpoint.inline_threshold":    func(c *holdfastv1.CheckpointConfig) { c.InlineThreshold = 1 },
		"checkpoint.interval_ms":         func(c *holdfastv1.CheckpointConfig) { c.IntervalMs = 77 },
	} {
		s := onDisk(counterSpec("count"))
		change(s.Checkpoint)
		r := l.refused(submit(s, "", "job2"), holdfastv1.ErrorReason_ERROR_REASON_JOB_SPEC_DIFFERS)
		if got := r.Error.Metadata["difference"]; !strings.HasPrefix(got, want+" is ") || strings.Contains(got, ";") {
			t.Errorf("the difference is %q, want that of %s alone", got, want)
		}
	}
}

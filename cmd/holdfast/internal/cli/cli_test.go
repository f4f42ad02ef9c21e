package cli

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestMain_ExitCodesAndSentences(t *testing.T) {
	hermetic(t)
	f := startFake(t)
	dir := t.TempDir()
	for _, c := range []struct {
		args string
		code exit.Code
		// tell is in the one line on stderr.
		tell string
	}{
		{"list", exit.OK, ""},
		{"describe counts", exit.OK, ""},
		{"describe x", exit.NotFound, "holdfast: JOB_NOT_FOUND: no job \"x\"; `holdfast list` shows the jobs\n"},
		{"describe leaderless --timeout 2s", exit.Unavailable, "holdfast: NO_LEADER: no leader is known"},
		{"describe broken", exit.Failure, "holdfast: boom"},
		{"describe", exit.Usage, "`holdfast describe` needs JOB"},
		{"checkpoints", exit.Usage, "`holdfast checkpoints` needs JOB"},
		{"checkpoints counts 0", exit.Usage, "the checkpoint id \"0\" is no number from 1"},
		{"checkpoints counts 99", exit.NotFound, "CHECKPOINT_NOT_FOUND: checkpoint 99 is not remembered"},
		{"completion", exit.Usage, "`holdfast completion` needs SHELL"},
		{"completion csh", exit.Usage, "bash, zsh and fish, not for \"csh\""},
		{"context use nowhere", exit.NotFound, "there is no context \"nowhere\""},
		{"describe a b", exit.Usage, "needs JOB"},
		{"cancel suspended", exit.Refused, "JOB_STATE: the job is SUSPENDED; `holdfast describe` shows the job"},
		{"resume counts", exit.Refused, "OFFSET_OUT_OF_RANGE: offsets 3 to 9 are gone; `holdfast resume --accept-gap`"},
		{"resume counts --accept-gap", exit.OK, ""},
		{"nonsense", exit.Usage, "unknown command"},
		{"descrbe counts", exit.Usage, "unknown command \"descrbe\"; did you mean `holdfast describe`? `holdfast --help` lists all\n"},
		{"state lst counts", exit.Usage, "or `holdfast state list`?"},
		{"cluster nonsense", exit.Usage, "unknown command \"nonsense\""},
		{"list --nonsense", exit.Usage, "unknown flag: --nonsense"},
		{"list -o yaml", exit.Usage, "--output is table or json"},
		{"cluster start", exit.Usage, "--dir is needed"},
		{"cluster stop", exit.Usage, "--dir is needed"},
		{"cluster status --dir " + dir, exit.NotFound, "no cluster in"},
		{"node kill n1 --dir " + dir, exit.NotFound, "no cluster in"},
		{"cluster start --nodes 99 --dir " + dir, exit.Usage, "1 to 9 nodes"},
		{"state get counts a --key-type uuid", exit.Usage, "--key-type is"},
		{"state get counts a --key-type int64", exit.Usage, "no int64"},
		{"state get counts absent", exit.NotFound, "1 of 1 keys have no value"},
		{"state get two-states a", exit.Usage, "--uid mapper --state counters, or --uid mapper --state seen"},
		{"state get counts a --state other", exit.NotFound, "it has --uid mapper --state counters"},
		{"state list counts --limit 0", exit.Usage, "--limit is 1 to 10000"},
		{"state list counts --page-token !", exit.Usage, "--page-token"},
		{"run -- /does/not/exist", exit.Usage, "/does/not/exist"},
		{"run -p 0 -- true", exit.Usage, "-p is 1 or more"},
		{"run --restart maybe -- true", exit.Usage, "--restart is"},
		{"run", exit.Usage, "needs PROGRAM"},
		{"demo --records-per-second 0", exit.Usage, "--records-per-second"},
		{"version", exit.OK, ""},
	} {
		code, _, stderr := invoke(f, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(stderr, c.tell) || c.tell == "" && strings.Contains(stderr, "holdfast: ") && code != exit.OK {
			t.Errorf("%s: exit code %d, want %d; stderr %q, want %q", c.args, code, c.code, stderr, c.tell)
		}
		if strings.Count(stderr, "\n") > 1 {
			t.Errorf("%s: more than a sentence: %q", c.args, stderr)
		}
	}
}

func TestMain_NobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := &fakeNode{address: l.Addr().String()}
	l.Close()
	want := "holdfast: UNREACHABLE: no node answers at " + gone.address + " (from --address): nothing listens there; is a node running? --address or HOLDFAST_ADDRESS names the nodes\n"
	// The second one would wait for an hour if something else were wrong.
	for _, patience := range []string{"300ms", "1h"} {
		if code, _, stderr := invoke(gone, "list", "--timeout", patience); code != exit.Unavailable || stderr != want {
			t.Fatalf("%s: %d, got  %s\nwant %s", patience, code, stderr, want)
		}
	}
	if code, _, stderr := invoke(&fakeNode{address: "no-port"}, "list"); code != exit.Usage || !strings.Contains(stderr, "has no port") {
		t.Fatalf("%d, %q", code, stderr)
	}
}

func TestMain_DeadAddressIsPassedOver(t *testing.T) {
	f := startFake(t)
	f.address = "127.0.0.1:1," + f.address
	if code, stdout, stderr := invoke(f, "list"); code != exit.OK || !strings.Contains(stdout, "counts") {
		t.Fatalf("%d, %s%s", code, stdout, stderr)
	}
}

func TestMain_AddressFromTheEnvironment(t *testing.T) {
	hermetic(t)
	f := startFake(t)
	t.Setenv("HOLDFAST_ADDRESS", f.address)
	var stdout, stderr strings.Builder
	if code := Main([]string{"list"}, &stdout, &stderr); code != exit.OK {
		t.Fatalf("%d, %s", code, stderr.String())
	}
}

func TestTables_Golden(t *testing.T) {
	f := startFake(t)
	created := "2017-03-17" // the time of day depends on the zone
	for _, c := range []struct {
		args string
		want []string
	}{
		{"list", []string{"NAME    STATUS   SUBTASKS  CHECKPOINT  RESTARTS  CREATED", "counts  RUNNING  1/1       7           2         " + created}},
		{"describe counts", []string{
			"job          counts\n", "checkpoints  every 1s, EXACTLY_ONCE: newest 7; 9 triggered, 7 completed, 2 failed\n",
			"subtasks     1 of 1 running, 1 slots stand by, 2 restarts\n",
			"source    Kafka  1            kafka input-topic  -\n", "mapper    Count  1            -                  counters (int64)\n",
			"source/0  RUNNING  12       14     3                n1    pp\n", "source/0  counters  24       2.0 KiB  5.0 MiB\n",
			"source/0  input-topic/1  42\n", " LOST   source/0  n1    p1       9        OPERATOR_LOST: the process is gone\n",
			" USER   source/0  bb    p2       12       USER_CODE: panic: division by zero ...\n", "--exceptions shows the stacks\n",
		}},
		{"describe counts --exceptions", []string{
			" USER  source/0  node bb  process p2  attempt 12\n  USER_CODE: panic: division by zero\n  second line\n  record: x\n    main.divide\n",
			"LOST  source/0  node n1",
		}},
		{"checkpoints counts", []string{"8   COMPLETED  MANUAL", "2/2   34 ms       120 B  30 B     0 B       yes       -\n", "1/2   100 ms      0 B    0 B      0 B                 -          OPERATOR_LOST: the process is gone\n",
			"\n8 triggered, 0 in progress, 6 completed, 2 failed, 1 restored\n",
			"OVER 6 COMPLETED  MINIMUM  AVERAGE  MAXIMUM\nend to end        30 ms    40 ms    50 ms\nstate             100 B    2.0 KiB  4.0 KiB\n"}},
		{"checkpoints counts 8", []string{"end to end   34 ms\n", "source/0  1970", "  34 ms       2.50 ms      0.12 ms  31 ms  100 B  30 B     0 B\n", "10 ms       -            -        -      20 B   0 B      0 B\n",
			"end to end         10 ms    22 ms    34 ms\n", "sync               0.12 ms  0.12 ms  0.12 ms\n"}},
		{"checkpoints counts 7", []string{"reason       OPERATOR_LOST: the process is gone\n", "acks         1 of 2\n", "source/1  not yet"}},
		{"state get counts kelp absent", []string{"KEY     VALUE\nkelp    3\nabsent  (absent)\n"}},
		{"state list counts", []string{"KEY                   VALUE\nkelp                  3\nhex:0100000000000000  -2\n"}},
		{"state list counts --keys-only", []string{"KEY\nkelp\nhex:0100000000000000\n"}},
		{"state list counts --key-type int64", []string{"1             -2\n"}},
		{"cluster status", []string{"n1    leader       3     90       91        50        0.2.0 (1-2)  ", "n2    unreachable  -     -", "\nleader n1, cluster cc at version 2\n"}},
		{"cluster verify", []string{"n2    beef  50\n", "\n2 of 2 replicas were compared at index 91: they are equal\n"}},
		{"cancel counts", []string{"counts is CANCELED\n"}},
		{"checkpoint counts", []string{"checkpoint 8 completed in 34 ms\n"}},
	} {
		_, stdout, stderr := invoke(f, strings.Fields(c.args)...)
		for _, want := range c.want {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s printed\n%s%s\nwithout %q", c.args, stdout, stderr, want)
			}
		}
	}
}

func TestJSON_EveryCommandPrintsOneValue(t *testing.T) {
	f := startFake(t)
	for args, want := range map[string]string{
		"list":                                      `.jobs.0.status "RUNNING"`,
		"describe counts":                           `.subtask_list.0.fencing_token 14`,
		"checkpoint counts":                         `.duration_ms 34`,
		"checkpoints counts":                        `.checkpoints.0.state_bytes 120`,
		"checkpoints counts 8":                      `.subtask_list.0.sync_ms 0.12`,
		"checkpoints counts 7":                      `.missing.0.index 1`,
		"describe counts --exceptions":              `.exceptions.0.stack "main.divide\n\tdivide.go:7"`,
		"state get counts kelp":                     `.entries.0.value 3`,
		"state list counts":                         `.entries.1.key_hex "0100000000000000"`,
		"state list counts --keys-only":             `.next_page_token "-_8"`,
		"cluster status":                            `.members.0.state "leader"`,
		"cluster verify":                            `.replicas.1.restored_snapshot_index 50`,
		"cancel counts":                             `.status "CANCELED"`,
		"resume counts --accept-gap":                `.status "RUNNING"`,
		"describe 0123456789abcdef0123456789abcdef": `.name "counts"`,
	} {
		code, stdout, stderr := invoke(f, append(strings.Fields(args), "-o", "json")...)
		var v any
		if err := json.Unmarshal([]byte(stdout), &v); err != nil || code != exit.OK {
			t.Errorf("%s: %d, %v: %s%s", args, code, err, stdout, stderr)
			continue
		}
		path, value, _ := strings.Cut(want, " ")
		if got, _ := json.Marshal(at(v, path)); string(got) != value {
			t.Errorf("%s: %s is %s, want %s", args, path, got, value)
		}
	}
}

// at follows a path like .jobs.0.name.
func at(v any, path string) any {
	for _, step := range strings.Split(path, ".")[1:] {
		switch w := v.(type) {
		case map[string]any:
			v = w[step]
		case []any:
			v = w[step[0]-'0']
		}
	}
	return v
}

func TestStateList_PageTokenGoesBackAsItCame(t *testing.T) {
	f := startFake(t)
	_, _, stderr := invoke(f, "state", "list", "counts")
	if !strings.Contains(stderr, "--page-token -_8 ") {
		t.Fatalf("stderr %q", stderr)
	}
	if code, _, stderr := invoke(f, "state", "list", "counts", "--page-token=-_8", "--checkpoint", "7", "--limit", "5"); code != exit.OK || stderr != "" {
		t.Fatalf("%d, %q", code, stderr)
	}
	last := f.scans[1]
	if string(last.GetPageToken()) != "\xfb\xff" || last.GetPageSize() != 5 || last.GetState().GetCheckpointId() != 7 ||
		last.GetState().GetOperatorUid() != "mapper" || last.GetState().GetStateName() != "counters" {
		t.Fatalf("%v", last)
	}
}

func TestStateGet_KeysAreEncoded(t *testing.T) {
	f := startFake(t)
	invoke(f, "state", "get", "counts", "--key-type", "int64", "--uid", "u", "--state", "s", "--", "1", "-2")
	got := f.gets[0]
	if string(got.GetKeys()[0]) != "\x01\x00\x00\x00\x00\x00\x00\x00" || string(got.GetKeys()[1]) != "\xfe\xff\xff\xff\xff\xff\xff\xff" || got.GetState().GetOperatorUid() != "u" {
		t.Fatalf("%v", got)
	}
}

func TestCheckpoint_WaitsForItsTurnAndForTheOutcome(t *testing.T) {
	f := startFake(t)
	f.pending, f.polls = 2, 2
	if code, stdout, stderr := invoke(f, "checkpoint", "counts"); code != exit.OK || stdout != "checkpoint 8 completed in 34 ms\n" {
		t.Fatalf("%d, %s%s", code, stdout, stderr)
	}
	f.polls = -1
	code, _, stderr := invoke(f, "checkpoint", "counts")
	if code != exit.Failure || !strings.Contains(stderr, "OPERATOR_LOST: checkpoint 8 was aborted: the process is gone") {
		t.Fatalf("%d, %q", code, stderr)
	}
}

func TestClusterVerify_DifferenceIsAFailure(t *testing.T) {
	f := startFake(t)
	f.unequal = true
	code, stdout, stderr := invoke(f, "cluster", "verify")
	if code != exit.Failure || !strings.Contains(stdout, "DIFFER") || !strings.Contains(stderr, "the replicas differ at index 91") {
		t.Fatalf("%d, %s%s", code, stdout, stderr)
	}
}

func TestRun_OutcomeAndFiles(t *testing.T) {
	f := startFake(t)
	for mode, c := range map[string]struct {
		args []string
		code exit.Code
		tell string
	}{
		"done": {nil, exit.OK, ""},
		"fail": {[]string{"--restart", "never"}, exit.Failure, "exit code 4"},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Setenv(childEnv, mode)
			dir := t.TempDir()
			args := append([]string{"run", "--log-dir", dir, "--job", "my job"}, c.args...)
			code, stdout, stderr := invoke(f, append(args, "--", os.Args[0])...)
			if code != c.code || !strings.Contains(stderr, c.tell) {
				t.Fatalf("%d, %s%s", code, stdout, stderr)
			}
			for _, ext := range []string{"out", "log"} {
				files, _ := filepath.Glob(filepath.Join(dir, "holdfast-*-my_job-0-*."+ext))
				if len(files) != 1 {
					t.Errorf("%d files .%s", len(files), ext)
				}
			}
			if mode == "fail" && !strings.Contains(stdout, "cannot read the topic") {
				t.Errorf("the last words are not told:\n%s", stdout)
			}
		})
	}
	if len(f.exits) != 2 {
		t.Errorf("%d exits were reported", len(f.exits))
	}
}

func TestRun_JobThatFailedDecidesTheExitCode(t *testing.T) {
	f := startFake(t)
	t.Setenv(childEnv, "done")
	f.extra = []*holdfastv1.JobSummary{{JobId: "ff", Name: "mine", Status: holdfastv1.JobStatus_JOB_STATUS_RUNNING}}
	r := &runner{before: map[string]bool{}, jobName: "mine"}
	if got := r.choose(f.extra); got != "ff" {
		t.Fatalf("chose %q", got)
	}
	f.extra[0].Status = holdfastv1.JobStatus_JOB_STATUS_CANCELED
	// One that had ended before the run is not the run's.
	r.before["ff"] = true
	if got := r.choose(f.extra); got != "" {
		t.Fatalf("chose %q", got)
	}
	code, stdout, stderr := invoke(f, "run", "--log-dir", t.TempDir(), "--", os.Args[0])
	if code != exit.OK {
		t.Fatalf("%d, %s%s", code, stdout, stderr)
	}
}

func TestRun_ChoosesTheJobThatIsItsOwn(t *testing.T) {
	job := func(id, name string) *holdfastv1.JobSummary { return &holdfastv1.JobSummary{JobId: id, Name: name} }
	for name, c := range map[string]struct {
		jobName string
		before  map[string]bool
		list    []*holdfastv1.JobSummary
		want    string
	}{
		"by name, new":               {"a", map[string]bool{}, []*holdfastv1.JobSummary{job("1", "a"), job("2", "b")}, "1"},
		"by name, joined":            {"a", map[string]bool{"1": false}, []*holdfastv1.JobSummary{job("1", "a")}, "1"},
		"by name, the ended one not": {"a", map[string]bool{"1": true}, []*holdfastv1.JobSummary{job("1", "a"), job("2", "a")}, "2"},
		"without name, the new one":  {"", map[string]bool{"1": false}, []*holdfastv1.JobSummary{job("1", "a"), job("2", "b")}, "2"},
		"without name, two new ones": {"", map[string]bool{}, []*holdfastv1.JobSummary{job("1", "a"), job("2", "b")}, ""},
		"nothing there":              {"a", map[string]bool{}, nil, ""},
	} {
		r := &runner{jobName: c.jobName, before: c.before}
		if got := r.choose(c.list); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	canceled := job("1", "a")
	canceled.Status = holdfastv1.JobStatus_JOB_STATUS_CANCELED
	r := &runner{before: map[string]bool{"1": false, "2": false, "3": true}}
	if got := r.chooseEnded([]*holdfastv1.JobSummary{canceled, job("2", "b")}); got != "1" {
		t.Errorf("joined and ended: %q", got)
	}
	if got := r.chooseEnded([]*holdfastv1.JobSummary{job("1", "a"), job("2", "b")}); got != "" {
		t.Errorf("joined, going on: %q", got)
	}
}

func TestRun_ProgramThatNeverSubmitsIsGivenUp(t *testing.T) {
	f := startFake(t)
	t.Setenv(childEnv, "fail")
	code, stdout, stderr := invoke(f, "run", "--restart-delay", "1ms", "--log-dir", t.TempDir(), "--", os.Args[0])
	if code != exit.Failure || !strings.Contains(stderr, "ends as soon as it starts") || strings.Count(stdout, " started as pid ") != hopeless {
		t.Fatalf("%d, %s%s", code, stdout, stderr)
	}
}

// A refusal for good is not tried again, whether the run knows its job or not.
func TestRun_ProgramThatIsRefusedIsNotStartedAgain(t *testing.T) {
	f := startFake(t)
	t.Setenv(childEnv, "refused")
	for _, flags := range [][]string{nil, {"--job", "counts"}} {
		args := append(append([]string{"run", "--restart-delay", "1ms", "--log-dir", t.TempDir()}, flags...), "--", os.Args[0])
		code, stdout, stderr := invoke(f, args...)
		const want = "holdfast: the program ended with exit code 78: its job is refused for good, so it is not started again; the end of its log says why\n"
		if code != exit.Refused || stderr != want || strings.Count(stdout, " started as pid ") != 1 || !strings.Contains(stdout, "JOB_SPEC_DIFFERS: it differs") {
			t.Errorf("%v: %d, %s%s", flags, code, stdout, stderr)
		}
	}
	if refusedCode != holdfast.ExitRefused {
		t.Error("the Go client has another exit code for it")
	}
}

package cli

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Every command about savepoints, with what it prints: exactly, or with a JSON ending
// in a part.
func TestSavepoints_Commands(t *testing.T) {
	hermetic(t)
	f := startFake(t)
	for _, c := range []struct {
		args   string
		code   exit.Code
		stdout string
	}{
		{"savepoint counts", exit.OK, "savepoint of checkpoint 8 written in 34 ms: file:///sp/savepoint-8\n"},
		{"savepoint counts /sp -o json", exit.OK, `"path": "file:///sp/savepoint-8"`},
		{"savepoint --dispose /sp/a", exit.OK, "deleted /sp/a: 3 files\n"},
		{"savepoint --dispose /sp/a -o json", exit.OK, `"files": 3`},
		{"stop counts", exit.OK, "counts is FINISHED; savepoint of checkpoint 8: file:///sp/savepoint-8\n"},
		{"stop counts --savepoint-path s3://b/sp --drain -o json", exit.OK, `"status": "FINISHED"`},
		{"cancel counts --with-savepoint", exit.OK, "counts is CANCELED; savepoint of checkpoint 8: file:///sp/savepoint-8\n"},
		{"cancel counts --with-savepoint /sp -o json", exit.OK, `"status": "CANCELED"`},
		{"cancel counts", exit.OK, "counts is CANCELED\n"},
		{"verify /sp/a", exit.OK, "/sp/a: 4 files with 2.0 KiB were read, 0 problems\n"},
		{"verify /sp/bad", exit.Failure, "FAULT      FILE  SUBTASK   DETAIL\nMISSING    f1    mapper/0\nTRUNCATED  f2    mapper/1  3 of 9 bytes\nFLIPPED    f3    mapper/1\nFOREIGN    f4    -\n\n/sp/bad: 4 files with 2.0 KiB were read, 4 problems\n"},
		{"verify /sp/bad -o json", exit.Failure, `"fault": "FLIPPED"`},
		{"diff /sp/a /sp/same", exit.OK, "no difference\n"},
		{"diff /sp/a /sp/same -o json", exit.OK, `{"change":"sum","counts":{"added":0,"changed":0,"removed":0,"states":0}}` + "\n"},
		{"diff /sp/a /sp/b", exit.Failure, "- mapper/counters alpha: 2\n~ mapper/counters beta: 3 -> 4\n+ mapper/counters gamma: 5\n+ state mapper/words\n1 keys added, 1 removed, 1 changed; 1 states differ as a whole\n"},
		{"diff /sp/a /sp/b --state counters -o json", exit.Failure, `{"change":"changed","uid":"mapper","state":"counters","key":"beta","before":3,"after":4}` + "\n"},
		{"state scan --savepoint /sp/a", exit.OK, "zeta\t1\nalpha\t2\nbeta\t3\n"},
		{"state scan --checkpoint file:///sp/a --keys-only", exit.OK, "zeta\nalpha\nbeta\n"},
		{"state scan --savepoint /sp/b --state words", exit.OK, "k\t[\"x\", \"yz\"]\n"},
		{"state scan --savepoint /sp/b --state words -o json", exit.OK, `{"key":"k","value":["x","yz"],"found":true}` + "\n"},
		{"state scan counts", exit.OK, "kelp\t3\nhex:0100000000000000\t-2\nkelp\t3\n"},
		{"state list --savepoint /sp/a --limit 2", exit.OK, "KEY    VALUE\nzeta   1\nalpha  2\n"},
		{"state get --savepoint /sp/a beta", exit.OK, "KEY   VALUE\nbeta  3\n"},
		{"state get --savepoint /sp/a beta absent", exit.NotFound, "KEY     VALUE\nbeta    3\nabsent  (absent)\n"},
		{"state states --savepoint /sp/b", exit.OK, "OPERATOR  STATE     DECLARED AS  ENTRIES  SIZE\nmapper    counters  value int64  3        2.0 KiB\nmapper    words     list string  -        -\n"},
		{"state states --savepoint /sp/k1", exit.OK, "OPERATOR  STATE  DECLARED AS                                 ENTRIES  SIZE\nkeeper    kept   operator split-distribute string version 2  3        18 B\nkeeper    rules  operator broadcast int64 to int64           -        -\n"},
		{"state states --savepoint /sp/k1 -o json", exit.OK, `"mode": "split_distribute"`},
		{"state scan --savepoint /sp/k1 --state kept", exit.OK, "0/0\ta\n0/1\tb\n1/0\tc\n"},
		{"state scan --savepoint /sp/k1 --state kept -o json", exit.OK, `{"subtask":0,"place":1,"value":"b","found":true}` + "\n"},
		{"state scan --savepoint /sp/k1 --state rules", exit.OK, "0/7\t49\n1/7\t49\n"},
		{"state list --savepoint /sp/k1 --state kept --limit 2", exit.OK, "KEY  VALUE\n0/0  a\n0/1  b\n"},
		{"state get --savepoint /sp/k1 --state kept 0 7", exit.NotFound, "KEY  VALUE\n0/0  a\n1/0  c\n7    (absent)\n"},
		{"state get --savepoint /sp/k1 --state rules 7", exit.OK, "KEY  VALUE\n0/7  49\n1/7  49\n"},
		{"state get --savepoint /sp/k1 --state kept first", exit.Usage, ""},
		{"diff /sp/k1 /sp/k2", exit.Failure, "~ keeper/kept 0/1: b -> x\n+ keeper/kept 1/1: d\n1 keys added, 0 removed, 1 changed; 0 states differ as a whole\n"},
		{"diff /sp/k1 /sp/k2 -o json", exit.Failure, `{"change":"added","uid":"keeper","state":"kept","subtask":1,"place":1,"after":"d"}` + "\n"},
		{"state states counts -o json", exit.OK, `"name": "counters"`},
		{"checkpoints counts 9", exit.OK, "directory    file:///c/job/chk-8\nsavepoint    file:///sp/savepoint-8\n"},
		{"checkpoints counts 9 -o json", exit.OK, `"uploaded_bytes": 4096`},
	} {
		code, stdout, stderr := invoke(f, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(stdout, c.stdout) {
			t.Errorf("holdfast %s: exit code %d, want %d\ngot  %q%s\nwant %q", c.args, code, c.code, stdout, stderr, c.stdout)
		}
	}
}

// What is asked of the cluster.
func TestSavepoints_Requests(t *testing.T) {
	hermetic(t)
	f := startFake(t)
	f.pending, f.polls = 2, 2
	for _, line := range []string{"savepoint counts /sp", "stop counts --savepoint-path s3://b/sp --drain", "cancel counts --with-savepoint", "stop counts"} {
		if code, _, stderr := invoke(f, strings.Fields(line)...); code != exit.OK {
			t.Errorf("%s: %d, %s", line, code, stderr)
		}
	}
	for _, r := range f.savepoints {
		if r.GetDirectory() != "file:///sp" || r.GetRequestId() == "" {
			t.Errorf("asked for %v", r)
		}
	}
	// Refused twice because a checkpoint is pending.
	if len(f.savepoints) != 3 || len(f.stops) != 3 {
		t.Fatalf("%d savepoints and %d stops", len(f.savepoints), len(f.stops))
	}
	for i, want := range []string{`job: "counts" directory: "s3://b/sp" drain: true`, `job: "counts" cancel: true`, `job: "counts"`} {
		wanted := &holdfastv1.StopRequest{}
		if err := prototext.Unmarshal([]byte(want), wanted); err != nil {
			t.Fatal(err)
		}
		got := f.stops[i]
		if got.GetRequestId() == "" {
			t.Errorf("stop %d has no request id", i)
		}
		got.RequestId = ""
		if !proto.Equal(got, wanted) {
			t.Errorf("asked for %v, want %v", got, wanted)
		}
	}
}

// An operation that fails says whether the checkpoint stands.
func TestSavepoints_OperationsThatFail(t *testing.T) {
	hermetic(t)
	for export, want := range map[bool]string{
		true:  "holdfast: SAVEPOINT_FAILED: the savepoint was not written, its checkpoint 8 stands: s3 does not answer\n",
		false: "holdfast: OPERATOR_LOST: checkpoint 8 was aborted: the process is gone\n",
	} {
		f := startFake(t)
		f.polls, f.exportFails = -1, export
		for _, line := range []string{"savepoint counts", "stop counts", "cancel counts --with-savepoint"} {
			if code, stdout, stderr := invoke(f, strings.Fields(line)...); code != exit.Failure || stderr != want || stdout != "" {
				t.Errorf("%s: %d, %q, %q; want %q", line, code, stdout, stderr, want)
			}
		}
	}
}

// What `holdfast run` tells the program of the savepoint.
func TestRun_TheProgramIsToldOfTheSavepoint(t *testing.T) {
	for _, c := range []struct {
		flags restoreFlags
		want  string
	}{
		{restoreFlags{}, ""},
		{restoreFlags{path: "/sp/a"}, "PATH=file:///sp/a IGNORE_UNCLAIMED_STATE=false CLAIM_MODE=NO_CLAIM"},
		{restoreFlags{path: "s3://b/a", allow: true, claimMode: "claim"}, "PATH=s3://b/a IGNORE_UNCLAIMED_STATE=true CLAIM_MODE=CLAIM"},
	} {
		got := strings.ReplaceAll(strings.Join(c.flags.environment(), " "), "HOLDFAST_EXECUTION_STATE_RECOVERY_", "")
		if err := c.flags.check(); err != nil || got != c.want {
			t.Errorf("%+v: %q, %v; want %q", c.flags, got, err, c.want)
		}
	}
}

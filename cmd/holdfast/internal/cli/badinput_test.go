package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
)

// Each way to use the command line wrongly, with the exit code and the exact text
// on standard error; DIR is a directory without a cluster.
func TestMain_BadInput(t *testing.T) {
	hermetic(t)
	f := startFake(t)
	dir := t.TempDir()
	for name, text := range map[string]string{"garbage": "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "short": "HFSNAP"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args string
		code exit.Code
		want string
	}{
		{"nonsense", exit.Usage, "holdfast: unknown command \"nonsense\"; see `holdfast --help`\n"},
		{"help nonsense", exit.Usage, "holdfast: unknown command \"nonsense\"; see `holdfast --help`\n"},
		{"help cluster statsu", exit.Usage, "holdfast: unknown command \"statsu\"; did you mean `holdfast cluster status`? `holdfast cluster --help` lists all\n"},
		{"--nonsense", exit.Usage, "holdfast: unknown flag: --nonsense; see `holdfast --help`\n"},
		{"list extra", exit.Usage, "holdfast: `holdfast list` takes no arguments; see `holdfast list --help`\n"},
		{"list --nonsense", exit.Usage, "holdfast: unknown flag: --nonsense; see `holdfast list --help`\n"},
		{"list -o yaml", exit.Usage, "holdfast: --output is table or json, not \"yaml\"; see `holdfast --help`\n"},
		{"describe", exit.Usage, "holdfast: `holdfast describe` needs JOB; see `holdfast describe --help`\n"},
		{"describe a b", exit.Usage, "holdfast: `holdfast describe` needs JOB; see `holdfast describe --help`\n"},
		{"describe x", exit.NotFound, "holdfast: JOB_NOT_FOUND: no job \"x\"; `holdfast list` shows the jobs\n"},
		{"describe leaderless --timeout 2s", exit.Unavailable, "holdfast: NO_LEADER: no leader is known; `holdfast cluster status` shows the nodes; a majority must run\n"},
		{"cancel", exit.Usage, "holdfast: `holdfast cancel` needs JOB; see `holdfast cancel --help`\n"},
		{"cancel x", exit.NotFound, "holdfast: JOB_NOT_FOUND: no job \"x\"; `holdfast list` shows the jobs\n"},
		{"cancel suspended", exit.Refused, "holdfast: JOB_STATE: the job is SUSPENDED; `holdfast describe` shows the job\n"},
		{"resume", exit.Usage, "holdfast: `holdfast resume` needs JOB; see `holdfast resume --help`\n"},
		{"resume x", exit.Refused, "holdfast: OFFSET_OUT_OF_RANGE: offsets 3 to 9 are gone; `holdfast resume --accept-gap` goes on without the missing records\n"},
		{"resume counts", exit.Refused, "holdfast: OFFSET_OUT_OF_RANGE: offsets 3 to 9 are gone; `holdfast resume --accept-gap` goes on without the missing records\n"},
		{"checkpoint", exit.Usage, "holdfast: `holdfast checkpoint` needs JOB; see `holdfast checkpoint --help`\n"},
		{"checkpoint x", exit.NotFound, "holdfast: JOB_NOT_FOUND: no job \"x\"; `holdfast list` shows the jobs\n"},
		{"checkpoint counts --timeout abc", exit.Usage, "holdfast: --timeout is a duration such as 500ms, 30s or 5m, not \"abc\"; see `holdfast checkpoint --help`\n"},
		{"checkpoints", exit.Usage, "holdfast: `holdfast checkpoints` needs JOB; see `holdfast checkpoints --help`\n"},
		{"checkpoints x", exit.NotFound, "holdfast: JOB_NOT_FOUND: no job \"x\"; `holdfast list` shows the jobs\n"},
		{"checkpoints counts 1 2", exit.Usage, "holdfast: `holdfast checkpoints` takes JOB ID at most; see `holdfast checkpoints --help`\n"},
		{"checkpoints counts abc", exit.Usage, "holdfast: the checkpoint id \"abc\" is no number from 1; `holdfast checkpoints counts` lists them; see `holdfast --help`\n"},
		{"checkpoints counts 99", exit.NotFound, "holdfast: CHECKPOINT_NOT_FOUND: checkpoint 99 is not remembered; `holdfast checkpoints` lists those that are remembered\n"},
		{"state nonsense", exit.Usage, "holdfast: unknown command \"nonsense\"; see `holdfast state --help`\n"},
		{"state get", exit.Usage, "holdfast: `holdfast state get` needs JOB KEY; see `holdfast state get --help`\n"},
		{"state get counts", exit.Usage, "holdfast: `holdfast state get` needs JOB KEY; see `holdfast state get --help`\n"},
		{"state get x a", exit.NotFound, "holdfast: JOB_NOT_FOUND: no job \"x\"; `holdfast list` shows the jobs\n"},
		{"state get counts a --state other", exit.NotFound, "holdfast: no such state in the job \"counts\"; it has --uid mapper --state counters\n"},
		{"state get counts a --uid nobody", exit.NotFound, "holdfast: no such state in the job \"counts\"; it has --uid mapper --state counters\n"},
		{"state get counts a --key-type uuid", exit.Usage, "holdfast: --key-type is string, int64, float64, bool, json or bytes, not \"uuid\"; see `holdfast --help`\n"},
		{"state get counts a --key-type int64", exit.Usage, "holdfast: the key \"a\" is no int64; see `holdfast --help`\n"},
		{"state get counts absent", exit.NotFound, "holdfast: 1 of 1 keys have no value; they were read as string, see --key-type\n"},
		{"state get counts a --checkpoint abc", exit.Usage, "holdfast: --checkpoint is a whole number from 0, or a directory, not \"abc\"; see `holdfast --help`\n"},
		{"state get counts a --checkpoint -1", exit.Usage, "holdfast: --checkpoint is a whole number from 0, or a directory, not \"-1\"; see `holdfast --help`\n"},
		{"state list", exit.Usage, "holdfast: `holdfast state list` needs JOB; see `holdfast state list --help`\n"},
		{"state list x", exit.NotFound, "holdfast: JOB_NOT_FOUND: no job \"x\"; `holdfast list` shows the jobs\n"},
		{"state list counts --limit 0", exit.Usage, "holdfast: --limit is 1 to 10000, not 0; see `holdfast --help`\n"},
		{"state list counts --limit many", exit.Usage, "holdfast: --limit is a whole number from 0, not \"many\"; see `holdfast state list --help`\n"},
		{"state list counts --limit 10001", exit.Usage, "holdfast: --limit is 1 to 10000, not 10001; see `holdfast --help`\n"},
		{"state list counts --page-token !", exit.Usage, "holdfast: --page-token \"!\" is not one that was printed; see `holdfast --help`\n"},
		{"state get --savepoint file:///sp/a", exit.Usage, "holdfast: `holdfast state get` needs KEY; see `holdfast state get --help`\n"},
		{"state get --savepoint file:///sp/b k", exit.Usage, "holdfast: the savepoint file:///sp/b has several states; choose --uid mapper --state counters, or --uid mapper --state words; see `holdfast --help`\n"},
		{"state list counts --savepoint file:///sp/a", exit.Usage, "holdfast: a directory takes the place of JOB; see `holdfast state list --help`\n"},
		{"state list --savepoint file:///sp/a --checkpoint file:///sp/b", exit.Usage, "holdfast: --checkpoint and --savepoint are two directories; one is read at a time; see `holdfast state list --help`\n"},
		{"state list --savepoint file:///sp/a --page-token aa", exit.Usage, "holdfast: --page-token is one of a job; `holdfast state scan` prints the whole state of a checkpoint or savepoint; see `holdfast --help`\n"},
		{"state scan", exit.Usage, "holdfast: `holdfast state scan` needs JOB; see `holdfast state scan --help`\n"},
		{"state scan --savepoint file:///sp/nowhere", exit.Failure, "holdfast: RESTORE_FAILED: there is no file:///sp/nowhere/_metadata\n"},
		{"state scan --savepoint file:///sp/torn", exit.Failure, "holdfast: RESTORE_FAILED: chk-7/f1 is truncated\n"},
		{"state states", exit.Usage, "holdfast: `holdfast state states` needs JOB; see `holdfast state states --help`\n"},
		{"savepoint", exit.Usage, "holdfast: `holdfast savepoint` needs JOB; see `holdfast savepoint --help`\n"},
		{"savepoint x", exit.NotFound, "holdfast: JOB_NOT_FOUND: no job \"x\"; `holdfast list` shows the jobs\n"},
		{"savepoint --dispose=", exit.Usage, "holdfast: --dispose needs the directory of a savepoint; see `holdfast savepoint --help`\n"},
		{"savepoint counts --dispose file:///sp/a", exit.Usage, "holdfast: --dispose PATH takes no JOB; see `holdfast savepoint --help`\n"},
		{"savepoint --dispose file:///elsewhere", exit.Refused, "holdfast: PATH_NOT_ALLOWED: the directory file:///elsewhere is not below an allowed root (file:///sp); storage.allowed-roots of the nodes says where directories may lie\n"},
		{"stop", exit.Usage, "holdfast: `holdfast stop` needs JOB; see `holdfast stop --help`\n"},
		{"stop suspended", exit.Refused, "holdfast: JOB_STATE: the job is SUSPENDED; `holdfast describe` shows the job\n"},
		{"cancel counts file:///sp", exit.Usage, "holdfast: `holdfast cancel` needs JOB; see `holdfast cancel --help`\n"},
		{"verify", exit.Usage, "holdfast: `holdfast verify` needs PATH; see `holdfast verify --help`\n"},
		{"verify file:///sp/nowhere", exit.Failure, "holdfast: RESTORE_FAILED: there is no file:///sp/nowhere/_metadata\n"},
		{"verify file:///sp/bad", exit.Failure, "holdfast: file:///sp/bad is not as its _metadata says: 4 problems\n"},
		{"verify file:///sp/short", exit.Failure, "holdfast: the node ended before it had read every file of file:///sp/short\n"},
		{"diff file:///sp/a", exit.Usage, "holdfast: `holdfast diff` needs PATH1 PATH2; see `holdfast diff --help`\n"},
		{"diff file:///sp/a file:///sp/b --key-type uuid", exit.Usage, "holdfast: --key-type is string, int64, float64, bool, json or bytes, not \"uuid\"; see `holdfast --help`\n"},
		{"diff file:///sp/a file:///sp/b --state other", exit.NotFound, "holdfast: neither of the two has such a state; `holdfast diff` without --uid and --state compares all\n"},
		{"diff file:///sp/a file:///sp/groups", exit.Refused, "holdfast: state mapper/counters has 128 key groups in one and 64 in the other, so its keys are in another order\n"},
		{"diff file:///sp/a file:///sp/torn", exit.Failure, "holdfast: RESTORE_FAILED: chk-7/f1 is truncated\n"},
		{"diff file:///sp/a file:///sp/b", exit.Failure, ""},
		{"cluster nonsense", exit.Usage, "holdfast: unknown command \"nonsense\"; see `holdfast cluster --help`\n"},
		{"cluster start", exit.Usage, "holdfast: --dir is needed: the directory of the local cluster; see `holdfast --help`\n"},
		{"cluster start --nodes 0 --dir DIR", exit.Usage, "holdfast: a local cluster has 1 to 9 nodes, not 0; see `holdfast --help`\n"},
		{"cluster start --nodes x --dir DIR", exit.Usage, "holdfast: --nodes is a whole number, not \"x\"; see `holdfast cluster start --help`\n"},
		{"cluster stop", exit.Usage, "holdfast: --dir is needed: the directory of the local cluster; see `holdfast --help`\n"},
		{"cluster stop --dir DIR", exit.NotFound, "holdfast: no cluster in DIR; `holdfast cluster start --dir DIR` makes one\n"},
		{"cluster status --dir DIR", exit.NotFound, "holdfast: no cluster in DIR; `holdfast cluster start --dir DIR` makes one\n"},
		{"cluster verify extra", exit.Usage, "holdfast: `holdfast cluster verify` takes no arguments; see `holdfast cluster verify --help`\n"},
		{"cluster add", exit.Usage, "holdfast: `holdfast cluster add` needs ADDRESS; see `holdfast cluster add --help`\n"},
		{"cluster remove", exit.Usage, "holdfast: `holdfast cluster remove` needs NODE; see `holdfast cluster remove --help`\n"},
		{"cluster add 127.0.0.1:1", exit.Unavailable, "holdfast: NODE_UNREACHABLE: add the node at 127.0.0.1:1: no node answers at this peer address; start it with --join, and give the address of its --peer-listen as the members of the cluster reach it\n"},
		{"cluster remove nobody", exit.NotFound, "holdfast: NODE_NOT_FOUND: remove node nobody: no such member: \"nobody\"; the members are n1 (aa), n2 (bb); `holdfast cluster status` shows the members\n"},
		{"cluster remove n2", exit.Refused, "holdfast: QUORUM_AT_RISK: node n2 is not removed: no other could be lost then; add a node first (`holdfast cluster add`), or say --force\n"},
		{"cluster transfer-leadership nobody", exit.NotFound, "holdfast: NODE_NOT_FOUND: transfer leadership to nobody: no such member: \"nobody\"; the members are n1 (aa), n2 (bb); `holdfast cluster status` shows the members\n"},
		{"cluster transfer-leadership n1 n2", exit.Usage, "holdfast: `holdfast cluster transfer-leadership` takes NODE at most; see `holdfast cluster transfer-leadership --help`\n"},
		{"node remove nobody --dir DIR", exit.NotFound, "holdfast: no cluster in DIR; `holdfast cluster start --dir DIR` makes one\n"},
		{"snapshot inspect", exit.Usage, "holdfast: `holdfast snapshot inspect` needs FILE; see `holdfast snapshot inspect --help`\n"},
		{"snapshot inspect DIR/none", exit.NotFound, "holdfast: no file DIR/none\n"},
		{"snapshot inspect DIR/garbage", exit.Failure, "holdfast: DIR/garbage cannot be used: snapshot is damaged: not a snapshot; take another backup, this one is lost\n"},
		{"snapshot inspect DIR/short", exit.Failure, "holdfast: DIR/short cannot be used: snapshot is damaged: cut short after 0 bytes of state, behind byte 0 of the file; take another backup, this one is lost\n"},
		{"snapshot inspect DIR", exit.Failure, "holdfast: DIR is a directory; give the file that `holdfast snapshot save` wrote\n"},
		{"snapshot restore DIR/garbage", exit.Usage, "holdfast: one of --data-dir and --dir is needed: where the new cluster is to be; see `holdfast --help`\n"},
		{"snapshot restore DIR/none --data-dir DIR/new", exit.NotFound, "holdfast: no file DIR/none\n"},
		{"snapshot restore DIR/garbage --data-dir DIR/new", exit.Failure, "holdfast: DIR/garbage cannot be used: snapshot is damaged: not a snapshot; take another backup, this one is lost\n"},
		{"snapshot restore DIR/garbage --data-dir DIR", exit.Refused, "holdfast: data directory is not empty: DIR holds garbage: give a new directory; a snapshot never replaces what is there\n"},
		{"node kill", exit.Usage, "holdfast: `holdfast node kill` needs NODE; see `holdfast node kill --help`\n"},
		{"node kill n1", exit.Usage, "holdfast: --dir is needed: the directory of the local cluster; see `holdfast --help`\n"},
		{"node kill n1 --dir DIR", exit.NotFound, "holdfast: no cluster in DIR; `holdfast cluster start --dir DIR` makes one\n"},
		{"node start n9 --dir DIR", exit.NotFound, "holdfast: no cluster in DIR; `holdfast cluster start --dir DIR` makes one\n"},
		{"run", exit.Usage, "holdfast: `holdfast run` needs PROGRAM; see `holdfast run --help`\n"},
		{"run -- /does/not/exist", exit.Usage, "holdfast: exec: \"/does/not/exist\": stat /does/not/exist: no such file or directory; see `holdfast --help`\n"},
		{"run -p 0 -- true", exit.Usage, "holdfast: -p is 1 or more, not 0; see `holdfast --help`\n"},
		{"run -p x -- true", exit.Usage, "holdfast: --parallelism is a whole number, not \"x\"; see `holdfast run --help`\n"},
		{"run --restart maybe -- true", exit.Usage, "holdfast: --restart is on-failure or never, not \"maybe\"; see `holdfast --help`\n"},
		{"run -n -- true", exit.Usage, "holdfast: --allow-non-restored-state and --claim-mode need --from-savepoint; see `holdfast --help`\n"},
		{"run -s file:///sp/a --claim-mode LEGACY -- true", exit.Usage, "holdfast: --claim-mode is NO_CLAIM or CLAIM, not \"LEGACY\"; see `holdfast --help`\n"},
		{"demo --records-per-second 0", exit.Usage, "holdfast: --records-per-second is 1 to 10000, not 0; see `holdfast --help`\n"},
		{"config check", exit.Usage, "holdfast: `holdfast config check` needs FILE; see `holdfast config check --help`\n"},
		{"config check a b", exit.Usage, "holdfast: `holdfast config check` needs FILE; see `holdfast config check --help`\n"},
		{"config check /does/not/exist", exit.Failure, "holdfast: the configuration has 1 problem\n"},
		{"config show --config /does/not/exist", exit.Failure, "holdfast: /does/not/exist: no such file or directory; give the path of a file, or none for the defaults\nholdfast: the configuration has 1 problem\n"},
		{"config show --nonsense", exit.Usage, "holdfast: unknown flag: --nonsense; see `holdfast config show --help`\n"},
		{"completion csh", exit.Usage, "holdfast: there is a completion for bash, zsh and fish, not for \"csh\"; see `holdfast completion --help`\n"},
		{"context use nowhere", exit.NotFound, "holdfast: there is no context \"nowhere\"; `holdfast context list` shows them\n"},
		{"version extra", exit.Usage, "holdfast: `holdfast version` takes no arguments; see `holdfast version --help`\n"},
		{"--address nope list", exit.Usage, "holdfast: the address \"nope\" has no port; host:port is needed; see `holdfast --help`\n"},
		{"--address 127.0.0.1:99999 list", exit.Usage, "holdfast: the address \"127.0.0.1:99999\" has no port from 1 to 65535; host:port is needed; see `holdfast --help`\n"},
		{"--timeout abc list", exit.Usage, "holdfast: --timeout is a duration such as 500ms, 30s or 5m, not \"abc\"; see `holdfast list --help`\n"},
	} {
		args := strings.Fields(strings.ReplaceAll(c.args, "DIR", dir))
		code, _, stderr := invoke(f, args...)
		if want := strings.ReplaceAll(c.want, "DIR", dir); code != c.code || stderr != want {
			t.Errorf("holdfast %s: exit code %d, want %d\ngot  %swant %s", c.args, code, c.code, stderr, want)
		}
		// What a program reads stays readable, also when something is wrong.
		code, stdout, _ := invoke(f, append([]string{"-o", "json"}, args...)...)
		for line := json.NewDecoder(strings.NewReader(stdout)); line.More(); {
			var v any
			if err := line.Decode(&v); err != nil {
				t.Errorf("holdfast -o json %s: %v in %q", c.args, err, stdout)
				break
			}
		}
		if code != c.code {
			t.Errorf("holdfast -o json %s: exit code %d, want %d", c.args, code, c.code)
		}
	}
}

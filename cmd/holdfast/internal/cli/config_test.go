package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
)

func runConfig(args ...string) (code exit.Code, stdout, stderr string) {
	var out, errs strings.Builder
	code = Main(append([]string{"config"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

func configFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "hf.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestConfigCheck_ListsEveryProblem(t *testing.T) {
	name := configFile(t, "nam: x\nsession-timeout: 1\nsession-timeout: 5 s\n")
	code, stdout, stderr := runConfig("check", name)
	want := name + ":1: nam: there is no such key; did you mean name?\n" +
		name + ":3: session-timeout: it is there twice; the first is in line 2\n" +
		name + ":2: session-timeout: session-timeout of 1 ms is less than twice heartbeat-interval of 3 s\n"
	if code != exit.Failure || stdout != want || stderr != "holdfast: the configuration has 3 problems\n" {
		t.Errorf("%d\n%s%s", code, stdout, stderr)
	}
	code, stdout, _ = runConfig("check", name, "-o", "json")
	var v checkView
	if err := json.Unmarshal([]byte(stdout), &v); err != nil || code != exit.Failure || v.Valid || len(v.Problems) != 3 ||
		v.Problems[1] != (problemView{"file", name, 3, "session-timeout", "it is there twice; the first is in line 2"}) {
		t.Errorf("%d, %v\n%s", code, err, stdout)
	}
}

func TestConfigCheck_ValidAndEmpty(t *testing.T) {
	t.Setenv("HOLDFAST_NONSENSE", "the environment is not asked")
	name := configFile(t, "# nothing\n")
	code, stdout, stderr := runConfig("check", name)
	if want := name + ": the file is empty, so the defaults apply\n" + name + " is valid\n"; code != exit.OK || stdout != want || stderr != "" {
		t.Errorf("%d\n%s%s", code, stdout, stderr)
	}
	code, stdout, _ = runConfig("check", configFile(t, "name: a\n"), "-o", "json")
	if code != exit.OK || !strings.Contains(stdout, `"valid": true`) || !strings.Contains(stdout, `"problems": []`) || !strings.Contains(stdout, `"notes": []`) {
		t.Errorf("%d\n%s", code, stdout)
	}
}

func TestConfigCheck_FilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if code, stdout, _ := runConfig("check", dir); code != exit.Failure || stdout != dir+": it is a directory, not a file\n" {
		t.Errorf("%d\n%s", code, stdout)
	}
	if code, _, _ := runConfig("check"); code != exit.Usage {
		t.Errorf("without a file: %d", code)
	}
}

func TestConfigShow_ValuesAndPlaces(t *testing.T) {
	name := configFile(t, "name: a\nlog.level: warn\n")
	t.Setenv("HOLDFAST_CONFIG", name)
	t.Setenv("HOLDFAST_LOG_FORMAT", "json")
	code, stdout, stderr := runConfig("show", "--session-timeout", "1m30s")
	got := strings.Join(strings.Fields(stdout), " ")
	for _, want := range []string{
		"KEY VALUE FROM name a " + name + ":1 data-dir holdfast-data default", "log.level warn " + name + ":2",
		"log.format json environment HOLDFAST_LOG_FORMAT", "session-timeout 90 s flag --session-timeout",
		"advertise (the address of listen) default", "state.memory.max-size 5 mb default",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	if code != exit.OK || stderr != "" {
		t.Errorf("%d, %s", code, stderr)
	}
	_, stdout, _ = runConfig("show", "-o", "json")
	var v struct{ Settings []settingView }
	if err := json.Unmarshal([]byte(stdout), &v); err != nil || *v.Settings[0].Value != "a" || v.Settings[0].Line != 1 || v.Settings[3].Value != nil {
		t.Errorf("%v\n%s", err, stdout)
	}
}

func TestConfigShow_ProblemsAreTold(t *testing.T) {
	t.Setenv("HOLDFAST_CONFIG", "")
	code, stdout, stderr := runConfig("show", "--listen", "0.0.0.0:1", "--name=")
	if code != exit.Failure || stdout != "" || !strings.Contains(stderr, "holdfast: --name: it is empty\nholdfast: --listen: 0.0.0.0:1 is not a loopback") {
		t.Errorf("%d\n%s%s", code, stdout, stderr)
	}
}

package testport

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// envTake makes this test binary another test process that tries to take the ports
// that the variable names.
const envTake = "TESTPORT_TAKE"

func TestMain(m *testing.M) {
	if ports := os.Getenv(envTake); ports != "" {
		for _, a := range strings.Split(ports, ",") {
			_, err := take(a)
			fmt.Println(a, err == nil)
		}
		return
	}
	os.Exit(m.Run())
}

// Ports are nobody else's while nobody listens on them: as when a node is down.
func TestFree_BelongsToTheProcess(t *testing.T) {
	mine := Free(t, 20)
	if again := Free(t, 20); slices.ContainsFunc(again, func(a string) bool { return slices.Contains(mine, a) }) {
		t.Errorf("given out twice: %v and %v", mine, again)
	}
	foreign, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	if _, err := take(foreign.Addr().String()); err == nil {
		t.Errorf("%s is listened on and was taken", foreign.Addr())
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), envTake+"="+strings.Join(mine, ","))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for s := bufio.NewScanner(strings.NewReader(string(out))); s.Scan(); lines++ {
		if !strings.HasSuffix(s.Text(), " false") {
			t.Errorf("another process took %s", s.Text())
		}
	}
	if lines != len(mine) {
		t.Errorf("another process tried %d of %d ports", lines, len(mine))
	}
	for _, a := range mine {
		l, err := net.Listen("tcp", a)
		if err != nil {
			t.Fatalf("the owner cannot listen: %v", err)
		}
		_ = l.Close() // only tried
	}
}

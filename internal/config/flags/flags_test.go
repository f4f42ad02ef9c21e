package flags

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/holdfast-io/holdfast/internal/config"
)

func TestRegister_FlagsOfEveryNodeKey(t *testing.T) {
	fs := pflag.NewFlagSet("holdfastd", pflag.ContinueOnError)
	set := Register(fs)
	for _, k := range config.Keys() {
		if f := fs.Lookup(k.Flag()); (f != nil) != (k.Scope == config.ScopeNode && !k.Secret) {
			t.Errorf("%s: %+v", k.Name, f)
		}
	}
	// The names that holdfastd has always had.
	for _, name := range []string{"data-dir", "name", "listen", "advertise", "peer-listen", "peer-advertise", "initial-cluster", "insecure-listen",
		"heartbeat-interval", "session-timeout", "raft-heartbeat-timeout", "raft-election-timeout", "raft-snapshot-threshold", "raft-snapshot-interval",
		"log-level", "log-format"} {
		if fs.Lookup(name) == nil {
			t.Errorf("there is no flag --%s", name)
		}
	}
	if set.Values() != nil {
		t.Errorf("flags that nobody gave: %v", set.Values())
	}
	if err := fs.Parse([]string{"--insecure-listen", "--raft-peer-timeout=1x", "--name", "a"}); err != nil {
		t.Fatal(err)
	}
	want := []config.FlagValue{{Key: "name", Text: "a"}, {Key: "insecure-listen", Text: "true"}, {Key: "raft.peer-timeout", Text: "1x"}}
	if got := set.Values(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRegister_HelpHasTypesAndDefaults(t *testing.T) {
	fs := pflag.NewFlagSet("holdfastd", pflag.ContinueOnError)
	fs.SortFlags = false
	Register(fs)
	help := strings.Join(strings.Fields(fs.FlagUsages()), " ")
	for _, want := range []string{
		"--session-timeout duration How long", "(default 15 s)", "--advertise string host:port told to clients (default: the address of listen)",
		"--insecure-listen Listen beyond", "logged: debug, info, warn, error (default \"info\")",
	} {
		if !strings.Contains(help, want) {
			t.Errorf("no %q in\n%s", want, fs.FlagUsages())
		}
	}
}

package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/internal/version"
)

// TestKeys_TagsAreWhole reads every tag with what reads it later.
func TestKeys_TagsAreWhole(t *testing.T) {
	variables := map[string]string{}
	for _, k := range Keys() {
		if (k.Default == "") == (k.Derived == "") {
			t.Errorf("%s must have either default or derived", k.Name)
		}
		if k.Default != "" {
			if v, err := k.parse(k.Default); err != nil || k.format(v) != k.Default {
				t.Errorf("%s: the default %q: %v", k.Name, k.Default, err)
			}
		}
		for _, bound := range []string{k.Min, k.Max} {
			if v, err := k.read(bound); bound != "" && (err != nil || k.format(v) != bound) {
				t.Errorf("%s: the bound %q: %v", k.Name, bound, err)
			}
		}
		if k.About == "" || !strings.HasSuffix(k.About, ".") || strings.Contains(k.About, "|") {
			t.Errorf("%s: about is %q", k.Name, k.About)
		}
		if newer(k.Since, version.Version) {
			t.Errorf("%s: since %q is above this version, %s", k.Name, k.Since, version.Version)
		}
		for _, s := range k.Spellings() {
			if other, taken := variables[Variable(s)]; taken || isReserved(Variable(s)) {
				t.Errorf("%s and %s have the same variable, or it is reserved", s, other)
			}
			variables[Variable(s)] = s
			if _, planned := plannedKeys[s]; planned {
				t.Errorf("%s is a key and refused as well", s)
			}
		}
	}
	if len(variables) != len(bySpelling()) {
		t.Errorf("%d spellings, %d different ones", len(variables), len(bySpelling()))
	}
}

func newer(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range as {
		x, err := strconv.Atoi(as[i])
		y, _ := strconv.Atoi(bs[i])
		if err != nil || x != y {
			return err != nil || x > y
		}
	}
	return len(as) != len(bs)
}

func TestKeys_EveryFieldIsAKey(t *testing.T) {
	var walk func(reflect.Type)
	walk = func(ty reflect.Type) {
		for i := range ty.NumField() {
			f := ty.Field(i)
			switch _, has := f.Tag.Lookup("key"); {
			case has:
			case f.Type.Kind() == reflect.Struct:
				walk(f.Type)
			default:
				t.Errorf("%s.%s has no key", ty.Name(), f.Name)
			}
		}
	}
	walk(reflect.TypeFor[Config]())
}

func TestKeys_NamesOfFlagsAndVariables(t *testing.T) {
	k := bySpelling()["raft.heartbeat-timeout"]
	if k.Flag() != "raft-heartbeat-timeout" || Variable(k.Name) != "HOLDFAST_RAFT_HEARTBEAT_TIMEOUT" {
		t.Errorf("%s, %s", k.Flag(), Variable(k.Name))
	}
	if got := bySpelling()["state.backend"].Flag(); got != "" {
		t.Errorf("a key of jobs has the flag %q", got)
	}
}

func TestWords_EverySpelling(t *testing.T) {
	for key, words := range map[string]map[string]string{
		"restart-strategy.type": {
			"none": "none", "off": "none", "disable": "none", "fixed-delay": "fixed-delay", "fixeddelay": "fixed-delay", "FixedDelay": "fixed-delay",
			"exponential-delay": "exponential-delay", "exponentialdelay": "exponential-delay",
		},
		"state.backend.type":           {"memory": "memory", "jobmanager": "memory", "MEMORY": "memory", "hashmap": "filesystem", "Filesystem": "filesystem", "RocksDB": "rocksdb", " mine ": "mine"},
		"execution.checkpointing.mode": {"EXACTLY_ONCE": "EXACTLY_ONCE", "at_least_once": "AT_LEAST_ONCE"},
	} {
		for text, want := range words {
			if v, err := bySpelling()[key].parse(text); err != nil || v.String() != want {
				t.Errorf("%s: %s is %v, %v; want %s", key, text, v, err, want)
			}
		}
	}
}

func TestDistance_Table(t *testing.T) {
	for pair, want := range map[[2]string]int{
		{"", ""}: 0, {"abc", "abc"}: 0, {"abc", ""}: 3, {"", "ab"}: 2, {"abc", "abd"}: 1, {"abc", "acb"}: 1, {"kitten", "sitting"}: 3,
	} {
		if got := distance(pair[0], pair[1]); got != want {
			t.Errorf("distance(%q, %q) = %d, want %d", pair[0], pair[1], got, want)
		}
	}
}

// TestReference_PageIsCurrent compares docs/configuration.md with the tags.
func TestReference_PageIsCurrent(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != Reference() {
		t.Error("docs/configuration.md is not what internal/config says; `make docs` writes it anew")
	}
}

// TestReference_ExampleIsValid reads the example of the page.
func TestReference_ExampleIsValid(t *testing.T) {
	_, rest, _ := strings.Cut(Reference(), "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	if r, problems := loadText(t, example); !ok || problems != nil || r.Notes != nil || !r.IsSet("execution.checkpointing.interval") {
		t.Errorf("%q, %q", problems, r.Notes)
	}
}

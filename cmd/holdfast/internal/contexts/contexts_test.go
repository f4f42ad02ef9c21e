package contexts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
)

func TestFile_SaveAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "contexts.yaml")
	f, err := Load(path)
	if err != nil || len(f.Names()) != 0 {
		t.Fatalf("%v, %v", f, err)
	}
	for _, name := range []string{"prod", "dev"} {
		if err := f.Add(name, Context{Address: name + ":7070", TLSCert: "c", TLSKey: "k"}, false); err != nil {
			t.Fatal(err)
		}
	}
	if f.Current != "prod" {
		t.Fatalf("the first context is not the current one: %q", f.Current)
	}
	if err := f.Save(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	g, err := Load(path)
	if err != nil || strings.Join(g.Names(), " ") != "dev prod" || g.Contexts["prod"] != f.Contexts["prod"] || g.Current != "prod" {
		t.Fatalf("%+v, %v", g, err)
	}
	if err := g.Remove("prod"); err != nil || g.Current != "" {
		t.Fatalf("%+v, %v", g, err)
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".contexts-*"))
	if len(left) != 0 {
		t.Fatalf("left behind: %v", left)
	}
}

func TestFile_Refusals(t *testing.T) {
	f := &File{Contexts: map[string]Context{"a": {Address: "x:1"}}}
	for name, c := range map[string]struct {
		err  error
		code exit.Code
		want string
	}{
		"again":    {f.Add("a", Context{Address: "y:1"}, false), exit.Refused, "--replace"},
		"name":     {f.Add("-a", Context{Address: "y:1"}, false), exit.Usage, "characters"},
		"address":  {f.Add("b", Context{}, false), exit.Usage, "has no address"},
		"half TLS": {f.Add("b", Context{Address: "y:1", TLSCert: "c"}, false), exit.Usage, "both or none"},
		"use":      {f.Use("b"), exit.NotFound, "no context \"b\""},
		"remove":   {f.Remove("b"), exit.NotFound, "no context \"b\""},
	} {
		if exit.CodeOf(c.err) != c.code || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	if err := f.Add("a", Context{Address: "y:1"}, true); err != nil || f.Contexts["a"].Address != "y:1" {
		t.Errorf("replace: %v, %v", f.Contexts, err)
	}
}

func TestLoad_IsStrict(t *testing.T) {
	for text, want := range map[string]string{
		"contexts: {a: {address: x:1, port: 2}}":           "port",
		"contxts: {}":                                      "contxts",
		"current: b\ncontexts: {a: {address: x:1}}":        "which is none of the contexts",
		"contexts: {a: {}}":                                "has no address",
		"contexts: {a: {address: x:1}, a: {address: y:1}}": "already defined",
		"{":                                "is not valid",
		"contexts: {../a: {address: x:1}}": "the context name",
	} {
		path := filepath.Join(t.TempDir(), "contexts.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); exit.CodeOf(err) != exit.Usage || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", text, err)
		}
	}
	path := filepath.Join(t.TempDir(), "contexts.yaml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err != nil {
		t.Errorf("empty: %v", err)
	}
}

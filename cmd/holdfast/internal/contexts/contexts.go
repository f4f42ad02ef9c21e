// Package contexts keeps the clusters that a person works with by name, in a file
// of the person's configuration directory.
package contexts

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
)

// Context is one cluster. The TLS fields are names of files, never their content.
type Context struct {
	// Address has the client addresses of nodes, comma separated.
	Address       string `yaml:"address" json:"address"`
	TLSCA         string `yaml:"tls-ca,omitempty" json:"tls_ca,omitempty"`
	TLSCert       string `yaml:"tls-cert,omitempty" json:"tls_cert,omitempty"`
	TLSKey        string `yaml:"tls-key,omitempty" json:"tls_key,omitempty"`
	TLSServerName string `yaml:"tls-server-name,omitempty" json:"tls_server_name,omitempty"`
}

// File is what is kept.
type File struct {
	// Current is the context that applies by itself, "" for none.
	Current  string             `yaml:"current,omitempty"`
	Contexts map[string]Context `yaml:"contexts"`

	path string
}

var nameRE = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$`)

// Path is where the file is: holdfast/contexts.yaml in the person's configuration
// directory ($XDG_CONFIG_HOME, else ~/.config on Linux).
func Path() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", exit.Errorf(exit.Failure, "there is no directory for the contexts: %w; set XDG_CONFIG_HOME or HOME", err)
	}
	return filepath.Join(dir, "holdfast", "contexts.yaml"), nil
}

// Load reads the file; one that is not there has no contexts.
func Load(path string) (*File, error) {
	f := &File{Contexts: map[string]Context{}, path: path}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, exit.Errorf(exit.Failure, "the contexts cannot be read: %w", err)
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(f); err != nil && !errors.Is(err, io.EOF) {
		return nil, f.broken(err.Error())
	}
	if f.Contexts == nil {
		f.Contexts = map[string]Context{}
	}
	for _, name := range f.Names() {
		if err := check(name, f.Contexts[name]); err != nil {
			return nil, f.broken(err.Error())
		}
	}
	if _, ok := f.Contexts[f.Current]; f.Current != "" && !ok {
		return nil, f.broken(fmt.Sprintf("current is %q, which is none of the contexts", f.Current))
	}
	return f, nil
}

func (f *File) broken(why string) error {
	return exit.Errorf(exit.Usage, "%s is not valid: %s; mend or remove it", f.path, why)
}

func check(name string, c Context) error {
	switch {
	case !nameRE.MatchString(name):
		return fmt.Errorf("the context name %q is not 1 to 64 of the characters A-Z a-z 0-9 . _ -, beginning with none of . -", name)
	case c.Address == "":
		return fmt.Errorf("the context %s has no address", name)
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return fmt.Errorf("the context %s has one of tls-cert and tls-key; both or none are needed", name)
	}
	return nil
}

// Names lists the contexts in order.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.Contexts)) }

// Get finds a context by name.
func (f *File) Get(name string) (Context, error) {
	c, ok := f.Contexts[name]
	if !ok {
		return Context{}, exit.Errorf(exit.NotFound, "there is no context %q; `holdfast context list` shows them", name)
	}
	return c, nil
}

// Add adds a context, or replaces it where that is meant. The first one becomes
// the current one.
func (f *File) Add(name string, c Context, replace bool) error {
	if err := check(name, c); err != nil {
		return exit.Errorf(exit.Usage, "%w", err)
	}
	if _, there := f.Contexts[name]; there && !replace {
		return exit.Errorf(exit.Refused, "there is a context %s already; --replace changes it", name)
	}
	f.Contexts[name] = c
	if len(f.Contexts) == 1 {
		f.Current = name
	}
	return nil
}

// Use makes a context the current one.
func (f *File) Use(name string) error {
	if _, err := f.Get(name); err != nil {
		return err
	}
	f.Current = name
	return nil
}

// Remove forgets a context. Without its current one the file has none.
func (f *File) Remove(name string) error {
	if _, err := f.Get(name); err != nil {
		return err
	}
	delete(f.Contexts, name)
	if f.Current == name {
		f.Current = ""
	}
	return nil
}

// Save writes the file, for its owner alone, as a whole or not at all.
func (f *File) Save() error {
	b, err := yaml.Marshal(f)
	if err != nil {
		return exit.Errorf(exit.Failure, "the contexts cannot be written: %w", err)
	}
	if err := replace(f.path, b); err != nil {
		return exit.Errorf(exit.Failure, "the contexts cannot be written: %w", err)
	}
	return nil
}

func replace(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	// CreateTemp makes files of mode 0600.
	t, err := os.CreateTemp(filepath.Dir(path), ".contexts-*")
	if err != nil {
		return err
	}
	_, err = t.Write(content)
	if err == nil {
		err = t.Sync()
	}
	if e := t.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(t.Name(), path)
	}
	if err != nil {
		_ = os.Remove(t.Name()) // the error that counts is the first
	}
	return err
}

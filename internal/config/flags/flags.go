// Package flags makes command line flags of the keys of a node.
package flags

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/holdfast-io/holdfast/internal/config"
)

// Set is the flags of one command line.
type Set struct {
	values []*value
}

// Register adds a flag for every key of a node, in the order of the reference
// page.
func Register(fs *pflag.FlagSet) *Set {
	s := &Set{}
	for _, k := range config.Keys() {
		if k.Flag() == "" {
			continue
		}
		v := &value{key: k, text: k.Default}
		s.values = append(s.values, v)
		f := fs.VarPF(v, k.Flag(), "", usage(k))
		if k.Type == "bool" {
			f.NoOptDefVal = "true"
		}
	}
	return s
}

// Values are the flags that were given.
func (s *Set) Values() []config.FlagValue {
	var out []config.FlagValue
	for _, v := range s.values {
		if v.given {
			out = append(out, config.FlagValue{Key: v.key.Name, Text: v.text})
		}
	}
	return out
}

// usage is the help of a flag, which has the style of the other flags: no full
// stop, and the default behind it.
func usage(k *config.Key) string {
	text := strings.TrimSuffix(k.About, ".")
	if k.Values != nil {
		var words []string
		for _, w := range k.Values {
			words = append(words, w.Name)
		}
		text += ": " + strings.Join(words, ", ")
	}
	if k.Derived != "" {
		text += " (default: " + k.Derived + ")"
	}
	return text
}

// value implements pflag.Value. It only takes the text: everything that is wrong
// with a configuration is told at once, by config.Load.
type value struct {
	key   *config.Key
	text  string
	given bool
}

func (v *value) String() string { return v.text }

func (v *value) Set(text string) error {
	v.text, v.given = text, true
	return nil
}

func (v *value) Type() string {
	// pflag leaves out the type of a flag that needs no value.
	if v.key.Type == "text" {
		return "string"
	}
	return v.key.Type
}

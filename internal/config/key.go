package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/internal/flinkunits"
)

// Scope says who reads a key.
type Scope string

// The scopes of keys.
const (
	ScopeNode Scope = "node"
	ScopeJob  Scope = "job"
)

// Key is one thing that can be configured, as the tags of its field say.
type Key struct {
	// Name is the key; Old are former names of the same.
	Name string
	Old  []string
	// Scope says whether a node or a program reads it.
	Scope Scope
	// Type is text, bool, number, decimal, duration or size.
	Type string
	// Default is in the key's own syntax; Derived says in words what applies
	// instead while the key is not set.
	Default, Derived string
	// Values are the words that are possible; nil: any text.
	Values []Word
	// Min and Max are bounds in the key's own syntax, or empty.
	Min, Max string
	// Since is the version that had the key first. About is one sentence.
	Since, About string
	// Secret values are never shown.
	Secret bool

	// Open is what a text may name beside Values, or empty.
	Open string

	why     string
	syntax  string
	zero    bool
	planned []string
	index   []int
}

// Word is a value of a key, with other spellings of it.
type Word struct {
	Name    string
	Aliases []string
}

// Keys lists every key in the order of the reference page. The caller must not
// change it.
func Keys() []*Key { return allKeys() }

var allKeys = sync.OnceValue(func() []*Key { return keysOf(reflect.TypeFor[Config](), nil) })

// bySpelling finds keys by any of their names.
var bySpelling = sync.OnceValue(func() map[string]*Key {
	m := map[string]*Key{}
	for _, k := range Keys() {
		for _, s := range k.Spellings() {
			m[s] = k
		}
	}
	return m
})

// byVariable finds spellings by the names of their variables.
var byVariable = sync.OnceValue(func() map[string]string {
	m := map[string]string{}
	for spelling := range bySpelling() {
		m[Variable(spelling)] = spelling
	}
	return m
})

// Spellings are the name and the old names.
func (k *Key) Spellings() []string { return append([]string{k.Name}, k.Old...) }

// Flag is the name of the key's flag, without the dashes, or empty: the flags
// are holdfastd's, so a job's key has none, and a secret has none, because others
// see the command line.
func (k *Key) Flag() string {
	if k.Scope != ScopeNode || k.Secret {
		return ""
	}
	return strings.ReplaceAll(k.Name, ".", "-")
}

// Variable is the environment's name of a key: HOLDFAST_STATE_BACKEND_TYPE for
// state.backend.type.
func Variable(key string) string {
	return variablePrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// keysOf collects the fields with a key, in order.
func keysOf(t reflect.Type, index []int) []*Key {
	var out []*Key
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(slices.Clone(index), i)
		if f.Tag.Get("key") != "" {
			out = append(out, keyOf(f, at))
		} else if f.Type.Kind() == reflect.Struct {
			out = append(out, keysOf(f.Type, at)...)
		}
	}
	return out
}

func keyOf(f reflect.StructField, index []int) *Key {
	tag := f.Tag.Get
	k := &Key{
		Name: tag("key"), Old: list(tag("old")), Scope: ScopeJob, Type: typeName(f.Type), Default: tag("default"),
		Derived: tag("derived"), Min: tag("min"), Max: tag("max"), Since: tag("since"), About: tag("about"),
		Secret: tag("secret") == "true", why: tag("why"), Open: tag("open"), syntax: tag("syntax"), zero: tag("zero") == "true", planned: list(tag("planned")), index: index,
	}
	// Config's first field is Node.
	if index[0] == 0 {
		k.Scope = ScopeNode
	}
	for _, w := range list(tag("values")) {
		name, aliases, _ := strings.Cut(w, "=")
		word := Word{Name: name}
		if aliases != "" {
			word.Aliases = strings.Split(aliases, "|")
		}
		k.Values = append(k.Values, word)
	}
	return k
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "duration"
	case reflect.TypeFor[flinkunits.Size]():
		return "size"
	}
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "bool"
	case reflect.Uint32, reflect.Uint64:
		return "number"
	case reflect.Float64:
		return "decimal"
	}
	panic(fmt.Sprintf("config: no syntax for %s", t))
}

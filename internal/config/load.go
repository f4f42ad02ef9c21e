package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Reader says for whom a configuration is read.
type Reader int

const (
	// ForNode is holdfastd: everything is checked.
	ForNode Reader = iota
	// ForProgram is an operator process: of the environment only the keys of
	// jobs count, and a variable that is no key is told and does no harm, because
	// the process may belong to somebody who knows nothing of the cluster.
	ForProgram
	// ForCheck is a file alone, which may leave to flags what each node has for
	// itself.
	ForCheck
)

// FlagValue is a flag that was given.
type FlagValue struct {
	Key  string
	Text string
}

// Sources are the places that a configuration comes from.
type Sources struct {
	Reader Reader
	// File is the name of the configuration file, or empty.
	File string
	// Environ is an environment as os.Environ gives it.
	Environ []string
	Flags   []FlagValue
}

// Setting is the effective value of a key.
type Setting struct {
	Key *Key
	// Value is in the key's syntax. It is empty for a key that is derived and
	// not set.
	Value  string
	Source Source
}

// Shown is what may be shown to a person: words for what is derived, and no
// secrets.
func (s Setting) Shown() string {
	switch {
	case s.Source.Kind == SourceDefault && s.Key.Derived != "":
		return "(" + s.Key.Derived + ")"
	case s.Key.Secret && s.Value != "":
		return "***"
	}
	return s.Value
}

// Result is a configuration and where it came from. With Problems, Config has
// what could be read.
type Result struct {
	Config   Config
	Problems Problems
	// Notes are worth telling and nothing that is wrong.
	Notes []string

	settings map[string]Setting
	// unread are keys with a value that could not be read.
	unread map[string]bool
}

// Default is the configuration without any source.
func Default() Config {
	return Load(Sources{Reader: ForProgram}).Config
}

// Load reads the sources in the order of their weight: defaults, file,
// environment, flags.
func Load(from Sources) *Result {
	r := &Result{settings: map[string]Setting{}, unread: map[string]bool{}}
	for _, k := range Keys() {
		r.settings[k.Name] = Setting{Key: k, Value: k.Default, Source: Source{Kind: SourceDefault}}
		if k.Default != "" {
			v, _ := k.read(k.Default) // a test reads every default
			r.field(k).Set(v)
		}
	}
	r.file(from.File)
	r.environ(from)
	r.flags(from.Flags)
	r.check(from.Reader)
	r.noteIdle()
	return r
}

// Err is nil where nothing is wrong, else Problems.
func (r *Result) Err() error {
	if len(r.Problems) == 0 {
		return nil
	}
	return r.Problems
}

// Settings are the effective values of the keys, in the order of Keys.
func (r *Result) Settings() []Setting {
	var out []Setting
	for _, k := range Keys() {
		out = append(out, r.settings[k.Name])
	}
	return out
}

// IsSet tells whether a source has the key.
func (r *Result) IsSet(key string) bool { return r.settings[key].Source.Kind != SourceDefault }

func (r *Result) file(name string) {
	if name == "" {
		return
	}
	f := readFile(name)
	r.Problems = append(r.Problems, f.problems...)
	if f.empty {
		r.Notes = append(r.Notes, name+": the file is empty, so the defaults apply")
	}
	r.layer(f.entries, (*Key).parse)
}

func (r *Result) environ(from Sources) {
	entries, strangers := readEnviron(from.Environ)
	if from.Reader == ForProgram {
		entries = jobsOnly(entries)
		for _, p := range strangers {
			r.Notes = append(r.Notes, p.Error())
		}
	} else {
		r.Problems = append(r.Problems, strangers...)
	}
	r.layer(entries, (*Key).parse)
}

func jobsOnly(entries []entry) []entry {
	var out []entry
	for _, e := range entries {
		if e.key.Scope == ScopeJob {
			out = append(out, e)
		}
	}
	return out
}

func (r *Result) flags(flags []FlagValue) {
	var entries []entry
	for _, f := range flags {
		k := bySpelling()[f.Key]
		entries = append(entries, entry{key: k, spelled: f.Key, text: f.Text, source: Source{Kind: SourceFlag, Name: "--" + k.Flag()}})
	}
	r.layer(entries, (*Key).parseFlag)
}

// layer puts the values of one source over what is there.
func (r *Result) layer(entries []entry, parse func(*Key, string) (reflect.Value, error)) {
	here := map[string]entry{}
	for _, e := range entries {
		v, err := parse(e.key, e.text)
		if err != nil {
			r.problem(e, e.key.hide(err))
			continue
		}
		value := e.key.format(v)
		if first, again := here[e.key.Name]; again && value != r.settings[e.key.Name].Value {
			r.problem(e, differs(e, first))
			continue
		}
		here[e.key.Name] = e
		r.field(e.key).Set(v)
		r.settings[e.key.Name] = Setting{Key: e.key, Value: value, Source: e.source}
	}
}

// hide is the message of a value that was not read, without the value of a
// secret.
func (k *Key) hide(err error) string {
	if k.Secret {
		return fmt.Sprintf("it is not a %s that fits", k.Type)
	}
	return err.Error()
}

// differs tells of two spellings of one key that contradict each other.
func differs(e, first entry) string {
	other := first.spelled
	switch first.source.Kind {
	case SourceFile:
		other = fmt.Sprintf("%s (line %d)", first.spelled, first.source.Line)
	case SourceEnvironment:
		other = first.source.Name
	}
	if e.key.Secret {
		return "it means the same as " + other + ", and the values differ; keep one of them"
	}
	return fmt.Sprintf("it means the same as %s, and the values differ, %q and %q; keep one of them", other, e.text, first.text)
}

func (r *Result) problem(e entry, message string) {
	r.unread[e.key.Name] = true
	r.Problems = append(r.Problems, Problem{Source: e.source, Key: e.spelled, Message: message})
}

func (r *Result) field(k *Key) reflect.Value {
	return reflect.ValueOf(&r.Config).Elem().FieldByIndex(k.index)
}

// check looks at what several keys say together.
func (r *Result) check(reader Reader) {
	conflicts := r.Config.Job.conflicts()
	if reader != ForProgram {
		conflicts = append(CheckNode(r.Config.Node), conflicts...)
	}
	for _, c := range conflicts {
		unknown := reader == ForCheck && c.Needs != "" && !r.IsSet(c.Needs)
		if unknown || r.unread[c.Key] || r.unread[c.With] || r.unread[c.Needs] {
			continue
		}
		key := c.Key
		if !r.IsSet(key) && c.With != "" {
			key = c.With
		}
		r.Problems = append(r.Problems, Problem{Source: r.settings[key].Source, Key: key, Message: c.Message})
	}
}

// noteIdle tells of options of a restart strategy that is not the one chosen.
func (r *Result) noteIdle() {
	chosen := r.Config.Job.Restart.Type
	for _, s := range r.Settings() {
		rest, ok := strings.CutPrefix(s.Key.Name, "restart-strategy.")
		strategy, _, option := strings.Cut(rest, ".")
		if ok && option && chosen != "" && chosen != strategy && r.IsSet(s.Key.Name) {
			r.Notes = append(r.Notes, fmt.Sprintf("%s: %s has no effect: restart-strategy.type is %s", s.Source, s.Key.Name, chosen))
		}
	}
}

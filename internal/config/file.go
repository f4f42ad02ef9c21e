package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds a configuration file; what is larger is something else.
const maxFileBytes = 1 << 20

// manyProblems is where suggestions stop: such a file is not a configuration
// with mistakes in it.
const manyProblems = 100

// entry is one value as a source has it.
type entry struct {
	key     *Key
	spelled string
	text    string
	source  Source
}

// file is what a configuration file says.
type file struct {
	name     string
	entries  []entry
	problems Problems
	// empty: it has no keys, and so no effect.
	empty bool
	// seen has the line of each key that was written.
	seen map[string]int
}

// readFile reads and decodes the file of that name.
func readFile(name string) *file {
	fail := func(line int, message string) *file {
		f := &file{name: name}
		f.problem(line, "", message)
		return f
	}
	in, err := os.Open(name)
	if err != nil {
		return fail(0, plainError(err)+remedyOf(err))
	}
	defer in.Close()
	if info, err := in.Stat(); err == nil && info.IsDir() {
		return fail(0, "it is a directory, not a file")
	}
	data, err := io.ReadAll(io.LimitReader(in, maxFileBytes+1))
	if err != nil {
		return fail(0, plainError(err))
	}
	return parseFile(name, data)
}

// plainError leaves out the call and the path, which stand before the message.
func plainError(err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// remedyOf is what to do about a file that cannot be opened.
func remedyOf(err error) string {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "; give the path of a file, or none for the defaults"
	case errors.Is(err, os.ErrPermission):
		return "; this user must be able to read it"
	}
	return ""
}

// parseFile decodes YAML: keys with dots, or nested, or both.
func parseFile(name string, data []byte) *file {
	f := &file{name: name, seen: map[string]int{}}
	if len(data) > maxFileBytes {
		f.problem(0, "", fmt.Sprintf("it is larger than %d bytes, which no configuration is", maxFileBytes))
		return f
	}
	if at := firstBinary(data); at >= 0 {
		f.problem(1+bytes.Count(data[:at], []byte("\n")), "", fmt.Sprintf("it is not a text file: byte %d is neither UTF-8 nor printable; save it as plain UTF-8", at))
		return f
	}
	root, err := f.decode(data)
	if err != nil || root == nil {
		f.empty = err == nil
		return f
	}
	if root.Kind != yaml.MappingNode {
		f.problem(root.Line, "", "it must have lines of the form `key: value`, and is "+kindName(root))
		return f
	}
	f.mapping(root, "")
	return f
}

// firstBinary is the index of the first byte that no text has, or -1.
func firstBinary(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 || r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f {
			return i
		}
		i += size
	}
	return -1
}

// decode gives the only document, or nil if there is none or nothing in it. An
// error is noted already.
func (f *file) decode(data []byte) (*yaml.Node, error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, f.syntax(err)
	}
	if err := d.Decode(&second); err == nil {
		f.problem(second.Line, "", "a second document begins; a configuration is one document")
		return nil, errSyntax
	} else if !errors.Is(err, io.EOF) {
		return nil, f.syntax(err)
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" || root.Kind == yaml.MappingNode && len(root.Content) == 0 {
		return nil, nil
	}
	return root, nil
}

var (
	errSyntax   = errors.New("not one YAML document")
	yamlErrorRE = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
)

// syntax notes an error of the YAML library with its line.
func (f *file) syntax(err error) error {
	line, message := 1, err.Error()
	if m := yamlErrorRE.FindStringSubmatch(strings.Join(strings.Fields(message), " ")); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
		message = m[2]
	}
	f.problem(line, "", "it is not YAML: "+message)
	return errSyntax
}

func (f *file) problem(line int, key, message string) {
	f.problems = append(f.problems, Problem{Source: Source{Kind: SourceFile, Name: f.name, Line: line}, Key: key, Message: message})
}

// mapping walks the keys of a level.
func (f *file) mapping(n *yaml.Node, prefix string) {
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode || k.Tag == "!!null" || k.Tag == "!!merge" {
			f.problem(k.Line, "", "a key must be text, and this one is "+kindName(k))
			continue
		}
		name := prefix + k.Value
		first, twice := lines[k.Value]
		if !twice {
			lines[k.Value] = k.Line
		}
		switch {
		case twice:
			f.twice(name, k.Line, first)
		case v.Kind == yaml.MappingNode && len(v.Content) > 0 && isFamily(name):
			f.mapping(v, name+".")
		default:
			f.leaf(name, k.Line, v)
		}
	}
}

// isFamily tells whether keys with that prefix exist, here or in Flink.
func isFamily(name string) bool {
	for spelling := range bySpelling() {
		if strings.HasPrefix(spelling, name+".") {
			return true
		}
	}
	for key := range plannedKeys {
		if strings.HasPrefix(key, name+".") {
			return true
		}
	}
	return slices.ContainsFunc(plannedPrefixes, func(p string) bool { return strings.HasPrefix(p, name+".") && p != name+"." })
}

func (f *file) twice(name string, line, first int) {
	f.problem(line, cut(name), fmt.Sprintf("it is there twice; the first is in line %d", first))
}

// cut shortens what is too long for a key.
func cut(name string) string {
	if len(name) <= longestKey {
		return name
	}
	return strings.ToValidUTF8(name[:longestKey], "") + "..."
}

// leaf takes the value of a key.
func (f *file) leaf(name string, line int, v *yaml.Node) {
	k := bySpelling()[name]
	if first, twice := f.seen[name]; twice {
		f.twice(name, line, first)
		return
	}
	f.seen[name] = line
	switch {
	case k == nil && v.Tag == "!!null" && isFamily(name):
		f.problem(line, name, "it has no keys below it")
	case k == nil:
		f.stranger(name, line)
	case v.Tag == "!!null":
		f.problem(line, name, `it has no value; remove the line, or write "" for an empty text`)
	case v.Kind != yaml.ScalarNode || v.Tag == "!!binary":
		f.problem(line, name, fmt.Sprintf("it must be one value (%s), and is %s", k.Type, kindName(v)))
	default:
		f.entries = append(f.entries, entry{key: k, spelled: name, text: v.Value, source: Source{SourceFile, f.name, line}})
	}
}

// stranger tells of a key that is none.
func (f *file) stranger(name string, line int) {
	shown := cut(name)
	// In a family of Flink's any name is refused alike, also one without keys.
	if message, ok := unsupported(name); ok {
		f.problem(line, shown, message)
		return
	}
	if message, ok := unsupported(name + "."); ok {
		f.problem(line, shown, message)
		return
	}
	candidates := make([]string, 0, len(bySpelling()))
	for s := range bySpelling() {
		candidates = append(candidates, s)
	}
	hint := ""
	if len(f.problems) < manyProblems {
		hint = didYouMean(name, candidates)
	}
	f.problem(line, shown, "there is no such key"+hint)
}

func kindName(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias, which a configuration cannot have"
	case n.Tag == "!!null":
		return "nothing"
	case n.Tag == "!!merge":
		return "a merge, which a configuration cannot have"
	case n.Tag == "!!binary":
		return "binary"
	}
	return "a single value"
}

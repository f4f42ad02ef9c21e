package coordinator

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Bounds of what is told of a difference.
const maxDifferences, maxShownValue = 8, 64

// specDifference names the properties in which a submitted specification differs
// from that of the job that runs, each with both values: "checkpoint.interval_ms is
// 1000, submitted is 5000". The order is that of the proto file, and of names in a
// map: it is part of a replicated answer.
func specDifference(running, submitted *holdfastv1.JobSpec) string {
	d := &differences{}
	a, b := proto.CloneOf(running), proto.CloneOf(submitted)
	operatorsA, operatorsB := a.Operators, b.Operators
	a.Operators, b.Operators = nil, nil
	d.messages("", a.ProtoReflect(), b.ProtoReflect())
	if len(operatorsA) != len(operatorsB) {
		d.add("the number of operators", strconv.Itoa(len(operatorsA)), strconv.Itoa(len(operatorsB)))
	} else {
		for i, o := range operatorsA {
			d.messages(fmt.Sprintf("operator %q: ", operatorsB[i].Uid), o.ProtoReflect(), operatorsB[i].ProtoReflect())
		}
	}
	if d.more > 0 {
		d.found = append(d.found, fmt.Sprintf("and %d more", d.more))
	}
	return strings.Join(d.found, "; ")
}

// differences collects what differs.
type differences struct {
	found []string
	more  int
}

func (d *differences) add(path, running, submitted string) {
	if len(d.found) == maxDifferences {
		d.more++
		return
	}
	d.found = append(d.found, fmt.Sprintf("%s is %s, submitted is %s", path, running, submitted))
}

// messages compares two messages of one type, field by field.
func (d *differences) messages(path string, a, b protoreflect.Message) {
	fields := a.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		x, y := a.Get(f), b.Get(f)
		if a.Has(f) == b.Has(f) && x.Equal(y) {
			continue
		}
		name := path + string(f.Name())
		switch {
		case f.IsMap():
			d.maps(name, x.Map(), y.Map())
		case f.IsList():
			d.lists(name, f, x.List(), y.List())
		case f.Message() != nil && a.Has(f) && b.Has(f):
			d.messages(name+".", x.Message(), y.Message())
		default:
			d.add(name, shownField(a, f), shownField(b, f))
		}
	}
}

func (d *differences) maps(path string, a, b protoreflect.Map) {
	var keys []string
	for _, m := range []protoreflect.Map{a, b} {
		m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
			keys = append(keys, k.String())
			return true
		})
	}
	slices.Sort(keys)
	for _, k := range slices.Compact(keys) {
		key := protoreflect.ValueOfString(k).MapKey()
		if a.Has(key) != b.Has(key) || !a.Get(key).Equal(b.Get(key)) {
			d.add(fmt.Sprintf("%s[%q]", path, cutValue(k)), shownEntry(a, key), shownEntry(b, key))
		}
	}
}

func (d *differences) lists(path string, f protoreflect.FieldDescriptor, a, b protoreflect.List) {
	if a.Len() != b.Len() {
		d.add("the number of "+path, strconv.Itoa(a.Len()), strconv.Itoa(b.Len()))
		return
	}
	for i := range a.Len() {
		x, y := a.Get(i), b.Get(i)
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case x.Equal(y):
		case f.Message() != nil:
			d.messages(at+".", x.Message(), y.Message())
		default:
			d.add(at, shownValue(f, x), shownValue(f, y))
		}
	}
}

func shownField(m protoreflect.Message, f protoreflect.FieldDescriptor) string {
	if f.HasPresence() && !m.Has(f) {
		return "not set"
	}
	return shownValue(f, m.Get(f))
}

func shownEntry(m protoreflect.Map, k protoreflect.MapKey) string {
	if !m.Has(k) {
		return "not set"
	}
	return strconv.Quote(cutValue(m.Get(k).String()))
}

func shownValue(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch {
	case f.Message() != nil:
		return "set"
	case f.Enum() != nil:
		if e := f.Enum().Values().ByNumber(v.Enum()); e != nil {
			return string(e.Name())
		}
	case f.Kind() == protoreflect.StringKind || f.Kind() == protoreflect.BytesKind:
		return strconv.Quote(cutValue(v.String()))
	}
	return cutValue(v.String())
}

func cutValue(s string) string {
	if len(s) <= maxShownValue {
		return s
	}
	return strings.ToValidUTF8(s[:maxShownValue], "") + "…"
}

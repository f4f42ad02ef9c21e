package workingcopy

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func found(section uint32, values ...string) *holdfastv1.ValueSection {
	sec := &holdfastv1.ValueSection{StateId: 1, Section: section}
	for _, v := range values {
		sec.Found = append(sec.Found, 1)
		sec.ValueLengths = append(sec.ValueLengths, uint32(len(v)))
		sec.Values = append(sec.Values, v...)
	}
	return sec
}

func asked(keys ...string) (*Store, []*Entry, *Request) {
	s := New(Options{MaxBytes: 1 << 20})
	var entries []*Entry
	for _, k := range keys {
		entries = append(entries, s.Table(1).Entry(0, []byte(k)))
	}
	return s, entries, s.NextRequest(100, 1<<20)
}

func TestRequest_AnEntryThatHasAValueKeepsIt(t *testing.T) {
	_, entries, r := asked("a", "b")
	if err := r.Fill(&holdfastv1.Values{Sections: []*holdfastv1.ValueSection{found(0, "1")}}); err != nil {
		t.Fatal(err)
	}
	entries[0].Put([]byte("mine"))
	r.Restart()
	if err := r.Fill(&holdfastv1.Values{Last: true, Sections: []*holdfastv1.ValueSection{found(0, "1", "2")}}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"mine", "2"} {
		if v, ok := entries[i].Value(); !ok || string(v) != want {
			t.Errorf("entry %d is %q, want %q", i, v, want)
		}
	}
	if !r.Done() {
		t.Error("the request is not done")
	}
}

func TestRequest_WaitingEntriesAreNotEvicted(t *testing.T) {
	s, entries, _ := asked("a")
	s.maxBytes = 0
	s.Evict()
	s.Evict()
	if s.Table(1).Entry(0, []byte("a")) != entries[0] {
		t.Error("an entry with a Get under way was evicted")
	}
}

func TestRequest_MalformedAnswers(t *testing.T) {
	short := found(0, "value")
	short.Values = short.Values[:2]
	long := found(0, "value")
	long.Values = append(long.Values, 'x')
	uneven := found(0, "value")
	uneven.ValueLengths = nil
	otherState := found(0, "value")
	otherState.StateId = 9
	for name, sec := range map[string]*holdfastv1.ValueSection{
		"shorter than its lengths": short, "longer than its lengths": long, "no lengths": uneven,
		"more keys than asked": found(0, "1", "2", "3"), "another section": found(7, "1"), "another state": otherState,
		"fewer keys than asked": found(0, "1"),
	} {
		_, _, r := asked("a", "b")
		err := r.Fill(&holdfastv1.Values{Last: true, Sections: []*holdfastv1.ValueSection{sec}})
		if !errors.Is(err, ErrMalformed) || r.Done() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRequest_NoAnswerPanics(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		_, _, r := asked("a", "b", "c")
		for range 3 {
			sec := &holdfastv1.ValueSection{
				StateId:      rapid.Uint32Range(0, 2).Draw(t, "state"),
				Section:      rapid.Uint32Range(0, 1).Draw(t, "section"),
				Found:        rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(t, "found"),
				ValueLengths: rapid.SliceOfN(rapid.Uint32(), 0, 4).Draw(t, "lengths"),
				Values:       rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "values"),
			}
			_ = r.Fill(&holdfastv1.Values{Sections: []*holdfastv1.ValueSection{sec}, Last: rapid.Bool().Draw(t, "last")})
		}
	})
}

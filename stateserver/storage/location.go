package storage

import (
	"fmt"
	"strings"
)

// Location is a parsed URL of a directory.
type Location struct {
	Scheme    string // lower case
	Authority string // host:port, a bucket, or "" for file
	Path      string // "" or beginning with a slash, never ending with one
}

// ParseLocation reads scheme://authority/path. Nothing is repaired: what could
// mean two things is ErrInvalidName.
func ParseLocation(raw string) (Location, error) {
	invalid := func(format string, args ...any) (Location, error) {
		return Location{}, fmt.Errorf("%w: directory %q %s", ErrInvalidName, raw, fmt.Sprintf(format, args...))
	}
	scheme, rest, ok := strings.Cut(raw, ":")
	switch {
	case strings.HasPrefix(raw, "/"):
		return invalid("has no scheme; a shared mount is written file://%s", raw)
	case !ok || !isScheme(scheme):
		return invalid("has no scheme; it is written like file:///path, s3://bucket/path or hdfs://host:port/path")
	}
	for _, c := range []byte(rest) {
		if c < ' ' || c == 0x7f || strings.IndexByte(`%?#\`, c) >= 0 {
			return invalid("has the character %q, which a directory may not have", c)
		}
	}
	l := Location{Scheme: strings.ToLower(scheme)}
	switch after, two := strings.CutPrefix(rest, "//"); {
	case two:
		l.Authority, l.Path = after, ""
		if i := strings.IndexByte(after, '/'); i >= 0 {
			l.Authority, l.Path = after[:i], after[i:]
		}
	case strings.HasPrefix(rest, "/"): // file:/path, as Hadoop prints it
		l.Path = rest
	default:
		return invalid("has no slash behind the scheme; it is written like %s://...", l.Scheme)
	}
	if strings.Contains(l.Authority, "@") {
		return invalid("has a user in it; credentials belong into the configuration or the environment of the nodes")
	}
	l.Path = strings.TrimSuffix(l.Path, "/")
	for i, element := range strings.Split(l.Path, "/") {
		switch {
		case i == 0:
		case element == "":
			return invalid("has an empty element")
		case element == "." || element == "..":
			return invalid("has the element %q; write the directory that is meant", element)
		}
	}
	return l, nil
}

// isScheme: a letter, then letters, digits, +, - and dots, as RFC 3986 has it.
func isScheme(s string) bool {
	for i, c := range []byte(strings.ToLower(s)) {
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || ('0' > c || c > '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

// String is the location as a URL.
func (l Location) String() string { return l.Scheme + "://" + l.Authority + l.Path }

package render

import (
	"io"
	"os"
)

// Style colours words. The zero value leaves them as they are.
type Style struct{ on bool }

// StyleFor colours only on a terminal, and not where NO_COLOR is set
// (https://no-color.org) or the terminal is dumb.
func StyleFor(w io.Writer) Style {
	_, no := os.LookupEnv("NO_COLOR")
	return Style{on: IsTerminal(w) && !no && os.Getenv("TERM") != "dumb"}
}

func (s Style) wrap(code, text string) string {
	if !s.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Bold is for what a line is about.
func (s Style) Bold(text string) string { return s.wrap("1", text) }

// Dim is for what may be skipped.
func (s Style) Dim(text string) string { return s.wrap("2", text) }

// Red is for what was killed or failed.
func (s Style) Red(text string) string { return s.wrap("31", text) }

// Green is for what works.
func (s Style) Green(text string) string { return s.wrap("32", text) }

// Yellow is for what a person should look at.
func (s Style) Yellow(text string) string { return s.wrap("33", text) }

// words are the conditions that tables and sentences name.
var words = map[string]func(Style, string) string{
	"RUNNING": Style.Green, "FINISHED": Style.Green, "COMPLETED": Style.Green, "leader": Style.Green, "follower": Style.Green,
	"CREATED": Style.Yellow, "RESTARTING": Style.Yellow, "SUSPENDED": Style.Yellow, "PENDING": Style.Yellow, "WAITING": Style.Yellow,
	"LOST": Style.Yellow, "stopped": Style.Yellow,
	"FAILED": Style.Red, "ABORTED": Style.Red, "CANCELED": Style.Red, "USER": Style.Red, "EXTERNAL": Style.Red, "INTERNAL": Style.Red,
	"unreachable": Style.Red, "no leader": Style.Red,
}

// Word colours a text that is a known condition, and no other.
func (s Style) Word(text string) string {
	if paint := words[text]; paint != nil {
		return paint(s, text)
	}
	return text
}

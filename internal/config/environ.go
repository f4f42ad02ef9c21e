package config

import (
	"regexp"
	"slices"
	"strings"
)

// variablePrefix is that of every variable of the environment.
const variablePrefix = "HOLDFAST_"

// FileVariable names the configuration file.
const FileVariable = variablePrefix + "CONFIG"

// reserved are the variables that are no keys, with what reads them.
var reserved = []struct{ Name, About string }{
	{FileVariable, "The configuration file, of a node as of a program."},
	{"HOLDFAST_ADDRESS", "Client addresses of nodes, by commas, for programs and `holdfast`."},
	{"HOLDFAST_CONTEXT", "Name of a context that `holdfast context add` keeps, for `holdfast`."},
	{"HOLDFAST_TLS_CA_FILE", "Authorities of the nodes, for programs and `holdfast`; if it is set their connections have TLS."},
	{"HOLDFAST_TLS_CERT_FILE", "Certificate of programs and of `holdfast`, for nodes that demand one."},
	{"HOLDFAST_TLS_KEY_FILE", "Private key of `HOLDFAST_TLS_CERT_FILE`."},
	{"HOLDFAST_TLS_SERVER_NAME", "What the nodes' certificates are for, where it is not the host that is dialed."},
	{"HOLDFAST_SUBMISSION_ID", "One act of submitting; `holdfast run` sets it."},
	{"HOLDFAST_PROCESS_ID", "The operator process; `holdfast run` sets it."},
	{"HOLDFAST_PARALLELISM", "Subtasks of every operator of a program."},
	{"HOLDFAST_TASK_SLOTS", "Subtasks that a process offers to run."},
	{"HOLDFAST_JOB_NAME", "The job's name, over the program's own."},
	{"HOLDFAST_EXAMPLE_CHECKPOINT", "The example that `holdfast demo` runs."},
	{"HOLDFAST_TOOLS_CACHE", "Where the build keeps its tools."},
}

// foreignRE matches variables that are neither keys nor misspelled ones: those
// of tests, and those that Kubernetes sets in every pod of a namespace that has
// a service named holdfast or holdfast-something.
var foreignRE = regexp.MustCompile(`^HOLDFAST_(TEST_.*|.*_TEST_CHILD|(.*_)?SERVICE_(HOST|PORT)(_.*)?|(.*_)?PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

func isReserved(name string) bool {
	for _, r := range reserved {
		if r.Name == name {
			return true
		}
	}
	return foreignRE.MatchString(name)
}

// readEnviron takes the keys from an environment of NAME=value. A variable
// without a value counts as not set. What looks like a key and is none comes in
// strangers.
func readEnviron(environ []string) (entries []entry, strangers Problems) {
	environ = slices.Sorted(slices.Values(environ))
	for _, e := range environ {
		name, text, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, variablePrefix) || text == "" || isReserved(name) {
			continue
		}
		source := Source{Kind: SourceEnvironment, Name: name}
		if spelling, ok := byVariable()[name]; ok {
			entries = append(entries, entry{key: bySpelling()[spelling], spelled: spelling, text: text, source: source})
			continue
		}
		message, ok := unsupportedVariable(name)
		if !ok {
			message = "there is no such key" + didYouMean(name, variables())
		}
		strangers = append(strangers, Problem{Source: source, Message: message})
	}
	return entries, strangers
}

func variables() []string {
	var out []string
	for v := range byVariable() {
		out = append(out, v)
	}
	for _, r := range reserved {
		out = append(out, r.Name)
	}
	return out
}

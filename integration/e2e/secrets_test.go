package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Secrets that are planted, each in a place of its own.
const (
	saslPassword  = "S3CRET-sasl-6d1f"
	wrongPassword = "S3CRET-wrong-91ac"
	envPassword   = "S3CRET-environment-07be"
	filePassword  = "S3CRET-file-55d0"
)

// Passwords of Kafka, in properties of an operator, in the environment of every
// process, in a configuration, and the keys of TLS: none of them is in any log, on
// any disk of the cluster, in what the command line shows, or in a metric. What is
// no secret is found in the same places, so the search finds things.
func TestSecrets_AreNowhere(t *testing.T) {
	t.Setenv("KAFKA_SASL_PASSWORD", envPassword)
	c := cluster(t, harness.Options{TLS: true, SnapshotThreshold: 50})
	kafka, topic := saslBroker(t)
	operator := func(job, password string) (p *harness.Process, log string) {
		file := filepath.Join(t.TempDir(), "consumer.properties")
		text := "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.username=counter\nsasl.password=" + password + "\ndebug=security,conf\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out := createLog(t)
		defer out.Close()
		p, err := harness.Spawn(harness.Command{
			Path: harness.Binary(t, "holdfast-example-checkpoint"), Stdout: out, Stderr: out,
			Args: []string{"-bootstrap-servers", kafka, "-topic", topic, "-job-name", job, "-group-id", job, "-consumer-config", file,
				"-auto-offset-reset", "earliest", "-checkpoint-enable", "-checkpoint-interval", "50"},
			Env: append(c.ClientEnv(), "HOLDFAST_LOG_LEVEL=debug"),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Kill)
		return p, out.Name()
	}
	_, good := operator("knows", saslPassword)
	_, bad := operator("guesses", wrongPassword)
	c.WaitStatus("knows", holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	c.WaitCheckpoint("knows", 0)
	harness.Until(t, "the three records to be counted", func() error {
		if got := harness.Sum(c.Counts(exampleState("knows"))); got != 3 {
			return fmt.Errorf("%d are", got)
		}
		return nil
	})
	waitText(t, bad, "Kafka does not answer")
	c.WaitStatus("guesses", holdfastv1.JobStatus_JOB_STATUS_CREATED)

	w := &search{t: t, secrets: append(keysOf(t, c), saslPassword, wrongPassword, envPassword, filePassword)}
	w.file("the log of the operator", good, "knows")
	w.file("the log of the operator with a wrong password", bad, topic)
	for i := range c.Size() {
		name := c.Node(i).Name
		w.file("the log of "+name, c.LogFile(i), "node is up")
		harness.Until(t, "a snapshot of "+name, func() error {
			found, err := filepath.Glob(filepath.Join(c.Node(i).DataDir, "snapshots", "*-*", "state.bin"))
			if err == nil && len(found) == 0 {
				err = errors.New("there is none")
			}
			return err
		})
		w.directory("the data directory of "+name, c.Node(i).DataDir, "knows", topic, kafka)
		_, metrics, err := c.HTTP(i, "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		w.text("the metrics of "+name, metrics, "holdfast_")
	}
	w.commandLine(c, topic)
}

// saslBroker is an embedded Kafka that asks for a password, with three records.
func saslBroker(t *testing.T) (address, topic string) {
	t.Helper()
	topic = harness.RandomName("input")
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic), kfake.EnableSASL(), kfake.Superuser("PLAIN", "counter", saslPassword))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(k.ListenAddrs()...), kgo.SASL(plain.Auth{User: "counter", Pass: saslPassword}.AsMechanism()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := limited()
	defer cancel()
	for _, v := range []string{"a", "b", "c"} {
		if err := client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return k.ListenAddrs()[0], topic
}

func waitText(t *testing.T, file, text string) {
	t.Helper()
	harness.Until(t, fmt.Sprintf("%q in %s", text, file), func() error {
		b, err := os.ReadFile(file)
		if err == nil && !bytes.Contains(b, []byte(text)) {
			err = errors.New("it is not there")
		}
		return err
	})
}

// keysOf are a line of each private key of the cluster, as it stands in its file and
// as bytes.
func keysOf(t *testing.T, c *harness.Cluster) []string {
	t.Helper()
	var out []string
	for _, v := range c.ClientEnv() {
		_, file, ok := strings.Cut(v, "HOLDFAST_TLS_KEY_FILE=")
		if !ok {
			continue
		}
		files, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*.key"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			line := strings.Split(string(b), "\n")[1]
			raw, err := base64.StdEncoding.DecodeString(line)
			if err != nil {
				t.Fatal(err)
			}
			// The first bytes of every key are alike.
			out = append(out, line[len(line)/2:], string(raw[len(raw)/2:]))
		}
	}
	if len(out) < 2*(c.Size()+1) {
		t.Fatalf("found %d lines of keys", len(out))
	}
	return out
}

// search looks for secrets, and for what must be found beside them.
type search struct {
	t       *testing.T
	secrets []string
}

func (s *search) text(where, text string, found ...string) {
	s.t.Helper()
	for _, secret := range s.secrets {
		if strings.Contains(text, secret) {
			s.t.Errorf("%q is in %s", secret, where)
		}
	}
	for _, f := range found {
		if !strings.Contains(text, f) {
			s.t.Errorf("%q, which is no secret, is not in %s", f, where)
		}
	}
}

func (s *search) file(where, name string, found ...string) {
	s.t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		s.t.Fatal(err)
	}
	s.text(where, string(b), found...)
}

// directory searches all files together: log, snapshots and the rest.
func (s *search) directory(where, dir string, found ...string) {
	s.t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return ignoreMissing(err) // snapshots come and go
		}
		b, err := os.ReadFile(path)
		all.Write(b)
		return ignoreMissing(err)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.text(where, all.String(), found...)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// commandLine searches what each command shows, and what both programs say of a
// configuration with passwords where none belong.
func (s *search) commandLine(c *harness.Cluster, topic string) {
	s.t.Helper()
	backup := filepath.Join(s.t.TempDir(), "backup.snap")
	config := filepath.Join(s.t.TempDir(), "holdfast.yaml")
	if err := os.WriteFile(config, []byte("name: n1\nsasl.password: "+filePassword+"\nkafka: {ssl.key.password: "+filePassword+"}\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	for _, cmd := range []struct{ line, found string }{
		{"describe knows -o json", topic}, {"describe knows", topic}, {"describe guesses -o json", topic}, {"list -o json", "knows"},
		{"checkpoints knows -o json", "COMPLETED"}, {"checkpoints knows 1 -o json", ""}, {"state list knows -o json", "entries"},
		{"cluster status -o json", "n1"}, {"config show -o json", "session-timeout"}, {"config show", "session-timeout"},
		{"config check " + config, "sasl.password"}, {"config show --config " + config, "sasl.password"},
		{"snapshot save " + backup, "knows"}, {"snapshot inspect " + backup + " -o json", "knows"},
	} {
		out := s.run(c, "holdfast", strings.Fields(cmd.line)...)
		s.text("what `holdfast "+cmd.line+"` shows", out, cmd.found)
	}
	s.file("a backup", backup, topic)
	s.text("what holdfastd says of a file", s.run(c, "holdfastd", "--config", config), "sasl.password")
	s.t.Setenv("HOLDFAST_SASL_PASSWORD", filePassword)
	s.text("what holdfastd says of a variable", s.run(c, "holdfastd"), "HOLDFAST_SASL_PASSWORD: there is no such key")
}

// run returns both outputs of a program of the project, whatever its exit code.
func (s *search) run(c *harness.Cluster, program string, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), harness.Patience())
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.Binary(s.t, program), args...)
	cmd.Env, cmd.Dir = append(os.Environ(), c.ClientEnv()...), s.t.TempDir()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		s.t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	return string(out)
}

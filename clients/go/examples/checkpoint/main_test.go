package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
	"github.com/holdfast-io/holdfast/clients/go/datagen"
	"github.com/holdfast-io/holdfast/clients/go/internal/faketest"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestParse_Defaults(t *testing.T) {
	f, err := parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := flags{
		checkpointInterval: time.Second, bootstrapServers: "localhost:9092", topic: "input-topic",
		autoOffsetReset: "latest", jobName: "CheckpointExample", keyBy: "constant",
	}
	if !reflect.DeepEqual(*f, want) {
		t.Fatalf("flags %+v", *f)
	}
}

// Without checkpoints nothing is committed to a group. A group that has an offset
// of an earlier job would be read again from there by each process.
func TestParse_GroupOnlyWithCheckpoints(t *testing.T) {
	for args, want := range map[string]string{
		"":                               "",
		"-checkpoint-enable":             kafkaGroupID,
		"-group-id g":                    "g",
		"-checkpoint-enable -group-id g": "g",
	} {
		f, err := parse(strings.Fields(args))
		if err != nil || f.groupID != want {
			t.Errorf("%q: %+v, %v", args, f, err)
		}
	}
}

func TestParse_ConsumerConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "consumer.properties")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# of the broker\nsecurity.protocol=SASL_SSL\n\nsasl.password = a=b \n")
	f, err := parse([]string{"-consumer-config", file})
	if want := map[string]string{"security.protocol": "SASL_SSL", "sasl.password": "a=b"}; err != nil || !reflect.DeepEqual(f.consumerConfig, want) {
		t.Errorf("%v, %v", f, err)
	}
	write("sasl.password\nS3CRET")
	if _, err := parse([]string{"-consumer-config", file}); err == nil || err.Error() != "-consumer-config: "+file+":1: it is not name=value" {
		t.Errorf("%v", err)
	}
	if _, err := parse([]string{"-consumer-config", file + ".none"}); err == nil || err.Error() != "-consumer-config: open "+file+".none: no such file or directory" {
		t.Errorf("%v", err)
	}
}

func TestParse_Intervals(t *testing.T) {
	for text, want := range map[string]time.Duration{"1000": time.Second, "250ms": 250 * time.Millisecond} {
		f, err := parse([]string{"-checkpoint-enable", "-checkpoint-interval", text, "-checkpoint-mode", "AT_LEAST_ONCE"})
		if err != nil || f.checkpointInterval != want || f.checkpointMode != holdfast.AtLeastOnce || !f.checkpointEnable {
			t.Errorf("%s: %+v, %v", text, f, err)
		}
	}
}

func TestParse_RefusesNonsense(t *testing.T) {
	for _, args := range []string{"-checkpoint-interval soon", "-checkpoint-mode MAYBE", "-key-by nothing", "-delivery-guarantee exactly-once"} {
		if _, err := parse(strings.Fields(args)); err == nil {
			t.Errorf("%s is accepted", args)
		}
	}
}

type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

var line = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}: \((.*)\)$`)

func TestStatefulMapper_CountsEveryRecord(t *testing.T) {
	for keyBy, want := range map[string]string{"constant": "[0:0,1 0:1,2 0:2,3]", "record": "[0:0,1 0:1,1 0:2,1]"} {
		t.Run(keyBy, func(t *testing.T) {
			c := faketest.NewCluster(t, 1, 1)
			c.Splits = []*holdfastv1.Split{{Topic: "datagen", StartOffset: new(int64(0))}}
			env := holdfast.GetExecutionEnvironment(holdfast.WithAddresses(c.Addresses...), holdfast.WithLogger(slog.New(slog.DiscardHandler)))
			records := holdfast.FromSource(env, "kafka-source", datagen.NewSource(datagen.Options{Records: 3}), holdfast.SimpleStringSchema)
			out := &output{}
			f := &flags{keyBy: keyBy}
			holdfast.FlatMap(f.keyed(env, records), "stateful-mapper", &StatefulMapper{}).PrintTo(out)
			ctx, cancel := context.WithTimeout(t.Context(), faketest.Patience)
			defer cancel()
			if err := env.Execute(ctx, className); err != nil {
				t.Fatal(err)
			}
			var got []string
			for l := range strings.Lines(out.b.String()) {
				m := line.FindStringSubmatch(strings.TrimSuffix(l, "\n"))
				if m == nil {
					t.Fatalf("line %q", l)
				}
				got = append(got, m[1])
			}
			if fmt.Sprint(got) != want {
				t.Fatalf("output %v, want %s", got, want)
			}
		})
	}
}

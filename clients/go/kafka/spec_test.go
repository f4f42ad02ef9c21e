package kafka

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/clients/go/source"
)

func TestSpec_CarriesNoSecrets(t *testing.T) {
	s := NewSource("topic", Properties{
		"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "sasl.username": "user", "sasl.password": "hunter2",
		"client.id": "c",
	})
	spec, err := s.Spec()
	if err != nil {
		t.Fatal(err)
	}
	want := "map[auto.offset.reset:latest bootstrap.servers:127.0.0.1:1 group.id:g isolation.level:read_committed]"
	if spec.Connector != "kafka" || fmt.Sprint(spec.Topics) != "[topic]" || fmt.Sprint(spec.Properties) != want {
		t.Fatalf("spec is %v", spec)
	}
}

func TestSpec_ErrorsNameTheProperty(t *testing.T) {
	for name, p := range map[string]Properties{
		"no.such.property":   {"bootstrap.servers": "b:1", "no.such.property": "x"},
		"auto.offset.reset":  {"bootstrap.servers": "b:1", "auto.offset.reset": "sometimes"},
		"enable.auto.commit": {"bootstrap.servers": "b:1", "enable.auto.commit": "true"},
		"isolation.level":    {"bootstrap.servers": "b:1", "isolation.level": "some"},
		"bootstrap.servers":  {},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewSource("topic", p).Spec()
			if !errors.Is(err, source.ErrPermanent) || !strings.Contains(err.Error(), name) {
				t.Fatalf("Spec returned %v", err)
			}
		})
	}
}

func TestSpec_ErrorsHideSecrets(t *testing.T) {
	err := withoutSecrets(errors.New(`Invalid value "hunter2" for sasl.password`), Properties{"sasl.password": "hunter2"})
	if strings.Contains(err.Error(), "hunter2") {
		t.Fatalf("the error tells the password: %v", err)
	}
}

func TestSpec_OffsetsAreNeverLibrdkafkasAffair(t *testing.T) {
	c := *NewSource("topic", Properties{"enable.auto.offset.store": "true", "auto.offset.reset": "earliest"}).config()
	if c["enable.auto.commit"] != false || c["enable.auto.offset.store"] != false || c["auto.offset.reset"] != "error" {
		t.Fatalf("config is %v", c)
	}
}

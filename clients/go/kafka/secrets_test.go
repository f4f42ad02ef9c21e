package kafka

import (
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/clients/go/source"
)

// secretProperties are the properties of librdkafka (CONFIGURATION.md) that are
// secrets, or that may have one within.
var secretProperties = []string{
	"sasl.password", "sasl.username", "sasl.oauthbearer.config", "sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret",
	"sasl.oauthbearer.extensions", "sasl.oauthbearer.token.endpoint.url", "sasl.kerberos.kinit.cmd", "sasl.kerberos.keytab", "sasl.kerberos.principal",
	"ssl.key.password", "ssl.key.pem", "ssl.key.location", "ssl.certificate.pem", "ssl.keystore.password", "ssl.keystore.location",
	"ssl.ca.pem", "ssl.engine.id", "client.id", "client.rack",
}

// TestSpec_SecretsStayInTheProgram: of all properties only those that are meant to
// be shown enter the specification, which goes into Raft.
func TestSpec_SecretsStayInTheProgram(t *testing.T) {
	for _, property := range secretProperties {
		const planted = "hunter2-planted"
		s := NewSource("topic", Properties{"bootstrap.servers": "127.0.0.1:1", "group.id": "g"})
		s.properties[property] = planted
		spec := s.spec()
		if text := describe(spec); strings.Contains(text, planted) || strings.Contains(text, property) {
			t.Errorf("%s is in the specification: %s", property, text)
		}
	}
}

func describe(s source.Spec) string {
	var b strings.Builder
	for k, v := range s.Properties {
		b.WriteString(k + "=" + v + "\n")
	}
	return b.String() + strings.Join(s.Topics, ",") + s.Connector
}

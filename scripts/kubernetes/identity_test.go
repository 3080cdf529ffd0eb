package kubernetes

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// TestIdentities lets a client come with a written kubeconfig to a server with
// a certificate of the same authority, and with one of another.
func TestIdentities(t *testing.T) {
	dir := t.TempDir()
	ours, err := newAuthority(filepath.Join(dir, "pki"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := newAuthority(filepath.Join(dir, "other"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		signer *authority
		want   string // of the answer, or of the error
	}{
		{"ours", ours, "admin of system:masters"},
		{"another authority", other, "certificate signed by unknown authority"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := serve(t, ours, c.signer)
			path := filepath.Join(dir, "kubeconfig")
			if err := ours.writeKubeconfig(path, server, "admin", "system:masters"); err != nil {
				t.Fatal(err)
			}
			if got := ask(t, path, server); !strings.Contains(got, c.want) {
				t.Errorf("asking %s: %s; want %s", server, got, c.want)
			}
		})
	}
}

// serve starts a server that tells who the client is, whom clients vouches for.
func serve(t *testing.T, clients, signer *authority) string {
	t.Helper()
	p, err := signer.server("kube-apiserver", nil, net.IPv4(127, 0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(p.cert, p.key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		subject := r.TLS.PeerCertificates[0].Subject
		io.WriteString(w, subject.CommonName+" of "+subject.Organization[0])
	}))
	roots := x509.NewCertPool()
	roots.AddCert(clients.cert)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

func ask(t *testing.T, kubeconfig, url string) string {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Get(url)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

package kube

import (
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q}}]
users: [{name: u, user: {token: secret}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`

func TestWhereTheAPIIs(t *testing.T) {
	token, ca := write(t, "token", "abc"), write(t, "ca.crt", "")
	config := write(t, "kubeconfig", fmt.Sprintf(kubeconfig, "https://api.example:6443"))
	for name, test := range map[string]struct {
		settings   Settings
		host, auth string
	}{
		"URL":                   {Settings{Endpoint: "https://abc.eks.example"}, "https://abc.eks.example", token},
		"host":                  {Settings{Endpoint: "abc.eks.example"}, "https://abc.eks.example", token},
		"host and port":         {Settings{Endpoint: "10.9.0.1:6443", ServiceHost: "172.20.0.1"}, "https://10.9.0.1:6443", token},
		"plain HTTP":            {Settings{Endpoint: "http://10.9.0.1:8080"}, "http://10.9.0.1:8080", ""},
		"kubeconfig":            {Settings{Kubeconfig: config, Endpoint: "https://other"}, "https://api.example:6443", "secret"},
		"kubeconfig and server": {Settings{Kubeconfig: config, Server: "https://10.9.0.1"}, "https://10.9.0.1", "secret"},
	} {
		t.Run(name, func(t *testing.T) {
			test.settings.TokenFile, test.settings.CAFile = token, ca
			c, err := test.settings.restConfig()
			if err != nil {
				t.Fatal(err)
			}
			if auth := c.BearerTokenFile + c.BearerToken; c.Host != test.host || auth != test.auth {
				t.Errorf("%s with %q, want %s with %q", c.Host, auth, test.host, test.auth)
			}
		})
	}
}

func TestRefusedSettings(t *testing.T) {
	config := write(t, "kubeconfig", fmt.Sprintf(kubeconfig, "https://172.20.0.1"))
	for name, test := range map[string]struct {
		settings Settings
		want     []string
	}{
		"nothing":               {Settings{ServiceHost: "172.20.0.1"}, []string{"CLUSTER_ENDPOINT", "KUBECONFIG", "KUBERNETES_SERVICE_HOST"}},
		"no URL":                {Settings{Endpoint: "ftp://a"}, []string{"CLUSTER_ENDPOINT", `"ftp://a"`, "https URL"}},
		"service address":       {Settings{Endpoint: "http://172.20.0.1", ServiceHost: "172.20.0.1"}, []string{"172.20.0.1", "service address"}},
		"service address, IPv6": {Settings{Endpoint: "http://[fd00::1]:443", ServiceHost: "fd00::1"}, []string{"fd00::1", "service address"}},
		"service name":          {Settings{Endpoint: "http://kubernetes.default.svc.cluster.local"}, []string{"service address"}},
		"service in kubeconfig": {Settings{Kubeconfig: config, ServiceHost: "172.20.0.1"}, []string{"172.20.0.1", "service address"}},
		"no kubeconfig":         {Settings{Kubeconfig: "/none/here"}, []string{"/none/here"}},
		"no token":              {Settings{Endpoint: "https://a", TokenFile: "/none/token", CAFile: config}, []string{"token", "/none/token"}},
		"no authority":          {Settings{Endpoint: "https://a", CAFile: "/none/ca", TokenFile: config}, []string{"/none/ca"}},
		"no node":               {Settings{Endpoint: "http://a", NodeSetting: "--hostname-override"}, []string{"--hostname-override"}},
	} {
		t.Run(name, func(t *testing.T) {
			if test.settings.NodeSetting == "" {
				test.settings.Node = "here"
			}
			test.settings.Log = slog.New(slog.DiscardHandler)
			_, err := New(test.settings)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

// TestServiceAccount speaks TLS, and shows the token.
func TestServiceAccount(t *testing.T) {
	var seen atomic.Value
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.CompareAndSwap(nil, r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	c, err := New(Settings{Endpoint: server.URL, Node: "here", Log: slog.New(slog.DiscardHandler),
		TokenFile: write(t, "token", "abc\n"), CAFile: write(t, "ca.crt", string(ca))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Watch(ctx, &world{}) }()
	eventually(t, "a request", func() bool { return seen.Load() != nil })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := seen.Load(); got != "Bearer abc" {
		t.Errorf("Authorization: %v, want the token", got)
	}
}

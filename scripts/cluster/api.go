package cluster

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Options of an API server.
type Options struct {
	Dir   string // keeps data, keys, logs and the kubeconfig file
	Netns string // path of the network namespace, with loopback up
	// Addr is where it listens: an address of the namespace, not loopback.
	Addr netip.Addr
	// Services are the blocks of cluster IPs, IPv4 first.
	Services string
	// NodePorts is the range of node ports; empty for 30000-32767.
	NodePorts string
}

// API is a running API server with its etcd.
type API struct {
	Kubeconfig string
	Client     *kubernetes.Clientset // speaks protobuf, without a rate limit
	processes  []*Process
}

// StartAPI starts etcd and the API server, and waits until it is ready.
func StartAPI(ctx context.Context, tools Tools, o Options) (*API, error) {
	a := &API{Kubeconfig: filepath.Join(o.Dir, "kubeconfig")}
	if err := a.start(ctx, tools, o); err != nil {
		return nil, errors.Join(err, a.Stop())
	}
	return a, nil
}

const port = "6443"

// token is of the only user, whom the server believes; there is no anonymous
// one where all is allowed.
const token = "tester-token"

func (a *API) start(ctx context.Context, tools Tools, o Options) error {
	key := filepath.Join(o.Dir, "sa.key")
	if err := writeKey(key); err != nil {
		return err
	}
	server := "https://" + net.JoinHostPort(o.Addr.String(), port)
	if err := os.WriteFile(a.Kubeconfig, fmt.Appendf(nil, kubeconfig, server), 0o600); err != nil {
		return err
	}
	tokens := filepath.Join(o.Dir, "tokens.csv")
	if err := os.WriteFile(tokens, []byte(token+",tester,1\n"), 0o600); err != nil {
		return err
	}
	const etcd = "http://127.0.0.1:2379"
	err := a.run("etcd", o, tools.Etcd, "--data-dir", filepath.Join(o.Dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", "http://127.0.0.1:2380",
		"--quota-backend-bytes", "4294967296", "--log-level", "error")
	if err != nil {
		return err
	}
	args := []string{
		"--etcd-servers", etcd, "--bind-address", o.Addr.String(), "--advertise-address", o.Addr.String(), "--secure-port", port,
		"--token-auth-file", tokens, "--cert-dir", filepath.Join(o.Dir, "certs"), "--service-cluster-ip-range", o.Services, "--authorization-mode", "AlwaysAllow",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", key, "--service-account-signing-key-file", key,
		"--disable-admission-plugins", "ServiceAccount", "--endpoint-reconciler-type", "none",
		"--max-requests-inflight", "4000", "--max-mutating-requests-inflight", "2000", "--enable-priority-and-fairness=false",
	}
	if o.NodePorts != "" {
		args = append(args, "--service-node-port-range", o.NodePorts)
	}
	if err := a.run("kube-apiserver", o, append([]string{tools.APIServer}, args...)...); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host: server, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, BearerToken: token, QPS: -1,
		ContentConfig: rest.ContentConfig{ContentType: "application/vnd.kubernetes.protobuf", AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json"},
		Dial:          DialIn(o.Netns),
	})
	if err != nil {
		return err
	}
	a.Client = client
	return a.await(ctx)
}

func (a *API) run(name string, o Options, command ...string) error {
	p, err := Start(name, o.Netns, filepath.Join(o.Dir, name+".log"), nil, command...)
	if err == nil {
		a.processes = append(a.processes, p)
	}
	return err
}

func (a *API) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := a.Client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err == nil {
			return nil
		}
		for _, p := range a.processes {
			if p.Ended() {
				return fmt.Errorf("%s ended:\n%s", p.Name, p.Tail())
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the API server is not ready: %w\n%s", err, a.processes[1].Tail())
		case <-tick.C:
		}
	}
}

// Stop ends both programs.
func (a *API) Stop() error {
	var failed []error
	for i := len(a.processes) - 1; i >= 0; i-- {
		failed = append(failed, a.processes[i].Stop())
	}
	return errors.Join(failed...)
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "%s", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: tester-token}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
`

func writeKey(path string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return os.WriteFile(path, pem.EncodeToMemory(block), 0o600)
}

// DialIn opens connections from within a network namespace. A socket stays in
// the namespace that it was made in, wherever its thread goes.
func DialIn(netns string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = Within(netns, func() (err error) {
			// A fallback to another address would run on another thread.
			conn, err = (&net.Dialer{FallbackDelay: -1}).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
}

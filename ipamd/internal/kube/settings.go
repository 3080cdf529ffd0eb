package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// The service account of a pod, as kubelet mounts it.
const (
	ServiceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	ServiceAccountCA    = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
)

// Settings say where the API is and who we are.
type Settings struct {
	// Kubeconfig is the path of a kubeconfig file. It comes before Endpoint.
	Kubeconfig string
	// Server is a URL that replaces the one in Kubeconfig; empty to use that.
	Server string
	// Endpoint is the API server: a URL, or a host with or without a port,
	// which means https. Over https the service account is used, over http
	// nothing is, so that no token goes over the wire in the clear.
	Endpoint string
	// TokenFile and CAFile are the service account's; empty for where kubelet
	// mounts them. The token is read again as it is renewed.
	TokenFile, CAFile string
	// ServiceHost is KUBERNETES_SERVICE_HOST, the API's service address, which
	// is refused as the API server; empty if not known.
	ServiceHost string

	// Node is the name of this node's Node.
	Node string
	// NodeSetting is the name of the setting that Node is from, for messages;
	// empty for MY_NODE_NAME.
	NodeSetting string
	// Addrs are this node's addresses. If there is no Node of that name, they
	// tell which name would be right.
	Addrs []netip.Addr

	// ENIConfigs makes WatchNode watch them, which is of use with custom
	// networking alone; without, it is as if there were none.
	ENIConfigs bool

	// Version of the program, for the user agent.
	Version string
	Log     *slog.Logger
}

// dialTimeout bounds a connection attempt, so that an address of the API
// server that does not answer gives way to the next one.
const dialTimeout = 5 * time.Second

// restConfig is how the API server is reached.
func (s Settings) restConfig() (*rest.Config, error) {
	from := s.fromEndpoint
	if s.Kubeconfig != "" {
		from = s.fromKubeconfig
	}
	c, err := from()
	if err != nil {
		return nil, err
	}
	server, _, err := rest.DefaultServerUrlFor(c)
	if err != nil {
		return nil, fmt.Errorf("API server %q: %w: want an https URL", c.Host, err)
	}
	if err := s.refuseService(server.Hostname()); err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3,
	}}
	c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, address)
	}
	c.QPS = -1 // a few watches need no limit, and a limit would delay them
	c.UserAgent = "causeway/" + s.Version
	c.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	c.ContentType = "application/vnd.kubernetes.protobuf"
	c.WarningHandlerWithContext = rest.NoWarnings{}
	return c, nil
}

func (s Settings) fromKubeconfig() (*rest.Config, error) {
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: s.Kubeconfig}
	overrides := &clientcmd.ConfigOverrides{}
	overrides.ClusterInfo.Server = s.Server
	c, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig %s: %w", s.Kubeconfig, err)
	}
	return c, nil
}

func (s Settings) fromEndpoint() (*rest.Config, error) {
	if s.Endpoint == "" {
		return nil, errors.New("no API server: set CLUSTER_ENDPOINT to its https URL, or KUBECONFIG to a kubeconfig file; " +
			"KUBERNETES_SERVICE_HOST is a service address, which works only once this daemon has read the services")
	}
	endpoint := s.Endpoint
	if !strings.Contains(endpoint, "://") {
		endpoint = "https://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("CLUSTER_ENDPOINT %q: want the https URL of the API server", s.Endpoint)
	}
	c := &rest.Config{Host: endpoint}
	if u.Scheme == "http" {
		return c, nil
	}
	c.BearerTokenFile, c.CAFile = cmp.Or(s.TokenFile, ServiceAccountToken), cmp.Or(s.CAFile, ServiceAccountCA)
	for what, path := range map[string]string{"token": c.BearerTokenFile, "certificate authority": c.CAFile} {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("%s of the service account, for CLUSTER_ENDPOINT %s: %w: want it mounted there, or KUBECONFIG set", what, s.Endpoint, err)
		}
	}
	return c, nil
}

// refuseService refuses the addresses and names of the API's own service.
func (s Settings) refuseService(host string) error {
	names := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	address, service := strings.Trim(s.ServiceHost, "[]"), slices.Contains(names, host)
	if !service && !strings.HasPrefix(host, "kubernetes.default.svc.") && (address == "" || host != address) {
		return nil
	}
	return fmt.Errorf("API server %s is a service address, which works only once this daemon has read the services: "+
		"want the API server's own address, as in the cluster's endpoint", host)
}

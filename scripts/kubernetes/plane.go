package kubernetes

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// Addresses of the cluster. The host of the control plane has one of the VPC,
// as the control plane of EKS has network interfaces there.
var (
	planeAddr    = netip.MustParseAddr("10.0.0.10")
	apiService   = netip.MustParseAddr("10.100.0.1")
	dnsService   = netip.MustParseAddr("10.100.0.10")
	serviceBlock = netip.MustParsePrefix("10.100.0.0/16")
)

const (
	planeNode = "cp" // in the topology
	apiPort   = 6443
	apiServer = "kube-apiserver"
	manager   = "kube-controller-manager"
)

// planeControllers live and end with the API server, as those that cannot prolong
// their lease of leadership do.
var planeControllers = []string{manager, "kube-scheduler"}

// Endpoint is the URL of the API server in the VPC.
func Endpoint() string { return "https://" + netip.AddrPortFrom(planeAddr, apiPort).String() }

// startPlane starts the control plane.
func (c *Cluster) startPlane(ctx context.Context) (err error) {
	if c.authority, err = newAuthority(filepath.Join(c.dir, "pki")); err != nil {
		return err
	}
	if err := c.authority.writeKubeconfig(c.Kubeconfig(), "https://"+c.relay.address(), "admin", "system:masters"); err != nil {
		return err
	}
	serving, err := c.authority.server("kube-apiserver", []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		planeAddr.AsSlice(), apiService.AsSlice(), net.IPv4(127, 0, 0, 1))
	if err != nil {
		return err
	}
	toKubelets, err := c.authority.user("kube-apiserver-kubelet-client", "system:masters")
	if err != nil {
		return err
	}
	tokens, err := c.authority.user("service-accounts", "none") // only its key is used
	if err != nil {
		return err
	}
	const etcd = "http://127.0.0.1:2379"
	err = c.onPlane("etcd", c.tools.Etcd, "--data-dir", filepath.Join(c.dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", "http://127.0.0.1:2380", "--log-level", "error")
	if err != nil {
		return err
	}
	c.args[apiServer] = []string{
		c.tools.Path("kube-apiserver"), "--etcd-servers", etcd, "--advertise-address", planeAddr.String(), "--secure-port", fmt.Sprint(apiPort),
		"--client-ca-file", c.authority.file(), "--tls-cert-file", serving.certFile, "--tls-private-key-file", serving.keyFile,
		"--kubelet-client-certificate", toKubelets.certFile, "--kubelet-client-key", toKubelets.keyFile, "--kubelet-preferred-address-types", "InternalIP",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", tokens.keyFile, "--service-account-signing-key-file", tokens.keyFile,
		"--service-cluster-ip-range", serviceBlock.String(), "--authorization-mode", "Node,RBAC", "--enable-admission-plugins", "NodeRestriction",
		"--allow-privileged=true",
	}
	for _, program := range planeControllers {
		config := filepath.Join(c.dir, program+".kubeconfig")
		if err := c.authority.writeKubeconfig(config, Endpoint(), "system:"+program, "system:"+program); err != nil {
			return err
		}
		c.args[program] = []string{c.tools.Path(program), "--kubeconfig", config, "--leader-elect=false"}
	}
	c.args[manager] = append(c.args[manager], "--use-service-account-credentials", "--root-ca-file", c.authority.file(), "--service-account-private-key-file", tokens.keyFile)
	return c.StartAPI(ctx)
}

// onPlane starts a program on the control plane's host.
func (c *Cluster) onPlane(name string, command ...string) error {
	p, err := c.start(planeNode, name, nil, command...)
	if err == nil {
		c.plane[name] = p
	}
	return err
}

// StartAPI starts the API server and waits until it is ready, and then the
// controllers: the manager ends if it finds none.
func (c *Cluster) StartAPI(ctx context.Context) error {
	if err := c.onPlane(apiServer, c.args[apiServer]...); err != nil {
		return err
	}
	if err := c.awaitAPI(ctx); err != nil {
		return err
	}
	for _, program := range planeControllers {
		if err := c.onPlane(program, c.args[program]...); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) awaitAPI(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return harness.Poll(ctx, func() error {
		if p := c.plane[apiServer]; p.Ended() {
			cancel()
			return fmt.Errorf("%s ended:\n%s", p.Name, p.Tail())
		}
		_, err := c.Kubectl(ctx, "get", "--raw", "/readyz")
		return err
	})
}

// StopAPI takes the API server away, and the controllers.
func (c *Cluster) StopAPI() error {
	for _, program := range append(slices.Clone(planeControllers), apiServer) {
		if err := c.plane[program].Stop(); err != nil {
			return err
		}
	}
	return nil
}

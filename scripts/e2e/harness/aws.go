package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"golang.org/x/sys/unix"
)

// EC2 is the API as someone other than the node's daemon calls it, from the
// node's network.
func (n *Node) EC2(ctx context.Context) (*ec2.Client, error) {
	status, err := n.lab.Control.Status(ctx)
	if err != nil {
		return nil, err
	}
	self, err := n.Status(ctx)
	if err != nil {
		return nil, err
	}
	space := filepath.Join("/run/netns", self.Namespace)
	dial := func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = inside(space, func() (err error) {
			conn, err = new(net.Dialer).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
	return ec2.New(ec2.Options{
		Region: status.Region, BaseEndpoint: aws.String(self.Env["AWS_ENDPOINT_URL_EC2"]),
		Credentials: credentials.NewStaticCredentialsProvider("AKIDOPERATOR", "secret", ""),
		// Beside faults and limits that are meant for the daemon it persists.
		RetryMaxAttempts: 10,
		HTTPClient:       &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}},
	}), nil
}

// inside calls do on a thread that is in a network namespace meanwhile.
func inside(space string, do func() error) error {
	there, err := os.Open(space)
	if err != nil {
		return fmt.Errorf("opening namespace: %w", err)
	}
	defer there.Close()
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("opening namespace: %w", err)
	}
	defer home.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("entering namespace %s: %w", space, err)
	}
	failed := do()
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		return errors.Join(failed, fmt.Errorf("leaving namespace %s: %w", space, err)) // with the thread locked
	}
	runtime.UnlockOSThread()
	return failed
}

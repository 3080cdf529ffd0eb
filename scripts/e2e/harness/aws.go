package harness

import (
	"context"
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
		HTTPClient:  &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}},
	}), nil
}

// inside calls do on a thread that is in a network namespace and ends with it.
func inside(space string, do func() error) error {
	file, err := os.Open(space)
	if err != nil {
		return fmt.Errorf("opening namespace: %w", err)
	}
	defer file.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is of no other use
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("entering namespace %s: %w", space, err)
			return
		}
		done <- do()
	}()
	return <-done
}

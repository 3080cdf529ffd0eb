package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
)

// Client speaks to one simulator's admin API.
type Client struct {
	http *http.Client
}

// Dial returns a client of the simulator whose admin socket has this path. It
// connects with each call, so it fails only then.
func Dial(socketPath string) *Client {
	var d net.Dialer
	return New(&http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", socketPath)
		},
		DisableKeepAlives: true,
	})
}

// New returns a client over a transport that reaches the admin API whatever
// the host of a request is.
func New(transport http.RoundTripper) *Client { return &Client{&http.Client{Transport: transport}} }

// Status returns the nodes, interfaces and subnets as they are.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var out Status
	err := c.call(ctx, http.MethodGet, "/v1/status", nil, &out)
	return out, err
}

// AddFaults puts rules in force, all or none, and returns their ids.
func (c *Client) AddFaults(ctx context.Context, rules ...Rule) ([]string, error) {
	var out []string
	err := c.call(ctx, http.MethodPost, "/v1/faults", rules, &out)
	return out, err
}

// Faults lists the rules in force.
func (c *Client) Faults(ctx context.Context) ([]FaultState, error) {
	var out []FaultState
	err := c.call(ctx, http.MethodGet, "/v1/faults", nil, &out)
	return out, err
}

// ClearFaults removes the rules with these ids, or all without ids.
func (c *Client) ClearFaults(ctx context.Context, ids ...string) error {
	return c.call(ctx, http.MethodDelete, "/v1/faults?"+url.Values{"id": ids}.Encode(), nil, nil)
}

// AddCIDR gives the VPC a further IPv4 block.
func (c *Client) AddCIDR(ctx context.Context, block netip.Prefix) error {
	return c.call(ctx, http.MethodPost, "/v1/cidrs", block, nil)
}

// SetEgress changes a subnet's default route to "igw", "nat" or "none".
func (c *Client) SetEgress(ctx context.Context, subnet, egress string) error {
	return c.call(ctx, http.MethodPost, "/v1/subnets/egress", SubnetChange{Subnet: subnet, Egress: egress}, nil)
}

// Take lets other tenants take free addresses of a subnet, all that are asked
// for or none, and returns how many are free after it.
func (c *Client) Take(ctx context.Context, t Tenants) (free int, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/tenants/take", t, &free)
	return free, err
}

// Fragment lets other tenants take one address of every free /28 of a subnet,
// and returns how many are free after it.
func (c *Client) Fragment(ctx context.Context, subnet string) (free int, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/tenants/fragment", Tenants{Subnet: subnet}, &free)
	return free, err
}

// Give frees so many of the addresses that other tenants hold, the last taken
// first, -1 all of them, and returns how many are free after it.
func (c *Client) Give(ctx context.Context, subnet string, addresses int) (free int, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/tenants/give", Tenants{Subnet: subnet, Addresses: addresses}, &free)
	return free, err
}

// Terminate ends the instance of a node.
func (c *Client) Terminate(ctx context.Context, node string) error {
	return c.call(ctx, http.MethodPost, "/v1/nodes/terminate", node, nil)
}

// DropTokens ends all sessions of the metadata service.
func (c *Client) DropTokens(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/imds/drop-tokens", nil, nil)
}

// Calls counts the requests so far by action, node and outcome.
func (c *Client) Calls(ctx context.Context) ([]Call, error) {
	var out []Call
	err := c.call(ctx, http.MethodGet, "/v1/calls", nil, &out)
	return out, err
}

// Requests returns the last requests (up to 10000), oldest first.
func (c *Client) Requests(ctx context.Context) ([]Request, error) {
	var out []Request
	err := c.call(ctx, http.MethodGet, "/v1/requests", nil, &out)
	return out, err
}

// Drops counts the packets that the fabric dropped.
func (c *Client) Drops(ctx context.Context) ([]Drop, error) {
	var out []Drop
	err := c.call(ctx, http.MethodGet, "/v1/drops", nil, &out)
	return out, err
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	doing := method + " " + path
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encoding the body of %s: %w", doing, err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://vpcsim"+path, body)
	if err != nil {
		return fmt.Errorf("preparing %s: %w", doing, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("asking the simulator: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // the body was read
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("reading the answer to %s: %w", doing, err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return problem(doing, data)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("decoding the answer to %s: %w", doing, err)
	}
	return nil
}

func problem(doing string, data []byte) error {
	var p Problem
	if err := json.Unmarshal(data, &p); err != nil || p.Error == "" {
		return fmt.Errorf("%s failed: %s", doing, bytes.TrimSpace(data))
	}
	return errors.New(p.Error)
}

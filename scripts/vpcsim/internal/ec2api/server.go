// Package ec2api serves the EC2 query protocol: form-encoded requests in, XML
// out, with the keys, shapes, codes, statuses and texts of the real service.
// It translates between the wire and the model, throttles, injects faults and
// logs; it holds no state of the VPC.
//
// Refused as the real service refuses it: unknown actions, parameters and
// filters. Signatures are parsed for the caller's access key, not verified.
package ec2api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/awserr"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fault"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/reqlog"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/span"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/throttle"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

const (
	// maxBody bounds a request's body in bytes.
	maxBody = 1 << 20
	// hangLimit ends requests that a fault leaves without an answer.
	hangLimit = time.Minute
)

// Server is the EC2 endpoint, an http.Handler.
type Server struct {
	model    *vpc.Model
	topo     topology.Topology
	faults   *fault.Engine
	buckets  *throttle.Buckets
	requests *reqlog.Log
	log      *slog.Logger
	actions  map[string]action
}

// New returns the endpoint of a model.
func New(m *vpc.Model, faults *fault.Engine, requests *reqlog.Log, log *slog.Logger) *Server {
	topo := m.Topology()
	s := &Server{model: m, topo: topo, faults: faults, buckets: throttle.New(topo.Throttle), requests: requests, log: log}
	s.actions = s.table()
	return s
}

// call is one request on its way through the server.
type call struct {
	form
	action string
	node   string // "" if the caller is not a node
	effect fault.Effect
	vpc.Call
}

// action executes a request whose parameters it reads itself.
type action func(*call) (reply, error)

func (s *Server) table() map[string]action {
	return map[string]action{
		"AssignIpv6Addresses":             s.assignIPv6Addresses,
		"AssignPrivateIpAddresses":        s.assignPrivateIPAddresses,
		"AttachNetworkInterface":          s.attachNetworkInterface,
		"CreateNetworkInterface":          s.createNetworkInterface,
		"CreateTags":                      s.createTags,
		"DeleteNetworkInterface":          s.deleteNetworkInterface,
		"DeleteTags":                      s.deleteTags,
		"DescribeInstanceTypes":           s.describeInstanceTypes,
		"DescribeInstances":               s.describeInstances,
		"DescribeNetworkInterfaces":       s.describeNetworkInterfaces,
		"DescribeSecurityGroups":          s.describeSecurityGroups,
		"DescribeSubnets":                 s.describeSubnets,
		"DescribeTags":                    s.describeTags,
		"DescribeVpcs":                    s.describeVPCs,
		"DetachNetworkInterface":          s.detachNetworkInterface,
		"ModifyNetworkInterfaceAttribute": s.modifyNetworkInterfaceAttribute,
		"UnassignIpv6Addresses":           s.unassignIPv6Addresses,
		"UnassignPrivateIpAddresses":      s.unassignPrivateIPAddresses,
	}
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	entry := reqlog.Entry{
		Time: started, Service: "ec2", Attempt: r.Header.Get("Amz-Sdk-Request"), Invocation: r.Header.Get("Amz-Sdk-Invocation-Id"),
	}
	out := s.answer(r, &entry)
	entry.Status, entry.Latency = out.status, time.Since(started)
	if out.abort {
		entry.Status = 0
	}
	if out.err != nil {
		entry.Code = out.err.Code
	}
	s.requests.Add(entry)
	if err := out.send(w); err != nil {
		s.log.Debug("The client went away before the answer", "action", entry.Action, "err", err)
	}
}

// answer decides what the client gets, and fills in the log entry.
func (s *Server) answer(r *http.Request, entry *reqlog.Entry) answer {
	values, err := parameters(r)
	if err != nil {
		return failed(awserr.New("MalformedQueryString", "The query string contains a syntax error: %v", err))
	}
	c := &call{form: newForm(values), action: values.Get("Action")}
	c.Caller = accessKey(r)
	c.node, _ = s.model.CallerNode(c.Caller)
	entry.Action, entry.Node, entry.Caller, entry.Params = c.action, c.node, c.Caller, reqlog.Redact(values)
	if err := s.authenticate(c); err != nil {
		return failed(err)
	}
	run, ok := s.actions[c.action]
	if !ok {
		return failed(unknownAction(values))
	}
	decision := s.faults.Decide(c.node, c.action)
	c.effect, entry.Faults = decision.Effect, decision.Rules
	s.device(c, entry)
	return s.execute(r.Context(), c, run)
}

// execute runs a call with the effects of its faults, in the order that
// fault.Effect gives.
func (s *Server) execute(ctx context.Context, c *call, run action) answer {
	e := c.effect
	if err := span.Sleep(ctx, time.Duration(e.Latency)); err != nil {
		return answer{abort: true}
	}
	switch {
	case e.Reset:
		return answer{abort: true}
	case e.Hang && !e.Lost:
		return hang(ctx)
	case e.HTML502:
		return badGateway()
	case e.Error != nil:
		return failed(c.injected(e.Error))
	case e.Throttle, !s.buckets.Allow(c.action, c.small(), time.Now()):
		return failed(awserr.Throttled())
	}
	if err := span.Sleep(ctx, s.model.CallTime(c.action)); err != nil {
		return answer{abort: true}
	}
	c.Stale, c.IMDSLag = time.Duration(e.Stale), time.Duration(e.IMDSLag)
	c.Settle, c.Exhaust = time.Duration(e.Settle), time.Duration(e.Exhaust)
	out := s.run(c, run)
	out.truncate = e.Truncate
	if e.Lost && e.Hang {
		return hang(ctx)
	}
	if e.Lost {
		out.abort = true
	}
	return out
}

// hang answers nothing until the client has given up, a minute at most.
func hang(ctx context.Context) answer {
	_ = span.Sleep(ctx, hangLimit) // either way there is no answer
	return answer{abort: true}
}

// injected is the error of a fault, its message filled with the request's
// parameters: {NAME} is that of the name, or the first of a list.
func (c *call) injected(e *fault.Error) *awserr.Error {
	out := e.AWS()
	for name, values := range c.values {
		out.Message = strings.ReplaceAll(out.Message, "{"+strings.TrimSuffix(name, ".1")+"}", strings.Join(values, ","))
	}
	return out
}

func (s *Server) run(c *call, run action) answer {
	body, err := run(c)
	if err == nil {
		return succeeded(c.action, body)
	}
	var refused *awserr.Error
	if !errors.As(err, &refused) {
		s.log.Error("An EC2 action failed inside the simulator", "action", c.action, "err", err)
		refused = awserr.New("InternalError", "An internal error has occurred")
	}
	return failed(refused)
}

// small reports whether the call takes from the bucket of unfiltered calls.
func (c *call) small() throttle.Kind {
	return throttle.Kind{Filtered: c.has("Filter") || c.has("MaxResults") || c.has("NextToken"), ByID: c.byID()}
}

func (c *call) byID() bool {
	for _, name := range []string{"NetworkInterfaceId", "InstanceId", "GroupId", "GroupName"} {
		if c.has(name) {
			return true
		}
	}
	return false
}

// device lets rules about devices act on an attachment, whoever asks for it.
func (s *Server) device(c *call, entry *reqlog.Entry) {
	if c.action != "AttachNetworkInterface" {
		return
	}
	node := ""
	for _, i := range s.model.Instances() {
		if i.ID == c.values.Get("InstanceId") {
			node = i.Node
		}
	}
	d := s.faults.Decide(node, fault.ActionDevice)
	e := c.effect.Merge(d.Effect)
	c.Device = vpc.DeviceFault{
		Delay: time.Duration(e.DeviceDelay), Never: e.DeviceNever, Gone: time.Duration(e.DeviceGone),
		Guest: vpc.Guest{Rename: e.DeviceRename, DHCP: e.DeviceDHCP},
	}
	entry.Faults = append(entry.Faults, d.Rules...)
}

// dry ends the parsing of a call: an error of it, or that of a dry run.
func (c *call) dry() error {
	dry := c.on("DryRun")
	if err := c.done(); err != nil {
		return err
	}
	if dry {
		return awserr.DryRun()
	}
	return nil
}

func parameters(r *http.Request) (url.Values, error) {
	if r.Method == http.MethodGet {
		return url.ParseQuery(r.URL.RawQuery)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("reading the body: %w", err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("the body is longer than %d bytes", maxBody)
	}
	return url.ParseQuery(string(body))
}

func unknownAction(values url.Values) *awserr.Error {
	if values.Get("Action") == "" {
		return awserr.New("MissingAction", "The request is missing an action")
	}
	return awserr.New("InvalidAction", "The action %s is not valid for this web service.", values.Get("Action"))
}

// authenticate refuses callers that strict topologies do not know.
func (s *Server) authenticate(c *call) *awserr.Error {
	if s.topo.StrictAuth && c.node == "" {
		return awserr.New("AuthFailure", "%s", awserr.DefaultMessage("AuthFailure"))
	}
	return nil
}

// accessKey reads who signed a request from its SigV4 header or query.
func accessKey(r *http.Request) string {
	credential := r.URL.Query().Get("X-Amz-Credential")
	if _, rest, ok := strings.Cut(r.Header.Get("Authorization"), "Credential="); ok {
		credential = rest
	}
	key, _, _ := strings.Cut(credential, "/")
	return key
}

// Package unary makes unary gRPC calls over a unix socket, each on a connection
// of its own, with no more of HTTP/2 than that takes.
//
// The plugin is a process of a few milliseconds for one call. Of those, gRPC's
// own client takes a quarter to initialise, for streams, balancing and long
// lives that are not wanted here. The protocol is gRPC's (doc/PROTOCOL-HTTP2.md
// of grpc/grpc, RFC 9113), the server is gRPC's own, and errors are gRPC's
// statuses.
package unary

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	// window is what the server may send without being told to go on: more
	// than any answer here has.
	window = 16 << 20
	// maxRequest keeps a request to one frame (RFC 9113, 6.5.2).
	maxRequest = 16<<10 - 5
	// maxAnswer bounds what is kept in memory, as gRPC's default does.
	maxAnswer = 4 << 20
	preface   = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
)

// stream is the only one of a connection.
const stream = 1

// Client calls the gRPC server that listens on a unix socket.
type Client struct {
	Socket string // path
	Agent  string // what the server may log of its client
}

// Call calls a method, "/package.Service/Method", until ctx ends. Its error is
// a status: the server's; or Unavailable if there is no connection or it broke,
// so that the call may have been carried out or not; or DeadlineExceeded or
// Canceled.
func (c Client) Call(ctx context.Context, method string, in, out proto.Message) error {
	body, err := proto.Marshal(in)
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	if len(body) > maxRequest {
		return status.Errorf(codes.InvalidArgument, "%s: a request of %d bytes; want at most %d", method, len(body), maxRequest)
	}
	answer, err := c.exchange(ctx, method, body)
	if err != nil {
		return statusOf(ctx, err)
	}
	if err := answer.status(); err != nil {
		return err
	}
	if err := answer.message(out); err != nil {
		return status.Errorf(codes.Internal, "%s: %v", method, err)
	}
	return nil
}

// slack is how much earlier than ours the server's clock of the deadline, which
// it is told in milliseconds, may end.
const slack = 10 * time.Millisecond

// statusOf names why there is no answer.
func statusOf(ctx context.Context, err error) error {
	deadline, limited := ctx.Deadline()
	switch {
	case limited && errors.Is(err, errReset) && time.Until(deadline) < slack:
		return status.Error(codes.DeadlineExceeded, "no answer in time")
	case errors.Is(ctx.Err(), context.Canceled):
		return status.Error(codes.Canceled, ctx.Err().Error())
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, "no answer in time: "+err.Error())
	}
	return status.Error(codes.Unavailable, err.Error())
}

// exchange connects, sends a request in one write, and reads the answer to its
// end.
func (c Client) exchange(ctx context.Context, method string, body []byte) (*answer, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.Socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(c.request(ctx, method, body)); err != nil {
		return nil, fmt.Errorf("sending a request: %w", err)
	}
	in := bufio.NewReader(conn)
	a := &answer{fields: hpack.NewDecoder(4096, nil)}
	for !a.ended {
		if err := a.take(in, conn); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// request is the connection's preface and the request's frames.
func (c Client) request(ctx context.Context, method string, body []byte) []byte {
	var wire bytes.Buffer
	wire.WriteString(preface)
	frame(&wire, frameSettings, 0, 0, append(setting(settingPush, 0), setting(settingWindow, window)...))
	frame(&wire, frameWindow, 0, 0, binary.BigEndian.AppendUint32(nil, window))
	frame(&wire, frameHeaders, flagEndHeaders, stream, c.headers(ctx, method))
	message := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))) // 0: not compressed
	frame(&wire, frameData, flagEndStream, stream, append(message, body...))
	return wire.Bytes()
}

func (c Client) headers(ctx context.Context, method string) []byte {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	fields := []hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: method}, {Name: ":authority", Value: "localhost"},
		{Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"}, {Name: "user-agent", Value: c.Agent},
	}
	if deadline, ok := ctx.Deadline(); ok {
		left := max(time.Until(deadline).Milliseconds(), 1)
		fields = append(fields, hpack.HeaderField{Name: "grpc-timeout", Value: strconv.FormatInt(min(left, 99999999), 10) + "m"})
	}
	for _, f := range fields {
		e.WriteField(f) // to memory: cannot fail
	}
	return block.Bytes()
}

package unary

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// answer is what came on the stream.
type answer struct {
	fields  *hpack.Decoder
	block   []byte // header block in the making
	last    bool   // the block in the making ends the stream
	headers map[string]string
	body    []byte
	ended   bool
}

// take reads one frame and books it; what asks for an acknowledgement gets it.
func (a *answer) take(in io.Reader, out io.Writer) error {
	kind, flags, id, payload, err := readFrame(in)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	switch kind {
	case frameSettings, framePing:
		if flags&flagAck != 0 {
			return nil
		}
		if kind == frameSettings {
			payload = nil
		}
		var wire bytes.Buffer
		frame(&wire, kind, flagAck, 0, payload)
		_, err := out.Write(wire.Bytes())
		return err
	case frameGoAway:
		return errors.New("the server goes away")
	case frameReset, frameHeaders, frameContinuation, frameData:
		if id != stream {
			return fmt.Errorf("a frame of stream %d, which was not asked for", id)
		}
		return a.book(kind, flags, payload)
	}
	return nil
}

var errReset = errors.New("the server ended the call without an answer")

// book adds a frame of the stream.
func (a *answer) book(kind, flags byte, payload []byte) error {
	switch kind {
	case frameReset:
		return errReset
	case frameData:
		if a.body = append(a.body, payload...); len(a.body) > maxAnswer {
			return fmt.Errorf("an answer of over %d bytes", maxAnswer)
		}
		a.ended = flags&flagEndStream != 0
		return nil
	case frameHeaders:
		a.last = flags&flagEndStream != 0
	}
	if a.block = append(a.block, payload...); len(a.block) > maxAnswer {
		return fmt.Errorf("headers of over %d bytes", maxAnswer)
	}
	if flags&flagEndHeaders == 0 {
		return nil
	}
	decoded, err := a.fields.DecodeFull(a.block)
	if err != nil {
		return fmt.Errorf("reading headers: %w", err)
	}
	if a.headers == nil {
		a.headers = map[string]string{}
	}
	for _, f := range decoded {
		a.headers[f.Name] = f.Value
	}
	a.block, a.ended = nil, a.last
	return nil
}

// status is the server's, nil for OK.
func (a *answer) status() error {
	text, said := a.headers["grpc-status"]
	if !said {
		return status.Errorf(codes.Unavailable, "the server answered without a gRPC status (HTTP %s)", a.headers[":status"])
	}
	code, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return status.Errorf(codes.Unknown, "the server answered with gRPC status %q", text)
	}
	if codes.Code(code) == codes.OK {
		return nil
	}
	if details, ok := a.headers["grpc-status-details-bin"]; ok {
		var full spb.Status
		raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(details, "="))
		if err == nil && proto.Unmarshal(raw, &full) == nil && full.GetCode() == int32(code) {
			return status.FromProto(&full).Err()
		}
	}
	message, err := url.PathUnescape(a.headers["grpc-message"])
	if err != nil {
		message = a.headers["grpc-message"]
	}
	return status.Error(codes.Code(code), message)
}

// message reads the one message of a unary answer.
func (a *answer) message(out proto.Message) error {
	if len(a.body) < 5 {
		return fmt.Errorf("an answer of %d bytes; want a message", len(a.body))
	}
	if a.body[0] != 0 {
		return errors.New("the answer is compressed, which was not asked for")
	}
	if n := binary.BigEndian.Uint32(a.body[1:]); int(n) != len(a.body)-5 {
		return fmt.Errorf("a message of %d bytes in an answer of %d", n, len(a.body)-5)
	}
	if err := proto.Unmarshal(a.body[5:], out); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	return nil
}

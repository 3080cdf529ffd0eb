package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/ipamd/linux"
)

// batch sends many rtnetlink requests in one system call and collects their
// acknowledgements. The netlink library sends one request at a time.
type batch struct {
	socket *nl.NetlinkSocket
	seq    uint32
}

// ackTimeout bounds the wait for the kernel's answers. It is reached only when
// another process holds the RTNL lock for that long.
const ackTimeout = 15 * time.Second

// batchSize bounds how many requests are on their way at once: the kernel
// answers all of them before the call returns, and drops acknowledgements that
// do not fit into the socket's receive buffer.
const batchSize = 64

// send carries requests out in order and returns one result for each: nil or
// the kernel's error. A second error means that the answers did not come. The
// kernel goes on after a failed request.
func (b *batch) send(requests []*nl.NetlinkRequest) ([]error, error) {
	var results []error
	for part := range slices.Chunk(requests, batchSize) {
		r, err := b.sendPart(part)
		results = append(results, r...)
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

func (b *batch) sendPart(requests []*nl.NetlinkRequest) ([]error, error) {
	results := make([]error, len(requests))
	first := b.seq + 1
	var wire []byte
	for _, r := range requests {
		b.seq++
		r.Seq = b.seq
		wire = append(wire, r.Serialize()...)
	}
	if err := b.write(wire); err != nil {
		return results, fmt.Errorf("sending %d rtnetlink requests: %w", len(requests), err)
	}
	for left := len(requests); left > 0; {
		messages, err := b.receive()
		if err != nil {
			return results, fmt.Errorf("awaiting %d rtnetlink acknowledgements: %w", left, err)
		}
		for _, m := range messages {
			i := int(m.Header.Seq - first)
			if m.Header.Type != unix.NLMSG_ERROR || i < 0 || i >= len(requests) {
				continue
			}
			results[i] = ackError(m)
			left--
		}
	}
	return results, nil
}

func (b *batch) write(wire []byte) error {
	timeout := unix.NsecToTimeval(int64(ackTimeout))
	if err := b.socket.SetReceiveTimeout(&timeout); err != nil {
		return err
	}
	return unix.Sendto(b.socket.GetFd(), wire, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

func (b *batch) receive() ([]syscall.NetlinkMessage, error) {
	for {
		messages, _, err := b.socket.Receive()
		if !errors.Is(err, unix.EINTR) {
			return messages, err
		}
	}
}

// link asks for a link by its name; ENODEV if there is none.
func (b *batch) link(name string) (index int, mac linux.MAC, err error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	b.seq++
	req.Seq = b.seq
	if err := b.write(req.Serialize()); err != nil {
		return 0, mac, err
	}
	for {
		messages, err := b.receive()
		if err != nil {
			return 0, mac, err
		}
		for _, m := range messages {
			switch {
			case m.Header.Seq != req.Seq:
			case m.Header.Type == unix.NLMSG_ERROR:
				return 0, mac, ackError(m)
			default:
				return linkOf(m.Data)
			}
		}
	}
}

func linkOf(data []byte) (index int, mac linux.MAC, err error) {
	info := nl.DeserializeIfInfomsg(data)
	attrs, err := nl.ParseRouteAttr(data[info.Len():])
	for _, a := range attrs {
		if a.Attr.Type == unix.IFLA_ADDRESS && len(a.Value) == len(mac) {
			mac = linux.MAC(a.Value)
		}
	}
	return int(info.Index), mac, err
}

// ackError reads an acknowledgement: nil for success, otherwise the errno with
// the kernel's own words where it gave some (NETLINK_EXT_ACK).
func ackError(m syscall.NetlinkMessage) error {
	if len(m.Data) < 4 {
		return fmt.Errorf("rtnetlink sent a short acknowledgement of %d bytes", len(m.Data))
	}
	code := int32(binary.NativeEndian.Uint32(m.Data))
	if code == 0 {
		return nil
	}
	errno := unix.Errno(-code)
	if text := extAckText(m); text != "" {
		return fmt.Errorf("%w (%s)", errno, text)
	}
	return errno
}

// extAckText finds the attribute NLMSGERR_ATTR_MSG behind the echoed header
// (capped to 16 bytes when NLM_F_CAPPED is set).
func extAckText(m syscall.NetlinkMessage) string {
	if m.Header.Flags&unix.NLM_F_ACK_TLVS == 0 || len(m.Data) < 20 {
		return ""
	}
	skip := 20
	if m.Header.Flags&unix.NLM_F_CAPPED == 0 {
		skip = 4 + int(binary.NativeEndian.Uint32(m.Data[4:]))
	}
	if skip > len(m.Data) {
		return ""
	}
	attrs, err := nl.ParseRouteAttr(m.Data[skip:])
	if err != nil {
		return ""
	}
	for _, a := range attrs {
		if a.Attr.Type == unix.NLMSGERR_ATTR_MSG {
			return unix.ByteSliceToString(a.Value)
		}
	}
	return ""
}

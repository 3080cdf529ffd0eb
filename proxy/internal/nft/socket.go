package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// socket is a netlink socket of the network namespace that it was opened in.
// It is kept: closing one waits for an RCU grace period, 12 ms.
type socket struct {
	fd      int
	buf     []byte // for answers
	commits uint32 // transactions that the kernel carried out
}

// sendBuffer is the largest transaction, in bytes; the kernel takes as much
// from a privileged process whatever its limits are. receiveBuffer holds the
// errors of one.
const (
	sendBuffer    = 32 << 20
	receiveBuffer = 4 << 20
)

func dial() (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("opening a netlink socket: %w", err)
	}
	s := &socket{fd: fd, buf: make([]byte, 64<<10)}
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1),
	)
	if err != nil {
		s.close()
		return nil, fmt.Errorf("preparing a netlink socket: %w", err)
	}
	runtime.SetFinalizer(s, func(s *socket) { unix.Close(s.fd) })
	return s, nil
}

func (s *socket) close() error {
	runtime.SetFinalizer(s, nil)
	return unix.Close(s.fd)
}

// reply is one message from the kernel, without its header.
type reply struct {
	kind, flags uint16
	seq         uint32
	data        []byte
}

// receive reads what is there, one datagram.
func (s *socket) receive(buf []byte, flags int) ([]reply, error) {
	n, _, err := unix.Recvfrom(s.fd, buf, flags|unix.MSG_TRUNC)
	for errors.Is(err, unix.EINTR) {
		n, _, err = unix.Recvfrom(s.fd, buf, flags|unix.MSG_TRUNC)
	}
	if err != nil {
		return nil, err
	}
	if n > len(buf) {
		return nil, fmt.Errorf("a message of %d bytes, more than %d", n, len(buf))
	}
	var out []reply
	for rest := buf[:n]; len(rest) >= headerLen; {
		size := binary.NativeEndian.Uint32(rest)
		if size < headerLen || int(size) > len(rest) {
			return nil, fmt.Errorf("a message that says it has %d bytes, of %d", size, len(rest))
		}
		out = append(out, reply{
			kind: binary.NativeEndian.Uint16(rest[4:]), flags: binary.NativeEndian.Uint16(rest[6:]),
			seq: binary.NativeEndian.Uint32(rest[8:]), data: rest[headerLen:size],
		})
		rest = rest[min(int(align(size)), len(rest)):]
	}
	return out, nil
}

// commit sends a transaction. The kernel works it off before send returns, so
// that its answers are there by then. It is all or nothing.
func (s *socket) commit(b *batch) error {
	about := b.about
	data := b.finish()
	if err := unix.Sendto(s.fd, data, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("sending %d changes, %d bytes, to nf_tables: %w", len(about), len(data), err)
	}
	var first error
	acknowledged := false
	for {
		replies, err := s.receive(s.buf, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the answer of nf_tables: %w", err)
		}
		for _, r := range replies {
			err := r.err()
			acknowledged = acknowledged || err == nil
			if err == nil || first != nil {
				continue
			}
			what := "the transaction"
			if int(r.seq) < len(about) && about[r.seq] != "" {
				what = about[r.seq]
			}
			first = fmt.Errorf("%s: %w", what, err)
		}
	}
	if first == nil && !acknowledged {
		first = errors.New("nf_tables did not answer")
	}
	if first == nil {
		s.commits++
	}
	return first
}

// err is what an answer says; nil for an acknowledgement.
func (r reply) err() error {
	if r.kind != unix.NLMSG_ERROR || len(r.data) < 4 {
		return nil
	}
	if code := int32(binary.NativeEndian.Uint32(r.data)); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

// errInterrupted says that the table changed while it was read.
var errInterrupted = errors.New("changed while it was read")

// dump asks for a list, and gives each entry's attributes to f.
func (s *socket) dump(kind, flags uint16, attributes func(*batch), f func(attrs) error) error {
	b := &batch{}
	at := b.message(kind, unix.NLM_F_DUMP|flags, "")
	attributes(b)
	b.end(at)
	if err := unix.Sendto(s.fd, b.buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	var failed error
	for {
		replies, err := s.receive(s.buf, 0)
		if err != nil {
			return err
		}
		for _, r := range replies {
			if r.flags&unix.NLM_F_DUMP_INTR != 0 && failed == nil {
				failed = errInterrupted
			}
			switch {
			case r.kind == unix.NLMSG_DONE:
				return failed
			case r.kind == unix.NLMSG_ERROR:
				if err := r.err(); err != nil {
					return err
				}
				return failed
			case len(r.data) >= genLen && failed == nil:
				failed = f(attrs(r.data[genLen:]))
			}
		}
	}
}

// attrs are the attributes of a message.
type attrs []byte

// next takes the first attribute off; it is false at the end.
func (a *attrs) next() (kind uint16, value []byte, ok bool) {
	if len(*a) < 4 {
		return 0, nil, false
	}
	size := int(binary.NativeEndian.Uint16(*a))
	if size < 4 || size > len(*a) {
		return 0, nil, false
	}
	kind = binary.NativeEndian.Uint16((*a)[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
	value = (*a)[4:size]
	*a = (*a)[min(int(align(uint32(size))), len(*a)):]
	return kind, value, true
}

// get is the value of the first attribute of a kind; nil if there is none.
func (a attrs) get(kind uint16) []byte {
	for {
		k, v, ok := a.next()
		if !ok || k == kind {
			return v
		}
	}
}

// text is an attribute that holds a string.
func text(v []byte) string {
	for i, c := range v {
		if c == 0 {
			return string(v[:i])
		}
	}
	return string(v)
}

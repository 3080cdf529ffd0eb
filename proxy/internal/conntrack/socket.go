package conntrack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	// bufferLen holds what the kernel sends at once: 32 KiB of a listing.
	bufferLen = 64 << 10
	// patience is for how long an answer may be away, in seconds.
	patience = 10
)

// socket speaks netfilter netlink in the network namespace of the thread that
// made it. Messages are handed on as they arrive: libraries at hand collect a
// listing before they return it, which for a table of a million connections is
// hundreds of megabytes.
type socket struct {
	fd     int
	seq    uint32
	buffer []byte
}

func dial() (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	s := &socket{fd: fd, buffer: make([]byte, bufferLen)}
	if err := s.prepare(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *socket) prepare() error {
	return errors.Join(
		unix.Bind(s.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: patience}),
		// Errors come without the message that they are about.
		unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1),
	)
}

func (s *socket) close() { unix.Close(s.fd) }

// list asks for a listing and hands on what comes: the family and attributes
// of each entry, valid until the function returns. It returns errInterrupted
// if all was handed on, but the kernel does not vouch for its being all.
func (s *socket) list(ctx context.Context, request []byte, entry func(family uint8, attrs []byte) error) error {
	s.seq++
	binary.NativeEndian.PutUint32(request[8:], s.seq)
	if err := s.write(request); err != nil {
		return err
	}
	interrupted := false
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := s.read()
		if err != nil {
			return err
		}
		for len(more) > 0 {
			var m message
			if m, more, err = nextMessage(more); err != nil {
				return err
			}
			interrupted = interrupted || m.flags&unix.NLM_F_DUMP_INTR != 0
			switch {
			case m.seq != s.seq:
			case m.kind == unix.NLMSG_DONE && interrupted:
				return errors.Join(m.err(), errInterrupted)
			case m.kind == unix.NLMSG_DONE, m.kind == unix.NLMSG_ERROR:
				return m.err()
			case len(m.body) >= headerLen:
				if err := entry(m.body[0], m.body[headerLen:]); err != nil {
					return err
				}
			}
		}
	}
}

// send sends n messages at once, and says how many of them were about what was
// not there.
func (s *socket) send(batch []byte, n int) (missing int, err error) {
	first := s.seq + 1
	for at := 0; at < len(batch); at += int(binary.NativeEndian.Uint32(batch[at:])) {
		s.seq++
		binary.NativeEndian.PutUint32(batch[at+8:], s.seq)
		if s.seq == first+uint32(n)-1 {
			// The kernel answers what fails, and the last one in any case.
			batch[at+6] |= unix.NLM_F_ACK
		}
	}
	if err := s.write(batch); err != nil {
		return n, err
	}
	var refused []error
	for {
		more, err := s.read()
		if err != nil {
			return n, errors.Join(append(refused, err)...)
		}
		for len(more) > 0 {
			var m message
			if m, more, err = nextMessage(more); err != nil {
				return n, err
			}
			if m.kind != unix.NLMSG_ERROR {
				continue
			}
			switch err := m.err(); {
			case errors.Is(err, unix.ENOENT):
				missing++
			case err != nil:
				missing++
				refused = append(refused, err)
			}
			if m.seq == s.seq {
				return missing, errors.Join(refused...)
			}
		}
	}
}

func (s *socket) write(b []byte) error {
	for {
		_, err := unix.Write(s.fd, b) // to the kernel, without an address
		if err != unix.EINTR {
			return wrap("asking the kernel", err)
		}
	}
}

// read returns what the kernel sent, valid until the next call.
func (s *socket) read() ([]byte, error) {
	for {
		n, _, err := unix.Recvfrom(s.fd, s.buffer, unix.MSG_TRUNC)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return nil, fmt.Errorf("the kernel did not answer for %d s", patience)
		case err != nil:
			return nil, wrap("reading the kernel's answer", err)
		case n > len(s.buffer):
			return nil, fmt.Errorf("the kernel's answer has %d bytes: want at most %d", n, len(s.buffer))
		}
		return s.buffer[:n], nil
	}
}

func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// message is a netlink message.
type message struct {
	kind, flags uint16
	seq         uint32
	body        []byte
}

func nextMessage(b []byte) (m message, rest []byte, err error) {
	if len(b) < unix.NLMSG_HDRLEN {
		return m, nil, fmt.Errorf("the kernel's answer ends with %d bytes: want a header of %d", len(b), unix.NLMSG_HDRLEN)
	}
	n := int(binary.NativeEndian.Uint32(b))
	if n < unix.NLMSG_HDRLEN || n > len(b) {
		return m, nil, fmt.Errorf("the kernel's answer has a message of %d bytes in %d", n, len(b))
	}
	m = message{
		kind: binary.NativeEndian.Uint16(b[4:]), flags: binary.NativeEndian.Uint16(b[6:]),
		seq: binary.NativeEndian.Uint32(b[8:]), body: b[unix.NLMSG_HDRLEN:n],
	}
	return m, b[min(align(n), len(b)):], nil
}

// err is what a message of kind DONE or ERROR says; nil for success.
func (m message) err() error {
	if len(m.body) < 4 {
		return nil
	}
	if code := int32(binary.NativeEndian.Uint32(m.body)); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

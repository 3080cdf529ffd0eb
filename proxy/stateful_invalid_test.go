package proxy_test

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/proxy/service"
)

// TestOutOfWindow is K12: a segment that conntrack cannot place is not
// translated back. A client that received it would not know the sender, and
// its RST would end the connection, as it does where such segments pass.
func TestOutOfWindow(t *testing.T) {
	inEveryWay(t, func(w *world) {
		for _, drop := range []bool{true, false} {
			w.settings.DropInvalid = drop
			w.set(w.shop(service.TCP), w.ready("a")...)
			client := w.pods["d"]
			s := w.mustDial(client.Namespace, w.toCluster())
			w.inject(w.pods["a"], 8080, s)
			// What comes behind it comes after the answer to it.
			behind := w.newSender(w.pods["a"].Namespace, netip.AddrPortFrom(client.addr, 8080).String())
			behind.send("behind", "d")
			if err := errors.Join(s.works(), s.works()); (err == nil) != drop {
				t.Errorf("drop %v: the connection says %v", drop, err)
			}
		}
	})
}

// inject sends the client of a session a segment from the pod that serves it,
// far beyond the window.
func (w *world) inject(from *pod, port uint16, s session) {
	w.t.Helper()
	next, acked := w.sequence(s)
	client := s.LocalAddr().(*net.TCPAddr).AddrPort()
	segment := make([]byte, 20)
	binary.BigEndian.PutUint16(segment, port)
	binary.BigEndian.PutUint16(segment[2:], client.Port())
	binary.BigEndian.PutUint32(segment[4:], next+1<<30)
	binary.BigEndian.PutUint32(segment[8:], acked)
	segment[12], segment[13] = 5<<4, 0x18 // no options; ACK, PSH
	binary.BigEndian.PutUint16(segment[14:], 1000)
	segment = append(segment, "lost"...)
	binary.BigEndian.PutUint16(segment[16:], checksum(from.addr, client.Addr(), segment))
	from.Do(func() {
		family, to := unix.AF_INET, unix.Sockaddr(nil)
		if client.Addr().Is4() {
			to = &unix.SockaddrInet4{Addr: client.Addr().As4()}
		} else {
			family, to = unix.AF_INET6, &unix.SockaddrInet6{Addr: client.Addr().As16()}
		}
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		if err != nil {
			w.t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := unix.Sendto(fd, segment, 0, to); err != nil {
			w.t.Fatal(err)
		}
	})
}

// sequence is the number that the client wants next, and the one that it will
// send next.
func (w *world) sequence(s session) (next, send uint32) {
	w.t.Helper()
	raw, err := s.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		w.t.Fatal(err)
	}
	const receiveQueue, sendQueue, noProbe = 1, 2, -1
	var failed error
	queue := func(fd uintptr, q int) uint32 {
		failed = errors.Join(failed, unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR_QUEUE, q))
		seq, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUEUE_SEQ)
		failed = errors.Join(failed, err)
		return uint32(seq)
	}
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, 1)
		next, send = queue(fd, receiveQueue), queue(fd, sendQueue)
		failed = errors.Join(failed, unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, noProbe))
	})
	if err := errors.Join(err, failed); err != nil {
		w.t.Fatalf("asking for sequence numbers: %v", err)
	}
	return next, send
}

// checksum is that of a TCP segment of even length (RFC 9293, 3.1).
func checksum(src, dst netip.Addr, segment []byte) uint16 {
	sum := uint32(unix.IPPROTO_TCP) + uint32(len(segment))
	for _, part := range [][]byte{src.AsSlice(), dst.AsSlice(), segment} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

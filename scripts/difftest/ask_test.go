package difftest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// space is a network namespace with threads that stay in it.
type space struct {
	path string
	jobs chan func()
}

const threads = 24

// work starts the threads. They end with their namespace, so that none that
// entered it is used for anything else.
func (s *space) work(t *testing.T) {
	t.Helper()
	s.jobs = make(chan func(), 4096)
	ready := make(chan error)
	for range threads {
		go func() {
			runtime.LockOSThread() // and never unlock
			fd, err := unix.Open(s.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err == nil {
				err = unix.Setns(fd, unix.CLONE_NEWNET)
				unix.Close(fd)
			}
			ready <- err
			for job := range s.jobs {
				job()
			}
		}()
	}
	for range threads {
		if err := <-ready; err != nil {
			t.Fatalf("entering %s: %v", s.path, err)
		}
	}
	t.Cleanup(func() { close(s.jobs) })
}

// do runs f in the namespace.
func (s *space) do(f func()) {
	done := make(chan struct{})
	s.jobs <- func() { defer close(done); f() }
	<-done
}

// serve answers at an address, over TCP and UDP, with that address and the
// asker's.
func (s *space) serve(t *testing.T, address netip.AddrPort) {
	t.Helper()
	var l net.Listener
	var u *net.UDPConn
	var err, uerr error
	s.do(func() {
		l, err = net.Listen("tcp", address.String())
		u, uerr = net.ListenUDP("udp", net.UDPAddrFromAddrPort(address))
	})
	if err := errors.Join(err, uerr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); u.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			from := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
			fmt.Fprintf(c, "%s <- %s", address, from.Unmap())
			go func() { // the asker closes first
				c.SetDeadline(time.Now().Add(time.Second))
				c.Read(make([]byte, 1))
				c.Close()
			}()
		}
	}()
	go func() {
		buf := make([]byte, 16)
		for {
			_, from, err := u.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			u.WriteToUDPAddrPort(fmt.Appendf(nil, "%s <- %s", address, from.Addr().Unmap()), from)
		}
	}()
}

// What becomes of a connection that no endpoint answers.
const (
	refused = "refused"
	silence = "silence"
)

// ask connects once, from the thread's namespace and an address, which may be
// none.
func ask(protocol string, from netip.Addr, to netip.AddrPort, timeout time.Duration) string {
	d := net.Dialer{Timeout: timeout, FallbackDelay: -1}
	if from.IsValid() {
		if protocol == "udp" {
			d.LocalAddr = &net.UDPAddr{IP: from.AsSlice()}
		} else {
			d.LocalAddr = &net.TCPAddr{IP: from.AsSlice()}
		}
	}
	c, err := d.Dial(protocol, net.JoinHostPort(to.Addr().String(), strconv.Itoa(int(to.Port()))))
	if err != nil {
		return failure(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(timeout))
	if protocol == "udp" {
		// Where the node's own packet is dropped or refused, writing fails
		// with EPERM; only reading tells which of both.
		if _, err := c.Write([]byte("?")); err != nil && !errors.Is(err, syscall.EPERM) {
			return failure(err)
		}
	} else {
		c.(*net.TCPConn).SetLinger(0)
	}
	buf := make([]byte, 128)
	n, err := c.Read(buf)
	if err != nil {
		return failure(err)
	}
	return string(buf[:n])
}

func failure(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused
	case errors.As(err, &timeout) && timeout.Timeout():
		return silence
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

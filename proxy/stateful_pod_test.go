package proxy_test

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
)

// pod is a namespace that serves.
type pod struct {
	*nstest.Namespace
	addr     netip.Addr
	received chan string // by UDP
}

func (w *world) newPod(name string, addr netip.Addr) *pod {
	w.t.Helper()
	p := &pod{newHost(w.t), addr, make(chan string, 100)}
	nstest.Join(w.node, "eni"+name, p.Namespace, "eth0")
	mac := strings.TrimSpace(w.node.Run("cat", "/sys/class/net/eni"+name+"/address"))
	for _, args := range []string{
		"addr add " + netip.PrefixFrom(addr, addr.BitLen()).String() + " dev eth0 nodad",
		"route add " + w.gateway + " dev eth0",
		"route add default via " + w.gateway + " dev eth0",
		"neigh add " + w.gateway + " lladdr " + mac + " dev eth0 nud permanent",
	} {
		p.Run(append([]string{"ip"}, strings.Fields(args)...)...)
	}
	w.node.Run("ip", "route", "add", addr.String(), "dev", "eni"+name)
	w.serveTCP(p, name)
	w.serveUDP(p)
	return p
}

// serveTCP greets with the pod's name and the client's address, and sends back
// every line.
func (w *world) serveTCP(p *pod, name string) {
	w.t.Helper()
	var l net.Listener
	var err error
	p.Do(func() { l, err = net.Listen("tcp", netip.AddrPortFrom(p.addr, 8080).String()) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				client := conn.RemoteAddr().(*net.TCPAddr).IP
				fmt.Fprintf(conn, "%s sees %s\n", name, client)
				lines := bufio.NewScanner(conn)
				for lines.Scan() {
					fmt.Fprintln(conn, lines.Text())
				}
			}()
		}
	}()
}

func (w *world) serveUDP(p *pod) {
	w.t.Helper()
	var conn net.PacketConn
	var err error
	p.Do(func() { conn, err = net.ListenPacket("udp", netip.AddrPortFrom(p.addr, 8080).String()) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	go func() {
		b := make([]byte, 100)
		for {
			n, _, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			p.received <- string(b[:n])
		}
	}()
}

// session is a TCP connection from a namespace.
type session struct {
	net.Conn
	*bufio.Reader
	greeting string // "NAME sees ADDRESS"
}

// dial connects, and waits for the greeting.
func (w *world) dial(from *nstest.Namespace, to string) (session, error) {
	w.t.Helper()
	return w.dialFrom(from, nil, to)
}

func (w *world) dialFrom(from *nstest.Namespace, own net.Addr, to string) (s session, err error) {
	w.t.Helper()
	dialer := net.Dialer{Timeout: 5 * time.Second, LocalAddr: own}
	from.Do(func() { s.Conn, err = dialer.Dial("tcp", to) })
	if err != nil {
		return s, err
	}
	w.t.Cleanup(func() { s.Conn.Close() })
	s.Conn.SetDeadline(time.Now().Add(time.Minute))
	s.Reader = bufio.NewReader(s.Conn)
	line, err := s.ReadString('\n')
	s.greeting = strings.TrimSpace(line)
	return s, err
}

func (w *world) mustDial(from *nstest.Namespace, to string) session {
	w.t.Helper()
	s, err := w.dial(from, to)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// pod is the name in the greeting.
func (s session) pod() string {
	name, _, _ := strings.Cut(s.greeting, " ")
	return name
}

// works sends a line and wants it back.
func (s session) works() error {
	if _, err := s.Write([]byte("still there?\n")); err != nil {
		return err
	}
	line, err := s.ReadString('\n')
	if err == nil && line != "still there?\n" {
		return fmt.Errorf("received %q", line)
	}
	return err
}

// reached connects so many times, and counts who answers.
func (w *world) reached(from *nstest.Namespace, to string, times int) map[string]int {
	w.t.Helper()
	count := map[string]int{}
	for range times {
		s := w.mustDial(from, to)
		s.Conn.Close()
		count[s.pod()]++
	}
	return count
}

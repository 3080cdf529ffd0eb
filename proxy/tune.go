package proxy

import (
	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/proxy/internal/sysctl"
)

// Tuner sets the kernel's own settings as services need them: the size of the
// table of connections and how long idle ones stay, and for node ports on
// 127.0.0.1 net.ipv4.conf.all.route_localnet. The zero value is ready. It is
// not safe for concurrent use.
type Tuner struct {
	writer sysctl.Writer
}

// NewTuner returns one that writes below another directory, which shows the
// machine's /proc/sys/net and /sys/module: in a container these are read-only.
func NewTuner(writable string) *Tuner {
	return &Tuner{sysctl.Writer{Writable: writable}}
}

// Tune writes what differs, to the calling thread's network namespace. It says
// what it changed; and it names what it could not change, with the path, the
// value wanted and the value found, once for each. Such a failure is worth a
// warning and no more. Calling it again repairs.
func (t *Tuner) Tune(c config.Conntrack, localhostNodePorts bool) (changed, failed []string) {
	return t.writer.Write(sysctl.For(c, t.writer.Cores(), localhostNodePorts))
}

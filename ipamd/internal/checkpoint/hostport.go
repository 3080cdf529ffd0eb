package checkpoint

import (
	"fmt"
	"net/netip"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// portFile is a pool.HostPort as it is on disk.
type portFile struct {
	HostIP    string `json:"hostIP,omitempty"` // empty for all
	HostPort  uint16 `json:"hostPort"`
	Container uint16 `json:"containerPort"`
	Protocol  string `json:"protocol"`
}

func portFiles(ports []pool.HostPort) []portFile {
	var out []portFile
	for _, p := range ports {
		f := portFile{HostPort: p.Port, Container: p.Container, Protocol: p.Protocol}
		if p.Addr.IsValid() {
			f.HostIP = p.Addr.String()
		}
		out = append(out, f)
	}
	return out
}

func hostPorts(files []portFile) ([]pool.HostPort, error) {
	var out []pool.HostPort
	for _, f := range files {
		p := pool.HostPort{Port: f.HostPort, Container: f.Container, Protocol: f.Protocol}
		if f.HostIP != "" {
			var err error
			if p.Addr, err = netip.ParseAddr(f.HostIP); err != nil {
				return nil, fmt.Errorf("hostPorts: hostIP %q should be an IP address: %w", f.HostIP, err)
			}
		}
		out = append(out, p)
	}
	return out, nil
}

package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"time"
)

// Pings go on from a place, one after the other, until they are stopped.
type Pings struct {
	log *os.File
	cmd *exec.Cmd
}

// Ping starts to ask an echo server over UDP, again and again with a pause
// between. An answer that does not come within wait is a loss.
func (p Prober) Ping(target netip.AddrPort, pause, wait time.Duration) (*Pings, error) {
	log, err := os.CreateTemp(p.lab.dir, "ping-")
	if err != nil {
		return nil, err
	}
	const forever = 1 << 30
	args := append([]string{"exec", "--name", p.lab.Name, p.where, "--"}, p.prefix...)
	cmd := exec.Command(p.lab.bins.Vpcsim, append(args, p.lab.bins.Vpcsim, "probe", "udp", target.String(), "--json",
		"--count", fmt.Sprint(forever), "--interval", pause.String(), "--timeout", wait.String())...)
	cmd.Stdout = log
	if err := cmd.Start(); err != nil {
		log.Close()
		return nil, fmt.Errorf("starting pings from %s: %w", p.where, err)
	}
	return &Pings{log: log, cmd: cmd}, nil
}

// Count counts the answers, and returns the losses.
func (p *Pings) Count() (answered int, lost []Answer, err error) {
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		return 0, nil, err
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1] // the last line may be half written
	for line := range bytes.Lines(text) {
		var a Answer
		if err := json.Unmarshal(line, &a); err != nil {
			return 0, nil, fmt.Errorf("reading the ping's answer %q: %w", line, err)
		}
		if a.Fate() == Answered {
			answered++
		} else {
			lost = append(lost, a)
		}
	}
	return answered, lost, nil
}

// Stop ends the pings. One that is under way does not count.
func (p *Pings) Stop() {
	_ = p.cmd.Process.Kill() // it ends either way
	_ = p.cmd.Wait()
	p.log.Close()
}

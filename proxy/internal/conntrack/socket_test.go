package conntrack

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// answer is a netlink message, as a kernel would answer.
type answer struct {
	kind, flags uint16
	code        int32 // of DONE and ERROR
	stranger    bool  // to another request
}

// fakeKernel answers each request with the next of the answers, one after
// another, and says how many requests came.
func fakeKernel(t *testing.T, answers ...[]answer) (s *socket, requests func() int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s = &socket{fd: pair[0], buffer: make([]byte, bufferLen)}
	ended, n := make(chan bool), 0
	go func() {
		defer close(ended)
		request := make([]byte, 4096)
		for {
			read, err := unix.Read(pair[1], request)
			if err != nil || read < unix.NLMSG_HDRLEN || n == len(answers) {
				return
			}
			seq := binary.NativeEndian.Uint32(request[8:])
			for _, a := range answers[n] {
				if _, err := unix.Write(pair[1], a.bytes(seq)); err != nil {
					return
				}
			}
			n++
		}
	}()
	requests = func() int {
		s.close()
		<-ended
		return n
	}
	t.Cleanup(func() { unix.Close(pair[1]) })
	return s, requests
}

func (a answer) bytes(seq uint32) []byte {
	if a.stranger {
		seq += 100
	}
	b := make([]byte, unix.NLMSG_HDRLEN, 64)
	b = binary.NativeEndian.AppendUint32(b, uint32(a.code))
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], a.kind)
	binary.NativeEndian.PutUint16(b[6:], a.flags)
	binary.NativeEndian.PutUint32(b[8:], seq)
	return b
}

func TestListings(t *testing.T) {
	done := answer{kind: unix.NLMSG_DONE}
	flow := answer{kind: getFlow}
	torn := answer{kind: getFlow, flags: unix.NLM_F_DUMP_INTR}
	refused := func(e unix.Errno) answer { return answer{kind: unix.NLMSG_ERROR, code: -int32(e)} }
	tests := []struct {
		name     string
		answers  [][]answer
		want     error
		requests int
	}{
		{"as asked", [][]answer{{flow, flow, done}}, nil, 1},
		{"what an earlier request left", [][]answer{{{kind: unix.NLMSG_DONE, stranger: true}, flow, done}}, nil, 1},
		{"interrupted once", [][]answer{{torn, flow, done}, {flow, done}}, nil, 2},
		{"interrupted always", [][]answer{{torn, done}, {flow, torn, done}, {torn, done}, {done}}, errInterrupted, 3},
		{"no filter known", [][]answer{{refused(unix.EINVAL)}, {flow, done}}, nil, 2},
		{"no filter for this family", [][]answer{{refused(unix.EOPNOTSUPP)}, {flow, done}}, nil, 2},
		{"not allowed", [][]answer{{refused(unix.EPERM)}, {flow, done}}, unix.EPERM, 1},
		{"failed at the end", [][]answer{{flow, {kind: unix.NLMSG_DONE, code: -int32(unix.ENOMEM)}}}, unix.ENOMEM, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, requests := fakeKernel(t, tt.answers...)
			c := cleaner{dump: s}
			if err := c.clean(t.Context(), filter{family: unix.AF_INET, port: 53}); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if got := requests(); got != tt.requests {
				t.Errorf("%d requests, want %d", got, tt.requests)
			}
		})
	}
}

// TestDeletions counts what was deleted when the kernel refuses some: only
// what fails is answered, and the last one.
func TestDeletions(t *testing.T) {
	refuse := func(e unix.Errno) answer { return answer{kind: unix.NLMSG_ERROR, code: -int32(e)} }
	for _, tt := range []struct {
		name    string
		answers []answer
		deleted int
		want    error
	}{
		{"deleted", []answer{refuse(0)}, 1, nil},
		{"gone", []answer{refuse(unix.ENOENT)}, 0, nil},
		{"busy", []answer{refuse(unix.EBUSY)}, 0, unix.EBUSY},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := fakeKernel(t, tt.answers)
			c := cleaner{kill: s, batch: appendDelete(nil, unix.AF_INET, entry{}), batched: 1}
			if err := c.flush(); !errors.Is(err, tt.want) || c.deleted != tt.deleted {
				t.Errorf("deleted %d, %v", c.deleted, err)
			}
		})
	}
}

// FuzzParse reads whatever comes without going astray.
func FuzzParse(f *testing.F) {
	nested := func(kind uint16, parts ...[]byte) []byte {
		return appendNested(nil, kind, func(b []byte) []byte {
			for _, p := range parts {
				b = append(b, p...)
			}
			return b
		})
	}
	tuple := func(kind uint16) []byte {
		return nested(kind,
			nested(ctaTupleIP, appendAttr(nil, ctaIPv4Src, []byte{192, 168, 1, 9}), appendAttr(nil, ctaIPv4Dst, []byte{10, 100, 0, 1})),
			nested(ctaTupleProto, appendAttr(nil, ctaProtoNum, []byte{unix.IPPROTO_UDP}),
				appendAttr(nil, ctaProtoSrcPort, []byte{1, 2}), appendAttr(nil, ctaProtoDstPort, []byte{0, 53})))
	}
	whole := append(tuple(ctaTupleOrig), tuple(ctaTupleReply)...)
	whole = append(whole, appendAttr(nil, ctaID, []byte{1, 2, 3, 4})...)
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	if e, ok := parseEntry(whole); !ok || e.flow.To != at("10.100.0.1:53") || e.flow.From != at("192.168.1.9:258") || e.protocol != unix.IPPROTO_UDP {
		f.Fatalf("%+v, %v", e, ok)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, ok := parseEntry(b)
		if ok && (!e.flow.To.IsValid() || !e.flow.From.IsValid()) {
			t.Errorf("%+v is taken for a flow", e)
		}
		for rest := b; len(rest) > 0; {
			var err error
			if _, rest, err = nextMessage(rest); err != nil {
				break
			}
		}
	})
}

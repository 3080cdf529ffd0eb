package unary

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Frames, flags and settings of HTTP/2 (RFC 9113, sections 6 and 6.5.2).
const (
	frameData         = 0
	frameHeaders      = 1
	frameReset        = 3
	frameSettings     = 4
	framePing         = 6
	frameGoAway       = 7
	frameWindow       = 8
	frameContinuation = 9

	flagAck        = 0x1
	flagEndStream  = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20

	settingPush   = 2
	settingWindow = 4

	maxFrame = 16 << 10 // payload bytes; the default, which we do not change
)

func frame(to *bytes.Buffer, kind, flags byte, stream uint32, payload []byte) {
	n := len(payload)
	to.Write([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags})
	to.Write(binary.BigEndian.AppendUint32(nil, stream))
	to.Write(payload)
}

func setting(id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, id), value)
}

// readFrame reads one frame and takes its padding off.
func readFrame(in io.Reader) (kind, flags byte, stream uint32, payload []byte, err error) {
	var head [9]byte
	if _, err = io.ReadFull(in, head[:]); err != nil {
		return
	}
	n := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	if n > maxFrame {
		err = fmt.Errorf("a frame of %d bytes; at most %d are allowed", n, maxFrame)
		return
	}
	kind, flags = head[3], head[4]
	stream = binary.BigEndian.Uint32(head[5:]) & (1<<31 - 1)
	payload = make([]byte, n)
	if _, err = io.ReadFull(in, payload); err != nil {
		return
	}
	if kind == frameData || kind == frameHeaders {
		payload, err = unpad(kind, flags, payload)
	}
	return
}

func unpad(kind, flags byte, payload []byte) ([]byte, error) {
	pad := 0
	if flags&flagPadded != 0 {
		if len(payload) == 0 {
			return nil, fmt.Errorf("a padded frame without its length")
		}
		pad, payload = int(payload[0]), payload[1:]
	}
	if kind == frameHeaders && flags&flagPriority != 0 {
		if len(payload) < 5 {
			return nil, fmt.Errorf("a priority of %d bytes; want 5", len(payload))
		}
		payload = payload[5:]
	}
	if pad > len(payload) {
		return nil, fmt.Errorf("%d bytes of padding in a frame of %d", pad, len(payload))
	}
	return payload[:len(payload)-pad], nil
}

package nft

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Generation is the number of the ruleset of the calling thread's network
// namespace. Every transaction of anyone moves it on.
func Generation() (uint32, error) {
	id, err := generation()
	if err != nil {
		return 0, fmt.Errorf("asking nf_tables for the ruleset's generation: %w", err)
	}
	return id, nil
}

func generation() (uint32, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	const nfgenmsg = 4 // bytes: family, version, resource; all zero
	replies, err := conn.Execute(netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN),
			Flags: netlink.Request,
		},
		Data: make([]byte, nfgenmsg),
	})
	if err != nil {
		return 0, err
	}
	for _, m := range replies {
		if len(m.Data) < nfgenmsg {
			continue
		}
		attributes, err := netlink.NewAttributeDecoder(m.Data[nfgenmsg:])
		if err != nil {
			return 0, err
		}
		attributes.ByteOrder = binary.BigEndian
		for attributes.Next() {
			if attributes.Type() == unix.NFTA_GEN_ID {
				return attributes.Uint32(), attributes.Err()
			}
		}
	}
	return 0, fmt.Errorf("the answer holds no generation")
}

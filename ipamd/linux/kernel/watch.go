package kernel

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Watch calls changed whenever a link, route or rule of the caller's network
// namespace changes, by anyone's hand, until ctx ends; it then returns nil.
// One call may stand for many changes, also for ones that the kernel had no
// room to report.
func Watch(ctx context.Context, changed func()) error {
	return watch(ctx, changed, unix.NETLINK_ROUTE,
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV6_RULE)
}

// WatchNetfilter does the same for nftables, which iptables-nft writes to.
// Legacy iptables notifies nobody.
func WatchNetfilter(ctx context.Context, changed func()) error {
	return watch(ctx, changed, unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES)
}

func watch(ctx context.Context, changed func(), protocol int, groups ...uint) error {
	socket, err := nl.Subscribe(protocol, groups...)
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		<-ctx.Done() // this kernel has nothing of the kind that could change
		return nil
	}
	if err != nil {
		return fmt.Errorf("subscribing to netlink notifications: %w", err)
	}
	defer socket.Close()
	// A short receive timeout, rather than closing the socket under the
	// reader, lets the end of ctx be noticed.
	timeout := unix.NsecToTimeval(200e6)
	if err := socket.SetReceiveTimeout(&timeout); err != nil {
		return fmt.Errorf("setting the netlink timeout: %w", err)
	}
	changed() // what happened before the subscription
	for ctx.Err() == nil {
		_, _, err := socket.Receive()
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		case err == nil || errors.Is(err, unix.ENOBUFS):
			changed()
		default:
			return fmt.Errorf("reading netlink notifications: %w", err)
		}
	}
	return nil
}

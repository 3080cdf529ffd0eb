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
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE,
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV6_RULE)
	if err != nil {
		return fmt.Errorf("subscribing to rtnetlink: %w", err)
	}
	defer socket.Close()
	// A short receive timeout, rather than closing the socket under the
	// reader, lets the end of ctx be noticed.
	timeout := unix.NsecToTimeval(200e6)
	if err := socket.SetReceiveTimeout(&timeout); err != nil {
		return fmt.Errorf("setting the rtnetlink timeout: %w", err)
	}
	changed() // what happened before the subscription
	for ctx.Err() == nil {
		_, _, err := socket.Receive()
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		case err == nil || errors.Is(err, unix.ENOBUFS):
			changed()
		default:
			return fmt.Errorf("reading rtnetlink notifications: %w", err)
		}
	}
	return nil
}

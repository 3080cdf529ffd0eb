package nft

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/proxy/service"
)

// DeleteTable deletes a table of a family with all that it holds, and says
// whether it was there.
func DeleteTable(f service.Family, name string) (bool, error) {
	family := nftables.TableFamilyIPv4
	if f == service.IPv6 {
		family = nftables.TableFamilyIPv6
	}
	conn, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("opening nf_tables: %w", err)
	}
	conn.DelTable(&nftables.Table{Name: name, Family: family})
	if err := conn.Flush(); errors.Is(err, unix.ENOENT) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("deleting table %s of %s: %w", name, f, err)
	}
	return true, nil
}

package nft

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/proxy/service"
)

// HasTable says whether there is a table of a family.
func HasTable(f service.Family, name string) (bool, error) {
	conn, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("opening nf_tables: %w", err)
	}
	tables, err := conn.ListTablesOfFamily(familyOf(f))
	if err != nil {
		return false, fmt.Errorf("listing tables of %s: %w", f, err)
	}
	return slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == name }), nil
}

// Holds says whether our table is there with services in it, and with external
// SNAT or the connection mark.
func Holds() (services, nat bool, err error) {
	conn, err := nftables.New()
	if err != nil {
		return false, false, fmt.Errorf("opening nf_tables: %w", err)
	}
	chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return false, false, fmt.Errorf("listing chains: %w", err)
	}
	for _, c := range chains {
		if c.Table.Name == tableName {
			services = services || c.Name == servicesChain
			nat = nat || c.Name == outboundChain || c.Name == connectionMarks
		}
	}
	return services, nat, nil
}

func familyOf(f service.Family) nftables.TableFamily {
	if f == service.IPv6 {
		return nftables.TableFamilyIPv6
	}
	return nftables.TableFamilyIPv4
}

// DeleteTable deletes a table of a family with all that it holds, and says
// whether it was there.
func DeleteTable(f service.Family, name string) (bool, error) {
	conn, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("opening nf_tables: %w", err)
	}
	conn.DelTable(&nftables.Table{Name: name, Family: familyOf(f)})
	if err := conn.Flush(); errors.Is(err, unix.ENOENT) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("deleting table %s of %s: %w", name, f, err)
	}
	return true, nil
}

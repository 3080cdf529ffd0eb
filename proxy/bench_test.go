package proxy

import (
	"testing"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
)

// BenchmarkUntouched is what a look every few seconds costs.
func BenchmarkUntouched(b *testing.B) {
	benchmark(b, func(p *Proxy) error { _, _, err := p.Untouched(); return err })
}

// BenchmarkSyncNothing is a Sync that finds nothing to do.
func BenchmarkSyncNothing(b *testing.B) {
	benchmark(b, func(p *Proxy) error { _, err := p.Sync(b.Context(), nodeNAT()); return err })
}

func benchmark(b *testing.B, f func(*Proxy) error) {
	for _, v := range []Variant{NFT, Legacy} {
		b.Run(string(v), func(b *testing.B) {
			p := New(IPTables, v)
			nstest.New(b).Do(func() {
				if _, err := p.Sync(b.Context(), nodeNAT()); err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					if err := f(p); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

package ec2api

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fault"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/reqlog"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

// FuzzRequest sends any body to the server: it must answer, and blame the
// client rather than itself.
func FuzzRequest(f *testing.F) {
	for _, action := range fault.Actions() {
		f.Add("Action=" + action + "&NetworkInterfaceId=eni-1&Filter.1.Name=tag:x&Filter.1.Value.1=*&MaxResults=5")
	}
	f.Add("Action=CreateNetworkInterface&SubnetId=x&PrivateIpAddresses.1.PrivateIpAddress=::&Ipv4Prefix.2.Ipv4Prefix=10.0.0.0/28")
	f.Add("Action=DescribeVpcs&Filter.99999999999999999999.Name=x&Filter.-1.Name=y&Filter.01.Name=z")
	topo, err := topology.Parse([]byte("{profile: none, throttle: {enabled: false}}"))
	if err != nil {
		f.Fatal(err)
	}
	m, err := vpc.New(topo)
	if err != nil {
		f.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s := New(m, fault.NewEngine(1), reqlog.New(nil, log), log)
	f.Fuzz(func(t *testing.T, body string) {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
		if w.Code >= 500 {
			t.Errorf("%q: %d %s", body, w.Code, w.Body)
		}
	})
}

// FuzzFilter holds that a filter whose value is the item's own text, escaped,
// matches it, and that matching any pattern ends.
func FuzzFilter(f *testing.F) {
	f.Add("name", "value", "*")
	f.Add("a*b", `\`, "?*?")
	escape := strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`)
	f.Fuzz(func(t *testing.T, key, value, pattern string) {
		if len(pattern) > 100 || strings.ToValidUTF8(value, "") != value {
			return
		}
		items := []map[string]string{{key: value}}
		tags := func(m map[string]string) map[string]string { return m }
		got, err := choose(items, []filter{{"tag:" + key, []string{"\x00", escape.Replace(value)}}}, nil, tags)
		if err != nil || len(got) != 1 {
			t.Errorf("tag:%q=%q does not match itself: %v", key, value, err)
		}
		if _, err := choose(items, []filter{{"tag-key", []string{pattern}}}, nil, tags); err != nil {
			t.Error(err)
		}
	})
}

func TestForm(t *testing.T) {
	f := newForm(url.Values{
		"A.2": {"two"}, "A.10": {"ten"}, "A.1": {"one"}, "A.01": {"bad"}, "A.x": {"bad"},
		"S.1.K": {"k1"}, "S.2.K": {"k2"}, "S.2.V": {"v2"}, "N": {"7"}, "B": {"TRUE"},
	})
	if got := strings.Join(f.texts("A"), " "); got != "one two ten" {
		t.Errorf("list %q", got)
	}
	if got := strings.Join(f.fields("S", "K"), " "); got != "k1 k2" {
		t.Errorf("fields %q", got)
	}
	if f.number("N") != 7 || !f.on("B") || f.on("absent") || f.flag("absent") != nil {
		t.Error("number or flag read wrongly")
	}
	if err := f.done(); err == nil || err.Error() != "UnknownParameter: The parameter A.01 is not recognized" {
		t.Errorf("leftovers: %v", err)
	}
}

package kubeapi

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const pods, events = "/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/events"

func TestPodsOfANode(t *testing.T) {
	a := serve(t)
	for name, node := range map[string]string{"a": "n1", "b": "n2", "c": ""} {
		a.must("POST", pods, fmt.Sprintf(`{"metadata": {"name": %q}, "spec": {"nodeName": %q}}`, name, node))
	}
	for query, want := range map[string][]string{
		"spec.nodeName%3Dn1":                         {"a"},
		"spec.nodeName%3D":                           {"c"},
		"spec.nodeName!%3Dn1,status.phase%3DPending": {"b", "c"},
		"status.phase%3DRunning":                     nil,
	} {
		if diff := cmp.Diff(want, names(a.must("GET", "/api/v1/pods?fieldSelector="+query, ""))); diff != "" {
			t.Errorf("%s (-want +got)\n%s", query, diff)
		}
	}
	watch := a.watch("/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dn1")
	watch.want("ADDED a")
	a.must("PUT", pods+"/c", `{"metadata": {"name": "c"}, "spec": {"nodeName": "n1"}}`) // scheduled
	a.must("PUT", pods+"/c/status", `{"status": {"phase": "Running", "podIP": "10.0.0.9"}}`)
	a.must("DELETE", pods+"/a", "")
	watch.want("ADDED c", "MODIFIED c", "DELETED a")
}

// TestEventsGrow has an event written as daemons write it.
func TestEventsGrow(t *testing.T) {
	a := serve(t)
	a.must("POST", events, `{"metadata": {"name": "a.1"}, "involvedObject": {"kind": "Pod", "namespace": "default", "name": "a", "uid": "u"},
		"reason": "SubnetFull", "message": "one", "type": "Warning", "count": 1, "source": {"component": "causeway"}}`)
	status, out := a.do("PATCH", events+"/a.1", "application/merge-patch+json", `{"count": 2, "message": "two"}`)
	if status != 200 || number(out, "count") != 2 || text(out, "message") != "two" || text(out, "reason") != "SubnetFull" {
		t.Errorf("patched %d %v", status, out)
	}
	for query, want := range map[string][]string{
		"involvedObject.name%3Da,involvedObject.namespace%3Ddefault,involvedObject.kind%3DPod,involvedObject.uid%3Du": {"a.1"},
		"reason%3DSubnetFull,type%3DWarning,source%3Dcauseway":                                                        {"a.1"},
		"involvedObject.kind%3DNode": nil,
	} {
		if diff := cmp.Diff(want, names(a.must("GET", "/api/v1/events?fieldSelector="+query, ""))); diff != "" {
			t.Errorf("%s (-want +got)\n%s", query, diff)
		}
	}
	if status, out := a.do("PATCH", events+"/gone", "application/merge-patch+json", `{"count": 2}`); status != 404 || out["reason"] != "NotFound" {
		t.Errorf("an event that is not there: %d %v", status, out)
	}
}

// TestENIConfigs also has a cluster in which nobody defined them.
func TestENIConfigs(t *testing.T) {
	a := serve(t)
	const path = "/apis/crd.k8s.amazonaws.com/v1alpha1/eniconfigs"
	a.must("POST", path, `{"metadata": {"name": "us-west-2a"}, "spec": {"subnet": "subnet-1", "securityGroups": ["sg-1"]}}`)
	if _, err := a.inner.Apply(map[string]any{"kind": "ENIConfig", "metadata": map[string]any{"name": "us-west-2b"}}); err != nil {
		t.Error(err)
	}
	list := a.must("GET", path, "")
	if diff := cmp.Diff([]string{"us-west-2a", "us-west-2b"}, names(list)); diff != "" || list["apiVersion"] != "crd.k8s.amazonaws.com/v1alpha1" ||
		text(child(maps(list, "items")[0], "spec"), "subnet") != "subnet-1" {
		t.Errorf("%v (-want +got)\n%s", list, diff)
	}
	a.fault(`{action: Kubernetes/list/eniconfigs, effect: {error: {status: 404, code: NotFound}}}`)
	if status, out := a.do("GET", path, "", ""); status != 404 || out["reason"] != "NotFound" {
		t.Errorf("undefined: %d %v", status, out)
	}
}

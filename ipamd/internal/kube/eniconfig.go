package kube

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/causeway-cni/causeway/ipamd/internal/demand"
)

// eniConfigs is the group of aws-node's ENIConfigs, which live on with us.
var eniConfigs = schema.GroupVersion{Group: "crd.k8s.amazonaws.com", Version: "v1alpha1"}

// eniConfig is what we read of an ENIConfig.
type eniConfig struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Subnet         string   `json:"subnet"`
		SecurityGroups []string `json:"securityGroups"`
	} `json:"spec"`
}

type eniConfigList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []eniConfig `json:"items"`
}

// DeepCopyObject implements runtime.Object.
func (e *eniConfig) DeepCopyObject() runtime.Object {
	out := *e
	out.ObjectMeta = *e.ObjectMeta.DeepCopy()
	out.Spec.SecurityGroups = slices.Clone(e.Spec.SecurityGroups)
	return &out
}

// DeepCopyObject implements runtime.Object.
func (l *eniConfigList) DeepCopyObject() runtime.Object {
	out := *l
	out.ListMeta = *l.ListMeta.DeepCopy()
	out.Items = nil
	for i := range l.Items {
		out.Items = append(out.Items, *l.Items[i].DeepCopyObject().(*eniConfig))
	}
	return &out
}

func addENIConfigs(scheme *runtime.Scheme) {
	scheme.AddKnownTypeWithName(eniConfigs.WithKind("ENIConfig"), &eniConfig{})
	scheme.AddKnownTypeWithName(eniConfigs.WithKind("ENIConfigList"), &eniConfigList{})
	metav1.AddToGroupVersion(scheme, eniConfigs)
}

func toENIConfig(o *eniConfig) demand.ENIConfig {
	return demand.ENIConfig{Name: o.Name, Subnet: o.Spec.Subnet, SecurityGroups: o.Spec.SecurityGroups}
}

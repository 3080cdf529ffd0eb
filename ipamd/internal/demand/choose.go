package demand

// ExternalConfigLabel is the label of a Node that names its ENIConfig before
// everything else (aws-node's, for tools that label nodes).
const ExternalConfigLabel = "vpc.amazonaws.com/externalEniConfig"

// DefaultConfig is the ENIConfig of nodes that nothing else names one for.
const DefaultConfig = "default"

// Choice is the ENIConfig that applies to the node.
type Choice struct {
	Name string // as it was named
	By   string // what named it, for messages
	// Config is the ENIConfig; only if Found.
	Config ENIConfig
	// Found: there is an ENIConfig of that name. A name that the Node gives is
	// never replaced by another one: its pods would be in the wrong network.
	Found bool
}

// Choose finds the ENIConfig that applies to the node, in aws-node's order:
// the external label, the annotation (ENI_CONFIG_ANNOTATION_DEF), the label
// (ENI_CONFIG_LABEL_DEF), "default"; a value that is empty names none. Before
// "default" comes an ENIConfig that is named as the node's zone, if there is
// one, for which aws-node wants the zone's label as ENI_CONFIG_LABEL_DEF.
func (c *Cluster) Choose(annotation, label string) Choice {
	var node Node
	if c.node != nil {
		node = *c.node
	}
	choice := Choice{Name: DefaultConfig, By: "nothing else names one"}
	if _, ok := c.configs[node.Zone]; ok && node.Zone != "" {
		choice = Choice{Name: node.Zone, By: "the node's zone"}
	}
	for _, each := range []Choice{
		{Name: node.Labels[label], By: "label " + label},
		{Name: node.Annotations[annotation], By: "annotation " + annotation},
		{Name: node.Labels[ExternalConfigLabel], By: "label " + ExternalConfigLabel},
	} {
		if each.Name != "" {
			choice = each
		}
	}
	choice.Config, choice.Found = c.configs[choice.Name]
	return choice
}

package ec2api

import (
	"slices"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/awserr"
)

// tagSpecification reads the tags for a resource that is being created.
func (f form) tagSpecification(resource string) map[string]string {
	tags := map[string]string{}
	for _, spec := range f.structs("TagSpecification") {
		if kind := spec.required("ResourceType"); kind != "" && kind != resource {
			f.fail(awserr.New("InvalidParameterValue", "'%s' is not a valid taggable resource type for this operation.", kind))
		}
		for _, t := range spec.structs("Tag") {
			tags[t.required("Key")] = t.text("Value")
		}
	}
	return tags
}

// resources reads the ids that tags are for.
func (f form) resources() []string {
	ids := f.texts("ResourceId")
	if len(ids) == 0 {
		f.fail(awserr.Missing("ResourceId"))
	}
	if len(ids) > 1000 {
		f.fail(awserr.New("InvalidParameterValue", "The request names %d resources, at most 1000 are allowed", len(ids)))
	}
	return ids
}

func (s *Server) createTags(c *call) (reply, error) {
	ids, tags := c.resources(), map[string]string{}
	for _, t := range c.structs("Tag") {
		tags[t.required("Key")] = t.text("Value")
	}
	if len(tags) == 0 {
		c.fail(awserr.Missing("Tag"))
	}
	if err := c.dry(); err != nil {
		return nil, err
	}
	if err := s.model.CreateTags(c.Call, ids, tags); err != nil {
		return nil, err
	}
	return done()
}

func (s *Server) deleteTags(c *call) (reply, error) {
	ids, tags := c.resources(), map[string]*string{}
	for _, t := range c.structs("Tag") {
		key := t.required("Key")
		tags[key] = nil
		if v, ok := t.lookup("Value"); ok {
			tags[key] = &v
		}
	}
	if err := c.dry(); err != nil {
		return nil, err
	}
	if err := s.model.DeleteTags(c.Call, ids, tags); err != nil {
		return nil, err
	}
	return done()
}

type describeTagsReply struct {
	head
	Tags      *list[resourceTagXML] `xml:"tagSet"`
	NextToken string                `xml:"nextToken,omitempty"`
}

type resourceTagXML struct {
	ResourceID   string `xml:"resourceId"`
	ResourceType string `xml:"resourceType"`
	Key          string `xml:"key"`
	Value        string `xml:"value"`
}

func (s *Server) describeTags(c *call) (reply, error) {
	filters := c.filters()
	p := c.page(5, 1000)
	if err := c.dry(); err != nil {
		return nil, err
	}
	all := s.allTags(time.Duration(c.effect.Stale))
	chosen, err := choose(all, filters, fields[resourceTagXML]{
		"resource-id":   one(func(t resourceTagXML) string { return t.ResourceID }),
		"resource-type": one(func(t resourceTagXML) string { return t.ResourceType }),
		"key":           one(func(t resourceTagXML) string { return t.Key }),
		"value":         one(func(t resourceTagXML) string { return t.Value }),
	}, func(t resourceTagXML) map[string]string { return map[string]string{t.Key: t.Value} })
	if err != nil {
		return nil, err
	}
	items, next := cut(chosen, p, s.topo.PageLimit, tagOrder)
	return &describeTagsReply{Tags: &list[resourceTagXML]{items}, NextToken: next}, nil
}

func tagOrder(t resourceTagXML) string { return t.ResourceID + "\x00" + t.Key }

func (s *Server) allTags(stale time.Duration) []resourceTagXML {
	var out []resourceTagXML
	add := func(id, kind string, tags map[string]string) {
		for k, v := range tags {
			out = append(out, resourceTagXML{id, kind, k, v})
		}
	}
	for _, e := range s.model.Described(stale) {
		add(e.ID, "network-interface", e.Tags)
	}
	for _, i := range s.model.Instances() {
		add(i.ID, "instance", i.Tags)
	}
	for _, n := range s.model.Subnets() {
		add(n.ID, "subnet", n.Tags)
	}
	for _, g := range s.model.Groups() {
		add(g.ID, "security-group", g.Tags)
	}
	v := s.model.VPC()
	add(v.ID, "vpc", v.Tags)
	slices.SortFunc(out, func(a, b resourceTagXML) int { return strings.Compare(tagOrder(a), tagOrder(b)) })
	return out
}

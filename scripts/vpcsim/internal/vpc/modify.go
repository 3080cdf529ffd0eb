package vpc

import (
	"strings"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/awserr"
)

// ModifyInput holds the attributes of an ENI that can change. Exactly one is
// set.
type ModifyInput struct {
	Groups              []string
	SourceDestCheck     *bool
	Description         *string
	DeleteOnTermination *bool
	AttachmentID        string // goes with DeleteOnTermination
	ConnectionTracking  *ConnectionTracking
	Other               bool // an attribute that the model keeps no state of
}

func (in ModifyInput) attributes() int {
	n := 0
	for _, set := range []bool{
		len(in.Groups) > 0, in.SourceDestCheck != nil, in.Description != nil,
		in.DeleteOnTermination != nil || in.AttachmentID != "", in.ConnectionTracking != nil, in.Other,
	} {
		if set {
			n++
		}
	}
	return n
}

// ModifyNetworkInterface changes one attribute of an ENI.
func (m *Model) ModifyNetworkInterface(c Call, id string, in ModifyInput) error {
	defer m.lock()()
	r, err := m.yours(id)
	if err != nil {
		return err
	}
	switch in.attributes() {
	case 0:
		return awserr.New("MissingParameter", "The request must contain an attribute to modify")
	case 1:
	default:
		return awserr.New("InvalidParameterCombination", "You can specify only one attribute at a time")
	}
	switch {
	case len(in.Groups) > 0:
		if r.Groups, err = m.regroup(r, in.Groups); err != nil {
			return err
		}
	case in.SourceDestCheck != nil:
		r.SourceDestCheck = *in.SourceDestCheck
	case in.Description != nil:
		r.Description = *in.Description
	case in.ConnectionTracking != nil:
		r.ConnectionTracking = *in.ConnectionTracking
	case in.Other:
	default:
		if err := r.keep(in); err != nil {
			return err
		}
	}
	m.commit(r, c)
	return nil
}

// regroup returns the new groups, or the old ones with the error.
func (m *Model) regroup(r *record, ids []string) ([]string, error) {
	groups, err := m.checkGroups(ids)
	if err != nil {
		return r.Groups, err
	}
	return groups, nil
}

func (r *record) keep(in ModifyInput) error {
	switch {
	case in.AttachmentID == "":
		return awserr.Missing("attachment.attachmentId")
	case in.DeleteOnTermination == nil:
		return awserr.Missing("attachment.deleteOnTermination")
	case r.Attachment == nil || r.Attachment.ID != in.AttachmentID:
		return awserr.New("InvalidAttachmentID.NotFound", "The network interface attachment ID '%s' does not exist", in.AttachmentID)
	}
	r.Attachment.DeleteOnTermination = *in.DeleteOnTermination
	return nil
}

// maxTags is how many tags a resource can have.
const maxTags = 50

// CreateTags sets tags on resources, on all of them or on none.
func (m *Model) CreateTags(c Call, ids []string, tags map[string]string) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	return m.retag(c, ids, func(have map[string]string) error {
		fresh := 0
		for k := range tags {
			if _, ok := have[k]; !ok {
				fresh++
			}
		}
		if len(have)+fresh > maxTags {
			return awserr.New("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
		}
		return nil
	}, func(have map[string]string) {
		for k, v := range tags {
			have[k] = v
		}
	})
}

// DeleteTags removes tags from resources: by key, or by key and value where a
// value is given, or all if there are none.
func (m *Model) DeleteTags(c Call, ids []string, tags map[string]*string) error {
	none := func(map[string]string) error { return nil }
	return m.retag(c, ids, none, func(have map[string]string) {
		if len(tags) == 0 {
			clear(have)
		}
		for k, v := range tags {
			if v == nil || have[k] == *v {
				delete(have, k)
			}
		}
	})
}

func (m *Model) retag(c Call, ids []string, check func(map[string]string) error, change func(map[string]string)) error {
	defer m.lock()()
	var found []map[string]string
	for _, id := range ids {
		tags, err := m.tagsOf(id)
		if err != nil {
			return err
		}
		if err := check(tags); err != nil {
			return err
		}
		found = append(found, tags)
	}
	for i, id := range ids {
		change(found[i])
		if r, ok := m.enis[id]; ok {
			m.commit(r, c)
		}
	}
	return nil
}

func (m *Model) tagsOf(id string) (map[string]string, error) {
	if strings.HasPrefix(id, "eni-") {
		r, err := m.live(id)
		if err != nil {
			return nil, err
		}
		return r.Tags, nil
	}
	if id == m.vpcID {
		return m.vpcTags, nil
	}
	if s, err := m.subnet(id); err == nil {
		return s.Tags, nil
	}
	if i, err := m.instance(id); err == nil {
		return i.Tags, nil
	}
	for _, g := range m.groups {
		if g.ID == id {
			return g.Tags, nil
		}
	}
	return nil, awserr.New("InvalidID", "The ID '%s' is not valid", id)
}

func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return awserr.New("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")
	}
	for k, v := range tags {
		switch {
		case k == "" || len(k) > 128:
			return awserr.New("InvalidParameterValue", "Tag key '%s' must have 1 to 128 characters", k)
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return awserr.New("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
		case len(v) > 256:
			return awserr.New("InvalidParameterValue", "Tag value exceeds the maximum length of 256 characters")
		}
	}
	return nil
}

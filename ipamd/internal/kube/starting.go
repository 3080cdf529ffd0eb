package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// sample is how many Nodes are looked at: few enough for a thousand
// nodes to ask at once, of what each costs about a kilobyte.
const sample = 50

// metadataOnly asks for objects without what makes Nodes large; an API that
// does not know of it sends them whole.
const metadataOnly = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"

// StartingNodes estimates how many Nodes of the cluster are younger than an
// age, this one among them, from one page and the number of those that are not
// on it. Names, by which pages are sorted, say nothing of age.
func (c *Client) StartingNodes(ctx context.Context, age time.Duration) (int, error) {
	page, err := c.firstNodes(ctx)
	if err != nil {
		return 0, err
	}
	others, young := 0, 0
	for i := range page.Items {
		if page.Items[i].Name == c.settings.Node {
			continue
		}
		others++
		if time.Since(page.Items[i].CreationTimestamp.Time) < age {
			young++
		}
	}
	if others == 0 {
		return 1, nil
	}
	all := float64(others)
	if more := page.RemainingItemCount; more != nil {
		all += float64(*more)
	}
	return 1 + int(math.Round(all*float64(young)/float64(others))), nil
}

// Nodes counts the Nodes of the cluster.
func (c *Client) Nodes(ctx context.Context) (int, error) {
	page, err := c.firstNodes(ctx)
	if err != nil {
		return 0, err
	}
	n := len(page.Items)
	switch more := page.RemainingItemCount; {
	case more != nil:
		n += int(*more)
	case page.Continue != "":
		return 0, fmt.Errorf("listing the first %d Nodes: the API does not say how many more there are", sample)
	}
	return n, nil
}

func (c *Client) firstNodes(ctx context.Context) (page metav1.PartialObjectMetadataList, err error) {
	text, err := c.core.Get().Resource("nodes").
		VersionedParams(&metav1.ListOptions{Limit: sample}, metav1.ParameterCodec).
		SetHeader("Accept", metadataOnly).Do(ctx).Raw()
	if err != nil {
		return page, fmt.Errorf("listing the first %d Nodes: %w", sample, err)
	}
	if err := json.Unmarshal(text, &page); err != nil {
		return page, fmt.Errorf("reading the first %d Nodes: %w", sample, err)
	}
	return page, nil
}

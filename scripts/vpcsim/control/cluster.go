package control

import (
	"context"
	"net/http"
	"net/url"
)

// Object is an object of the Kubernetes API, as JSON has it.
type Object = map[string]any

// Apply makes objects of the cluster what is given, or makes them, in order and
// up to the first that is refused. It returns them with what the API has added.
func (c *Client) Apply(ctx context.Context, objects ...Object) ([]Object, error) {
	var out []Object
	err := c.call(ctx, http.MethodPost, "/v1/objects", objects, &out)
	return out, err
}

// Objects lists the objects of a kind ("Service", "services", "svc"), of all
// namespaces.
func (c *Client) Objects(ctx context.Context, kind string) ([]Object, error) {
	var out []Object
	err := c.call(ctx, http.MethodGet, "/v1/objects?"+url.Values{"kind": {kind}}.Encode(), nil, &out)
	return out, err
}

// DeleteObject removes an object; the namespace of a node is "".
func (c *Client) DeleteObject(ctx context.Context, kind, namespace, name string) error {
	query := url.Values{"kind": {kind}, "namespace": {namespace}, "name": {name}}
	return c.call(ctx, http.MethodDelete, "/v1/objects?"+query.Encode(), nil, nil)
}

package kube

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

// Client watches the API, and writes events. It does nothing until Watch,
// WatchNode or WriteEvents.
type Client struct {
	settings Settings
	outage   *outage
	events   *journal
	grace    time.Duration // how long services wait for the Node
	absence  time.Duration // how long a resource that is not there is left alone

	core, discovery, custom rest.Interface
}

// New reads the kubeconfig file, if one is set, and checks the settings. It
// connects to nothing.
func New(s Settings) (*Client, error) {
	s.NodeSetting = cmp.Or(s.NodeSetting, "MY_NODE_NAME")
	if s.Node == "" {
		return nil, fmt.Errorf("%s is empty: want the name of this node's Node", s.NodeSetting)
	}
	if s.Log == nil {
		return nil, errors.New("kube: a logger is missing")
	}
	config, err := s.restConfig()
	if err != nil {
		return nil, err
	}
	c := &Client{settings: s, outage: newOutage(config.Host, s.Log), events: newJournal(), grace: nodeGrace, absence: absentPause}
	// One HTTP client, so that all watches share a connection.
	shared, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("setting up the client of API server %s: %w", config.Host, err)
	}
	codecs, err := codecs()
	if err != nil {
		return nil, err
	}
	group := func(path string, gv schema.GroupVersion, config *rest.Config) (rest.Interface, error) {
		config = rest.CopyConfig(config)
		config.APIPath, config.GroupVersion, config.NegotiatedSerializer = path, &gv, codecs
		return rest.RESTClientForConfigAndClient(config, shared)
	}
	inJSON := rest.CopyConfig(config) // the API has nothing else for custom resources
	inJSON.AcceptContentTypes, inJSON.ContentType = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	var coreErr, discoveryErr, customErr error
	c.core, coreErr = group("/api", corev1.SchemeGroupVersion, config)
	c.discovery, discoveryErr = group("/apis", discoveryv1.SchemeGroupVersion, config)
	c.custom, customErr = group("/apis", eniConfigs, inJSON)
	if err := errors.Join(coreErr, discoveryErr, customErr); err != nil {
		return nil, fmt.Errorf("setting up the client of API server %s: %w", config.Host, err)
	}
	return c, nil
}

// codecs reads the groups that we use. The scheme of client-go's clientset
// has all of them, and costs every process some megabytes.
func codecs() (runtime.NegotiatedSerializer, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), discoveryv1.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("registering the API's types: %w", err)
	}
	addENIConfigs(scheme)
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	return serializer.NewCodecFactory(scheme).WithoutConversion(), nil
}

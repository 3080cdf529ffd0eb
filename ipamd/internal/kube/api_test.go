package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
)

// object is one that the API keeps.
type object interface {
	runtime.Object
	metav1.Object
}

// api is an API server that lists and watches, with versions that expire. It
// does not look at label selectors.
type api struct {
	t       *testing.T
	address string
	encode  string // media type of all answers

	mu        sync.Mutex
	server    *http.Server
	version   int
	oldest    int // watches from before it are refused
	objects   map[string]map[string]object
	history   []change
	changed   chan struct{} // closed at the next change
	streams   bool          // first lists can be streamed
	forbidden string        // a resource that may not be read
	absent    string        // a resource that there is not
	requests  []*http.Request
}

type change struct {
	resource string
	version  int
	kind     watch.EventType
	object   object
}

func newAPI(t *testing.T) *api {
	a := &api{t: t, encode: runtime.ContentTypeJSON, version: 100, oldest: 1, streams: true,
		objects: map[string]map[string]object{}, changed: make(chan struct{})}
	a.back()
	t.Cleanup(a.away)
	return a
}

// back begins to listen, at the same address as before.
func (a *api) back() {
	a.t.Helper()
	address := a.address
	if address == "" {
		address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		a.t.Fatal(err)
	}
	a.address = listener.Addr().String()
	a.server = &http.Server{Handler: a, ReadHeaderTimeout: time.Minute}
	go func(s *http.Server) {
		if err := s.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.t.Errorf("API server: %v", err)
		}
	}(a.server)
}

// away stops listening, and ends all watches.
func (a *api) away() { _ = a.server.Close() }

// set adds or replaces objects.
func (a *api) set(objects ...object) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, o := range objects {
		resource, key := resourceOf(o), o.GetNamespace()+"/"+o.GetName()
		kind := watch.Modified
		if a.objects[resource] == nil {
			a.objects[resource] = map[string]object{}
		}
		if a.objects[resource][key] == nil {
			kind = watch.Added
		}
		a.note(resource, kind, o)
		a.objects[resource][key] = o
	}
}

func (a *api) delete(o object) {
	a.mu.Lock()
	defer a.mu.Unlock()
	resource := resourceOf(o)
	delete(a.objects[resource], o.GetNamespace()+"/"+o.GetName())
	a.note(resource, watch.Deleted, o.DeepCopyObject().(object))
}

func (a *api) note(resource string, kind watch.EventType, o object) {
	a.version++
	o.SetResourceVersion(strconv.Itoa(a.version))
	a.history = append(a.history, change{resource, a.version, kind, o})
	close(a.changed)
	a.changed = make(chan struct{})
}

// compact forgets all history.
func (a *api) compact() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version++
	a.oldest, a.history = a.version, nil
}

func resourceOf(o object) string {
	switch o.(type) {
	case *corev1.Service:
		return "services"
	case *discoveryv1.EndpointSlice:
		return "endpointslices"
	case *corev1.Node:
		return "nodes"
	case *corev1.Pod:
		return "pods"
	case *corev1.Event:
		return "events"
	case *eniConfig:
		return "eniconfigs"
	}
	panic(fmt.Sprintf("a %T has no resource", o))
}

// empty has an empty object and an empty list of each resource.
func empty(resource string) (object, runtime.Object) {
	switch resource {
	case "services":
		return &corev1.Service{}, &corev1.ServiceList{}
	case "endpointslices":
		return &discoveryv1.EndpointSlice{}, &discoveryv1.EndpointSliceList{}
	case "nodes":
		return &corev1.Node{}, &corev1.NodeList{}
	case "pods":
		return &corev1.Pod{}, &corev1.PodList{}
	case "eniconfigs":
		return &eniConfig{}, &eniConfigList{}
	}
	panic("there is no resource " + resource)
}

// ServeHTTP answers lists and watches, and what the writer of events sends.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	resource := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	query := r.URL.Query()
	from, _ := strconv.Atoi(query.Get("resourceVersion"))
	stream := query.Get("sendInitialEvents") == "true"
	a.mu.Lock()
	a.requests = append(a.requests, r)
	forbidden, absent, streams, expired := a.forbidden == resource, a.absent == resource, a.streams, from > 0 && from < a.oldest
	a.mu.Unlock()
	out := a.writer(w, groupOf(resource))
	switch {
	case absent:
		http.NotFound(w, r) // in text, as an API has it for paths that it does not know
	case r.Method != http.MethodGet:
		a.write(out, r)
	case forbidden:
		out.refuse(http.StatusForbidden, metav1.StatusReasonForbidden)
	case stream && !streams:
		out.refuse(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
	case query.Get("watch") == "":
		out.object(a.list(resource, query.Get("fieldSelector")))
	case expired && !stream:
		out.begin()
		out.event(watch.Error, &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusGone, Reason: metav1.StatusReasonExpired})
	default:
		a.watch(out, r, resource, query.Get("fieldSelector"), from, stream)
	}
}

// watch sends what is there, if asked for, and then what changes.
func (a *api) watch(out writer, r *http.Request, resource, fields string, from int, initial bool) {
	out.begin()
	if initial {
		list := a.list(resource, fields)
		items, err := meta.ExtractList(list)
		if err != nil {
			a.t.Error(err)
		}
		for _, o := range items {
			out.event(watch.Added, o)
		}
		version := list.(metav1.ListInterface).GetResourceVersion()
		from, _ = strconv.Atoi(version)
		out.event(watch.Bookmark, bookmark(resource, version))
	}
	for {
		a.mu.Lock()
		changed, history := a.changed, slices.Clone(a.history)
		a.mu.Unlock()
		for _, c := range history {
			if c.version > from && c.resource == resource && selects(fields, c.object) {
				from = c.version
				out.event(c.kind, c.object)
			}
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func (a *api) list(resource, fields string) runtime.Object {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, of := empty(resource)
	of.(metav1.ListInterface).SetResourceVersion(strconv.Itoa(a.version))
	var items []runtime.Object
	for _, key := range slices.Sorted(maps.Keys(a.objects[resource])) {
		if o := a.objects[resource][key]; selects(fields, o) {
			items = append(items, o.DeepCopyObject())
		}
	}
	if err := meta.SetList(of, items); err != nil {
		a.t.Error(err)
	}
	return of
}

func selects(fields string, o object) bool {
	if pod, ok := o.(*corev1.Pod); ok && fields == "spec.nodeName="+pod.Spec.NodeName {
		return true
	}
	return fields == "" || fields == "metadata.name="+o.GetName()
}

// bookmark ends a streamed first list.
func bookmark(resource, version string) runtime.Object {
	o, _ := empty(resource)
	o.SetResourceVersion(version)
	o.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	return o
}

func groupOf(resource string) schema.GroupVersion {
	switch resource {
	case "endpointslices":
		return discoveryv1.SchemeGroupVersion
	case "eniconfigs":
		return eniConfigs
	}
	return corev1.SchemeGroupVersion
}

// writer writes answers in the media type of the server.
type writer struct {
	t      *testing.T
	http   http.ResponseWriter
	media  runtime.SerializerInfo
	codecs serializer.CodecFactory
	group  schema.GroupVersion
}

func (a *api) writer(w http.ResponseWriter, group schema.GroupVersion) writer {
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), discoveryv1.AddToScheme(scheme)); err != nil {
		a.t.Error(err)
	}
	addENIConfigs(scheme)
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	encode := a.encode
	if group == eniConfigs {
		encode = runtime.ContentTypeJSON
	}
	codecs := serializer.NewCodecFactory(scheme)
	media, ok := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), encode)
	if !ok {
		a.t.Errorf("no media type %s", encode)
	}
	return writer{a.t, w, media, codecs, group}
}

func (w writer) encoded(o runtime.Object) []byte {
	group := w.group
	if _, ok := o.(*metav1.Status); ok {
		group = schema.GroupVersion{Version: "v1"}
	}
	data, err := runtime.Encode(w.codecs.EncoderForVersion(w.media.Serializer, group), o)
	if err != nil {
		w.t.Errorf("encoding %T: %v", o, err)
	}
	return data
}

func (w writer) object(o runtime.Object) {
	w.http.Header().Set("Content-Type", w.media.MediaType)
	_, _ = w.http.Write(w.encoded(o))
}

func (w writer) refuse(code int, reason metav1.StatusReason) {
	w.http.Header().Set("Content-Type", w.media.MediaType)
	w.http.WriteHeader(code)
	_, _ = w.http.Write(w.encoded(&metav1.Status{
		Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: "refused: " + string(reason),
	}))
}

func (w writer) begin() {
	w.http.Header().Set("Content-Type", w.media.MediaType+";stream=watch")
	w.http.WriteHeader(http.StatusOK)
	w.http.(http.Flusher).Flush()
}

func (w writer) event(kind watch.EventType, o runtime.Object) {
	event := &metav1.WatchEvent{Type: string(kind), Object: runtime.RawExtension{Raw: w.encoded(o)}}
	to := w.media.StreamSerializer.Framer.NewFrameWriter(w.http)
	_ = w.codecs.EncoderForVersion(w.media.StreamSerializer.Serializer, schema.GroupVersion{Version: "v1"}).Encode(event, to)
	w.http.(http.Flusher).Flush()
}

// write takes events, new ones and merge patches of those that there are.
func (a *api) write(out writer, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	words := strings.Split(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/"), "/")
	if len(words) < 2 || words[1] != "events" {
		a.t.Errorf("%s %s: want events in a namespace", r.Method, r.URL.Path)
		return
	}
	if a.forbidden == "events" {
		out.refuse(http.StatusForbidden, metav1.StatusReasonForbidden)
		return
	}
	event := &corev1.Event{}
	if r.Method == http.MethodPatch {
		known := a.objects["events"][words[0]+"/"+words[2]]
		if known == nil {
			out.refuse(http.StatusNotFound, metav1.StatusReasonNotFound)
			return
		}
		event = known.DeepCopyObject().(*corev1.Event)
	}
	want := map[string]string{http.MethodPost: "application/json", http.MethodPatch: "application/merge-patch+json"}[r.Method]
	err := json.NewDecoder(r.Body).Decode(event) // over what there is, as a merge does it
	if about := event.InvolvedObject.Namespace; err != nil || r.Header.Get("Content-Type") != want || event.Namespace != words[0] ||
		event.Name == "" || about != event.Namespace && (about != "" || event.Namespace != metav1.NamespaceDefault) {
		a.t.Errorf("%s %s: an invalid event (%v): %+v", r.Method, r.Header.Get("Content-Type"), err, event)
		out.refuse(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
		return
	}
	if a.objects["events"] == nil {
		a.objects["events"] = map[string]object{}
	}
	a.objects["events"][event.Namespace+"/"+event.Name] = event
	out.object(event)
}

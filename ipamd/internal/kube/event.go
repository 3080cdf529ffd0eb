package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/causeway-cni/causeway/ipamd/internal/demand"
)

// component is who events are from.
const component = "causeway"

const (
	// eventTimeout bounds one write, and eventPause is the time between two.
	eventTimeout, eventPause = 5 * time.Second, 100 * time.Millisecond
	// maxMessage is the longest message in bytes (events.k8s.io/v1 note), and
	// maxEventName the longest name of an object that an event's name begins with.
	maxMessage, maxEventName = 1024, 230
)

// Object is what an event is about; the zero value is this node's Node.
type Object struct {
	Pod demand.Key
	UID string // of the pod, by which kubectl describe finds its events
}

// Event is a warning that people see at the object.
type Event struct {
	About   Object
	Reason  string // a code, as in SubnetFull
	Message string // for people; over 1024 bytes it is cut
}

// Report hands an event to WriteEvents, and never waits. The same reason for
// the same object is written at most once in 5 minutes, with the latest message
// and how often it came. While the API is away events are dropped.
func (c *Client) Report(e Event) { c.events.note(e, time.Now()) }

// DroppedEvents is how many reports were never written.
func (c *Client) DroppedEvents() uint64 {
	c.events.mu.Lock()
	defer c.events.mu.Unlock()
	return c.events.dropped
}

// WriteEvents writes what is reported until ctx ends, and then returns nil.
func (c *Client) WriteEvents(ctx context.Context) error {
	failing := false
	for ctx.Err() == nil {
		next, ok, wait := c.events.due(time.Now())
		noted := c.events.noted
		if ok {
			err := c.writeEvent(ctx, next)
			if err != nil && !failing && ctx.Err() == nil {
				c.settings.Log.Warn("events cannot be written, they are dropped", "error", err)
			}
			failing = err != nil
			noted, wait = nil, eventPause
		}
		select {
		case <-ctx.Done():
		case <-noted:
		case <-time.After(wait):
		}
	}
	return nil
}

// writeEvent makes the event, or counts up the one that the API has. The API
// forgets events after an hour; then it is made again.
func (c *Client) writeEvent(ctx context.Context, s series) error {
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	event := c.toEvent(s)
	var err error
	if s.name != "" {
		err = c.countEvent(ctx, event)
	}
	if s.name == "" || apierrors.IsNotFound(err) {
		event.Name = eventName(event.InvolvedObject.Name)
		err = c.makeEvent(ctx, event)
	}
	if err != nil {
		c.events.failed(s)
		return fmt.Errorf("writing event %s of %s %s: %w", event.Reason, event.InvolvedObject.Kind, event.InvolvedObject.Name, err)
	}
	c.events.wrote(s, event.Name, time.Now())
	return nil
}

// makeEvent sends JSON: what is sent once in minutes can be read by people.
func (c *Client) makeEvent(ctx context.Context, e *corev1.Event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding it: %w", err)
	}
	return c.core.Post().Namespace(e.Namespace).Resource("events").
		SetHeader("Content-Type", runtime.ContentTypeJSON).Body(body).Do(ctx).Error()
}

func (c *Client) countEvent(ctx context.Context, e *corev1.Event) error {
	body, err := json.Marshal(map[string]any{"count": e.Count, "lastTimestamp": e.LastTimestamp, "message": e.Message})
	if err != nil {
		return fmt.Errorf("encoding it: %w", err)
	}
	return c.core.Patch(types.MergePatchType).Namespace(e.Namespace).Resource("events").Name(e.Name).Body(body).Do(ctx).Error()
}

// toEvent is an event as kubectl describe and kubectl get events look for it.
func (c *Client) toEvent(s series) *corev1.Event {
	pod := s.latest.About.Pod
	about := corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: pod.Namespace, Name: pod.Name, UID: types.UID(s.latest.About.UID)}
	namespace := pod.Namespace
	if s.latest.About == (Object{}) {
		// As kubelet's events of its Node, which name it for its UID.
		about = corev1.ObjectReference{Kind: "Node", APIVersion: "v1", Name: c.settings.Node, UID: types.UID(c.settings.Node)}
		namespace = metav1.NamespaceDefault
	}
	return &corev1.Event{
		TypeMeta:       metav1.TypeMeta{Kind: "Event", APIVersion: "v1"},
		ObjectMeta:     metav1.ObjectMeta{Namespace: namespace, Name: s.name},
		InvolvedObject: about,
		Type:           corev1.EventTypeWarning, Reason: s.latest.Reason, Message: cut(s.latest.Message, maxMessage),
		Source:         corev1.EventSource{Component: component, Host: c.settings.Node},
		FirstTimestamp: metav1.NewTime(s.first), LastTimestamp: metav1.NewTime(s.last), Count: int32(s.count),
		ReportingController: component, ReportingInstance: c.settings.Node,
	}
}

func eventName(of string) string {
	return fmt.Sprintf("%s.%016x", strings.TrimRight(cut(of, maxEventName), "-."), rand.Uint64())
}

// cut leaves whole letters of at most so many bytes.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "")
}

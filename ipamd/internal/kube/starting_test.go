package kube

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestStartingNodes estimates from one page. The API of the test does not know
// how to leave out what a Node has besides metadata.
func TestStartingNodes(t *testing.T) {
	for _, tt := range []struct {
		name                   string
		us, young, old, beyond int
		want                   int
	}{
		{"alone", 1, 0, 0, 0, 1},
		{"first of all", 0, 0, 0, 0, 1},
		{"one more for an old cluster", 1, 0, 20, 0, 1},
		{"one more for a large cluster", 0, 0, 50, 4950, 1},
		{"a few", 1, 3, 20, 0, 4},
		{"all of a page", 1, 49, 0, 950, 1000},
		{"all, and we are on another page", 0, 50, 0, 949, 1000},
		{"half of them", 0, 25, 25, 950, 501},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := listing(t, tt.us, tt.young, tt.old, tt.beyond)
			if got, err := c.StartingNodes(t.Context(), 5*time.Minute); got != tt.want || err != nil {
				t.Errorf("%d nodes, error %v; want %d", got, err, tt.want)
			}
			all := tt.us + tt.young + tt.old + tt.beyond
			if got, err := c.Nodes(t.Context()); got != all || err != nil {
				t.Errorf("%d nodes in all, error %v; want %d", got, err, all)
			}
		})
	}
}

// listing is the client of an API that has so many Nodes on its first page:
// ours, some that are a minute old and some that are a day, and others beyond.
func listing(t *testing.T, us, young, old, beyond int) *Client {
	t.Helper()
	list := corev1.NodeList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "NodeList"}}
	add := func(name string, n int, age time.Duration) {
		for i := range n {
			list.Items = append(list.Items, corev1.Node{ObjectMeta: metav1.ObjectMeta{
				Name: strings.Replace(name, "#", fmt.Sprint(i), 1), CreationTimestamp: metav1.NewTime(time.Now().Add(-age))}})
		}
	}
	add("us", us, time.Minute)
	add("young-#", young, time.Minute)
	add("old-#", old, 24*time.Hour)
	if beyond > 0 {
		more := int64(beyond)
		list.Continue, list.RemainingItemCount = "more", &more
	}
	return clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/nodes" || r.URL.Query().Get("limit") != "50" || !strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList") {
			t.Errorf("asked for %s as %s", r.URL, r.Header.Get("Accept"))
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(list); err != nil {
			t.Error(err)
		}
	})
}

func clientOf(t *testing.T, answer http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	c, err := New(Settings{Endpoint: server.URL, Node: "us", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestStartingNodesFails(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"forbidden": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) },
		"no list":   func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") },
	} {
		t.Run(name, func(t *testing.T) {
			got, err := clientOf(t, answer).StartingNodes(t.Context(), time.Minute)
			if err == nil || !strings.Contains(err.Error(), "the first 50 Nodes") {
				t.Errorf("%d nodes, error %v", got, err)
			}
			if got, err := clientOf(t, answer).Nodes(t.Context()); err == nil {
				t.Errorf("%d nodes in all", got)
			}
		})
	}
}

// Nodes that are not on the page and not counted are no number.
func TestNodesOfUnknownNumber(t *testing.T) {
	c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"metadata":{"continue":"more"},"items":[]}`)
	})
	if got, err := c.Nodes(t.Context()); err == nil {
		t.Errorf("%d nodes", got)
	}
}

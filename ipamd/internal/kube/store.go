package kube

import (
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/causeway-cni/causeway/proxy/service"
)

// store hands what a reflector reads on to the sink, converted, and keeps
// names. A reflector calls it from one goroutine at a time.
type store[O metav1.Object, T any] struct {
	convert func(O) T
	set     func(T)
	del     func(service.Key)
	names   map[service.Key]bool

	first sync.Once
	known chan struct{} // closed once the first list was told
}

// entry is an object that was converted while the list was still coming in.
type entry[T any] struct {
	key   service.Key
	value T
}

func newStore[O metav1.Object, T any](convert func(O) T, set func(T), del func(service.Key)) *store[O, T] {
	return &store[O, T]{
		convert: convert, set: set, del: del,
		names: map[service.Key]bool{}, known: make(chan struct{}),
	}
}

// Transformer makes a reflector that streams its first list convert each
// object as it comes, so that the list is never there as a whole.
func (s *store[O, T]) Transformer() cache.TransformFunc {
	return func(o any) (any, error) { return s.entry(o) }
}

func (s *store[O, T]) entry(o any) (entry[T], error) {
	switch o := o.(type) {
	case entry[T]:
		return o, nil
	case O:
		return entry[T]{service.Key{Namespace: o.GetNamespace(), Name: o.GetName()}, s.convert(o)}, nil
	}
	return entry[T]{}, fmt.Errorf("the API server sent a %T, want a %T", o, *new(O))
}

// Add tells the sink of an object.
func (s *store[O, T]) Add(o any) error {
	e, err := s.entry(o)
	if err != nil {
		return err
	}
	s.names[e.key] = true
	s.set(e.value)
	return nil
}

// Update is Add.
func (s *store[O, T]) Update(o any) error { return s.Add(o) }

// Delete tells the sink that an object is gone.
func (s *store[O, T]) Delete(o any) error {
	gone, ok := o.(O)
	if !ok {
		return fmt.Errorf("the API server sent a %T, want a %T", o, *new(O))
	}
	k := service.Key{Namespace: gone.GetNamespace(), Name: gone.GetName()}
	delete(s.names, k)
	s.del(k)
	return nil
}

// Replace tells the sink of all objects of a list, and then of those gone
// that are not in it.
func (s *store[O, T]) Replace(list []any, _ string) error {
	gone := s.names
	s.names = make(map[service.Key]bool, len(list))
	for i, o := range list {
		e, err := s.entry(o)
		if err != nil {
			return err
		}
		list[i] = nil
		delete(gone, e.key)
		s.names[e.key] = true
		s.set(e.value)
	}
	for k := range gone {
		s.del(k)
	}
	s.settle()
	return nil
}

// settle notes that all that there is was told.
func (s *store[O, T]) settle() { s.first.Do(func() { close(s.known) }) }

// Resync does nothing: what was told once is not told again.
func (s *store[O, T]) Resync() error { return nil }

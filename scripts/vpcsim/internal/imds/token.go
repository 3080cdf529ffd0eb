package imds

import (
	"crypto/rand"
	"encoding/base64"
	"sync"
	"time"
)

// maxTTL is the longest life of a token in seconds.
const maxTTL = 21600

// tokens are the session tokens in force, each of one node.
type tokens struct {
	mu   sync.Mutex
	life map[string]session
}

type session struct {
	node string
	ends time.Time
}

// issue makes a token, and forgets those that have expired.
func (t *tokens) issue(node string, ttl time.Duration, now time.Time) string {
	var b [40]byte
	_, _ = rand.Read(b[:]) // never fails
	token := base64.URLEncoding.EncodeToString(b[:])[:54] + "=="
	t.mu.Lock()
	defer t.mu.Unlock()
	for old, s := range t.life {
		if !now.Before(s.ends) {
			delete(t.life, old)
		}
	}
	t.life[token] = session{node, now.Add(ttl)}
	return token
}

func (t *tokens) valid(token, node string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.life[token]
	return ok && s.node == node && now.Before(s.ends)
}

// clear ends all sessions, as a restart of the service does.
func (t *tokens) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.life)
}

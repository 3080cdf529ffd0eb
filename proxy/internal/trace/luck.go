package trace

// luck decides what rules leave to chance. It remembers, so that the next walk
// can try another way; the zero value lets every rule hold.
type luck struct {
	choices []bool
	at      int
}

// holds is the next decision of this walk.
func (l *luck) holds() bool {
	if l.at == len(l.choices) {
		l.choices = append(l.choices, true)
	}
	l.at++
	return l.choices[l.at-1]
}

// next prepares the next walk: the last decision that let a rule hold does not
// any more. It says whether there was one.
func (l *luck) next() bool {
	l.at = 0
	for n := len(l.choices); n > 0; n-- {
		if l.choices[n-1] {
			l.choices[n-1] = false
			l.choices = l.choices[:n]
			return true
		}
	}
	return false
}

// Package arch holds tests of the import directions, and nothing else: what
// may import what, with the reason. A rule names its packages, so that a
// package that is renamed or removed breaks the rule visibly.
package arch

// Package architecture holds no code, only tests that read the source of the
// whole repository: who may import whom, where the time is read, which names
// and sizes are allowed, and that every rule number in use is defined in
// docs/rules.md and has a test. They are ordinary tests, so that the rules hold
// wherever the tests run, with no linter to install.
package architecture

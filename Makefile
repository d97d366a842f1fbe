# The project's commands. `make test` is what CI runs.

MODULES := . examples benchmarks integration
ROUNDS  ?= 7
FLAP    ?= 1m

.PHONY: test integration lint bench demo traces rules

# The tests under the race detector, those against real servers among them, and
# the model of the mailbox under the model checker.
test:
	@for m in $(MODULES); do echo "== $$m"; go -C $$m vet ./... && go -C $$m test -race ./... || exit 1; done
	go test -run 'Allocate|IsSmall' . ./client # these say nothing under the race detector
	docs/spec/check.sh

# The pool against real servers, PostgreSQL, Redis and LDAP, which the tests start
# by themselves, with a wire that comes and goes for longer: FLAP for each of them.
integration:
	go -C integration test -race -count=1 . -flap=$(FLAP)

# Formatting and tidiness everywhere; golangci-lint where it is installed. The
# rules of the architecture are tests: internal/architecture.
lint:
	@test -z "$$(gofmt -l .)" || { echo "not gofmt-ed:"; gofmt -l .; exit 1; }
	@for m in $(MODULES); do go -C $$m mod tidy -diff || exit 1; done
	@for m in $(MODULES); do go -C $$m vet ./... || exit 1; done
	@if command -v golangci-lint >/dev/null; then for m in $(MODULES); do (cd $$m && golangci-lint run ./...) || exit 1; done; else echo "golangci-lint is not installed: skipped"; fi

# This pool against the lock-free variant and others' pools, alternating; writes
# docs/benchmarks/.
bench:
	go -C benchmarks run . -rounds $(ROUNDS)

# A pool that survives a server's death, in 20 seconds.
demo:
	go -C examples run ./quickstart

# Writes the traces in testdata anew. Review the diff.
traces:
	go test ./actors/internal/machine -run Trace -rewrite

# Writes into docs/rules.md in which packages the tests of the rules are, after
# tests have moved.
rules:
	go test ./internal/architecture -run EveryRuleIs -rewrite

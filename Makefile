# The project's commands. `make test` is what CI runs.

TESTED  := . examples benchmarks
MODULES := $(TESTED) integration
ROUNDS  ?= 7

.PHONY: test integration lint bench demo traces

# The tests under the race detector, and the model of the
# mailbox under the model checker.
test:
	@for m in $(TESTED); do echo "== $$m"; go -C $$m vet ./... && go -C $$m test -race ./... || exit 1; done
	go test -run Allocate ./... # these say nothing under the race detector
	docs/spec/check.sh

# The pool against real servers, PostgreSQL and Redis, which the tests start by
# themselves. Not yet part of `make test`.
integration:
	go -C integration test -race ./...

# Formatting and tidiness everywhere; golangci-lint where it is installed. The
# rules of the architecture are a test: architecture_test.go.
lint:
	@test -z "$$(gofmt -l .)" || { echo "not gofmt-ed:"; gofmt -l .; exit 1; }
	@for m in $(MODULES); do go -C $$m mod tidy -diff || exit 1; done
	@for m in $(MODULES); do go -C $$m vet ./... || exit 1; done
	@if command -v golangci-lint >/dev/null; then golangci-lint run ./...; else echo "golangci-lint is not installed: skipped"; fi

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

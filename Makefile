# The project's commands. CI runs `make lint` and `make test`: see .ci/run.

MODULES := . adapters/pgxpool adapters/sqlpool examples examples/fleet benchmarks fleet integration integration/browser metrics
PROCESSES ?= 15
FLAP    ?= 1m
FUZZ    ?= 10m

# The race detector, where it works: it needs a C compiler.
RACE = $(shell go build -race net >/dev/null 2>&1 && echo -race)

.PHONY: test fuzz integration pictures lint bench demo traces rules mutate pgx-newest

# All tests, under the race detector, half a minute of fuzzing, and the model of the
# mailbox under the model checker. What cannot run on this machine is skipped and listed
# at the end; with CI=true it is a failure.
test:
	@for m in $(MODULES); do echo "== $$m"; go -C $$m vet ./... && go -C $$m test $(RACE) ./... || exit 1; done
	go -C fleet test ./internal/sim # one goroutine and ten million steps: few of them under the race detector
	go test -run 'Formula' ./forecast # the means of millions of waits: of few Gets under the race detector
	go test ./sim ./actors/virtual # the same: a million steps
	go test -run 'Allocate|IsSmall' ./... # the race detector allocates: these are skipped under it
	.ci/fuzz 30s
	docs/spec/check.sh
	@.ci/missing

# Random sequences of operations on a pool, for FUZZ: see docs/testing.md.
fuzz:
	.ci/fuzz $(FUZZ)

# Only the tests with real servers (PostgreSQL, Redis and LDAP, which they start
# themselves), with a network that is interrupted again and again for longer: for FLAP
# with each of them.
integration:
	go -C integration test $(RACE) -count=1 . -flap=$(FLAP)

# The pictures of the live page in docs/page, taken in a real browser.
pictures:
	go -C integration/browser test -count=1 -run 'Pictures|Demo' . -pictures

# gofmt, go mod tidy, go vet, and golangci-lint where it is installed. The rules of the
# architecture are not here but in tests: internal/architecture.
lint:
	@test -z "$$(gofmt -l .)" || { echo "not gofmt-ed:"; gofmt -l .; exit 1; }
	@for m in $(MODULES); do go -C $$m mod tidy -diff || exit 1; done
	@for m in $(MODULES); do go -C $$m vet ./... || exit 1; done
	@if command -v golangci-lint >/dev/null; then for m in $(MODULES); do (cd $$m && golangci-lint run ./...) || exit 1; done; else echo "golangci-lint is not installed: skipped"; fi

# Measures this pool, the lock-free variant and other pools in turn, in PROCESSES processes,
# and writes docs/benchmarks/ and the numbers that README.md and docs/ quote. With 15 it takes
# about ten minutes, and wants a quiet machine. Valgrind counts the instructions:
# apt-get install valgrind. It is built first because callgrind needs the symbols that
# go run leaves out.
bench:
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && go -C benchmarks build -o "$$dir/bench" . && cd benchmarks && "$$dir/bench" -processes $(PROCESSES)

# Compares the names of adapters/pgxpool with those of the newest pgx: see docs/pgxpool.md.
pgx-newest:
	.ci/pgx-newest

# A pool during an outage of its server, in 20 seconds.
demo:
	go -C examples run ./quickstart

# Rewrites the traces in testdata. Review the diff.
traces:
	go test ./actors/internal/machine -run Trace -rewrite

# Writes into docs/rules.md in which packages the tests of the rules are, after
# tests have moved.
rules:
	go test ./internal/architecture -run EveryRuleIs -rewrite

# Makes small faults in the machine and in the shell, one at a time, and shows
# those that no test notices: see docs/testing.md. Minutes for the machine, more
# for the shell. invariants.go is a part of the tests.
mutate:
	go run ./internal/mutate -skip invariants.go $(MUTATE_FLAGS) ./actors/internal/machine
	go run ./internal/mutate -tests ./... -longest 2s -slack 5s $(MUTATE_FLAGS) ./actors ./client

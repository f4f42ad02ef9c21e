# Targets and what they do: `make help`. `make verify` is exactly what CI runs.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# The recipes of one target follow each other, and the last line is the test runner's.
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:

# The tiers' time limits, here and nowhere else.
UNIT_LIMIT        ?= 3m
INTEGRATION_LIMIT ?= 10m
E2E_LIMIT         ?= 20m
RACE_LIMIT        ?= 8m

# How long each fuzzer runs.
FUZZ_TIME ?= 5m

# The same on every machine, whatever its number of cores: how many packages and how many parallel tests of
# a package run at a time. Tests with clusters in them run alone.
UNIT_FLAGS    ?= -p=2 -parallel=4
CLUSTER_FLAGS ?= -p=1 -parallel=2 -count=1

# Packages that make `make race`.
CORE_PKGS ?= ./coordinator/... ./raftstore/... ./stateserver/... ./internal/... ./clients/go/...

# Flags for go test, as in: make test-integration TEST_ARGS='-run LeaderKill -v'
TEST_ARGS ?=
BENCH_ARGS ?= -bench=. -benchmem

TOOLS := build/tools
PROTO_TOOLS := $(TOOLS)/buf $(TOOLS)/protoc-gen-go $(TOOLS)/protoc-gen-go-grpc
VENV := build/venv

##@ Build

.PHONY: build
build: ## server, command line and the checkpoint example into bin/
	CGO_ENABLED=0 go build -o bin/holdfastd ./cmd/holdfastd
	CGO_ENABLED=0 go build -o bin/holdfast ./cmd/holdfast
	CGO_ENABLED=1 go build -o bin/holdfast-example-checkpoint ./clients/go/examples/checkpoint

.PHONY: build-next
build-next: ## holdfastd of the version after this one, for the rolling upgrade of the end-to-end tests
	CGO_ENABLED=0 go build -tags next_version -o bin/holdfastd-next ./cmd/holdfastd

.PHONY: demo
demo: build ## a cluster, an embedded Kafka and a job to watch, on this machine
	bin/holdfast demo

.PHONY: clean
clean: ## remove bin/ and build/ (tools come back from their cache)
	rm -rf bin build

##@ Test

.PHONY: test
test: test-unit test-integration test-e2e ## all tiers: unit, in process, processes with a real Kafka

.PHONY: test-unit
test-unit: ## packages other than integration, no network (limit UNIT_LIMIT)
	scripts/gotest.sh unit $(UNIT_LIMIT) ./... '!./integration/...' -- $(UNIT_FLAGS) $(TEST_ARGS)
	scripts/gotest.sh 'unit of the next version' $(UNIT_LIMIT) ./coordinator ./raftstore ./stateserver/daemon -- -tags=next_version -run='Golden|Next|Version' $(UNIT_FLAGS)

.PHONY: test-integration
test-integration: ## scenarios with nodes and Kafka in process (limit INTEGRATION_LIMIT)
	scripts/gotest.sh integration $(INTEGRATION_LIMIT) ./integration/... '!./integration/e2e/...' -- $(CLUSTER_FLAGS) $(TEST_ARGS)
	CGO_ENABLED=0 scripts/gotest.sh 'state larger than memory' $(INTEGRATION_LIMIT) ./stateserver/backend/rocksdb -- -tags=largestate -run=LargerThanMemory -count=1

.PHONY: test-e2e
test-e2e: build build-next venv ## scenarios with real processes and a real Apache Kafka (limit E2E_LIMIT)
	scripts/e2e.sh $(E2E_LIMIT) $(CLUSTER_FLAGS) $(TEST_ARGS)

.PHONY: matrix
matrix: build ## the counter on every state backend and every checkpoint storage, with kills: one table
	HOLDFAST_TEST_MATRIX=1 HOLDFAST_TEST_KAFKA=none E2E_PKGS=./integration/e2e/backends \
	  scripts/e2e.sh $(E2E_LIMIT) $(CLUSTER_FLAGS) -run='^TestBackends_Matrix$$' -v $(TEST_ARGS)

.PHONY: savepoints
savepoints: build ## a savepoint of each state backend restored into each other one, at parallelism 1, 4 and 2: one table
	HOLDFAST_TEST_KAFKA=none HOLDFAST_TEST_S3=none HOLDFAST_TEST_HDFS=none E2E_PKGS=./integration/e2e/backends \
	  scripts/e2e.sh $(E2E_LIMIT) $(CLUSTER_FLAGS) -run='^TestBackends_SavepointPairs$$' -v $(TEST_ARGS)

.PHONY: large-state
large-state: build ## a node under a hard limit of memory with a state five times as large (minutes, 3 GB of disk)
	HOLDFAST_TEST_LARGE_STATE=1 HOLDFAST_TEST_KAFKA=none HOLDFAST_TEST_S3=none HOLDFAST_TEST_HDFS=none E2E_PKGS=./integration/e2e/backends \
	  scripts/e2e.sh $(E2E_LIMIT) $(CLUSTER_FLAGS) -run='^TestBackends_LargerThanMemory$$' -v $(TEST_ARGS)

.PHONY: race
race: ## the core packages under the race detector (limit RACE_LIMIT)
	CGO_ENABLED=1 scripts/gotest.sh race $(RACE_LIMIT) $(CORE_PKGS) -- -race $(UNIT_FLAGS) $(TEST_ARGS)

.PHONY: fuzz
fuzz: ## every fuzzer for FUZZ_TIME each, one after the other (their seeds run in test-unit)
	nice scripts/fuzz.sh $(FUZZ_TIME)

.PHONY: planted
planted: ## plants every bug of docs/planted-bugs.md: its test must fail
	scripts/planted.sh all

.PHONY: planted-fast
planted-fast: ## those of them that need no cluster, as CI does
	scripts/planted.sh fast

.PHONY: model
model: ## every state of the model of host state, then its mutations (docs/model; 90 s of one core)
	python3 docs/model/host_state_model.py

.PHONY: bench
bench: build ## benchmarks: figures, no verdict; those of the commands need about eight minutes
	go test -run='^$$' -p=1 $(BENCH_ARGS) ./raftstore/... ./stateserver/storage/... ./stateserver/backend/... ./clients/go/...
	bin/holdfast bench state
	bin/holdfast bench flush
	bin/holdfast bench count
	bin/holdfast bench failover
	bin/holdfast bench memory
	bin/holdfast bench checkpoints
	$(MAKE) bench-state

.PHONY: bench-state
bench-state: build ## the figures of state on hosts beside their peers: about four minutes
	bin/holdfast bench path
	bin/holdfast bench map
	bin/holdfast bench cuts
	bin/holdfast bench savepoint

.PHONY: bench-large
bench-large: build ## rocksdb and Pebble with ten million keys and a cache of an eighth of them: minutes
	bin/holdfast bench path --backends rocksdb --keys 10000000 --cache-mb 40 --rounds 3

##@ Check

.PHONY: verify
verify: check-proto proto-breaking lint build race planted-fast test ## what CI runs: static checks first, tests last

.PHONY: lint
lint: $(TOOLS)/golangci-lint ## vet, staticcheck and the few others of .golangci.yml
	$(TOOLS)/golangci-lint run ./...

.PHONY: proto
proto: $(PROTO_TOOLS) ## format the protos and generate the Go code
	scripts/proto.sh generate

.PHONY: check-proto
check-proto: $(PROTO_TOOLS) ## buf lint, and the checked-in code equals a fresh generation
	scripts/proto.sh check

.PHONY: proto-breaking
proto-breaking: $(TOOLS)/buf ## compatible with the last release, or with main (PROTO_BASE=revision)
	scripts/proto.sh breaking

.PHONY: docs
docs: ## write the reference pages of the configuration and of the metrics anew
	go generate ./internal/config
	go test ./stateserver/daemon -run Metrics_PageIsTheRegistry -count=1 -update

.PHONY: fmt
fmt: fix-fmt ## the same as fix-fmt

.PHONY: fix-fmt
fix-fmt: $(TOOLS)/golangci-lint ## format the Go code
	$(TOOLS)/golangci-lint fmt

.PHONY: fix-lint
fix-lint: $(TOOLS)/golangci-lint ## what the linters can repair themselves
	$(TOOLS)/golangci-lint run --fix ./...

.PHONY: fix-proto
fix-proto: proto ## the same as proto

##@ Tools

.PHONY: tools
tools: $(PROTO_TOOLS) $(TOOLS)/golangci-lint ## build the pinned developer tools into build/tools

$(TOOLS)/%: tools/%/go.mod tools/%/go.sum tools/install.sh
	@tools/install.sh $* $@

.PHONY: venv
venv: $(VENV)/.requirements ## a Python environment with the pinned gRPC packages

$(VENV)/.requirements: clients/conformance/requirements.txt
	python3 -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@cp $< $@

.PHONY: python-stubs
python-stubs: venv ## Python stubs of the protos into build/python, for clients/conformance/minimal.py
	clients/conformance/gen.sh build/python

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

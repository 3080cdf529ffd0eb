# Everything that one does with this repository. `make help` lists it.
# Each target installs what it needs (scripts/deps.sh); Go and make are enough.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/causeway-cni/causeway/rpc.Version=$(VERSION)
# Without grpc's request tracing, html/template and its start-up cost stay out.
BUILD    = CGO_ENABLED=0 $(GO) build -trimpath -tags grpcnotrace -ldflags '$(LDFLAGS)' -o

# The kernel tests look for programs that may not be in a user's path.
export PATH := $(PATH):/usr/sbin:/sbin
export GO

.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the programs into bin/
	@scripts/deps.sh build
	$(BUILD) bin/ipamd ./ipamd
	$(BUILD) bin/causeway-cni ./cni-plugin
	$(BUILD) bin/vpcsim ./scripts/vpcsim

.PHONY: image
image: build ## make the container image bin/causeway.tar, with no daemon, for `ctr images import`; NAME=registry/causeway:tag
	@scripts/deps.sh image
	$(GO) run ./scripts/release/image -version $(VERSION) $(if $(NAME),-name $(NAME)) -o bin/causeway.tar

.PHONY: manifests
manifests: ## render the chart into bin/causeway.yaml, with no Helm; ARGS='-set env.CLUSTER_ENDPOINT=https://...'
	@mkdir -p bin
	$(GO) -C scripts/tools/helm build -o $(CURDIR)/bin/helm .
	bin/helm $(ARGS) config/chart > bin/causeway.yaml.new && mv bin/causeway.yaml.new bin/causeway.yaml

.PHONY: demo
demo: build ## raise a VPC on this machine and send packets along every walk; MODE=nftables, KEEP=1 leaves it up
	@scripts/deps.sh demo
	$(BUILD) bin/demo ./scripts/e2e/demo
	bin/demo $(if $(MODE),-mode $(MODE)) $(if $(KEEP),-keep)

.PHONY: cluster
cluster: ## raise a real Kubernetes cluster on a simulated VPC; NODES=n, MODE=nftables
	@scripts/deps.sh cluster
	$(GO) build -o bin/cluster ./scripts/kubernetes/cluster
	bin/cluster $(if $(NODES),-nodes $(NODES)) $(if $(MODE),-mode $(MODE)) up

.PHONY: cluster-down
cluster-down: ## end the cluster of `make cluster`
	$(GO) build -o bin/cluster ./scripts/kubernetes/cluster
	bin/cluster down

.PHONY: e2e
e2e: ## run the stories against a real Kubernetes cluster of their own; MODE=nftables, RACE=1, STORY=name, COUNT=n
	@scripts/deps.sh cluster
	$(if $(RACE),@scripts/deps.sh race)
	$(GO) test -c -tags cluster -o bin/e2e ./scripts/kubernetes/stories
	cd scripts/kubernetes/stories && exec $(CURDIR)/bin/e2e -test.v -test.timeout 90m -test.count $(or $(COUNT),1) \
		$(if $(STORY),-test.run 'TestCluster/$(STORY)') $(if $(MODE),-mode $(MODE)) $(if $(RACE),-race-detector)

.PHONY: test
test: ## run all tests, on real network namespaces, with the race detector
	@scripts/deps.sh test
	$(GO) test -race -p 2 -timeout 20m ./...

.PHONY: lint
lint: ## run gofmt, go vet, staticcheck and shellcheck
	@scripts/deps.sh lint
	@scripts/lint.sh

.PHONY: bench
bench: build ## measure against public peers; writes bin/bench.json
	@scripts/deps.sh bench
	$(GO) run ./scripts/bench

.PHONY: difftest
difftest: ## compare with real kube-proxy in random clusters; CLUSTERS=n, SEED=n
	@scripts/deps.sh difftest
	$(GO) test ./scripts/difftest -count=1 -v -timeout 60m -clusters $(or $(CLUSTERS),200) -seed $(or $(SEED),1)

.PHONY: sim-fleet
sim-fleet: ## start 1000 nodes at once in virtual time, beside aws-node's rules; NODES=n, PODS=n, SEED=n
	@scripts/deps.sh sim-fleet
	$(GO) test ./ipamd/internal/fleet -count=1 -v -beside -nodes $(or $(NODES),1000) -pods $(or $(PODS),10) -seed $(or $(SEED),1)

.PHONY: soak
soak: ## live through thousands of random lives of nodes that crash at any moment, and pods that go while the daemon is away; LIVES=n, CYCLES=n
	$(GO) test ./ipamd/internal/allocator -count=1 -timeout 60m -run 'TestRestartAnywhere$$' -lives $(or $(LIVES),10000)
	$(GO) test ./ipamd -count=1 -v -timeout 60m -run 'TestAway$$' -cycles $(or $(CYCLES),100000)

.PHONY: generate
generate: ## write generated files anew
	@scripts/deps.sh generate
	@scripts/generate.sh

.PHONY: clean
clean: ## remove what was built
	rm -rf bin

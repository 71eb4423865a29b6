# Everything that is done to this repository. `make test` is what has to pass,
# and it needs a Debian machine with Go, make, gcc and apt, no more.

# Where Go's own archive puts it, and Debian its servers, if that is in no PATH yet.
export PATH := $(PATH):/usr/local/go/bin:/usr/sbin

# Tools are built once, at these versions, into a folder of this checkout.
TOOLS         := $(CURDIR)/.cache/bin
GOFUMPT       := $(TOOLS)/gofumpt-v0.12.0
GOLANGCI_LINT := $(TOOLS)/golangci-lint-v2.15.0
CYCLONEDX     := $(TOOLS)/cyclonedx-gomod-v1.10.0

# What the tests of internal/demo/models train from; see scripts/sklearn-data.
export SKLEARN_DATA := $(CURDIR)/.cache/sklearn-data

# The second identity provider of the browser tests; see scripts/oidc-provider.
export OIDC_PROVIDER := $(CURDIR)/.cache/oidc-provider

# What checks deploy/prometheus and the dashboard; see scripts/promtool.
export PROMTOOL := $(CURDIR)/.cache/promtool

# How long each fuzz target runs: a number of inputs, since a target that is cut
# after a time may fail with "context deadline exceeded" (golang/go#75804).
FUZZTIME := 1000x

# Folders with Go code; those that start with a dot are not meant.
FOLDERS := $(wildcard */)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help test deps lint build soak bench fuzz fmt generate image-test release release-test

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

test: deps lint build ## install what is missing, then check everything
	go test -race -p 1 ./... # one package at a time: some measure, and all start servers
	scripts/fuzz $(FUZZTIME)

deps: ## install what the tests need: a Chromium, a Redis, scikit-learn's data, …
	scripts/deps
	scripts/oidc-provider $(OIDC_PROVIDER)
	scripts/sklearn-data $(SKLEARN_DATA)
	scripts/promtool $(PROMTOOL)

lint: $(GOFUMPT) $(GOLANGCI_LINT) ## formatting, vet, golangci-lint, modules
	@unformatted=$$($(GOFUMPT) -l $(FOLDERS)); \
	if [ -n "$$unformatted" ]; then printf 'not formatted (make fmt does it):\n%s\n' "$$unformatted"; exit 1; fi
	go vet ./...
	$(GOLANGCI_LINT) run ./...
	go mod tidy -diff
	go mod verify

build: ## the static binary, bin/amlproxy
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/amlproxy ./cmd/amlproxy

# More flags of internal/bench, see there: BENCH='-scale 0.1'
BENCH := -write docs/performance.md

bench: build ## compare with a bare reverse proxy, on two cores that do nothing else
	go run ./internal/bench -binary bin/amlproxy $(BENCH)

# What the long tests measured, one row a test; they add to it, see internal/soak.
SOAK_TABLE := $(CURDIR)/.cache/soak.tsv
SOAK_TESTS := Soak|RotationUnderLoad|ModeAndAddress|ARevokedCredential|Unkindness|AnUpload|DemoChaos|CrowdCannot|ReplicasShareALimit|NobodyReadsStops|EveryCallIsOnRecord|AnAuditOnAPipe

soak: deps ## what takes minutes and the whole machine; prints the table of faults, with figures
	@rm -f $(SOAK_TABLE)
	@failed=0; for package in ./proxy ./authn ./internal/app ./cmd/amlproxy; do \
		SOAK=1 SOAK_TABLE=$(SOAK_TABLE) go test -count=1 -timeout 30m -run '$(SOAK_TESTS)' $$package || failed=1; \
	done; \
	printf '\n'; { printf 'fault\twhat was done\tfigure\tpromise\tverdict\n'; sort -V $(SOAK_TABLE); } | column -t -s "$$(printf '\t')"; \
	exit $$failed

fuzz: ## run every fuzz target, each for FUZZTIME
	scripts/fuzz $(FUZZTIME)

fmt: $(GOFUMPT) $(GOLANGCI_LINT) ## format the code
	$(GOLANGCI_LINT) fmt
	$(GOFUMPT) -w $(FOLDERS)

generate: deps ## train the demo's models again
	go generate ./...

image-test: ## build the image and run it, as root on a Debian
	scripts/image-test

release: $(CYCLONEDX) ## archives for six platforms, checksums and SBOMs, in dist/
	CYCLONEDX=$(CYCLONEDX) scripts/release dist

release-test: $(CYCLONEDX) ## make the release twice and compare
	CYCLONEDX=$(CYCLONEDX) scripts/release-test

$(GOFUMPT):
	CGO_ENABLED=0 GOBIN=$(TOOLS) go install mvdan.cc/gofumpt@v0.12.0
	mv $(TOOLS)/gofumpt $@

$(GOLANGCI_LINT):
	CGO_ENABLED=0 GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
	mv $(TOOLS)/golangci-lint $@

# It writes a checksum of itself into what it makes: -trimpath, so that it is the same everywhere.
$(CYCLONEDX):
	CGO_ENABLED=0 GOBIN=$(TOOLS) go install -trimpath github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
	mv $(TOOLS)/cyclonedx-gomod $@

# `make help` lists the targets. All of them work on a fresh clone: what is
# missing on the machine is installed by scripts/install-test-tools.

SHELL := /bin/bash
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/bin/tools:$(PATH):/usr/local/sbin:/usr/sbin:/sbin

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BUILD    = CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

# What `make bench` passes on, e.g. make bench BENCH='-quick -case a,b'
BENCH ?=
# Seconds for each fuzz target in `make fuzz`.
FUZZTIME ?= 60

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

.PHONY: build
build: ## the program: one static binary, bin/waybill
	$(BUILD) -o bin/waybill ./cmd/waybill

.PHONY: demo
demo: build ## many unlike sources, one pull, on this machine alone
	bin/waybill demo

.PHONY: test
test: tools lint ## everything CI runs: linters, fuzz targets, vulnerabilities, tests
	scripts/fuzz
	scripts/vulncheck
	go test -race -timeout 20m ./...

.PHONY: lint
lint: tools ## gofmt, go vet, staticcheck
	@unformatted=$$(git ls-files -co --exclude-standard '*.go' | xargs -r gofmt -l); \
	  [ -z "$$unformatted" ] || { printf 'not gofmt-ed:\n%s\n' "$$unformatted"; exit 1; }
	go vet ./...
	staticcheck ./...

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME seconds (60)
	scripts/fuzz $(FUZZTIME) 1000000

.PHONY: bench
bench: build ## measure against the peers, into BENCHMARKS.md (BENCH='-quick -case a')
	@scripts/install-test-tools test bench
	go run ./bench $(BENCH)

.PHONY: tools
tools: ## install what the tests run against (apt, go install)
	@scripts/install-test-tools test

.PHONY: clean
clean: ## remove what was built, tools too
	rm -rf bin

# The same targets serve people and CI. `make` alone lists them.

GO ?= go
FUZZTIME ?= 10s
BENCHFLAGS ?=
BENCHCOUNT ?= 6
BENCHSTAT := golang.org/x/perf/cmd/benchstat@v0.0.0-20230113213139-801c7ef9e5c5
MODULE := github.com/seed83435595/caddy-llm-proxy

.PHONY: help run build test unit lint vuln fuzz xcaddy sdks promtool alerts redis postgres bench bench-micro bench-baseline bench-compare crashtest

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

run: build ## start a gateway with a simulated provider behind it
	./bin/caddy run --config examples/quickstart.Caddyfile

build: ## build bin/caddy
	$(GO) build -o bin/caddy ./cmd/caddy

test: sdks redis postgres promtool build ## run everything that must pass
	$(GO) vet ./...
	test -z "$$(gofmt -l .)" || { gofmt -l .; echo "these files want gofmt"; exit 1; }
	./scripts/xcaddy.sh
	LLM_CADDY="$(CURDIR)/bin/caddy" $(GO) test -race -timeout 20m ./...

unit: ## run the tests that need no servers
	$(GO) test -short ./...

sdks: ## install the SDKs that the end-to-end tests drive the gateway with
	./scripts/install-sdks.sh

redis: ## install the redis-server that the tests start
	./scripts/install-redis.sh

postgres: ## install the PostgreSQL that the tests start
	./scripts/install-postgres.sh

promtool: ## fetch the promtool that the tests of the alerts use
	./scripts/install-promtool.sh

alerts: promtool ## test the alert rules and the dashboard
	$(GO) test ./deploy

xcaddy: ## build a Caddy with xcaddy and look for our modules in it
	./scripts/xcaddy.sh

crashtest: build ## hold the crash test with its full timings
	$(GO) run ./bench/crashtest -caddy bin/caddy -profile full

lint: ## run the linters
	$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.8.0 run

vuln: ## look for known vulnerabilities; asks vuln.go.dev
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.1.4 ./...

fuzz: ## run every fuzz target for FUZZTIME
	@for package in $$($(GO) list ./...); do \
		dir=$${package#$(MODULE)}; \
		for target in $$(grep -hos '^func Fuzz[A-Za-z0-9]*' .$$dir/*_test.go | cut -c6-); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

bench: build ## measure beside a bare Caddy; BENCHFLAGS=-quick for two minutes, -help for more
	$(GO) build -o bin/bench ./bench
	./bin/bench $(BENCHFLAGS)

bench-micro: ## run the micro-benchmarks
	@mkdir -p bin
	@$(GO) test -run '^$$' -bench . -benchmem -count $(BENCHCOUNT) ./handler/... ./keypool/... ./streaming/... \
		| grep -E '^(goos|goarch|pkg|cpu|Benchmark)' | tee bin/bench-micro.txt

bench-baseline: bench-micro ## store the micro-benchmarks' results to compare with
	cp bin/bench-micro.txt bench/baseline.txt

bench-compare: bench-micro ## compare the micro-benchmarks with what is stored
	$(GO) run $(BENCHSTAT) bench/baseline.txt bin/bench-micro.txt

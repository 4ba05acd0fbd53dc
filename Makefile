# make run     build the gateway and start it on config.yaml
# make test    everything that must be true, with what the tests need installed first
# make fuzz    every fuzz target for a minute
# make mutants deliberately broken gateways, and the test that must notice each: a quarter of an hour
# make timing  whether time tells an account from none; wants a quiet machine
# make scale   what a store of a million people costs beside one of a thousand, and how its
#              file grows in a day; wants a quiet machine, 3 GB of disk and ten minutes
# make bench   what a checked request costs beside other proxies: ten minutes, bench/results.md
#              (bench-quick: two minutes; bench-storm: what sign-ins do to everyone else;
#              bench-long: what idle connections and WebSockets cost, ten minutes;
#              bench-parts: what each part of the way takes, by benchstat, three minutes)
# make excess  what too much of anything costs, in memory and everyone else: eight minutes
# make soak    twenty minutes of everything that people and strangers do: nothing may grow,
#              nothing may fail that was not asked to (make soak FOR=1m to try it)

BIN     := bin/doorward
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null)
# The race detector needs a C compiler.
RACE    := $(shell command -v "$$(go env CC)" >/dev/null 2>&1 && [ "$$(go env CGO_ENABLED)" = 1 ] && echo -race)
# Servers are installed there, where only root looks by itself.
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: run build test deps fuzz mutants timing scale bench bench-quick bench-storm bench-long bench-parts bench-deps excess soak

# What to try is said once this server is up, and not if it cannot start: exec
# keeps the number of the process, and a server that ran before is not this one.
run: build
	@if ! $(BIN) healthcheck >/dev/null 2>&1; then \
		tries=50; until $(BIN) healthcheck >/dev/null 2>&1; do \
			tries=$$((tries-1)); [ $$tries -gt 0 ] && kill -0 $$$$ 2>/dev/null || exit 0; sleep 0.2; \
		done && echo "$$TRY" & \
	fi; \
	exec $(BIN) serve --config config.yaml

define TRY

Doorward is up, in front of a backend that answers with what it received. Ctrl-C stops it.
In another terminal:  curl http://localhost:8080/hello
and all the lines of README.md under "Try it": sign up, sign in, call, refresh, sign out.
In a browser:         http://localhost:8080/

endef
export TRY

build:
	go build -ldflags "-X main.version=$(VERSION) -X main.commit=$(COMMIT)" -o $(BIN) ./cmd/doorward

test: deps
	@unformatted=$$(gofmt -l $$(go list -f '{{.Dir}}' ./...)); \
	if [ -n "$$unformatted" ]; then echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go vet -tags timing,scale ./authn ./store/bolt
	DOORWARD_TEST_TOOLS=require go test $(RACE) -timeout 14m ./...

deps:
	@sh .ci/deps

fuzz:
	@set -e; for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime 1m $$pkg; \
		done; \
	done

mutants:
	go run ./mutants

timing:
	go test -tags timing -run Timing -count 1 -v ./authn

scale:
	go test -tags scale -run TestScale -count 1 -timeout 20m -v ./store/bolt

bench: bench-deps
	go run ./bench -rounds 10 -slice 3s -out bench/results.md

bench-quick: bench-deps
	go run ./bench -rounds 5 -slice 1s

bench-storm: bench-deps
	go run ./bench -rounds 3 -storm 10s

bench-long:
	go run ./bench -long -rounds 2 -slice 10s

excess:
	go run ./bench -excess -slice 3s

FOR ?= 20m
soak:
	go run ./bench -soak $(FOR)

# What a part takes, ready to be compared: bench-parts OUT=before.txt, a change,
# bench-parts OUT=after.txt, and benchstat before.txt after.txt.
OUT       := bench/parts.txt
BENCHSTAT := go run golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da

bench-parts:
	go test -run '^$$' -bench 'Plain|AtBound|Identify|RoundTrip|AccessLine|Proxied|Session' -benchtime 0.5s -count 6 ./policy ./authn ./store/bolt ./gateway >$(OUT)
	$(BENCHSTAT) $(OUT)
	$(BENCHSTAT) -filter '.name:(RoundTrip OR AccessLine)' -col /by $(OUT)

bench-deps:
	@sh bench/deps.sh

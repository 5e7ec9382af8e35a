# handoff: thin names over cargo. `make` lists them.
#
# ARGS goes through to the command, as in  make run ARGS='--workers 2'

PREFIX ?= /usr/local
TARGET := $(or $(CARGO_TARGET_DIR),target)

# rustup puts cargo here, and into PATH only after the next login.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin
CARGO = $(or $(shell PATH='$(PATH)' command -v cargo),$(error \
	there is no cargo in PATH or ~/.cargo/bin: install Rust from https://rustup.rs))

# A recipe is one script and ends at its first failure.
.ONESHELL:
.SHELLFLAGS := -ec
.PHONY: help build run test chaos step lint doc bench ffi demo install clean deps \
	bench-deps bench-nodes
.DEFAULT_GOAL := help

help: ## list these targets
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) |
	while IFS='	' read -r name what; do
		printf '  make %-8s %s\n' "$$name" "$$what"
	done

build: ## build the release binary, target/release/handoff
	@$(CARGO) build --release

run: build ## build, then serve on 127.0.0.1:3000 (ARGS='--workers 2')
	@exec $(TARGET)/release/handoff serve $(ARGS)

test: deps ## get what the tests need (see deps), then run them all
	@$(CARGO) test $(ARGS)

chaos: ## kill, stop and reload under load (OF='handoff no-salvage nginx node')
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin" # where daemons are
	HANDOFF_CHAOS='$(ARGS)' HANDOFF_CHAOS_OF='$(OF)' $(CARGO) test --release --test chaos -- \
		--ignored --nocapture --test-threads 1

step: ## kill a worker at every single instruction of a request
	@$(CARGO) test --release --test salvage every_instruction -- \
		--ignored --nocapture

lint: ## check the format, lints, documentation and dependencies
	@$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps
	found=$$($(CARGO) tree --depth 1 --edges normal,build --target all \
		--all-features --prefix none --format '{p}' |
		sed '1d; s/ .*//' | sort | tr '\n' ' ')
	[ "$$found" = 'libc log memchr simple_logger ' ] || {
		echo "lint: [dependencies] must be libc, log, memchr," \
			"simple_logger and are $$found" >&2
		exit 1
	}

doc: ## build the documentation, private items included, for reading
	@$(CARGO) doc --no-deps --document-private-items

bench: bench-deps bench-nodes ## measure us and others, some 40 min (QUICK=1, ARGS=close64)
	@$(CARGO) bench --bench compare -- $(ARGS)
	[ -z '$(ARGS)' ] || exit 0
	micro=benches/results/$(if $(filter-out 0,$(QUICK)),quick/)micro.txt
	{
		date -u +%Y-%m-%dT%H:%M:%SZ
		sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1
		uname -srm
		rustc --version
		$(CARGO) bench --bench parse --bench decisions --bench handover
	} >$$micro
	echo "the smallest parts: $$micro"

ffi: $(TARGET)/ffi/socketpair ## build the article's C program
$(TARGET)/ffi/socketpair: ffi/socketpair.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -O2 -Wall -Wextra -Werror $(CFLAGS) -o $@ $<

demo: build ## run a demo of the article (ARGS=socketpair; none: list them)
	@exec $(TARGET)/release/handoff demo $(or $(ARGS),--help)

install: build ## install the binary under PREFIX (/usr/local), DESTDIR first
	@install -D -m 755 $(TARGET)/release/handoff \
		"$(DESTDIR)$(PREFIX)/bin/handoff"

clean: ## remove everything that was built
	@$(CARGO) clean

# A test that lacks its tool says so and is skipped; under CI none may be.
deps: ## get what the tests need beside Rust, if root (DEPS=no: name it)
deps: TOOLS := cc node wrk nginx haproxy
deps: WITHOUT := the tests that need them WILL BE SKIPPED
bench-deps: TOOLS := cc node wrk nginx haproxy h2o strace
bench-deps: WITHOUT := the benchmark leaves them out; it cannot be without wrk
deps bench-deps:
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin" # where daemons are
	has() {
		case $$1 in
		node) node -e 'parseInt(process.versions.node) >= 18 || process.exit(1)' ;;
		*) command -v $$1 ;;
		esac >/dev/null 2>&1
	}
	missing() { for tool in $(TOOLS); do has $$tool || echo $$tool; done; }
	package() { # of the tool $$1, under this distribution's name
		case $$1,$$manager in
		cc,apt-get) echo gcc libc6-dev ;;
		cc,apk) echo gcc musl-dev ;;
		cc,*) echo gcc ;;
		node,*) echo nodejs ;;
		*) echo $$1 ;;
		esac
	}
	get() {
		case $$manager in
		apt-get) DEBIAN_FRONTEND=noninteractive apt-get install -y \
			--no-install-recommends -o DPkg::Lock::Timeout=120 "$$@" ;;
		dnf) dnf install -y "$$@" ;;
		pacman) pacman -Sy --noconfirm --needed "$$@" ;;
		apk) apk add --no-cache "$$@" ;;
		zypper) zypper --non-interactive install "$$@" ;;
		esac 2>&1
	}
	[ "$$(missing)" ] || { echo '$@: here: $(TOOLS)'; exit 0; }
	manager=
	for each in zypper apk pacman dnf apt-get; do
		! command -v $$each >/dev/null || manager=$$each
	done
	if [ "$$manager" ] && [ "$$(id -u)" = 0 ] && [ '$(DEPS)' != no ]; then
		[ $$manager != apt-get ] || apt-get update -qq || :
		policy=/usr/sbin/policy-rc.d # Debian starts no daemon if it says so
		if [ $$manager = apt-get ] && [ ! -e $$policy ]; then
			trap 'rm -f $$policy' EXIT
			printf '#!/bin/sh\nexit 101\n' >$$policy
			chmod 755 $$policy
		fi
		for tool in $$(missing); do # singly: a distribution may lack one
			echo "$@: installing $$tool with $$manager"
			log=$$(get $$(package $$tool)) || echo "$$log" >&2
		done
	fi
	missing=$$(missing | tr '\n' ' ')
	[ "$$missing" ] || exit 0
	{
		echo "$@: missing: $$missing" | sed 's/node/node (18 or newer)/'
		[ -z "$$manager" ] || echo '$@: root gets with make $@:' \
			$$(for tool in $$missing; do package $$tool; done)
		[ -z "$$CI" ] || [ $@ = bench-deps ] || {
			echo 'deps: CI must not skip a test'
			exit 1
		}
		echo '$@: $(WITHOUT)'
	} >&2

# The releases of Node that are compared: npm has each as a package.
bench-nodes:
	@[ '$(DEPS)' != no ] || exit 0
	for major in 20 24; do
		folder=$(TARGET)/bench/node$$major
		case "$$(node --version 2>/dev/null)" in v$$major.*) continue ;; esac
		[ ! -x $$folder/node_modules/node/bin/node ] || continue
		echo "$@: installing Node $$major with npm"
		mkdir -p $$folder
		npm install --silent --prefix $$folder node@$$major ||
			echo "$@: no Node $$major: the benchmark leaves it out" >&2
	done

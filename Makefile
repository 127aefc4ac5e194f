# The same few verbs for everything; `make help` lists them.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp
OPA := .tools/bin/opa

.DEFAULT_GOAL := help
.PHONY: help setup demo test slow check lint type rego opa redis bench clean golden pins wheel manifests image

help: ## list the verbs
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: $(STAMP) opa ## the environment in .venv and OPA in .tools

demo: setup ## an agent, the real OKX server, and the sidecar between them
	@$(BIN)/python -m tests.demo

test: setup redis manifests ## every test, the Rego ones included, but for the slow ones
	$(OPA) test --fail-on-empty rego
	$(BIN)/pytest -m "not slow"

slow: setup ## the slow tests: what is built, installed and run as a whole
	$(BIN)/pytest -m slow

check: setup lint type rego ## everything but the tests: style, types, imports, Rego, generated files

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

type: $(STAMP)
	$(BIN)/mypy

rego: $(STAMP) opa
	$(OPA) fmt --diff --fail rego tests/golden
	$(OPA) check --strict rego
	@for policy in policies/*.yaml; do \
		name=$$(basename $$policy .yaml); \
		$(BIN)/sidecar compile -c $$policy -o tests/golden/$$name --check && \
		$(OPA) check --strict --bundle tests/golden/$$name || exit 1; \
	done

opa: ## the pinned OPA in .tools/bin
	@PYTHON=$(PYTHON) .ci/build-opa

redis: ## the redis-server that tests start
	@.ci/install-redis

bench: setup ## latency and throughput: direct, through us, through BENCH_PEERS='name=command'
	@$(BIN)/python -m tests.bench

wheel: setup ## wheels for Linux on x86_64 and arm64 that carry OPA, into dist
	@deploy/wheel/build

manifests: setup ## the Kubernetes manifests, built into build/manifests and checked for two versions of Kubernetes
	@.ci/build-kustomize
	@cp rego/system/authz.rego rego/system/mask.rego deploy/base
	@mkdir -p build/manifests && cp deploy/quickstart.yaml build/manifests
	@for folder in base overlays/beside-server overlays/beside-agent overlays/shared; do \
		.tools/bin/kustomize build deploy/$$folder -o build/manifests/$$(basename $$folder).yaml || exit 1; \
	done
	@for version in 1.33 1.37; do \
		$(BIN)/kubernetes-validate --strict --quiet -k $$version build/manifests/*.yaml || exit 1; \
	done

image: setup ## the images, built with podman from this machine's wheel; BASE=IMAGE@DIGEST names what they are built on
	@.ci/install-podman
	@deploy/wheel/build $$(uname -m | sed -e s/x86_64/amd64/ -e s/aarch64/arm64/)
	@deploy/build-image

golden: setup ## write the compiled example policies again
	@for policy in policies/*.yaml; do \
		$(BIN)/sidecar compile -c $$policy -o tests/golden/$$(basename $$policy .yaml); \
	done

pins: $(STAMP) ## pin every dependency again, to the newest that fits
	$(BIN)/uv pip compile --universal --python-version 3.11 --upgrade --generate-hashes --no-header --no-annotate \
		--extra dev pyproject.toml -o .ci/requirements.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --upgrade --generate-hashes --no-header --no-annotate \
		--constraint .ci/requirements.txt pyproject.toml -o deploy/requirements.txt

clean: ## remove everything that was built
	rm -rf .venv .tools .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache dist build
	find . -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): .ci/requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else f"Python 3.11 to 3.13 is needed, and $(PYTHON) is {sys.version.split()[0]}: name another with make PYTHON=...")'
	@$(PYTHON) -m venv .venv || { echo "the venv module does not work: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/pip install --disable-pip-version-check --progress-bar off --quiet --no-deps --require-hashes -r .ci/requirements.txt
	$(BIN)/pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@

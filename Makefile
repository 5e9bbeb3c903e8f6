# What a contributor needs, from nothing but Python >= 3.11, git and make. `make` alone lists it.

PYTHON ?= python3
ARGS ?=

# Tests wait most of the time, so more of them run at once than there are cores. The tests of one file
# share their servers, and stay together.
WORKERS ?= 4

VENV := .venv
BIN := $(VENV)/bin
ENTERPRISE_VENV := .venv-enterprise
OLDEST_VENV := .venv-oldest
# The tests on the oldest versions that pyproject.toml allows: what reads and writes JSON by msgspec,
# stands on Jupyter's own classes, or reaches into aiohttp.
OLDEST_TESTS := tests/link tests/rest tests/settings tests/wire \
	$(patsubst %,tests/headless/test_%.py,built_in_names client jupyter_client_private local_methods \
		manager nbclient papermill) \
	$(patsubst %,tests/%.py,credentials/test_oauth2 server/pages/test_tornado_private test_managers) \
	$(patsubst %,tests/transport/test_%.py,aiohttp_private bodies pool tls) \
	$(patsubst %,tests/server/test_%.py,built_in_names classes inherited_options kernels kernelspecs \
		like_built_in sessions jupyter_server_private signals starting switch websocket)
# Jupyter Servers that take no kernel id from a client; Kernel Gateway runs on them in some tests.
OLDER_SERVERS := 2.12.5 2.17.0 2.20.0

# The packages without I/O: their own tests run every line and branch of them.
PURE := wire link settings rest

NPM := $(shell command -v npm)
NODE_MODULES := labextension/node_modules/.package-lock.json
LABEXTENSION_SOURCES := $(wildcard labextension/src/*.ts) $(addprefix labextension/, \
	package.json tsconfig.json core/package.json install.json)
LABEXTENSION_INSTALLED := $(VENV)/share/jupyter/labextensions/@jupyter-relay/labextension

# Enterprise Gateway imports distutils, which Python 3.12 no longer has, and is pinned for 3.11.
is_python_311 = $(shell $(1) -c 'import sys; print("$(1)" if sys.version_info[:2] == (3, 11) else "")' 2>/dev/null)
ENTERPRISE_PYTHON ?= $(firstword $(foreach python,$(PYTHON) python3.11,$(call is_python_311,$(python))))

.DEFAULT_GOAL := help
.PHONY: help demo test test-long check coverage settings-page link-diagram compatibility-page bench soak browser browser-test oldest-test reverse-proxy enterprise-gateway no-enterprise-gateway labextension labextension-test node clean

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## */\1\t/p' $(MAKEFILE_LIST) | while IFS='	' read -r name text; do \
		printf '  make %-20s %s\n' "$$name" "$$text"; done

demo: $(VENV)/installed  ## Start a Kernel Gateway and JupyterLab on it (ARGS=--check: run the example and compare)
	$(BIN)/python tools/demo.py $(ARGS)

test: check enterprise-gateway  ## Run linters, type checks and the tests, without the long ones and a browser
	$(BIN)/python -m pytest -m "not browser and not long" --numprocesses $(WORKERS) --dist loadfile $(ARGS)

test-long: $(VENV)/installed enterprise-gateway  ## Run the tests that take long: outages of minutes, hundreds of cuts
	$(BIN)/python -m pytest -m long --numprocesses $(WORKERS) --dist loadfile $(ARGS)

check: $(VENV)/installed  ## Run linters, type checks and the coverage of the pure packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory --jobs 2 coverage

coverage: $(PURE:%=coverage-%)  ## Measure how much of each pure package is run by its own tests

# Without the tests that take long to explore at random: the others reach every branch.
coverage-%: export COVERAGE_FILE = .coverage-$*
coverage-%: $(VENV)/installed
	$(BIN)/coverage run --source=src/jupyter_relay/$* -m pytest --quiet --quiet -p no:cacheprovider \
		--hypothesis-profile=coverage --ignore-glob='*_stateful.py' tests/$*
	$(BIN)/coverage report --fail-under=100

settings-page: $(VENV)/installed  ## Write docs/settings.md from the table of options
	$(BIN)/python tools/settings_page.py > docs/settings.md

link-diagram: $(VENV)/installed  ## Write the state diagram in docs/link.md from the table of a link
	$(BIN)/python tools/link_diagram.py

compatibility-page: $(VENV)/installed  ## Write docs/compatibility.md from the table of inherited options
	$(BIN)/python tools/compatibility_page.py > docs/compatibility.md

bench: $(VENV)/installed  ## Measure, beside the built-in client and a bare one (ARGS=--short: in less time)
	PYTHONPATH=src $(BIN)/python -m bench $(ARGS)

soak: $(VENV)/installed  ## Run bursts of cells under cuts, ten minutes on ten kernels (ARGS="--minutes 60 --kernels 10")
	$(BIN)/python -m tests.faults.soak $(ARGS)

browser:  ## Install Chromium from the system's packages (as root)
	@if command -v chromium || command -v chromium-browser || command -v google-chrome; then \
		echo "A browser is already installed."; \
	elif command -v apt-get >/dev/null 2>&1; then \
		apt-get update && apt-get install --yes --no-install-recommends chromium; \
	else \
		echo "There is no apt-get here: install Chromium by hand." >&2; exit 1; \
	fi

browser-test: $(VENV)/installed enterprise-gateway $(if $(NPM),labextension)  ## Run the tests that drive JupyterLab in a browser
	$(BIN)/python -m pytest -m browser $(ARGS)

labextension: $(LABEXTENSION_INSTALLED)/package.json  ## Build the JupyterLab extension into the environment (with Node 20)

labextension-test: $(NODE_MODULES)  ## Run the linter and the unit tests of the JupyterLab extension (with Node 20)
	cd labextension && npm run --silent lint && npm run --silent test

oldest-test: $(OLDEST_VENV)/installed  ## Run the tests on the oldest versions that pyproject.toml allows
	$(OLDEST_VENV)/bin/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(OLDEST_TESTS) $(ARGS)

# Under systemd Debian's package also starts a server on port 80, which no test needs.
reverse-proxy:  ## Install nginx from the system's packages (as root), for the tests behind it
	@if PATH="$$PATH:/usr/sbin:/usr/local/sbin" command -v nginx; then \
		echo "nginx is already installed."; \
	elif command -v apt-get >/dev/null 2>&1; then \
		apt-get update && apt-get install --yes --no-install-recommends nginx; \
	else \
		echo "There is no apt-get here: install nginx by hand." >&2; exit 1; \
	fi

# Without a Python for it this says so and succeeds; the tests that need it are then skipped.
enterprise-gateway: $(if $(ENTERPRISE_PYTHON),$(ENTERPRISE_VENV)/installed,no-enterprise-gateway)  ## Make the environment for the tests on Enterprise Gateway (Python 3.11)

no-enterprise-gateway:
	@echo "Enterprise Gateway needs Python 3.11 and there is none here: its tests will be skipped." >&2

# Also where node_modules is there: an older Node fails with a riddle.
node:
	@node --eval 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' || \
		{ echo "The JupyterLab extension is built and tested with Node 20 or newer: install it." >&2; exit 1; }

$(NODE_MODULES): labextension/package-lock.json | node
	cd labextension && npm ci --silent

$(LABEXTENSION_INSTALLED)/package.json: $(NODE_MODULES) $(LABEXTENSION_SOURCES) | $(VENV)/installed
	cd labextension && npm run --silent build
	rm -rf $(LABEXTENSION_INSTALLED)
	mkdir -p $(LABEXTENSION_INSTALLED)
	cp -R labextension/built/. labextension/install.json $(LABEXTENSION_INSTALLED)

clean:  ## Remove the environments and everything generated
	rm -rf $(VENV) $(ENTERPRISE_VENV) $(OLDEST_VENV) dist
	rm -rf labextension/node_modules labextension/lib labextension/build labextension/built
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Unlike --constraint, these reach the isolated environment of the build: one in older versions of
# pip, the other in newer ones.
$(VENV)/installed: export PIP_CONSTRAINT := constraints.txt
$(VENV)/installed: export PIP_BUILD_CONSTRAINT := constraints.txt
$(VENV)/installed: pyproject.toml constraints.txt neighbours.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,browser]'
	@test -e $(LABEXTENSION_INSTALLED)/package.json || \
		echo "JupyterLab is without our extension here: make labextension says what is missing." >&2
	# Beside the rest: installed, they would take over how every JupyterLab of the tests runs cells.
	# Each in a folder of its own, since two of them exclude each other.
	sed -n 's/^\([a-z-]*\): /\1 /p' neighbours.txt | while read -r name packages; do \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
			--target $(VENV)/neighbours/$$name $$packages || exit 1; done
	# Each beside the rest, for a gateway that has it before everything else in its PYTHONPATH.
	for version in $(OLDER_SERVERS); do \
		PIP_CONSTRAINT= $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
			--upgrade --target $(VENV)/older/$$version jupyter_server==$$version || exit 1; \
	done
	touch $@

$(ENTERPRISE_VENV)/installed: export PIP_CONSTRAINT := constraints-enterprise.txt
$(ENTERPRISE_VENV)/installed: constraints-enterprise.txt
	test -x $(ENTERPRISE_VENV)/bin/python || $(ENTERPRISE_PYTHON) -m venv $(ENTERPRISE_VENV)
	$(ENTERPRISE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		jupyter_enterprise_gateway ipykernel
	touch $@

$(OLDEST_VENV)/installed: export PIP_CONSTRAINT := constraints-oldest.txt
$(OLDEST_VENV)/installed: export PIP_BUILD_CONSTRAINT := constraints-oldest.txt
$(OLDEST_VENV)/installed: pyproject.toml constraints-oldest.txt
	test -x $(OLDEST_VENV)/bin/python || $(PYTHON) -m venv $(OLDEST_VENV)
	$(OLDEST_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[oauth2,papermill,testing]' blockbuster hypothesis 'ipykernel>=7' ipywidgets nbclient \
		proxy.py psutil pytest-asyncio pytest-timeout pytest-xdist trustme
	# It asks for a newer traitlets than ours does, and runs on this one.
	$(OLDEST_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		jupyter_kernel_gateway
	touch $@

# Everything a person needs to try, check and test quart_sse. A virtual environment is made by the
# first target that needs it, and brought up to date when pyproject.toml has changed.
#   make demo PORT=8001 QUART_SSE_BROKER_URL=redis://localhost
#   make demo-redis PORTS="8001 8002 8003"
#   make test ARGS="-k resume -x"
#   make clean test PYTHON=/path/to/python3.12
# PYTHON counts when the environment is made; without it the scripts look for one that runs.

.PHONY: help demo demo-redis test test-browsers test-all test-packages test-min check format docs hooks script bench bench-check soak faults attack proxies clean
.DEFAULT_GOAL := help

RUN := .venv/bin/python -m
ARGS :=

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: .venv/.stamp-run ## Run the example; PORT and QUART_SSE_BROKER_URL are passed on
	@$(RUN) example $(ARGS)

demo-redis: .venv/.stamp-run ## Run it as two processes, a worker and a Redis; PORTS are passed on
	@$(RUN) example.redis_demo $(ARGS)

test: .venv/.stamp-dev node_modules/.stamp ## Run the tests, with a real Redis and a real browser
	@scripts/tools.sh
	@scripts/test.sh $(ARGS)

test-browsers: .venv/.stamp-dev node_modules/.stamp ## Run the tests that need a browser in Firefox, too
	@scripts/tools.sh
	BROWSER=firefox $(RUN) pytest -m "browser and not chromium and not slow and not packages" $(ARGS)

test-all: node_modules/.stamp ## Run the tests on each of Python 3.11, 3.12 and 3.13 that is here
	@scripts/tools.sh
	@scripts/test-all.sh $(ARGS)

test-packages: ## Serve it among other packages of apps, on Python 3.11 and on 3.13
	@PYTHONS="3.11 3.13" scripts/test-all.sh tests/packages -m packages $(ARGS)

test-min: .venv-min/.stamp-dev ## Run those without a browser, with the oldest dependencies allowed
	@scripts/tools.sh
	.venv-min/bin/python -m pytest -m "not browser and not slow and not bench and not packages" $(ARGS)

check: .venv/.stamp-dev node_modules/.stamp ## Check format, lint, spelling and types
	$(RUN) ruff format --check
	$(RUN) ruff check
	.venv/bin/codespell
	$(RUN) mypy
	@PATH="$(CURDIR)/.venv/bin:$$PATH" pyright --verifytypes quart_sse --ignoreexternal
	@PATH="$(CURDIR)/.venv/bin:$$PATH" pyright
	@scripts/node.sh biome check
	@scripts/node.sh tsc --project jsconfig.json

format: .venv/.stamp-dev node_modules/.stamp ## Format the code, and fix what the linters can fix
	$(RUN) ruff check --fix-only
	$(RUN) ruff format
	@scripts/node.sh biome check --write

docs: .venv/.stamp-dev ## Write docs/reference.md from the docstrings
	@.venv/bin/python scripts/reference.py

hooks: .venv/.stamp-dev node_modules/.stamp ## Let git check what is committed, by .pre-commit-config.yaml
	$(RUN) pre_commit install

script: node_modules/.stamp ## Minify the scripts of static/, after a change of them
	@scripts/minify.sh

soak: .venv/.stamp-dev ## Let a thousand streams come and go for two minutes
	$(RUN) pytest tests/project/test_soak.py -m slow --log-level info -rA $(ARGS)

bench: .venv-bench/.stamp-dev ## Compare with other libraries and nchan; ARGS="--short" in a minute
	.venv-bench/bin/python -m benchmarks suite $(ARGS)

bench-check: .venv-bench/.stamp-dev ## Compare deliveries and memory with another commit: BASE=main
	@.venv-bench/bin/python -m benchmarks.check $(ARGS) $(BASE)

faults: .venv/.stamp-dev ## Kill, freeze and cut what there is, and count what is lost
	@$(RUN) faults $(ARGS)

attack: .venv/.stamp-dev ## Attack a server as any client may, and measure what others notice
	@$(RUN) attacks $(ARGS)

proxies: .venv/.stamp-proxies ## Measure streams behind fourteen set-ups of nine real proxies
	@scripts/tools.sh proxies
	@$(RUN) proxies $(ARGS)

clean: ## Remove environments, caches and builds; the data of the demo stay
	rm -rf .venv .venv-* node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

# What the demo needs. The development environment has all of it, so making that one settles this
# stamp too.
.venv/.stamp-run: pyproject.toml
	@scripts/venv.sh .venv run
	@touch $@

.venv/.stamp-dev: pyproject.toml
	@scripts/venv.sh .venv dev
	@touch .venv/.stamp-run $@

# One of the proxies is on PyPI, and large.
.venv/.stamp-proxies: pyproject.toml | .venv/.stamp-dev
	@.venv/bin/python -m pip --disable-pip-version-check install --quiet --group proxies
	@touch $@

# What formats, checks and minifies the scripts, and the widgets and clients that tests run. It runs on the Node.js of the development environment.
node_modules/.stamp: package.json package-lock.json | .venv/.stamp-dev
	@scripts/node.sh npm ci --no-audit --no-fund --no-update-notifier --silent
	@touch $@

.venv-min/.stamp-dev: pyproject.toml
	@scripts/venv.sh .venv-min min
	@touch $@

.venv-bench/.stamp-dev: pyproject.toml
	@scripts/venv.sh .venv-bench bench
	@touch $@

.venv-%/.stamp-dev: pyproject.toml
	@scripts/venv.sh .venv-$* dev $*
	@touch $@

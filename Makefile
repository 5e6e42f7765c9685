# Set-up and the everyday commands. A fresh machine needs Python 3.11 or newer, make and git.

# The interpreter that .venv is made with: make sweep PYTHON=python3.13
PYTHON ?= python3
# More arguments for the command behind a target: make sweep ARGS="-P trials=4"
ARGS ?=

export MLFLOW_DISABLE_TELEMETRY ?= true
# The type checker's processes: half the time where it has no cache.
export MYPY_NUM_WORKERS ?= 2
# The types of other systems. To read packages once more would take half a minute for each: what is theirs is
# of any type here, and an alias of a package's type needs the annotation TypeAlias.
ELSEWHERE := --no-site-packages --ignore-missing-imports --no-warn-unused-ignores --no-warn-return-any \
  --allow-subclassing-any --allow-untyped-decorators --disable-error-code return
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# The stamp of a finished set-up holds the clone's folder: the scripts of a .venv work only where it was made.
READY := .venv/ready
ifneq ($(shell test -x .venv/bin/python && cat $(READY) 2>/dev/null),$(shell pwd -P))
.PHONY: $(READY)
endif

.PHONY: help sweep test test-slow pictures bench clean

help:
	@echo "make sweep      set up, then run the default sweep    (ARGS=\"-P trials=4\" for more arguments)"
	@echo "make test       set up, then lint, types and tests"
	@echo "make test-slow  the data, load and fault tests"
	@echo "make pictures   make the pictures of README and docs anew"
	@echo "make bench      measure against peers: benchmarks/README.md (ARGS=\"--pairs 3\")"
	@echo "make clean      remove .venv and caches, never results"

sweep: $(READY)
	.venv/bin/mlflow run . -e sweep --env-manager local $(ARGS)

test: $(READY)
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	for system in darwin win32; do .venv/bin/mypy --platform $$system --cache-dir .mypy_cache/$$system $(ELSEWHERE) || exit; done
	.venv/bin/pytest -n 2 --dist loadfile $(ARGS)

# pytest ends with 5 where no test is marked slow.
test-slow: $(READY)
	.venv/bin/pytest -m slow -n 2 --dist loadfile $(ARGS) || [ $$? -eq 5 ]

# The pictures of README and docs, from the default study; those of pages need Chromium.
pictures: $(READY)
	REMAKE_PICTURES=1 .venv/bin/pytest -m slow tests/documents/test_docs.py -k commands_run $(ARGS)

# Without their packages, peers are left out.
bench: $(READY)
	-.venv/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers/requirements.txt
	.venv/bin/python -m benchmarks $(ARGS)

clean:
	rm -rf .venv .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

OLD := Python 3.11 or newer is needed, $(PYTHON) is %d.%d: name another as in make PYTHON=python3.13

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit("$(OLD)" % v[:2] if v < (3, 11) else 0)'
	@test -x .venv/bin/python && test "$$(cat $@ 2>/dev/null)" = "$$(pwd -P)" || $(PYTHON) -m venv --clear .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check uv \
	  && .venv/bin/uv pip install --compile-bytecode --python .venv/bin/python -e '.[dev]' \
	  || .venv/bin/python -m pip install --disable-pip-version-check -e '.[dev]'
	@pwd -P > $@

# The lab's commands. All paths are relative, so the folder can be anywhere, even with spaces in its name.
#
#   make lab       set up what is missing, then open the lab          NO_BROWSER=1  only print the address
#   make test      set up what is missing, then run the whole suite   JOBS=n        test processes (default 2)
#   make install   only set up                                        PYTHON=...    the Python to prefer

.DEFAULT_GOAL := help
.PHONY: help install data lab test lint lock FORCE

VENV_PYTHON := .venv/bin/python
STAMP := .venv/.installed
JOBS ?= 2

# Use the lab's own packages and its own kernel, whatever is installed for other Pythons.
export JUPYTER_PREFER_ENV_PATH := 1
unexport JUPYTER_PATH PYTHONPATH PYTHONHOME
export UV_HTTP_TIMEOUT ?= 120

# JupyterLab's question about its news feed would hide a corner of the first picture.
LAB_SETTINGS := {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}

# Exits with 0 and prints its own path on a Python that the pins support (requires-python in pyproject.toml).
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14) or print(sys.executable))

# If the folder was moved or copied, the scripts in .venv still point to the old path; so the stamp records the path.
MOVED := $(shell [ ! -e $(STAMP) ] || [ "$$(cat $(STAMP))" = "$$(pwd -P)" ] || echo yes)
BROKEN := $(shell $(VENV_PYTHON) -c '$(SUPPORTED)' >/dev/null 2>&1 || echo yes)

help:
	@sed -n '3,5s/^# *//p' Makefile

$(STAMP): constraints.txt pyproject.toml $(if $(MOVED)$(BROKEN),FORCE)
	@set -e; \
	if [ -n "$(MOVED)$(BROKEN)" ]; then \
	    rm -rf .venv; \
	    for candidate in "$(PYTHON)" python3.13 python3.12 python3.11 python3; do \
	        python=$$("$$candidate" -c '$(SUPPORTED)' 2>/dev/null) && break || python=; \
	    done; \
	    if [ -z "$$python" ]; then \
	        echo "error: no working Python 3.11 to 3.14 on the PATH; install one, or name one: make install PYTHON=/path/to/python3" >&2; \
	        exit 1; \
	    fi; \
	    echo "Setting up .venv with $$python"; \
	    if uv --version >/dev/null 2>&1; then \
	        uv venv --quiet --python "$$python" .venv; \
	    elif "$$python" -c 'import ensurepip' 2>/dev/null; then \
	        "$$python" -m venv .venv; \
	    else \
	        echo "error: $$python cannot make virtual environments; install its venv package (Debian: apt install python3-venv) or uv" >&2; \
	        exit 1; \
	    fi; \
	fi; \
	uv=uv; \
	if ! uv --version >/dev/null 2>&1; then \
	    uv=.venv/bin/uv; \
	    [ -x $$uv ] || $(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt uv; \
	fi; \
	$$uv pip install --python $(VENV_PYTHON) --no-deps -r constraints.txt; \
	$$uv pip install --python $(VENV_PYTHON) --no-deps --no-build-isolation --quiet --editable .; \
	mkdir -p .venv/share/jupyter/lab/settings; \
	echo '$(LAB_SETTINGS)' > .venv/share/jupyter/lab/settings/overrides.json; \
	pwd -P > $(STAMP)

install: $(STAMP)

data: install
	@$(VENV_PYTHON) data_scripts/make_classroom.py

lab: data
	@$(VENV_PYTHON) -m jupyterlab --ServerApp.root_dir=. --ServerApp.ip=127.0.0.1 --LabApp.default_url=/lab/tree/notebooks/00_tour.ipynb --log-level=WARN \
	    $(if $(filter-out 0,$(NO_BROWSER)),--no-browser) \
	    $(if $(PORT),--port=$(PORT)) \
	    $(shell [ "$$(id -u)" != 0 ] || echo --allow-root)

lint: install
	@$(VENV_PYTHON) -m ruff check .
	@$(VENV_PYTHON) -m ruff format --check .
	@$(VENV_PYTHON) -m mypy

# Two processes with one thread each use two cores better than one process with two threads. The tests of a file stay
# together, because many of them share something slow to start, such as a browser.
test: lint data
	@OMP_NUM_THREADS=1 $(VENV_PYTHON) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# Resolves the pins again, for every supported Python and platform at once.
lock: install
	@uv=$$(uv --version >/dev/null 2>&1 && echo uv || echo .venv/bin/uv); \
	$$uv pip compile --universal --fork-strategy fewest --python-version 3.11 --upgrade --extra test --extra install --no-annotate \
	    --custom-compile-command "make lock" --quiet --output-file constraints.txt pyproject.toml

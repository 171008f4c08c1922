# make repro   environment, pinned dependencies, then the whole pipeline (dvc repro)
# make test    the same environment, then the tests
# make check   lint, format and types
#
# Without a GPU, save gigabytes: make repro TORCH_INDEX=<PyTorch's CPU package index>, the address
# that PyTorch's installation page gives for pip and CPU. Without it, or where it cannot be
# reached, packages come from the default index.

PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
INSTALL := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
LOCKED := $(INSTALL) --require-hashes --no-deps
# Apart, by version alone: which build it is, and so its hash, is the machine's affair.
TORCH := $(INSTALL) -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) \
	torch torchvision

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: repro test check clean

repro: $(VENV)/installed
	dvc repro

test: $(VENV)/installed-test
	pytest

check: $(VENV)/installed-test
	ruff check
	ruff format --check
	mypy

$(VENV)/installed: pyproject.toml constraints.txt requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(LOCKED) -r requirements.lock
	$(TORCH)
	$(INSTALL) --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/installed-test: $(VENV)/installed requirements-test.lock
	$(LOCKED) -r requirements-test.lock
	touch $@

clean:
	rm -rf $(VENV)

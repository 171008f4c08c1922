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
INSTALL := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	-c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

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

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[imagenet]'
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(INSTALL) -e '.[imagenet,test]'
	touch $@

clean:
	rm -rf $(VENV)

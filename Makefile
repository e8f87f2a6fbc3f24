# make demo   serve the editor at http://HOST:PORT
# make test   lint, types, unit tests and browser tests
# make bench  what opening a photo and moving a slider cost, for one visitor and for many
# make soak   whether the app gives back what visitors took, for so many MINUTES
# make audit  known holes in what is installed; asks the Python Package Index
# make train  prepare CELEBA, train a model in RUN and put it into MODEL

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 7860
CELEBA ?= celeba
DATA ?= runs/data/celeba-128
RUN ?= runs/faces
MODEL ?= runs/model
CONFIG ?= train/configs/faces.yaml
SECONDS ?= 60
MINUTES ?= 20

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint browser bench soak train audit

demo: .venv/demo
	HOST=$(HOST) PORT=$(PORT) $(BIN)/python app.py

test: .venv/test lint browser
	$(BIN)/python -m pytest

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/test browser
	$(BIN)/python -m tests.bench --seconds $(SECONDS)

soak: .venv/test
	$(BIN)/python -m tests.bench.soak --minutes $(MINUTES)

audit: .venv/audit .venv/demo
	.venv/audit/bin/pip-audit --strict --path .venv/lib/python3.*/site-packages

train: .venv/train
	$(BIN)/python -m train.prepare --celeba $(CELEBA) --out $(DATA)
	$(BIN)/python -m train.fit --config $(CONFIG) --data $(DATA) --out $(RUN)
	$(BIN)/python -m train.export --config $(CONFIG) --data $(DATA) --run $(RUN) --out $(MODEL)

browser: .venv/test
	sh tests/e2e/install-browser.sh $(BIN)/python

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Fader needs Python 3.11 or newer; name one with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv
	touch $@

.venv/demo: requirements.txt .venv/python
	@echo "Installing what the editor needs into .venv (a few minutes, once) ..."
	$(INSTALL) -r requirements.txt
	touch $@

.venv/audit: .venv/python  # in an environment of its own, or it would audit itself
	$(BIN)/python -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check pip-audit

.venv/train: train/requirements.txt requirements.txt .venv/python
	$(INSTALL) -r train/requirements.txt
	touch $@

.venv/test: tests/requirements.txt train/requirements.txt requirements.txt .venv/python
	$(INSTALL) -r tests/requirements.txt
	touch $@

# `make help` lists the targets. Needs Python 3.11, git, make and the package index; everything else goes into .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python)
# dev.txt holds all that `run`, `repro` and `test` need; `make repro REQUIREMENTS=gpu` trains with TensorFlow's GPU build.
REQUIREMENTS ?= dev
VENV := .venv$(if $(filter-out dev,$(REQUIREMENTS)),-$(REQUIREMENTS))
INSTALLED := $(VENV)/installed-$(REQUIREMENTS)
BUNDLED := publish@digits publish@breast_cancer publish@diabetes

# DVC starts the stages with `python`, which must be the one in .venv.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1

.DEFAULT_GOAL := help
.PHONY: help install run repro repeats studies studies-again serve test check-published lint format lock plots bench soak \
	bench-reloads bench-predict bench-training fuzz image test-image clean

## Set up

help: ## list the targets
	@awk -F ':.*## ' '/^## / {printf "\n%s\n", substr($$0, 4)} \
		/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make .venv from the hashed requirements

## Train and serve

run: install ## train and publish the bundled data sets, then serve them on http://127.0.0.1:8080
	@python -m service --check-port
	@python -m pipeline.mend
	dvc repro $(BUNDLED)
	@exec python -m service

repro: install ## run the whole pipeline: every data set and model of params.yaml
	@python -m pipeline.mend
	dvc repro

repeats: install ## train the networks of `repeats` on several splits of their rows: mean and spread
	@python -m pipeline.mend
	dvc repro fetch@wine_alcohol fetch@seizure
	python -m pipeline.repeat

studies: install ## train the published tables again, what is missing of them, and write studies/report.html
	@python -m pipeline.mend
	dvc repro studies/dvc.yaml

studies-again: install ## train some rows once more and compare the verdicts: make studies-again ROWS="D4 A1"
	python -m studies.run --fresh $(if $(ROWS),--rows $(ROWS))

serve: install ## serve what the model repository holds
	@exec python -m service

plots: install ## draw every curve and picture into one page, dvc_plots/index.html
	dvc plots show

## Test

# Two processes take a file of tests each; what takes longest is begun first (tests/conftest.py).
test: install ## run the tests
	python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

check-published: install ## ask for predictions of every published model and compare them with the Keras models
	python -m pytest tests/check_published.py

lint: install ## check style, formatting and types
	ruff check .
	ruff format --check .
	mypy

format: install ## mend what the linter can mend
	ruff check --fix .
	ruff format .

## Measure

bench: install ## compare speed and memory with a plain Flask handler; needs wrk, takes 8 minutes
	python -m benchmarks.serving

bench-training: install ## compare seconds per epoch with plain model.fit; needs MNIST, takes 10 minutes
	python -m benchmarks.training

soak: install ## check every answer while versions appear and processes are killed: 2 minutes, or make soak SECONDS=3600
	python -m benchmarks.soak $(if $(SECONDS),--seconds $(SECONDS))

fuzz: install ## send the published models' service what its OpenAPI document allows, and what it does not (3 minutes)
	python -m pytest tests/check_fuzz.py

bench-reloads: install ## check that a hundred reloads leave no memory behind (4 minutes)
	python -m benchmarks.reloads

bench-predict: install ## score a million rows: memory, a kill in the middle, the service's answers (3 minutes)
	python -m benchmarks.batch_prediction

## Release

image: ## build the service image (docker or buildah)
	sh tests/container/build.sh

test-image: install ## build the service image and ask it for a prediction (takes minutes)
	python -m pytest tests/container --container

COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate pyproject.toml
lock: install ## compile requirements/*.txt anew from pyproject.toml
	$(COMPILE) --extra service --extra pipeline --extra dev --output-file requirements/dev.txt
	$(COMPILE) --extra service --constraints requirements/dev.txt --output-file requirements/service.txt
	$(COMPILE) --extra gpu --no-config --constraints requirements/dev.txt --output-file requirements/gpu.txt
	$(COMPILE) --extra installer --output-file requirements/installer.txt

clean: ## remove what the pipeline made, and DVC's cache of it; the sources stay
	rm -rf data runs exports models .kiln .dvc/cache .dvc/tmp dvc_plots

# uv installs in a third of the time that pip takes. Bytecode is compiled once here: a shell that forbids Python to write it
# would otherwise pay for it at each start. Where uv finds no index (one that is set up for pip only), pip does the work.
$(INSTALLED): requirements/installer.txt requirements/$(REQUIREMENTS).txt
	@command -v "$(firstword $(PYTHON))" > /dev/null || { echo "Kiln needs Python 3.11, but $(if $(PYTHON),there is no program '$(PYTHON)',no Python is on PATH). Install it, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v[:2] != (3, 11) and f"Kiln needs Python 3.11; $(PYTHON) is {v[0]}.{v[1]}. Try: make PYTHON=/path/to/python3.11")'
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	@echo "Installing requirements/$(REQUIREMENTS).txt into $(VENV): about a minute, once."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/installer.txt
	@$(VENV)/bin/uv pip install --compile-bytecode --python $(VENV)/bin/python --no-deps --require-hashes -r requirements/$(REQUIREMENTS).txt \
		|| $(VENV)/bin/python -m pip install --disable-pip-version-check --no-deps --require-hashes -r requirements/$(REQUIREMENTS).txt
	@touch $@

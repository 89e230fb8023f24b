.DEFAULT_GOAL := help
.PHONY: help install install-litert train train-teacher train-baseline distill label finetune evaluate export report sweep sweep-teachers doctor search dashboard tune agent bench bench-quality bench-kws bench-asr bench-tts bench-vocoder lint format test test-litert test-all clean

PYTHON     ?= python3
EXPERIMENT ?= speech_commands
NAME       ?= $(EXPERIMENT)
ARGS       ?=
TASK       ?= keyword
RUN        ?= runs/$(NAME)/finetune
VENV       := .venv
BIN        := $(VENV)/bin
STAMP      := $(VENV)/.installed
PYTEST     := $(BIN)/python -m pytest --ignore=tests/benchmarks
# Tests of one file share what they train, so they stay in one process.
SPREAD     := --numprocesses auto --maxprocesses 4 --dist loadfile
TRAIN      := $(BIN)/python -m kd_lightning.train experiment=$(EXPERIMENT) name=$(NAME)

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 18
	@echo; echo "EXPERIMENT=$(EXPERIMENT) picks conf/experiment/<name>.yaml; NAME= names the run; ARGS= adds Hydra words."

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

install: $(STAMP)  ## make .venv with everything that the constraints pin

install-litert: .venv-litert/.installed  ## make .venv-litert, which exports format=litert

.venv-litert/.installed: pyproject.toml constraints-litert.txt
	test -x .venv-litert/bin/python || $(PYTHON) -m venv .venv-litert
	.venv-litert/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-litert.txt \
	    -e '.[synthetic,networks,export,litert]' pytest pytest-timeout
	touch $@

train: install  ## the main job: teacher, baseline, distill, finetune, report
	$(BIN)/python -m kd_lightning.pipeline experiment=$(EXPERIMENT) name=$(NAME) $(ARGS)

train-teacher: install  ## the teacher alone
	$(TRAIN) stage=teacher $(ARGS)

train-baseline: install  ## the student without a teacher, for as many steps as distill and finetune together
	$(TRAIN) stage=baseline $(ARGS)

distill: install  ## the student on what the teacher says
	$(TRAIN) stage=distill teacher.run=runs/$(NAME)/teacher $(ARGS)

label: install  ## store what the teacher of NAME says of every clip in eight views
	$(BIN)/python -m kd_lightning.label experiment=$(EXPERIMENT) name=$(NAME) teacher.run=runs/$(NAME)/teacher $(ARGS)

finetune: install  ## the distilled student on the labels
	$(TRAIN) stage=finetune student.run=runs/$(NAME)/distill $(ARGS)

evaluate: install  ## score RUN=runs/<name>/<stage> again (ARGS=corpus.root=/other/data)
	$(BIN)/python -m kd_lightning.evaluate run=$(RUN) $(ARGS)

export: install  ## RUN=runs/<name>/<stage> to ONNX, checked and scored again
	$(BIN)/python -m kd_lightning.export run=$(RUN) format=onnx precision=fp32 $(ARGS)

report: install  ## compare the stages of NAME
	$(BIN)/python -m kd_lightning.report runs=runs/$(NAME)

sweep: install  ## no transfer against soft targets over three seeds, with the teacher of NAME
	$(BIN)/python -m kd_lightning.train -m experiment=$(EXPERIMENT) stage=distill \
	    teacher.run=$(CURDIR)/runs/$(NAME)/teacher transfer=none,logits seed=0,1,2 $(ARGS)

sweep-teachers: install  ## who should teach: small, large, through an assistant, an ensemble
	for teacher in tc_resnet8 tc_resnet14; do \
	    $(BIN)/python -m kd_lightning.train experiment=speech_commands_teachers stage=teacher teacher=$$teacher \
	        name=teachers/$$teacher $(ARGS) || exit 1; done
	$(BIN)/python -m kd_lightning.train experiment=speech_commands_teachers stage=assistant name=teachers/through_assistant $(ARGS)
	$(BIN)/python -m kd_lightning.train -m experiment=speech_commands_teachers $(ARGS)
	$(BIN)/python -m kd_lightning.train -m experiment=speech_commands_teachers transfer=none taught_by=large $(ARGS)
	$(BIN)/python -m kd_lightning.report runs=multirun/speech_commands_teachers

doctor: install  ## whether EXPERIMENT makes sense, before it is trained
	$(BIN)/python -m kd_lightning.doctor experiment=$(EXPERIMENT) name=$(NAME) $(ARGS)

search: install  ## the best student within ARGS="budget='{size_kb: 100, macs: 5e6}'"
	$(BIN)/python -m kd_lightning.search experiment=$(EXPERIMENT) name=$(NAME) $(ARGS)

dashboard: install  ## NAME in wandb: workspace and report; without a key the local page
	$(BIN)/python -m kd_lightning.dashboard runs=runs/$(NAME) $(ARGS)

tune: install  ## a wandb sweep of TASK=keyword, recognition or synthesis; then: make agent SWEEP=<id>
	$(BIN)/wandb sweep conf/wandb_sweep/$(TASK).yaml

agent: install  ## one agent of a wandb sweep: SWEEP=<entity>/kd_lightning/<id>
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/wandb agent --forward-signals $(SWEEP)

bench: install  ## what is timed, as ratios inside one run
	$(BIN)/python -m pytest tests/benchmarks -m '' -s --timeout=0 $(ARGS)

bench-quality: install  ## what distillation is worth over seeds and labelled fractions (hours)
	for fraction in 0.1 0.3 1.0; do for arms in main controls; do \
	    $(BIN)/python tests/benchmarks/quality.py train seeds=10 fraction=$$fraction arms=$$arms || exit 1; done; done
	$(BIN)/python tests/benchmarks/quality.py table

bench-kws: install  ## what each recipe is worth over seeds, with a tenth of the labels and with all (hours)
	for fraction in 0.1 1.0; do \
	    $(BIN)/python tests/benchmarks/kws.py train seeds=5 fraction=$$fraction arms=recipes || exit 1; done
	for arms in weights long teachers; do \
	    $(BIN)/python tests/benchmarks/kws.py train seeds=5 fraction=0.1 arms=$$arms || exit 1; done
	$(BIN)/python tests/benchmarks/kws.py table
	$(BIN)/python tests/benchmarks/kws.py plot docs/kws_recipes.png

bench-asr: install  ## what each recipe is worth for recognition, over seeds and visible transcripts (hours)
	for fraction in 0.25 1.0; do for arms in main frames; do \
	    $(BIN)/python tests/benchmarks/asr.py train seeds=5 fraction=$$fraction arms=$$arms || exit 1; done; done
	$(BIN)/python tests/benchmarks/asr.py table

bench-tts: install  ## what a teacher is worth for synthesis, over seeds, with a minute of recordings (hours)
	for arms in main controls; do \
	    $(BIN)/python tests/benchmarks/tts.py train seeds=5 fraction=0.05 arms=$$arms $(ARGS) || exit 1; done
	$(BIN)/python tests/benchmarks/tts.py table

bench-vocoder: install  ## what a teacher is worth for vocoders, over seeds, with a minute of recordings (hours)
	for arms in main controls recipes; do \
	    $(BIN)/python tests/benchmarks/vocoder.py train seeds=5 fraction=0.05 arms=$$arms $(ARGS) || exit 1; done
	$(BIN)/python tests/benchmarks/vocoder.py table

lint: install  ## ruff, mypy and the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install  ## let ruff rewrite
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: install  ## the default tests, on a few cores, then those that start two processes
	$(PYTEST) $(SPREAD) $(ARGS)
	$(PYTEST) -m 'ddp and not slow' $(ARGS)

test-litert: install-litert  ## those of format=litert
	.venv-litert/bin/python -m pytest tests/deploy/test_litert_file.py $(ARGS)

test-all: install  ## slow ones too
	$(PYTEST) $(SPREAD) -m 'not gpu and not ddp' $(ARGS)
	$(PYTEST) -m ddp $(ARGS)

clean:  ## remove what can be made again, but no run and no data
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

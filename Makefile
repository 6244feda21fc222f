# `make` lists the targets. Settings: RECIPE=fast, MINUTES=30, ARGS="--epochs 20 --seed 7"; VENV= uses the python at hand.

VENV ?= .venv
# PYTHON3 makes the environment
PYTHON3 ?= python3
ifeq ($(VENV),)
PYTHON := python3
SETUP :=
else
PYTHON := $(VENV)/bin/python
SETUP := $(VENV)/.installed
unexport PYTHONPATH  # of another Python, perhaps
endif
unexport PYTHONSAFEPATH PYTHONOPTIMIZE  # the package lies in this folder, and --help is its docstrings

PIP = $(PYTHON) -m pip install --quiet --disable-pip-version-check
PACKAGES := -r requirements.txt -c constraints.txt
SIDE_BY_SIDE := -n auto --dist loadfile  # tests, a process a core; those of a file share what is costly
quoted = '$(subst ','\'',$(1))'
HERE := $(call quoted,$(strip $(MAKEFILE_LIST)))

.DEFAULT_GOAL := help
help:  ## list the targets
	@awk '/^[a-z-]+:.*  ## / { takes = ""; if ($$2 == "takes") { for (i = 4; $$i != "##"; i++) { \
		fold = length(takes) < 54 || takes ~ /\n/ ? " " : "\n" sprintf("%20s", ""); takes = takes fold $$i } } \
		name = substr($$1, 1, length($$1) - 1); text = $$0; sub(/.*  ## /, "", text); \
		if (takes) text = text " (" substr(takes, 2) ")"; if (length(text) > 61 && match(text, / \(/)) \
		text = substr(text, 1, RSTART - 1) "\n" sprintf("%19s", "") substr(text, RSTART + 1); \
		printf "  make %-11s %s\n", name, text }' $(HERE)

# What the package does: a line each, with the variables that the target takes and passes on as flags. NAME= is a value,
# --name value; NAME=1 is a switch, --name; NAME alone is a value without a flag.
data: takes =  ## find or download the data, and check every value
train: takes = RECIPE= MINUTES= RUN= NEW=1 JOBS= SCHEDULER= TENSORBOARD=1  ## train the ensemble and write a submission
study: takes = KIND= BASE= CHANGES= SEEDS= FULL=1 NAME= JOBS= SCHEDULER=  ## does a change help? As CHANGES="epochs=14; width=2"
baselines: takes = JOBS= REFERENCE=1 MINUTES=  ## train six classic systems by their own recipes, beside ours
coverage: takes = JOBS=  ## does the predicted interval hold? hours of simulations
blend: takes = RUNS=run-a,run-b  ## average finished runs into a new one
check: takes = FILE  ## check a submission the way Kaggle would: FILE=my.csv
submit: takes = RUN= FILE=  ## send the newest complete run to Kaggle, wait for its score
scores: takes =  ## ask Kaggle for all scores: predicted against real
kernel: takes = RECIPE= RUN= KIND= GPU= MINUTES= TITLE= PUBLIC=1 PUSH=1 FOLLOW=1 UNPACK=  ## train or predict on Kaggle
notebook: takes = RUN=  ## execute the walk-through of a run, into the run's folder
report: takes = RUN= COMPARE=run-a,run-b  ## make report.html of the newest run, or compare two
predict: takes = RUN= MODEL=  ## label a CSV or pictures of digits by a run: IMAGES=my.png
export: takes = RUN= FORMAT=  ## a run's best network as onnx, litert, saved, keras or h5
draw: takes = RUN= PORT=  ## draw digits in the browser, beside what a run predicts
share: takes = RUN=  ## one file that predicts what is drawn: to mail, or for a phone
record: takes = RUN= REMARK=  ## copy a run's row into submissions/record.csv

COMMANDS := $(shell sed -n 's/^\([a-z]*\): takes =.*/\1/p' $(HERE))
lower = $(shell echo $(1) | tr A-Z_ a-z-)
flag = $(if $(findstring =,$(1)),--$(call lower,$(2))) $(if $(filter %=1,$(1)),,$(call quoted,$($(2))))
flags = $(foreach taken,$(takes),$(foreach name,$(firstword $(subst =, ,$(taken))),$(if $($(name)),$(call flag,$(taken),$(name)))))

.PHONY: $(COMMANDS) help test test-all bench soak fuzz lint constraints clean
$(filter-out predict,$(COMMANDS)): $(SETUP)
	@$(PYTHON) -m competition $@ $(flags) $(ARGS)

# IMAGES is a file, or several as a shell takes them: IMAGES="a.png b.png", IMAGES="photos/*.png", IMAGES="'my a.png' b.png"
predict: $(SETUP)
	@images=$(call quoted,$(IMAGES)); if [ -e "$$images" ]; then set -- "$$images"; else eval "set -- $$images"; fi; \
		$(PYTHON) -m competition predict $(flags) "$$@" $(ARGS)

test: lint  ## lint and the tests, about 3 minutes
	@$(PYTHON) -m pytest $(SIDE_BY_SIDE) $(ARGS)

test-all: lint  ## everything that CI runs, under 30 minutes
	@$(PYTHON) -m pytest $(SIDE_BY_SIDE) -m "slow or not slow" $(ARGS)

bench: $(SETUP)  ## measure reading, augmentation, steps, members and memory (ARGS=step)
	@$(PYTHON) -m tests.bench $(ARGS)

soak: $(SETUP)  ## kill a small run 100 times, and compare what it ends with (ARGS="kills seed")
	@$(PYTHON) -m tests.soak $(ARGS)

fuzz: $(SETUP)  ## read 7,000 damaged files: each as what it is, or refused (ARGS="of-each-kind seed")
	@$(PYTHON) -m tests.fuzz $(ARGS)

lint: $(SETUP)  ## ruff: lint and format; mypy: types
	@$(PYTHON) -m ruff check --quiet . && $(PYTHON) -m ruff format --check --quiet . && $(PYTHON) -m mypy --no-error-summary

constraints: $(SETUP)  ## renew constraints.txt: the newest versions allowed
	@$(PYTHON) -m uv pip compile --quiet --universal --python-version 3.11 --upgrade --no-annotate \
		--custom-compile-command "make constraints" --output-file constraints.txt requirements.txt tests/requirements.txt

clean:  ## remove the environment and caches, never runs or data
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# No final TensorFlow runs on Python 3.14: pip would take a release candidate there, and keras-nightly beside keras
FITS = import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
NEEDS = Python 3.11, 3.12 or 3.13 is needed, with its venv. Received: $$($(PYTHON3) --version 2>&1 | tail -1), as $(PYTHON3). Next:
.venv/.installed $(filter-out .venv/.installed,$(SETUP)): requirements.txt constraints.txt
	@$(PYTHON3) -c '$(FITS)' 2>/dev/null || { \
		for other in python3.13 python3.12 python3.11; do $$other -c '$(FITS)' 2>/dev/null && break; other=; done; \
		[ "$$other" ] && other="make $(MAKECMDGOALS) PYTHON3=$$other" || other="install one"; \
		echo "$(NEEDS) $$other." >&2; exit 1; }
	@echo "Setting up $(VENV) from requirements.txt: a few minutes, once."
	@$(PYTHON3) -m venv $(VENV)
	@# uv installs in a quarter of pip's time; where it can't (a mirror that pip alone knows, a proxy), pip does. Neither
	@# compiles all of TensorFlow, of which a part is ever imported
	@$(PIP) uv && UV_SYSTEM_CERTS=1 $(PYTHON) -m uv pip install --quiet --python $(PYTHON) $(PACKAGES) || \
		{ echo "uv could not: pip installs."; $(PIP) --no-compile $(PACKAGES); }
	@touch $@

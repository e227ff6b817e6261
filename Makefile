# make demo | test | test-long | fuzz | check | audit | fix | docs | site: each starts from nothing and needs Python 3.11 or later.
PYTHON ?= python3
BIN := .venv/bin
OLD := .venv-tflite-runtime
ARGS ?=
# setuptools warns of every editable install, which is what is wanted here.
QUIET := PYTHONWARNINGS=ignore

.PHONY: demo test test-long fuzz check audit fix docs site setup

demo: .venv/.stamp
	$(BIN)/edgeconv export mobilenet_v2 --int8 --target tflite --force

# Two workers share two processors: a thread each, as threads that wait for one another keep a processor busy.
test: .venv/.stamp $(OLD)/.stamp
	OMP_NUM_THREADS=1 EDGECONV_TFLITE_RUNTIME_PYTHON=$$(test -x $(OLD)/bin/python && echo $(CURDIR)/$(OLD)/bin/python) \
	  $(BIN)/python -m pytest --slow -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# Sweeps over many nets and seeds, for minutes or longer; no other target runs them.
test-long: .venv/.stamp
	$(BIN)/python -m pytest --long -n 2 $(ARGS)

# N mutated inputs to whole commands, a JSON line each in fuzz.jsonl; the same SEED goes on where it stopped.
N ?= 500
SEED ?= 1
fuzz: .venv/.stamp
	cd tests && OMP_NUM_THREADS=1 ../$(BIN)/python -m fuzz.run --seed $(SEED) --count $(N) --out ../fuzz.jsonl

check: .venv/.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 edgeconv

# packages.lock against the published advisories, over the network; a package that cannot be looked up fails too.
audit: .venv-audit/.stamp
	.venv-audit/bin/python scripts/packages.py versions > .venv-audit/requirements.txt
	.venv-audit/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off -r .venv-audit/requirements.txt

fix: .venv/.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.stamp
	$(BIN)/python -m edgeconv.export.op_docs docs/ops.md

# The documentation as a site that works offline, in site/; its tools live apart from the tests'.
site: .venv-site/.stamp
	NO_MKDOCS_2_WARNING=1 .venv-site/bin/mkdocs build --strict --quiet --site-dir site

setup: .venv/.stamp

.venv/.stamp: pyproject.toml demo/pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --upgrade 'pip>=25.1'
	$(QUIET) $(BIN)/pip install -q -c constraints.txt -e demo -e '.[all,executorch]' --group dev
	touch $@

# tflite-runtime ends at Python 3.11 and needs numpy 1, so it lives apart; other Pythons skip it by name.
$(OLD)/.stamp: pyproject.toml
	mkdir -p $(OLD)
	if $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then \
	  $(PYTHON) -m venv $(OLD) && $(QUIET) $(OLD)/bin/pip install -q -e '.[tflite-runtime]'; fi
	touch $@

.venv-audit/.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/pip install -q --upgrade 'pip>=25.1'
	.venv-audit/bin/pip install -q -c constraints.txt --group audit
	touch $@

.venv-site/.stamp: pyproject.toml
	$(PYTHON) -m venv .venv-site
	.venv-site/bin/pip install -q --upgrade 'pip>=25.1'
	$(QUIET) .venv-site/bin/pip install -q -e . --group docs
	touch $@

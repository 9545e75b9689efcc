# Targets of the project. Everything runs in .venv, which `make setup` fills with the versions of
# constraints.txt. For a GPU build of torch other than the default, install it there first:
# python3 -m venv .venv && .venv/bin/pip install torch==2.13.0 --index-url ...

PYTHON ?= python3
# Where a virtual environment has its programs; on Windows make runs in a POSIX shell, Git's bash.
BIN := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
STAMP := .venv/.installed

.PHONY: setup demo test torture test-hosts test-machines check docs docs-serve format bench package house clean

setup: $(STAMP)

# The package was once installed as s2s; that one and s2s-lstm would write the same command.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "s2s needs Python 3.11 or newer; make setup PYTHON=python3.12 chooses one")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip uninstall -qq --yes s2s
	rm -rf s2s.egg-info
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# The README's first five minutes, in a fresh folder.
demo: setup
	rm -rf demo
	mkdir demo
	cd demo && ../$(BIN)/s2s recipes copy quickstart
	cd demo && ../$(BIN)/s2s prep
	cd demo && ../$(BIN)/s2s train recipe.yaml
	cd demo && ../$(BIN)/s2s bleu
	cd demo && ../$(BIN)/s2s translate < ../tests/demo.txt > output.txt
	@echo
	@paste -d '\n' tests/demo.txt demo/output.txt | sed 'n;s/^/    → /'
	@echo
	@echo "Next: cd demo && ../$(BIN)/s2s translate    (then type a line like those above)"
	@echo "      $(BIN)/s2s recipes list               (recipes for real data)"

# One thread for each process; where a test wants several, those that wait do not spin on a core that
# another process needs. Hundreds of tests start a command, which should not compile s2s each time,
# whatever the environment says of files of bytecode.
TESTING := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python

# A process for each core that this process may use; one that has nothing left to do takes tests from
# the others. `.venv/bin/python -m pytest` runs them in one process, as a debugger needs it.
# SELECT='-m "not slow"' leaves out tests that start commands.
SELECT :=
test: setup
	$(TESTING) -m pytest -n auto --dist worksteal $(SELECT)

# Kills, full disks, damaged and hostile input for so many seconds; docs/reliability.md.
SECONDS := 120
torture: setup
	$(TESTING) -m tests.torture --seconds $(SECONDS)

# Two and four hosts, as network namespaces: needs root.
test-hosts: setup
	$(TESTING) tests/hosts.py

# The contract under settings that stand for other processors; docs/versions.md has the table.
test-machines: setup
	$(TESTING) tests/machines.py

check: setup docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy s2s cli

# The documentation as a site in site/, with the recipe reference made from the code. Strict: a link
# that leads nowhere, or a page outside the navigation, is an error. The variable hushes an
# advertisement of the theme.
DOCS := .venv/.docs-installed
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs

docs: $(DOCS)
	$(MKDOCS) build --strict

docs-serve: $(DOCS)
	$(MKDOCS) serve

$(DOCS): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# How fast s2s is here, for docs/benchmarks.md: some minutes, on a machine without other work. What
# compares s2s with something else are the scripts benchmarks/*.py.
BENCH := docs/benchmarks/$(shell date -u +%Y-%m-%d)
bench: setup
	mkdir -p docs/benchmarks
	for name in quickstart multi30k-de-en; do \
	  $(BIN)/s2s bench recipes/$$name.yaml --json > $(BENCH)-$$name.json || exit 1; \
	  $(BIN)/s2s bench --show $(BENCH)-$$name.json --markdown > $(BENCH)-$$name.md || exit 1; \
	  cat $(BENCH)-$$name.md; \
	done

# The source archive, the wheel that is built from it, and a look at the wheel in a fresh environment.
# setuptools would add what an earlier build left behind.
package: setup
	rm -rf build dist *.egg-info
	$(BIN)/python -m build --no-isolation
	$(BIN)/python tests/check_wheel.py dist

# The graph of imports in numbers: entries, levels, circles, imports upwards.
house: setup
	$(BIN)/python tests/house.py

# Not .venv, which takes minutes to fill, and not runs/, which takes longer.
clean:
	rm -rf build dist demo site *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find s2s cli tests -name __pycache__ -type d -prune -exec rm -rf {} +

# gort's developer commands. Needs CPython >= 3.11 with its venv module and headers, and a C compiler; everything
# else comes from the package index into virtual environments beside this file.

PY ?= python3
VENV ?= .venv
# Makes an environment with pip at the path that follows. For what tools/get_pythons.sh fetches: DIR/bin/venv X.Y
MKVENV ?= $(PY) -m venv
# Seconds and seed of `make stress`; the seed is drawn, and printed, if none is given.
SECONDS ?= 60
SEED ?=
# Interpreters of `make dist`, one wheel each: without any, the first that is found of each supported version, PY first.
PYTHONS ?=
# Tests that run at the same time: as many as there are processors, but no more than 4, for some use several themselves.
JOBS ?= $(shell n=$$(nproc); echo $$((n < 4 ? n : 4)))
# More arguments for pytest (make test, asan, ubsan, debug), the benchmarks or the demo.
ARGS ?=

SOURCES := $(shell find src -type f -not -name '*.py[co]') meson.build meson.options pyproject.toml
PIP := -m pip --disable-pip-version-check --quiet
LINT := .venv-lint/bin
# $(if $(BUILT),A,B): A if there is a gort in $(VENV), B otherwise.
BUILT = $(wildcard $(VENV)/.built)
PLATLIB = $$($(1)/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help build demo test tools lint format compat bench bench-heap stress dist asan ubsan debug clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20
	@echo 'Variables: PY=$(PY) VENV=$(VENV) JOBS=$(JOBS) SECONDS=$(SECONDS) SEED=$(SEED) PYTHONS=$(PYTHONS) ARGS=$(ARGS)'

build: $(VENV)/.built ## build gort and install it into $(VENV), with the Python that PY names

demo: $(VENV)/.built ## analyse the standard library's own source with goroutines, then with threads
	$(VENV)/bin/gort run examples/stdlib_report.py $(ARGS)

test: $(VENV)/.test ## run the tests
	$(VENV)/bin/python -m pytest -n $(JOBS) $(ARGS)

tools: $(VENV)/.test ## run debuggers and profilers of others on programs with goroutines: tests/tools
	$(VENV)/bin/python $(PIP) install -r tools/tools.txt
	$(VENV)/bin/python -m pytest -n $(JOBS) tests/tools $(ARGS)

lint: .venv-lint/.ready ## ruff, mypy --strict, pyright, stubtest, clang-format and the rules of tools/check_seams.py
	$(LINT)/ruff check
	$(LINT)/ruff format --check
	$(LINT)/mypy
	$(LINT)/mypy --no-explicit-package-bases tests/typing/*.py tests/programs/test_programs.py
	$(LINT)/pyright --project tests/typing
	$(if $(BUILT),$(LINT)/python tools/check_stub.py $(VENV)/bin/python,@echo 'lint: $(VENV) has no gort: stubtest did not compare _core.pyi with it')
	$(PY) tools/go_names.py --check
	$(LINT)/clang-format --dry-run -Werror $(shell find src/_core -name "*.[ch]")
	$(if $(BUILT),$(VENV)/bin/python tools/check_seams.py --require-compiler,$(PY) tools/check_seams.py)

format: .venv-lint/.ready ## let ruff and clang-format rewrite the source
	$(LINT)/ruff check --fix
	$(LINT)/ruff format
	$(LINT)/clang-format -i $(shell find src/_core -name "*.[ch]")

compat: $(VENV)/.built ## run CPython's own regression tests with and without gort, and compare
	$(VENV)/bin/python tools/cpython_tests.py $(ARGS)

bench: ## run the benchmarks and print their table: about an hour (they make their own environments in build/)
	$(PY) bench/run.py $(ARGS)

bench-heap: $(VENV)/.built ## gort's allocator and collector beside CPython's: under an hour (or what ARGS say)
	$(VENV)/bin/python bench/heap/run.py $(or $(ARGS),--time --allocator --idle --pauses)

stress: $(VENV)/.built ## seeded random operations for SECONDS, with SEED if given
	$(VENV)/bin/python tests/stress/stress.py --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

dist: .venv-dist/.ready ## an sdist and a manylinux wheel for each CPython of PYTHONS, or each that is found, in dist/
	.venv-dist/bin/python tools/dist.py $(PYTHONS) $(ARGS)

# The lanes below are the same tests on a core that was built in another way, in an environment of its own.

asan: $(VENV)-asan/.test ## run the tests with AddressSanitizer
	$(ASAN) $(VENV)-asan/bin/python -m pytest -n $(JOBS) $(ARGS)

ubsan: $(VENV)-ubsan/.test ## run the tests with UndefinedBehaviorSanitizer
	UBSAN_OPTIONS=print_stacktrace=1 $(VENV)-ubsan/bin/python -m pytest -n $(JOBS) $(ARGS)

debug: $(VENV)-debug/.test ## run the tests with every queue validated at every schedule
	$(VENV)-debug/bin/python -m pytest -n $(JOBS) $(ARGS)

clean: ## remove every environment and everything that was built
	rm -rf .venv .venv-* build dist .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# The interpreter itself is not instrumented, so the library has to be there before it starts. CPython never
# frees everything, hence no leak check; goroutines run on stacks of their own, hence no alternate signal stack; what
# signals do is gort's business, and tested.
ASAN = LD_PRELOAD=$$($(CC) -print-file-name=libasan.so) \
	ASAN_OPTIONS=detect_leaks=0:use_sigaltstack=0:detect_stack_use_after_return=0:handle_segv=0:handle_sigbus=0:handle_abort=0:handle_sigfpe=0:quarantine_size_mb=16 \
	PYTHONMALLOC=malloc

# What only the tests call is built where they run. Said in a way that the pip of CPython 3.11 knows; that one takes one
# such option, and for several the lanes below bring their own pip.
TESTS := --config-settings=setup-args=-Dtests=true

$(VENV)-asan/.test: SETUP = -Csetup-args=-Db_sanitize=address -Csetup-args=-Db_lundef=false \
	-Csetup-args=-Ddebug_level=3 -Csetup-args=-Dbuildtype=debugoptimized
$(VENV)-ubsan/.test: SETUP = -Csetup-args=-Db_sanitize=undefined -Csetup-args=-Db_lundef=false \
	-Csetup-args=-Dc_args=-fno-sanitize-recover=undefined -Csetup-args=-Dbuildtype=debugoptimized
$(VENV)-debug/.test: SETUP = -Csetup-args=-Ddebug_level=3 -Csetup-args=-Dbuildtype=debugoptimized

# Environments are rebuilt when a source file is newer than the stamp in them. One with the tests' requirements, and a core
# that has what they call, is good for everything else too; not the other way round.
$(VENV)/.built: $(SOURCES)
	$(MKVENV) $(@D)
	@rm -f $(@D)/.test
	$(@D)/bin/python $(PIP) install .
	@touch $@

$(VENV)/.test $(VENV)-asan/.test $(VENV)-ubsan/.test $(VENV)-debug/.test: $(SOURCES)
	$(MKVENV) $(@D)
	$(if $(SETUP),$(@D)/bin/python $(PIP) install 'pip>=23.1') # earlier ones keep one of several
	$(@D)/bin/python $(PIP) install $(SETUP) $(TESTS) '.[test]'
	@grep -q _check_heap $(call PLATLIB,$(@D))/gort/_core*.so # or many tests would be skipped
	@touch $(@D)/.built $@

.venv-lint/.ready: tools/lint.txt
	$(PY) -m venv $(@D)
	$(LINT)/python $(PIP) install -r tools/lint.txt
	@touch $@

.venv-dist/.ready: tools/dist.txt
	$(PY) -m venv $(@D)
	$(@D)/bin/python $(PIP) install -r tools/dist.txt
	@touch $@

# The native code under the address and undefined-behaviour checkers: first the fuzz targets, then the tests of the
# native code on an extension built in the same way, its threads on a mock cluster included. gcc is enough; `make fuzz`
# needs clang's libFuzzer.

SANITIZE_CC ?= gcc
FUZZ_S ?= 10
SANITIZED_TESTS ?= tests/unit/test_kernels_*.py tests/unit/test_ledger*.py tests/integration/test_native_*.py

SANITIZE_DIR := .cache/sanitize
FUZZ_TARGETS := $(patsubst tests/fuzz/%_fuzz.c,%,$(wildcard tests/fuzz/*_fuzz.c))
FUZZ_CFLAGS := -std=c11 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Wshadow -Wconversion -g -O1 -fno-omit-frame-pointer \
	-fsanitize=address,undefined -fno-sanitize-recover=all -Isrc/framing
# CPython keeps memory until the end by design: leaks are looked for in the fuzz targets alone.
SANITIZED_PYTHON = env PYTHONPATH=$(SANITIZE_DIR)/lib PYTHONMALLOC=malloc \
	LD_PRELOAD="$$($(SANITIZE_CC) -print-file-name=libasan.so) $$($(SANITIZE_CC) -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 $(BIN)/python

.PHONY: sanitize
sanitize: sanitize-fuzz sanitize-simulation sanitize-tests ## the native code under ASAN and UBSAN: fuzz targets, the simulation and unit tests

.PHONY: sanitize-fuzz
sanitize-fuzz: $(FUZZ_TARGETS:%=$(SANITIZE_DIR)/%)
	for target in $^; do "$$target" $(FUZZ_S); done

.PHONY: sanitize-simulation
sanitize-simulation: | env
	$(BIN)/python -m tests.simulation --sanitize --seconds 60

.PHONY: sanitize-tests
sanitize-tests: $(SANITIZE_DIR)/lib.stamp | env
	$(SANITIZED_PYTHON) -m pytest -p no:cacheprovider $(SANITIZED_TESTS)

.PHONY: fuzz
fuzz: ## the fuzz targets under clang's libFuzzer, each for FUZZ_S seconds
	@command -v clang >/dev/null || { echo "make: need clang for libFuzzer: install clang, or run make sanitize" >&2; exit 1; }
	@mkdir -p $(SANITIZE_DIR)
	for target in $(FUZZ_TARGETS); do \
		clang $(FUZZ_CFLAGS) -fsanitize=fuzzer tests/fuzz/$${target}_fuzz.c -o $(SANITIZE_DIR)/$$target-libfuzzer; \
		$(SANITIZE_DIR)/$$target-libfuzzer -max_total_time=$(FUZZ_S) -max_len=4096 -artifact_prefix=$(SANITIZE_DIR)/; \
	done

$(SANITIZE_DIR)/%: tests/fuzz/%_fuzz.c tests/fuzz/standalone.c $(wildcard src/framing/*.[ch])
	@command -v $(SANITIZE_CC) >/dev/null || { echo "make: need gcc with its sanitizers as '$(SANITIZE_CC)': install gcc, or set SANITIZE_CC=" >&2; exit 1; }
	@mkdir -p $(@D)
	$(SANITIZE_CC) $(FUZZ_CFLAGS) tests/fuzz/$*_fuzz.c tests/fuzz/standalone.c -o $@

# Built from the sdist like the wheel that is shipped, so that no object file of another build is taken for this one's.
$(SANITIZE_DIR)/lib.stamp: $(VENV)/wheel.stamp sanitize.mk
	rm -rf $(SANITIZE_DIR)/dist $(SANITIZE_DIR)/lib
	@mkdir -p $(SANITIZE_DIR)
	CC=$(SANITIZE_CC) SUPERVISOR_SANITIZE=1 $(BIN)/python -m build --outdir $(SANITIZE_DIR)/dist > $(SANITIZE_DIR)/build.log 2>&1 \
		|| { cat $(SANITIZE_DIR)/build.log >&2; exit 1; }
	$(PIP) install --no-deps --target $(SANITIZE_DIR)/lib $(SANITIZE_DIR)/dist/*.whl
	@touch $@

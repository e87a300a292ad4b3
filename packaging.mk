# What reaches images: wheels for two processors, the directory for any image, and the tests of both as a user installs
# them. Each needs a Debian machine; the tests also need root.

PACKAGING_DIR := .cache/packaging
PACKAGING_PYTHON := $(PACKAGING_DIR)/venv/bin/python
DISTRIBUTION = PYTHONPATH=packaging $(PACKAGING_PYTHON) -m distribution --cache $(PACKAGING_DIR)
PACKAGING_SOURCES = $(wildcard packaging/distribution/*.py packaging/*.txt packaging/locks/*.txt) packaging.mk
MACHINES ?= x86_64 aarch64

.PHONY: wheels
wheels: dist/wheels/stamp ## cp311-abi3-manylinux_2_28 wheels for x86_64 and aarch64, audited, in dist/wheels/

.PHONY: bundle
bundle: $(MACHINES:%=$(PACKAGING_DIR)/bundle-%.stamp) ## the directory for any image, for both processors, in dist/

.PHONY: bundle-lock
bundle-lock: $(PACKAGING_DIR)/tools.stamp ## the newest packages for the directory: security updates
	$(DISTRIBUTION) lock

.PHONY: test-packaging
test-packaging: bundle check-packaging-tests services ## wheels, directory and images as a user installs them: some ten minutes
	$(BIN)/python -m pytest tests/packaging -m 'not full' --timeout 400

.PHONY: test-packaging-full
test-packaging-full: bundle check-packaging-tests services ## the same, with what takes longer; then make install-table
	$(BIN)/python -m pytest tests/packaging --timeout 900

.PHONY: install-table
install-table: ## what the packaging tests saw, into docs/INSTALL.md
	PYTHONPATH=packaging $(BIN)/python -m tests.packaging.table

.PHONY: check-packaging-tests
check-packaging-tests: check-packaging
	@[ "$$(id -u)" = 0 ] || { echo "make: need root: the packaging tests mount and chroot" >&2; exit 1; }
	@for need in debootstrap:debootstrap buildah:buildah musl-gcc:musl-tools qemu-aarch64-static:qemu-user-static; do \
		command -v "$${need%%:*}" >/dev/null || { echo "make: need $${need%%:*}: install $${need##*:}" >&2; exit 1; }; done

.PHONY: check-packaging
check-packaging: check-build
	@command -v apt-get >/dev/null && command -v dpkg >/dev/null || \
		{ echo "make: need apt-get and dpkg: the directory is made of Debian's packages, run this on Debian" >&2; exit 1; }
	@command -v aarch64-linux-gnu-strip >/dev/null || \
		{ echo "make: need binutils for both processors: install binutils and binutils-aarch64-linux-gnu" >&2; exit 1; }

$(PACKAGING_DIR)/tools.stamp: packaging/tools.txt | check-packaging
	$(PYTHON) -m venv --clear $(PACKAGING_DIR)/venv
	$(PACKAGING_PYTHON) -m pip --disable-pip-version-check --quiet install --upgrade pip
	$(PACKAGING_PYTHON) -m pip --disable-pip-version-check --quiet install --requirement packaging/tools.txt
	@touch $@

dist/wheels/stamp: $(PACKAGING_DIR)/tools.stamp $(SOURCES) .cache/sources pyproject.toml setup.py MANIFEST.in README.md \
		packaging/distribution/wheels.py packaging/distribution/machine.py
	rm -rf $(PACKAGING_DIR)/sdist
	$(PACKAGING_PYTHON) -m build --sdist --outdir $(PACKAGING_DIR)/sdist > $(PACKAGING_DIR)/sdist.log 2>&1 \
		|| { cat $(PACKAGING_DIR)/sdist.log >&2; exit 1; }
	rm -rf dist/wheels
	$(DISTRIBUTION) wheels $(PACKAGING_DIR)/sdist/*.tar.gz
	@touch $@

$(PACKAGING_DIR)/bundle-%.stamp: dist/wheels/stamp $(PACKAGING_SOURCES) $(if $(shell ls dist/supervisor-*-linux-*.tar.gz 2>/dev/null),,FORCE)
	rm -f dist/supervisor-*-linux-$*.*
	$(DISTRIBUTION) bundle $*
	@touch $@

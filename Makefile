# `make demo` and `make test` work on a fresh machine with Python 3.10 or newer and make.

PYTHON ?= python3

# PyTorch without CUDA, which is all that the demo and the tests need: PyPI's own build brings gigabytes
# of CUDA with it. Where PyTorch's index is out of reach, pip takes what its other sources have.
# To train on a GPU: make TORCH=torch. What PyTorch depends on comes with the rest.
TORCH ?= torch==2.13.0 --extra-index-url https://download.pytorch.org/whl/cpu --retries 1

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
INSTALLED := .venv/installed
SOURCES := $(shell find soundstorm_edge export runtime -name '*.py')

# Install a Debian package where that takes no question: as root.
APT = [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -q \
	&& DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends

.PHONY: demo test lint flite clean
.DELETE_ON_ERROR:

demo: build/voice/bundle.json
	@$(BIN)/soundstorm info build/voice
	@$(BIN)/soundstorm say build/voice -o build/hello.wav \
		"Hello there. This voice was trained from scratch, and it speaks without a graphics card."

test: demo lint flite
	$(BIN)/pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

build/voice/bundle.json: voices/flite-rms.pt $(SOURCES) | $(INSTALLED)
	$(BIN)/soundstorm-export $< -o build/voice

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("error: $(PYTHON) is Python " \
		+ sys.version.split()[0] + ", expected 3.10 or newer; give another: make PYTHON=python3.12")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(APT) python3-venv; } \
		|| { echo "error: $(PYTHON) cannot make virtual environments; apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) install --no-deps $(TORCH)
	$(PIP) install --editable '.[dev]'
	@touch $@

# Speaks the corpus of the training tests, which are skipped, and say so, where it is absent.
flite:
	@{ command -v flite && ls /usr/share/games/fortunes; } >/dev/null 2>&1 || { $(APT) flite fortunes; } \
		|| echo "flite and fortunes are absent: tests that need them are skipped; apt-get install flite fortunes" >&2

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

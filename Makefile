# `make demo` and `make test` work on a fresh machine with Python 3.10 or newer and make.
#
#   make demo              install what a device needs, and speak one sentence to build/hello.wav
#   make demo-export       install everything, and export the shipped voice to build/voice
#   make test              both, then lint, types and all tests
#   make test ROOM=text    the tests of one room alone: every tests/**/text
#   make fuzz              100,000 damaged and hostile inputs, ten minutes of a core
#   make kill              every command killed at 100 moments
#   make cluster           the tests that start several nodes of Ray
#   make lint              ruff and mypy
#   make docs              the documentation as a site, in build/site
#   make samples           the sound files in docs/samples
#   make voice-wheel       the voice packages of voices/ as wheels, in build/dist
#   make dist              what is published: sdists and wheels, checked, in build/dist

PYTHON ?= python3

# Installed first and by itself, so that another build can be named. On x86 Linux the one of PyPI brings
# gigabytes of CUDA; the CPU build is enough for the demo and the tests: make TORCH='torch --index-url ...'
# with the index that PyTorch's own installation page names.
TORCH ?= torch==2.13.0

LEAN := build/lean
VOICE := voices/flite-multi
VOICES := $(patsubst %/pyproject.toml,%,$(wildcard voices/*/pyproject.toml))
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
INSTALLED := .venv/installed
REFERENCES := .venv/references
SOURCES := $(shell find soundstorm_edge export runtime -name '*.py')
HATCH = $(abspath $(BIN))/python -m hatchling build -d $(abspath build/dist)

CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("error: $(PYTHON) is Python " \
		+ sys.version.split()[0] + ", expected 3.10 or newer; give another: make PYTHON=python3.12")' \
	&& { $(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(APT) python3-venv; } \
		|| { echo "error: $(PYTHON) cannot make virtual environments; apt-get install python3-venv" >&2; exit 1; }; }

# Install a Debian package, where we are root and need not ask.
APT = [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -q \
	&& DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends

# The folders of tests that `make test ROOM=...` runs.
ROOMS = $(wildcard tests/$(ROOM) tests/*/$(ROOM))

.PHONY: demo demo-export test fuzz kill cluster lint docs samples voice-wheel dist flite chromium speechd clean
.DELETE_ON_ERROR:

demo: $(LEAN)/installed
	@$(LEAN)/bin/soundstorm voices
	@$(LEAN)/bin/soundstorm say -o build/hello.wav \
		"Hello there. This voice was trained from scratch, and it speaks without a graphics card."

demo-export: build/voice/bundle.json
	@$(BIN)/soundstorm info build/voice
	@$(BIN)/soundstorm say build/voice -o build/hello-exported.wav "This voice was exported on this machine."

ifdef ROOM
test: $(INSTALLED)
	$(if $(ROOMS),,$(error no folder tests/$(ROOM) or tests/*/$(ROOM); give the name of a room, such as ROOM=text))
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadfile $(ROOMS)
else
test: demo demo-export lint flite chromium speechd $(REFERENCES)
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder
endif

fuzz: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --cases 100000 --log tests/fuzz/log.txt

kill: $(INSTALLED) flite
	OMP_NUM_THREADS=1 $(BIN)/pytest -m sweep tests/test_killed.py

cluster: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m cluster tests/runtime tests/edge

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "build/site/index.html"

samples: build/voice/bundle.json
	$(BIN)/python -m scripts.make_samples build/voice docs/samples

voice-wheel: $(INSTALLED)
	@for voice in $(VOICES); do (cd $$voice && $(HATCH) -t wheel) || exit 1; done

dist: $(INSTALLED)
	rm -rf build/dist
	@for package in . $(VOICES); do (cd $$package && $(HATCH)) || exit 1; done
	$(BIN)/python -m twine check --strict build/dist/*

build/voice/bundle.json: voices/flite-multi.pt $(SOURCES) | $(INSTALLED)
	$(BIN)/soundstorm-export $< -o build/voice

# What a device has: the runtime, an engine library and a voice; no PyTorch.
$(LEAN)/installed: pyproject.toml $(VOICE)/pyproject.toml $(SOURCES)
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv $(LEAN)
	$(LEAN)/bin/python -m pip install --quiet --disable-pip-version-check '.[cpu]' ./$(VOICE)
	@touch $@

$(INSTALLED): pyproject.toml
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv .venv
	$(PIP) install $(TORCH)
	$(PIP) install --editable '.[dev]'
	@touch $@

# The packages that the tests compare with, without their requirements, some of which no longer build; and
# NVIDIA's TensorRT for RTX, whose parser and builder need no GPU; and OpenVINO for ONNX Runtime.
$(REFERENCES): $(INSTALLED)
	$(PIP) install --no-deps soundstorm-pytorch==0.6.1 audiolm-pytorch==2.4.0 spear-tts-pytorch==0.4.8 x-clip==0.14.4
	[ "$$(uname -sm)" != "Linux x86_64" ] || $(PIP) install --no-deps onnxruntime-ep-nv-tensorrt-rtx-cu12==0.5.0
	[ "$$(uname -sm)" != "Linux x86_64" ] || $(PIP) install --no-deps \
		tensorrt-rtx-cu12==1.7.1.116 tensorrt-rtx-cu12-bindings==1.7.1.116 tensorrt-rtx-cu12-libs==1.7.1.116
	[ "$$(uname -sm)" != "Linux x86_64" ] || $(PIP) install --no-deps onnxruntime-ep-openvino==1.8.1
	@touch $@

# flite speaks the corpus of the training tests, and aplay plays; where they are absent tests are skipped, by name.
flite:
	@{ command -v flite && command -v aplay && ls /usr/share/games/fortunes; } >/dev/null 2>&1 \
		|| { $(APT) flite fortunes alsa-utils; } \
		|| echo "tests are skipped that need: apt-get install flite fortunes alsa-utils" >&2

# The web page's tests run in it, and the documentation calls the server with curl.
chromium:
	@{ command -v chromium && command -v chromedriver && command -v curl; } >/dev/null 2>&1 \
		|| { $(APT) chromium chromium-driver curl; } \
		|| echo "chromium is absent: tests of the web page are skipped; apt-get install chromium chromium-driver curl" >&2

# The module for screen readers is tested with it, and AAC with ffmpeg.
speechd:
	@{ command -v spd-say && command -v speech-dispatcher && command -v ffmpeg; } >/dev/null 2>&1 \
		|| { $(APT) speech-dispatcher speech-dispatcher-audio-plugins ffmpeg; } \
		|| echo "speech-dispatcher is absent: tests with it are skipped; apt-get install speech-dispatcher ffmpeg" >&2

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

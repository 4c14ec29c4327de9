"""The tiny voice, made by hand, for the programs that speak with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from soundstorm_runtime import DecodeOptions, Voice
from tests.runtime.conftest import _make_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny voice, with two named speakers."""
    options = DecodeOptions((4, 2, 1), temperature=1.0)
    voices = {"slt": 6, "rms": 9}
    return _make_bundle(tmp_path_factory.mktemp("bundle") / "tiny", options=options, voices=voices)


@pytest.fixture(scope="session")
def slow_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with so many steps that a long text takes longer than a test."""
    options = DecodeOptions((200, 200, 200), temperature=1.0)
    return _make_bundle(tmp_path_factory.mktemp("bundle") / "slow", options=options)


@pytest.fixture(scope="session")
def voice(bundle: Path) -> Voice:
    """The tiny voice, warmed up."""
    voice = Voice.load(bundle)
    voice.warm_up()
    return voice

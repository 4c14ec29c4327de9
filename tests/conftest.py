"""What tests of several packages share: a tiny untrained voice, and the commands as processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from soundstorm_edge.checkpoint import VoiceConfig, VoiceModels, build_voice, save_voice
from soundstorm_edge.codec.spectral_codec import SpectralCodecConfig
from soundstorm_edge.data.shipped_lexicon import shipped_lexicon
from soundstorm_edge.data.sources.fortunes import FORTUNES
from soundstorm_edge.nn.conformer import ConformerConfig
from soundstorm_edge.soundstorm.model import SoundStormConfig
from soundstorm_edge.text_to_semantic.parallel import ParallelTextConfig
from soundstorm_edge.units.semantic_units import SpectralUnitsConfig
from soundstorm_export.bundle_writer import export_bundle
from soundstorm_export.tracing import trace
from soundstorm_runtime.decoding.maskgit import DecodeOptions
from soundstorm_runtime.support.telemetry import refuse_telemetry
from tests import trace_cache

ROOT = Path(__file__).parent.parent
MODULES = {
    "soundstorm": "soundstorm_runtime.cli",
    "soundstorm-train": "soundstorm_edge.cli",
    "soundstorm-export": "tests.export_command",  # with a cache of traces
}

# Files that take minutes start first, so that no worker is left alone with one of them at the end.
LONGEST = (
    "tests/docs/",
    "tests/tensorrt_rtx/",
    "tests/test_end_to_end",
    "tests/export/",
    "tests/interop/test_export",
    "tests/test_bad_input",
    "tests/test_killed",
    "tests/fuzz/",
)

RunCommand = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_configure(config: pytest.Config) -> None:
    refuse_telemetry()  # some tests import ONNX Runtime by themselves
    # Tiny networks gain nothing from more threads, and sums come out the same on every machine.
    torch.set_num_threads(1)
    # A shell ignores Ctrl-C for what it runs in the background, and the commands tested would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "gpu: needs a GPU and a library for it; skipped where one is absent")
    config.addinivalue_line("markers", "sweep: takes long; run with pytest -m sweep")
    config.addinivalue_line("markers", "cluster: starts several nodes of Ray; run with pytest -m cluster")
    config.addinivalue_line("markers", "network: asks a package index; skipped where none answers")
    config.addinivalue_line(
        "markers", "flite: needs Debian's flite and fortunes; skipped where they are absent"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("cluster") and "cluster" not in config.option.markexpr:
            item.add_marker(pytest.mark.skip(reason="starts nodes of Ray: pytest -m cluster"))
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))
    for item in items:
        if item.get_closest_marker("sweep") and "sweep" not in config.option.markexpr:
            file = item.nodeid.partition("::")[0]
            item.add_marker(pytest.mark.skip(reason=f"takes long: pytest -m sweep {file}"))
    if shutil.which("flite") and FORTUNES.is_dir():
        return
    for item in items:
        if item.get_closest_marker("flite"):
            item.add_marker(
                pytest.mark.skip(reason="flite or fortunes absent: apt-get install flite fortunes")
            )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was skipped, and why, even in a quiet run: a skipped test proves nothing."""
    for report in terminalreporter.stats.get("skipped", []):
        terminalreporter.write_line(f"SKIPPED {report.nodeid}: {report.longrepr[-1]}", yellow=True)


@pytest.fixture(autouse=True)
def _ctrl_c_stays_pytests() -> Iterator[None]:
    """A command that runs within the tests leaves Ctrl-C to the system, for it expects to end."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture(scope="session", autouse=True)
def _shared_traces() -> Iterator[None]:
    """Exports of the tests trace no network twice that has the same structure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "capture", trace_cache.cached)
        yield


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment of commands that run as processes: one thread, and the three packages in reach."""
    paths = [str(ROOT), str(ROOT / "export"), str(ROOT / "runtime")]
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture(scope="session")
def modules() -> dict[str, str]:
    """The three commands, and the module that runs each of them."""
    return MODULES


@pytest.fixture(scope="session")
def run_command(environment: dict[str, str]) -> RunCommand:
    """Run `run_command("soundstorm-train", "codec", ...)` to its end, and give the finished process."""

    def run(command: str, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", MODULES[command], *map(str, arguments)]
        return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def tiny_voice() -> VoiceModels:
    """An untrained voice with the shipped lexicon: it makes noise of about the right length."""
    torch.manual_seed(0)
    lexicon = shipped_lexicon()
    conformer = ConformerConfig(
        dim=16, depth=1, heads=2, dim_head=8, ff_mult=2, conv_kernel_size=3, num_residual_streams=1
    )
    config = VoiceConfig(
        name="tiny",
        codec=SpectralCodecConfig(
            mels=20,
            dim=16,
            encoder_blocks=1,
            decoder_blocks=1,
            latent_dim=8,
            levels=2,
            codebook_size=16,
            spectra=2,
            transforms=2,
        ),
        units=SpectralUnitsConfig(vocabulary=12),
        soundstorm=SoundStormConfig(levels=2, codebook_size=16, vocabulary=12, conformer=conformer),
        text=ParallelTextConfig(symbols=lexicon.symbols, vocabulary=12, encoder=conformer, decoder=conformer),
        decode=DecodeOptions(steps=(2, 1)),
    )
    return build_voice(config, lexicon)


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_voice: VoiceModels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny voice as a checkpoint; copy it before changing it."""
    path = tmp_path_factory.mktemp("checkpoint") / "ckpt.pt"
    save_voice(path, tiny_voice)
    return path


@pytest.fixture(scope="session")
def tiny_bundle(tiny_voice: VoiceModels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny voice as a bundle; copy it before changing it."""
    return export_bundle(tiny_voice, tmp_path_factory.mktemp("bundle") / "voice").path

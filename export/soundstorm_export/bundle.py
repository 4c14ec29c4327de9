"""Write a bundle: all or nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import soundstorm_runtime
from soundstorm_edge.checkpoint import VoiceConfig, VoiceModels
from soundstorm_edge.parallel_text import ParallelTextConfig
from soundstorm_edge.spectral_codec import SpectralCodec
from soundstorm_runtime.bundle import MANIFEST_FILE, Bundle, read_bundle
from soundstorm_runtime.graphs import AXES
from soundstorm_runtime.manifest import (
    LEXICON_FILE,
    AudioFacts,
    AutoregressiveTextFacts,
    FileFacts,
    GraphFacts,
    Manifest,
    ParallelTextFacts,
    ParityFacts,
    SemanticFacts,
    TextFacts,
    voice_graphs,
)

from .errors import ExportError
from .networks import networks
from .operators import check_operators
from .parity import check_parity
from .trace import trace


def export_bundle(
    voice: VoiceModels, folder: Path, report: Callable[[str], None] = lambda line: None
) -> Bundle:
    """Export every graph of `voice`, prove each, and put the bundle at `folder`.

    An older bundle there is replaced once the new one is complete; any other folder is refused.
    `report` is told what is being done. Raises `ExportError`.
    """
    if folder.exists() and not (folder / MANIFEST_FILE).is_file() and not _is_empty(folder):
        raise ExportError(f"{folder} exists and is no bundle; give another folder, or remove it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise ExportError(f"cannot write {folder} ({error.strerror}); give another folder") from error
    try:
        work.chmod(0o755)
        _write(voice, work, report)
        read_bundle(work)  # what has just been written must pass what the device will check
        _replace(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return read_bundle(folder)


def _write(voice: VoiceModels, folder: Path, report: Callable[[str], None]) -> None:
    config = voice.config
    audio, semantic, text = _audio_facts(voice), _semantic_facts(config), _text_facts(config)
    graphs = voice_graphs(audio, semantic, text)
    parity: dict[str, ParityFacts] = {}
    for name, network in networks(voice, graphs).items():
        report(f"exporting {name}")
        trace(network, config, folder / f"{name}.onnx")
        check_operators(folder / f"{name}.onnx")
        parity[name] = check_parity(network, folder / f"{name}.onnx", config)
    voice.lexicon.save(folder / LEXICON_FILE)
    files = (*(f"{name}.onnx" for name in graphs), LEXICON_FILE)
    manifest = Manifest(
        format="soundstorm-bundle",
        version=1,
        producer=f"soundstorm-edge {soundstorm_runtime.__version__}",
        name=config.name,
        audio=audio,
        semantic=semantic,
        decode=config.decode,
        text=text,
        axes=AXES,
        graphs={n: GraphFacts(f"{n}.onnx", graph.inputs, graph.outputs) for n, graph in graphs.items()},
        files={name: FileFacts.of(folder / name) for name in files},
        parity=parity,
    )
    (folder / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")


def _audio_facts(voice: VoiceModels) -> AudioFacts:
    codec = voice.codec
    window = codec.config.window if isinstance(codec, SpectralCodec) else 0
    return AudioFacts(
        voice.config.codec.kind, codec.sample_rate, codec.hop, window, codec.levels, codec.codebook_size
    )


def _semantic_facts(config: VoiceConfig) -> SemanticFacts:
    return SemanticFacts(config.units.vocabulary, config.units.rate)


def _text_facts(config: VoiceConfig) -> TextFacts:
    text = config.text
    if isinstance(text, ParallelTextConfig):
        return ParallelTextFacts("parallel", text.symbols, text.encoder.dim)
    return AutoregressiveTextFacts(
        "autoregressive", text.symbols, text.target_depth, text.heads, text.dim_head
    )


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _replace(work: Path, folder: Path) -> None:
    """Put `work` in the place of `folder`; what was there goes only when the new one stands."""
    old = work.with_name(f"{work.name}.old")
    if folder.exists():
        folder.rename(old)
    work.rename(folder)
    shutil.rmtree(old, ignore_errors=True)

"""Write a bundle: all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

import soundstorm_runtime
from soundstorm_edge.checkpoint import VoiceModels
from soundstorm_edge.codec.soundstream import SoundStream
from soundstorm_edge.codec.spectral_codec import ConvNeXtBlock, SpectralCodec
from soundstorm_edge.codec.streaming_decoder import StreamingDecoder
from soundstorm_edge.text_to_semantic.parallel import ParallelTextToSemantic
from soundstorm_edge.units.semantic_units import HubertUnits, PhoneticUnits, SpectralUnits
from soundstorm_runtime.bundle.manifest import (
    LEXICON_FILE,
    TOKENIZER_FILE,
    AudioSchema,
    AutoregressiveTextSchema,
    FileRecord,
    GraphSchema,
    Manifest,
    ParallelTextSchema,
    ParityReport,
    Precision,
    SemanticSchema,
    TextSchema,
    Variant,
    VariantSchema,
    voice_graphs,
)
from soundstorm_runtime.bundle.prompts import write_prompt
from soundstorm_runtime.bundle.reader import MANIFEST_FILE, Bundle, read_bundle
from soundstorm_runtime.engines.graphs import AXES
from soundstorm_runtime.support.atomic import atomic_folder

from .errors import ExportError
from .rewrite.cpu import to_cpu
from .rewrite.simplify import simplify
from .tracing.networks import Network, networks
from .tracing.prompt_graphs import UNMEASURED, hearing_networks, measure_hearing, without_fourier
from .tracing.trace import trace
from .variants import write_variant
from .verify.checked_write import write_proven
from .verify.operators import check_operators
from .verify.speech_comparison import compare_speech
from .voice_parts import Parts

CPU_GRAPHS = ("step",)

Report = Callable[[str], None]


def export_bundle(
    voice: VoiceModels | Parts,
    folder: Path,
    report: Report = lambda line: None,
    precisions: Sequence[Precision] = ("fp32",),
) -> Bundle:
    """Export every graph, prove each, and put the bundle at `folder`.

    precisions: beside fp32, which every bundle has. An older bundle at `folder` is replaced once the new
    one is complete; any other folder is refused. `report` is told what is being done. Raises
    `ExportError`.
    """
    if folder.exists() and not (folder / MANIFEST_FILE).is_file() and not _is_empty(folder):
        raise ExportError(f"{folder} exists and is no bundle; give another folder, or remove it")
    parts = Parts.of(voice) if isinstance(voice, VoiceModels) else voice
    with ExitStack() as stack:
        try:
            work = stack.enter_context(atomic_folder(folder))
        except OSError as error:
            raise ExportError(f"cannot write {folder} ({error.strerror}); give another folder") from error
        bundle = _write_manifest(_write_graphs(parts, work, report), work)
        bundle.prompts()  # read_bundle has looked at their bytes alone
        bundle.spelling()
        if bundle.manifest.hearing is not None:
            report("making prompts of the voice's own speech")
            hearing = measure_hearing(bundle, parts)
            bundle = _write_manifest(replace(bundle.manifest, hearing=hearing), work)
        for variant in dict.fromkeys(precisions):
            if variant != "fp32":
                bundle = _add_variant(variant, bundle, parts, report)
    return read_bundle(folder)


def _write_graphs(parts: Parts, folder: Path, report: Report) -> Manifest:
    audio, text = _audio_facts(parts), _text_facts(parts)
    semantic = _semantic_facts(parts)
    graphs = voice_graphs(audio, semantic, text)
    pairs = networks(parts, graphs)
    hearing = hearing_networks(parts, audio, semantic, report)
    parity: dict[str, ParityReport] = {}
    for name, network in {**pairs, **hearing}.items():
        report(f"exporting {name}")
        model = without_fourier(simplify(trace(network, parts)))
        check_operators(name, model)
        weights = f"{name}.weights" if name in CPU_GRAPHS else None  # shared with the form for CPUs
        parity[name] = write_proven(model, network, parts, folder / f"{name}.onnx", "fp32", weights)
    cpu = _write_cpu(pairs, parts, folder, report)
    graphs |= {name: network.graph for name, network in hearing.items()}
    prompts = {name: f"prompts/{name}.npz" for name in parts.prompts}
    files = [f"{name}.onnx" for name in graphs] + [f"{name}.weights" for name in CPU_GRAPHS]
    files += [*cpu.graphs.values(), *prompts.values(), *_write_spelling(parts, folder)]
    for name, file in prompts.items():
        write_prompt(folder / file, replace(parts.prompts[name], fingerprint=parts.fingerprint))
    return Manifest(
        format="soundstorm-bundle",
        version=1,
        producer=f"soundstorm-edge {soundstorm_runtime.__version__}",
        name=parts.name,
        audio=audio,
        semantic=semantic,
        decode=parts.decode,
        text=text,
        axes=AXES,
        graphs={
            n: GraphSchema(
                f"{n}.onnx", graph.inputs, graph.outputs, f"{n}.weights" if n in CPU_GRAPHS else None
            )
            for n, graph in graphs.items()
        },
        files={file: FileRecord.of(folder / file) for file in files},
        parity=parity,
        prompts=prompts,
        speaker=parts.speaker,
        fingerprint=parts.fingerprint,
        hearing=UNMEASURED if hearing else None,
        cpu=cpu,
        notice=parts.notice,
    )


def _write_spelling(parts: Parts, folder: Path) -> list[str]:
    """Write what tells how text is spelled for the text stage; gives the names of the files."""
    files = []
    if parts.lexicon is not None:
        parts.lexicon.save(folder / LEXICON_FILE)
        files.append(LEXICON_FILE)
    if parts.tokenizer is not None:
        (folder / TOKENIZER_FILE).write_text(parts.tokenizer, encoding="utf-8")
        files.append(TOKENIZER_FILE)
    return files


def _write_cpu(pairs: Mapping[str, Network], parts: Parts, folder: Path, report: Report) -> VariantSchema:
    """Write the form for CPUs of fp32: graphs alone, for it has the weights of the others."""
    files = {name: f"{name}.cpu.onnx" for name in CPU_GRAPHS}
    parity: dict[str, ParityReport] = {}
    for name, file in files.items():
        report(f"exporting {name} for CPUs")
        model = to_cpu(ir.load(folder / f"{name}.onnx"))
        parity[name] = write_proven(model, pairs[name], parts, folder / file, "fp32")
    return VariantSchema(files, parity)


def _add_variant(variant: Variant, bundle: Bundle, parts: Parts, report: Report) -> Bundle:
    """Write a variant into a bundle that has fp32, and compare how both speak."""
    manifest = bundle.manifest
    pairs = networks(parts, manifest.expected_graphs())
    facts = write_variant(variant, bundle, pairs, parts, report)
    files = {file: FileRecord.of(bundle.path / file) for file in facts.graphs.values()}
    manifest = replace(
        manifest, variants={**manifest.variants, variant: facts}, files={**manifest.files, **files}
    )
    bundle = _write_manifest(manifest, bundle.path)
    if parts.text is None:
        return bundle
    report(f"comparing the speech of {variant} with that of fp32")
    facts = replace(facts, speech=compare_speech(bundle, variant))
    return _write_manifest(replace(manifest, variants={**manifest.variants, variant: facts}), bundle.path)


def _write_manifest(manifest: Manifest, folder: Path) -> Bundle:
    (folder / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
    return read_bundle(folder)  # what has just been written must pass what the device will check


def _audio_facts(parts: Parts) -> AudioSchema:
    codec, own = parts.codec, parts.soundstorm
    rate, hop, groups = codec.sample_rate, codec.hop, own.config.groups
    if not isinstance(codec, SpectralCodec):
        state: tuple[tuple[int, ...], ...] = ()
        if isinstance(codec, SoundStream) and codec.config.pad_mode != "circular":
            state = StreamingDecoder(codec).state
        return AudioSchema("soundstream", rate, hop, 0, own.levels, own.codebook_size, groups, state=state)
    context, lookahead = reach(codec)
    return AudioSchema(
        "spectral", rate, hop, codec.window, own.levels, own.codebook_size, groups, context, lookahead,
        transforms=codec.config.transforms,
    )  # fmt: skip


def reach(codec: SpectralCodec) -> tuple[int, int]:
    """Return the frames before and after one that the decoder's spectrum of it depends on."""
    blocks = [block for block in codec.decoder if isinstance(block, ConvNeXtBlock)]
    return sum(block.padding[0] for block in blocks), sum(block.padding[1] for block in blocks)


def _semantic_facts(parts: Parts) -> SemanticSchema:
    units = parts.units
    kind = units.config.kind if isinstance(units, SpectralUnits | PhoneticUnits | HubertUnits) else "unknown"
    return SemanticSchema(parts.vocabulary, parts.rate, kind)


def _text_facts(parts: Parts) -> TextSchema | None:
    if parts.text is None:
        return None
    if isinstance(parts.text, ParallelTextToSemantic):
        config = parts.text.config
        return ParallelTextSchema("parallel", config.symbols, config.encoder.dim)
    own, text = parts.text.config, parts.text.alphabets["text"]
    return AutoregressiveTextSchema(
        "autoregressive",
        own.symbols,
        own.target_depth,
        own.heads,
        own.dim_head,
        text_tokens=None if own.symbols else text.size,
        end=text.end if text.has_end else None,
    )


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())

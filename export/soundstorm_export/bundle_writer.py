"""Write a bundle: every graph traced, rewritten and checked, then moved into place as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

import soundstorm_runtime
from soundstorm_edge.checkpoint import VoiceModels
from soundstorm_runtime.bundle.manifest import (
    LEXICON_FILE,
    TOKENIZER_FILE,
    AutoregressiveTextSchema,
    FileRecord,
    GraphSchema,
    Manifest,
    ParityReport,
    Precision,
    Variant,
    VariantSchema,
    voice_graphs,
)
from soundstorm_runtime.bundle.manifest_schema import ALIGNMENT_FILE
from soundstorm_runtime.bundle.precisions import runs_on
from soundstorm_runtime.bundle.prompts import write_prompt
from soundstorm_runtime.bundle.reader import MANIFEST_FILE, Bundle, read_bundle
from soundstorm_runtime.bundle.token_alignment import write_alignment
from soundstorm_runtime.engines.graphs import AXES, step_next_graph
from soundstorm_runtime.support.atomic import atomic_folder

from .alignment_training import measure_alignment
from .errors import ExportError
from .rewrite.constants import load_graph, share_weights, store_as_halves
from .rewrite.cpu import to_cpu
from .rewrite.simplify import simplify
from .schemas import audio_schema, cache_shape, semantic_schema, text_schema
from .tracing.networks import Network, networks, prompt_encoder_networks
from .tracing.trace import trace
from .variants import write_cuda_graph, write_variant
from .verify.checked_write import write_checked
from .verify.operators import check_operators
from .verify.prompt_parity import UNMEASURED, compare_prompt_encoder
from .verify.speech_comparison import ReferenceSpeech, compare_speech
from .voice_parts import Parts

# Graphs that have a second form for ONNX Runtime on CPUs, with the same weights, and the file of these; the
# first graph that names a file writes it.
CPU_GRAPHS = {"step": "step.weights", "prefix": "step.weights"}
SHARED_WEIGHTS = CPU_GRAPHS | {"step_next": "step.weights"}

Report = Callable[[str], None]


def export_bundle(
    voice: VoiceModels | Parts,
    folder: Path,
    report: Report = lambda line: None,
    precisions: Sequence[Precision] = ("fp32",),
    keep_fp32: bool = True,
) -> Bundle:
    """Export a voice: trace every graph, check it, and put the bundle at `folder`.

    Args:
        voice: a voice of this package, or the parts of one from third-party checkpoints.
        folder: where the bundle goes. An older bundle there is replaced once the new one is complete; any
            other folder that is not empty is refused.
        report: called with a line of progress before each piece of work.
        precisions: what to export beside fp32.
        keep_fp32: whether the bundle has fp32 also of those graphs that each of `precisions` has.

    Raises:
        ExportError: there is no other precision than fp32 to keep, a graph cannot be exported or differs from
            PyTorch, a precision changes speech too much, or `folder` cannot be written. Nothing is left
            behind then.
    """
    if not keep_fp32 and not set(precisions) - {"fp32"}:
        raise ExportError(
            "without fp32 nothing is left, since no other precision was asked for; add --precision int8"
        )
    if folder.exists() and not (folder / MANIFEST_FILE).is_file() and not _is_empty(folder):
        raise ExportError(f"{folder} exists and is no bundle; give another folder, or remove it")
    parts = Parts.of(voice) if isinstance(voice, VoiceModels) else voice
    with ExitStack() as stack:
        try:
            work = stack.enter_context(atomic_folder(folder))
        except OSError as error:
            raise ExportError(f"cannot write {folder} ({error.strerror}); give another folder") from error
        for_gpus = any(precision != "fp32" and runs_on(precision, "tensorrt") for precision in precisions)
        manifest = _write_voice(parts, work, report, for_gpus)
        reference = ReferenceSpeech(Bundle(work, manifest)) if parts.text is not None else None
        if isinstance(manifest.text, AutoregressiveTextSchema) and manifest.text.symbols and reference:
            manifest = _add_alignment(manifest.text, Bundle(work, manifest), reference, report)
        if manifest.hearing is not None and reference is not None:
            report("comparing prompts made of the voice's own speech")
            measured = compare_prompt_encoder(Bundle(work, manifest), parts, reference.audio)
            manifest = replace(manifest, hearing=measured)
        for variant in dict.fromkeys(precisions):
            if variant != "fp32":
                manifest = _add_variant(variant, Bundle(work, manifest), parts, reference, report)
        if not keep_fp32:
            manifest = leave_out_fp32(Bundle(work, manifest))
        (work / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
        bundle = read_bundle(work)  # the checks that a device makes
        bundle.prompts()
        bundle.spelling()
        bundle.alignment()
    return replace(bundle, path=folder)


def _write_voice(parts: Parts, folder: Path, report: Report, for_gpus: bool) -> Manifest:
    """Write all files of a voice in fp32, and return the manifest that lists them.

    Only TensorRT gains from a whole step as one graph, so that a bundle for CPUs does not have it.
    """
    audio, semantic, text = audio_schema(parts), semantic_schema(parts), text_schema(parts)
    cache = cache_shape(parts)
    speaking = voice_graphs(audio, semantic, text, cache)
    if for_gpus and cache is None and audio.latent is None:
        speaking["step_next"] = step_next_graph(audio.levels)
    pairs = networks(parts, speaking)
    prompt_pairs = prompt_encoder_networks(parts, audio, semantic, report)
    graphs, parity = _write_graphs({**pairs, **prompt_pairs}, parts, folder, report)
    cpu = _write_cpu_graphs(pairs, parts, folder, report)
    prompts = {name: f"prompts/{name}.npz" for name in parts.prompts}
    for name, file in prompts.items():
        write_prompt(folder / file, replace(parts.prompts[name], fingerprint=parts.fingerprint))
    files = [file for graph in graphs.values() for file in (graph.file, graph.weights) if file is not None]
    files += [*cpu.graphs.values(), *prompts.values(), *_write_spelling(parts, folder)]
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
        graphs=graphs,
        files={file: FileRecord.of(folder / file) for file in files},
        parity=parity,
        prompts=prompts,
        speaker=parts.speaker,
        fingerprint=parts.fingerprint,
        hearing=UNMEASURED if prompt_pairs else None,
        cpu=cpu,
        notice=parts.notice,
        cache=cache,
    )


def _write_graphs(
    pairs: Mapping[str, Network], parts: Parts, folder: Path, report: Report
) -> tuple[dict[str, GraphSchema], dict[str, ParityReport]]:
    """Trace, simplify, write and check each graph in fp32."""
    schemas: dict[str, GraphSchema] = {}
    parity: dict[str, ParityReport] = {}
    for name, network in pairs.items():
        report(f"exporting {name}")
        model = simplify(trace(network, parts))
        check_operators(name, model)
        store_as_halves(model)
        weights = SHARED_WEIGHTS.get(name)
        written = weights is not None and (folder / weights).exists()
        if written:
            share_weights(model, ir.load(folder / "step.onnx"))
        file = folder / f"{name}.onnx"
        parity[name] = write_checked(model, network, parts, file, "fp32", None if written else weights)
        schemas[name] = GraphSchema(f"{name}.onnx", network.graph.inputs, network.graph.outputs, weights)
    return schemas, parity


def _write_cpu_graphs(
    pairs: Mapping[str, Network], parts: Parts, folder: Path, report: Report
) -> VariantSchema:
    """Write the fp32 graphs for ONNX Runtime on CPUs; they share the weights of the others."""
    files = {name: f"{name}.cpu.onnx" for name in CPU_GRAPHS if name in pairs}
    parity: dict[str, ParityReport] = {}
    for name, file in files.items():
        report(f"exporting {name} for CPUs")
        model = to_cpu(load_graph(folder / f"{name}.onnx"))
        store_as_halves(model)
        share_weights(model, ir.load(folder / "step.onnx"))
        parity[name] = write_checked(model, pairs[name], parts, folder / file, "fp32")
    return VariantSchema(files, parity)


def _write_spelling(parts: Parts, folder: Path) -> list[str]:
    """Write the lexicon or the tokenizer that spells text for the text stage; return the file names."""
    files = []
    if parts.lexicon is not None:
        parts.lexicon.save(folder / LEXICON_FILE)
        files.append(LEXICON_FILE)
    if parts.tokenizer is not None:
        (folder / TOKENIZER_FILE).write_text(parts.tokenizer, encoding="utf-8")
        files.append(TOKENIZER_FILE)
    return files


def _add_alignment(
    text: AutoregressiveTextSchema, bundle: Bundle, reference: ReferenceSpeech, report: Report
) -> Manifest:
    """Measure and write which semantic tokens speak which phone, and extend the manifest."""
    report("reading sentences to align semantic tokens with phones")
    alignment = measure_alignment(bundle, text, reference.engines)
    if alignment is None:
        report("the bundle will have no word times: the text stage does not read to the end of a sentence")
        return bundle.manifest
    file = bundle.path / ALIGNMENT_FILE
    write_alignment(file, alignment)
    files = {**bundle.manifest.files, ALIGNMENT_FILE: FileRecord.of(file)}
    return replace(bundle.manifest, text=replace(text, alignment=True), files=files)


def _add_variant(
    variant: Variant, bundle: Bundle, parts: Parts, reference: ReferenceSpeech | None, report: Report
) -> Manifest:
    """Write the graphs of a precision, compare its speech with that of fp32, and extend the manifest."""
    manifest = bundle.manifest
    pairs = networks(parts, manifest.expected_graphs() | manifest.whole_step())
    schema = write_variant(variant, bundle, pairs, parts, report)
    cuda = manifest.cuda
    if variant == "fp16":
        cuda = write_cuda_graph(bundle, schema, pairs["step"], parts, report)
    written = (*schema.graphs.values(), *schema.weights.values(), *(cuda.graphs.values() if cuda else ()))
    files = {file: FileRecord.of(bundle.path / file) for file in written}
    manifest = replace(
        manifest,
        variants={**manifest.variants, variant: schema},
        files={**manifest.files, **files},
        cuda=cuda,
    )
    if reference is None:
        return manifest
    report(f"comparing the speech of {variant} with that of fp32")
    schema = replace(schema, speech=compare_speech(replace(bundle, manifest=manifest), variant, reference))
    return replace(manifest, variants={**manifest.variants, variant: schema})


def leave_out_fp32(bundle: Bundle) -> Manifest:
    """Remove fp32 of the graphs that every other precision has, and return the manifest of what is left."""
    manifest = bundle.manifest
    of_all = set.intersection(*(set(variant.graphs) for variant in manifest.variants.values()))
    graphs = {
        name: replace(graph, file=None, weights=None) if name in of_all else graph
        for name, graph in manifest.graphs.items()
    }
    cpu = manifest.cpu
    if cpu is not None:
        kept = [name for name in cpu.graphs if name not in of_all]
        parts = {n: cpu.graphs[n] for n in kept}, {n: cpu.parity[n] for n in kept}
        cpu = VariantSchema(*parts) if kept else None
    manifest = replace(manifest, graphs=graphs, cpu=cpu)
    named = set(manifest.named_files())
    for file in manifest.files.keys() - named:
        (bundle.path / file).unlink()
    return replace(manifest, files={file: record for file, record in manifest.files.items() if file in named})


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())

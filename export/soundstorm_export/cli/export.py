"""The command `soundstorm-export`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from soundstorm_runtime.bundle.manifest import Precision, SpeechReport
from soundstorm_runtime.bundle.precisions import fastest_on_gpu, precisions_on
from soundstorm_runtime.bundle.reader import MANIFEST_FILE, Bundle, read_bundle
from soundstorm_runtime.support.command import Command, json_option, needs_extra, report, version_option
from soundstorm_runtime.support.interrupt import uninterrupted

from ..errors import ExportError
from ..tensorrt.build_options import tensorrt_options
from ..tensorrt.engine_builder import BuildOptions, build_engines, open_library
from .wheel_options import wheel_options

if TYPE_CHECKING:
    from ..voice_package import PackageOptions

_EXAMPLE = """
soundstorm-export voices/flite-multi.pt -o build/voice
soundstorm-export ckpt.pt --wheel --license CC-BY-4.0 --attribution "Speech by Anna Example."
soundstorm-export build/voice --tensorrt --precision fp16
"""


@click.command(cls=Command, example=_EXAMPLE)
@version_option
@click.argument("checkpoints", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="voice; with --wheel soundstorm-voice-NAME",
    help="Folder to write the bundle, or with --wheel the package, to; an existing one is replaced.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML file with the settings that checkpoints of other packages do not contain.",
)
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(get_args(Precision)),
    multiple=True,
    show_default="fp32, int8; with --tensorrt or --tensorrt-rtx fp32, fp16",
    help="Precision of the graphs; may be given several times. fp32 is always made; int8 is for CPUs, "
    "fp16 for GPUs; bf16, int8-qdq and fp8-qdq are for TensorRT.",
)
@click.option(
    "--without-fp32",
    is_flag=True,
    help="Leave out fp32 of the graphs that every other precision has. The bundle is smaller, and runs only "
    "where those precisions do: with int8 alone, on CPUs.",
)
@json_option
@wheel_options
@tensorrt_options
def export(
    checkpoints: tuple[Path, ...],
    output: Path | None,
    config: Path | None,
    precisions: tuple[Precision, ...],
    without_fp32: bool,
    as_json: bool,
    engines: BuildOptions | None,
    package: PackageOptions | None,
) -> None:
    """Export a checkpoint to a bundle that speaks without PyTorch.

    CHECKPOINTS is one file written by soundstorm-train, or a SoundStorm of soundstorm-pytorch and, unless it
    contains them, its SoundStream (audiolm-pytorch) and its TextToSemantic (spear-tts-pytorch).

    Each graph is compared with PyTorch at several lengths and batch sizes, and each precision with fp32 on a
    few sentences; the bundle is written only if all agree.

    With --tensorrt, engines are also built for the GPU of this machine; with --tensorrt-rtx, for GeForce RTX
    and RTX PRO elsewhere. CHECKPOINTS may then be the folder of a bundle, to which they are added: this works
    without PyTorch.

    With --wheel, a voice package is written in place of a bundle: pip installs it, and soundstorm finds it.
    Here, too, CHECKPOINTS may be the folder of a bundle.
    """
    if package is not None:
        if engines is not None:
            raise click.UsageError(
                "both --wheel and --tensorrt were given: engines fit one GPU; give one of them"
            )
        _export_package(checkpoints, output, config, precisions or _usual(None), without_fp32, package)
        return
    library = None if engines is None else open_library(engines)  # before all the work
    if len(checkpoints) == 1 and (checkpoints[0] / MANIFEST_FILE).is_file():
        if engines is None or output is not None or config is not None:
            raise ExportError(
                f"{checkpoints[0]} is a bundle; give a checkpoint, or --tensorrt without --output and "
                "--config to build engines into it"
            )
        bundle = read_bundle(checkpoints[0])
    else:
        bundle = _export(
            checkpoints, output or Path("voice"), config, precisions or _usual(engines), without_fp32
        )
        click.echo(bundle.manifest.to_json() if as_json else "\n".join(_lay_out(bundle)), nl=not as_json)
        click.echo(f"bundle: {bundle.path}", err=as_json)
    if engines is not None:
        wanted = precisions_on("tensorrt", precisions)
        for precision in wanted or [fastest_on_gpu(bundle.manifest.precisions)]:
            folder = build_engines(bundle, precision, engines, report, library)
            click.echo(f"engines: {folder}", err=as_json)


def _export_package(
    checkpoints: tuple[Path, ...],
    output: Path | None,
    config: Path | None,
    precisions: tuple[Precision, ...],
    without_fp32: bool,
    package: PackageOptions,
) -> None:
    """Write a voice package, from a bundle or from checkpoints that are exported to one first."""
    from ..voice_package import default_folder, write_voice_package

    with tempfile.TemporaryDirectory() as scratch:
        if len(checkpoints) == 1 and (checkpoints[0] / MANIFEST_FILE).is_file():
            bundle = read_bundle(checkpoints[0])
        else:
            bundle = _export(checkpoints, Path(scratch) / "voice", config, precisions, without_fp32)
        wheel = write_voice_package(bundle, output or default_folder(bundle), package, report)
    click.echo(f"wheel: {wheel}")


def _usual(engines: BuildOptions | None) -> tuple[Precision, ...]:
    return ("fp32", "int8") if engines is None else ("fp32", "fp16")


def _export(
    checkpoints: tuple[Path, ...],
    output: Path,
    config: Path | None,
    precisions: tuple[Precision, ...],
    without_fp32: bool,
) -> Bundle:
    with needs_extra("export"), uninterrupted():
        from ..bundle_writer import export_bundle
        from ..third_party import read_parts

    parts = read_parts(checkpoints, config)
    return export_bundle(parts, output, report, precisions, keep_fp32=not without_fp32)


def _lay_out(bundle: Bundle) -> Iterator[str]:
    yield from _parity_table(bundle)
    for name, variant in bundle.manifest.variants.items():
        if variant.speech is not None:
            yield f"{name}: {_speech_line(variant.speech)}"


def _parity_table(bundle: Bundle) -> Iterator[str]:
    manifest = bundle.manifest
    yield f"{'graph':<20}{'size':>10}{'largest error':>16}{'allowed':>10}{'equal draws':>14}"
    rows = [(graph.file, manifest.parity[name]) for name, graph in manifest.graphs.items() if graph.file]
    for variant in (manifest.cpu, *manifest.variants.values(), manifest.cuda):
        if variant is not None:
            rows += [(file, variant.parity[name]) for name, file in variant.graphs.items()]
    weights = {g.file: g.weights for g in manifest.graphs.values() if g.file and g.weights}
    for variant in manifest.variants.values():
        weights |= {variant.graphs[name]: file for name, file in variant.weights.items()}
    shown: set[str] = set()  # weights that a graph above has brought
    for file, parity in rows:
        files = {file, *([weights[file]] if file in weights else [])} - shown
        shown |= files
        megabytes = sum(manifest.files[name].size for name in files) / 1e6
        yield (
            f"{file.removesuffix('.onnx'):<20}{megabytes:>7.1f} MB{parity.largest_error:>16.1e}"
            f"{parity.tolerance:>10.0e}{parity.agreement:>14.2%}"
        )


def _speech_line(speech: SpeechReport) -> str:
    words = ""
    if speech.word_error_rate is not None:
        rates = (speech.word_error_rate, speech.word_error_rate_fp32)
        words = ", word error rate {:.1f} % (fp32: {:.1f} %)".format(*rates)
    return f"spectral distance from fp32 {speech.spectral_distance:.1f} dB{words}"

"""`soundstorm-export`: a checkpoint in, a bundle out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click

from soundstorm_runtime.bundle.manifest import Precision, SpeechReport
from soundstorm_runtime.bundle.precisions import fastest_on_gpu, precisions_on
from soundstorm_runtime.bundle.reader import MANIFEST_FILE, Bundle, read_bundle
from soundstorm_runtime.engines.tensorrt.library import open_tensorrt_library
from soundstorm_runtime.support.command import run, version_option

from .errors import ExportError
from .tensorrt.build_options import tensorrt_options
from .tensorrt.engine_builder import BuildOptions, build_engines


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@version_option
@click.argument("checkpoints", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="voice",
    help="Folder of the bundle; an older bundle there is replaced.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML file with what checkpoints of other packages do not carry.",
)
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(get_args(Precision)),
    multiple=True,
    show_default="fp32, int8; with --tensorrt fp32, fp16",
    help="May be given several times. fp32 is always there; int8 is for CPUs, fp16 for GPUs; bf16, int8-qdq "
    "and fp8-qdq are for TensorRT.",
)
@tensorrt_options
def export(
    checkpoints: tuple[Path, ...],
    output: Path | None,
    config: Path | None,
    precisions: tuple[Precision, ...],
    engines: BuildOptions | None,
) -> None:
    """Export the voice in CHECKPOINTS to a bundle that speaks without PyTorch.

    One checkpoint of soundstorm-train, or a SoundStorm of soundstorm-pytorch and the files of its SoundStream
    (audiolm-pytorch) and TextToSemantic (spear-tts-pytorch), where they are not inside it.

    Each graph is run beside PyTorch on several lengths and batches, and each precision speaks a few
    sentences beside fp32; nothing is written unless all agree.

    With --tensorrt, engines are built for the GPU of this machine as well. CHECKPOINTS may then be the folder
    of a bundle, which gets them: on a device, without PyTorch.
    """
    library = None if engines is None else open_tensorrt_library(("tensorrt",))  # before all the work
    if len(checkpoints) == 1 and (checkpoints[0] / MANIFEST_FILE).is_file():
        if engines is None or output is not None or config is not None:
            raise ExportError(
                f"{checkpoints[0]} is a bundle; give a checkpoint, or --tensorrt without --output and "
                "--config to build engines into it"
            )
        bundle = read_bundle(checkpoints[0])
    else:
        bundle = _export(checkpoints, output or Path("voice"), config, precisions or _usual(engines))
    if engines is not None:
        wanted = precisions_on("tensorrt", precisions)
        for precision in wanted or [fastest_on_gpu(bundle.manifest.precisions)]:
            folder = build_engines(bundle, precision, engines, _say, library)
            click.echo(f"engines: {folder}")


def _usual(engines: BuildOptions | None) -> tuple[Precision, ...]:
    return ("fp32", "int8") if engines is None else ("fp32", "fp16")


def _export(
    checkpoints: tuple[Path, ...], output: Path, config: Path | None, precisions: tuple[Precision, ...]
) -> Bundle:
    from .bundle_writer import export_bundle
    from .third_party import read_parts

    parts = read_parts(checkpoints, config)
    bundle = export_bundle(parts, output, _say, precisions)
    for line in _parity_table(bundle):
        click.echo(line)
    for name, facts in bundle.manifest.variants.items():
        if facts.speech is not None:
            click.echo(f"{name}: {_shown(facts.speech)}")
    click.echo(f"bundle: {output}")
    return bundle


def _say(line: str) -> None:
    click.echo(line, err=True)


def _parity_table(bundle: Bundle) -> Iterator[str]:
    manifest = bundle.manifest
    yield f"{'graph':<20}{'size':>10}{'largest error':>16}{'allowed':>10}{'equal draws':>14}"
    rows = [(graph.file, manifest.parity[name]) for name, graph in manifest.graphs.items()]
    for variant in (manifest.cpu, *manifest.variants.values()):
        if variant is not None:
            rows += [(file, variant.parity[name]) for name, file in variant.graphs.items()]
    weights = {graph.file: graph.weights for graph in manifest.graphs.values() if graph.weights}
    for file, facts in rows:
        megabytes = sum(manifest.files[f].size for f in (file, weights.get(file)) if f) / 1e6
        yield (
            f"{file.removesuffix('.onnx'):<20}{megabytes:>7.1f} MB{facts.largest_error:>16.1e}"
            f"{facts.tolerance:>10.0e}{facts.agreement:>14.2%}"
        )


def _shown(speech: SpeechReport) -> str:
    words = ""
    if speech.word_error_rate is not None:
        words = f", word errors {speech.word_error_rate:.1f} % (fp32 {speech.word_error_rate_fp32:.1f} %)"
    return f"spectra {speech.spectral_distance:.1f} dB from those of fp32{words}"


def main() -> None:
    """Run the command line and exit."""
    run(export)


if __name__ == "__main__":
    main()

"""`soundstorm-export`: a checkpoint in, a bundle out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click

from soundstorm_runtime.bundle import Bundle
from soundstorm_runtime.command import run, version_option
from soundstorm_runtime.manifest import Precision, SpeechFacts


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@version_option
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("voice"),
    show_default=True,
    help="Folder of the bundle; an older bundle there is replaced.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML file with what a checkpoint of soundstorm-pytorch does not carry.",
)
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(get_args(Precision)),
    multiple=True,
    default=("fp32", "int8"),
    show_default=True,
    help="May be given several times. fp32 is always there; int8 is for CPUs, fp16 for GPUs.",
)
def export(checkpoint: Path, output: Path, config: Path | None, precisions: tuple[Precision, ...]) -> None:
    """Export the voice in CHECKPOINT to a bundle that speaks without PyTorch.

    It may also be a SoundStorm of soundstorm-pytorch, with its SoundStream inside or beside it.

    Each graph is run beside PyTorch on several lengths and batches, and each precision speaks a few
    sentences beside fp32; nothing is written unless all agree.
    """
    from .bundle import export_bundle
    from .foreign import read_parts

    parts = read_parts(checkpoint, config)
    bundle = export_bundle(parts, output, lambda line: click.echo(line, err=True), precisions)
    for line in _parity_table(bundle):
        click.echo(line)
    for name, facts in bundle.manifest.variants.items():
        if facts.speech is not None:
            click.echo(f"{name}: {_shown(facts.speech)}")
    click.echo(f"bundle: {output}")


def _parity_table(bundle: Bundle) -> Iterator[str]:
    manifest = bundle.manifest
    yield f"{'graph':<20}{'size':>10}{'largest error':>16}{'allowed':>10}{'equal draws':>14}"
    variants = [(f"{name}/", facts.parity) for name, facts in manifest.variants.items()]
    for prefix, parity in (("", manifest.parity), *variants):
        for name, facts in parity.items():
            megabytes = manifest.files[f"{prefix}{name}.onnx"].size / 1e6
            yield (
                f"{prefix + name:<20}{megabytes:>7.1f} MB{facts.largest_error:>16.1e}"
                f"{facts.tolerance:>10.0e}{facts.agreement:>14.2%}"
            )


def _shown(speech: SpeechFacts) -> str:
    words = ""
    if speech.word_error_rate is not None:
        words = f", word errors {speech.word_error_rate:.1f} % (fp32 {speech.word_error_rate_fp32:.1f} %)"
    return f"spectra {speech.spectral_distance:.1f} dB from those of fp32{words}"


def main() -> None:
    """Run the command line and exit."""
    run(export)


if __name__ == "__main__":
    main()
